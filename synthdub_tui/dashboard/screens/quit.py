"""Asks what becomes of the work when the user quits the dashboard."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Button

from synthdub_tui.dashboard.screens.base import Dialog
from synthdub_tui.dashboard.screens.confirm import make_choice_button
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.humanize import format_count

STAY_TEXT: Final = "esc stays here. Nothing is lost either way."
REMEMBER_TEXT: Final = "ctrl+p, “Quit asks again” takes that back."


class QuitChoice(NamedTuple):
    """The answer. With `remember`, do not ask again."""

    action: Literal["background", "stop"]
    remember: bool


class QuitScreen(Dialog[QuitChoice]):
    """Continue in the background, or stop and resume later. Neither loses anything; the first one has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "leave('background')", "Background", show=False),
        Binding("s", "leave('stop')", "Stop", show=False),
        Binding("m", "remember", "Remember", show=False),
        Binding("escape,q", "stay", "Stay", show=False),
        Binding("up,k,left,h", "step(-1)", "Up", show=False),
        Binding("down,j,right,l", "step(1)", "Down", show=False),
    ]

    def __init__(self, in_flight: int) -> None:
        super().__init__()
        self._in_flight = in_flight
        self._remember = False

    def compose(self) -> ComposeResult:
        with Vertical(id="window"):
            yield PlainText(
                f"Quit while {format_count(self._in_flight, 'dub')} {_is_or_are(self._in_flight)} under way?", id="title"
            )
            yield make_choice_button("Keep working in the background (b)", "background")
            yield make_choice_button("Stop now, resume at the next start (s)", "stop")
            yield make_choice_button(self._remember_label(), "remember")
            yield PlainText(STAY_TEXT, id="says")

    def on_mount(self) -> None:
        self.query_one("#background").focus()

    def action_leave(self, action: Literal["background", "stop"]) -> None:
        self.dismiss(QuitChoice(action, self._remember))

    def action_stay(self) -> None:
        self.dismiss(None)

    def action_remember(self) -> None:
        self._remember = not self._remember
        self.query_one("#remember", Button).label = Content(self._remember_label())
        self.query_one("#says", PlainText).show(REMEMBER_TEXT if self._remember else STAY_TEXT)

    def action_step(self, step: int) -> None:
        if step > 0:
            self.focus_next(".choice")
        else:
            self.focus_previous(".choice")

    @on(Button.Pressed)
    def _handle_button(self, event: Button.Pressed) -> None:
        if event.button.id == "remember":
            self.action_remember()
        else:
            self.action_leave("stop" if event.button.id == "stop" else "background")

    def _remember_label(self) -> str:
        return f"[{'x' if self._remember else ' '}] Remember, do not ask again (m)"


def _is_or_are(number: int) -> str:
    return "is" if number == 1 else "are"
