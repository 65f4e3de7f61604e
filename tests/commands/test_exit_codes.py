"""Exit codes and what a run says at its end: about the videos that were named, and what keeps them from being done."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace

from synthdub_tui.commands.exit_codes import End, exit_code
from synthdub_tui.jobs.model import Counts, DubState, Hold, Job, WaitsFor
from synthdub_tui.jobs.transitions import holds
from synthdub_tui.sandbox.config import Failure
from synthdub_tui.store.job_store import Store
from tests.runner.conftest import Bench, MakeBench


@pytest.mark.parametrize(
    ("end", "counts", "more", "code"),
    [
        (End.WORKED, Counts(dubs=2, done=2), {}, 0),
        (End.WORKED, Counts(), {}, 0),
        (End.WORKED, Counts(dubs=2, done=1, failed=1), {}, 1),
        (End.WORKED, Counts(dubs=2, done=1, cancelled=1), {}, 1),
        (End.WORKED, Counts(dubs=2, done=1, unknown=1), {}, 1),
        (End.WORKED, Counts(dubs=2, done=2), {"not_taken": 1}, 1),
        (End.WORKED, Counts(dubs=2, done=2), {"gone": 1}, 1),
        (End.WORKED, Counts(dubs=2, done=2), {"unsure": 1}, 5),
        (End.WORKED, Counts(dubs=2, done=1, waiting=1, held=1), {}, 5),
        (End.WORKED, Counts(dubs=2, waiting=2, held=2), {}, 5),
        (End.WORKED, Counts(dubs=2, failed=1, waiting=1, held=1), {}, 1),
        (End.WORKED, Counts(dubs=2, waiting=1, held=1, done=1), {"not_taken": 1}, 1),
        (End.WORKED, Counts(dubs=2, done=1, waiting=1), {}, 1),  # it waits for credits of the account
        (End.HALTED, Counts(dubs=2, done=1, waiting=1), {}, 1),
        (End.HALTED, Counts(dubs=2, done=2), {}, 1),
        (End.NEVER_BEGAN, Counts(dubs=2, waiting=2), {}, 2),
        (End.INTERRUPTED, Counts(dubs=2, done=2), {}, 130),
        (End.INTERRUPTED, Counts(dubs=2, failed=2), {"gone": 1}, 130),
    ],
)
def test_exit_codes(end: End, counts: Counts, more: dict[str, int], code: int) -> None:
    assert exit_code(end, counts, **more) == code


def change(bench: Bench, job: Job) -> None:
    """As it stands on disk at the next start."""
    Store(str(bench.state)).save(job)


def hold(job: Job, language: str) -> Job:
    waiting = replace(job.dubs[language], state=DubState.WAITING, project="", output=None)
    job = replace(job, dubs=job.dubs | {language: waiting})
    return holds.held(job, language, Hold(WaitsFor.ALREADY_PAID, 1.0))


async def test_a_run_ends_beside_what_is_held_and_says_so(bench: Bench) -> None:
    await bench.run(bench.video("a.mp4"))
    change(bench, hold(bench.jobs()[0], "es-ES"))
    result = await bench.run()
    assert (result.code, bench.billed) == (5, 2)
    assert (result.summary["waiting"], result.summary["held"], result.summary["done"]) == (1, 1, 1)
    assert (result.summary["over_budget"], result.summary["credits"]) == (0, 0)


async def test_with_videos_named_the_code_is_about_them(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(Failure(kind="project", title="bad"),))
    bad, good = bench.video("bad.mp4"), bench.video("good.mp4")
    assert (await bench.run(bad, good)).code == 1
    assert (await bench.run(good)).code == 0
    assert (await bench.run()).code == 1
    assert (await bench.run(bad)).code == 1


async def test_a_video_below_a_named_folder_that_cannot_be_read_is_no_success(bench: Bench) -> None:
    good = bench.video("good.mp4")
    os.symlink("nothing", bench.videos / "gone.mp4")
    result = await bench.run(bench.videos)
    assert (result.code, result.states("good.mp4")) == (1, {"fr-FR": "done", "es-ES": "done"})
    assert ("", "", "source_unreadable") in result.problems()
    assert (await bench.run(good)).code == 0


async def test_a_named_video_whose_state_was_lost_is_no_success_as_long_as_that_is_so(bench: Bench) -> None:
    video, other = bench.video("a.mp4"), bench.video("b.mp4")
    await bench.run(video, targets=("fr-FR",))
    (file,) = (bench.state / "jobs").iterdir()
    path = str(video)
    file.write_text(f'schema = 3\n[source]\npath = "{path}"\nrubbish')
    for named in ((video, other), (video,), (video,)):
        result = await bench.run(*named, targets=("fr-FR",))
        assert (result.code, bench.billed) == (1, 2 if result.jobs else 1)
        assert ("", "", "state_lost") in result.problems()
    assert (await bench.run(other, targets=("fr-FR",))).code == 0
    (lost,) = Store(str(bench.state)).lost(())
    assert (lost.path, os.path.dirname(lost.kept)) == (path, str(bench.state / "damaged"))


async def test_outputs_that_are_gone_are_said_and_are_no_success_for_a_named_video(bench: Bench) -> None:
    video = bench.video("a.mp4")
    await bench.run(video, targets=("fr-FR",))
    (bench.videos / "a.dubbed-fr-FR.mp4").unlink()
    result = await bench.run(video, targets=("fr-FR",))
    assert (result.code, result.summary["gone"], result.summary["done"]) == (1, 1, 1)
    assert (await bench.run()).code == 0


async def test_an_output_that_the_user_changed_is_his(bench: Bench) -> None:
    video = bench.video("a.mp4")
    await bench.run(video, targets=("fr-FR",))
    (bench.videos / "a.dubbed-fr-FR.mp4").write_bytes(b"cut")
    result = await bench.run(video, targets=("fr-FR",))
    assert (result.code, result.summary["gone"]) == (0, 0)
