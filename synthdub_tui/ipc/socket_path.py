"""Finds the runner's socket: its path, and a short way to it where the path is too long."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from synthdub_tui.errors import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

_MAX_SOCKET_PATH_BYTES: Final = 100
"""Longest path of a socket in bytes. The kernel accepts 104 (macOS) to 108 (Linux), including the final NUL."""


def socket_path(state_dir: str) -> Path:
    """Returns the path of the runner's control socket."""
    from pathlib import Path  # noqa: PLC0415 - costs start-up time

    return Path(socket_path_string(state_dir))


def socket_path_string(state_dir: str) -> str:
    """Returns the path of the control socket in the state directory.

    If that path is too long, or a plain file is in its place (see `mark_socket_outside`), the path is in a private temporary
    folder. Raises ProblemError("state_unwritable") if that folder is not private.
    """
    inside = socket_in_state_dir(state_dir)
    return inside if inside and not _is_plain(inside) else socket_in_temp_dir(state_dir)


def socket_in_state_dir(state_dir: str) -> str:
    """Returns the path of a socket in the state directory; "" if it is too long."""
    path = os.path.join(state_dir, "runner.sock")
    return path if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES else ""


def socket_in_temp_dir(state_dir: str) -> str:
    """Returns the path of the socket in a private temporary folder, and creates the folder.

    Raises ProblemError("state_unwritable") if the folder is not private.
    """
    import hashlib  # noqa: PLC0415 - rarely needed

    digest = hashlib.sha256(os.fsencode(os.path.realpath(state_dir))).hexdigest()[:16]
    return os.path.join(_private_folder(), f"{digest}.sock")


def mark_socket_outside(state_dir: str) -> None:
    """Put a plain file in place of the socket, to show that the directory's file system has no sockets. Raises OSError."""
    inside = socket_in_state_dir(state_dir)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(inside)
    os.close(os.open(inside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _is_plain(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _private_folder() -> str:
    import tempfile  # noqa: PLC0415 - rarely needed

    folder = os.path.join(tempfile.gettempdir(), f"synthdub-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, mode=0o700)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ProblemError("state_unwritable", f"{folder} is not yours alone")
    return folder
