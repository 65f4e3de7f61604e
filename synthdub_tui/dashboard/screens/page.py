"""What the screens have in common."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

Result = TypeVar("Result")


class Page(ModalScreen[Result]):
    """A screen over the whole terminal. Modal and opaque, so that no key reaches the grid below it."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back", show=False)]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-margin")]  # noqa: RUF012 - Textual declares it so

    def action_back(self) -> None:
        """Leave without a result. A search that is open is left first."""
        self.dismiss(None)


class Dialog(ModalScreen[Result]):
    """A small window over the grid."""

    CSS_PATH = "dialog.tcss"
