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
from synthdub_tui.dashboard.text_layout import key_hints_text, wrap_to_lines

MAX_LINES: Final = 3
MIN_SIZE_FOR_LONG_MESSAGES: Final = Size(20, 10)
"""Least size of the terminal for a text of more than one line."""

MIN_KEY_HINT_CELLS: Final = 30
"""Columns that an event leaves to the keys, since it is shown longer than a result."""

MESSAGE_SECONDS: Final = 8.0
"""Seconds for which a result is shown."""

KEY_LABELS: Final = {
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

KEYS_WHEN_NARROW: Final = ("retry", "help", "details", "cancel")
"""Actions shown below `NARROW_BELOW_CELLS` columns; the help lists the others."""

NARROW_BELOW_CELLS: Final = 60

KEYS_WHEN_READ_ONLY: Final = ("details", "filter", "outputs", "help", "quit")
KEYS_WHEN_EMPTY: Final = ("add_files", "help", "quit")
"""Actions shown in a read-only dashboard, and while the batch is empty."""


class StatusBar(Static):
    """Plain text in up to three lines. Sends bytes only when it changes."""

    def __init__(self, keymap: Keymap, *, read_only: bool) -> None:
        super().__init__(markup=False, id="status")
        self._keymap = keymap
        self._read_only = read_only
        self._empty = False
        self.message = ""
        self.event_text = ""
        self._message_shown_at = 0.0
        self._message_until = 0.0
        self._event_until = 0.0
        self._idle_text = ""
        self._drawn: object = None

    def show_message(self, message: str, *, error: bool = False, seconds: float = MESSAGE_SECONDS) -> None:
        """Show the result of an action for `seconds` seconds."""
        self.message = message
        self._message_shown_at = time.monotonic()
        self._message_until = self._message_shown_at + seconds
        self.set_class(error, "-error")
        self._draw()

    def show_event(self, event: str, *, seconds: float = MESSAGE_SECONDS) -> None:
        """Show an event for `seconds` seconds."""
        self.event_text = event
        self._event_until = time.monotonic() + seconds
        self._draw()

    def clear_event(self, event: str) -> None:
        """Remove an event that is over, if it is shown."""
        if self.event_text == event:
            self.show_event("")

    def set_idle_text(self, words: str, *, batch_is_empty: bool = False) -> None:
        """Set the text that is shown without a result: marks and filter. `batch_is_empty`: the batch has no files."""
        self._idle_text = words
        self._empty = batch_is_empty
        self._draw()

    def clear_expired(self) -> None:
        """Time passed: remove a result or an event whose time is over."""
        now = time.monotonic()
        if self.message and now > self._message_until:
            self.message = ""
            self.set_class(False, "-error")
        if self.event_text and now > self._event_until:
            self.event_text = ""
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
        if self.message or (self.event_text and cell_len(self.event_text) > width - MIN_KEY_HINT_CELLS):
            return self._message_text(max(2, width) - 1)
        text = Text(no_wrap=True, end="")
        if self.event_text:
            text.append(f" {self.event_text} ", "bold")
        if self._idle_text:
            text.append(" " + self._idle_text + " ", "reverse")
            text.truncate(max(1, width), overflow="ellipsis")
        return text.append(" ").append_text(key_hints_text(self._keys(width), width - text.cell_len - 1))

    def _keys(self, width: int) -> list[tuple[str, str]]:
        ids = (
            KEYS_WHEN_READ_ONLY
            if self._read_only
            else KEYS_WHEN_EMPTY
            if self._empty
            else KEYS_WHEN_NARROW
            if width < NARROW_BELOW_CELLS
            else tuple(KEY_LABELS)
        )
        return [
            *((self._keymap.key_label(id), KEY_LABELS[id]) for id in ids if self._keymap.key_label(id)),
            ("ctrl+p", "palette"),
        ]

    def _message_text(self, width: int) -> Text:
        lines: list[str] = []
        if width >= MIN_SIZE_FOR_LONG_MESSAGES.width and self.app.size.height >= MIN_SIZE_FOR_LONG_MESSAGES.height:
            for words, most in ((self.message, MAX_LINES - bool(self.event_text)), (self.event_text, MAX_LINES)):
                lines += wrap_to_lines(words, width, most - len(lines)) if words else []
        else:
            fresh = self.message and time.monotonic() < self._message_shown_at + MESSAGE_SECONDS
            lines += wrap_to_lines(self.message if fresh or not self.event_text else self.event_text, width, 1)
        return Text("\n".join(f" {line}" for line in lines), no_wrap=True, end="")
