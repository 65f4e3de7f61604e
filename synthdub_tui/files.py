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


def one_name(path: str) -> str:
    """A key that is equal for all paths that some file system treats as one: it ignores case and the composition of accents."""
    import unicodedata  # noqa: PLC0415 - costs start-up time

    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def absolute(path: str) -> str:
    """The absolute path to what the system opens: `..` after a link to a folder is the parent of the link's target."""
    lexical = f"/{os.path.abspath(path).lstrip('/')}"  # abspath keeps two leading slashes
    if ".." not in path.split("/"):
        return lexical
    try:
        return lexical if os.path.realpath(path) == os.path.realpath(lexical) else _place(path)
    except ValueError:  # a NUL in the path; no file has one
        return lexical


def _place(path: str) -> str:
    """Where a path leads. If its last name is a link, it stays a link."""
    folder, name = os.path.split(path.rstrip("/"))
    return os.path.realpath(path) if name in (".", "..") else os.path.join(os.path.realpath(folder), name)


def composed(path: str) -> str:
    """A path with composed accents, as is usual. macOS stores names with decomposed ones."""
    import unicodedata  # noqa: PLC0415 - costs start-up time

    return unicodedata.normalize("NFC", path)


def as_spelled(path: str) -> str:
    """The absolute path with its names as their folders spell them, so that a file has one path however it was named.

    Names that do not exist stay as they are, as do all where case matters.
    """
    return Speller().path(path)


class Speller:
    """Spells many paths, and reads each folder at most once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._names: dict[str, frozenset[str]] = {}

    def path(self, path: str) -> str:
        """As `as_spelled`."""
        return self._path(absolute(path))

    def _path(self, path: str) -> str:
        folder, name = os.path.split(path)
        if not name:
            return path
        spelled = self._folders.get(folder)
        if spelled is None:
            spelled = self._folders[folder] = self._path(folder)
        return os.path.join(spelled, self._name(spelled, name))

    def _name(self, folder: str, name: str) -> str:
        other = name.swapcase()
        if other == name or not os.path.lexists(os.path.join(folder, other)):
            return name if name.isascii() else self._accented(folder, name)  # nearly always, without reading the folder
        names = self._inside(folder)
        if name in names or not os.path.lexists(os.path.join(folder, name)):
            return name
        return next((found for found in names if one_name(found) == one_name(name)), name)

    def _accented(self, folder: str, name: str) -> str:
        """The name with its accents composed as in the folder, if the given form does not exist."""
        if os.path.lexists(os.path.join(folder, name)):
            return name
        alike = [found for found in self._inside(folder) if composed(found) == composed(name)]
        return alike[0] if len(alike) == 1 else name

    def _inside(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except OSError:  # it may be passed through, but not read
                self._names[folder] = frozenset()
        return self._names[folder]
