"""Two people with two homes on one library: one of them pays for a dub, and the other is told who does."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import DubState, WaitReason
from synthdub_tui.jobs.transitions import cancellation, retry
from synthdub_tui.store import claim_files
from synthdub_tui.store.claim_files import CLAIM_LIFETIME_SECONDS, CLAIMS_FOLDER, UNREADABLE_CLAIM_GRACE_SECONDS, Claim
from synthdub_tui.store.job_store import JobStore
from tests.dub_refs import shown_dubs
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.runner.runner_in_loop import RunningRunner, only_job_states
from tests.waiting import until

SECONDS_PER_HOUR = 3600.0
FR, ES = "fr-FR", "es-ES"


def second_workspace(bench: Workspace, folder: Path) -> Workspace:
    """Somebody with a state directory and a home of his own, on the same library and the same account."""
    folder.mkdir()
    other = Workspace(bench.sandbox, folder)
    other.videos = bench.videos
    return other


def hold_reasons(bench: Workspace) -> set[WaitReason]:
    return {dub.hold.reason for job in bench.jobs() for dub in job.dubs.values() if dub.hold is not None}


def read_claims(bench: Workspace) -> list[Path]:
    return sorted((bench.videos / CLAIMS_FOLDER).glob("*"))


async def test_two_people_at_the_same_time_pay_once(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        bench.write_video(name)
    other = second_workspace(bench, tmp_path / "other")
    async with RunningRunner(bench) as one, RunningRunner(other) as two:
        await asyncio.gather(*(runner.add([str(bench.videos)], runner.settings.batch) for runner in (one, two)))
        await until(lambda: bench.billed_dubs == 6)
        held = lambda: sum(len(job.held_languages) for runner in (one, two) for job in runner.live_jobs.jobs.values())  # noqa: E731
        await until(lambda: held() == 6)
        bench.sandbox.advance(SECONDS_PER_HOUR)
        await until(lambda: one.idle.is_set() and two.idle.is_set())
    assert bench.billed_dubs == 6
    assert len(bench.output_names()) == 6 * 3
    assert not (bench.videos / CLAIMS_FOLDER).exists()


async def test_the_second_is_told_who_began_it_and_nothing_is_uploaded(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    video = bench.write_video("intro.mp4")
    async with RunningRunner(bench) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {FR: "dubbing", ES: "dubbing"})
    other = second_workspace(bench, tmp_path / "other")
    calls = len(bench.sandbox.journal)
    result = await other.run(video)
    assert (result.exit_code, hold_reasons(other), len(bench.sandbox.journal)) == (5, {WaitReason.CLAIMED}, calls)
    details = [event["detail"] for event in result.events if event.get("code") == "claimed"]
    assert len(details) == 2 and all(str(bench.state) in detail and "@" in detail for detail in details)
    bench.sandbox.advance(SECONDS_PER_HOUR)
    assert (await bench.run()).exit_code == 0
    assert bench.billed_dubs == 2


async def test_a_claim_of_our_own_is_taken_over_after_a_crash(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    (job,) = workspace.jobs()
    path = job.dubs[FR].output.path if job.dubs[FR].output else ""
    mine = Claim(
        batch=JobStore(str(workspace.state)).batch_id(),
        owner="",
        host="",
        state_dir="",
        job=job.id,
        language=FR,
        output=path,
        at=1.0,
    )
    assert claim_files.claim_output(mine) is None
    assert (await workspace.run(video, force_new=True)).exit_code == 0
    assert workspace.billed_dubs == 4
    assert not (workspace.videos / CLAIMS_FOLDER).exists()


async def test_the_claims_of_a_batch_that_is_gone_hold_nobody(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    video = bench.write_video("intro.mp4")
    async with RunningRunner(bench) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {FR: "dubbing", ES: "dubbing"})
    assert len(read_claims(bench)) == 2
    shutil.rmtree(bench.state)
    other = second_workspace(bench, tmp_path / "other")
    async with RunningRunner(other) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: bench.billed_dubs == 4)


async def test_a_cancelled_dub_gives_its_claim_back(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {FR: "dubbing", ES: "dubbing"})
        (job,) = runner.live_jobs.jobs.values()
        for language in (FR, ES):
            runner.live_jobs.update(cancellation.cancel_dub(runner.live_jobs.jobs[job.id], language, 1.0))
        await until(lambda: not (bench.videos / CLAIMS_FOLDER).exists())


async def test_a_retry_goes_past_the_claim_of_another_batch(make_workspace: MakeWorkspace, tmp_path: Path) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    video = bench.write_video("intro.mp4")
    async with RunningRunner(bench) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {FR: "dubbing", ES: "dubbing"})
    other = second_workspace(bench, tmp_path / "other")
    await other.run(video)
    (job,) = other.jobs()
    store = JobStore(str(other.state))
    store.open()
    store.save(retry.retry_dub(job, FR, job.added))
    async with RunningRunner(other) as runner:
        await until(lambda: bench.billed_dubs == 3)
        await until(lambda: only_job_states(runner)[FR] == "dubbing")
    assert other.jobs()[0].dubs[ES].state is DubState.WAITING


async def test_a_retry_without_consent_looks_again_whether_the_other_batch_still_has_it(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    video = bench.write_video("intro.mp4")
    async with RunningRunner(bench, targets=(FR,)) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {FR: "dubbing"})
    other = second_workspace(bench, tmp_path / "other")
    async with RunningRunner(other, targets=(FR,)) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: hold_reasons(other) == {WaitReason.CLAIMED})
        (job,) = runner.live_jobs.jobs.values()
        shown = shown_dubs(runner.live_jobs.jobs, [DubRef(job.id)])
        assert runner.retry(shown, allow_paid=False) == (0, 1, ())
        assert job == runner.live_jobs.jobs[job.id]
        shutil.rmtree(bench.state)
        assert runner.retry(shown, allow_paid=False) == (1, 0, ())
        await until(lambda: bench.billed_dubs == 2)


@pytest.mark.parametrize("there", ["link", "file"])
async def test_what_takes_no_claims_is_dubbed_all_the_same(workspace: Workspace, tmp_path: Path, there: str) -> None:
    place = workspace.videos / CLAIMS_FOLDER
    if there == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.write_text("mine")
    assert (await workspace.run(workspace.write_video("intro.mp4"))).exit_code == 0
    assert not (tmp_path / "elsewhere").exists() or list((tmp_path / "elsewhere").iterdir()) == []
    assert place.is_symlink() or place.read_text() == "mine"


# -- claims alone ----------------------------------------------------------------------------------------------------

OWN_CLAIM = Claim(
    batch="b", owner="u@h", host="h", state_dir="/s", job="j", language=FR, output="", at=CLAIM_LIFETIME_SECONDS * 10
)


def test_the_first_has_the_claim_under_every_spelling_of_the_name(tmp_path: Path) -> None:
    mine = replace(OWN_CLAIM, output=str(tmp_path / "Clip.dubbed-fr-FR.mp4"))
    other = replace(OWN_CLAIM, batch="c", host="elsewhere", output=str(tmp_path / "clip.dubbed-fr-FR.mp4"))
    assert claim_files.claim_output(mine) is None
    assert claim_files.claim_output(mine) is None
    assert claim_files.claim_output(other) == mine
    claim_files.release_claim(other)
    assert claim_files.claim_output(other) == mine
    claim_files.release_claim(mine)
    assert list(tmp_path.iterdir()) == []
    assert claim_files.claim_output(other) is None


def test_a_claim_of_another_machine_holds_for_days_and_no_longer(tmp_path: Path) -> None:
    mine = replace(OWN_CLAIM, output=str(tmp_path / "clip.dubbed-fr-FR.mp4"))
    later = replace(mine, batch="c", host="elsewhere", at=mine.at + CLAIM_LIFETIME_SECONDS)
    assert claim_files.claim_output(mine) is None
    assert claim_files.claim_output(later) == mine
    assert claim_files.claim_output(replace(later, at=later.at + 1.0)) is None


def test_a_claim_that_a_crash_left_empty_holds_for_a_minute(tmp_path: Path) -> None:
    mine = replace(OWN_CLAIM, output=str(tmp_path / "clip.dubbed-fr-FR.mp4"))
    assert claim_files.claim_output(mine) is None
    (path,) = (tmp_path / CLAIMS_FOLDER).iterdir()
    path.write_text("")
    written = path.stat().st_mtime
    found = claim_files.claim_output(replace(mine, batch="c", at=written + UNREADABLE_CLAIM_GRACE_SECONDS - 1.0))
    assert found is not None and found.at == written
    assert claim_files.claim_output(replace(mine, batch="c", at=written + UNREADABLE_CLAIM_GRACE_SECONDS + 1.0)) is None
