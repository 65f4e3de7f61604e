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
from synthdub_tui.dashboard.text_layout import Line, format_size
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.lines import TextView
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.text import can_precede_joiner, make_printable

MAX_CAPTION_BYTES: Final = 256 * 1024
"""Most bytes shown of one file; captions of several hours are smaller."""

DIRECTION_MARKS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ZERO_WIDTH_NON_JOINER: Final = "\u200c"
"""Keeps the letters of a Persian word apart; zero width."""

MAX_LINE_CHARACTERS: Final = 2000

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
        self._path_index = 0
        self._load_task: ThreadTask | None = None

    def compose(self) -> ComposeResult:
        yield PlainText(id="title")
        yield TextView(id="captions")
        keys = [("↑↓", "scroll"), ("esc", "back")]
        yield KeyHints([*keys, ("tab", "next file")] if len(self._paths) > 1 else keys)

    def on_mount(self) -> None:
        self.query_one(TextView).focus()
        self._load()

    def on_unmount(self) -> None:
        self._stop()

    def action_next(self) -> None:
        self._path_index = (self._path_index + 1) % len(self._paths)
        self._load()

    def _load(self) -> None:
        self._stop()
        path = self._paths[self._path_index]
        self.query_one("#title", PlainText).show(make_printable(os.path.basename(path)))
        self._load_task = ThreadTask(self, lambda task: task.report(self._show, read_captions(path)))

    def _show(self, lines: list[Line]) -> None:
        reader = self.query_one(TextView)
        reader.show(lines)
        reader.scroll_home(animate=False)

    def _stop(self) -> None:
        if self._load_task is not None:
            self._load_task.stop()


def read_captions(path: str) -> list[Line]:
    """The file's lines, without control characters. If it cannot be read, one line says why."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CAPTION_BYTES + 1)
            whole = os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its path is not valid"
        return [((f"The captions cannot be read: {why}.", "warn"),)]
    text = data[:MAX_CAPTION_BYTES].decode("utf-8-sig", "replace")
    lines: list[Line] = [((_sanitize_line(line.rstrip("\r").expandtabs(4)), ""),) for line in text.split("\n")]
    if len(data) > MAX_CAPTION_BYTES:
        lines.append(((f"… the first {format_size(MAX_CAPTION_BYTES)} of {format_size(whole)}", "faint"),))
    return lines


def _sanitize_line(line: str) -> str:
    """A line without control characters. Persian words keep the character that separates their letters. Direction marks, usual
    in Arabic and Hebrew captions, are removed: terminals ignore them, or apply them too far."""
    words = DIRECTION_MARKS.sub("", line)[:MAX_LINE_CHARACTERS].split(ZERO_WIDTH_NON_JOINER)
    plain = make_printable(words[0], MAX_LINE_CHARACTERS)
    for before, word in pairwise(words):
        plain += (
            ZERO_WIDTH_NON_JOINER if can_precede_joiner(before[-1:]) else make_printable(ZERO_WIDTH_NON_JOINER)
        ) + make_printable(word, MAX_LINE_CHARACTERS)
    return plain
