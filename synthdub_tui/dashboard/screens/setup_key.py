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
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.lines import TextView
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.problems import Problem
from synthdub_tui.settings.api_key_file import KeyFileError, clean_key, store_key
from synthdub_tui.text import make_printable

KeyCheck = Callable[[str], Awaitable[Problem | None]]
"""Asks the service whether it accepts a key; None if it does."""

NON_TEXT_ROWS = 5
"""Rows of the window around the guide and the message: border, title, input, hints."""

MAX_MESSAGE_ROWS = 6
"""Most rows of the message."""

GUIDE = (
    "synthdub needs a key of your Synthesia account.",
    "1. In Synthesia Studio open Settings, Integrations, API (API access needs a paid plan).",
    "2. Make a key of the scope “Legacy (v2)”.",
    "3. Paste it here. It is checked with the service, which costs nothing.",
)


def _guide(config_path: Path, key_override: str) -> list[str]:
    """The guide for entering a key. `key_override`: the flag or variable that takes precedence over a stored key."""
    keeps = f"It is stored in {make_printable(str(config_path))}, readable by you only. "
    if not key_override:
        return [*GUIDE, keeps + "To keep it elsewhere, press esc, set SYNTHESIA_API_KEY and start again."]
    change = (
        f"start without {key_override}" if key_override.startswith("-") else f"unset {key_override}, or put the new key there"
    )
    now = f"The key in use comes from {key_override}, which goes before a stored one."
    then = f"A key entered here is used at once. After that, {change}: else the next start uses the old key again."
    return [f"{now} {then}", *GUIDE, keeps.rstrip()]


class SetupKeyScreen(Dialog[bool]):
    """Returns True once a key that the service accepts is stored. The key is never shown and never part of a message."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "later", "Later", show=False),
        Binding("up", "scroll(-1)", "Up", show=False),
        Binding("down", "scroll(1)", "Down", show=False),
    ]

    def __init__(self, check: KeyCheck, config_path: Path, key_override: str = "") -> None:
        super().__init__()
        self._check = check
        self._path = config_path
        self._reader = TextView([((line, ""),) for line in _guide(config_path, key_override)], id="guide")
        self._reader.can_focus = False
        self._busy = False

    def compose(self) -> ComposeResult:
        self._fit(self.app.size, 0)  # a first frame of another height would flash
        with Vertical(id="window"):
            yield PlainText("An API key is needed", id="title")
            yield self._reader
            yield SearchBox(placeholder="API key", password=True, id="key", keys_for_screen=("up", "down"))
            yield PlainText(id="says")
            yield KeyHints([("enter", "check and store"), ("esc", "later"), ("↑↓", "read")])

    def on_mount(self) -> None:
        self._box.focus()

    def on_resize(self) -> None:
        self._update_height()

    @property
    def _box(self) -> SearchBox:
        return self.query_one("#key", SearchBox)

    def action_later(self) -> None:
        self._clear_key_input()
        self.dismiss(False)

    def action_scroll(self, rows: int) -> None:
        self._reader.scroll_relative(y=rows, animate=False)

    @on(SearchBox.Submitted)
    def _handle_key_submit(self) -> None:
        if self._busy:
            return
        try:
            clean_key(self._box.value)
        except KeyFileError as error:
            self._show_message(str(error))
            return
        self._busy = True
        self._show_message("Asking the service…")
        self._check_and_store()

    @work(exit_on_error=False, name="check key")
    async def _check_and_store(self) -> None:
        """Reads the key from the box, not from an argument: Textual describes workers with their arguments."""
        problem = await self._check(clean_key(self._box.value))
        if problem is None:
            self._show_message("The service takes it. Storing…")
            ThreadTask(self, self._store)
            return
        self._busy = False
        self._box.select_all()  # the next paste replaces it
        remedy = "Check it in Synthesia Studio and paste it again." if problem.code == "key_rejected" else problem.remedy
        self._show_message(f"{problem.title}. {problem.cause} {remedy}")

    def _store(self, task: ThreadTask) -> None:
        try:
            store_key(self._path, self._box.value)
        except KeyFileError as error:
            task.report(self._handle_not_stored, str(error))
        else:
            task.report(self._handle_stored)

    def _handle_stored(self) -> None:
        self._clear_key_input()
        self.dismiss(True)

    def _handle_not_stored(self, why: str) -> None:
        self._busy = False
        self._show_message(why)

    @on(Worker.StateChanged)
    def _handle_worker_state(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            # Only the kind of error: its text might quote the request, and with it the key.
            self._handle_not_stored(f"The key could not be checked ({type(event.worker.error).__name__}). Try again.")

    def _clear_key_input(self) -> None:
        self._box.value = ""

    def _show_message(self, text: str) -> None:
        self.query_one("#says", PlainText).show(text)
        self._update_height()

    def _update_height(self) -> None:
        """Shrink the guide to make room for the message below it."""
        width = min(self.size.width, 76) - 5
        said = len(wrap(((self.query_one("#says", PlainText).text, ""),), width))
        self._fit(self.size, said)

    def _fit(self, available: Size, said: int) -> None:
        height = available.height - NON_TEXT_ROWS - min(said, MAX_MESSAGE_ROWS)
        self._reader.styles.height = max(1, min(self._reader.wrapped_height(min(available.width, 76) - 5), height))
