"""Copying paths and ids from the grid."""

from __future__ import annotations

from pathlib import Path

from synthdub_tui.jobs.model import DubState
from tests.dashboard.dashboard_steps import TWO_LANGUAGES
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import open_dashboard


async def test_copying_shows_what_was_copied(tmp_path: Path) -> None:
    jobs = [make_job(0, TWO_LANGUAGES, DubState.DONE), make_job(1, TWO_LANGUAGES, DubState.DUBBING), make_job(2, TWO_LANGUAGES)]
    async with open_dashboard(tmp_path, jobs) as opened:
        for words in ("lesson 0000.dubbed-fr-FR.mp4", "project-1", "/videos/lesson 0002.mp4"):
            await opened.press("y")
            await opened.wait_for_status(words)
            assert words in opened.app.clipboard
            await opened.press("down")
