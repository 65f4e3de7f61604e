"""Copying paths and ids from the grid."""

from __future__ import annotations

from pathlib import Path

from synthdub_tui.jobs.model import DubState
from tests.dashboard.dashboard_steps import TWO
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import desk


async def test_copying_shows_what_was_copied(tmp_path: Path) -> None:
    jobs = [make_job(0, TWO, DubState.DONE), make_job(1, TWO, DubState.DUBBING), make_job(2, TWO)]
    async with desk(tmp_path, jobs) as opened:
        for words in ("lesson 0000.dubbed-fr-FR.mp4", "project-1", "/videos/lesson 0002.mp4"):
            await opened.press("y")
            await opened.says(words)
            assert words in opened.app.clipboard
            await opened.press("down")
