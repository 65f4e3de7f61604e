"""Asks once before something is sent, paid or lost, and shows exactly what it will touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Size
from textual.strip import Strip
from textual.widgets import Button

from synthdub_tui.dashboard.screens.base import Dialog
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.lines import TextView
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.text import make_printable

NON_TEXT_ROWS = 7
"""Rows of the window around the lines: border, title, choices with their margin, hints."""


class _DrawnTextView(TextView):
    """The lines that say what will be touched. `was_drawn`: whether they were on the screen."""

    was_drawn = False

    def render_line(self, y: int) -> Strip:
        self.was_drawn = True
        return super().render_line(y)


class ConfirmScreen(Dialog[bool]):
    """Yes or no. If the action is dangerous, no has the focus, and a `y` that was typed before the question was on the screen
    is ignored."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Confirm", show=False),
        Binding("n,escape", "answer(False)", "No", show=False),
        Binding("left,right,h,l", "other", "Other choice", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", show=False),
        Binding("pagedown", "scroll(10)", "Page down", show=False),
        Binding("home,g", "scroll(-1000000)", "First", show=False),
        Binding("end,G", "scroll(1000000)", "Last", show=False),
    ]

    def __init__(
        self, title: str, lines: Sequence[str], *, danger: bool = False, confirm_label: str = "Yes", cancel_label: str = "No"
    ) -> None:
        super().__init__()
        self._title = title
        self._reader = _DrawnTextView([((make_printable(line), ""),) for line in lines], id="lines")
        self._reader.can_focus = False
        self._danger = danger
        self._labels = (cancel_label, confirm_label)

    def compose(self) -> ComposeResult:
        self._fit(self.app.size)  # a first frame of another height would flash
        with Vertical(id="window", classes="danger" if self._danger else ""):
            yield PlainText(make_printable(self._title), id="title")
            yield self._reader
            with Horizontal(id="choices"):
                yield make_choice_button(f"{self._labels[0]} (n)", "no")
                yield make_choice_button(f"{self._labels[1]} (y)", "yes")
            yield KeyHints([("enter", "choose"), ("esc", self._labels[0].lower()), ("↑↓", "scroll")])

    def on_mount(self) -> None:
        self.query_one("#no" if self._danger else "#yes").focus()

    def on_resize(self) -> None:
        self._fit(self.size)

    def _fit(self, available: Size) -> None:
        """Make the lines as high as they need, if there is room."""
        lines = self._reader.wrapped_height(min(available.width, 76) - 5)
        self._reader.styles.height = max(1, min(lines, available.height - NON_TEXT_ROWS))

    def action_answer(self, answer: bool) -> None:
        if self._reader.was_drawn or not (answer and self._danger):
            self.dismiss(answer)

    def action_other(self) -> None:
        self.focus_next(".choice")

    def action_scroll(self, rows: int) -> None:
        self._reader.scroll_relative(y=rows, animate=False)

    @on(Button.Pressed)
    def _handle_button(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


def make_choice_button(label: str, id: str) -> Button:
    """A button of one line."""
    return Button(Content(label), id=id, classes="choice", compact=True)
