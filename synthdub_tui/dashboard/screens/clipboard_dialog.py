"""Shows the whole text that was sent to the clipboard, since no terminal confirms that it arrived."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size

from synthdub_tui.dashboard.screens.base import Dialog
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.lines import TextView
from synthdub_tui.dashboard.widgets.plain_text import PlainText


class ClipboardDialog(Dialog[None]):
    """For text that is too long for the note below a list. Full width and no border, so that it can be copied from here."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,q,y,Y", "close", "Close", show=False)]

    def __init__(self, text: str, what: str) -> None:
        super().__init__()
        lines = ["Sent to your clipboard. If it did not arrive, copy it from here:", "", *text.split("\n")]
        self._reader = TextView([((line, ""),) for line in lines], id="text")
        self._what = what

    def compose(self) -> ComposeResult:
        self._fit(self.app.size)  # a first frame of another height would flash
        with Vertical(id="window", classes="plain"):
            yield PlainText(self._what, id="title")
            yield self._reader
            yield KeyHints([("esc", "back"), ("↑↓", "scroll")])

    def on_mount(self) -> None:
        self._reader.focus()

    def on_resize(self) -> None:
        self._fit(self.size)

    def _fit(self, available: Size) -> None:
        self._reader.styles.height = max(1, min(self._reader.wrapped_height(available.width - 3), available.height - 2))

    def action_close(self) -> None:
        self.dismiss(None)
