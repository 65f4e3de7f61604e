"""Every key and what it does, as the core's bindings say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from synthdub_tui.dashboard.screens.drawn import Hints, Reader, SearchBox, Words
from synthdub_tui.dashboard.screens.page import Page
from synthdub_tui.dashboard.screens.words import Line, fit
from synthdub_tui.problems import printable

Groups = Sequence[tuple[str, Sequence[tuple[str, str]]]]
"""Headings, each with pairs of key and description."""


class HelpScreen(Page[None]):
    """Scrolls, and `/` shows only what holds a word."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", show=False),
        Binding("q,question_mark", "close", "Close", show=False),
    ]

    def __init__(self, groups: Groups, *, title: str = "Keys") -> None:
        super().__init__()
        self._groups = groups
        self._title = title
        self._reader = Reader(self._lines(""), id="keys")

    def compose(self) -> ComposeResult:
        yield Words(self._title, id="title")
        yield self._reader
        yield SearchBox(placeholder="key or word", id="search", passes=("up", "down"))
        yield Hints([("↑↓", "scroll"), ("/", "search"), ("esc", "back")])

    def on_mount(self) -> None:
        self._box.add_class("hidden")
        self._reader.focus()

    @property
    def _box(self) -> SearchBox:
        return self.query_one("#search", SearchBox)

    def action_search(self) -> None:
        self._box.remove_class("hidden")
        self._box.focus()

    def action_close(self) -> None:
        self.dismiss(None)

    def action_back(self) -> None:
        if self._box.has_class("hidden"):
            self.dismiss(None)
            return
        self._box.value = ""
        self._box.add_class("hidden")
        self._reader.focus()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._reader.show(self._lines(event.value))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._reader.focus()

    def _lines(self, wanted: str) -> list[Line]:
        needle = wanted.strip().casefold()
        lines: list[Line] = []
        for heading, keys in self._groups:
            found = [(key, words) for key, words in keys if needle in f"{key} {words} {heading}".casefold()]
            if found:
                lines += [(("", ""),)] if lines else []
                lines.append(((printable(heading), "strong"),))
                lines += [((fit(printable(key), 14), "key"), (" " + printable(words), "")) for key, words in found]
        return lines or [((f"Nothing here holds “{printable(needle)}”.", ""),)]
