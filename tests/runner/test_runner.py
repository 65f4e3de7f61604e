"""What users need beyond the vendor's script, end to end against the sandbox."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import DubState, Job, PartRecord
from synthdub_tui.runner import clock
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox.config import Fault, SimulatedFailure
from synthdub_tui.store import job_store as store_module
from synthdub_tui.store.job_store import JobStore
from tests.dub_refs import shown_dubs, shown_in_any_state
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.runner.runner_in_loop import RunningRunner, job_states, only_job, only_job_states
from tests.waiting import until

# -- progress --------------------------------------------------------------------------------------------------------


async def test_many_files_at_once(make_workspace: MakeWorkspace) -> None:
    """No file waits for the dubs of another."""
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    for number in range(8):
        bench.write_video(f"{number}.mp4")
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.videos)], runner.settings.batch)
        await until(lambda: bench.billed_dubs == 16)
        bench.sandbox.advance(3600.0)
        await until(runner.idle.is_set)
    assert len(bench.output_names()) == 16 * 3


async def test_each_language_is_downloaded_as_soon_as_it_is_ready(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds_by_language={"fr-FR": (0.0, 0.0), "es-ES": (3600.0, 3600.0)})
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {"fr-FR": "done", "es-ES": "dubbing"})
        assert "intro.dubbed-fr-FR.mp4" in bench.output_names()
        bench.sandbox.advance(3600.0)
        await until(runner.idle.is_set)
        assert only_job_states(runner)["es-ES"] == "done"


async def test_jobs_that_wait_for_an_upload_cost_no_tasks(workspace: Workspace) -> None:
    """Ten thousand of them had a worker of three tasks each: 15 kB a job."""

    def workers() -> int:
        return sum(task.get_name().startswith("worker ") for task in asyncio.all_tasks())

    for number in range(30):
        workspace.write_video(f"{number:02}.mp4")
    async with RunningRunner(workspace, max_uploads=2, targets=("fr-FR",)) as runner, AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(runner._context.upload_slots.hold_slot(0))
        await runner.add([str(workspace.videos)], runner.settings.batch)
        await until(lambda: workers() == 2)
        assert not runner.idle.is_set()
        waiting = [job.id for job in runner.live_jobs.jobs.values()][10:20]
        assert runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(job) for job in waiting])) == (10, [])
        assert workers() == 2
        await held.aclose()
        await until(runner.idle.is_set)
        ends = [job.dubs["fr-FR"].state.value for job in runner.live_jobs.jobs.values()]
        assert (ends.count("done"), ends.count("cancelled"), workers()) == (20, 10, 0)


async def test_a_turn_to_upload_is_given_back_when_it_is_not_needed_any_more(make_workspace: MakeWorkspace) -> None:
    """A job whose upload is cancelled goes on watching an old project, but holds up nobody's upload (found by the machine)."""
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    async with RunningRunner(bench, max_uploads=1, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.write_video("a.mp4"))], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {"fr-FR": "dubbing"})
        job = only_job(runner).id
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(job, "fr-FR")]))
        async with runner._context.upload_slots.hold_slot(0):
            await runner.add([str(bench.write_video("a.mp4", 3000))], replace(runner.settings.batch, targets=("es-ES",)))
            await until(lambda: job in runner._workers)  # it was called up, and waits for the slot
            await runner.add([str(bench.write_video("b.mp4"))], runner.settings.batch)
            runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(job, "fr-FR")]), allow_paid=False)
            runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(job, "es-ES")]))
        await until(lambda: bench.billed_dubs == 2)
        assert job_states(runner, job) == {"fr-FR": "dubbing", "es-ES": "cancelled"}


async def test_the_time_at_work_is_that_of_the_batch_not_of_the_runner(workspace: Workspace) -> None:
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        assert runner.batch_status().since == 0
        before = runner.started_at
        await until(lambda: clock.now() > before)
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        assert before < runner.batch_status().since <= clock.now()
        await until(runner.idle.is_set)
        assert runner.batch_status().since == 0


async def test_uploads_go_by_size_the_smallest_and_the_largest_in_turn(workspace: Workspace) -> None:
    sizes = {"a.mp4": 3000, "b.mp4": 1000, "c.mp4": 5000, "d.mp4": 2000, "e.mp4": 4000}
    for name, size in sizes.items():
        workspace.write_video(name, size)
    result = await workspace.run(workspace.videos, targets=("fr-FR",), max_uploads=1)
    uploads = [Path(event["file"]).name for event in result.events if event.get("stage") == "uploading"]
    assert uploads == ["b.mp4", "c.mp4", "d.mp4", "e.mp4", "a.mp4"]


async def test_the_next_start_of_a_large_batch_reads_no_toml(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MIN_CACHED_JOBS", 2)
    await workspace.run(workspace.write_video("one.mp4"), workspace.write_video("two.mp4"))
    assert (workspace.state / "jobs.cache").exists()
    sent = len(workspace.sandbox.journal)

    def named_job(name: str, data: bytes) -> Job:
        raise AssertionError(name)

    monkeypatch.setattr(store_module, "_named_job", named_job)
    again = await workspace.run()
    assert again.exit_code == 0 and again.summary["done"] == 4
    assert len(workspace.sandbox.journal) == sent


async def test_captions_are_optional(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("intro.mp4"), targets=("fr-FR",), captions=False)
    assert workspace.output_names() == ["intro.dubbed-fr-FR.mp4"]


async def test_detected_source_language(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(detected_language="de")
    result = await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",), source_language="auto")
    assert result.exit_code == 0
    assert result.jobs["intro.mp4"].asset.language == "de"  # type: ignore[union-attr]


async def test_no_detected_source_language_is_said_before_anything_is_paid(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(detected_language=None)
    result = await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",), source_language="auto")
    assert (result.reported_problems(), bench.billed_dubs) == ([("intro.mp4", "fr-FR", "language_unknown")], 0)


async def test_outputs_are_never_taken_as_inputs(workspace: Workspace) -> None:
    workspace.write_video("intro.mp4")
    await workspace.run(workspace.videos)
    result = await workspace.run(workspace.videos)
    assert (result.exit_code, set(result.jobs)) == (0, {"intro.mp4"})


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_a_language_refused_by_moderation_and_a_project_refused_whole(make_workspace: MakeWorkspace) -> None:
    moderated = SimulatedFailure(code="moderation", title="a", languages=("es-ES",))
    bench = make_workspace(
        failures=(moderated, SimulatedFailure(kind="project", code="video_duration_limit_reached", title="b"))
    )
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        bench.write_video(name)
    result = await bench.run(bench.videos)
    assert result.exit_code == 1
    assert sorted(result.reported_problems()) == [
        ("a.mp4", "es-ES", "moderation"),
        ("b.mp4", "es-ES", "video_duration_limit_reached"),
        ("b.mp4", "fr-FR", "video_duration_limit_reached"),
    ]
    assert result.states("a.mp4")["fr-FR"] == "done"
    assert result.states("c.mp4") == {"fr-FR": "done", "es-ES": "done"}
    billed = bench.billed_dubs
    await bench.run(bench.videos)  # nothing of it is paid again by itself
    assert bench.billed_dubs == billed


async def test_a_language_missing_in_a_complete_project_is_waited_for(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(kind="missing", languages=("es-ES",)),))
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only_job(runner).dubs["es-ES"].absent_since)
        assert only_job_states(runner)["es-ES"] == "dubbing"


async def test_languages_refused_at_creation_do_not_stop_the_others(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(kind="refused", code="invalid_target_language", languages=("es-ES",)),))
    result = await bench.run(bench.write_video("intro.mp4"))
    assert result.states("intro.mp4") == {"fr-FR": "done", "es-ES": "failed"}
    assert bench.billed_dubs == 1


@pytest.mark.parametrize("kind", ["reset_after", "reset_during", "truncate"])
async def test_a_lost_answer_to_a_paid_request_is_never_sent_again(make_workspace: MakeWorkspace, kind: str) -> None:
    bench = make_workspace(faults=(Fault("POST /v2/dubbing", kind, count=1),))
    video = bench.write_video("intro.mp4")
    for _ in range(2):
        result = await bench.run(video)
        assert result.exit_code == 1
        assert result.states("intro.mp4") == {"fr-FR": "unknown", "es-ES": "unknown"}
    assert bench.count_calls("POST /v2/dubbing") == 1


async def test_a_paid_request_that_never_arrived_is_sent_again(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(Fault("POST /v2/dubbing", "rate_limit", count=2, seconds=0.1),))
    assert (await bench.run(bench.write_video("intro.mp4"))).exit_code == 0
    assert bench.billed_dubs == 2


async def test_an_outage_is_waited_out(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(0.3, 0.3))
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {"fr-FR": "dubbing", "es-ES": "dubbing"})
        await asyncio.to_thread(bench.sandbox.run_in_loop, bench.sandbox.start_outage())
        await until(lambda: runner.batch_status().problem == "service_unreachable")
        await asyncio.to_thread(bench.sandbox.run_in_loop, bench.sandbox.end_outage())
        await until(runner.idle.is_set)
        assert set(only_job_states(runner).values()) == {"done"}
        assert runner.batch_status().problem == ""


async def test_a_file_that_is_not_ours_is_never_overwritten(workspace: Workspace) -> None:
    theirs = workspace.videos / "intro.dubbed-fr-FR.mp4"
    theirs.write_bytes(b"precious")
    result = await workspace.run(workspace.write_video("intro.mp4"))
    assert result.states("intro.mp4") == {"fr-FR": "failed", "es-ES": "done"}
    assert result.reported_problems() == [("intro.mp4", "fr-FR", "output_exists")]
    assert (theirs.read_bytes(), workspace.billed_dubs) == (b"precious", 1)  # and it was not paid for either
    theirs.rename(workspace.videos / "moved.mp4x")
    assert (await workspace.run()).exit_code == 0


async def test_a_changed_source_is_a_new_version(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=("fr-FR",))
    video.write_bytes(b"another cut of it")
    result = await workspace.run(video, targets=("fr-FR",))
    assert result.exit_code == 0
    assert workspace.count_calls("POST /v2/assets") == 2
    assert workspace.billed_dubs == 2


# -- further languages, and the ladder ---------------------------------------------------------------------------------


async def test_languages_are_added_without_a_new_upload(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=("fr-FR",))
    result = await workspace.run(video, targets=("fr-FR", "es-ES"))
    assert result.exit_code == 0
    assert (
        workspace.count_calls("POST /v2/assets"),
        workspace.count_calls("POST /v2/dubbing"),
        workspace.count_calls("PUT /v2/dubbing/{id}"),
    ) == (1, 1, 1)
    assert workspace.billed_dubs == 2


async def test_the_ladder_of_retries(make_workspace: MakeWorkspace) -> None:
    """One language fails at every rung: PUT to the project, a new project, a new upload; each only after the one before."""
    bench = make_workspace(failures=(SimulatedFailure(languages=("es-ES",), times=3),))
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        steps = []
        for _ in range(4):
            await until(lambda: runner.idle.is_set() and "dubbing" not in only_job_states(runner).values())
            paid = ("POST /v2/assets", "POST /v2/dubbing", "PUT /v2/dubbing/{id}")
            steps.append((only_job_states(runner)["es-ES"], *(bench.count_calls(endpoint) for endpoint in paid)))
            runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id, "es-ES")]), allow_paid=True)
        assert steps == [("failed", 1, 1, 0), ("failed", 1, 1, 1), ("failed", 1, 2, 1), ("done", 2, 3, 1)]


async def test_a_language_that_counts_as_added_climbs_to_a_new_project(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(languages=("es-ES",), times=1),), errors_count_as_added=True)
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only_job_states(runner)["es-ES"] == "failed")
        runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id, "es-ES")]), allow_paid=True)
        await until(lambda: only_job_states(runner)["es-ES"] == "done")
    assert (
        bench.count_calls("PUT /v2/dubbing/{id}"),
        bench.count_calls("POST /v2/dubbing"),
        bench.count_calls("POST /v2/assets"),
    ) == (1, 2, 1)


async def test_nothing_that_costs_is_retried_without_consent(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(languages=("es-ES",)),))
    await bench.run(bench.write_video("intro.mp4"))
    async with RunningRunner(bench) as runner:
        assert runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]), allow_paid=False)[:2] == (0, 1)
        assert only_job_states(runner)["es-ES"] == "failed"


async def test_a_put_of_unknown_outcome_shows_in_its_project(make_workspace: MakeWorkspace) -> None:
    """The answer to the PUT is lost, but the project lists the language: no doubt is left, and nothing is paid twice."""
    bench = make_workspace(faults=(Fault("PUT /v2/dubbing/{id}", "reset_after", count=1),))
    video = bench.write_video("intro.mp4")
    await bench.run(video, targets=("fr-FR",))
    result = await bench.run(video, targets=("es-ES",))
    assert result.exit_code == 0
    assert bench.count_calls("PUT /v2/dubbing/{id}") == 1


# -- interruptions -----------------------------------------------------------------------------------------------------


async def test_an_interrupted_upload_is_never_taken_as_done(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(bandwidth_up=3_000_000)
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4", 20_000_000))], runner.settings.batch)
        await until(runner.transfer_stats.transfers)
    assert bench.jobs()[0].asset is not None
    async with RunningRunner(bench) as runner:
        await until(lambda: bench.count_calls("POST /v2/assets") == 2)
        assert bench.count_calls("POST /v2/dubbing") == 0
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]))


async def test_an_upload_that_ended_unnoticed_is_not_sent_again(workspace: Workspace) -> None:
    """The crash fell between the end of the upload and the note of it: the service says that it has the file."""
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=("fr-FR",))
    (path,) = (workspace.state / "jobs").iterdir()
    text = path.read_text()
    path.write_text(text.replace("uploaded = true\n", "").replace("ready = true\n", ""))
    async with RunningRunner(workspace) as runner:
        await runner.add_languages([only_job(runner).id], ["es-ES"])
        await until(lambda: only_job_states(runner).get("es-ES") == "done")
    assert workspace.count_calls("POST /v2/assets") == 1


async def test_a_download_goes_on_where_it_was(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(output_padding=4_000_000, bandwidth_down=2_000_000)
    async with RunningRunner(bench, targets=("fr-FR",), captions=False) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        part = bench.videos / "intro.dubbed-fr-FR.mp4.part"
        await until(lambda: part.exists() and part.stat().st_size > 1_000_000)
    kept = part.stat().st_size
    async with RunningRunner(bench) as runner:
        await until(runner.idle.is_set)
    sent = [record.bytes_out for record in bench.sandbox.journal if record.endpoint == "download"]
    size = (bench.videos / "intro.dubbed-fr-FR.mp4").stat().st_size
    assert sent[-1] <= size - kept
    assert not part.exists()


async def test_quota_counters_survive_a_restart(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=("fr-FR",), tier="creator")
    async with RunningRunner(workspace, tier="creator") as runner:
        used = {meter.endpoint: meter.used for meter in runner.batch_status().quota}
    assert used["create_asset"] == (1, 1, 1)
    assert used["create_dubbing"] == (1, 1, 1)


async def test_a_crash_between_naming_an_output_and_removing_its_part(workspace: Workspace) -> None:
    """The output has its name, the part still exists as a second link to it, and the state knows of neither being over."""
    await workspace.run(workspace.write_video("intro.mp4"), targets=("fr-FR",))
    final, part = workspace.videos / "intro.dubbed-fr-FR.mp4", workspace.videos / "intro.dubbed-fr-FR.mp4.part"
    os.link(final, part)
    (job,) = workspace.jobs()
    dub = job.dubs["fr-FR"]
    assert dub.output is not None
    landing = PartRecord(dub.output.size, "", dub.output.mtime_ns)
    state = replace(dub, state=DubState.DOWNLOADING, output=None, part=landing)
    JobStore(str(workspace.state)).save(replace(job, dubs={"fr-FR": state}))
    assert (await workspace.run()).exit_code == 0
    assert not part.exists()
    assert workspace.count_calls("download") == 1


# -- steering ----------------------------------------------------------------------------------------------------------


async def test_cancelling_an_upload_aborts_it_and_leaves_no_orphan(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(bandwidth_up=4_000_000)
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4", 40_000_000))], runner.settings.batch)
        await until(lambda: bench.count_calls("S3 CreateMultipartUpload") and runner.transfer_stats.transfers())
        assert runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id)])) == (2, [])
        await until(runner.idle.is_set)
        await until(lambda: bench.count_calls("S3 AbortMultipartUpload"))
        assert only_job_states(runner) == {"fr-FR": "cancelled", "es-ES": "cancelled"}
    assert bench.count_calls("POST /v2/dubbing") == 0


async def test_cancelling_a_download_removes_its_part(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(output_padding=4_000_000, bandwidth_down=1_000_000)
    async with RunningRunner(bench, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        part = bench.videos / "intro.dubbed-fr-FR.mp4.part"
        await until(lambda: part.exists() and part.stat().st_size > 0)
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id, "fr-FR")]))
        await until(lambda: not part.exists())
        await until(runner.idle.is_set)
    assert bench.output_names() == []


async def test_a_cancelled_dub_that_the_service_has_is_taken_up_again_for_free(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    async with RunningRunner(bench) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only_job_states(runner) == {"fr-FR": "dubbing", "es-ES": "dubbing"})
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]))
        await until(runner.idle.is_set)
        bench.sandbox.advance(3600.0)
        assert runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]), allow_paid=False)[:2] == (2, 0)
        await until(runner.idle.is_set)
        assert set(only_job_states(runner).values()) == {"done"}
    assert bench.billed_dubs == 2


async def test_a_paused_batch_begins_nothing_and_stays_paused(workspace: Workspace) -> None:
    async with RunningRunner(workspace) as runner:
        await runner.pause(True)
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
    async with RunningRunner(workspace) as runner:
        assert runner.paused
        assert workspace.sandbox.journal == []
        await runner.pause(False)
        await until(lambda: set(only_job_states(runner).values()) == {"done"})


async def test_a_finished_file_that_is_gone_is_fetched_again_for_free(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("intro.mp4"), targets=("fr-FR",))
    output = workspace.videos / "intro.dubbed-fr-FR.mp4"
    async with RunningRunner(workspace) as runner:
        assert runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]), allow_paid=False)[:2] == (0, 0)
        output.unlink()
        assert runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]), allow_paid=False)[:2] == (1, 0)
        await until(runner.idle.is_set)
        assert output.exists()
    assert workspace.billed_dubs == 1


async def test_the_state_holds_no_secret(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("intro.mp4"))
    words = [path.read_text() for path in workspace.state.rglob("*") if path.is_file()]
    secrets = [workspace.sandbox.api_key, "X-Amz-Signature", "Signature="]
    secrets += [grant.grant.secret for grant in workspace.sandbox.state.assets.values() if hasattr(grant.grant, "secret")]
    assert words
    assert not [secret for secret in secrets for text in words if secret in text]


async def test_a_service_that_adds_no_languages_is_asked_for_a_new_project(workspace: Workspace) -> None:
    """The refusal is told; the retry takes the other way, which costs the same, and once."""
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await until(runner.idle.is_set)
        workspace.sandbox.inject(
            Fault(
                "PUT /v2/dubbing/{id}", "status", status=400, body='{"error": "unsupported"}', content_type="application/json"
            )
        )
        await runner.add_languages([only_job(runner).id], ["es-ES"])
        await until(runner.idle.is_set)
        failure = only_job(runner).dubs["es-ES"].failure
        assert failure is not None
        assert (failure.code, failure.detail) == ("request_refused", "unsupported")
        assert runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id, "es-ES")]), allow_paid=False)[
            :2
        ] == (1, 0)
        await until(runner.idle.is_set)
        assert only_job_states(runner) == {"fr-FR": "done", "es-ES": "done"}
    assert (
        workspace.billed_dubs,
        workspace.count_calls("POST /v2/dubbing"),
        workspace.count_calls("PUT /v2/dubbing/{id}"),
    ) == (2, 2, 1)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ({"status": 400, "body": '{"error": "title too odd"}', "content_type": "application/json"}, "failed"),
        ({"status": 400, "body": "what?"}, "unknown"),
        ({"status": 303}, "unknown"),
        ({"status": 403, "body": "<html></html>"}, "unknown"),
        ({"status": 408}, "unknown"),
        ({"status": 409, "body": '{"error": "Conflict"}', "content_type": "application/json"}, "unknown"),
    ],
)
async def test_what_was_not_accepted_or_may_have_been_is_never_sent_again_by_the_next_run(
    workspace: Workspace, answer: dict[str, Any], state: str
) -> None:
    video = workspace.write_video("intro.mp4")
    workspace.sandbox.inject(Fault("POST /v2/dubbing", "status", **answer))
    for _ in range(3):
        assert (await workspace.run(video, targets=("fr-FR",))).states("intro.mp4") == {"fr-FR": state}
    assert workspace.count_calls("POST /v2/dubbing") == 1


NO_CREDITS_FAULT: dict[str, Any] = {"status": 402, "body": '{"error": "No credits left"}', "content_type": "application/json"}


def write_videos(bench: Workspace, number: int) -> str:
    for name in range(number):
        bench.write_video(f"{name:02}.mp4")
    return str(bench.videos)


def count_dub_states(runner: Runner) -> Counter[str]:
    return Counter(dub.state.value for job in runner.live_jobs.jobs.values() for dub in job.dubs.values())


async def test_an_account_without_credits_is_asked_once_and_all_wait(workspace: Workspace) -> None:
    """Forty files were forty refused requests, and forty failed dubs to be retried."""
    workspace.sandbox.inject(Fault("POST /v2/dubbing", "status", **NO_CREDITS_FAULT))
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        await runner.add([write_videos(workspace, 24)], runner.settings.batch)
        await until(lambda: runner.account_refusal is not None)
        await until(runner.idle.is_set)
        told = runner.batch_status()
        (asked,) = [
            job.name for job in runner.live_jobs.jobs.values() if job.asset is not None and told.detail.startswith(job.name)
        ]
        assert (told.problem, told.detail, told.paused) == ("account_refused", f"{asked}: No credits left", True)
        assert (workspace.count_calls("POST /v2/dubbing"), workspace.count_calls("POST /v2/assets") < 12) == (1, True)
        await runner.pause(False)  # too early
        await until(lambda: runner.account_refusal is not None)
        await until(runner.idle.is_set)
        assert workspace.count_calls("POST /v2/dubbing") == 2
        assert count_dub_states(runner) == {"waiting": 24}
        workspace.sandbox.clear_faults()
        await runner.pause(False)
        await until(runner.idle.is_set)
        assert count_dub_states(runner) == {"done": 24}
        assert runner.batch_status().problem == ""
    assert workspace.billed_dubs == 24


async def test_credits_that_end_on_the_way_leave_what_is_paid_for_alone(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    bench.sandbox.inject(Fault("POST /v2/dubbing", "status", nth=tuple(range(3, 20)), **NO_CREDITS_FAULT))
    async with RunningRunner(bench, targets=("fr-FR",), max_uploads=1) as runner:
        await runner.add([write_videos(bench, 6)], runner.settings.batch)
        await until(lambda: runner.account_refusal is not None)
        assert not runner.idle.is_set()  # two are being dubbed
        bench.sandbox.advance(3600.0)
        await until(runner.idle.is_set)
        assert count_dub_states(runner) == {"done": 2, "waiting": 4}


async def test_another_key_wakes_what_waits_beside_what_is_being_dubbed(make_workspace: MakeWorkspace) -> None:
    """Its worker is at work already, and nothing of its job changes before the next poll."""
    bench = make_workspace(dubbing_seconds=(3600.0, 3600.0))
    async with RunningRunner(bench, targets=("fr-FR",), poll_interval=3600.0) as runner:
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: count_dub_states(runner) == {"dubbing": 1})
        bench.sandbox.inject(Fault("P* /v2/dubbing*", "status", **NO_CREDITS_FAULT))
        await runner.add_languages(list(runner.live_jobs.jobs), ["es-ES"])
        await until(lambda: runner.account_refusal is not None)
        await until(lambda: count_dub_states(runner) == {"dubbing": 1, "waiting": 1})
        bench.sandbox.clear_faults()
        await runner.switch_api_key(bench.sandbox.api_key)
        await until(lambda: count_dub_states(runner) == {"dubbing": 2})
        assert runner.account_refusal is None


async def test_a_run_without_credits_ends_and_the_next_goes_on(workspace: Workspace) -> None:
    workspace.sandbox.inject(Fault("POST /v2/dubbing", "status", **NO_CREDITS_FAULT))
    first = await workspace.run(workspace.write_video("intro.mp4"), targets=("fr-FR",))
    assert (first.exit_code, first.states("intro.mp4")) == (1, {"fr-FR": "waiting"})
    assert "account_refused" in {code for _, _, code in first.reported_problems()}
    workspace.sandbox.clear_faults()
    assert (await workspace.run()).exit_code == 0
    assert workspace.count_calls("POST /v2/assets") == 1
