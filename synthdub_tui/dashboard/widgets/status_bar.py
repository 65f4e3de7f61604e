"""The last line: the result of the last action and the last event, else the marks, the filter, and the keys that do something.

A longer text takes up to three lines while it is shown, since the remedy is often at its end. A result and an event do not
replace each other: most events follow an action within a second.
"""

from __future__ import annotations

import time
from typing import Final

from rich.cells import cell_len
from rich.text import Text
from textual.geometry import Size
from textual.widgets import Static

from synthdub_tui.dashboard.keymap import Keymap
from synthdub_tui.dashboard.text_layout import hints, in_lines

MOST_LINES: Final = 3
ROOM: Final = Size(20, 10)
"""Least size of the terminal for a text of more than one line."""

BESIDE: Final = 30
"""Columns that an event leaves to the keys, since it is shown longer than a result."""

SHOWN: Final = 8.0
"""Seconds for which a result is shown."""

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
"""Actions whose keys are shown, the most important first."""

FEW: Final = ("retry", "help", "details", "cancel")
"""Actions shown below `NARROW` columns; the help lists the others."""

NARROW: Final = 60

WATCHING: Final = ("details", "filter", "outputs", "help", "quit")
EMPTY: Final = ("add_files", "help", "quit")
"""Actions shown in a read-only dashboard, and while the batch is empty."""


class StatusLine(Static):
    """Plain text in up to three lines. Sends bytes only when it changes."""

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
        """Show the result of an action for `keep` seconds."""
        self.message = message
        self._said = time.monotonic()
        self._until = self._said + keep
        self.set_class(error, "-error")
        self._draw()

    def tell(self, event: str, *, keep: float = SHOWN) -> None:
        """Show an event for `keep` seconds."""
        self.event = event
        self._event_until = time.monotonic() + keep
        self._draw()

    def untell(self, event: str) -> None:
        """Remove an event that is over, if it is shown."""
        if self.event == event:
            self.tell("")

    def standing(self, words: str, *, empty: bool = False) -> None:
        """Set the text that is shown without a result: marks and filter. `empty`: the batch has no files."""
        self._standing = words
        self._empty = empty
        self._draw()

    def tick(self) -> None:
        """Time passed: remove a result or an event whose time is over."""
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
