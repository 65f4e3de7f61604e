"""Two people with two homes on one library: one of them pays for a dub, and the other is told who does."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import DubState, WaitsFor
from synthdub_tui.jobs.transitions import cancellation, retry
from synthdub_tui.store import claim_files
from synthdub_tui.store.claim_files import FOLDER, LASTS, WRITING, Claim
from synthdub_tui.store.job_store import Store
from tests.dub_refs import seen
from tests.runner.conftest import Bench, MakeBench
from tests.runner.runner_in_loop import Working, states
from tests.waiting import until

HOUR = 3600.0
FR, ES = "fr-FR", "es-ES"


def second_user(bench: Bench, folder: Path) -> Bench:
    """Somebody with a state directory and a home of his own, on the same library and the same account."""
    folder.mkdir()
    other = Bench(bench.sandbox, folder)
    other.videos = bench.videos
    return other


def holds(bench: Bench) -> set[WaitsFor]:
    return {dub.hold.reason for job in bench.jobs() for dub in job.dubs.values() if dub.hold is not None}


def claims(bench: Bench) -> list[Path]:
    return sorted((bench.videos / FOLDER).glob("*"))


async def test_two_people_at_the_same_time_pay_once(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        bench.video(name)
    other = second_user(bench, tmp_path / "other")
    async with Working(bench) as one, Working(other) as two:
        await asyncio.gather(*(runner.add([str(bench.videos)], runner.settings.batch) for runner in (one, two)))
        await until(lambda: bench.billed == 6)
        held = lambda: sum(len(job.held) for runner in (one, two) for job in runner.ledger.jobs.values())  # noqa: E731
        await until(lambda: held() == 6)
        bench.sandbox.advance(HOUR)
        await until(lambda: one.idle.is_set() and two.idle.is_set())
    assert bench.billed == 6
    assert len(bench.outputs()) == 6 * 3
    assert not (bench.videos / FOLDER).exists()


async def test_the_second_is_told_who_began_it_and_nothing_is_uploaded(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    video = bench.video("intro.mp4")
    async with Working(bench) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: states(runner) == {FR: "dubbing", ES: "dubbing"})
    other = second_user(bench, tmp_path / "other")
    calls = len(bench.sandbox.journal)
    result = await other.run(video)
    assert (result.code, holds(other), len(bench.sandbox.journal)) == (5, {WaitsFor.CLAIMED}, calls)
    details = [event["detail"] for event in result.events if event.get("code") == "claimed"]
    assert len(details) == 2 and all(str(bench.state) in detail and "@" in detail for detail in details)
    bench.sandbox.advance(HOUR)
    assert (await bench.run()).code == 0
    assert bench.billed == 2


async def test_a_claim_of_our_own_is_taken_over_after_a_crash(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video)
    (job,) = bench.jobs()
    path = job.dubs[FR].output.path if job.dubs[FR].output else ""
    mine = Claim(
        batch=Store(str(bench.state)).identity(), owner="", host="", state_dir="", job=job.id, language=FR, output=path, at=1.0
    )
    assert claim_files.claim(mine) is None
    assert (await bench.run(video, force_new=True)).code == 0
    assert bench.billed == 4
    assert not (bench.videos / FOLDER).exists()


async def test_the_claims_of_a_batch_that_is_gone_hold_nobody(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    video = bench.video("intro.mp4")
    async with Working(bench) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: states(runner) == {FR: "dubbing", ES: "dubbing"})
    assert len(claims(bench)) == 2
    shutil.rmtree(bench.state)
    other = second_user(bench, tmp_path / "other")
    async with Working(other) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: bench.billed == 4)


async def test_a_cancelled_dub_gives_its_claim_back(make_bench: MakeBench) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    async with Working(bench) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: states(runner) == {FR: "dubbing", ES: "dubbing"})
        (job,) = runner.ledger.jobs.values()
        for language in (FR, ES):
            runner.ledger.put(cancellation.cancelled(runner.ledger.jobs[job.id], language, 1.0))
        await until(lambda: not (bench.videos / FOLDER).exists())


async def test_a_retry_goes_past_the_claim_of_another_batch(make_bench: MakeBench, tmp_path: Path) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    video = bench.video("intro.mp4")
    async with Working(bench) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: states(runner) == {FR: "dubbing", ES: "dubbing"})
    other = second_user(bench, tmp_path / "other")
    await other.run(video)
    (job,) = other.jobs()
    store = Store(str(other.state))
    store.open()
    store.save(retry.retried(job, FR, job.added))
    async with Working(other) as runner:
        await until(lambda: bench.billed == 3)
        await until(lambda: states(runner)[FR] == "dubbing")
    assert other.jobs()[0].dubs[ES].state is DubState.WAITING


async def test_a_retry_without_consent_looks_again_whether_the_other_batch_still_has_it(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    video = bench.video("intro.mp4")
    async with Working(bench, targets=(FR,)) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: states(runner) == {FR: "dubbing"})
    other = second_user(bench, tmp_path / "other")
    async with Working(other, targets=(FR,)) as runner:
        await runner.add([str(video)], runner.settings.batch)
        await until(lambda: holds(other) == {WaitsFor.CLAIMED})
        (job,) = runner.ledger.jobs.values()
        shown = seen(runner.ledger.jobs, [Cell(job.id)])
        assert runner.retry(shown, paid=False) == (0, 1, ())
        assert job == runner.ledger.jobs[job.id]
        shutil.rmtree(bench.state)
        assert runner.retry(shown, paid=False) == (1, 0, ())
        await until(lambda: bench.billed == 2)


@pytest.mark.parametrize("there", ["link", "file"])
async def test_what_takes_no_claims_is_dubbed_all_the_same(bench: Bench, tmp_path: Path, there: str) -> None:
    place = bench.videos / FOLDER
    if there == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    else:
        place.write_text("mine")
    assert (await bench.run(bench.video("intro.mp4"))).code == 0
    assert not (tmp_path / "elsewhere").exists() or list((tmp_path / "elsewhere").iterdir()) == []
    assert place.is_symlink() or place.read_text() == "mine"


# -- claims alone ----------------------------------------------------------------------------------------------------

MINE = Claim(batch="b", owner="u@h", host="h", state_dir="/s", job="j", language=FR, output="", at=LASTS * 10)


def test_the_first_has_the_claim_under_every_spelling_of_the_name(tmp_path: Path) -> None:
    mine = replace(MINE, output=str(tmp_path / "Clip.dubbed-fr-FR.mp4"))
    other = replace(MINE, batch="c", host="elsewhere", output=str(tmp_path / "clip.dubbed-fr-FR.mp4"))
    assert claim_files.claim(mine) is None
    assert claim_files.claim(mine) is None
    assert claim_files.claim(other) == mine
    claim_files.release(other)
    assert claim_files.claim(other) == mine
    claim_files.release(mine)
    assert list(tmp_path.iterdir()) == []
    assert claim_files.claim(other) is None


def test_a_claim_of_another_machine_holds_for_days_and_no_longer(tmp_path: Path) -> None:
    mine = replace(MINE, output=str(tmp_path / "clip.dubbed-fr-FR.mp4"))
    later = replace(mine, batch="c", host="elsewhere", at=mine.at + LASTS)
    assert claim_files.claim(mine) is None
    assert claim_files.claim(later) == mine
    assert claim_files.claim(replace(later, at=later.at + 1.0)) is None


def test_a_claim_that_a_crash_left_empty_holds_for_a_minute(tmp_path: Path) -> None:
    mine = replace(MINE, output=str(tmp_path / "clip.dubbed-fr-FR.mp4"))
    assert claim_files.claim(mine) is None
    (path,) = (tmp_path / FOLDER).iterdir()
    path.write_text("")
    written = path.stat().st_mtime
    found = claim_files.claim(replace(mine, batch="c", at=written + WRITING - 1.0))
    assert found is not None and found.at == written
    assert claim_files.claim(replace(mine, batch="c", at=written + WRITING + 1.0)) is None
