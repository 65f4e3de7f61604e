"""An app that holds one screen, and waiting for conditions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual import events
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from tests.waiting import until

WIDE_SIZE = (80, 24)
SMALL_SIZE = (40, 12)

HOSTILE_NAME = "[red]in\x1b[31mtro\u202e\x07.mp4"
HOSTILE_NAME_SHOWN = "[red]in\ufffd[31mtro\ufffd\ufffd.mp4"


class ScreenApp(App[None]):
    """Shows the screen and keeps what it answered."""

    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        self.tested_screen = screen
        self.answers: list[Any] = []

    def on_mount(self) -> None:
        self.push_screen(self.tested_screen, self.answers.append)

    @property
    def text(self) -> str:
        """What stands on the terminal, without styles."""
        return "\n".join("".join(segment.text for segment in line) for line in self.screen._compositor.render_strips())


class ScreenDriver:
    """Presses keys, and looks until something is so."""

    def __init__(self, app: ScreenApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type_text(self, text: str) -> None:
        """Keys of text into what has the focus; one wait for all, because the focus stays."""
        driver = self.app._driver
        assert driver is not None
        for char in text:
            event = events.Key(KEY_NAMES.get(char, char), char)
            event.set_sender(self.app)
            driver.send_message(event)
        await self.pilot.pause()

    async def paste_text(self, text: str) -> None:
        """Long text at once: pressing its keys would take long."""
        focused = self.app.focused
        assert focused is not None
        focused.post_message(events.Paste(text))
        await self.pilot.pause()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        await until(condition, lambda: f"a change of this screen:\n{self.app.text}")
        await self.pilot.pause()

    async def wait_for_text(self, *words: str) -> None:
        """Wait until all of the words are on the terminal, wrapped or not."""
        await until(lambda: self._shows_words(words), lambda: f"{words} on this screen:\n{self.app.text}")
        await self.pilot.pause()

    def _shows_words(self, words: tuple[str, ...]) -> bool:
        text = self.app.text
        flat = " ".join(text.split())
        return all(word in text or word in flat for word in words)

    async def wait_for_answer(self) -> Any:
        """Wait until the screen has answered."""
        await self.wait_until(lambda: bool(self.app.answers))
        return self.app.answers[0]


KEY_NAMES = {" ": "space", "/": "slash", ":": "colon", ".": "full_stop", "-": "minus", "_": "underscore", "~": "tilde"}


@asynccontextmanager
async def show_screen(screen: Screen[Any], size: tuple[int, int] = WIDE_SIZE) -> AsyncIterator[ScreenDriver]:
    app = ScreenApp(screen)
    async with app.run_test(size=size) as pilot:
        hand = ScreenDriver(app, pilot)
        await hand.wait_until(lambda: app.screen is screen and screen.is_mounted)
        yield hand
