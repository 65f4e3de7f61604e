"""What a cancel leaves: no part of a download, whoever carries it out, and the word that it may be billed all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthdub_tui.commands import cancel, status
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.jobs.model import DubState, Job, JobOptions, RetryStep, Source
from synthdub_tui.jobs.transitions import cancellation, creation, submission, upload
from synthdub_tui.runner import events as event_module
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.transfer.part_file import lock_part
from tests.dub_refs import shown_in_any_state
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.runner.runner_in_loop import RunningRunner, only_job, only_job_states
from tests.waiting import until


@pytest.fixture
def slow_workspace(make_workspace: MakeWorkspace) -> Workspace:
    """A bench whose downloads take seconds."""
    return make_workspace(output_padding=4_000_000, bandwidth_down=1_000_000)


def part_path(bench: Workspace) -> Path:
    return bench.videos / "intro.dubbed-fr-FR.mp4.part"


def workspace_settings(bench: Workspace) -> Settings:
    return resolve_settings(bench.settings_flags(), {"SYNTHESIA_API_KEY": bench.sandbox.api_key})


async def interrupt_download(bench: Workspace) -> Path:
    """The part of a download whose runner ended."""
    part = part_path(bench)
    async with RunningRunner(bench, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: part.exists() and part.stat().st_size > 0)
    assert part.exists()
    return part


async def test_a_cancel_without_a_runner_removes_the_part(slow_workspace: Workspace) -> None:
    part = await interrupt_download(slow_workspace)
    assert cancel.cancel(workspace_settings(slow_workspace), ["intro.mp4"]) == 0
    assert not part.exists()
    assert slow_workspace.jobs()[0].dubs["fr-FR"].state is DubState.CANCELLED


async def test_a_part_that_another_process_downloads_is_left(slow_workspace: Workspace) -> None:
    part = await interrupt_download(slow_workspace)
    async with lock_part(str(part)):
        cancel.cancel(workspace_settings(slow_workspace), ["intro.mp4"])
    assert part.exists()


async def test_a_cancel_of_a_paused_download_removes_its_part(slow_workspace: Workspace) -> None:
    part = await interrupt_download(slow_workspace)
    async with RunningRunner(slow_workspace) as runner:
        await runner.pause(True)
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]))
        await until(lambda: runner.idle.is_set() and not part.exists())


async def test_a_cancel_where_the_key_was_rejected_meanwhile_removes_the_part(slow_workspace: Workspace) -> None:
    """The dub is still said to be downloading, and nobody downloads it."""
    async with RunningRunner(slow_workspace, targets=("fr-FR",)) as runner:
        await runner.add([str(slow_workspace.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: part_path(slow_workspace).exists() and part_path(slow_workspace).stat().st_size > 0)
        runner._halt(ProblemError("key_rejected"))
        await until(lambda: not runner._workers)
        assert only_job(runner).dubs["fr-FR"].state is DubState.DOWNLOADING
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]))
        await until(lambda: not part_path(slow_workspace).exists())


async def test_a_cancel_between_two_rounds_of_a_download_leaves_no_part(workspace: Workspace) -> None:
    workspace.sandbox.inject(Fault("download", "status", status=503))
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await until(
            lambda: (
                ("fr-FR" in {language for _, language in runner._context.stalled_transfers}) and part_path(workspace).exists()
            )
        )
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]))
        await until(runner.idle.is_set)
        assert workspace.output_names() == []


# -- too late --------------------------------------------------------------------------------------------------------------


def problem_codes(events: list[event_module.Event]) -> list[str]:
    return [event["code"] for event in events if event["event"] == "problem"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda job: submission.record_project_created(job, "p1", 2.0), ["cancelled_under_way", "cancelled_late"]),
        (lambda job: submission.record_unknown_outcome(job, 2.0), ["cancelled_under_way", "submission_unknown"]),
        (lambda job: submission.record_rejected(job, "request_refused", "no", {}, 2.0), ["cancelled_under_way"]),
        (submission.record_not_sent, ["cancelled_under_way"]),
    ],
    ids=["accepted", "unknown", "refused", "not sent"],
)
def test_the_answer_that_comes_after_a_cancel_tells_whether_it_may_be_billed(
    answer: Callable[[Job], Job], told: list[str]
) -> None:
    job = creation.new_job(Source("/v/a.mp4", 1, 1, "video/mp4"), JobOptions("a"), ["fr-FR", "es-ES"], now=0.0)
    sent = submission.record_intent(
        upload.record_asset_ready(upload.record_asset_created(job, "a", 0.0), ""), ["fr-FR", "es-ES"], "", 1.0
    )
    cancelled = cancellation.cancel_dub(sent, "fr-FR", 1.5)
    events = [*event_module.changes(sent, cancelled), *event_module.changes(cancelled, answered := answer(cancelled))]
    assert problem_codes([event for event in events if event.get("language") == "fr-FR"]) == told
    assert cancellation.billing_problem_code(answered, "es-ES") == ""
    assert problem_codes(list(event_module.changes(answered, answered))) == []


def test_a_cancel_before_anything_was_sent_or_of_another_try_costs_nothing() -> None:
    job = creation.new_job(Source("/v/a.mp4", 1, 1, "video/mp4"), JobOptions("a"), ["fr-FR"], now=0.0)
    assert cancellation.billing_problem_code(cancellation.cancel_dub(job, "fr-FR", 1.0), "fr-FR") == ""
    dub = replace(job.dubs["fr-FR"], project="p0", next_rung=RetryStep.ADD_LANGUAGE)  # its first try failed
    again = replace(job, dubs={"fr-FR": dub})
    assert cancellation.billing_problem_code(cancellation.cancel_dub(again, "fr-FR", 1.0), "fr-FR") == ""


@pytest.mark.parametrize("working", [True, False], ids=["a runner", "no runner"])
async def test_a_cancel_names_exactly_the_dubs_that_may_be_billed(
    make_workspace: MakeWorkspace, capsys: pytest.CaptureFixture[str], working: bool
) -> None:
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    async with RunningRunner(bench) as runner:
        server = RunnerServer(runner, on_stop=lambda: None, read_key=lambda: bench.sandbox.api_key)
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: set(only_job_states(runner).values()) == {"dubbing"})
        await runner.pause(True)
        await runner.add([str(bench.write_video("other.mp4"))], runner.settings.batch)
        if working:
            await server.start()
            await asyncio.to_thread(cancel.cancel, workspace_settings(bench), ["intro.mp4:fr-FR", "other.mp4"])
            await server.close("stopped")
    if not working:
        cancel.cancel(workspace_settings(bench), ["intro.mp4:fr-FR", "other.mp4"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "3 cancelled"
    assert [line.partition(":")[0].strip() for line in said[1:]] == ["intro.mp4 fr-FR"]
    assert "It may be billed. A retry fetches it, free." in said[1]


async def test_a_run_and_the_status_say_that_a_cancel_came_too_late(
    make_workspace: MakeWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    async with RunningRunner(bench, targets=("fr-FR",)) as runner:
        events: list[event_module.Event] = []
        runner.live_jobs.add_listener(lambda before, job: events.extend(event_module.changes(before, job)))
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {"fr-FR": "dubbing"})
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]))
        await until(runner.idle.is_set)
    assert "cancelled_late" in problem_codes(events)
    assert status.status(workspace_settings(bench), as_json=False) == 0
    assert "It may be billed. A retry fetches it, free." in capsys.readouterr().out
