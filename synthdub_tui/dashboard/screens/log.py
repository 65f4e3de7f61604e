"""Shows the runner's log while it grows."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from synthdub_tui.dashboard.log_tail import KEEP, Entry, Tail
from synthdub_tui.dashboard.screens.base import Page
from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.dashboard.widgets.key_hints import Hints
from synthdub_tui.dashboard.widgets.lines import Reader
from synthdub_tui.dashboard.widgets.plain_text import Words
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.humanize import many

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
        self._entries: deque[Entry] = deque(maxlen=KEEP)
        self._problem = ""
        self._errand: Errand | None = None

    def compose(self) -> ComposeResult:
        yield Words(id="title")
        yield Reader(follow=True, id="log")
        yield SearchBox(placeholder="text", id="filter", passes=("up", "down"))
        yield Hints([("esc", "back"), ("v", "level"), ("G", "follow"), ("/", "filter"), ("↑↓", "scroll")])

    def on_mount(self) -> None:
        self._box.add_class("hidden")
        self._reader.focus()
        self._show()
        tail = Tail(self._path)
        self._errand = Errand(self, lambda errand: tail.follow(errand, self._read))

    def on_unmount(self) -> None:
        if self._errand is not None:
            self._errand.stop()

    @property
    def _reader(self) -> Reader:
        return self.query_one("#log", Reader)

    @property
    def _box(self) -> SearchBox:
        return self.query_one("#filter", SearchBox)

    def action_level(self) -> None:
        self._level = (self._level + 1) % len(LEVELS)
        self._show()

    def action_filter(self) -> None:
        self.open_box(self._box)

    def action_back(self) -> None:
        self.leave_box(self._box, self._reader)

    def action_close(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._reader.focus()

    def _read(self, entries: list[Entry], problem: str) -> None:
        self._entries.extend(entries)
        self._problem = problem
        self._show()

    @on(Input.Changed)
    def _show(self) -> None:
        name, least = LEVELS[self._level]
        needle = self._box.value.casefold()
        shown = [entry for entry in self._entries if entry.level >= least and needle in entry.low]
        self.query_one("#title", Words).show(f"Log: {name}, {many(len(shown), 'line')}")
        lines = [entry.line for entry in shown]
        if not lines:
            lines = [(("Nothing of this kind in the log." if self._entries else self._problem, "faint"),)]
        self._reader.show(lines)
