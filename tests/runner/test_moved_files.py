"""Files that were touched, changed or moved, end to end: contents decide, and nothing is paid for twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.commands.relocate import relocate
from synthdub_tui.errors import Trouble
from synthdub_tui.ipc import protocol as p
from synthdub_tui.settings.model import Settings
from synthdub_tui.store.job_store import Store
from tests.runner.conftest import Bench, MakeBench
from tests.runner.runner_in_loop import Working
from tests.runner.socket_client import attached
from tests.runner.test_runner import until

HOUR = 3600 * 10**9


def shift(path: Path, nanoseconds: int = HOUR) -> None:
    """Give the file another time."""
    time = path.stat().st_mtime_ns + nanoseconds
    os.utime(path, ns=(time, time))


def forget_digests(bench: Bench) -> None:
    """As a job of 0.1 is, or one whose upload nobody saw to its end."""
    store = Store(str(bench.state))
    for path in (bench.state / "jobs").glob("*.toml"):
        path.write_text("".join(line for line in path.open() if not line.startswith("digest")))
    assert not any(job.source.digest for job in store.load().jobs)
    shutil.rmtree(bench.data, ignore_errors=True)  # 0.1 kept no receipts


def settings_of(bench: Bench) -> Settings:
    return Settings(state_dir=str(bench.state))


# -- another time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nanoseconds", [HOUR, -HOUR, 12_345_678_901])
async def test_a_touched_file_pays_nothing(bench: Bench, nanoseconds: int) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    shift(video, nanoseconds)
    result = await bench.run(video)
    assert (result.code, bench.billed, bench.calls("POST /v2/assets")) == (0, 2, 1)
    assert result.jobs["intro.mp4"].source.mtime_ns == video.stat().st_mtime_ns
    read = [event for event in result.events if event.get("of") == "comparison"]
    assert all(event["total"] == video.stat().st_size for event in read)


async def test_a_touched_file_takes_further_languages_once_it_was_compared(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    shift(video)
    result = await bench.run(video, targets=("fr-FR", "de-DE"))
    assert (result.code, bench.billed, bench.calls("POST /v2/assets")) == (0, 3, 1)
    assert set(result.states("intro.mp4").values()) == {"done"}


async def test_other_content_of_the_same_size_is_a_new_version(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    video.write_bytes(video.read_bytes()[::-1])
    shift(video)
    result = await bench.run(video)
    assert (result.code, bench.billed, bench.calls("POST /v2/assets")) == (0, 4, 2)


async def test_without_a_digest_a_touched_file_waits_for_the_user(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    forget_digests(bench)
    shift(video)
    result = await bench.run(video, targets=("fr-FR", "de-DE"))
    assert (result.code, bench.billed, result.problems()) == (5, 2, [("", "", "source_touched")])
    result = await bench.run(video, yes=True)
    assert (result.code, bench.billed) == (0, 4)


async def test_without_a_digest_the_user_can_say_that_it_is_the_same(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    forget_digests(bench)
    shift(video)
    assert relocate(settings_of(bench), str(video), str(video)) == 0
    result = await bench.run(video)
    assert (result.code, bench.billed, result.problems()) == (0, 2, [])


# -- another place ---------------------------------------------------------------------------------------------------


def tree(bench: Bench) -> Path:
    """Two videos of one size and one of another."""
    for name, content in (("lib/a/one.mp4", b"a" * 2000), ("lib/b/one.mp4", b"b" * 2000), ("lib/c/two.mp4", b"c" * 3000)):
        bench.video(name).write_bytes(content)
    return bench.videos / "lib"


async def test_a_library_that_moved_pays_nothing_and_its_outputs_are_found(bench: Bench) -> None:
    library = tree(bench)
    assert ((await bench.run(library)).code, bench.billed) == (0, 6)
    ids = {job.source.digest: job.id for job in bench.jobs()}
    moved = library.rename(bench.videos / "archive")
    result = await bench.run(moved)
    assert (result.code, bench.billed, result.summary["jobs"], result.problems()) == (0, 6, 3, [])
    assert {job.source.digest: job.id for job in bench.jobs()} == ids
    for job in bench.jobs():
        assert job.source.path.startswith(str(moved))
        for language, dub in job.dubs.items():
            assert dub.output is not None
            assert (dub.output.path, Path(dub.output.path).exists()) == (
                f"{job.source.path[:-4]}.dubbed-{language}.mp4",
                True,
            )
            assert all(Path(path).exists() and path.startswith(str(moved)) for path in dub.output.captions)
    contents = {job.source.path: job.dubs["fr-FR"].project for job in bench.jobs()}
    assert len(set(contents.values())) == 3
    again = await bench.run(moved)
    assert (again.code, bench.billed) == (0, 6)


async def test_two_files_of_one_size_that_changed_places_are_told_apart_by_content(bench: Bench) -> None:
    library = tree(bench)
    await bench.run(library)
    before = {job.source.digest: job.id for job in bench.jobs()}
    (library / "a").rename(library / "x")
    (library / "b").rename(library / "y")
    result = await bench.run(library)
    assert (result.code, bench.billed) == (0, 6)
    assert {job.source.digest: job.id for job in bench.jobs()} == before
    assert {Path(job.source.path).parent.name for job in bench.jobs()} == {"x", "y", "c"}


async def test_a_renamed_file_keeps_its_job_and_its_title(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    renamed = video.rename(video.with_name("opening.mp4"))
    for targets, billed in ((("fr-FR",), 2), (("fr-FR", "de-DE"), 3)):
        result = await bench.run(renamed, targets=targets)
        assert (result.code, bench.billed, len(result.jobs)) == (0, billed, 1)
        assert result.jobs["opening.mp4"].options.title == "intro"


async def test_a_copy_is_a_job_of_its_own(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    copy = bench.videos / "copy" / "intro.mp4"
    copy.parent.mkdir()
    shutil.copy2(video, copy)
    result = await bench.run(copy)
    assert (result.code, len(bench.jobs())) == (0, 2)


async def test_a_new_file_at_the_old_place_is_a_job_of_its_own(bench: Bench) -> None:
    video = bench.video("lib/intro.mp4")
    await bench.run(video, targets=("fr-FR",))
    video.parent.rename(bench.videos / "archive")
    moved = bench.videos / "archive" / "intro.mp4"
    await bench.run(moved, targets=("fr-FR",))
    bench.video("lib/intro.mp4", 5000)
    result = await bench.run(video, targets=("fr-FR",))
    assert (result.code, bench.billed) == (0, 2)
    assert len({job.id for job in bench.jobs()}) == 2
    result = await bench.run(video, moved, targets=("fr-FR",))
    assert (result.code, bench.billed) == (0, 2)


async def test_outputs_that_stay_behind_are_kept_when_another_file_takes_the_old_name(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    await bench.run(video.rename(bench.videos / "old.mp4"))
    result = await bench.run(bench.video("intro.mp4", 5000))
    assert (result.code, bench.billed, {code for *_, code in result.problems()}) == (1, 2, {"output_exists"})


async def test_a_library_that_moved_back_pays_nothing(bench: Bench) -> None:
    library = tree(bench)
    await bench.run(library)
    for place in ("elsewhere", "lib"):
        library = library.rename(bench.videos / place)
        result = await bench.run(library)
        assert (result.code, bench.billed, len(bench.jobs())) == (0, 6, 3)


async def test_without_a_digest_name_size_and_time_tell_that_a_file_moved(bench: Bench) -> None:
    library = tree(bench)
    await bench.run(library)
    forget_digests(bench)
    moved = library.rename(bench.videos / "archive")
    result = await bench.run(moved)
    assert (result.code, bench.billed, len(bench.jobs()), result.problems()) == (0, 6, 3, [])


async def test_without_a_digest_a_moved_file_with_another_time_waits_for_the_user(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    forget_digests(bench)
    (bench.videos / "new").mkdir()
    moved = video.rename(bench.videos / "new" / "intro.mp4")
    shift(moved)
    result = await bench.run(moved)
    assert (result.code, bench.billed, result.problems()) == (5, 2, [("", "", "source_maybe_moved")])
    assert relocate(settings_of(bench), str(video), str(moved)) == 0
    result = await bench.run(moved)
    assert (result.code, bench.billed, len(bench.jobs())) == (0, 2, 1)


async def test_a_library_that_moved_in_the_middle_of_a_batch_goes_on(make_bench: MakeBench) -> None:
    bench = make_bench(dubbing_seconds=(3600.0, 3600.0))
    library = tree(bench)
    async with Working(bench) as runner:
        await runner.add([str(library)], runner.settings.batch)
        await until(lambda: bench.billed == 6)
    moved = library.rename(bench.videos / "archive")
    bench.sandbox.advance(3600.0)
    result = await bench.run(moved)
    assert (result.code, bench.billed, result.summary["done"], len(bench.jobs())) == (0, 6, 6, 3)
    assert not library.exists()


async def test_what_failed_since_the_file_was_gone_goes_on_at_its_new_place(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    async with Working(bench) as runner:
        await runner.pause(True)
        await runner.add([str(video)], runner.settings.batch)
    moved = video.rename(bench.videos / "opening.mp4")
    shift(moved, 0)
    result = await bench.run(resume=True)
    assert (result.code, [code for *_, code in result.problems()]) == (1, ["source_missing"] * 2)
    shutil.move(moved, bench.videos / "sub.mp4")
    assert relocate(settings_of(bench), str(video), str(bench.videos / "sub.mp4")) == 0
    result = await bench.run()
    assert (result.code, bench.billed) == (0, 2)


# -- the queue -------------------------------------------------------------------------------------------------------


async def test_nothing_is_paid_while_a_file_is_compared_and_stopping_leaves_it_as_it_was(
    bench: Bench, held_reading: Any
) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    before = bench.jobs()
    shift(video)
    async with Working(bench, targets=("fr-FR", "de-DE")) as runner, attached(runner) as peer:
        peer.say(p.Add(id=1, paths=(str(video),), batch=runner.settings.batch))
        await until(lambda: runner.overview().comparing)
        other = await runner.add([str(bench.video("other.mp4"))], runner.settings.batch)
        await until(lambda: bench.billed == 4)
        assert (other.videos, runner.idle.is_set()) == (1, False)
        peer.say(p.StopAdding(id=2))
        assert (await peer.reply()).id == 2
        held_reading.set()
        reply = await peer.reply()
        assert (reply.id, reply.result["stopped"]) == (1, 1)
        await until(runner.idle.is_set)
        assert bench.billed == 4
    assert [job for job in bench.jobs() if job.name == "intro.mp4"] == before


async def test_named_again_while_it_is_compared_it_is_read_once(bench: Bench, held_reading: Any) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    shift(video)
    async with Working(bench) as runner:
        first = await runner.add([str(video)], runner.settings.batch)
        second = await runner.add([str(video)], runner.settings.batch)
        assert (first.comparing, second.comparing) == (1, 1)
        held_reading.set()
        await runner.compared(first)
        await runner.compared(second)
        assert (first.compared, second.compared, first.comparing, second.comparing) == (1, 0, 0, 0)
        await until(runner.idle.is_set)
    assert bench.billed == 2


async def test_a_file_that_vanishes_while_it_is_compared_is_told(bench: Bench, held_reading: Any) -> None:
    one, two = bench.video("one.mp4"), bench.video("two.mp4", 3000)
    await bench.run(one, two)
    shift(one)
    shift(two)
    async with Working(bench) as runner:
        added = await runner.add([str(one), str(two)], runner.settings.batch)
        two.unlink()
        held_reading.set()
        await runner.compared(added)
        assert [trouble.code for trouble in added.troubles] == ["source_missing"]
        assert added.compared == 1


async def test_a_file_that_changes_while_it_is_compared_is_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthdub_tui.runner import comparison_queue
    from synthdub_tui.sources.digest import digest_of

    video = bench.video("intro.mp4")
    await bench.run(video)
    shift(video)
    readings: list[str] = []

    def reading(path: str, **options: Any) -> str:
        readings.append(path)
        if len(readings) == 1:
            options["progress"] = lambda _: shift(video)
        return digest_of(path, **options)

    monkeypatch.setattr(comparison_queue, "digest_of", reading)
    result = await bench.run(video)
    assert (result.code, bench.billed, len(readings)) == (0, 2, 2)


@pytest.fixture
def held_reading(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Contents are read only once the event is set."""
    import threading

    from synthdub_tui.runner import comparison_queue
    from synthdub_tui.sources.digest import digest_of

    go_on = threading.Event()

    def reading(path: str, **options: Any) -> str:
        go_on.wait(30)
        return digest_of(path, **options)

    monkeypatch.setattr(comparison_queue, "digest_of", reading)
    yield go_on
    go_on.set()


# -- relocate --------------------------------------------------------------------------------------------------------


async def test_a_tree_is_relocated_without_a_runner(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    library = tree(bench)
    await bench.run(library)
    moved = library.rename(bench.videos / "archive")
    (moved / "a" / "one.mp4").unlink()
    (moved / "c" / "two.mp4").write_bytes(b"longer" * 1000)
    assert relocate(settings_of(bench), str(library), str(moved)) == 1
    told = capsys.readouterr()
    assert told.out == "1 video moved, 2 left in the old place\n"
    assert "one.mp4" in told.err and "6,000 bytes instead of 3,000" in told.err
    assert sorted(job.source.path.startswith(str(moved)) for job in bench.jobs()) == [False, False, True]


async def test_a_tree_is_relocated_by_the_runner_that_works(make_bench: MakeBench) -> None:
    bench = make_bench(dubbing_seconds=(3600.0, 3600.0))
    library = tree(bench)
    async with Working(bench) as runner, attached(runner) as peer:
        await runner.add([str(library)], runner.settings.batch)
        await until(lambda: bench.billed == 6)
        moved = library.rename(bench.videos / "archive")
        peer.say(p.Relocate(id=1, old=str(library), new=str(moved)))
        assert (await peer.reply()).result["moved"] == 3
        bench.sandbox.advance(3600.0)
        await until(runner.idle.is_set)
    assert (bench.billed, len([name for name in bench.outputs() if name.startswith("archive/")])) == (6, 18)


async def test_the_folder_of_outputs_goes_along(bench: Bench) -> None:
    library = tree(bench)
    await bench.run(library / "a", output_dir=str(library / "out"))
    moved = library.rename(bench.videos / "archive")
    assert relocate(settings_of(bench), str(library), str(moved)) == 0
    (job,) = bench.jobs()
    assert job.outputs == str(moved / "out")
    assert all(dub.output and Path(dub.output.path).exists() for dub in job.dubs.values())


async def test_a_place_that_has_a_job_is_left(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    one = bench.video("x/intro.mp4")
    two = bench.videos / "y" / "intro.mp4"
    two.parent.mkdir()
    shutil.copy2(one, two)
    await bench.run(one, two)
    assert relocate(settings_of(bench), str(one), str(two.parent)) == 1
    assert "has a job already" in capsys.readouterr().err
    assert {job.source.path for job in bench.jobs()} == {str(one), str(two)}


def test_relocating_to_nowhere_is_a_mistake(bench: Bench) -> None:
    with pytest.raises(Trouble, match="no such file or folder"):
        relocate(settings_of(bench), str(bench.videos), str(bench.videos / "nowhere"))
