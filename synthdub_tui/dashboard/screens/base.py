"""The base classes of pages and dialogs."""

from __future__ import annotations

from typing import Any, ClassVar, Final, TypeVar

from textual.binding import Binding, BindingType
from textual.keys import format_key
from textual.screen import ModalScreen
from textual.widget import Widget

from synthdub_tui.dashboard.widgets.ordered_input import OrderedInput

Result = TypeVar("Result")

KEY_DISPLAY_NAMES: Final = {"enter": "enter", "backspace": "backspace"}
"""Words for keys that Textual shows as signs, which some fonts lack."""

INPUT_OPENING_ACTIONS: Final = frozenset({"filter", "path", "search"})
"""Actions that open an input line."""


class Page(ModalScreen[Result]):
    """A screen over the whole terminal. Modal and opaque, so that no key reaches the grid below it."""

    CSS_PATH = "base.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", show=False),
        Binding("question_mark", "keys", "these keys", show=False),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-margin")]  # noqa: RUF012 - Textual declares it so

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that open an input line are letters while one has the focus. They have priority: on a slow link, text may arrive
        in the same burst, and must reach the input line, not the page's other keys."""
        if action in INPUT_OPENING_ACTIONS and isinstance(self.focused, OrderedInput):
            return False
        return super().check_action(action, parameters)

    def open_input(self, box: OrderedInput) -> None:
        """Show an input line and give it the focus at once."""
        box.remove_class("hidden")
        self.set_focus(box)

    def close_input_or_page(self, box: OrderedInput, focus_after: Widget) -> None:
        """Empty and hide an input line, and give the focus back; if it is hidden already, leave the page."""
        if box.has_class("hidden"):
            self.dismiss(None)
            return
        box.value = ""
        box.add_class("hidden")
        focus_after.focus()

    def action_back(self) -> None:
        """Leave without a result. Pages with an input line override this, to close it first."""
        self.dismiss(None)

    def action_keys(self) -> None:
        """Show every key of this page."""
        from synthdub_tui.dashboard.screens.help import HelpScreen  # noqa: PLC0415 - imports this module

        self.app.push_screen(HelpScreen([("Keys of this page", page_help(type(self)))]))


def page_help(page: type[Page[Any]]) -> list[tuple[str, str]]:
    """Keys and descriptions of a page's bindings, for the help."""
    return [(shown, words) for shown, words, _ in page_keys(page)]


def page_keys(page: type[Page[Any]]) -> list[tuple[str, str, str]]:
    """Keys, descriptions and actions of a page's bindings; its own come first."""
    kinds = [kind for kind in page.__mro__ if issubclass(kind, Page)]
    bindings = [binding for kind in kinds for binding in vars(kind).get("BINDINGS", ()) if isinstance(binding, Binding)]
    return [
        (
            " ".join(KEY_DISPLAY_NAMES.get(key) or format_key(key) for key in binding.key.split(",")),
            binding.description,
            binding.action,
        )
        for binding in bindings
    ]


class Dialog(ModalScreen[Result]):
    """A small window over the grid."""

    CSS_PATH = "base.tcss"
