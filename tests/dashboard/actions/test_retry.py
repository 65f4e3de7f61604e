"""What a retry from the grid sends, asks and answers."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthdub_tui.dashboard.screens.confirm import ConfirmScreen
from synthdub_tui.ipc.protocol import DubRef, Reply, RetryRequest
from synthdub_tui.jobs.model import DubState, Hold, Job, WaitReason
from synthdub_tui.jobs.retry_policy import dub_fingerprint
from tests.dashboard.dashboard_steps import TWO_LANGUAGES, dub_refs_of, failed_job, question_text
from tests.dashboard.fake_runner import FakeRunner, make_dub, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_a_free_retry_is_sent_at_once(tmp_path: Path) -> None:
    job = failed_job(0, "download_failed")
    async with open_dashboard(tmp_path, [job]) as opened:
        await opened.press("r")
        await opened.wait_for_status("1 dub retried")
        (request,) = opened.runner.requests_of(RetryRequest)
        assert dub_refs_of(request) == [DubRef(job.id, "fr-FR")]
        assert isinstance(request, RetryRequest) and not request.paid


async def test_a_paid_retry_shows_what_it_touches_and_asks_once(tmp_path: Path) -> None:
    job = failed_job(0, "processing_error")
    async with open_dashboard(tmp_path, [job]) as opened:
        await opened.press("r")
        await opened.wait_for_screen("ConfirmScreen")
        assert "lesson 0000.mp4: fr-FR" in question_text(opened) and "costs credits again" in question_text(opened)
        await opened.press("n")
        await opened.wait_for_status("Nothing was retried")
        assert not opened.runner.requests_of(RetryRequest)
        await opened.press("r")
        await opened.wait_for_screen("ConfirmScreen")
        await opened.press("y")
        await opened.wait_for_status("1 dub retried")
        (request,) = opened.runner.requests_of(RetryRequest)
        assert isinstance(request, RetryRequest) and request.paid


async def test_marks_decide_what_is_retried_and_the_free_ones_are_sent_as_free(tmp_path: Path) -> None:
    jobs = [failed_job(0, "download_failed"), failed_job(1, "processing_error"), failed_job(2, "moderation")]
    async with open_dashboard(tmp_path, jobs) as opened:
        await opened.press("*", "r")
        await opened.wait_for_screen("ConfirmScreen")
        asked = question_text(opened)
        assert "lesson 0000.mp4" in asked and "lesson 0001.mp4" in asked and "lesson 0002.mp4" not in asked
        assert "2 dubs left out" in asked
        await opened.press("y")
        await opened.wait_for_status("4 dubs retried")
        free, paid = opened.runner.requests_of(RetryRequest)
        assert isinstance(free, RetryRequest) and isinstance(paid, RetryRequest)
        assert {cell.job for cell in free.cells} == {jobs[0].id} and not free.paid
        assert {cell.job for cell in paid.cells} == {jobs[1].id} and paid.paid


async def test_retry_all_failed_never_takes_moderation_or_unknown(tmp_path: Path) -> None:
    jobs = [
        failed_job(0, "moderation"),
        make_job(1, TWO_LANGUAGES, DubState.UNKNOWN),
        failed_job(2, "download_failed"),
        failed_job(3, "processing_error"),
    ]
    async with open_dashboard(tmp_path, jobs) as opened:
        await opened.press("R")
        await opened.wait_for_screen("ConfirmScreen")
        await opened.press("y")
        await opened.wait_for_status("4 dubs retried")
        assert {cell.job for cell in dub_refs_of(*opened.runner.requests_of(RetryRequest))} == {jobs[2].id, jobs[3].id}


async def test_retry_all_failed_with_nothing_but_moderation(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [failed_job(0, "moderation")]) as opened:
        await opened.press("R")
        await opened.wait_for_status("Nothing to retry in bulk. 2 dubs left out")


@pytest.mark.parametrize(("code", "words"), [("moderation", "banned"), ("unknown", "billed twice")])
async def test_a_decision_is_asked_for_one_dub_alone(tmp_path: Path, code: str, words: str) -> None:
    job = make_job(0, TWO_LANGUAGES, DubState.UNKNOWN) if code == "unknown" else failed_job(0, code)
    async with open_dashboard(tmp_path, [job]) as opened:
        await opened.press("home", "r")  # the whole file: two decisions at once
        await opened.wait_for_status("left out")
        await opened.press("right", "r")
        await opened.wait_for_screen("ConfirmScreen")
        assert words in question_text(opened)
        await opened.press("y")
        await opened.wait_for_status("1 dub retried")
        (request,) = opened.runner.requests_of(RetryRequest)
        assert isinstance(request, RetryRequest) and request.paid and dub_refs_of(request) == [DubRef(job.id, "fr-FR")]


def job_waiting_for_user(reason: WaitReason, detail: str) -> Job:
    hold = Hold(reason, datetime.fromisoformat("2026-11-30 14:05").timestamp(), detail)
    job = make_job(0, ["fr-FR"])
    return replace(job, dubs={"fr-FR": replace(make_dub(DubState.WAITING, time.time()), hold=hold)})


async def test_the_question_about_what_was_paid_before_says_when_and_from_which_batch(tmp_path: Path) -> None:
    job = job_waiting_for_user(WaitReason.ALREADY_PAID, "/videos/a.mp4 in /home/ann/state, project p-7")
    async with open_dashboard(tmp_path, [job]) as opened:
        await opened.press("r")
        await opened.wait_for_screen("ConfirmScreen")
        asked = " ".join(question_text(opened).split())
        assert "Sent on 2026-11-30 14:05, for /videos/a.mp4 in /home/ann/state, project p-7." in asked
        assert not opened.runner.requests_of(RetryRequest)


@pytest.mark.parametrize("gone", [True, False])
async def test_before_the_question_about_a_claimed_dub_the_runner_looks_whether_it_still_is(tmp_path: Path, gone: bool) -> None:
    job = job_waiting_for_user(WaitReason.CLAIMED, "ann@mac since 2026-11-30 14:05")
    async with open_dashboard(tmp_path, [job]) as opened:
        opened.runner.reply_override = lambda request: (
            Reply(id=0, result={"retried": int(gone), "needs_paid": int(not gone)})
            if isinstance(request, RetryRequest)
            else None
        )
        await opened.press("r")
        if gone:
            await opened.wait_for_status("it goes on")
        else:
            await opened.wait_for_screen("ConfirmScreen")
            assert "Claimed by ann@mac since 2026-11-30 14:05." in " ".join(question_text(opened).split())
        (request,) = opened.runner.requests_of(RetryRequest)
        assert isinstance(request, RetryRequest) and not request.paid


async def test_a_consent_sends_what_was_shown_whatever_happens_while_the_question_is_open(tmp_path: Path) -> None:
    jobs = [failed_job(0, "processing_error"), make_job(1, TWO_LANGUAGES, DubState.DUBBING)]
    runner = FakeRunner(tmp_path / "runner.sock", jobs)
    marks = {DubRef(jobs[0].id, code): dub_fingerprint(jobs[0], code) for code in TWO_LANGUAGES}
    async with open_dashboard(tmp_path, runner=runner) as opened:
        await opened.press("R")
        await opened.wait_for_screen("ConfirmScreen")
        later = make_dub(DubState.FAILED, time.time() + 1, code="moderation")
        for job in jobs:  # one that was shown is refused, one that was not shown fails
            runner.set_dub(job, "fr-FR", later)
        await until(lambda: opened.app.session.batch.dub(jobs[1].id, "fr-FR") == later)
        changed = Reply(id=0, result={"retried": 1, "needs_paid": 0}, changed=(DubRef(jobs[0].id, "fr-FR"),))
        runner.reply_override = lambda request: changed if isinstance(request, RetryRequest) else None
        await opened.press("y")
        await opened.wait_for_status("1 dub retried. 1 dub left alone: changed since you were asked.")
        (request,) = runner.requests_of(RetryRequest)
        assert isinstance(request, RetryRequest)
        assert {DubRef(cell.job, cell.language): cell.state_mark for cell in request.cells} == marks


@pytest.mark.parametrize(("state", "words"), [(DubState.DUBBING, "under way"), (DubState.DONE, "its file is there")])
async def test_what_cannot_be_retried_says_so(tmp_path: Path, state: DubState, words: str) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO_LANGUAGES, state)])
    runner.reply_override = lambda request: Reply(id=0, result={"retried": 0}) if isinstance(request, RetryRequest) else None
    async with open_dashboard(tmp_path, runner=runner) as opened:
        await opened.press("r")
        await opened.wait_for_status(words)


async def test_a_refusal_of_the_runner_says_what_to_do(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [failed_job(0, "download_failed")])
    runner.reply_override = lambda request: (
        Reply(id=0, code="no_such_job", detail="\x1b[31m") if isinstance(request, RetryRequest) else None
    )
    async with open_dashboard(tmp_path, runner=runner) as opened:
        await opened.press("r")
        await opened.wait_for_status("No such file or dub")
        assert "\x1b" not in "".join(note.message for note in opened.app._notifications)


@pytest.mark.parametrize("typed", ["ry", "rrry", "Ry"])
async def test_what_costs_is_not_answered_before_it_is_asked_and_asked_once(tmp_path: Path, typed: str) -> None:
    async with open_dashboard(tmp_path, [failed_job(0, "processing_error")]) as opened:
        await opened.type_text(typed)
        await until(lambda: opened.runner.requests_of(RetryRequest) or isinstance(opened.app.screen, ConfirmScreen))
        if isinstance(opened.app.screen, ConfirmScreen):  # the yes came before the question was drawn
            await opened.press("y")
        await opened.wait_for_status("retried")
        assert len(opened.runner.requests_of(RetryRequest)) == 1
        assert len(opened.app.screen_stack) == 1
