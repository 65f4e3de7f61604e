"""Exit codes and what a run says at its end: about the videos that were named, and what keeps them from being done."""

from __future__ import annotations

import os

import pytest
from msgspec.structs import replace

from synthdub_tui.commands.exit_codes import RunEnd, exit_code
from synthdub_tui.jobs.model import DubCounts, DubState, Hold, Job, WaitReason
from synthdub_tui.jobs.transitions import holds
from synthdub_tui.sandbox.config import SimulatedFailure
from synthdub_tui.store.job_store import JobStore
from tests.runner.conftest import MakeWorkspace, Workspace


@pytest.mark.parametrize(
    ("end", "counts", "more", "code"),
    [
        (RunEnd.WORKED, DubCounts(dubs=2, done=2), {}, 0),
        (RunEnd.WORKED, DubCounts(), {}, 0),
        (RunEnd.WORKED, DubCounts(dubs=2, done=1, failed=1), {}, 1),
        (RunEnd.WORKED, DubCounts(dubs=2, done=1, cancelled=1), {}, 1),
        (RunEnd.WORKED, DubCounts(dubs=2, done=1, unknown=1), {}, 1),
        (RunEnd.WORKED, DubCounts(dubs=2, done=2), {"not_taken": 1}, 1),
        (RunEnd.WORKED, DubCounts(dubs=2, done=2), {"gone": 1}, 1),
        (RunEnd.WORKED, DubCounts(dubs=2, done=2), {"unsure": 1}, 5),
        (RunEnd.WORKED, DubCounts(dubs=2, done=1, waiting=1, held=1), {}, 5),
        (RunEnd.WORKED, DubCounts(dubs=2, waiting=2, held=2), {}, 5),
        (RunEnd.WORKED, DubCounts(dubs=2, failed=1, waiting=1, held=1), {}, 1),
        (RunEnd.WORKED, DubCounts(dubs=2, waiting=1, held=1, done=1), {"not_taken": 1}, 1),
        (RunEnd.WORKED, DubCounts(dubs=2, done=1, waiting=1), {}, 1),  # it waits for credits of the account
        (RunEnd.HALTED, DubCounts(dubs=2, done=1, waiting=1), {}, 1),
        (RunEnd.HALTED, DubCounts(dubs=2, done=2), {}, 1),
        (RunEnd.NEVER_BEGAN, DubCounts(dubs=2, waiting=2), {}, 2),
        (RunEnd.INTERRUPTED, DubCounts(dubs=2, done=2), {}, 130),
        (RunEnd.INTERRUPTED, DubCounts(dubs=2, failed=2), {"gone": 1}, 130),
    ],
)
def test_exit_codes(end: RunEnd, counts: DubCounts, more: dict[str, int], code: int) -> None:
    assert exit_code(end, counts, **more) == code


def save_job(bench: Workspace, job: Job) -> None:
    """As it stands on disk at the next start."""
    JobStore(str(bench.state)).save(job)


def hold_dub(job: Job, language: str) -> Job:
    waiting = replace(job.dubs[language], state=DubState.WAITING, project="", output=None)
    job = replace(job, dubs=job.dubs | {language: waiting})
    return holds.hold_dub(job, language, Hold(WaitReason.ALREADY_PAID, 1.0))


async def test_a_run_with_held_dubs_ends_with_exit_code_5(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("a.mp4"))
    save_job(workspace, hold_dub(workspace.jobs()[0], "es-ES"))
    result = await workspace.run()
    assert (result.exit_code, workspace.billed_dubs) == (5, 2)
    assert (result.summary["waiting"], result.summary["held"], result.summary["done"]) == (1, 1, 1)
    assert (result.summary["over_budget"], result.summary["credits"]) == (0, 0)


async def test_the_exit_code_is_about_the_named_videos_only(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(kind="project", title="bad"),))
    bad, good = bench.write_video("bad.mp4"), bench.write_video("good.mp4")
    assert (await bench.run(bad, good)).exit_code == 1
    assert (await bench.run(good)).exit_code == 0
    assert (await bench.run()).exit_code == 1
    assert (await bench.run(bad)).exit_code == 1


async def test_an_unreadable_video_in_a_named_folder_fails_the_run(workspace: Workspace) -> None:
    good = workspace.write_video("good.mp4")
    os.symlink("nothing", workspace.videos / "gone.mp4")
    result = await workspace.run(workspace.videos)
    assert (result.exit_code, result.states("good.mp4")) == (1, {"fr-FR": "done", "es-ES": "done"})
    assert ("", "", "source_unreadable") in result.reported_problems()
    assert (await workspace.run(good)).exit_code == 0


async def test_a_named_video_with_lost_state_fails_every_run(workspace: Workspace) -> None:
    video, other = workspace.write_video("a.mp4"), workspace.write_video("b.mp4")
    await workspace.run(video, targets=("fr-FR",))
    (file,) = (workspace.state / "jobs").iterdir()
    path = str(video)
    file.write_text(f'schema = 3\n[source]\npath = "{path}"\nrubbish')
    for named in ((video, other), (video,), (video,)):
        result = await workspace.run(*named, targets=("fr-FR",))
        assert (result.exit_code, workspace.billed_dubs) == (1, 2 if result.jobs else 1)
        assert ("", "", "state_lost") in result.reported_problems()
    assert (await workspace.run(other, targets=("fr-FR",))).exit_code == 0
    (lost,) = JobStore(str(workspace.state)).lost_jobs(())
    assert (lost.path, os.path.dirname(lost.kept)) == (path, str(workspace.state / "damaged"))


async def test_missing_outputs_are_reported_and_fail_a_run_that_names_the_video(workspace: Workspace) -> None:
    video = workspace.write_video("a.mp4")
    await workspace.run(video, targets=("fr-FR",))
    (workspace.videos / "a.dubbed-fr-FR.mp4").unlink()
    result = await workspace.run(video, targets=("fr-FR",))
    assert (result.exit_code, result.summary["gone"], result.summary["done"]) == (1, 1, 1)
    assert (await workspace.run()).exit_code == 0


async def test_an_output_changed_by_the_user_is_kept_and_counts_as_done(workspace: Workspace) -> None:
    video = workspace.write_video("a.mp4")
    await workspace.run(video, targets=("fr-FR",))
    (workspace.videos / "a.dubbed-fr-FR.mp4").write_bytes(b"cut")
    result = await workspace.run(video, targets=("fr-FR",))
    assert (result.exit_code, result.summary["gone"]) == (0, 0)
