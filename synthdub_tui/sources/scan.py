"""Which files below the named paths are sources."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from synthdub_tui.jobs.output_paths import is_output
from synthdub_tui.jobs.spelling import Speller

VIDEO_TYPES: Final = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".qt": "video/quicktime",
}
"""The endings, in any case, of what the service takes; the same that the vendor's script finds by name."""


class Found(NamedTuple):
    """A source video. `root` is the folder under which it was found; sizes in bytes."""

    path: str
    root: str
    size: int
    mtime_ns: int
    content_type: str
    ctime_ns: int = 0
    named: bool = False  # the user named this very path


class Skipped(NamedTuple):
    """Something that is not taken, and the code of the problem with it."""

    path: str
    code: str
    detail: str = ""
    named: bool = False  # the user named this very path


def content_type(name: str) -> str | None:
    """Media type of a video that the service takes, by its name."""
    return VIDEO_TYPES.get(os.path.splitext(name)[1].lower())


def scan(paths: list[str], *, recursive: bool) -> Iterator[Found | Skipped]:
    """Sources below the named files and folders, each once, folder by folder in the order of names."""
    seen: set[str] = set()
    speller = Speller()
    folders: dict[str, str] = {}  # a folder may be named by several routes
    for named in paths:
        for item in _scan_named(speller.path(named), recursive):
            folder, name = os.path.split(item.path)
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            place = os.path.join(folders[folder], name)
            if place not in seen:
                seen.add(place)
                yield item


def refused(paths: list[str]) -> list[Skipped]:
    """What is wrong with the named paths themselves, without looking into folders."""
    speller = Speller()
    return [item for path in paths if isinstance(item := _look_at(speller.path(path)), Skipped)]


def _scan_named(path: str, recursive: bool) -> Iterator[Found | Skipped]:
    item = _look_at(path)
    if item is None:
        yield from _scan_folder(path, recursive)
    else:
        yield item


def _look_at(path: str) -> Found | Skipped | None:
    """What a named path is; None for a folder."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()
            return None
    except (FileNotFoundError, ValueError):  # a NUL in the path, which no file has
        return Skipped(path, "path_missing", named=True)
    except OSError as error:
        return Skipped(path, "path_unreadable", error.strerror or "", named=True)
    judged = _judge(path, os.path.dirname(path), status)
    return judged._replace(named=True)


def _scan_folder(root: str, recursive: bool) -> Iterator[Found | Skipped]:
    """Links to folders are not followed: they may lead in circles. Folders may be nested deeper than calls can be."""
    open_folders = [_inside(root)]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif isinstance(entry, Skipped):
            yield entry
        elif not _is_folder(entry):
            yield _judge_entry(entry, root)
        elif recursive:
            open_folders.append(_inside(entry.path))


def _inside(folder: str) -> Iterator[os.DirEntry[str] | Skipped]:
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as error:
        return iter([Skipped(folder, "path_unreadable", error.strerror or "")])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # why it cannot be told is told by the next look at it


def _judge_entry(entry: os.DirEntry[str], root: str) -> Found | Skipped:
    try:
        return _judge(entry.path, root, entry.stat())
    except OSError as error:
        code = "source_unreadable" if content_type(entry.name) else "unsupported_file"
        return Skipped(entry.path, code, error.strerror or "")


def _judge(path: str, root: str, status: os.stat_result) -> Found | Skipped:
    name = os.path.basename(path)
    kind = content_type(name)
    if kind is None or not stat.S_ISREG(status.st_mode) or name.startswith("._"):
        return Skipped(path, "unsupported_file")  # ._NAME: what macOS leaves beside files on foreign disks
    if is_output(name):
        return Skipped(path, "own_output")
    if not _is_text(path):
        return Skipped(path, "name_invalid")
    if status.st_size == 0:
        return Skipped(path, "source_empty")
    if not os.access(path, os.R_OK):
        return Skipped(path, "source_unreadable")
    return Found(path, root, status.st_size, status.st_mtime_ns, kind, status.st_ctime_ns)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
