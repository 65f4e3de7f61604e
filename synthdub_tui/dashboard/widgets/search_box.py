"""A line of input on a screen that leaves some keys to the screen around it."""

from __future__ import annotations

from synthdub_tui.dashboard.widgets.ordered_input import OrderedInput


class SearchBox(OrderedInput):
    """An input line that leaves the keys in `keys_for_screen` to the screen around it."""

    def __init__(
        self, *, keys_for_screen: tuple[str, ...] = (), placeholder: str = "", password: bool = False, id: str
    ) -> None:
        super().__init__(placeholder=placeholder, password=password, id=id, compact=True, select_on_focus=False)
        self.keys_for_screen = keys_for_screen
        self.cursor_blink = False  # a blinking cursor would send bytes for ever
