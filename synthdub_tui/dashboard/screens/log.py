"""Shows the runner's log while it grows."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from synthdub_tui.dashboard.log_tail import MAX_ENTRIES, LogEntry, LogTail
from synthdub_tui.dashboard.screens.base import Page
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.lines import TextView
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.humanize import format_count

LEVELS: Final = (("everything", 0), ("info and above", 20), ("warnings and errors", 30), ("errors", 40))


class LogScreen(Page[None]):
    """Stays at the end until the user scrolls up; `end` follows again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "level", "only what is graver, and back", show=False),
        Binding("slash", "filter", "only lines that hold a text", show=False, priority=True),
        Binding("l,q", "close", "back", show=False),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._level = 1
        self._entries: deque[LogEntry] = deque(maxlen=MAX_ENTRIES)
        self._problem = ""
        self._tail_task: ThreadTask | None = None

    def compose(self) -> ComposeResult:
        yield PlainText(id="title")
        yield TextView(follow=True, id="log")
        yield SearchBox(placeholder="text", id="filter", keys_for_screen=("up", "down"))
        yield KeyHints([("esc", "back"), ("v", "level"), ("G", "follow"), ("/", "filter"), ("↑↓", "scroll")])

    def on_mount(self) -> None:
        self._box.add_class("hidden")
        self._reader.focus()
        self._show()
        tail = LogTail(self._path)
        self._tail_task = ThreadTask(self, lambda task: tail.follow(task, self._add_entries))

    def on_unmount(self) -> None:
        if self._tail_task is not None:
            self._tail_task.stop()

    @property
    def _reader(self) -> TextView:
        return self.query_one("#log", TextView)

    @property
    def _box(self) -> SearchBox:
        return self.query_one("#filter", SearchBox)

    def action_level(self) -> None:
        self._level = (self._level + 1) % len(LEVELS)
        self._show()

    def action_filter(self) -> None:
        self.open_input(self._box)

    def action_back(self) -> None:
        self.close_input_or_page(self._box, self._reader)

    def action_close(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    def _handle_filter_submit(self) -> None:
        self._reader.focus()

    def _add_entries(self, entries: list[LogEntry], problem: str) -> None:
        self._entries.extend(entries)
        self._problem = problem
        self._show()

    @on(Input.Changed)
    def _show(self) -> None:
        name, least = LEVELS[self._level]
        needle = self._box.value.casefold()
        shown = [entry for entry in self._entries if entry.level >= least and needle in entry.folded_text]
        self.query_one("#title", PlainText).show(f"Log: {name}, {format_count(len(shown), 'line')}")
        lines = [entry.line for entry in shown]
        if not lines:
            lines = [(("Nothing of this kind in the log." if self._entries else self._problem, "faint"),)]
        self._reader.show(lines)
