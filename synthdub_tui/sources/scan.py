"""Finds the sources below the named paths."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from synthdub_tui.files import PathSpeller
from synthdub_tui.jobs.output_paths import is_output
from synthdub_tui.sources.duplicate_names import UsedNames
from synthdub_tui.sources.same_file import FileStamp
from synthdub_tui.sources.skip_rules import SkipReason, SkipRules, is_output_copy

VIDEO_TYPES: Final = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".qt": "video/quicktime",
}
"""Extensions, in any case, that the service accepts → media types. The vendor's script finds the same ones by name."""

MAX_NAMES_COUNTED: Final = 2000
"""Most names that are looked at in a skipped folder: it may contain a hundred snapshots of the whole library."""


class FoundVideo(NamedTuple):
    """A source video. `root` is the folder under which it was found; sizes in bytes."""

    path: str
    root: str
    size: int
    mtime_ns: int
    content_type: str
    ctime_ns: int = 0
    named: bool = False  # the user named this very path
    is_link: bool = False  # a symbolic link
    inode: tuple[int, int] = (0, 0)  # device and number; valid only until the next mount
    link_count: int = 1  # of the file, as its file system counts them


class SkippedPath(NamedTuple):
    """A skipped path, with the code of its problem, or of the reason why it is left out (`SkipReason`)."""

    path: str
    code: str
    detail: str = ""  # for a link: its target; for another name of a file: the name that is used
    named: bool = False  # the user named this very path
    is_folder: bool = False
    video_count: int = 0  # below a skipped folder, as far as they were counted
    may_have_more: bool = False  # there may be more of them


def content_type(name: str) -> str | None:
    """Media type of a video that the service accepts, by its name; None for any other file."""
    return VIDEO_TYPES.get(os.path.splitext(name)[1].lower())


def find_sources(
    paths: list[str],
    *,
    recursive: bool,
    rules: SkipRules | None = None,
    jobs: Mapping[str, FileStamp] | None = None,
    force_new: bool = False,
) -> Iterator[FoundVideo | SkippedPath]:
    """Sources below the named files and folders, each once.

    The order is: named files, then folder by folder in the order of names, last other routes to the same files and folders.
    `jobs` are the paths that have a job, see `duplicate_names.UsedNames`.
    """
    speller = PathSpeller()
    named = [speller.spell(path) for path in paths]
    return _Search(named, recursive, rules or SkipRules(), UsedNames(jobs or {}, named, force_new=force_new)).run()


def find_rejected_paths(paths: list[str]) -> list[SkippedPath]:
    """Problems of the named paths themselves, without looking into folders."""
    speller = PathSpeller()
    return [item for path in paths if isinstance(item := _check_named_path(speller.spell(path)), SkippedPath)]


class _Folder(NamedTuple):
    path: str
    root: str  # the named folder above it


class _Search:
    """One search below named paths."""

    def __init__(self, named: list[str], recursive: bool, rules: SkipRules, names: UsedNames) -> None:
        self._named = named
        self._named_paths = frozenset(named)
        self._recursive = recursive
        self._rules = rules
        self._names = names
        self._real_folders: dict[str, str] = {}  # several routes may lead to one folder
        self._seen_paths: set[str] = set()  # real folder and name
        self._entered_folders: set[str] = set()  # real paths of folders; kept only if links are followed
        self._linked_folders: deque[_Folder] = deque()
        self._waiting: list[FoundVideo] = []  # files whose better name may still follow

    def run(self) -> Iterator[FoundVideo | SkippedPath]:
        folders = []
        for path in self._named:
            item = _check_named_path(path)
            if item is None:
                folders.append(_Folder(path, path))
            else:
                yield from self._skip_repeated(item)
        for folder in folders:
            yield from self._search(folder)
        while self._linked_folders:
            yield from self._search(self._linked_folders.popleft())
        for found in sorted(self._waiting, key=lambda found: found.is_link):
            yield self._use_or_skip(found, self._real_path(found.path))

    def _search(self, top: _Folder) -> Iterator[FoundVideo | SkippedPath]:
        """Search a folder without recursive calls, since folders may be nested deeper than calls can be."""
        prefix = len(os.path.join(top.root, ""))
        open_folders = [self._open_folder(top.path)]
        while open_folders:
            entry = next(open_folders[-1], None)
            if entry is None:
                open_folders.pop()
            elif isinstance(entry, SkippedPath):
                yield from self._skip_repeated(entry)
            elif not _is_folder(entry):
                yield from self._skip_repeated(self._check_entry(entry, top.root, prefix))
            elif self._recursive and (left_out := self._why_skip_folder(entry, top.root, prefix)):
                yield from self._skip_repeated(left_out)
            elif self._recursive and not entry.is_symlink():
                open_folders.append(self._open_folder(entry.path))

    def _why_skip_folder(self, entry: os.DirEntry[str], root: str, prefix: int) -> SkippedPath | None:
        """Why a folder is skipped; None if it is not, or if it is a link that is searched later."""
        link = entry.is_symlink()
        why = self._rules.skip_reason(entry.path[prefix:].split("/"), folder=True)
        if why is not None and entry.path not in self._named_paths:
            videos, more = (0, False) if link else _count_videos(entry.path)
            return SkippedPath(entry.path, why, is_folder=True, video_count=videos, may_have_more=more)
        if link and not self._rules.follow_links:
            return SkippedPath(entry.path, SkipReason.FOLDER_LINK, os.path.realpath(entry.path), is_folder=True)
        if link:
            self._linked_folders.append(_Folder(entry.path, root))
        return None

    def _open_folder(self, folder: str) -> Iterator[os.DirEntry[str] | SkippedPath]:
        """Entries of a folder. If links are followed, it is read once, however many lead to it or into itself."""
        if self._rules.follow_links:
            real = self._real_folder(folder)
            if real in self._entered_folders:
                return iter(())
            self._entered_folders.add(real)
        try:
            with os.scandir(folder) as entries:
                return iter(sorted(entries, key=lambda entry: entry.name))
        except OSError as error:
            return iter([SkippedPath(folder, "path_unreadable", error.strerror or "")])

    def _check_entry(self, entry: os.DirEntry[str], root: str, prefix: int) -> FoundVideo | SkippedPath:
        if content_type(entry.name) is None or entry.name.startswith("._"):
            return SkippedPath(entry.path, SkipReason.NOT_A_VIDEO)
        why = self._rules.skip_reason(entry.path[prefix:].split("/"), folder=False)
        if why is not None and entry.path not in self._named_paths:
            return SkippedPath(entry.path, why)
        try:
            return _check_file(entry.path, root, entry.stat(), link=entry.is_symlink())
        except OSError as error:
            return SkippedPath(entry.path, "source_unreadable", error.strerror or "")

    def _skip_repeated(self, item: FoundVideo | SkippedPath) -> Iterator[FoundVideo | SkippedPath]:
        place = self._real_path(item.path)
        if place in self._seen_paths:
            return
        self._seen_paths.add(place)
        if isinstance(item, SkippedPath):
            yield item
        elif self._names.may_have_better_name(item):
            self._waiting.append(item)
        else:
            yield self._use_or_skip(item, place)

    def _use_or_skip(self, found: FoundVideo, place: str) -> FoundVideo | SkippedPath:
        real = os.path.realpath(found.path) if found.is_link else place
        other = self._names.use_name(found, real)
        return SkippedPath(found.path, SkipReason.SAME_FILE, other) if other else found

    def _real_path(self, path: str) -> str:
        """The path through real folders."""
        folder, name = os.path.split(path)
        return os.path.join(self._real_folder(folder), name)

    def _real_folder(self, folder: str) -> str:
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return self._real_folders[folder]


def _check_named_path(path: str) -> FoundVideo | SkippedPath | None:
    """The file at a named path, or its problem; None for a folder."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()
            return None
    except (FileNotFoundError, ValueError):  # a NUL in the path; no file has one
        return SkippedPath(path, "path_missing", named=True)
    except OSError as error:
        return SkippedPath(path, "path_unreadable", error.strerror or "", named=True)
    return _check_file(path, os.path.dirname(path), status, link=os.path.islink(path))._replace(named=True)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False  # the next look at it reports the reason


def _count_videos(folder: str) -> tuple[int, bool]:
    """Videos below a skipped folder, and whether there may be more."""
    videos = looked = 0
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if looked == MAX_NAMES_COUNTED:
                        return videos, True
                    looked += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif content_type(entry.name) is not None and not entry.name.startswith("._"):
                        videos += 1
        except OSError:  # a skipped folder may be closed to this user
            continue
    return videos, False


def _check_file(path: str, root: str, status: os.stat_result, *, link: bool) -> FoundVideo | SkippedPath:
    name = os.path.basename(path)
    kind = content_type(name)
    if kind is None or not stat.S_ISREG(status.st_mode) or name.startswith("._"):
        return SkippedPath(path, SkipReason.NOT_A_VIDEO)  # ._NAME: macOS leaves such files next to others on foreign disks
    if output := _output_skip_reason(name) or (link and _output_skip_reason(os.path.basename(os.path.realpath(path)))):
        return SkippedPath(path, output)
    if not _is_utf8(path):
        return SkippedPath(path, "name_invalid")
    if status.st_size == 0:
        return SkippedPath(path, "source_empty")
    if not os.access(path, os.R_OK):
        return SkippedPath(path, "source_unreadable")
    return FoundVideo(
        path,
        root,
        status.st_size,
        status.st_mtime_ns,
        kind,
        status.st_ctime_ns,
        is_link=link,
        inode=_inode(status),
        link_count=status.st_nlink,
    )


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _output_skip_reason(name: str) -> SkipReason | None:
    if is_output(name):
        return SkipReason.OWN_OUTPUT
    return SkipReason.OUTPUT_COPY if is_output_copy(name) else None


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
