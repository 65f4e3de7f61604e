"""Actions end to end: keys in, requests out, answers and questions on the screen."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthdub_tui.dashboard.actions import retry
from synthdub_tui.dashboard.keymap import ACTIONS, GROUPS, KEYS, Keymap
from synthdub_tui.dashboard.screens.confirm import ConfirmScreen
from synthdub_tui.dashboard.screens.outputs import OutputsScreen
from synthdub_tui.dashboard.ui_state import Memory
from synthdub_tui.dashboard.widgets import status_bar
from synthdub_tui.dashboard.widgets.lines import Reader
from synthdub_tui.dashboard.widgets.summary_bar import Topline
from synthdub_tui.ipc import client as link_module
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import (
    Add,
    AddLanguages,
    Cancel,
    Cell,
    CheckKey,
    Meters,
    Pause,
    Remove,
    Reply,
    Resume,
    Retry,
    Review,
    Stop,
    StopAdding,
)
from synthdub_tui.jobs.model import Dub, DubState, Hold, Job, WaitsFor
from synthdub_tui.jobs.retry_policy import fingerprint
from synthdub_tui.problems import Problem, explain
from synthdub_tui.sources.add_file import Batch
from tests.dashboard.fake_runner import FakeRunner, make_dub, make_job
from tests.dashboard.opened_dashboard import Desk, desk, until

TWO = ["fr-FR", "es-ES"]


def failed(number: int, code: str) -> Job:
    job = make_job(number, TWO)
    return replace(job, dubs=dict.fromkeys(TWO, make_dub(DubState.FAILED, time.time(), code=code)))


def cells(*requests: object) -> list[Cell]:
    return [Cell(cell.job, cell.language) for request in requests for cell in request.cells]  # type: ignore[attr-defined]


def question(opened: Desk) -> str:
    screen = opened.app.screen
    assert isinstance(screen, ConfirmScreen)
    return "\n".join(["".join(span for span, _ in line) for line in screen._reader._lines])


# -- retry -----------------------------------------------------------------------------------------------------------


async def test_a_free_retry_is_sent_at_once(tmp_path: Path) -> None:
    job = failed(0, "download_failed")
    async with desk(tmp_path, [job]) as opened:
        await opened.press("r")
        await opened.says("1 dub retried")
        (request,) = opened.runner.asked(Retry)
        assert cells(request) == [Cell(job.id, "fr-FR")]
        assert isinstance(request, Retry) and not request.paid


async def test_a_paid_retry_shows_what_it_touches_and_asks_once(tmp_path: Path) -> None:
    job = failed(0, "processing_error")
    async with desk(tmp_path, [job]) as opened:
        await opened.press("r")
        await opened.screen("ConfirmScreen")
        assert "lesson 0000.mp4: fr-FR" in question(opened) and "costs credits again" in question(opened)
        await opened.press("n")
        await opened.says("Nothing was retried")
        assert not opened.runner.asked(Retry)
        await opened.press("r")
        await opened.screen("ConfirmScreen")
        await opened.press("y")
        await opened.says("1 dub retried")
        (request,) = opened.runner.asked(Retry)
        assert isinstance(request, Retry) and request.paid


async def test_marks_decide_what_is_retried_and_the_free_ones_are_sent_as_free(tmp_path: Path) -> None:
    jobs = [failed(0, "download_failed"), failed(1, "processing_error"), failed(2, "moderation")]
    async with desk(tmp_path, jobs) as opened:
        await opened.press("*", "r")
        await opened.screen("ConfirmScreen")
        asked = question(opened)
        assert "lesson 0000.mp4" in asked and "lesson 0001.mp4" in asked and "lesson 0002.mp4" not in asked
        assert "2 dubs left out" in asked
        await opened.press("y")
        await opened.says("4 dubs retried")
        free, paid = opened.runner.asked(Retry)
        assert isinstance(free, Retry) and isinstance(paid, Retry)
        assert {cell.job for cell in free.cells} == {jobs[0].id} and not free.paid
        assert {cell.job for cell in paid.cells} == {jobs[1].id} and paid.paid


async def test_retry_all_failed_never_takes_moderation_or_unknown(tmp_path: Path) -> None:
    jobs = [
        failed(0, "moderation"),
        make_job(1, TWO, DubState.UNKNOWN),
        failed(2, "download_failed"),
        failed(3, "processing_error"),
    ]
    async with desk(tmp_path, jobs) as opened:
        await opened.press("R")
        await opened.screen("ConfirmScreen")
        await opened.press("y")
        await opened.says("4 dubs retried")
        assert {cell.job for cell in cells(*opened.runner.asked(Retry))} == {jobs[2].id, jobs[3].id}


async def test_retry_all_failed_with_nothing_but_moderation(tmp_path: Path) -> None:
    async with desk(tmp_path, [failed(0, "moderation")]) as opened:
        await opened.press("R")
        await opened.says("Nothing to retry in bulk. 2 dubs left out")


@pytest.mark.parametrize(("code", "words"), [("moderation", "banned"), ("unknown", "billed twice")])
async def test_a_decision_is_asked_for_one_dub_alone(tmp_path: Path, code: str, words: str) -> None:
    job = make_job(0, TWO, DubState.UNKNOWN) if code == "unknown" else failed(0, code)
    async with desk(tmp_path, [job]) as opened:
        await opened.press("home", "r")  # the whole file: two decisions at once
        await opened.says("left out")
        await opened.press("right", "r")
        await opened.screen("ConfirmScreen")
        assert words in question(opened)
        await opened.press("y")
        await opened.says("1 dub retried")
        (request,) = opened.runner.asked(Retry)
        assert isinstance(request, Retry) and request.paid and cells(request) == [Cell(job.id, "fr-FR")]


def waiting_for_the_user(reason: WaitsFor, detail: str) -> Job:
    hold = Hold(reason, datetime.fromisoformat("2026-11-30 14:05").timestamp(), detail)
    job = make_job(0, ["fr-FR"])
    return replace(job, dubs={"fr-FR": replace(make_dub(DubState.WAITING, time.time()), hold=hold)})


async def test_the_question_about_what_was_paid_before_says_when_and_from_which_batch(tmp_path: Path) -> None:
    job = waiting_for_the_user(WaitsFor.ALREADY_PAID, "/videos/a.mp4 in /home/ann/state, project p-7")
    async with desk(tmp_path, [job]) as opened:
        await opened.press("r")
        await opened.screen("ConfirmScreen")
        asked = " ".join(question(opened).split())
        assert "Sent on 2026-11-30 14:05, for /videos/a.mp4 in /home/ann/state, project p-7." in asked
        assert not opened.runner.asked(Retry)


@pytest.mark.parametrize("gone", [True, False])
async def test_before_the_question_about_a_claimed_dub_the_runner_looks_whether_it_still_is(tmp_path: Path, gone: bool) -> None:
    job = waiting_for_the_user(WaitsFor.CLAIMED, "ann@mac since 2026-11-30 14:05")
    async with desk(tmp_path, [job]) as opened:
        opened.runner.answer = lambda request: (
            Reply(id=0, result={"retried": int(gone), "needs_paid": int(not gone)}) if isinstance(request, Retry) else None
        )
        await opened.press("r")
        if gone:
            await opened.says("it goes on")
        else:
            await opened.screen("ConfirmScreen")
            assert "Claimed by ann@mac since 2026-11-30 14:05." in " ".join(question(opened).split())
        (request,) = opened.runner.asked(Retry)
        assert isinstance(request, Retry) and not request.paid


async def test_a_consent_sends_what_was_shown_whatever_happens_while_the_question_is_open(tmp_path: Path) -> None:
    jobs = [failed(0, "processing_error"), make_job(1, TWO, DubState.DUBBING)]
    runner = FakeRunner(tmp_path / "runner.sock", jobs)
    marks = {Cell(jobs[0].id, code): fingerprint(jobs[0], code) for code in TWO}
    async with desk(tmp_path, runner=runner) as opened:
        await opened.press("R")
        await opened.screen("ConfirmScreen")
        later = make_dub(DubState.FAILED, time.time() + 1, code="moderation")
        for job in jobs:  # one that was shown is refused, one that was not shown fails
            runner.set_dub(job, "fr-FR", later)
        await until(lambda: opened.app.session.batch.dub(jobs[1].id, "fr-FR") == later)
        changed = Reply(id=0, result={"retried": 1, "needs_paid": 0}, changed=(Cell(jobs[0].id, "fr-FR"),))
        runner.answer = lambda request: changed if isinstance(request, Retry) else None
        await opened.press("y")
        await opened.says("1 dub retried. 1 dub left alone: changed since you were asked.")
        (request,) = runner.asked(Retry)
        assert isinstance(request, Retry)
        assert {Cell(cell.job, cell.language): cell.mark for cell in request.cells} == marks


@pytest.mark.parametrize(("state", "words"), [(DubState.DUBBING, "under way"), (DubState.DONE, "its file is there")])
async def test_what_cannot_be_retried_says_so(tmp_path: Path, state: DubState, words: str) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO, state)])
    runner.answer = lambda request: Reply(id=0, result={"retried": 0}) if isinstance(request, Retry) else None
    async with desk(tmp_path, runner=runner) as opened:
        await opened.press("r")
        await opened.says(words)


async def test_a_refusal_of_the_runner_says_what_to_do(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [failed(0, "download_failed")])
    runner.answer = lambda request: Reply(id=0, code="no_such_job", detail="\x1b[31m") if isinstance(request, Retry) else None
    async with desk(tmp_path, runner=runner) as opened:
        await opened.press("r")
        await opened.says("No such file or dub")
        assert "\x1b" not in "".join(note.message for note in opened.app._notifications)


@pytest.mark.parametrize("typed", ["ry", "rrry", "Ry"])
async def test_what_costs_is_not_answered_before_it_is_asked_and_asked_once(tmp_path: Path, typed: str) -> None:
    async with desk(tmp_path, [failed(0, "processing_error")]) as opened:
        await opened.type(typed)
        await until(lambda: opened.runner.asked(Retry) or isinstance(opened.app.screen, ConfirmScreen))
        if isinstance(opened.app.screen, ConfirmScreen):  # the yes came before the question was drawn
            await opened.press("y")
        await opened.says("retried")
        assert len(opened.runner.asked(Retry)) == 1
        assert len(opened.app.screen_stack) == 1


@pytest.mark.parametrize("key", ["x", "a", "L", "o", "l", "?", "q", "R"])
async def test_a_key_pressed_twice_opens_one_screen(tmp_path: Path, key: str) -> None:
    jobs = [make_job(0, TWO, DubState.DUBBING), failed(1, "processing_error")]
    async with desk(tmp_path, jobs, log_path=tmp_path / "log") as opened:
        await opened.type(key * 2)
        assert len(opened.app.screen_stack) <= 2  # the second may close what the first opened


# -- cancel ----------------------------------------------------------------------------------------------------------


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


# -- add -------------------------------------------------------------------------------------------------------------


async def test_languages_are_added_to_the_file_under_the_cursor(tmp_path: Path) -> None:
    job = make_job(0, TWO)
    async with desk(tmp_path, [job]) as opened:
        await opened.press("L")
        await opened.screen("AddLanguagesScreen")
        await opened.type("de-AT")
        await opened.press("enter")
        await opened.screen("ConfirmScreen")
        assert "lesson 0000.mp4: de-AT" in question(opened) and "spends credits" in question(opened)
        await opened.press("y")
        await opened.says("1 dub added")
        (request,) = opened.runner.asked(AddLanguages)
        assert isinstance(request, AddLanguages) and request.jobs == (job.id,) and request.languages == ("de-AT",)
        await until(lambda: "de-AT" in opened.lines()[0])
        assert opened.app.memory.now.languages == ["de-AT"]


async def test_files_are_added_with_the_batch_options(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x" * 100)
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO, name="x/../clip0.mp4")])
    came_to: dict[str, int | str] = {
        "new": 2,
        "known": 0,
        "skipped": 34,
        "left_out": "3 videos in 1 folder (#recycle 3)",
        "problem": "path_missing",
        "problem_detail": "/x",
    }
    runner.answer = lambda request: Reply(id=0, result=came_to) if isinstance(request, Add) else None
    batch = Batch(targets=("fr-FR",), title="T")
    async with desk(tmp_path, runner=runner, batch=batch) as opened:
        opened.main._start_folder = lambda: tmp_path  # type: ignore[method-assign]
        await opened.press("a")
        await opened.screen("AddFilesScreen")
        await until(lambda: getattr(opened.app.screen, "_shown", None))
        await opened.press("end")
        await opened.press("space", "enter")
        await opened.screen("ConfirmScreen")
        assert str(tmp_path / "clip.mp4") in question(opened) and "French (France) (fr-FR)" in question(opened)
        assert "Up to 1 dub: 1 video in 1 language. Every dub spends credits." in question(opened)
        await opened.press("y")
        await opened.says("Added: 2 new, 34 other files skipped. Left out: 3 videos in 1 folder (#recycle 3).")
        assert [note.title for note in opened.app._notifications] == ["There is no such file or folder"]
        (request,) = opened.runner.asked(Add)
        assert isinstance(request, Add) and request.paths == (str(tmp_path / "clip.mp4"),)
        assert request.batch == batch


async def test_a_folder_tells_how_many_dubs_it_comes_to(tmp_path: Path) -> None:
    folder = tmp_path / "lessons"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.mp4").write_bytes(b"x")
    async with desk(tmp_path, [], batch=Batch(targets=("fr-FR", "ja"))) as opened:
        opened.main._start_folder = lambda: tmp_path  # type: ignore[method-assign]
        await opened.press("a")
        await opened.screen("AddFilesScreen")
        await until(lambda: getattr(opened.app.screen, "_shown", None))
        await opened.press("space")
        await until(lambda: "3 videos" in opened.app.screen._marked_line())  # type: ignore[attr-defined]
        await opened.press("enter")
        await opened.screen("ConfirmScreen")
        assert "Up to 6 dubs: 3 videos in 2 languages." in question(opened)


async def test_one_file_that_vanished_does_not_lose_the_others(tmp_path: Path) -> None:
    there = [str(tmp_path / f"{number}.mp4") for number in range(3)]
    for path in there:
        Path(path).write_bytes(b"x")
    gone = str(tmp_path / "gone.mp4")
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO)])
    refusal: dict[str, int | str] = {"new": 0, "problems": 1, "problem": "path_missing", "problem_detail": gone}
    answers = [Reply(id=0, result=refusal), Reply(id=0, result={"new": 3})]
    runner.answer = lambda request: answers.pop(0) if isinstance(request, Add) else None
    async with desk(tmp_path, runner=runner, attached=False, paths=(gone, *there), batch=Batch(targets=("ja",))) as opened:
        await opened.screen("ConfirmScreen")
        assert question(opened) == f"{gone}: There is no such file or folder"
        await opened.press("y")
        await opened.says("Added: 3 new.")
        _, again = runner.asked(Add)
        assert isinstance(again, Add) and list(again.paths) == there


async def test_a_search_for_files_can_be_stopped(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO)])
    runner.unanswered = (Add,)
    async with desk(tmp_path, runner=runner, paths=("/v",), batch=Batch(targets=("ja",))) as opened:
        await opened.says("Adding 1 path… U stops it.")
        await until(lambda: runner.asked(Add))
        await opened.press("U")
        await until(lambda: runner.asked(StopAdding))
        (request,) = runner.asked(Add)
        runner.say(Reply(id=request.id, result={"new": 700, "stopped": 1}))
        await opened.says("Stopped; what was found stays: 700 new.")
        await opened.press("U")
        await opened.says("There is nothing to take back.")


async def test_a_no_adds_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    async with desk(tmp_path, [], batch=Batch(targets=("fr-FR",))) as opened:
        opened.main._start_folder = lambda: tmp_path  # type: ignore[method-assign]
        await opened.press("a")
        await opened.screen("AddFilesScreen")
        await until(lambda: getattr(opened.app.screen, "_shown", None))
        await opened.press("enter")
        await opened.screen("ConfirmScreen")
        await opened.press("n")
        await opened.says("Nothing was added")
        assert not opened.runner.asked(Add)


async def test_paths_of_the_command_line_are_added_once(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)], paths=("/v",), batch=Batch(targets=("ja",))) as opened:
        await until(lambda: opened.runner.asked(Add))
        for writer in list(opened.runner._clients):
            writer.transport.abort()
        await until(lambda: opened.runner.starts == 1 and opened.runner.attached == 1 and opened.app.session.attached)
        assert len(opened.runner.asked(Add)) == 1


# -- the batch as a whole --------------------------------------------------------------------------------------------


async def test_pause_and_resume(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)]) as opened:
        await opened.press("p")
        await until(lambda: "Paused: nothing new begins" in opened.top)
        await opened.press("p")
        await until(lambda: "Paused" not in opened.top)
        assert [type(request) for request in opened.runner.requests[2:]] == [Pause, Resume]


async def test_read_only_watches_and_refuses(tmp_path: Path) -> None:
    async with desk(tmp_path, [failed(0, "download_failed")], read_only=True) as opened:
        assert "read-only" in opened.top
        for key in "rRxaLpS":
            opened.main.status.say("")
            await opened.press(key)
            await opened.says("read-only")
        assert len(opened.runner.requests) == 2
        await opened.press("q")
        await until(lambda: opened.app._exit)


async def test_a_dead_runner_is_said_and_started_again_by_a_key(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)]) as opened:
        await opened.runner.die()
        await until(lambda: "S starts it" in opened.top)
        await opened.press("r")
        await opened.says("S starts one")
        await opened.press("S")
        await until(lambda: opened.app.session.link.state is LinkState.ATTACHED)
        await until(lambda: "S starts" not in opened.top)
        await opened.says("at work again")


async def test_the_loss_of_the_runner_calls_the_user_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "LOOK", 0.01)
    async with desk(tmp_path, [make_job(0, TWO)]) as opened:
        calls: list[str] = []
        opened.app.session.on_call = calls.append
        await opened.runner.die()
        await until(lambda: "S starts" in opened.top)
        await opened.pilot.pause(0.1)  # some looks later
        assert calls == ["The runner has ended. S starts it again."]


async def test_what_holds_the_batch_up_is_in_the_top_line_and_calls_the_user(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)]) as opened:
        bells: list[str] = []
        opened.app.session.on_call = bells.append
        opened.runner.push(meters=Meters(time.time(), busy=True, problem="service_unreachable"))
        await until(lambda: "The service cannot be reached" in opened.top)
        assert bells == ["The service cannot be reached."]


async def test_what_held_the_batch_up_is_not_told_any_longer_when_it_is_over(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)]) as opened:
        opened.runner.push(meters=Meters(time.time(), problem="key_rejected"))
        await opened.says("The service does not accept the API key.")
        opened.runner.push(meters=Meters(time.time(), busy=True))
        await until(lambda: not opened.main.status.event)
        opened.runner.push(meters=Meters(time.time(), problem="service_down"))
        await opened.says("The service has trouble at the moment.")
        await opened.runner.die()
        await opened.says("The runner has ended. S starts it again.")
        assert "trouble" not in opened.said


async def test_the_end_of_the_batch_and_decisions_call_the_user(tmp_path: Path) -> None:
    job = make_job(0, TWO, DubState.DUBBING)
    async with desk(tmp_path, [job]) as opened:
        bells: list[str] = []
        opened.app.session.on_call = bells.append
        opened.runner.set_dub(job, "fr-FR", make_dub(DubState.UNKNOWN, time.time()))
        await until(lambda: bells)
        opened.runner.set_dub(job, "es-ES", make_dub(DubState.DONE, time.time()))
        await until(lambda: len(bells) == 2)
        assert "decision" in bells[0] and "ended: 1 of 2" in bells[1]


async def test_a_dub_that_turns_out_accepted_after_its_cancel_calls_the_user(tmp_path: Path) -> None:
    job = make_job(0, TWO, DubState.DUBBING)
    async with desk(tmp_path, [job]) as opened:
        bells: list[str] = []
        opened.app.session.on_call = bells.append
        opened.runner.set_dub(job, "fr-FR", Dub(DubState.CANCELLED, time.time()))
        opened.runner.set_dub(job, "fr-FR", Dub(DubState.CANCELLED, time.time(), project="p-1"))
        await until(lambda: bells)
        assert bells == ["A cancel came too late. The service had accepted it. It may be billed. A retry fetches it, free."]


async def test_copying_shows_what_was_copied(tmp_path: Path) -> None:
    jobs = [make_job(0, TWO, DubState.DONE), make_job(1, TWO, DubState.DUBBING), make_job(2, TWO)]
    async with desk(tmp_path, jobs) as opened:
        for words in ("lesson 0000.dubbed-fr-FR.mp4", "project-1", "/videos/lesson 0002.mp4"):
            await opened.press("y")
            await opened.says(words)
            assert words in opened.app.clipboard
            await opened.press("down")


# -- key -------------------------------------------------------------------------------------------------------------


async def test_without_a_key_the_screen_that_takes_one_opens_once(tmp_path: Path) -> None:
    asked: list[str] = []

    async def check(key: str) -> Problem | None:
        asked.append(key)
        return explain("key_rejected") if key == "wrong" else None

    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO)])
    runner.meters = Meters(time.time(), problem="no_key")
    config = tmp_path / "config" / "config.toml"
    async with desk(tmp_path, runner=runner, attached=False, check_key=check, config_path=config) as opened:
        await opened.screen("SetupKeyScreen")
        await opened.type("good-key")
        await opened.press("enter")
        await opened.screen("MainScreen")
        await until(lambda: opened.runner.asked(CheckKey))
        assert asked == ["good-key"] and "good-key" in config.read_text()
        assert config.stat().st_mode & 0o077 == 0


async def takes(key: str) -> Problem | None:
    return None if key == "good-key" else explain("key_rejected")


def rejected(tmp_path: Path) -> FakeRunner:
    """A runner whose key is not accepted; the one that takes its place has another."""
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO)])
    runner.meters = Meters(time.time(), problem="key_rejected")
    runner.answer = lambda request: Reply(id=0, code="key_rejected") if isinstance(request, CheckKey) else None
    runner.after_stop = lambda: setattr(runner, "meters", Meters(time.time()))
    return runner


async def enter_key(opened: Desk) -> None:
    await opened.screen("SetupKeyScreen")
    await opened.type("good-key")
    await opened.press("enter")
    await opened.screen("MainScreen")


@pytest.mark.parametrize("ahead", ["SYNTHESIA_API_KEY", ""])
async def test_a_stored_key_is_used_whatever_key_the_runner_was_started_with(tmp_path: Path, ahead: str) -> None:
    runner, config = rejected(tmp_path), tmp_path / "config.toml"
    options = {"check_key": takes, "config_path": config, "key_ahead": ahead}
    async with desk(tmp_path, runner=runner, attached=False, **options) as opened:
        await enter_key(opened)
        await until(lambda: runner.starts == 2 and opened.app.session.attached)
        assert runner.uses_stored_key, "by its environment it would start with the old key again"
        await until(lambda: opened.app.session.meters is not None and not opened.app.session.meters.problem)
        assert ("Before the next start take SYNTHESIA_API_KEY away" in opened.said) is bool(ahead)
        assert len(opened.app.screen_stack) == 1


async def test_a_run_in_the_foreground_that_has_another_key_is_left_alone(tmp_path: Path) -> None:
    runner = rejected(tmp_path)
    runner.foreground = True
    async with desk(tmp_path, runner=runner, attached=False, check_key=takes, config_path=tmp_path / "config.toml") as opened:
        await enter_key(opened)
        await opened.says("the `synthdub run` at work has another")
        assert not runner.asked(Stop)


async def test_a_runner_that_is_older_than_the_key_is_replaced_without_a_question(tmp_path: Path) -> None:
    """The remedy that is given: set the variable and start again. The runner of before may still be there."""

    async def own() -> Problem | None:
        return await takes("good-key")

    runner = rejected(tmp_path)
    options = {"check_key": takes, "check_own_key": own, "config_path": tmp_path / "config.toml"}
    async with desk(tmp_path, runner=runner, attached=False, **options) as opened:
        await until(lambda: runner.starts == 2 and opened.app.session.attached)
        await until(lambda: opened.app.session.meters is not None and not opened.app.session.meters.problem)
        assert len(opened.app.screen_stack) == 1 and not runner.uses_stored_key


# -- quit ------------------------------------------------------------------------------------------------------------


async def test_quitting_with_work_in_flight_asks_and_leaves_the_runner_working(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DUBBING)]) as opened:
        await opened.press("q")
        await opened.screen("QuitScreen")
        await opened.press("escape")
        await opened.screen("MainScreen")
        await opened.press("q")
        await opened.screen("QuitScreen")
        await opened.press("b")
        await until(lambda: opened.app._exit)
        assert not opened.runner.asked(Stop)
        assert "2 under way" in opened.app.farewell and "works on in the background" in opened.app.farewell


async def test_quitting_can_stop_the_runner_and_be_remembered(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DUBBING)]) as opened:
        await opened.press("q")
        await opened.screen("QuitScreen")
        await opened.press("m", "s")
        await until(lambda: opened.app._exit)
        assert len(opened.runner.asked(Stop)) == 1
        assert "Stopped and saved" in opened.app.farewell
        assert opened.app.memory.now.quit == "stop"


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q"])
async def test_keys_that_end_programs_ask_as_q_does_and_once(tmp_path: Path, key: str) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DUBBING)]) as opened:
        await opened.press(key)
        await opened.screen("QuitScreen")
        await opened.press(key)
        await opened.press("escape")
        await opened.screen("MainScreen")
        assert not opened.app._exit
        await opened.press(key)
        await opened.screen("QuitScreen")


async def test_quitting_without_work_does_not_ask(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO, DubState.DONE)])
    runner.meters = Meters(time.time(), busy=False)
    async with desk(tmp_path, runner=runner) as opened:
        await opened.press("q")
        await until(lambda: opened.app._exit)
        assert opened.app.farewell == "synthdub: 2 of 2 dubs done."


# -- remove ----------------------------------------------------------------------------------------------------------


def remove(opened: Desk) -> None:
    """By the palette's command."""
    next(c for c in opened.app.get_system_commands(opened.main) if c.title == "Remove from the batch").callback()


async def test_a_finished_file_is_removed_at_once_and_the_cursor_goes_to_the_next(tmp_path: Path) -> None:
    jobs = [make_job(number, TWO, DubState.DONE) for number in range(2)]
    async with desk(tmp_path, jobs) as opened:
        await opened.press("home")
        remove(opened)
        await opened.says("2 dubs removed; files stay.")
        (request,) = opened.runner.asked(Remove)
        assert isinstance(request, Remove) and not request.forget
        assert set(opened.app.session.batch.rows) == {jobs[1].id}
        assert opened.main.grid.cursor is not None and opened.main.grid.cursor.job == jobs[1].id
        await opened.press("y")
        await opened.says("Copied")


async def test_the_last_file_is_removed_and_the_grid_is_empty(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DONE)]) as opened:
        await opened.press("*")
        remove(opened)
        await opened.says("2 dubs removed")
        batch = opened.app.session.batch
        assert (batch.rows, batch.columns, batch.marks.count, batch.overall.dubs) == ({}, [], 0, 0)
        await opened.press("r", "x", "enter", "y", "o")
        await opened.screen("OutputsScreen")


async def test_a_language_of_a_file_is_removed_and_its_column_with_it(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DONE)]) as opened:
        await opened.press("home", "right", "space")
        remove(opened)
        await opened.says("1 dub removed")
        batch = opened.app.session.batch
        await until(lambda: batch.columns == ["es-ES"])
        assert batch.marks.count == 0


async def test_what_was_paid_for_is_removed_after_a_question(tmp_path: Path) -> None:
    job = failed(0, "processing_error")
    paid = replace(job, dubs={code: replace(dub, project="p1") for code, dub in job.dubs.items()})
    async with desk(tmp_path, [paid]) as opened:
        await opened.press("home")
        for key, requests in (("n", 0), ("y", 1)):
            remove(opened)
            await opened.screen("ConfirmScreen")
            assert "They were paid for, and are not on disk." in question(opened)
            await opened.press(key)
            await opened.says("Nothing was removed" if key == "n" else "2 dubs removed")
            assert len(opened.runner.asked(Remove)) == requests
        (request,) = opened.runner.asked(Remove)
        assert isinstance(request, Remove) and request.forget


async def test_what_is_under_way_or_undecided_is_not_removed(tmp_path: Path) -> None:
    job = make_job(0, TWO)
    dubs = {"fr-FR": make_dub(DubState.DUBBING, time.time()), "es-ES": make_dub(DubState.UNKNOWN, time.time())}
    async with desk(tmp_path, [replace(job, dubs=dubs)]) as opened:
        await opened.press("home")
        remove(opened)
        await opened.says("Nothing here to remove")
        assert not opened.runner.asked(Remove)


async def test_a_finished_dub_whose_file_the_runner_finds_gone_is_removed_after_a_question(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DONE)]) as opened:
        kept = Reply(id=0, result={"removed": 0, "under_way": 0, "paid": 2})
        opened.runner.answer = lambda asked: kept if isinstance(asked, Remove) and not asked.forget else None
        await opened.press("home")
        remove(opened)
        await opened.screen("ConfirmScreen")
        await opened.press("y")
        await opened.says("2 dubs removed")


# -- screens, palette, memory ----------------------------------------------------------------------------------------


async def test_outputs_show_what_is_done_and_pass_review_marks_on(tmp_path: Path) -> None:
    job = make_job(0, TWO, DubState.DONE)
    async with desk(tmp_path, [job, make_job(1, TWO)]) as opened:
        await opened.press("o")
        await opened.screen("OutputsScreen")
        await until(lambda: len(getattr(opened.app.screen, "_shown", [])) == 2)
        await opened.press("v")
        await until(lambda: opened.runner.asked(Review))
        (request,) = opened.runner.asked(Review)
        assert isinstance(request, Review) and request.mark and len(request.cells) == 1
        await opened.press("escape")
        await opened.screen("MainScreen")


async def test_help_and_palette_know_every_action(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)], keymap={"retry": "f5"}) as opened:
        await opened.press("?")
        await opened.screen("HelpScreen")
        shown = str(opened.app.screen._groups)  # type: ignore[attr-defined]
        assert all(key.words in shown for key in KEYS)
        assert "f5" in shown
        await opened.press("escape")
        titles = [command.title.lower() for command in opened.app.get_system_commands(opened.main)]
        assert all(any(key.words.lower() in title for title in titles) for key in KEYS if key.id != "clear")


async def test_the_palette_runs_an_action(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)]) as opened:
        command = next(c for c in opened.app.get_system_commands(opened.main) if c.title == "Mark all shown")
        command.callback()
        await until(lambda: opened.app.session.batch.marks.count == 2)


async def test_the_keymap_of_the_configuration_is_used(tmp_path: Path) -> None:
    async with desk(tmp_path, [failed(0, "download_failed")], keymap={"retry": "f5"}) as opened:
        await opened.press("r")
        await opened.press("f5")
        await opened.says("1 dub retried")
        assert len(opened.runner.asked(Retry)) == 1


async def test_a_keymap_for_an_action_that_is_none_is_told(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)], keymap={"retri": "f5"}) as opened:
        (note,) = opened.app._notifications
        assert "'retri'; did you mean 'retry'?" in note.message


@pytest.mark.parametrize(
    ("keymap", "said"),
    [
        ({"pause": "x"}, ["cancel has no key any more: pause took it."]),
        ({"pause": "x", "cancel": "p"}, []),
        ({"pause": "f5", "log": "f5"}, ["pause and log have the same key: give one of them another."]),
        ({"help": "f1,?"}, []),
        ({"log": "f8,full_stop,asterisk"}, ["mark_shown has no key any more: log took it."]),
        ({"log": "crtl+l"}, ["there is no key 'crtl+l', given to log."]),
        ({"up": "k"}, []),
    ],
)
def test_mistakes_in_the_keymap_are_told(keymap: dict[str, str], said: list[str]) -> None:
    assert [words.removeprefix("[dashboard] keys: ") for words in Keymap(keymap).problems()] == said


async def test_what_names_keys_names_those_of_the_keymap(tmp_path: Path) -> None:
    keymap = {"retry": "f5", "start_runner": "f9", "right": "l,right", "log": "f8"}
    async with desk(tmp_path, [failed(0, "download_failed")], keymap=keymap) as opened:
        assert opened.main.status._text(80).plain.startswith(" f5 retry  x cancel")
        assert dict(opened.app.keymap.help_groups()[0][1])["l right"] == "one language to the right"
        await opened.runner.die()
        await until(lambda: "f9 starts it" in opened.top)
        await opened.says("f9 starts it again")


REDRAW = "Draw everything anew, where something else wrote on the screen"


async def test_the_palette_over_a_page_has_the_actions_of_the_page(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO, DubState.DONE)]) as opened:
        await opened.press("o")
        await opened.screen("OutputsScreen")
        page = opened.app.screen
        commands = {command.title: command for command in opened.app.get_system_commands(page)}
        assert {"Copy an scp command", "Read the captions", "Quit", "Theme: change the colours", REDRAW} <= set(commands)
        assert not {"Retry", "Cancel", "Mark the column"} & set(commands)
        commands["Mark all shown"].callback()
        await until(lambda: len(getattr(page, "_marked", ())) == 2)


async def test_only_keys_that_do_something_are_offered(tmp_path: Path) -> None:
    async with desk(tmp_path, [], size=(80, 24)) as opened:
        said = opened.main.status._text(80).plain
        assert said.split("  ") == [" Nothing here yet. a adds files.", "a add", "? help", "q quit", "ctrl+p palette"]
    async with desk(tmp_path / "..", [make_job(0, TWO)], read_only=True) as watching:
        assert "retry" not in watching.main.status._text(80).plain
        assert "? help" in watching.main.status._text(80).plain


async def test_small_terminals_are_told_where_the_help_is(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)], size=(20, 5)) as opened:
        assert opened.main.status._text(20).plain.strip() == "r retry  ? help"


async def test_what_holds_the_batch_up_is_told_to_its_end(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)], size=(60, 24)) as opened:
        opened.runner.push(meters=Meters(time.time(), busy=True, problem="key_rejected"))
        await until(lambda: "Nothing is lost." in " ".join(opened.top.split()))
        await until(lambda: opened.main.query_one(Topline).size.height == 4)
        await opened.pilot.resize_terminal(60, 10)
        await until(lambda: opened.main.query_one(Topline).size.height == 1)
        opened.runner.push(meters=Meters(time.time(), busy=True))
        await until(lambda: "done" in opened.top)
        await opened.pilot.resize_terminal(60, 24)
        await until(lambda: opened.main.query_one(Topline).size.height == 2)


async def test_every_action_of_the_table_exists(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)]) as opened:
        for action in ACTIONS:
            assert hasattr(opened.main, f"action_{action}") or hasattr(opened.app, f"action_{action}"), action
        ids = [key.id for group in GROUPS.values() for key in group]
        assert len(ids) == len(set(ids))


async def test_place_order_filter_and_theme_survive_a_restart(tmp_path: Path) -> None:
    jobs = [make_job(n, TWO, DubState.FAILED) for n in range(30)]
    async with desk(tmp_path, jobs) as opened:
        await opened.press("f", "s", "G", "right")
        opened.app.theme = "nord"
        await opened.pilot.pause()
        opened.app.save().join()
        cursor = opened.main.grid.cursor
    remembered = Memory(tmp_path).now
    assert (remembered.filter, remembered.order, remembered.theme) == ("state:trouble", "name", "nord")
    async with desk(tmp_path, jobs) as again:
        assert again.main.grid.cursor == cursor
        assert again.app.session.batch.order == "name"
        assert again.app.theme == "nord"
        assert str(again.app.session.batch.filter) == "state:trouble"


@pytest.mark.parametrize("content", ["", "nonsense = = 1", "job = 3\n", "\x00"])
def test_a_damaged_memory_is_no_reason_not_to_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "dashboard.toml").write_text(content)
    memory = Memory(tmp_path)
    assert memory.now.order == "added"
    memory.now.filter = "x"
    memory.save()
    assert Memory(tmp_path).now.filter == "x"


async def test_columns_keep_their_order_over_a_restart(tmp_path: Path) -> None:
    jobs = [make_job(0, ["fr-FR"]), make_job(1, TWO)]
    async with desk(tmp_path, jobs) as opened:
        opened.runner.push(make_job(0, ["fr-FR", "ja", "es-ES"]))
        await until(lambda: opened.app.memory.now.columns == ["fr-FR", "es-ES", "ja"])
        opened.app.save().join()
    async with desk(tmp_path, [make_job(0, ["fr-FR", "ja", "es-ES"]), *jobs[1:]]) as again:
        assert again.app.session.batch.columns == ["fr-FR", "es-ES", "ja"]


async def test_an_empty_batch_says_how_to_begin(tmp_path: Path) -> None:
    async with desk(tmp_path, []) as opened:
        assert "a adds files" in opened.main.status._text(80).plain
        for key in ("down", "right", "space", "r", "x", "L", "y", "enter", "*", "V", "f", "s", "escape"):
            await opened.press(key)
        assert opened.main.grid.cursor is None


async def test_two_dashboards_at_once(tmp_path: Path) -> None:
    job = make_job(0, TWO, DubState.DUBBING)
    runner = FakeRunner(tmp_path / "runner.sock", [job])
    async with desk(tmp_path, runner=runner) as first, desk(tmp_path / "..", runner=runner) as second:
        assert runner.attached == 2
        runner.set_dub(job, "fr-FR", make_dub(DubState.DONE, time.time()))
        for opened in (first, second):
            await until(lambda opened=opened: "✓ done" in opened.lines()[3])


async def test_warnings_about_settings_are_shown_and_hold_up_nothing(tmp_path: Path) -> None:
    warning = "config.toml holds the key and can be read by others:\x1b chmod 600 config.toml"
    async with desk(tmp_path, [make_job(0, TWO, DubState.DONE)], warnings=(warning,)) as opened:
        await until(lambda: [note.message for note in opened.app._notifications] == [warning.replace("\x1b", "\ufffd")])
        await opened.press("down", "right")
        assert opened.main.grid.cursor is not None and opened.main.grid.cursor.language == "es-ES"


async def test_a_long_answer_is_readable_to_its_end(tmp_path: Path) -> None:
    words = "The runner does not answer, and this is why: " + "reason " * 12 + "press S"
    async with desk(tmp_path, [make_job(0, TWO)], size=(60, 20)) as opened:
        opened.main.status.say(words)
        await until(lambda: opened.main.status.size.height == 3)
        assert " ".join(str(opened.main.status.visual).split()) == words
        opened.main.status.say("")
        await until(lambda: opened.main.status.size.height == 1)
        opened.main.status.say(words * 9)
        await until(lambda: opened.main.status.size.height == 3 and "…" in str(opened.main.status.visual))
        await opened.pilot.resize_terminal(60, 8)
        await until(lambda: opened.main.status.size.height == 1)


# -- what is answered and what happens -------------------------------------------------------------------------------


def status(opened: Desk) -> str:
    """The last lines as they are drawn."""
    line = opened.main.status
    return "\n".join("".join(segment.text for segment in line.render_line(y)).strip() for y in range(line.size.height))


async def test_an_answer_and_an_event_of_the_same_second_are_both_seen(tmp_path: Path) -> None:
    job = make_job(0, TWO)
    async with desk(tmp_path, [job], size=(80, 24)) as opened:
        await opened.press("s")
        await opened.says("Sorted by name")
        opened.runner.set_dub(job, "fr-FR", make_dub(DubState.FAILED, time.time()))
        await opened.says("A dub has failed")
        await until(lambda: status(opened).startswith("Sorted by name. ") and "\nA dub has failed. f shows" in status(opened))
        await opened.press("s")
        await opened.says("Sorted by state")
        await until(lambda: status(opened).startswith("Sorted by state. ") and "\nA dub has failed. f shows" in status(opened))


async def test_an_event_leaves_room_for_the_keys(tmp_path: Path) -> None:
    job = make_job(0, TWO)
    async with desk(tmp_path, [job], size=(80, 24)) as opened:
        opened.runner.set_dub(job, "fr-FR", make_dub(DubState.FAILED, time.time()))
        await until(lambda: "A dub has failed. f shows them.  r retry" in status(opened))
        await opened.pilot.resize_terminal(24, 24)
        await until(lambda: status(opened).startswith("A dub has failed"))
        opened.main.status.tell("")
        await until(lambda: status(opened).startswith("r retry"))


async def test_where_there_is_one_line_an_event_waits_until_an_answer_was_read(tmp_path: Path) -> None:
    job = make_job(0, TWO)
    async with desk(tmp_path, [job], size=(60, 8)) as opened:
        opened.main.status.say("Adding 3 paths…", keep=3600)
        opened.runner.set_dub(job, "fr-FR", make_dub(DubState.FAILED, time.time()))
        await opened.says("A dub has failed")
        await until(lambda: status(opened) == "Adding 3 paths…")
        opened.main.status._said -= status_bar.SHOWN
        await until(lambda: status(opened).startswith("A dub has failed."))
        opened.main.status._event_until -= 30
        await until(lambda: status(opened) == "Adding 3 paths…")


async def test_the_outputs_are_gathered_again_only_where_a_finished_file_changed(tmp_path: Path) -> None:
    """With 200,000 of them that took the loop's time every two seconds."""
    done, working = make_job(0, TWO, DubState.DONE), make_job(1, TWO, DubState.DUBBING)
    async with desk(tmp_path, [done, working]) as opened:
        await opened.press("o")
        await opened.screen("OutputsScreen")
        page = opened.app.screen
        assert isinstance(page, OutputsScreen)
        before = page._source()
        assert len(before) == 2 and page._source() is before
        opened.runner.set_dub(working, "fr-FR", make_dub(DubState.READY, time.time()))
        await until(lambda: opened.app.session.batch.dub(working.id, "fr-FR").state is DubState.READY)  # type: ignore[union-attr]
        assert page._source() is before
        await opened.press("v")
        await until(lambda: [row.reviewed for row in page._source()].count(True) == 1)
        opened.runner.set_dub(working, "fr-FR", make_dub(DubState.DONE, time.time()))
        await until(lambda: len(page._source()) == 3)
        opened.runner.set_dub(working, "fr-FR", make_dub(DubState.READY, time.time()))
        await until(lambda: len(page._source()) == 2)


# -- names -----------------------------------------------------------------------------------------------------------


def at(number: int, path: str) -> Job:
    job = make_job(number, TWO, DubState.FAILED)
    return replace(job, id=f"job-{number}", source=replace(job.source, path=path))


async def test_files_of_one_name_are_told_apart_wherever_they_stand(tmp_path: Path) -> None:
    paths = ["/v/a/intro.mp4", "/v/b/intro.mp4", "/v/outro.mp4", "/v/c/de/end.mp4", "/v/d/de/end.mp4"]
    jobs = [at(number, path) for number, path in enumerate(paths)]
    async with desk(tmp_path, jobs, size=(80, 24)) as opened:
        names = [line.split()[0] for line in opened.lines()[3:8]]
        assert names == ["a/intro.mp4", "b/intro.mp4", "outro.mp4", "/v/c/de/end.mp4", "/v/d/de/end.mp4"]
        opened.runner.push(at(5, "/v/e/outro.mp4"))
        await until(lambda: [(line.split() or [""])[0] for line in opened.lines()[5:9:3]] == ["v/outro.mp4", "e/outro.mp4"])
        await opened.press("R")
        await opened.screen("ConfirmScreen")
        assert "a/intro.mp4: fr-FR, es-ES" in question(opened) and "/v/d/de/end.mp4: fr-FR, es-ES" in question(opened)


async def test_the_help_says_what_the_grid_shows(tmp_path: Path) -> None:
    async with desk(tmp_path, [make_job(0, TWO)], size=(120, 50)) as opened:
        assert "1 file " in opened.lines()[0]
        await opened.press("question_mark")
        await opened.screen("HelpScreen")
        reader = opened.app.screen.query_one(Reader)
        text = "\n".join("".join(part for part, _ in line) for line in reader._lines)
        assert "What the grid shows" in text
        for shown in ("✗ FAIL", "~ 5m", "? ask", "prep proc"):
            assert shown in text
