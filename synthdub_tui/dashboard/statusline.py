"""The last line: the answer to the last action, else the marks, the filter, and the keys that do something.

An answer that is longer takes up to three lines while it is shown: what there is to do often stands at its end.
"""

from __future__ import annotations

import time
from typing import Final

from rich.text import Text
from textual.geometry import Size
from textual.widgets import Static

from synthdub_tui.dashboard.screens.words import fit, hints, wrap

MOST_LINES: Final = 3
ROOM: Final = Size(20, 10)
"""Of the terminal, for an answer of more than one line."""

SHOWN: Final = 8.0
"""Seconds for which an answer stays."""

KEYS: Final = [
    ("r", "retry"),
    ("x", "cancel"),
    ("enter", "details"),
    ("/", "filter"),
    ("o", "outputs"),
    ("?", "help"),
    ("q", "quit"),
    ("a", "add"),
    ("L", "languages"),
    ("space", "mark"),
    ("p", "pause"),
    ("ctrl+p", "palette"),
]


class StatusLine(Static):
    """Plain text, one line; sends bytes only when it changes."""

    def __init__(self) -> None:
        super().__init__(markup=False, id="status")
        self.message = ""
        self._until = 0.0
        self._standing = ""
        self._drawn: object = None

    def say(self, message: str, *, error: bool = False, keep: float = SHOWN) -> None:
        """Answer an action."""
        self.message = message
        self._until = time.monotonic() + keep
        self.set_class(error, "-error")
        self._draw()

    def standing(self, words: str) -> None:
        """What is said while there is no answer to show: marks and filter."""
        self._standing = words
        self._draw()

    def tick(self) -> None:
        """Time passed: an answer is shown long enough."""
        if self.message and time.monotonic() > self._until:
            self.message = ""
            self.set_class(False, "-error")
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
        if self.message:
            return self._answer(max(2, width))
        text = Text(no_wrap=True, end="")
        if self._standing:
            text.append(" " + self._standing + " ", "reverse")
            text.truncate(max(1, width), overflow="ellipsis")
        return text.append(" ").append_text(hints(KEYS, width - text.cell_len - 1))

    def _answer(self, width: int) -> Text:
        most = MOST_LINES if width >= ROOM.width and self.app.size.height >= ROOM.height else 1
        lines = ["".join(text for text, _ in line).rstrip() for line in wrap(((self.message, ""),), width - 1)]
        if len(lines) > most:
            lines = [*lines[: most - 1], fit(" ".join(lines[most - 1 :]), width - 1)]
        return Text("\n".join(f" {line}" for line in lines), no_wrap=True, end="")
