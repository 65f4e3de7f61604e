"""The files and folders marked in the picker, and how much they contain."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from textual.message_pump import MessagePump

from synthdub_tui.dashboard.directory_listing import Entry, Tally, count_videos
from synthdub_tui.dashboard.text_layout import size
from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.humanize import many
from synthdub_tui.jobs.batch_options import Batch


class Count(NamedTuple):
    """A number of videos, and whether all are counted."""

    videos: int = 1
    all: bool = True


class Marks:
    """The marked paths. Folders are counted in threads, by the batch options; unmarking one stops its count.

    `changed` is called when a count grows.
    """

    def __init__(self, owner: MessagePump, batch: Batch, changed: Callable[[], None]) -> None:
        self._batch = batch
        self._owner = owner
        self._changed = changed
        self._marked: dict[str, Entry | Tally] = {}
        self._errands: dict[str, Errand] = {}
        self._sum: str | None = None  # cached, because it is shown after every key

    def __contains__(self, path: str) -> bool:
        return path in self._marked

    def __len__(self) -> int:
        return len(self._marked)

    @property
    def paths(self) -> list[str]:
        """The marked paths, in the order in which they were marked."""
        return list(self._marked)

    def above(self, path: str) -> str | None:
        """The marked folder that contains this path, if there is one."""
        folder = os.path.dirname(path)
        while folder != path:
            if folder in self._marked:
                return folder
            path, folder = folder, os.path.dirname(folder)
        return folder if folder in self._marked else None

    def toggle(self, entry: Entry) -> None:
        """Mark, or unmark. Marking a folder replaces the marks inside it."""
        self._sum = None
        if entry.path in self._marked:
            self.remove(entry.path)
            return
        if entry.folder:
            inside = os.path.join(entry.path, "")
            for path in [path for path in self._marked if path.startswith(inside)]:
                self.remove(path)
            self._marked[entry.path] = Tally()
            self._count(entry.path)
        else:
            self._marked[entry.path] = entry

    def remove(self, path: str) -> None:
        """Unmark; nothing happens if it is not marked."""
        self._sum = None
        self._marked.pop(path, None)
        errand = self._errands.pop(path, None)
        if errand is not None:
            errand.stop()

    def clear(self) -> None:
        """Unmark everything and stop counting."""
        for path in self.paths:
            self.remove(path)

    def sum(self) -> str:
        """`125 videos, 4.5 GB`, and notes if the count is incomplete, or files are unreadable or skipped."""
        if self._sum is None:
            self._sum = self._summed()
        return self._sum

    @property
    def count(self) -> Count:
        """How many videos are marked, as far as the folders were counted."""
        marks = self._marked.values()
        videos = sum(mark.videos if isinstance(mark, Tally) else 1 for mark in marks)
        return Count(videos, all(mark.done for mark in marks if isinstance(mark, Tally)))

    def sizes_known(self) -> None:
        """Sizes of marked files were filled in."""
        self._sum = None

    def _summed(self) -> str:
        total = unreadable = left_out = 0
        for mark in self._marked.values():
            if isinstance(mark, Tally):
                total, unreadable = total + mark.bytes, unreadable + mark.unreadable
                left_out += mark.left_out
            else:
                total += max(0, mark.size or 0)
        count = self.count
        notes = "" if count.all else ", counting…"
        notes += f", {unreadable:,} unreadable" if unreadable else ""
        notes += f", {left_out:,} left out" if left_out else ""
        return f"{many(count.videos, 'video')}, {size(total)}{notes}"

    def _count(self, path: str) -> None:
        def told(tally: Tally) -> None:
            if path in self._marked:
                self._marked[path] = tally
                self._sum = None
                self._changed()

        self._errands[path] = Errand(self._owner, lambda errand: count_videos(errand, path, self._batch, told))
