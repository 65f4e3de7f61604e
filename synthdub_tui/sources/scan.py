"""Finds the sources below the named paths."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from synthdub_tui.files import Speller
from synthdub_tui.jobs.output_paths import is_output
from synthdub_tui.sources.duplicate_names import Names
from synthdub_tui.sources.same_file import Stamp
from synthdub_tui.sources.skip_rules import Rules, Why, is_output_copy

VIDEO_TYPES: Final = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mov": "video/quicktime",
    ".qt": "video/quicktime",
}
"""Extensions, in any case, that the service accepts → media types. The vendor's script finds the same ones by name."""

COUNT_LIMIT: Final = 2000
"""Most names that are looked at in a skipped folder: it may contain a hundred snapshots of the whole library."""


class Found(NamedTuple):
    """A source video. `root` is the folder under which it was found; sizes in bytes."""

    path: str
    root: str
    size: int
    mtime_ns: int
    content_type: str
    ctime_ns: int = 0
    named: bool = False  # the user named this very path
    link: bool = False  # a symbolic link
    inode: tuple[int, int] = (0, 0)  # device and number; valid only until the next mount
    names: int = 1  # of the file, as its file system counts them


class Skipped(NamedTuple):
    """A skipped path, with the code of its problem, or of the reason why it is left out (`Why`)."""

    path: str
    code: str
    detail: str = ""  # for a link: its target; for another name of a file: the name that is used
    named: bool = False  # the user named this very path
    folder: bool = False
    videos: int = 0  # below a skipped folder, as far as they were counted
    more: bool = False  # there may be more of them


def content_type(name: str) -> str | None:
    """Media type of a video that the service accepts, by its name; None for any other file."""
    return VIDEO_TYPES.get(os.path.splitext(name)[1].lower())


def scan(
    paths: list[str],
    *,
    recursive: bool,
    rules: Rules | None = None,
    jobs: Mapping[str, Stamp] | None = None,
    force_new: bool = False,
) -> Iterator[Found | Skipped]:
    """Sources below the named files and folders, each once.

    The order is: named files, then folder by folder in the order of names, last other routes to the same files and folders.
    `jobs` are the paths that have a job, see `links.Names`.
    """
    speller = Speller()
    named = [speller.path(path) for path in paths]
    return _Search(named, recursive, rules or Rules(), Names(jobs or {}, named, force_new=force_new)).run()


def refused(paths: list[str]) -> list[Skipped]:
    """Problems of the named paths themselves, without looking into folders."""
    speller = Speller()
    return [item for path in paths if isinstance(item := _look_at(speller.path(path)), Skipped)]


class _Folder(NamedTuple):
    path: str
    root: str  # the named folder above it


class _Search:
    """One search below named paths."""

    def __init__(self, named: list[str], recursive: bool, rules: Rules, names: Names) -> None:
        self._named = named
        self._is_named = frozenset(named)
        self._recursive = recursive
        self._rules = rules
        self._names = names
        self._real_folders: dict[str, str] = {}  # several routes may lead to one folder
        self._seen: set[str] = set()  # real folder and name
        self._entered: set[str] = set()  # real paths of folders; kept only if links are followed
        self._linked: deque[_Folder] = deque()
        self._waiting: list[Found] = []  # files whose better name may still follow

    def run(self) -> Iterator[Found | Skipped]:
        folders = []
        for path in self._named:
            item = _look_at(path)
            if item is None:
                folders.append(_Folder(path, path))
            else:
                yield from self._once(item)
        for folder in folders:
            yield from self._search(folder)
        while self._linked:
            yield from self._search(self._linked.popleft())
        for found in sorted(self._waiting, key=lambda found: found.link):
            yield self._taken(found, self._place(found.path))

    def _search(self, top: _Folder) -> Iterator[Found | Skipped]:
        """Search a folder without recursive calls, since folders may be nested deeper than calls can be."""
        prefix = len(os.path.join(top.root, ""))
        open_folders = [self._inside(top.path)]
        while open_folders:
            entry = next(open_folders[-1], None)
            if entry is None:
                open_folders.pop()
            elif isinstance(entry, Skipped):
                yield from self._once(entry)
            elif not _is_folder(entry):
                yield from self._once(self._file(entry, top.root, prefix))
            elif self._recursive and (left_out := self._folder(entry, top.root, prefix)):
                yield from self._once(left_out)
            elif self._recursive and not entry.is_symlink():
                open_folders.append(self._inside(entry.path))

    def _folder(self, entry: os.DirEntry[str], root: str, prefix: int) -> Skipped | None:
        """Why a folder is skipped; None if it is not, or if it is a link that is searched later."""
        link = entry.is_symlink()
        why = self._rules.why(entry.path[prefix:].split("/"), folder=True)
        if why is not None and entry.path not in self._is_named:
            videos, more = (0, False) if link else _count_videos(entry.path)
            return Skipped(entry.path, why, folder=True, videos=videos, more=more)
        if link and not self._rules.follow_links:
            return Skipped(entry.path, Why.FOLDER_LINK, os.path.realpath(entry.path), folder=True)
        if link:
            self._linked.append(_Folder(entry.path, root))
        return None

    def _inside(self, folder: str) -> Iterator[os.DirEntry[str] | Skipped]:
        """Entries of a folder. If links are followed, it is read once, however many lead to it or into itself."""
        if self._rules.follow_links:
            real = self._real(folder)
            if real in self._entered:
                return iter(())
            self._entered.add(real)
        try:
            with os.scandir(folder) as entries:
                return iter(sorted(entries, key=lambda entry: entry.name))
        except OSError as error:
            return iter([Skipped(folder, "path_unreadable", error.strerror or "")])

    def _file(self, entry: os.DirEntry[str], root: str, prefix: int) -> Found | Skipped:
        if content_type(entry.name) is None or entry.name.startswith("._"):
            return Skipped(entry.path, Why.OTHER)
        why = self._rules.why(entry.path[prefix:].split("/"), folder=False)
        if why is not None and entry.path not in self._is_named:
            return Skipped(entry.path, why)
        try:
            return _judge(entry.path, root, entry.stat(), link=entry.is_symlink())
        except OSError as error:
            return Skipped(entry.path, "source_unreadable", error.strerror or "")

    def _once(self, item: Found | Skipped) -> Iterator[Found | Skipped]:
        place = self._place(item.path)
        if place in self._seen:
            return
        self._seen.add(place)
        if isinstance(item, Skipped):
            yield item
        elif self._names.may_get_better(item):
            self._waiting.append(item)
        else:
            yield self._taken(item, place)

    def _taken(self, found: Found, place: str) -> Found | Skipped:
        real = os.path.realpath(found.path) if found.link else place
        other = self._names.take(found, real)
        return Skipped(found.path, Why.SAME_FILE, other) if other else found

    def _place(self, path: str) -> str:
        """The path through real folders."""
        folder, name = os.path.split(path)
        return os.path.join(self._real(folder), name)

    def _real(self, folder: str) -> str:
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return self._real_folders[folder]


def _look_at(path: str) -> Found | Skipped | None:
    """The file at a named path, or its problem; None for a folder."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()
            return None
    except (FileNotFoundError, ValueError):  # a NUL in the path; no file has one
        return Skipped(path, "path_missing", named=True)
    except OSError as error:
        return Skipped(path, "path_unreadable", error.strerror or "", named=True)
    return _judge(path, os.path.dirname(path), status, link=os.path.islink(path))._replace(named=True)


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
                    if looked == COUNT_LIMIT:
                        return videos, True
                    looked += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif content_type(entry.name) is not None and not entry.name.startswith("._"):
                        videos += 1
        except OSError:  # a skipped folder may be closed to this user
            continue
    return videos, False


def _judge(path: str, root: str, status: os.stat_result, *, link: bool) -> Found | Skipped:
    name = os.path.basename(path)
    kind = content_type(name)
    if kind is None or not stat.S_ISREG(status.st_mode) or name.startswith("._"):
        return Skipped(path, Why.OTHER)  # ._NAME: macOS leaves such files next to others on foreign disks
    if output := _as_output(name) or (link and _as_output(os.path.basename(os.path.realpath(path)))):
        return Skipped(path, output)
    if not _is_text(path):
        return Skipped(path, "name_invalid")
    if status.st_size == 0:
        return Skipped(path, "source_empty")
    if not os.access(path, os.R_OK):
        return Skipped(path, "source_unreadable")
    return Found(
        path,
        root,
        status.st_size,
        status.st_mtime_ns,
        kind,
        status.st_ctime_ns,
        link=link,
        inode=_inode(status),
        names=status.st_nlink,
    )


def _inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _as_output(name: str) -> Why | None:
    if is_output(name):
        return Why.OWN_OUTPUT
    return Why.OUTPUT_COPY if is_output_copy(name) else None


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
