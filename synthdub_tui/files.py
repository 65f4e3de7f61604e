"""Durable writes: whatever happens, a file has either its old or its new content; after `write_durably` returns, the new one.

The order is: temporary file in the same folder, fsync, rename, fsync of the folder. ext4, xfs, btrfs and apfs need it for a
rename to survive power loss (LWN 322823; `man 2 fsync`).
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from typing import Final

TEMPORARY_EXTENSION = ".tmp"
"""Extension of temporary files. A crash may leave some; the next start removes them."""


SYNC_UNSUPPORTED_ERRNOS = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Errors of fsync() on file systems that cannot sync a folder (some network and user-space ones)."""


_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def write_durably(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace the file's content durably. Raises OSError: then the old content stays, or the new one is not durable yet."""
    with _replacement(path) as temporary:
        write_new(temporary, data, mode)
    sync_folder(os.path.dirname(path))


def write_unsynced(path: str, pieces: Iterable[bytes], mode: int = 0o600) -> None:
    """Replace a file that can be created again: after a power failure it may contain anything. Raises OSError."""
    with _replacement(path) as temporary, open(os.open(temporary, _CREATE_FLAGS, mode), "wb") as file:
        file.writelines(pieces)


@contextlib.contextmanager
def _replacement(path: str) -> Iterator[str]:
    """Path for a temporary file that replaces the file at `path` when the context ends without error."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}{TEMPORARY_EXTENSION}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_durably(path: str) -> None:
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
        if error.errno not in SYNC_UNSUPPORTED_ERRNOS:
            raise
    finally:
        os.close(handle)


def write_new(path: str, data: bytes, mode: int) -> None:
    """Create a file with this durable content. Its name is durable once its folder was synced. Raises OSError."""
    handle = os.open(path, _CREATE_FLAGS, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def path_key(path: str) -> str:
    """A key that is equal for all paths that some file system treats as one: it ignores case and the composition of accents."""
    import unicodedata  # noqa: PLC0415 - costs start-up time

    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def absolute_path(path: str) -> str:
    """The absolute path to what the system opens: `..` after a link to a folder is the parent of the link's target."""
    lexical = f"/{os.path.abspath(path).lstrip('/')}"  # abspath keeps two leading slashes
    if ".." not in path.split("/"):
        return lexical
    try:
        return lexical if os.path.realpath(path) == os.path.realpath(lexical) else _resolve_folder(path)
    except ValueError:  # a NUL in the path; no file has one
        return lexical


def _resolve_folder(path: str) -> str:
    """Where a path leads. If its last name is a link, it stays a link."""
    folder, name = os.path.split(path.rstrip("/"))
    return os.path.realpath(path) if name in (".", "..") else os.path.join(os.path.realpath(folder), name)


def compose_accents(path: str) -> str:
    """A path with composed accents, as is usual. macOS stores names with decomposed ones."""
    import unicodedata  # noqa: PLC0415 - costs start-up time

    return unicodedata.normalize("NFC", path)


def spell_as_on_disk(path: str) -> str:
    """The absolute path with its names as their folders spell them, so that a file has one path however it was named.

    Names that do not exist stay as they are, as do all where case matters.
    """
    return PathSpeller().spell(path)


class PathSpeller:
    """Spells many paths, and reads each folder at most once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._names: dict[str, frozenset[str]] = {}

    def spell(self, path: str) -> str:
        """As `spell_as_on_disk`."""
        return self._path(absolute_path(path))

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
            return name if name.isascii() else self._match_accents(folder, name)  # nearly always, without reading the folder
        names = self._names_in(folder)
        if name in names or not os.path.lexists(os.path.join(folder, name)):
            return name
        return next((found for found in names if path_key(found) == path_key(name)), name)

    def _match_accents(self, folder: str, name: str) -> str:
        """The name with its accents composed as in the folder, if the given form does not exist."""
        if os.path.lexists(os.path.join(folder, name)):
            return name
        alike = [found for found in self._names_in(folder) if compose_accents(found) == compose_accents(name)]
        return alike[0] if len(alike) == 1 else name

    def _names_in(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except OSError:  # it may be passed through, but not read
                self._names[folder] = frozenset()
        return self._names[folder]
