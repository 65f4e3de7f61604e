"""What a cancel from the grid sends, and when; and how it is undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthdub_tui.dashboard.actions import retry
from synthdub_tui.ipc.protocol import Cancel, Cell
from synthdub_tui.jobs.model import DubState
from tests.dashboard.dashboard_steps import TWO, cells, question
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import desk, until


async def test_a_cancel_asks_waits_and_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "UNDO", 0.1)
    job = make_job(0, TWO, DubState.DUBBING)
    async with desk(tmp_path, [job]) as opened:
        await opened.press("home", "x")
        await opened.screen("ConfirmScreen")
        assert "fr-FR, es-ES" in question(opened)
        await opened.press("y")
        await opened.says("2 dubs cancelled")
        assert cells(*opened.runner.asked(Cancel)) == [Cell(job.id, "fr-FR"), Cell(job.id, "es-ES")]


async def test_a_cancel_can_be_taken_back_before_anything_is_sent(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DUBBING)]) as opened:
        await opened.press("x")
        await opened.screen("ConfirmScreen")
        await opened.press("y")
        await opened.says("U takes it back")
        await opened.press("U")
        await opened.says("Taken back: 1 dub goes on")
        assert not opened.runner.asked(Cancel)
        await opened.press("U")
        await opened.says("nothing to take back")


async def test_a_cancel_that_waits_is_sent_when_the_user_leaves(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DUBBING)]) as opened:
        await opened.press("x")
        await opened.screen("ConfirmScreen")
        await opened.press("y")
        await opened.says("U takes it back")
        await opened.press("q")
        await until(lambda: opened.runner.asked(Cancel))


async def test_a_cancel_that_waits_is_sent_before_leaving_without_a_question(tmp_path: Path) -> None:
    (tmp_path / "dashboard.toml").write_text('quit = "background"\n')
    async with desk(tmp_path, [make_job(0, TWO, DubState.DUBBING)]) as opened:
        await opened.press("x", "y")
        await opened.says("U takes it back")
        await opened.press("q")
        await until(lambda: opened.app._exit)
        assert len(opened.runner.asked(Cancel)) == 1


async def test_finished_dubs_are_not_cancelled(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DONE)]) as opened:
        await opened.press("x")
        await opened.says("Nothing here to cancel")
