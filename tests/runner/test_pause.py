"""Pause means pause: what waits in line goes back, what is under way finishes, and only `resume` goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthdub_tui.commands import pause
from synthdub_tui.commands.status import status
from synthdub_tui.jobs.model import DubState, WaitReason
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.store.job_store import JobStore
from synthdub_tui.synthesia.rate_arithmetic import Endpoint
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.runner.runner_in_loop import RunningRunner, only_job, only_job_states
from tests.waiting import until

SECONDS_PER_HOUR = 3600.0


def pause_without_runner(bench: Workspace) -> None:
    pause.pause(resolve_settings(bench.settings_flags(), {}), paused=True)


def damage_batch(bench: Workspace) -> None:
    (bench.state / "batch.toml").write_bytes(b"\0" * 40)


async def test_requests_that_wait_for_the_rate_limit_are_not_sent_once_the_batch_is_paused(
    make_workspace: MakeWorkspace,
) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    for number in range(6):
        bench.write_video(f"{number}.mp4")
    async with RunningRunner(bench, targets=("fr-FR",)) as runner:
        runner.quota.pause(Endpoint.CREATE_DUBBING, SECONDS_PER_HOUR)
        await runner.add([str(bench.videos)], runner.settings.batch)
        await until(lambda: all(job.asset and job.asset.ready for job in runner.live_jobs.jobs.values()))
        await until(lambda: runner.quota.usage()[Endpoint.CREATE_DUBBING].waiting)
        await runner.pause(True)
        await until(runner.idle.is_set)
        usage = runner.quota.usage()[Endpoint.CREATE_DUBBING]
        assert (usage.waiting, [window.used for window in usage.windows]) == (0, [0] * len(usage.windows))
    assert bench.billed_dubs == 0


async def test_a_pause_between_the_slot_and_the_intent_stops_the_request(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthdub_tui.runner.activities.submit import SubmitActivity

    async with RunningRunner(workspace) as runner:

        async def paused_meanwhile(_: SubmitActivity) -> None:
            runner._context.paused = True

        monkeypatch.setattr(SubmitActivity, "_check_source", paused_meanwhile)
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: runner.paused and runner.idle.is_set())
        assert only_job(runner).submission is None
        windows = runner.quota.usage()[Endpoint.CREATE_DUBBING].windows
        assert all(window.used == 0 for window in windows)
    assert workspace.billed_dubs == 0


async def test_uploads_that_wait_for_a_slot_do_not_begin_in_a_paused_batch(workspace: Workspace) -> None:
    for number in range(4):
        workspace.write_video(f"{number}.mp4")
    async with RunningRunner(workspace, max_uploads=1) as runner:
        async with runner._context.upload_slots.hold_slot(0):
            await runner.add([str(workspace.videos)], runner.settings.batch)
            await until(lambda: runner._workers)
            await runner.pause(True)
        await until(runner.idle.is_set)
        assert workspace.sandbox.journal == []
        await runner.pause(False)
        await until(lambda: workspace.billed_dubs == 8)
        await until(runner.idle.is_set)


async def test_downloads_that_wait_for_a_slot_do_not_begin_in_a_paused_batch(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    async with RunningRunner(bench, max_downloads=1) as runner:
        async with runner._context.download_slots:
            await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
            await until(lambda: bench.billed_dubs == 2)
            bench.sandbox.advance(SECONDS_PER_HOUR)
            await until(lambda: set(only_job_states(runner).values()) == {"ready"})
            await runner.pause(True)
        await until(runner.idle.is_set)
        assert bench.output_names() == []
        await runner.pause(False)
        await until(lambda: set(only_job_states(runner).values()) == {"done"})


async def test_an_account_that_is_refused_ends_the_wait_for_the_rate_limit(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    async with RunningRunner(bench) as runner:
        runner.quota.pause(Endpoint.CREATE_DUBBING, SECONDS_PER_HOUR)
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: runner.quota.usage()[Endpoint.CREATE_DUBBING].waiting)
        from synthdub_tui.synthesia.errors import AccountError

        runner._context.account_gate.note_refusal(AccountError("account_refused", "no credits"))
        await until(runner.idle.is_set)
        assert runner.quota.usage()[Endpoint.CREATE_DUBBING].waiting == 0


async def test_a_run_does_not_end_a_pause(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    workspace.state.mkdir()
    pause_without_runner(workspace)
    result = await workspace.run(video)
    assert (result.exit_code, workspace.sandbox.journal) == (5, [])
    assert result.states("intro.mp4") == {"fr-FR": "waiting", "es-ES": "waiting"}
    assert result.summary["held"] == 2
    assert ("", "", "paused") in result.reported_problems()
    assert (await workspace.run()).exit_code == 5
    assert workspace.billed_dubs == 0


async def test_resume_without_a_runner_lets_the_next_run_go_on(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    video = workspace.write_video("intro.mp4")
    pause_without_runner(workspace)
    await workspace.run(video)
    pause.pause(resolve_settings(workspace.settings_flags(), {}), paused=False)
    assert "Resumed; `synthdub run` goes on." in capsys.readouterr().out
    assert (await workspace.run()).exit_code == 0


async def test_run_resume_ends_a_pause_and_goes_on(workspace: Workspace) -> None:
    pause_without_runner(workspace)
    result = await workspace.run(workspace.write_video("intro.mp4"), resume=True)
    assert (result.exit_code, workspace.billed_dubs) == (0, 2)
    assert not JobStore(str(workspace.state)).is_paused()


async def test_a_paused_run_follows_what_was_paid_for_and_begins_no_download(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: bench.billed_dubs == 2)
        await until(lambda: set(only_job_states(runner).values()) == {"dubbing"})
    pause_without_runner(bench)
    bench.sandbox.advance(SECONDS_PER_HOUR)
    result = await bench.run()
    assert (result.exit_code, result.states("intro.mp4")) == (5, {"fr-FR": "ready", "es-ES": "ready"})
    assert bench.output_names() == []
    assert (await bench.run(resume=True)).exit_code == 0
    assert bench.billed_dubs == 2


async def test_a_paused_batch_with_nothing_left_to_do_is_done(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("intro.mp4"))
    pause_without_runner(workspace)
    result = await workspace.run()
    assert (result.exit_code, result.reported_problems()) == (0, [])


# -- a damaged batch file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"\0" * 40, b"paused = ", b"\xff\xfe", b'schema = 3\npaused = "yes"\n'])
def test_a_batch_file_that_does_not_say_counts_as_paused(tmp_path: Path, content: bytes) -> None:
    store = JobStore(str(tmp_path))
    store.open()
    assert not store.is_paused()
    (tmp_path / "batch.toml").write_bytes(content)
    assert store.is_paused()
    store.open()
    assert store.is_paused()


async def test_a_damaged_batch_file_is_kept_and_named_and_nothing_is_sent(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=("fr-FR",))
    damage_batch(workspace)
    billed = workspace.billed_dubs
    result = await workspace.run(video)
    assert (result.exit_code, workspace.billed_dubs) == (5, billed)
    (kept,) = (workspace.state / "damaged").iterdir()
    assert kept.name.startswith("batch.toml.")
    assert str(kept) in next(event["detail"] for event in result.events if event.get("code") == "state_corrupt")
    assert JobStore(str(workspace.state)).lost_jobs({job.id for job in workspace.jobs()}) == []
    pause.pause(resolve_settings(workspace.settings_flags(), {}), paused=False)
    assert (await workspace.run()).exit_code == 0


async def test_status_names_a_damaged_batch_file_and_changes_nothing(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    await workspace.run(workspace.write_video("intro.mp4"))
    damage_batch(workspace)
    status(resolve_settings(workspace.settings_flags(), {}), as_json=False)
    shown = capsys.readouterr().out
    assert "paused" in shown and str(workspace.state / "batch.toml") in shown
    assert not (workspace.state / "damaged").exists()


async def test_what_is_ready_waits_for_the_pause_to_end(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("intro.mp4"), targets=("fr-FR",))
    (job,) = workspace.jobs()
    from msgspec.structs import replace

    ready = replace(job, dubs={"fr-FR": replace(job.dubs["fr-FR"], state=DubState.READY)})
    assert ready.wait_reason("fr-FR", paused=True) is WaitReason.PAUSE
    assert ready.wait_reason("fr-FR") is None
