"""Picks videos and folders on the runner's machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from synthdub_tui.dashboard.directory_listing import (
    DirectoryEntry,
    DirectoryListing,
    complete_path,
    is_video,
    list_folder,
    resolve_path,
)
from synthdub_tui.dashboard.file_marks import FileMarks, MarkedVideoCount
from synthdub_tui.dashboard.screens.base import Page
from synthdub_tui.dashboard.text_layout import Line, fit, fit_end, format_size
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.dashboard.widgets.row_list import RowList
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.humanize import format_count
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.problems import explain
from synthdub_tui.text import make_printable

SIZE_WIDTH: Final = 9

MAX_COMPLETIONS_SHOWN: Final = 12
"""Most completions that are listed."""


class AddFilesScreen(Page[list[str]]):
    """Returns the marked absolute paths, or None. Without marks, enter adds the video or opens the folder under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l", "open", "open the folder", show=False),
        Binding("left,h,backspace", "up", "to the folder above", show=False),
        Binding("enter", "confirm", "add what is marked, else the video under the cursor", show=False),
        Binding("space", "mark", "mark a video, or a folder as a whole", show=False),
        Binding("asterisk", "mark_all", "mark all videos shown", show=False),
        Binding("u", "unmark", "unmark everything", show=False),
        Binding("slash", "filter", "filter by a part of the name", show=False, priority=True),
        Binding("p,tilde", "path", "type a path; tab completes it", show=False, priority=True),
        Binding("full_stop", "hidden", "show or hide hidden files", show=False),
        Binding("tab", "complete", "complete the path", show=False),
        Binding("q", "close", "back", show=False),
    ]

    def __init__(self, start: Path, batch: BatchOptions | None = None, *, title: str = "Add videos") -> None:
        super().__init__()
        self._title = title
        self._listing = DirectoryListing(os.path.abspath(start), [])
        self._shown: list[DirectoryEntry] = []
        self._marks = FileMarks(self, batch or BatchOptions(), self._update)
        self._listing_task: ThreadTask | None = None
        self._completion_task: ThreadTask | None = None
        self._name_to_select = ""  # name that gets the cursor as soon as it is listed
        self._user_moved_cursor = False  # the user moved the cursor here: keep it on its entry while more are read
        self._show_hidden = False
        self._message = ""
        self.video_count = MarkedVideoCount()  # of the chosen paths

    def compose(self) -> ComposeResult:
        yield PlainText(id="title")
        yield RowList(self._row, id="entries")
        yield PlainText(id="note", classes="notes")
        yield PlainText(id="count", classes="status")
        yield SearchBox(placeholder="part of a name", id="filter", keys_for_screen=("up", "down", "tab"))
        yield SearchBox(placeholder="path; tab completes", id="path", keys_for_screen=("up", "down", "tab"))
        yield KeyHints()

    def on_mount(self) -> None:
        for box in self.query(SearchBox):
            box.add_class("hidden")
        self._list.focus()
        self._open_folder(self._listing.path)

    def on_unmount(self) -> None:
        self._marks.clear()
        for task in (self._listing_task, self._completion_task):
            if task is not None:
                task.stop()

    def on_resize(self) -> None:
        self._update()

    @property
    def _list(self) -> RowList:
        return self.query_one("#entries", RowList)

    @property
    def _entry_at_cursor(self) -> DirectoryEntry | None:
        return self._shown[self._list.cursor] if self._shown else None

    # -- the folder ----------------------------------------------------------------------------------------------------

    def _open_folder(self, path: str, name_to_select: str = "") -> None:
        """Show another folder, and stop reading the old one."""
        if self._listing_task is not None:
            self._listing_task.stop()
        self._name_to_select = name_to_select
        self._user_moved_cursor = False
        self._box("filter").value = ""
        self._box("filter").add_class("hidden")
        self._handle_listing(DirectoryListing(path, []))
        hidden = self._show_hidden
        self._listing_task = ThreadTask(
            self, lambda task: list_folder(task, path, hidden, self._handle_listing, self._handle_sizes)
        )

    def _handle_listing(self, listing: DirectoryListing) -> None:
        at = self._entry_at_cursor
        name = self._name_to_select or (at.name if at is not None and self._user_moved_cursor else "")
        self._listing = listing
        self._message = ""
        self._apply_filter(name)
        if listing.is_complete:
            self._name_to_select = ""

    def _handle_sizes(self) -> None:
        self._marks.forget_summary()
        self._list.refresh()
        self._update()

    def _apply_filter(self, name: str) -> None:
        """Filter again. The cursor goes to the entry with this name, else to the first."""
        needle = self._box("filter").value.strip().casefold()
        entries = self._listing.entries
        self._shown = [entry for entry in entries if needle in entry.folded_name] if needle else entries
        cursor = next((index for index, entry in enumerate(self._shown) if entry.name == name), 0) if name else 0
        self._list.show(len(self._shown), cursor)
        self._update()

    def action_open(self) -> None:
        entry = self._entry_at_cursor
        if entry is not None and entry.is_folder:
            self._open_folder(entry.path)

    def action_up(self) -> None:
        above, name = os.path.split(self._listing.path)
        if name:
            self._open_folder(above, name)

    def action_hidden(self) -> None:
        self._show_hidden = not self._show_hidden
        self._open_folder(self._listing.path, self._entry_at_cursor.name if self._entry_at_cursor else "")

    # -- marks ---------------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        entry = self._entry_at_cursor
        if entry is None:
            return
        if self._mark(entry):
            self._list.action_move(1)
        self._list.refresh()
        self._update()

    def action_mark_all(self) -> None:
        """Mark all shown videos, or unmark them if all are marked already."""
        videos = [entry for entry in self._shown if not entry.is_folder and not self._why_not_markable(entry)]
        left = [entry for entry in videos if entry.path not in self._marks]
        for entry in left or videos:
            self._marks.toggle(entry)
        self._list.refresh()
        self._message = ""
        self._update()

    def action_unmark(self) -> None:
        self._marks.clear()
        self._list.refresh()
        self._message = ""
        self._update()

    def _mark(self, entry: DirectoryEntry) -> bool:
        self._message = "" if entry.path in self._marks else self._why_not_markable(entry)
        if not self._message:
            self._marks.toggle(entry)
        return not self._message

    def _why_not_markable(self, entry: DirectoryEntry) -> str:
        """Why an entry cannot be marked; empty if it can."""
        above = self._marks.marked_ancestor(entry.path)
        if above is not None:
            return f"Included already: {make_printable(os.path.basename(above) or '/')} is marked as a whole."
        if not entry.path.isascii() and any("\ud800" <= char <= "\udfff" for char in entry.path):
            return explain("name_invalid").one_line()
        if entry.size == 0:
            return explain("source_empty").one_line()
        return explain("source_unreadable").one_line() if entry.size == -1 else ""

    def action_confirm(self) -> None:
        entry = self._entry_at_cursor
        if len(self._marks):
            self._dismiss_marked()
        elif entry is not None and entry.is_folder:
            self._open_folder(entry.path)
        elif entry is not None and self._mark(entry):
            self._dismiss_marked()
        self._update()

    def _dismiss_marked(self) -> None:
        self.video_count = self._marks.video_count
        self.dismiss(self._marks.paths)

    @on(RowList.RowActivated)
    def _handle_row_activated(self) -> None:
        entry = self._entry_at_cursor
        if entry is not None and entry.is_folder:
            self._open_folder(entry.path)
        else:
            self.action_mark()

    # -- typing --------------------------------------------------------------------------------------------------------

    def _box(self, name: str) -> SearchBox:
        return self.query_one(f"#{name}", SearchBox)

    def action_filter(self) -> None:
        self.open_input(self._box("filter"))

    def action_path(self) -> None:
        box = self._box("path")
        box.value = os.path.join(self._listing.path, "") if self._listing.path.isprintable() else ""
        self.open_input(box)
        box.cursor_position = len(box.value)

    def action_back(self) -> None:
        """Leave one thing at a time: the box that has the focus, the marks, the filter, the screen."""
        if len(self._marks) and self.focused is self._list:
            self.action_unmark()
            return
        for name in ("path", "filter"):
            box = self._box(name)
            if not box.has_class("hidden"):
                box.value = ""
                box.add_class("hidden")
                self._list.focus()
                return
        self.dismiss(None)

    def action_close(self) -> None:
        self.dismiss(None)

    @on(Input.Changed, "#filter")
    def _handle_filter_change(self) -> None:
        at = self._entry_at_cursor
        self._apply_filter(at.name if at is not None else "")

    @on(Input.Submitted, "#filter")
    def _handle_filter_submit(self, event: Input.Submitted) -> None:
        if not event.value:
            self._box("filter").add_class("hidden")
        self._list.focus()

    @on(Input.Submitted, "#path")
    def _handle_path_submit(self, event: Input.Submitted) -> None:
        """Open a folder, or show a video in its folder. The name decides which it is: this must not read the disk."""
        typed = event.value.strip()
        self._box("path").add_class("hidden")
        self._list.focus()
        if not typed:
            return
        path = resolve_path(typed, self._listing.path)
        name = os.path.basename(path)
        if is_video(name) and not typed.endswith("/"):
            self._open_folder(os.path.dirname(path), name)
        else:
            self._open_folder(path)

    def action_complete(self) -> None:
        box = self._box("path")
        if box.has_class("hidden") or (self._completion_task is not None and not self._completion_task.is_done):
            return
        typed, base = box.value, self._listing.path
        self._completion_task = ThreadTask(
            self, lambda task: task.report(self._show_completions, typed, *complete_path(typed, base))
        )

    def _show_completions(self, typed: str, longer: str, offers: list[str]) -> None:
        box = self._box("path")
        if box.value != typed:  # the user typed more meanwhile
            return
        if longer.isprintable():
            box.value = longer
            box.cursor_position = len(longer)
        more = f"  and {len(offers) - MAX_COMPLETIONS_SHOWN} more" if len(offers) > MAX_COMPLETIONS_SHOWN else ""
        self._message = "  ".join(make_printable(name, 40) for name in offers[:MAX_COMPLETIONS_SHOWN]) + more if offers else ""
        self._update()

    # -- drawing -------------------------------------------------------------------------------------------------------

    def _row(self, index: int, width: int) -> Line:
        entry = self._shown[index]
        marked = entry.path in self._marks or self._marks.marked_ancestor(entry.path) is not None
        name = fit(entry.display_name + ("/" if entry.is_folder else ""), width - SIZE_WIDTH - 5)
        role = "strong" if marked else "faint" if entry.size in {0, -1} else "key" if entry.is_folder else ""
        return ((f"[{'x' if marked else ' '}] ", "strong" if marked else ""), (name, role), (" " + _size(entry), "faint"))

    def _update(self) -> None:
        """Update the lines around the list."""
        if not self.is_mounted:
            return
        listing = self._listing
        path = make_printable(listing.path, 4096)
        self.query_one("#title", PlainText).show(
            f"{self._title}: {fit_end(path, max(10, self.size.width - len(self._title) - 2))}"
        )
        self.query_one("#note", PlainText).show(self._marked_line())
        self.query_one("#count", PlainText).show(_count_text(listing, self._shown))
        marks = len(self._marks)
        entry = self._entry_at_cursor
        enter = f"add {marks}" if marks else "open" if entry is not None and entry.is_folder else "add"
        keys = [
            ("enter", enter),
            ("space", "mark"),
            ("esc", "unmark" if marks else "back"),
            ("h l", "folders"),
            ("/", "filter"),
            ("p", "path"),
        ]
        self.query_one(KeyHints).show([*keys, ("*", "all"), ("u", "none"), (".", "hidden")])

    def _marked_line(self) -> str:
        if self._message:
            return self._message
        problem = self._listing.problem
        if problem is not None:
            return f"{problem.one_line()} h goes up."
        return f"{len(self._marks):,} marked: {self._marks.summary()}" if len(self._marks) else "Nothing is marked."

    @on(RowList.CurrentRowMoved)
    def _handle_cursor_move(self) -> None:
        self._user_moved_cursor = True
        self._message = ""
        self._update()


def _size(entry: DirectoryEntry) -> str:
    if entry.is_folder or entry.size is None:
        return " " * SIZE_WIDTH
    words = {0: "empty", -1: "unread"}
    return fit(words.get(entry.size) or format_size(entry.size), SIZE_WIDTH, right=True)


def _count_text(listing: DirectoryListing, shown: list[DirectoryEntry]) -> str:
    """How many videos and folders are shown, and how many files are not."""
    if not listing.is_complete:
        return f"Reading… {len(listing.entries):,} so far"
    videos = sum(not entry.is_folder for entry in shown)
    counted = format_count(videos, "video") + ", " + format_count(len(shown) - videos, "folder")
    if len(shown) != len(listing.entries):
        counted += f" of {len(listing.entries):,}"
    left = [("output", listing.outputs), ("other", listing.others), ("hidden file", listing.hidden)]
    hidden = ", ".join(format_count(number, word) for word, number in left if number)
    return f"{counted}; not shown: {hidden}" if hidden else counted
