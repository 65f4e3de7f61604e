"""Adding files and languages from the dashboard."""

from __future__ import annotations

from pathlib import Path

from synthdub_tui.ipc.protocol import AddLanguagesRequest, AddRequest, Reply, StopAddingRequest
from synthdub_tui.sources.add_file import BatchOptions
from tests.dashboard.dashboard_steps import TWO_LANGUAGES, question_text
from tests.dashboard.fake_runner import FakeRunner, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_languages_are_added_to_the_file_under_the_cursor(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES)
    async with open_dashboard(tmp_path, [job]) as opened:
        await opened.press("L")
        await opened.wait_for_screen("AddLanguagesScreen")
        await opened.type_text("de-AT")
        await opened.press("enter")
        await opened.wait_for_screen("ConfirmScreen")
        assert "lesson 0000.mp4: de-AT" in question_text(opened) and "spends credits" in question_text(opened)
        await opened.press("y")
        await opened.wait_for_status("1 dub added")
        (request,) = opened.runner.requests_of(AddLanguagesRequest)
        assert isinstance(request, AddLanguagesRequest) and request.jobs == (job.id,) and request.languages == ("de-AT",)
        await until(lambda: "de-AT" in opened.grid_lines()[0])
        assert opened.app.ui_state.current.languages == ["de-AT"]


async def test_files_are_added_with_the_batch_options(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x" * 100)
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO_LANGUAGES, name="x/../clip0.mp4")])
    came_to: dict[str, int | str] = {
        "new": 2,
        "known": 0,
        "skipped": 34,
        "left_out": "3 videos in 1 folder (#recycle 3)",
        "problem": "path_missing",
        "problem_detail": "/x",
    }
    runner.reply_override = lambda request: Reply(id=0, result=came_to) if isinstance(request, AddRequest) else None
    batch = BatchOptions(targets=("fr-FR",), title="T")
    async with open_dashboard(tmp_path, runner=runner, batch=batch) as opened:
        opened.main.add_action._start_folder = lambda: tmp_path  # type: ignore[method-assign]
        await opened.press("a")
        await opened.wait_for_screen("AddFilesScreen")
        await until(lambda: getattr(opened.app.screen, "_shown", None))
        await opened.press("end")
        await opened.press("space", "enter")
        await opened.wait_for_screen("ConfirmScreen")
        assert str(tmp_path / "clip.mp4") in question_text(opened) and "French (France) (fr-FR)" in question_text(opened)
        assert "Up to 1 dub: 1 video in 1 language. Every dub spends credits." in question_text(opened)
        await opened.press("y")
        await opened.wait_for_status("Added: 2 new, 34 other files skipped. Left out: 3 videos in 1 folder (#recycle 3).")
        assert [note.title for note in opened.app._notifications] == ["There is no such file or folder"]
        (request,) = opened.runner.requests_of(AddRequest)
        assert isinstance(request, AddRequest) and request.paths == (str(tmp_path / "clip.mp4"),)
        assert request.batch == batch


async def test_a_folder_tells_how_many_dubs_it_comes_to(tmp_path: Path) -> None:
    folder = tmp_path / "lessons"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.mp4").write_bytes(b"x")
    async with open_dashboard(tmp_path, [], batch=BatchOptions(targets=("fr-FR", "ja"))) as opened:
        opened.main.add_action._start_folder = lambda: tmp_path  # type: ignore[method-assign]
        await opened.press("a")
        await opened.wait_for_screen("AddFilesScreen")
        await until(lambda: getattr(opened.app.screen, "_shown", None))
        await opened.press("space")
        await until(lambda: "3 videos" in opened.app.screen._marked_line())  # type: ignore[attr-defined]
        await opened.press("enter")
        await opened.wait_for_screen("ConfirmScreen")
        assert "Up to 6 dubs: 3 videos in 2 languages." in question_text(opened)


async def test_one_file_that_vanished_does_not_lose_the_others(tmp_path: Path) -> None:
    there = [str(tmp_path / f"{number}.mp4") for number in range(3)]
    for path in there:
        Path(path).write_bytes(b"x")
    gone = str(tmp_path / "gone.mp4")
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO_LANGUAGES)])
    refusal: dict[str, int | str] = {"new": 0, "problems": 1, "problem": "path_missing", "problem_detail": gone}
    answers = [Reply(id=0, result=refusal), Reply(id=0, result={"new": 3})]
    runner.reply_override = lambda request: answers.pop(0) if isinstance(request, AddRequest) else None
    async with open_dashboard(
        tmp_path, runner=runner, attached=False, paths=(gone, *there), batch=BatchOptions(targets=("ja",))
    ) as opened:
        await opened.wait_for_screen("ConfirmScreen")
        assert question_text(opened) == f"{gone}: There is no such file or folder"
        await opened.press("y")
        await opened.wait_for_status("Added: 3 new.")
        _, again = runner.requests_of(AddRequest)
        assert isinstance(again, AddRequest) and list(again.paths) == there


async def test_a_search_for_files_can_be_stopped(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO_LANGUAGES)])
    runner.unanswered_requests = (AddRequest,)
    async with open_dashboard(tmp_path, runner=runner, paths=("/v",), batch=BatchOptions(targets=("ja",))) as opened:
        await opened.wait_for_status("Adding 1 path… U stops it.")
        await until(lambda: runner.requests_of(AddRequest))
        await opened.press("U")
        await until(lambda: runner.requests_of(StopAddingRequest))
        (request,) = runner.requests_of(AddRequest)
        runner.send_message(Reply(id=request.id, result={"new": 700, "stopped": 1}))
        await opened.wait_for_status("Stopped; what was found stays: 700 new.")
        await opened.press("U")
        await opened.wait_for_status("There is nothing to take back.")


async def test_a_no_adds_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    async with open_dashboard(tmp_path, [], batch=BatchOptions(targets=("fr-FR",))) as opened:
        opened.main.add_action._start_folder = lambda: tmp_path  # type: ignore[method-assign]
        await opened.press("a")
        await opened.wait_for_screen("AddFilesScreen")
        await until(lambda: getattr(opened.app.screen, "_shown", None))
        await opened.press("enter")
        await opened.wait_for_screen("ConfirmScreen")
        await opened.press("n")
        await opened.wait_for_status("Nothing was added")
        assert not opened.runner.requests_of(AddRequest)


async def test_paths_of_the_command_line_are_added_once(tmp_path: Path) -> None:
    async with open_dashboard(
        tmp_path, [make_job(0, TWO_LANGUAGES)], paths=("/v",), batch=BatchOptions(targets=("ja",))
    ) as opened:
        await until(lambda: opened.runner.requests_of(AddRequest))
        for writer in list(opened.runner._clients):
            writer.transport.abort()
        await until(
            lambda: opened.runner.start_count == 1 and opened.runner.subscriber_count == 1 and opened.app.session.is_attached
        )
        assert len(opened.runner.requests_of(AddRequest)) == 1
