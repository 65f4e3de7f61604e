"""The last line: the answer to the last action and what has happened by itself, else the marks, the filter, and the keys
that do something.

What is longer takes up to three lines while it is shown: what there is to do often stands at its end. An answer and an
event do not replace each other: they come in the same second, since an action is what most events follow.
"""

from __future__ import annotations

import time
from typing import Final

from rich.cells import cell_len
from rich.text import Text
from textual.geometry import Size
from textual.widgets import Static

from synthdub_tui.dashboard.keys import Keymap
from synthdub_tui.dashboard.screens.words import hints, in_lines

MOST_LINES: Final = 3
ROOM: Final = Size(20, 10)
"""Of the terminal, for an answer of more than one line."""

BESIDE: Final = 30
"""Cells that an event leaves to the keys: it stays longer than an answer."""

SHOWN: Final = 8.0
"""Seconds for which an answer stays."""

KEYS: Final = {
    "retry": "retry",
    "cancel": "cancel",
    "details": "details",
    "filter": "filter",
    "outputs": "outputs",
    "help": "help",
    "quit": "quit",
    "add_files": "add",
    "add_languages": "languages",
    "mark": "mark",
    "pause": "pause",
}
"""Actions that are named, the most important first."""

FEW: Final = ("retry", "help", "details", "cancel")
"""Where there is room for few: the help tells the others."""

NARROW: Final = 60

WATCHING: Final = ("details", "filter", "outputs", "help", "quit")
EMPTY: Final = ("add_files", "help", "quit")
"""Those that do something while nothing may be changed, and while nothing is there."""


class StatusLine(Static):
    """Plain text, one line; sends bytes only when it changes."""

    def __init__(self, keymap: Keymap, *, read_only: bool) -> None:
        super().__init__(markup=False, id="status")
        self._keymap = keymap
        self._read_only = read_only
        self._empty = False
        self.message = ""
        self.event = ""
        self._said = 0.0
        self._until = 0.0
        self._event_until = 0.0
        self._standing = ""
        self._drawn: object = None

    def say(self, message: str, *, error: bool = False, keep: float = SHOWN) -> None:
        """Answer an action."""
        self.message = message
        self._said = time.monotonic()
        self._until = self._said + keep
        self.set_class(error, "-error")
        self._draw()

    def tell(self, event: str, *, keep: float = SHOWN) -> None:
        """Something happened by itself."""
        self.event = event
        self._event_until = time.monotonic() + keep
        self._draw()

    def untell(self, event: str) -> None:
        """What happened is over, if that is what is shown."""
        if self.event == event:
            self.tell("")

    def standing(self, words: str, *, empty: bool = False) -> None:
        """What is said while there is no answer to show: marks and filter, or that the batch is `empty`."""
        self._standing = words
        self._empty = empty
        self._draw()

    def tick(self) -> None:
        """Time passed: what is shown long enough goes."""
        now = time.monotonic()
        if self.message and now > self._until:
            self.message = ""
            self.set_class(False, "-error")
        if self.event and now > self._event_until:
            self.event = ""
        self._draw()

    def on_resize(self) -> None:
        self._drawn = None
        self._draw()

    def _draw(self) -> None:
        width = self.size.width
        text = self._text(width)
        self.styles.height = text.plain.count("\n") + 1
        state = (text.plain, self.has_class("-error"))
        if state != self._drawn:
            self._drawn = state
            self.update(text, layout=False)

    def _text(self, width: int) -> Text:
        if self.message or (self.event and cell_len(self.event) > width - BESIDE):
            return self._told(max(2, width) - 1)
        text = Text(no_wrap=True, end="")
        if self.event:
            text.append(f" {self.event} ", "bold")
        if self._standing:
            text.append(" " + self._standing + " ", "reverse")
            text.truncate(max(1, width), overflow="ellipsis")
        return text.append(" ").append_text(hints(self._keys(width), width - text.cell_len - 1))

    def _keys(self, width: int) -> list[tuple[str, str]]:
        ids = WATCHING if self._read_only else EMPTY if self._empty else FEW if width < NARROW else tuple(KEYS)
        return [*((self._keymap.shown(id), KEYS[id]) for id in ids if self._keymap.shown(id)), ("ctrl+p", "palette")]

    def _told(self, width: int) -> Text:
        lines: list[str] = []
        if width >= ROOM.width and self.app.size.height >= ROOM.height:
            for words, most in ((self.message, MOST_LINES - bool(self.event)), (self.event, MOST_LINES)):
                lines += in_lines(words, width, most - len(lines)) if words else []
        else:
            fresh = self.message and time.monotonic() < self._said + SHOWN
            lines += in_lines(self.message if fresh or not self.event else self.event, width, 1)
        return Text("\n".join(f" {line}" for line in lines), no_wrap=True, end="")
