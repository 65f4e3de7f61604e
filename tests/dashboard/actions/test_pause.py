"""Pausing and resuming the batch from the dashboard."""

from __future__ import annotations

from pathlib import Path

from synthdub_tui.ipc.protocol import Pause, Resume
from tests.dashboard.dashboard_steps import TWO
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import desk, until


async def test_pause_and_resume(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)]) as opened:
        await opened.press("p")
        await until(lambda: "Paused: nothing new begins" in opened.top)
        await opened.press("p")
        await until(lambda: "Paused" not in opened.top)
        assert [type(request) for request in opened.runner.requests[2:]] == [Pause, Resume]
