"""Pause means pause: what waits in line goes back, what is under way finishes, and only `resume` goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthdub_tui.commands import pause
from synthdub_tui.commands.status import status
from synthdub_tui.jobs.model import DubState, WaitsFor
from synthdub_tui.settings.resolve import resolve
from synthdub_tui.store.job_store import Store
from synthdub_tui.synthesia.rate_arithmetic import Endpoint
from tests.runner.conftest import Bench, MakeBench
from tests.runner.runner_in_loop import Working, only, states
from tests.waiting import until

HOUR = 3600.0


def pause_on_disk(bench: Bench) -> None:
    pause.pause(resolve(bench.flags(), {}), paused=True)


def damage_batch(bench: Bench) -> None:
    (bench.state / "batch.toml").write_bytes(b"\0" * 40)


async def test_requests_that_wait_for_the_rate_limit_are_not_sent_once_the_batch_is_paused(make_bench: MakeBench) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    for number in range(6):
        bench.video(f"{number}.mp4")
    async with Working(bench, targets=("fr-FR",)) as runner:
        runner.quota.pause(Endpoint.CREATE_DUBBING, HOUR)
        await runner.add([str(bench.videos)], runner.settings.batch)
        await until(lambda: all(job.asset and job.asset.ready for job in runner.ledger.jobs.values()))
        await until(lambda: runner.quota.usage()[Endpoint.CREATE_DUBBING].waiting)
        await runner.pause(True)
        await until(runner.idle.is_set)
        usage = runner.quota.usage()[Endpoint.CREATE_DUBBING]
        assert (usage.waiting, [window.used for window in usage.windows]) == (0, [0] * len(usage.windows))
    assert bench.billed == 0


async def test_a_pause_between_the_slot_and_the_intent_stops_the_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthdub_tui.runner.activities.submit import Submission

    async with Working(bench) as runner:

        async def paused_meanwhile(_: Submission) -> None:
            runner._shop.paused = True

        monkeypatch.setattr(Submission, "_check_source", paused_meanwhile)
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: runner.paused and runner.idle.is_set())
        assert only(runner).submission is None
        windows = runner.quota.usage()[Endpoint.CREATE_DUBBING].windows
        assert all(window.used == 0 for window in windows)
    assert bench.billed == 0


async def test_uploads_that_wait_for_a_slot_do_not_begin_in_a_paused_batch(bench: Bench) -> None:
    for number in range(4):
        bench.video(f"{number}.mp4")
    async with Working(bench, max_uploads=1) as runner:
        async with runner._shop.uploads.turn(0):
            await runner.add([str(bench.videos)], runner.settings.batch)
            await until(lambda: runner._workers)
            await runner.pause(True)
        await until(runner.idle.is_set)
        assert bench.sandbox.journal == []
        await runner.pause(False)
        await until(lambda: bench.billed == 8)
        await until(runner.idle.is_set)


async def test_downloads_that_wait_for_a_slot_do_not_begin_in_a_paused_batch(make_bench: MakeBench) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    async with Working(bench, max_downloads=1) as runner:
        async with runner._shop.downloads:
            await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
            await until(lambda: bench.billed == 2)
            bench.sandbox.advance(HOUR)
            await until(lambda: set(states(runner).values()) == {"ready"})
            await runner.pause(True)
        await until(runner.idle.is_set)
        assert bench.outputs() == []
        await runner.pause(False)
        await until(lambda: set(states(runner).values()) == {"done"})


async def test_an_account_that_is_refused_ends_the_wait_for_the_rate_limit(make_bench: MakeBench) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    async with Working(bench) as runner:
        runner.quota.pause(Endpoint.CREATE_DUBBING, HOUR)
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: runner.quota.usage()[Endpoint.CREATE_DUBBING].waiting)
        from synthdub_tui.synthesia.errors import AccountRefused

        runner._shop.account.refuse(AccountRefused("account_refused", "no credits"))
        await until(runner.idle.is_set)
        assert runner.quota.usage()[Endpoint.CREATE_DUBBING].waiting == 0


async def test_a_run_does_not_end_a_pause(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    bench.state.mkdir()
    pause_on_disk(bench)
    result = await bench.run(video)
    assert (result.code, bench.sandbox.journal) == (5, [])
    assert result.states("intro.mp4") == {"fr-FR": "waiting", "es-ES": "waiting"}
    assert result.summary["held"] == 2
    assert ("", "", "paused") in result.problems()
    assert (await bench.run()).code == 5
    assert bench.billed == 0


async def test_resume_without_a_runner_lets_the_next_run_go_on(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    video = bench.video("intro.mp4")
    pause_on_disk(bench)
    await bench.run(video)
    pause.pause(resolve(bench.flags(), {}), paused=False)
    assert "Resumed; `synthdub run` goes on." in capsys.readouterr().out
    assert (await bench.run()).code == 0


async def test_run_resume_ends_a_pause_and_goes_on(bench: Bench) -> None:
    pause_on_disk(bench)
    result = await bench.run(bench.video("intro.mp4"), resume=True)
    assert (result.code, bench.billed) == (0, 2)
    assert not Store(str(bench.state)).paused()


async def test_a_paused_run_follows_what_was_paid_for_and_begins_no_download(make_bench: MakeBench) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    async with Working(bench) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: bench.billed == 2)
        await until(lambda: set(states(runner).values()) == {"dubbing"})
    pause_on_disk(bench)
    bench.sandbox.advance(HOUR)
    result = await bench.run()
    assert (result.code, result.states("intro.mp4")) == (5, {"fr-FR": "ready", "es-ES": "ready"})
    assert bench.outputs() == []
    assert (await bench.run(resume=True)).code == 0
    assert bench.billed == 2


async def test_a_paused_batch_with_nothing_left_to_do_is_done(bench: Bench) -> None:
    await bench.run(bench.video("intro.mp4"))
    pause_on_disk(bench)
    result = await bench.run()
    assert (result.code, result.problems()) == (0, [])


# -- a damaged batch file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"paused = ", b"\xff\xfe", b'schema = 3\npaused = "yes"\n'])
def test_a_batch_file_that_does_not_say_counts_as_paused(tmp_path: Path, content: bytes) -> None:
    store = Store(str(tmp_path))
    store.open()
    assert not store.paused()
    (tmp_path / "batch.toml").write_bytes(content)
    assert store.paused()
    store.open()
    assert store.paused()


async def test_a_damaged_batch_file_is_kept_and_named_and_nothing_is_sent(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video, targets=("fr-FR",))
    damage_batch(bench)
    billed = bench.billed
    result = await bench.run(video)
    assert (result.code, bench.billed) == (5, billed)
    (kept,) = (bench.state / "damaged").iterdir()
    assert kept.name.startswith("batch.toml.")
    assert str(kept) in next(event["detail"] for event in result.events if event.get("code") == "state_corrupt")
    assert Store(str(bench.state)).lost({job.id for job in bench.jobs()}) == []
    pause.pause(resolve(bench.flags(), {}), paused=False)
    assert (await bench.run()).code == 0


async def test_status_names_a_damaged_batch_file_and_changes_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    await bench.run(bench.video("intro.mp4"))
    damage_batch(bench)
    status(resolve(bench.flags(), {}), as_json=False)
    shown = capsys.readouterr().out
    assert "paused" in shown and str(bench.state / "batch.toml") in shown
    assert not (bench.state / "damaged").exists()


async def test_what_is_ready_waits_for_the_pause_to_end(bench: Bench) -> None:
    await bench.run(bench.video("intro.mp4"), targets=("fr-FR",))
    (job,) = bench.jobs()
    from msgspec.structs import replace

    ready = replace(job, dubs={"fr-FR": replace(job.dubs["fr-FR"], state=DubState.READY)})
    assert ready.waits_for("fr-FR", paused=True) is WaitsFor.PAUSE
    assert ready.waits_for("fr-FR") is None
