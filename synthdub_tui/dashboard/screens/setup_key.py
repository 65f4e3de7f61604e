"""Asks for the API key: says where to get one, checks it with the service, and stores it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.worker import Worker, WorkerState

from synthdub_tui.dashboard.screens.base import Dialog
from synthdub_tui.dashboard.text_layout import wrap
from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.dashboard.widgets.key_hints import Hints
from synthdub_tui.dashboard.widgets.lines import Reader
from synthdub_tui.dashboard.widgets.plain_text import Words
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.problems import Problem
from synthdub_tui.settings.api_key_file import KeyFileError, clean, store_key
from synthdub_tui.text import printable

Check = Callable[[str], Awaitable[Problem | None]]
"""Asks the service whether it accepts a key; None if it does."""

AROUND = 5
"""Rows of the window around the guide and the message: border, title, input, hints."""

SAYS = 6
"""Most rows of the message."""

GUIDE = (
    "synthdub needs a key of your Synthesia account.",
    "1. In Synthesia Studio open Settings, Integrations, API (API access needs a paid plan).",
    "2. Make a key of the scope “Legacy (v2)”.",
    "3. Paste it here. It is checked with the service, which costs nothing.",
)


def _guide(config_path: Path, ahead: str) -> list[str]:
    """The guide for entering a key. `ahead`: the flag or variable that takes precedence over a stored key."""
    keeps = f"It is stored in {printable(str(config_path))}, readable by you only. "
    if not ahead:
        return [*GUIDE, keeps + "To keep it elsewhere, press esc, set SYNTHESIA_API_KEY and start again."]
    change = f"start without {ahead}" if ahead.startswith("-") else f"unset {ahead}, or put the new key there"
    now = f"The key in use comes from {ahead}, which goes before a stored one."
    then = f"A key entered here is used at once. After that, {change}: else the next start uses the old key again."
    return [f"{now} {then}", *GUIDE, keeps.rstrip()]


class SetupKeyScreen(Dialog[bool]):
    """Returns True once a key that the service accepts is stored. The key is never shown and never part of a message."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "later", "Later", show=False),
        Binding("up", "scroll(-1)", "Up", show=False),
        Binding("down", "scroll(1)", "Down", show=False),
    ]

    def __init__(self, check: Check, config_path: Path, ahead: str = "") -> None:
        super().__init__()
        self._check = check
        self._path = config_path
        self._reader = Reader([((line, ""),) for line in _guide(config_path, ahead)], id="guide")
        self._reader.can_focus = False
        self._busy = False

    def compose(self) -> ComposeResult:
        self._fit(self.app.size, 0)  # a first frame of another height would flash
        with Vertical(id="window"):
            yield Words("An API key is needed", id="title")
            yield self._reader
            yield SearchBox(placeholder="API key", password=True, id="key", passes=("up", "down"))
            yield Words(id="says")
            yield Hints([("enter", "check and store"), ("esc", "later"), ("↑↓", "read")])

    def on_mount(self) -> None:
        self._box.focus()

    def on_resize(self) -> None:
        self._share_height()

    @property
    def _box(self) -> SearchBox:
        return self.query_one("#key", SearchBox)

    def action_later(self) -> None:
        self._forget()
        self.dismiss(False)

    def action_scroll(self, rows: int) -> None:
        self._reader.scroll_relative(y=rows, animate=False)

    @on(SearchBox.Submitted)
    def _submitted(self) -> None:
        if self._busy:
            return
        try:
            clean(self._box.value)
        except KeyFileError as error:
            self._say(str(error))
            return
        self._busy = True
        self._say("Asking the service…")
        self._ask()

    @work(exit_on_error=False, name="check key")
    async def _ask(self) -> None:
        """Reads the key from the box, not from an argument: Textual describes workers with their arguments."""
        problem = await self._check(clean(self._box.value))
        if problem is None:
            self._say("The service takes it. Storing…")
            Errand(self, self._store)
            return
        self._busy = False
        self._box.select_all()  # the next paste replaces it
        remedy = "Check it in Synthesia Studio and paste it again." if problem.code == "key_rejected" else problem.remedy
        self._say(f"{problem.title}. {problem.cause} {remedy}")

    def _store(self, errand: Errand) -> None:
        try:
            store_key(self._path, self._box.value)
        except KeyFileError as error:
            errand.tell(self._not_stored, str(error))
        else:
            errand.tell(self._stored)

    def _stored(self) -> None:
        self._forget()
        self.dismiss(True)

    def _not_stored(self, why: str) -> None:
        self._busy = False
        self._say(why)

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            # Only the kind of error: its text might quote the request, and with it the key.
            self._not_stored(f"The key could not be checked ({type(event.worker.error).__name__}). Try again.")

    def _forget(self) -> None:
        self._box.value = ""

    def _say(self, text: str) -> None:
        self.query_one("#says", Words).show(text)
        self._share_height()

    def _share_height(self) -> None:
        """Shrink the guide to make room for the message below it."""
        width = min(self.size.width, 76) - 5
        said = len(wrap(((self.query_one("#says", Words).text, ""),), width))
        self._fit(self.size, said)

    def _fit(self, room: Size, said: int) -> None:
        height = room.height - AROUND - min(said, SAYS)
        self._reader.styles.height = max(1, min(self._reader.wrapped_height(min(room.width, 76) - 5), height))
