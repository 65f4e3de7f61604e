"""The line that names the keys which do something now."""

from __future__ import annotations

from textual.widgets import Static

from synthdub_tui.dashboard.text_layout import key_hints_text


class KeyHints(Static):
    """The keys that do something now, in one line, as many as fit."""

    DEFAULT_CSS = """
    KeyHints { height: 1; color: $text-muted; }
    """

    def __init__(self, pairs: list[tuple[str, str]] | None = None, *, id: str | None = None) -> None:
        super().__init__(markup=False, id=id)
        self._pairs = pairs or []

    def show(self, pairs: list[tuple[str, str]]) -> None:
        """Show other keys."""
        if pairs != self._pairs:
            self._pairs = pairs
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self.update(key_hints_text(self._pairs, self.size.width))
