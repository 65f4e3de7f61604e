"""Lists a folder, and counts the videos below one. Runs in threads, and reports while it reads."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from os import scandir
from typing import Final

from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.output_paths import is_output
from synthdub_tui.problems import Problem, explain
from synthdub_tui.sources.scan import FoundVideo, content_type, find_sources
from synthdub_tui.sources.skip_rules import SKIP_REASON_CODES, SkipRules, is_output_copy, is_reserved
from synthdub_tui.sources.skipped_summary import SkippedSummary
from synthdub_tui.text import make_printable

REPORT_INTERVAL_SECONDS: Final = 0.25
"""Least seconds between two reports."""


@dataclass(slots=True, eq=False)
class DirectoryEntry:
    """A folder or a video. `size`: bytes; None until it is read, since that may be slow; -1 if the file is unreadable."""

    name: str
    path: str
    is_folder: bool
    size: int | None = None
    display_name: str = field(init=False)
    folded_name: str = field(init=False)

    def __post_init__(self) -> None:
        self.display_name = make_printable(self.name)
        self.folded_name = self.name.casefold()

    @property
    def sort_key(self) -> tuple[bool, str, str]:
        return (not self.is_folder, self.folded_name, self.name)


@dataclass(slots=True)
class DirectoryListing:
    """A folder, as far as it was read. Each report has a new object."""

    path: str
    entries: list[DirectoryEntry]
    outputs: int = 0
    others: int = 0
    hidden: int = 0
    is_complete: bool = False
    problem: Problem | None = None


def list_folder(
    task: ThreadTask, path: str, show_hidden: bool, on_listing: Callable[[DirectoryListing], None], on_sizes: Callable[[], None]
) -> None:
    """In a thread: report the names first, then fill in the sizes."""
    listing = DirectoryListing(path, [])
    try:
        entries = _read_entries(task, listing, show_hidden, on_listing)
    except (OSError, ValueError) as error:
        why = (error.strerror or "") if isinstance(error, OSError) else "not a valid path"
        listing.problem = explain("path_missing" if isinstance(error, FileNotFoundError) else "path_unreadable", why)
        entries = []
    listing.entries = sorted(entries, key=lambda entry: entry.sort_key)
    listing.is_complete = True
    task.report(on_listing, listing)
    _fill_sizes(task, listing.entries, on_sizes)


def _read_entries(
    task: ThreadTask, listing: DirectoryListing, show_hidden: bool, on_listing: Callable[[DirectoryListing], None]
) -> list[DirectoryEntry]:
    found: list[DirectoryEntry] = []
    reported_at = time.monotonic()
    with scandir(listing.path) as inside:
        for item in inside:
            if task.is_stopped:
                return found
            _add_entry(item, found, listing, show_hidden)
            if time.monotonic() - reported_at > REPORT_INTERVAL_SECONDS:
                so_far = sorted(found, key=lambda entry: entry.sort_key)
                task.report(on_listing, DirectoryListing(listing.path, so_far, listing.outputs, listing.others, listing.hidden))
                reported_at = time.monotonic()
    return found


def _add_entry(item: os.DirEntry[str], found: list[DirectoryEntry], listing: DirectoryListing, show_hidden: bool) -> None:
    if item.name.startswith("._"):  # macOS writes these next to files on foreign disks; never a video
        listing.others += 1
    elif (item.name.startswith(".") or is_reserved(item.name)) and not show_hidden:
        listing.hidden += 1
    elif _is_folder(item):
        found.append(DirectoryEntry(item.name, item.path, True))
    elif content_type(item.name) is None:
        listing.others += 1
    elif is_output(item.name) or is_output_copy(item.name):
        listing.outputs += 1
    else:
        found.append(DirectoryEntry(item.name, item.path, False))


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to something unreadable
        return False


def _fill_sizes(task: ThreadTask, entries: list[DirectoryEntry], on_sizes: Callable[[], None]) -> None:
    reported_at = time.monotonic()
    for entry in entries:
        if task.is_stopped:
            return
        if not entry.is_folder:
            entry.size = _file_size(entry.path)
        if time.monotonic() - reported_at > REPORT_INTERVAL_SECONDS:
            task.report(on_sizes)
            reported_at = time.monotonic()
    task.report(on_sizes)


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size if os.access(path, os.R_OK) else -1
    except OSError:
        return -1


@dataclass(slots=True)
class FolderTally:
    """The videos of a marked path that the runner would add, counted by the runner's own rules."""

    videos: int = 0
    total_bytes: int = 0
    unreadable: int = 0
    left_out: int = 0
    is_complete: bool = False


def count_videos(task: ThreadTask, path: str, batch: BatchOptions, on_tally: Callable[[FolderTally], None]) -> None:
    """In a thread: count the videos below a folder, and report while the count grows."""
    tally, left_out = FolderTally(), SkippedSummary()
    reported_at = time.monotonic()
    for item in find_sources([path], recursive=batch.recursive, rules=SkipRules.from_options(batch)):
        if task.is_stopped:
            return
        if isinstance(item, FoundVideo):
            tally.videos += 1
            tally.total_bytes += item.size
        elif item.code in {"path_unreadable", "source_unreadable"}:
            tally.unreadable += 1
        elif item.code in SKIP_REASON_CODES:
            left_out.add(item)
            tally.left_out = left_out.video_count
        if time.monotonic() - reported_at > REPORT_INTERVAL_SECONDS:
            task.report(on_tally, replace(tally))
            reported_at = time.monotonic()
    tally.is_complete = True
    task.report(on_tally, tally)


def complete_path(typed: str, base: str) -> tuple[str, list[str]]:
    """In a thread: the typed path, completed as far as it is certain, and the names that may follow."""
    path = resolve_path(typed, base)
    folder, start = (path, "") if typed.endswith("/") else os.path.split(path)
    try:
        with scandir(folder) as inside:
            names = [item.name + ("/" if _is_folder(item) else "") for item in inside if _is_completion(item, start)]
    except (OSError, ValueError):
        return typed, []  # nothing to offer; opening the path shows the error
    if not names:
        return typed, []
    common = os.path.commonprefix(names)  # noqa: RUF071 - by characters on purpose: it lengthens what was typed
    return os.path.join(folder, common), sorted(names) if len(names) > 1 else []


def _is_completion(item: os.DirEntry[str], start: str) -> bool:
    if not item.name.startswith(start) or (item.name.startswith(".") and not start):
        return False
    return _is_folder(item) or is_video(item.name)


def is_video(name: str) -> bool:
    """Whether this is the name of a video that may be added."""
    return content_type(name) is not None and not is_output(name) and not is_output_copy(name)


def resolve_path(typed: str, base: str) -> str:
    """The absolute path of typed text, which may begin with `~` or be relative to `base`.

    A path that is typed after the one in the prompt replaces it, as in Emacs and Zsh: `/old//new`, `/old/~/new`.
    """
    typed = re.sub(r"^.*/(?=/|~)", "", typed)
    return os.path.normpath(os.path.join(base, os.path.expanduser(typed)))
