"""Recognises one file under several names: through hard and symbolic links, and through one place mounted twice.

Device and inode numbers are compared only while both files exist, and are never stored: they change with every mount. File
systems in user space may give one number to several files, so the contents are compared too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from synthdub_tui.sources.same_file import FileStamp, same_version

if TYPE_CHECKING:
    from synthdub_tui.sources.scan import FoundVideo

COMPARED_END_BYTES: Final = 64 * 1024
"""Bytes that are compared at the beginning and at the end of two files."""

_Inode = tuple[int, int]


class UsedNames:
    """The names that are used, one for each file.

    `jobs` are the paths that have a job with equal options, with the version that the job is about. `named` are the paths that
    the user gave: two of them never count as one file. With `force_new`, a job elsewhere does not keep a file from being used.
    """

    def __init__(self, jobs: Mapping[str, FileStamp], named: Iterable[str] = (), *, force_new: bool = False) -> None:
        self._jobs = jobs
        self._named = frozenset(named)
        self._force_new = force_new
        self._by_real: dict[str, str] = {}
        self._by_inode: dict[_Inode, str] = {}
        self._paths_by_size: dict[int, list[str]] | None = None  # of the jobs
        self._inodes_by_size: dict[int, dict[_Inode, str]] = {}  # of the jobs' files; looked up when needed

    def may_have_better_name(self, found: FoundVideo) -> bool:
        """Whether a better name of the same file may still follow: one that has a job, or is not a link."""
        if found.named or found.path in self._jobs:
            return False
        return found.is_link or (found.link_count > 1 and bool(self._jobs))

    def use_name(self, found: FoundVideo, real: str) -> str:
        """Use this name for a file. Returns the other name under which the file is used already, here or by a job; else empty.

        `real` is the path of the file itself.
        """
        if not self._force_new and self._has_current_job(found.path, _stamp(found)):
            other = ""
        else:
            others = (self._name_in_use(found, real), "" if self._force_new else self._name_with_job(found))
            other = next((name for name in others if name and not (found.named and name in self._named)), "")
        if not other:
            self._by_real[real] = self._by_inode[found.inode] = found.path
        return other

    def _has_current_job(self, path: str, stamp: FileStamp) -> bool:
        """Whether the path has a job, and the job is about this version."""
        known = self._jobs.get(path)
        return known is not None and same_version(known, stamp)

    def _name_in_use(self, found: FoundVideo, real: str) -> str:
        if real in self._by_real:
            return self._by_real[real]
        other = self._by_inode.get(found.inode, "")
        return other if other and _same_file(found.path, other) else ""

    def _name_with_job(self, found: FoundVideo) -> str:
        other = self._inodes_of(found.size).get(found.inode, "")
        if other in ("", found.path) or not self._has_current_job(other, _stamp(found)):
            return ""
        return other if _same_file(found.path, other) else ""

    def _inodes_of(self, size: int) -> dict[_Inode, str]:
        """The files of jobs of this many bytes. Each is looked up once."""
        if self._paths_by_size is None:
            self._paths_by_size = {}
            for path, stamp in self._jobs.items():
                self._paths_by_size.setdefault(stamp.size, []).append(path)
        if size not in self._inodes_by_size:
            paths = self._paths_by_size.get(size, ())
            self._inodes_by_size[size] = {inode: path for path in paths if (inode := _inode(path)) is not None}
        return self._inodes_by_size[size]


def _stamp(found: FoundVideo) -> FileStamp:
    return FileStamp(found.size, found.mtime_ns)


def _inode(path: str) -> _Inode | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one file now, by their file system and by both ends of the contents."""
    try:
        return _file_identity(one) == _file_identity(other) and _read_ends(one) == _read_ends(other)
    except OSError:
        return False


def _file_identity(path: str) -> tuple[int, int, int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_ends(path: str) -> tuple[bytes, bytes]:
    with open(path, "rb", buffering=0) as file:
        begin = file.read(COMPARED_END_BYTES)
        file.seek(max(0, os.fstat(file.fileno()).st_size - COMPARED_END_BYTES))
        return begin, file.read(COMPARED_END_BYTES)
