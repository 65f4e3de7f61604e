"""Adding files and languages from the dashboard."""

from __future__ import annotations

from pathlib import Path

from synthdub_tui.ipc.protocol import Add, AddLanguages, Reply, StopAdding
from synthdub_tui.sources.add_file import Batch
from tests.dashboard.dashboard_steps import TWO, question
from tests.dashboard.fake_runner import FakeRunner, make_job
from tests.dashboard.opened_dashboard import desk, until


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
