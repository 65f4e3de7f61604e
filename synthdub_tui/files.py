"""Durable writes: whatever happens, a file has either its old or its new content; after `write` returns, the new one.

The order is: temporary file in the same folder, fsync, rename, fsync of the folder. ext4, xfs, btrfs and apfs need it for a
rename to survive power loss (LWN 322823; `man 2 fsync`).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from typing import Final

TEMPORARY = ".tmp"
"""Extension of temporary files. A crash may leave some; the next start removes them."""


NO_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Errors of fsync() on file systems that cannot sync a folder (some network and user-space ones)."""


_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def write(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace the file's content durably. Raises OSError: then the old content stays, or the new one is not durable yet."""
    with _replacement(path) as temporary:
        write_new(temporary, data, mode)
    sync_folder(os.path.dirname(path))


def write_unsynced(path: str, pieces: Iterable[bytes], mode: int = 0o600) -> None:
    """Replace a file that can be created again: after a power failure it may contain anything. Raises OSError."""
    with _replacement(path) as temporary, open(os.open(temporary, _NEW, mode), "wb") as file:
        file.writelines(pieces)


@contextlib.contextmanager
def _replacement(path: str) -> Iterator[str]:
    """Path for a temporary file that replaces the file at `path` when the context ends without error."""
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
    """Remove a file durably; a missing one is no error. Raises OSError: then it may still be there, or come back."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    """Make renames and removals in a folder durable, if its file system can. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(handle)


def write_new(path: str, data: bytes, mode: int) -> None:
    """Create a file with this durable content. Its name is durable once its folder was synced. Raises OSError."""
    handle = os.open(path, _NEW, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)
