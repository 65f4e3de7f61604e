"""Shows captions as plain text."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from synthdub_tui.dashboard.screens.base import Page
from synthdub_tui.dashboard.text_layout import Line, size
from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.dashboard.widgets.key_hints import Hints
from synthdub_tui.dashboard.widgets.lines import Reader
from synthdub_tui.dashboard.widgets.plain_text import Words
from synthdub_tui.text import joinable, printable

LIMIT: Final = 256 * 1024
"""Most bytes shown of one file; captions of several hours are smaller."""

DIRECTION: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
APART: Final = "\u200c"
"""Keeps the letters of a Persian word apart; zero width."""

LONGEST: Final = 2000

ORDER: Final = {".srt": 0, ".vtt": 1}


class CaptionsScreen(Page[None]):
    """One file at a time; tab shows the next."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "next", "the next file", show=False),
        Binding("c,q", "back", "back", show=False),
    ]

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self._paths = sorted(paths, key=lambda path: ORDER.get(os.path.splitext(path)[1].lower(), 9))
        self._at = 0
        self._errand: Errand | None = None

    def compose(self) -> ComposeResult:
        yield Words(id="title")
        yield Reader(id="captions")
        keys = [("↑↓", "scroll"), ("esc", "back")]
        yield Hints([*keys, ("tab", "next file")] if len(self._paths) > 1 else keys)

    def on_mount(self) -> None:
        self.query_one(Reader).focus()
        self._load()

    def on_unmount(self) -> None:
        self._stop()

    def action_next(self) -> None:
        self._at = (self._at + 1) % len(self._paths)
        self._load()

    def _load(self) -> None:
        self._stop()
        path = self._paths[self._at]
        self.query_one("#title", Words).show(printable(os.path.basename(path)))
        self._errand = Errand(self, lambda errand: errand.tell(self._show, read(path)))

    def _show(self, lines: list[Line]) -> None:
        reader = self.query_one(Reader)
        reader.show(lines)
        reader.scroll_home(animate=False)

    def _stop(self) -> None:
        if self._errand is not None:
            self._errand.stop()


def read(path: str) -> list[Line]:
    """The file's lines, without control characters. If it cannot be read, one line says why."""
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT + 1)
            whole = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its path is not valid"
        return [((f"The captions cannot be read: {why}.", "warn"),)]
    text = data[:LIMIT].decode("utf-8-sig", "replace")
    lines: list[Line] = [((_plain(line.rstrip("\r").expandtabs(4)), ""),) for line in text.split("\n")]
    if len(data) > LIMIT:
        lines.append(((f"… the first {size(LIMIT)} of {size(whole)}", "faint"),))
    return lines


def _plain(line: str) -> str:
    """A line without control characters. Persian words keep the character that separates their letters. Direction marks, usual
    in Arabic and Hebrew captions, are removed: terminals ignore them, or apply them too far."""
    words = DIRECTION.sub("", line)[:LONGEST].split(APART)
    plain = printable(words[0], LONGEST)
    for before, word in pairwise(words):
        plain += (APART if joinable(before[-1:]) else printable(APART)) + printable(word, LONGEST)
    return plain
