"""Lists a folder, and counts the videos below one. Runs in threads, and reports while it reads."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from os import scandir
from typing import Final

from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.jobs.output_paths import is_output
from synthdub_tui.problems import Problem, explain
from synthdub_tui.sources.scan import Found, content_type, scan
from synthdub_tui.sources.skip_rules import LEFT_OUT, Rules, is_output_copy, is_reserved
from synthdub_tui.sources.skipped_summary import LeftOut
from synthdub_tui.text import printable

TELL_EVERY: Final = 0.25
"""Least seconds between two reports."""


@dataclass(slots=True, eq=False)
class Entry:
    """A folder or a video. `size`: bytes; None until it is read, since that may be slow; -1 if the file is unreadable."""

    name: str
    path: str
    folder: bool
    size: int | None = None
    shown: str = field(init=False)
    low: str = field(init=False)

    def __post_init__(self) -> None:
        self.shown = printable(self.name)
        self.low = self.name.casefold()

    @property
    def order(self) -> tuple[bool, str, str]:
        return (not self.folder, self.low, self.name)


@dataclass(slots=True)
class Listing:
    """A folder, as far as it was read. Each report has a new object."""

    path: str
    entries: list[Entry]
    outputs: int = 0
    others: int = 0
    hidden: int = 0
    done: bool = False
    problem: Problem | None = None


def list_folder(
    errand: Errand, path: str, show_hidden: bool, tell: Callable[[Listing], None], sized: Callable[[], None]
) -> None:
    """In a thread: report the names first, then fill in the sizes."""
    listing = Listing(path, [])
    try:
        entries = _names(errand, listing, show_hidden, tell)
    except (OSError, ValueError) as error:
        why = (error.strerror or "") if isinstance(error, OSError) else "not a valid path"
        listing.problem = explain("path_missing" if isinstance(error, FileNotFoundError) else "path_unreadable", why)
        entries = []
    listing.entries = sorted(entries, key=lambda entry: entry.order)
    listing.done = True
    errand.tell(tell, listing)
    _fill_sizes(errand, listing.entries, sized)


def _names(errand: Errand, listing: Listing, show_hidden: bool, tell: Callable[[Listing], None]) -> list[Entry]:
    found: list[Entry] = []
    told = time.monotonic()
    with scandir(listing.path) as inside:
        for item in inside:
            if errand.stopped:
                return found
            _take(item, found, listing, show_hidden)
            if time.monotonic() - told > TELL_EVERY:
                so_far = sorted(found, key=lambda entry: entry.order)
                errand.tell(tell, Listing(listing.path, so_far, listing.outputs, listing.others, listing.hidden))
                told = time.monotonic()
    return found


def _take(item: os.DirEntry[str], found: list[Entry], listing: Listing, show_hidden: bool) -> None:
    if item.name.startswith("._"):  # macOS writes these next to files on foreign disks; never a video
        listing.others += 1
    elif (item.name.startswith(".") or is_reserved(item.name)) and not show_hidden:
        listing.hidden += 1
    elif _is_folder(item):
        found.append(Entry(item.name, item.path, True))
    elif content_type(item.name) is None:
        listing.others += 1
    elif is_output(item.name) or is_output_copy(item.name):
        listing.outputs += 1
    else:
        found.append(Entry(item.name, item.path, False))


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to something unreadable
        return False


def _fill_sizes(errand: Errand, entries: list[Entry], sized: Callable[[], None]) -> None:
    told = time.monotonic()
    for entry in entries:
        if errand.stopped:
            return
        if not entry.folder:
            entry.size = _size(entry.path)
        if time.monotonic() - told > TELL_EVERY:
            errand.tell(sized)
            told = time.monotonic()
    errand.tell(sized)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size if os.access(path, os.R_OK) else -1
    except OSError:
        return -1


@dataclass(slots=True)
class Tally:
    """The videos of a marked path that the runner would add, counted by the runner's own rules."""

    videos: int = 0
    bytes: int = 0
    unreadable: int = 0
    left_out: int = 0
    done: bool = False


def count_videos(errand: Errand, path: str, batch: Batch, tell: Callable[[Tally], None]) -> None:
    """In a thread: count the videos below a folder, and report while the count grows."""
    tally, left_out = Tally(), LeftOut()
    told = time.monotonic()
    for item in scan([path], recursive=batch.recursive, rules=Rules.of(batch)):
        if errand.stopped:
            return
        if isinstance(item, Found):
            tally.videos += 1
            tally.bytes += item.size
        elif item.code in {"path_unreadable", "source_unreadable"}:
            tally.unreadable += 1
        elif item.code in LEFT_OUT:
            left_out.note(item)
            tally.left_out = left_out.videos
        if time.monotonic() - told > TELL_EVERY:
            errand.tell(tell, replace(tally))
            told = time.monotonic()
    tally.done = True
    errand.tell(tell, tally)


def complete(typed: str, base: str) -> tuple[str, list[str]]:
    """In a thread: the typed path, completed as far as it is certain, and the names that may follow."""
    path = resolved(typed, base)
    folder, start = (path, "") if typed.endswith("/") else os.path.split(path)
    try:
        with scandir(folder) as inside:
            names = [item.name + ("/" if _is_folder(item) else "") for item in inside if _completes(item, start)]
    except (OSError, ValueError):
        return typed, []  # nothing to offer; opening the path shows the error
    if not names:
        return typed, []
    common = os.path.commonprefix(names)  # noqa: RUF071 - by characters on purpose: it lengthens what was typed
    return os.path.join(folder, common), sorted(names) if len(names) > 1 else []


def _completes(item: os.DirEntry[str], start: str) -> bool:
    if not item.name.startswith(start) or (item.name.startswith(".") and not start):
        return False
    return _is_folder(item) or is_video(item.name)


def is_video(name: str) -> bool:
    """Whether this is the name of a video that may be added."""
    return content_type(name) is not None and not is_output(name) and not is_output_copy(name)


def resolved(typed: str, base: str) -> str:
    """The absolute path of typed text, which may begin with `~` or be relative to `base`.

    A path that is typed after the one in the prompt replaces it, as in Emacs and Zsh: `/old//new`, `/old/~/new`.
    """
    typed = re.sub(r"^.*/(?=/|~)", "", typed)
    return os.path.normpath(os.path.join(base, os.path.expanduser(typed)))
