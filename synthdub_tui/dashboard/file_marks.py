"""The files and folders marked in the picker, and how much they contain."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from textual.message_pump import MessagePump

from synthdub_tui.dashboard.directory_listing import DirectoryEntry, FolderTally, count_videos
from synthdub_tui.dashboard.text_layout import format_size
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.humanize import format_count
from synthdub_tui.jobs.batch_options import BatchOptions


class MarkedVideoCount(NamedTuple):
    """A number of videos, and whether all are counted."""

    videos: int = 1
    is_final: bool = True


class FileMarks:
    """The marked paths. Folders are counted in threads, by the batch options; unmarking one stops its count.

    `on_change` is called when a count grows.
    """

    def __init__(self, owner: MessagePump, batch: BatchOptions, on_change: Callable[[], None]) -> None:
        self._batch = batch
        self._owner = owner
        self._on_change = on_change
        self._marked: dict[str, DirectoryEntry | FolderTally] = {}
        self._count_tasks: dict[str, ThreadTask] = {}
        self._summary: str | None = None  # cached, because it is shown after every key

    def __contains__(self, path: str) -> bool:
        return path in self._marked

    def __len__(self) -> int:
        return len(self._marked)

    @property
    def paths(self) -> list[str]:
        """The marked paths, in the order in which they were marked."""
        return list(self._marked)

    def marked_ancestor(self, path: str) -> str | None:
        """The marked folder that contains this path, if there is one."""
        folder = os.path.dirname(path)
        while folder != path:
            if folder in self._marked:
                return folder
            path, folder = folder, os.path.dirname(folder)
        return folder if folder in self._marked else None

    def toggle(self, entry: DirectoryEntry) -> None:
        """Mark, or unmark. Marking a folder replaces the marks inside it."""
        self._summary = None
        if entry.path in self._marked:
            self.remove(entry.path)
            return
        if entry.is_folder:
            inside = os.path.join(entry.path, "")
            for path in [path for path in self._marked if path.startswith(inside)]:
                self.remove(path)
            self._marked[entry.path] = FolderTally()
            self._start_counting(entry.path)
        else:
            self._marked[entry.path] = entry

    def remove(self, path: str) -> None:
        """Unmark; nothing happens if it is not marked."""
        self._summary = None
        self._marked.pop(path, None)
        task = self._count_tasks.pop(path, None)
        if task is not None:
            task.stop()

    def clear(self) -> None:
        """Unmark everything and stop counting."""
        for path in self.paths:
            self.remove(path)

    def summary(self) -> str:
        """`125 videos, 4.5 GB`, and notes if the count is incomplete, or files are unreadable or skipped."""
        if self._summary is None:
            self._summary = self._build_summary()
        return self._summary

    @property
    def video_count(self) -> MarkedVideoCount:
        """How many videos are marked, as far as the folders were counted."""
        marks = self._marked.values()
        videos = sum(mark.videos if isinstance(mark, FolderTally) else 1 for mark in marks)
        return MarkedVideoCount(videos, all(mark.is_complete for mark in marks if isinstance(mark, FolderTally)))

    def forget_summary(self) -> None:
        """Sizes of marked files were filled in."""
        self._summary = None

    def _build_summary(self) -> str:
        total = unreadable = left_out = 0
        for mark in self._marked.values():
            if isinstance(mark, FolderTally):
                total, unreadable = total + mark.total_bytes, unreadable + mark.unreadable
                left_out += mark.left_out
            else:
                total += max(0, mark.size or 0)
        count = self.video_count
        notes = "" if count.is_final else ", counting…"
        notes += f", {unreadable:,} unreadable" if unreadable else ""
        notes += f", {left_out:,} left out" if left_out else ""
        return f"{format_count(count.videos, 'video')}, {format_size(total)}{notes}"

    def _start_counting(self, path: str) -> None:
        def on_tally(tally: FolderTally) -> None:
            if path in self._marked:
                self._marked[path] = tally
                self._summary = None
                self._on_change()

        self._count_tasks[path] = ThreadTask(self._owner, lambda task: count_videos(task, path, self._batch, on_tally))
