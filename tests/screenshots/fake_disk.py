"""A disk that has /srv/videos on it, whatever this machine's has."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from unittest.mock import patch


class FakeFile(NamedTuple):
    """A file, or with size None a folder."""

    size: int | None
    mtime_ns: int = 0


class FakeDirEntry:
    """What `os.scandir` gives."""

    def __init__(self, path: str, file: FakeFile) -> None:
        self.path = path
        self.name = PurePosixPath(path).name
        self._file = file

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        del follow_symlinks
        return self._file.size is None

    def is_symlink(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        del follow_symlinks
        return _stat_result(self._file)


class FakeScandir:
    """What `os.scandir` gives: items, in a context that closes it, or closed by hand."""

    def __init__(self, items: Iterable[FakeDirEntry]) -> None:
        self._items = iter(items)

    def __enter__(self) -> Iterator[FakeDirEntry]:
        return self._items

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""


class FakeDisk:
    """Answers for paths below `root`; the others are asked of the real one."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.files: dict[str, FakeFile] = {}
        self.clear()

    def clear(self) -> None:
        """Only the root is left."""
        self.files = {self._root: FakeFile(None)}

    def add(self, name: str, size: int | None, mtime_ns: int = 0) -> None:
        """A file by its path below the root; its folders come into being."""
        path = PurePosixPath(self._root, name)
        self.files[str(path)] = FakeFile(size, mtime_ns)
        for folder in path.parents:
            if folder.is_relative_to(self._root):
                self.files[str(folder)] = FakeFile(None)

    def mount(self) -> None:
        """The rest of this process sees it. To be done before the dashboard is imported."""
        real_stat, real_scandir, real_access = os.stat, os.scandir, os.access

        def status(path: Any, *more: Any, **options: Any) -> os.stat_result:
            return _stat_result(self._file(path)) if self._is_below_root(path) else real_stat(path, *more, **options)

        def scandir(path: Any = ".") -> Any:
            return self._scandir(path) if self._is_below_root(path) else real_scandir(path)

        def access(path: Any, *more: Any, **options: Any) -> bool:
            return path in self.files if self._is_below_root(path) else real_access(path, *more, **options)

        for name, own in (("stat", status), ("scandir", scandir), ("access", access)):
            patch.object(os, name, own).start()

    def _scandir(self, path: str) -> FakeScandir:
        self._file(path)
        return FakeScandir(FakeDirEntry(name, file) for name, file in self.files.items() if os.path.dirname(name) == path)

    def _is_below_root(self, path: object) -> bool:
        return isinstance(path, str) and (path == self._root or path.startswith(self._root + "/"))

    def _file(self, path: str) -> FakeFile:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path]


def _stat_result(file: FakeFile) -> os.stat_result:
    mode = stat.S_IFDIR | 0o755 if file.size is None else stat.S_IFREG | 0o644
    seconds = file.mtime_ns / 1e9
    return os.stat_result(
        (mode, 0, 0, 1, 0, 0, file.size or 4096, int(seconds), int(seconds), int(seconds)),
        {"st_mtime": seconds, "st_mtime_ns": file.mtime_ns},
    )
