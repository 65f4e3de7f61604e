"""An opened dashboard on a fake runner, and waiting for conditions instead of times."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from synthdub_tui import __version__
from synthdub_tui.dashboard.app import SynthdubApp
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.screens.main import MainScreen
from synthdub_tui.dashboard.ui_state import UiStateStore
from synthdub_tui.dashboard.widgets.status_bar import StatusBar
from synthdub_tui.dashboard.widgets.summary_bar import SummaryBar
from synthdub_tui.jobs.model import Job
from tests.dashboard.fake_runner import FakeRunner
from tests.waiting import until as until


@dataclass
class OpenedDashboard:
    """All ends of an opened dashboard."""

    app: SynthdubApp
    pilot: Pilot[int]
    runner: FakeRunner

    @property
    def main(self) -> MainScreen:
        return self.app.main_screen

    @property
    def status_text(self) -> str:
        """The status line's answer, and what happened by itself."""
        status = self.main.query_one(StatusBar)
        return "\n".join(filter(None, (status.message, status.event_text)))

    @property
    def summary_text(self) -> str:
        """The top line's words."""
        return "\n".join(" ".join(text for text, _ in line) for line in self.main.query_one(SummaryBar)._shown)

    def grid_lines(self) -> list[str]:
        """The grid as it is drawn."""
        grid = self.main.grid
        return ["".join(segment.text for segment in grid.render_line(y)) for y in range(grid.size.height)]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type_text(self, text: str) -> None:
        """Letters all at once, as a fast typist or a slow line brings them."""
        for char in text:
            key = _character_to_key(char)
            self.app.post_message(events.Key(key, char))
        await self.pilot.pause()

    async def wait_for_screen(self, name: str) -> None:
        """Wait until a screen of that class is on top."""
        await until(lambda: type(self.app.screen).__name__ == name, lambda: f"{name} on top; {self.status_text}")
        await self.pilot.pause()

    async def wait_for_status(self, words: str) -> None:
        """Wait for an answer."""
        await until(lambda: words in self.status_text, lambda: f"{words!r}; the last answer is {self.status_text!r}")


@asynccontextmanager
async def open_dashboard(
    tmp_path: Path,
    jobs: list[Job] | None = None,
    size: tuple[int, int] = (120, 40),
    *,
    runner: FakeRunner | None = None,
    attached: bool = True,
    **options: Any,
) -> AsyncIterator[OpenedDashboard]:
    """Open the dashboard, attached and with the whole batch shown."""
    runner = runner or FakeRunner(tmp_path / "runner.sock", jobs)
    app = SynthdubApp(runner, UiStateStore(tmp_path), DashboardOptions(__version__, **options))
    async with app.run_test(size=size) as pilot:
        opened = OpenedDashboard(app, pilot, runner)
        if attached:
            await until(lambda: app.session.batch.is_loaded and opened.main._restored, "the batch to arrive")
            await pilot.pause()
        yield opened
    await runner.disconnect()
