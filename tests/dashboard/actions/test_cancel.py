"""What a cancel from the grid sends, and when; and how it is undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthdub_tui.dashboard.actions import cancel
from synthdub_tui.ipc.protocol import CancelRequest, DubRef
from synthdub_tui.jobs.model import DubState
from tests.dashboard.dashboard_steps import TWO_LANGUAGES, dub_refs_of, question_text
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_a_cancel_asks_waits_and_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "UNDO_SECONDS", 0.1)
    job = make_job(0, TWO_LANGUAGES, DubState.DUBBING)
    async with open_dashboard(tmp_path, [job]) as opened:
        await opened.press("home", "x")
        await opened.wait_for_screen("ConfirmScreen")
        assert "fr-FR, es-ES" in question_text(opened)
        await opened.press("y")
        await opened.wait_for_status("2 dubs cancelled")
        assert dub_refs_of(*opened.runner.requests_of(CancelRequest)) == [DubRef(job.id, "fr-FR"), DubRef(job.id, "es-ES")]


async def test_a_cancel_can_be_taken_back_before_anything_is_sent(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DUBBING)]) as opened:
        await opened.press("x")
        await opened.wait_for_screen("ConfirmScreen")
        await opened.press("y")
        await opened.wait_for_status("U takes it back")
        await opened.press("U")
        await opened.wait_for_status("Taken back: 1 dub goes on")
        assert not opened.runner.requests_of(CancelRequest)
        await opened.press("U")
        await opened.wait_for_status("nothing to take back")


async def test_a_cancel_that_waits_is_sent_when_the_user_leaves(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DUBBING)]) as opened:
        await opened.press("x")
        await opened.wait_for_screen("ConfirmScreen")
        await opened.press("y")
        await opened.wait_for_status("U takes it back")
        await opened.press("q")
        await until(lambda: opened.runner.requests_of(CancelRequest))


async def test_a_cancel_that_waits_is_sent_before_leaving_without_a_question(tmp_path: Path) -> None:
    (tmp_path / "dashboard.toml").write_text('quit = "background"\n')
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DUBBING)]) as opened:
        await opened.press("x", "y")
        await opened.wait_for_status("U takes it back")
        await opened.press("q")
        await until(lambda: opened.app._exit)
        assert len(opened.runner.requests_of(CancelRequest)) == 1


async def test_finished_dubs_are_not_cancelled(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DONE)]) as opened:
        await opened.press("x")
        await opened.wait_for_status("Nothing here to cancel")
