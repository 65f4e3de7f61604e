"""Which files are sources, which are outputs of ours, and where outputs go."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

VIDEO_TYPES: Final = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".qt": "video/quicktime",
}
"""The endings, in any case, of what the service takes; the same that the vendor's script finds by name."""

_OUTPUT: Final = re.compile(r"\.dubbed-[a-z]{2,3}(-[a-z0-9]{2,8})?\.mp4$", re.IGNORECASE)


class Found(NamedTuple):
    """A source video. `root` is the folder under which it was found; sizes in bytes."""

    path: str
    root: str
    size: int
    mtime_ns: int
    content_type: str


class Skipped(NamedTuple):
    """Something that is not taken, and the code of the problem with it."""

    path: str
    code: str
    detail: str = ""
    named: bool = False  # the user named this very path


def content_type(name: str) -> str | None:
    """Media type of a video that the service takes, by its name."""
    return VIDEO_TYPES.get(os.path.splitext(name)[1].lower())


def is_output(name: str) -> bool:
    """Whether a name has the form of our outputs, which are never sources."""
    return _OUTPUT.search(name) is not None


def output_path(source: str, language: str, folder: str = "", ending: str = "mp4") -> str:
    """Where the output of a source goes: beside it, or into `folder`."""
    directory, name = os.path.split(source)
    stem = os.path.splitext(name)[0]
    return os.path.join(folder or directory, f"{stem}.dubbed-{language}.{ending}")


def output_folder(found: Found, output_dir: str) -> str:
    """Folder of a source's outputs under --output-dir, keeping the structure below the named folder."""
    if not output_dir:
        return ""
    return os.path.normpath(os.path.join(output_dir, os.path.relpath(os.path.dirname(found.path), found.root)))


def scan(paths: list[str], *, recursive: bool) -> Iterator[Found | Skipped]:
    """Sources below the named files and folders, each once, folder by folder in the order of names."""
    seen: set[str] = set()
    folders: dict[str, str] = {}  # a folder may be named by several routes
    for named in paths:
        for item in _scan_named(os.path.abspath(named), recursive):
            folder, name = os.path.split(item.path)
            if folder not in folders:
                folders[folder] = os.path.realpath(folder)
            place = os.path.join(folders[folder], name)
            if place not in seen:
                seen.add(place)
                yield item


def _scan_named(path: str, recursive: bool) -> Iterator[Found | Skipped]:
    try:
        status = os.stat(path)
    except (FileNotFoundError, ValueError):  # a NUL in the path, which no file has
        yield Skipped(path, "path_missing", named=True)
    except OSError as error:
        yield Skipped(path, "path_unreadable", error.strerror or "", named=True)
    else:
        if stat.S_ISDIR(status.st_mode):
            yield from _scan_folder(path, path, recursive, named=True)
        else:
            judged = _judge(path, os.path.dirname(path), status)
            yield judged._replace(named=True) if isinstance(judged, Skipped) else judged


def _scan_folder(folder: str, root: str, recursive: bool, named: bool = False) -> Iterator[Found | Skipped]:
    """Links to folders are not followed: they may lead in circles."""
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(folder, "path_unreadable", error.strerror or "", named=named)
        return
    for entry in inside:
        try:
            if entry.is_dir(follow_symlinks=False):
                if recursive:
                    yield from _scan_folder(entry.path, root, recursive)
            else:
                yield _judge(entry.path, root, entry.stat())
        except OSError as error:
            code = "source_unreadable" if content_type(entry.name) else "unsupported_file"
            yield Skipped(entry.path, code, error.strerror or "")


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
    return Found(path, root, status.st_size, status.st_mtime_ns, kind)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
