"""Removing dubs from the batch in the dashboard."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec.structs import replace

from synthdub_tui.ipc.protocol import RemoveRequest, Reply
from synthdub_tui.jobs.model import DubState
from tests.dashboard.dashboard_steps import TWO_LANGUAGES, failed_job, question_text, remove_by_palette
from tests.dashboard.fake_runner import make_dub, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_a_finished_file_is_removed_at_once_and_the_cursor_goes_to_the_next(tmp_path: Path) -> None:
    jobs = [make_job(number, TWO_LANGUAGES, DubState.DONE) for number in range(2)]
    async with open_dashboard(tmp_path, jobs) as opened:
        await opened.press("home")
        remove_by_palette(opened)
        await opened.wait_for_status("2 dubs removed; files stay.")
        (request,) = opened.runner.requests_of(RemoveRequest)
        assert isinstance(request, RemoveRequest) and not request.forget
        assert set(opened.app.session.batch.rows) == {jobs[1].id}
        assert opened.main.grid.cursor is not None and opened.main.grid.cursor.job == jobs[1].id
        await opened.press("y")
        await opened.wait_for_status("Copied")


async def test_the_last_file_is_removed_and_the_grid_is_empty(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DONE)]) as opened:
        await opened.press("*")
        remove_by_palette(opened)
        await opened.wait_for_status("2 dubs removed")
        batch = opened.app.session.batch
        assert (batch.rows, batch.columns, batch.marks.count, batch.overall.dubs) == ({}, [], 0, 0)
        await opened.press("r", "x", "enter", "y", "o")
        await opened.wait_for_screen("OutputsScreen")


async def test_a_language_of_a_file_is_removed_and_its_column_with_it(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DONE)]) as opened:
        await opened.press("home", "right", "space")
        remove_by_palette(opened)
        await opened.wait_for_status("1 dub removed")
        batch = opened.app.session.batch
        await until(lambda: batch.columns == ["es-ES"])
        assert batch.marks.count == 0


async def test_what_was_paid_for_is_removed_after_a_question(tmp_path: Path) -> None:
    job = failed_job(0, "processing_error")
    paid = replace(job, dubs={code: replace(dub, project="p1") for code, dub in job.dubs.items()})
    async with open_dashboard(tmp_path, [paid]) as opened:
        await opened.press("home")
        for key, requests in (("n", 0), ("y", 1)):
            remove_by_palette(opened)
            await opened.wait_for_screen("ConfirmScreen")
            assert "They were paid for, and are not on disk." in question_text(opened)
            await opened.press(key)
            await opened.wait_for_status("Nothing was removed" if key == "n" else "2 dubs removed")
            assert len(opened.runner.requests_of(RemoveRequest)) == requests
        (request,) = opened.runner.requests_of(RemoveRequest)
        assert isinstance(request, RemoveRequest) and request.forget


async def test_what_is_under_way_or_undecided_is_not_removed(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES)
    dubs = {"fr-FR": make_dub(DubState.DUBBING, time.time()), "es-ES": make_dub(DubState.UNKNOWN, time.time())}
    async with open_dashboard(tmp_path, [replace(job, dubs=dubs)]) as opened:
        await opened.press("home")
        remove_by_palette(opened)
        await opened.wait_for_status("Nothing here to remove")
        assert not opened.runner.requests_of(RemoveRequest)


async def test_a_finished_dub_whose_file_the_runner_finds_gone_is_removed_after_a_question(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DONE)]) as opened:
        kept = Reply(id=0, result={"removed": 0, "under_way": 0, "paid": 2})
        opened.runner.reply_override = lambda asked: kept if isinstance(asked, RemoveRequest) and not asked.forget else None
        await opened.press("home")
        remove_by_palette(opened)
        await opened.wait_for_screen("ConfirmScreen")
        await opened.press("y")
        await opened.wait_for_status("2 dubs removed")
