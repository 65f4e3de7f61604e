"""Files that were touched, changed or moved, end to end: contents decide, and nothing is paid for twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.commands.relocate import relocate
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc import protocol as p
from synthdub_tui.settings.model import Settings
from synthdub_tui.store.job_store import JobStore
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.runner.runner_in_loop import RunningRunner
from tests.runner.socket_client import connect_client
from tests.runner.test_runner import until

NS_PER_HOUR = 3600 * 10**9


def shift_mtime(path: Path, nanoseconds: int = NS_PER_HOUR) -> None:
    """Give the file another time."""
    time = path.stat().st_mtime_ns + nanoseconds
    os.utime(path, ns=(time, time))


def forget_digests(bench: Workspace) -> None:
    """As a job of 0.1 is, or one whose upload nobody saw to its end."""
    store = JobStore(str(bench.state))
    for path in (bench.state / "jobs").glob("*.toml"):
        path.write_text("".join(line for line in path.open() if not line.startswith("digest")))
    assert not any(job.source.digest for job in store.load().jobs)
    shutil.rmtree(bench.data, ignore_errors=True)  # 0.1 kept no receipts


def workspace_settings(bench: Workspace) -> Settings:
    return Settings(state_dir=str(bench.state))


# -- another time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nanoseconds", [NS_PER_HOUR, -NS_PER_HOUR, 12_345_678_901])
async def test_a_touched_file_pays_nothing(workspace: Workspace, nanoseconds: int) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    shift_mtime(video, nanoseconds)
    result = await workspace.run(video)
    assert (result.exit_code, workspace.billed_dubs, workspace.count_calls("POST /v2/assets")) == (0, 2, 1)
    assert result.jobs["intro.mp4"].source.mtime_ns == video.stat().st_mtime_ns
    read = [event for event in result.events if event.get("of") == "comparison"]
    assert all(event["total"] == video.stat().st_size for event in read)


async def test_a_touched_file_takes_further_languages_once_it_was_compared(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    shift_mtime(video)
    result = await workspace.run(video, targets=("fr-FR", "de-DE"))
    assert (result.exit_code, workspace.billed_dubs, workspace.count_calls("POST /v2/assets")) == (0, 3, 1)
    assert set(result.states("intro.mp4").values()) == {"done"}


async def test_other_content_of_the_same_size_is_a_new_version(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    video.write_bytes(video.read_bytes()[::-1])
    shift_mtime(video)
    result = await workspace.run(video)
    assert (result.exit_code, workspace.billed_dubs, workspace.count_calls("POST /v2/assets")) == (0, 4, 2)


async def test_without_a_digest_a_touched_file_waits_for_the_user(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    forget_digests(workspace)
    shift_mtime(video)
    result = await workspace.run(video, targets=("fr-FR", "de-DE"))
    assert (result.exit_code, workspace.billed_dubs, result.reported_problems()) == (5, 2, [("", "", "source_touched")])
    result = await workspace.run(video, yes=True)
    assert (result.exit_code, workspace.billed_dubs) == (0, 4)


async def test_without_a_digest_the_user_can_say_that_it_is_the_same(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    forget_digests(workspace)
    shift_mtime(video)
    assert relocate(workspace_settings(workspace), str(video), str(video)) == 0
    result = await workspace.run(video)
    assert (result.exit_code, workspace.billed_dubs, result.reported_problems()) == (0, 2, [])


# -- another place ---------------------------------------------------------------------------------------------------


def write_video_tree(bench: Workspace) -> Path:
    """Two videos of one size and one of another."""
    for name, content in (("lib/a/one.mp4", b"a" * 2000), ("lib/b/one.mp4", b"b" * 2000), ("lib/c/two.mp4", b"c" * 3000)):
        bench.write_video(name).write_bytes(content)
    return bench.videos / "lib"


async def test_a_library_that_moved_pays_nothing_and_its_outputs_are_found(workspace: Workspace) -> None:
    library = write_video_tree(workspace)
    assert ((await workspace.run(library)).exit_code, workspace.billed_dubs) == (0, 6)
    ids = {job.source.digest: job.id for job in workspace.jobs()}
    moved = library.rename(workspace.videos / "archive")
    result = await workspace.run(moved)
    assert (result.exit_code, workspace.billed_dubs, result.summary["jobs"], result.reported_problems()) == (0, 6, 3, [])
    assert {job.source.digest: job.id for job in workspace.jobs()} == ids
    for job in workspace.jobs():
        assert job.source.path.startswith(str(moved))
        for language, dub in job.dubs.items():
            assert dub.output is not None
            assert (dub.output.path, Path(dub.output.path).exists()) == (
                f"{job.source.path[:-4]}.dubbed-{language}.mp4",
                True,
            )
            assert all(Path(path).exists() and path.startswith(str(moved)) for path in dub.output.captions)
    contents = {job.source.path: job.dubs["fr-FR"].project for job in workspace.jobs()}
    assert len(set(contents.values())) == 3
    again = await workspace.run(moved)
    assert (again.exit_code, workspace.billed_dubs) == (0, 6)


async def test_two_files_of_one_size_that_changed_places_are_told_apart_by_content(workspace: Workspace) -> None:
    library = write_video_tree(workspace)
    await workspace.run(library)
    before = {job.source.digest: job.id for job in workspace.jobs()}
    (library / "a").rename(library / "x")
    (library / "b").rename(library / "y")
    result = await workspace.run(library)
    assert (result.exit_code, workspace.billed_dubs) == (0, 6)
    assert {job.source.digest: job.id for job in workspace.jobs()} == before
    assert {Path(job.source.path).parent.name for job in workspace.jobs()} == {"x", "y", "c"}


async def test_a_renamed_file_keeps_its_job_and_its_title(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    renamed = video.rename(video.with_name("opening.mp4"))
    for targets, billed in ((("fr-FR",), 2), (("fr-FR", "de-DE"), 3)):
        result = await workspace.run(renamed, targets=targets)
        assert (result.exit_code, workspace.billed_dubs, len(result.jobs)) == (0, billed, 1)
        assert result.jobs["opening.mp4"].options.title == "intro"


async def test_a_copy_is_a_job_of_its_own(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    copy = workspace.videos / "copy" / "intro.mp4"
    copy.parent.mkdir()
    shutil.copy2(video, copy)
    result = await workspace.run(copy)
    assert (result.exit_code, len(workspace.jobs())) == (0, 2)


async def test_a_new_file_at_the_old_place_is_a_job_of_its_own(workspace: Workspace) -> None:
    video = workspace.write_video("lib/intro.mp4")
    await workspace.run(video, targets=("fr-FR",))
    video.parent.rename(workspace.videos / "archive")
    moved = workspace.videos / "archive" / "intro.mp4"
    await workspace.run(moved, targets=("fr-FR",))
    workspace.write_video("lib/intro.mp4", 5000)
    result = await workspace.run(video, targets=("fr-FR",))
    assert (result.exit_code, workspace.billed_dubs) == (0, 2)
    assert len({job.id for job in workspace.jobs()}) == 2
    result = await workspace.run(video, moved, targets=("fr-FR",))
    assert (result.exit_code, workspace.billed_dubs) == (0, 2)


async def test_outputs_that_stay_behind_are_kept_when_another_file_takes_the_old_name(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    await workspace.run(video.rename(workspace.videos / "old.mp4"))
    result = await workspace.run(workspace.write_video("intro.mp4", 5000))
    assert (result.exit_code, workspace.billed_dubs, {code for *_, code in result.reported_problems()}) == (
        1,
        2,
        {"output_exists"},
    )


async def test_a_library_that_moved_back_pays_nothing(workspace: Workspace) -> None:
    library = write_video_tree(workspace)
    await workspace.run(library)
    for place in ("elsewhere", "lib"):
        library = library.rename(workspace.videos / place)
        result = await workspace.run(library)
        assert (result.exit_code, workspace.billed_dubs, len(workspace.jobs())) == (0, 6, 3)


async def test_without_a_digest_name_size_and_time_tell_that_a_file_moved(workspace: Workspace) -> None:
    library = write_video_tree(workspace)
    await workspace.run(library)
    forget_digests(workspace)
    moved = library.rename(workspace.videos / "archive")
    result = await workspace.run(moved)
    assert (result.exit_code, workspace.billed_dubs, len(workspace.jobs()), result.reported_problems()) == (0, 6, 3, [])


async def test_without_a_digest_a_moved_file_with_another_time_waits_for_the_user(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    forget_digests(workspace)
    (workspace.videos / "new").mkdir()
    moved = video.rename(workspace.videos / "new" / "intro.mp4")
    shift_mtime(moved)
    result = await workspace.run(moved)
    assert (result.exit_code, workspace.billed_dubs, result.reported_problems()) == (5, 2, [("", "", "source_maybe_moved")])
    assert relocate(workspace_settings(workspace), str(video), str(moved)) == 0
    result = await workspace.run(moved)
    assert (result.exit_code, workspace.billed_dubs, len(workspace.jobs())) == (0, 2, 1)


async def test_a_library_that_moved_in_the_middle_of_a_batch_goes_on(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    library = write_video_tree(bench)
    async with RunningRunner(bench) as runner:
        await runner.add([str(library)], runner.settings.batch)
        await until(lambda: bench.billed_dubs == 6)
    moved = library.rename(bench.videos / "archive")
    bench.sandbox.advance(3600.0)
    result = await bench.run(moved)
    assert (result.exit_code, bench.billed_dubs, result.summary["done"], len(bench.jobs())) == (0, 6, 6, 3)
    assert not library.exists()


async def test_what_failed_since_the_file_was_gone_goes_on_at_its_new_place(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    async with RunningRunner(workspace) as runner:
        await runner.pause(True)
        await runner.add([str(video)], runner.settings.batch)
    moved = video.rename(workspace.videos / "opening.mp4")
    shift_mtime(moved, 0)
    result = await workspace.run(resume=True)
    assert (result.exit_code, [code for *_, code in result.reported_problems()]) == (1, ["source_missing"] * 2)
    shutil.move(moved, workspace.videos / "sub.mp4")
    assert relocate(workspace_settings(workspace), str(video), str(workspace.videos / "sub.mp4")) == 0
    result = await workspace.run()
    assert (result.exit_code, workspace.billed_dubs) == (0, 2)


# -- the queue -------------------------------------------------------------------------------------------------------


async def test_nothing_is_paid_while_a_file_is_compared_and_stopping_leaves_it_as_it_was(
    workspace: Workspace, may_read: Any
) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    before = workspace.jobs()
    shift_mtime(video)
    async with RunningRunner(workspace, targets=("fr-FR", "de-DE")) as runner, connect_client(runner) as peer:
        peer.send(p.AddRequest(id=1, paths=(str(video),), batch=runner.settings.batch))
        await until(lambda: runner.batch_status().comparing)
        other = await runner.add([str(workspace.write_video("other.mp4"))], runner.settings.batch)
        await until(lambda: workspace.billed_dubs == 4)
        assert (other.videos, runner.idle.is_set()) == (1, False)
        peer.send(p.StopAddingRequest(id=2))
        assert (await peer.read_reply()).id == 2
        may_read.set()
        reply = await peer.read_reply()
        assert (reply.id, reply.result["stopped"]) == (1, 1)
        await until(runner.idle.is_set)
        assert workspace.billed_dubs == 4
    assert [job for job in workspace.jobs() if job.name == "intro.mp4"] == before


async def test_named_again_while_it_is_compared_it_is_read_once(workspace: Workspace, may_read: Any) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    shift_mtime(video)
    async with RunningRunner(workspace) as runner:
        first = await runner.add([str(video)], runner.settings.batch)
        second = await runner.add([str(video)], runner.settings.batch)
        assert (first.comparing, second.comparing) == (1, 1)
        may_read.set()
        await runner.wait_for_comparisons(first)
        await runner.wait_for_comparisons(second)
        assert (first.compared, second.compared, first.comparing, second.comparing) == (1, 0, 0, 0)
        await until(runner.idle.is_set)
    assert workspace.billed_dubs == 2


async def test_a_file_that_vanishes_while_it_is_compared_is_told(workspace: Workspace, may_read: Any) -> None:
    one, two = workspace.write_video("one.mp4"), workspace.write_video("two.mp4", 3000)
    await workspace.run(one, two)
    shift_mtime(one)
    shift_mtime(two)
    async with RunningRunner(workspace) as runner:
        added = await runner.add([str(one), str(two)], runner.settings.batch)
        two.unlink()
        may_read.set()
        await runner.wait_for_comparisons(added)
        assert [trouble.code for trouble in added.problems] == ["source_missing"]
        assert added.compared == 1


async def test_a_file_that_changes_while_it_is_compared_is_read_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthdub_tui.runner import comparison_queue
    from synthdub_tui.sources.digest import compute_digest

    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    shift_mtime(video)
    readings: list[str] = []

    def reading(path: str, **options: Any) -> str:
        readings.append(path)
        if len(readings) == 1:
            options["progress"] = lambda _: shift_mtime(video)
        return compute_digest(path, **options)

    monkeypatch.setattr(comparison_queue, "compute_digest", reading)
    result = await workspace.run(video)
    assert (result.exit_code, workspace.billed_dubs, len(readings)) == (0, 2, 2)


@pytest.fixture
def may_read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Contents are read only once the event is set."""
    import threading

    from synthdub_tui.runner import comparison_queue
    from synthdub_tui.sources.digest import compute_digest

    go_on = threading.Event()

    def reading(path: str, **options: Any) -> str:
        go_on.wait(30)
        return compute_digest(path, **options)

    monkeypatch.setattr(comparison_queue, "compute_digest", reading)
    yield go_on
    go_on.set()


# -- relocate --------------------------------------------------------------------------------------------------------


async def test_a_tree_is_relocated_without_a_runner(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    library = write_video_tree(workspace)
    await workspace.run(library)
    moved = library.rename(workspace.videos / "archive")
    (moved / "a" / "one.mp4").unlink()
    (moved / "c" / "two.mp4").write_bytes(b"longer" * 1000)
    assert relocate(workspace_settings(workspace), str(library), str(moved)) == 1
    told = capsys.readouterr()
    assert told.out == "1 video moved, 2 left in the old place\n"
    assert "one.mp4" in told.err and "6,000 bytes instead of 3,000" in told.err
    assert sorted(job.source.path.startswith(str(moved)) for job in workspace.jobs()) == [False, False, True]


async def test_a_tree_is_relocated_by_the_runner_that_works(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    library = write_video_tree(bench)
    async with RunningRunner(bench) as runner, connect_client(runner) as peer:
        await runner.add([str(library)], runner.settings.batch)
        await until(lambda: bench.billed_dubs == 6)
        moved = library.rename(bench.videos / "archive")
        peer.send(p.RelocateRequest(id=1, old=str(library), new=str(moved)))
        assert (await peer.read_reply()).result["moved"] == 3
        bench.sandbox.advance(3600.0)
        await until(runner.idle.is_set)
    assert (bench.billed_dubs, len([name for name in bench.output_names() if name.startswith("archive/")])) == (6, 18)


async def test_the_folder_of_outputs_goes_along(workspace: Workspace) -> None:
    library = write_video_tree(workspace)
    await workspace.run(library / "a", output_dir=str(library / "out"))
    moved = library.rename(workspace.videos / "archive")
    assert relocate(workspace_settings(workspace), str(library), str(moved)) == 0
    (job,) = workspace.jobs()
    assert job.outputs == str(moved / "out")
    assert all(dub.output and Path(dub.output.path).exists() for dub in job.dubs.values())


async def test_a_place_that_has_a_job_is_left(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    one = workspace.write_video("x/intro.mp4")
    two = workspace.videos / "y" / "intro.mp4"
    two.parent.mkdir()
    shutil.copy2(one, two)
    await workspace.run(one, two)
    assert relocate(workspace_settings(workspace), str(one), str(two.parent)) == 1
    assert "has a job already" in capsys.readouterr().err
    assert {job.source.path for job in workspace.jobs()} == {str(one), str(two)}


def test_relocating_to_nowhere_is_a_mistake(workspace: Workspace) -> None:
    with pytest.raises(ProblemError, match="no such file or folder"):
        relocate(workspace_settings(workspace), str(workspace.videos), str(workspace.videos / "nowhere"))
