"""Names on file systems that ignore case (macOS, FAT, Windows shares): one file may be named in many ways there.

Nothing here is told by inodes: file systems in user space may have one for each way.
"""

from __future__ import annotations

import os


def one_name(path: str) -> str:
    """The same for all paths that some file system takes for one: in case, and in how accents are made up."""
    import unicodedata  # noqa: PLC0415 - costs start-up time

    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def as_spelled(path: str) -> str:
    """An absolute path with its names as they stand in their folders, so that a file has one path however it was named. What is
    not there, or where case matters, stays as it is."""
    return Speller().path(path)


class Speller:
    """Spells many paths, and looks into each folder once at most."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._names: dict[str, frozenset[str]] = {}

    def path(self, path: str) -> str:
        """As `as_spelled`."""
        folder, name = os.path.split(path)
        if not name:
            return path
        spelled = self._folders.get(folder)
        if spelled is None:
            spelled = self._folders[folder] = self.path(folder)
        return os.path.join(spelled, self._name(spelled, name))

    def _name(self, folder: str, name: str) -> str:
        other = name.swapcase()
        if other == name or not os.path.lexists(os.path.join(folder, other)):
            return name  # as nearly always, without a look into the folder
        names = self._inside(folder)
        if name in names or not os.path.lexists(os.path.join(folder, name)):
            return name
        return next((found for found in names if one_name(found) == one_name(name)), name)

    def _inside(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
            except OSError:  # it may be passed through, but not be looked into
                self._names[folder] = frozenset()
        return self._names[folder]
