"""Durable writes: after `write` returns, the file has either its old or its new content, whatever happens.

Temporary file in the same folder, fsync, rename, fsync of the folder: the order that ext4, xfs, btrfs and apfs need for a
rename to survive power loss (LWN 322823; `man 2 fsync`).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from typing import Final

TEMPORARY = ".tmp"
"""Ending of files that a crash may leave behind; they are removed at the next start."""


NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What file systems on which a folder cannot be synced (some network and user-space ones) answer to fsync()."""


_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def write(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace the file's content durably. Raises OSError: then the old content stands, or the new one is not yet durable."""
    with _replacement(path) as temporary:
        write_new(temporary, data, mode)
    sync_folder(os.path.dirname(path))


def write_unsynced(path: str, pieces: Iterable[bytes], mode: int = 0o600) -> None:
    """Replace the content of a file that can be made anew: after a power failure it may hold anything. Raises OSError."""
    with _replacement(path) as temporary, open(os.open(temporary, _NEW, mode), "wb") as file:
        file.writelines(pieces)


@contextlib.contextmanager
def _replacement(path: str) -> Iterator[str]:
    """A name for what is to replace the file, at once, when it was written."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}{TEMPORARY}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove(path: str) -> None:
    """Remove a file durably; that it is not there is no error. Raises OSError: then it may be there, or come back."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    """Make renames and removals in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(handle)


def write_new(path: str, data: bytes, mode: int) -> None:
    """Make a file with this content, which is durable; its name is so once its folder was synced. Raises OSError."""
    handle = os.open(path, _NEW, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
