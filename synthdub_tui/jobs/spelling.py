"""One path for a file, however it is named: with `..` and doubled slashes, with accents made up in another way, and in any case
on file systems that ignore it (macOS, FAT, Windows shares).

Nothing here is told by inodes: file systems in user space may have one for each way.
"""

from __future__ import annotations

import os


def one_name(path: str) -> str:
    """The same for all paths that some file system takes for one: in case, and in how accents are made up."""
    import unicodedata  # noqa: PLC0415 - costs start-up time

    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def absolute(path: str) -> str:
    """The absolute path of what the system finds there: after a link to a folder, `..` is the parent of where it leads."""
    lexical = f"/{os.path.abspath(path).lstrip('/')}"  # abspath keeps two slashes at the beginning
    if ".." not in path.split("/"):
        return lexical
    try:
        return lexical if os.path.realpath(path) == os.path.realpath(lexical) else _place(path)
    except ValueError:  # a NUL in the path, which no file has
        return lexical


def _place(path: str) -> str:
    """Where a path leads; a link that it names stays one."""
    folder, name = os.path.split(path.rstrip("/"))
    return os.path.realpath(path) if name in (".", "..") else os.path.join(os.path.realpath(folder), name)


def composed(path: str) -> str:
    """A path with its accents made up in the usual way: the same for the other way, in which macOS stores names."""
    import unicodedata  # noqa: PLC0415 - costs start-up time

    return unicodedata.normalize("NFC", path)


def as_spelled(path: str) -> str:
    """The absolute path with its names as they stand in their folders, so that a file has one path however it was named.

    What is not there, or where case matters, stays as it is.
    """
    return Speller().path(path)


class Speller:
    """Spells many paths, and looks into each folder once at most."""

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
            return name if name.isascii() else self._accented(folder, name)  # as nearly always, without a look into the folder
        names = self._inside(folder)
        if name in names or not os.path.lexists(os.path.join(folder, name)):
            return name
        return next((found for found in names if one_name(found) == one_name(name)), name)

    def _accented(self, folder: str, name: str) -> str:
        """A name that is not there may be there with its accents made up in the other way."""
        if os.path.lexists(os.path.join(folder, name)):
            return name
        alike = [found for found in self._inside(folder) if composed(found) == composed(name)]
        return alike[0] if len(alike) == 1 else name

    def _inside(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except OSError:  # it may be passed through, but not be looked into
                self._names[folder] = frozenset()
        return self._names[folder]
