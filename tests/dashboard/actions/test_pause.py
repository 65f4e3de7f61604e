"""Pausing and resuming the batch from the dashboard."""

from __future__ import annotations

from pathlib import Path

from synthdub_tui.ipc.protocol import PauseRequest, ResumeRequest
from tests.dashboard.dashboard_steps import TWO_LANGUAGES
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_pause_and_resume(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)]) as opened:
        await opened.press("p")
        await until(lambda: "Paused: nothing new begins" in opened.summary_text)
        await opened.press("p")
        await until(lambda: "Paused" not in opened.summary_text)
        assert [type(request) for request in opened.runner.requests[2:]] == [PauseRequest, ResumeRequest]
