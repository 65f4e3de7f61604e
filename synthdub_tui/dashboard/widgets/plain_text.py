"""A line of plain text that is never read as markup."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class PlainText(Static):
    """Plain text in one role; never markup. Repaints only when it changes."""

    def __init__(self, text: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(text, markup=False, id=id, classes=classes)
        self.text = text

    def show(self, text: str) -> None:
        """Show another text."""
        if text != self.text:
            self.text = text
            self.update(Text(text))
