"""Looks at sources that may still change: their times, and whether a process has them open for writing (Linux only)."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from typing import Final

from synthdub_tui.sources.settle import ChangeStamp, FileObservation

_File = tuple[int, int]
"""Device and inode: identifies a file, whatever its name."""

_VIRTUAL_PATH_PREFIXES: Final = ("/dev/", "/proc/", "/sys/", "/memfd:")

_WRITABLE: Final = " rw-s "
"""Part of a line of `/proc/PID/maps`: the file is mapped for writing."""


def observe_files(paths: Iterable[str]) -> dict[str, FileObservation]:
    """Look once at each file that has content, and once at all processes of this user. Blocking. Other paths are left out."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size:
                found[path] = status
    written = _open_for_writing({(status.st_dev, status.st_ino) for status in found.values()})
    now, wall = time.monotonic(), time.time()
    return {
        path: FileObservation(stamp_of_status(status), (status.st_dev, status.st_ino) in written, now, wall)
        for path, status in found.items()
    }


def stamp_of_status(status: os.stat_result) -> ChangeStamp:
    """The stamp of a file."""
    return ChangeStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _open_for_writing(files: set[_File]) -> set[_File]:
    """The files that a process has open, or mapped, for writing. Linux shows only the processes of our own user."""
    written: set[_File] = set()
    for process in _processes() if files else ():
        written.update(_by_descriptor(process, files - written))
        written.update(_by_mapping(process, files - written))
    return written


def _processes() -> list[str]:
    try:
        return [f"/proc/{name}" for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def _by_descriptor(process: str, files: set[_File]) -> Iterator[_File]:
    try:
        descriptors = os.listdir(f"{process}/fd")
    except OSError:
        return
    for name in descriptors:
        with contextlib.suppress(OSError):
            link = f"{process}/fd/{name}"
            file = _file_id(link) if _may_be_file(os.readlink(link)) else None
            if file in files and _is_for_writing(f"{process}/fdinfo/{name}"):
                yield file


def _by_mapping(process: str, files: set[_File]) -> Iterator[_File]:
    """The files that a process has mapped for writing. It may have closed their descriptors."""
    try:
        with open(f"{process}/maps", encoding="utf-8", errors="surrogateescape") as lines:
            shared = {line.rstrip("\n").partition("/") for line in lines if _WRITABLE in line}
    except OSError:
        return
    for _, root, rest in shared:
        path = root + rest.replace("\\012", "\n")
        with contextlib.suppress(OSError):
            file = _file_id(path) if _may_be_file(path) else None
            if file in files:
                yield file


def _may_be_file(path: str) -> bool:
    return path.startswith("/") and not path.startswith(_VIRTUAL_PATH_PREFIXES)


def _file_id(path: str) -> _File:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _is_for_writing(fdinfo: str) -> bool:
    """Whether the descriptor is for writing, by its flags, which are octal there."""
    with open(fdinfo, encoding="ascii") as lines:
        flags = next((line.split()[1] for line in lines if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY
