"""What was paid for is not paid for again by a batch that does not know of it: receipts, end to end against the sandbox."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.jobs.model import DubState, Job, WaitReason
from synthdub_tui.jobs.transitions import adoption, retry, source_changes
from synthdub_tui.runner import clock
from synthdub_tui.sandbox.config import SimulatedFailure
from synthdub_tui.store.job_store import JobStore
from tests.runner.conftest import MakeWorkspace, RunResult, Workspace

FR, ES = "fr-FR", "es-ES"


def delete_state(bench: Workspace) -> None:
    shutil.rmtree(bench.state)


def delete_outputs(bench: Workspace) -> None:
    for path in bench.videos.rglob("*.dubbed-*"):
        path.unlink()


def delete_projects(bench: Workspace) -> None:
    """The projects were deleted in Studio."""
    bench.sandbox.state.projects.clear()


def hold_reasons(bench: Workspace) -> dict[str, WaitReason]:
    return {language: dub.hold.reason for job in bench.jobs() for language, dub in job.dubs.items() if dub.hold is not None}


def save_job(bench: Workspace, job: Job) -> None:
    store = JobStore(str(bench.state))
    store.open()
    store.save(job)


async def run_to_end(bench: Workspace, *paths: Path, **options: Any) -> RunResult:
    result = await bench.run(*paths, **options)
    assert result.exit_code == 0, (
        result.reported_problems(),
        [dub.state for job in result.jobs.values() for dub in job.dubs.values()],
    )
    return result


async def test_a_deleted_state_directory_costs_nothing_where_the_outputs_are_in_place(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    calls = len(workspace.sandbox.journal)
    outputs = workspace.output_names()
    delete_state(workspace)
    result = await run_to_end(workspace, video)
    assert result.states("intro.mp4") == {FR: "done", ES: "done"}
    assert workspace.billed_dubs == 2
    assert len(workspace.sandbox.journal) == calls
    assert workspace.output_names() == outputs


async def test_recovered_outputs_are_ours_with_their_captions(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    (before,) = workspace.jobs()
    delete_state(workspace)
    await run_to_end(workspace, video)
    (after,) = workspace.jobs()
    assert after.dubs[FR].output == before.dubs[FR].output


async def test_projects_are_taken_up_where_the_outputs_are_gone_as_well(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    outputs = workspace.output_names()
    delete_state(workspace)
    delete_outputs(workspace)
    await run_to_end(workspace, video)
    assert workspace.billed_dubs == 2
    assert workspace.count_calls("POST /v2/assets") == 1
    assert workspace.output_names() == outputs


async def test_a_video_that_was_renamed_after_its_state_was_lost_is_not_paid_again(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    delete_state(workspace)
    await run_to_end(workspace, video.rename(workspace.videos / "introduction.mp4"))
    assert workspace.billed_dubs == 2
    assert "introduction.dubbed-fr-FR.mp4" in workspace.output_names()


async def test_two_state_directories_on_one_library_pay_once(workspace: Workspace, tmp_path: Path) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    workspace.state = tmp_path / "second"
    await run_to_end(workspace, video)
    assert workspace.billed_dubs == 2


async def test_two_copies_of_a_video_pay_once_and_both_are_dubbed(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    copy = workspace.videos / "copy.mp4"
    shutil.copyfile(video, copy)
    await run_to_end(workspace, video, copy)
    assert workspace.billed_dubs == 2
    assert sum(name.endswith(".mp4") for name in workspace.output_names()) == 4


async def test_an_older_copy_of_the_state_does_not_pay_again(workspace: Workspace, tmp_path: Path) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video, targets=(FR,))
    shutil.copytree(workspace.state, tmp_path / "backup")
    await run_to_end(workspace, video, targets=(ES,))
    delete_state(workspace)
    delete_outputs(workspace)
    shutil.copytree(tmp_path / "backup", workspace.state)
    await workspace.run(video, targets=(ES,))
    assert workspace.billed_dubs == 2
    assert "intro.dubbed-es-ES.mp4" in workspace.output_names()


async def test_what_nobody_has_any_more_waits_for_the_user_and_says_so(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    state = workspace.state
    delete_state(workspace)
    delete_outputs(workspace)
    delete_projects(workspace)
    result = await workspace.run(video)
    assert result.exit_code != 0
    assert workspace.billed_dubs == 2
    assert hold_reasons(workspace) == {FR: WaitReason.ALREADY_PAID, ES: WaitReason.ALREADY_PAID}
    (job,) = workspace.jobs()
    assert job.dubs[FR].hold is not None
    assert str(state) in job.dubs[FR].hold.detail
    assert ("intro.mp4", FR, "already_paid") in result.reported_problems()
    again = await workspace.run(video)
    assert workspace.billed_dubs == 2
    assert again.exit_code != 0


async def test_a_retry_goes_past_a_receipt(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    delete_state(workspace)
    delete_outputs(workspace)
    delete_projects(workspace)
    await workspace.run(video)
    (job,) = workspace.jobs()
    save_job(workspace, retry.retry_dub(job, FR, job.added))
    await workspace.run()
    assert workspace.billed_dubs == 3
    assert hold_reasons(workspace) == {ES: WaitReason.ALREADY_PAID}


async def test_an_older_copy_of_the_state_does_not_use_a_consent_again(workspace: Workspace, tmp_path: Path) -> None:
    """The copy was made between the retry and the request that came of it."""
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video, targets=(FR,))
    delete_state(workspace)
    delete_outputs(workspace)
    delete_projects(workspace)
    await workspace.run(video, targets=(FR,))
    (job,) = workspace.jobs()
    save_job(workspace, retry.retry_dub(job, FR, clock.now()))
    shutil.copytree(workspace.state, tmp_path / "backup")
    await workspace.run()
    assert workspace.billed_dubs == 2
    delete_state(workspace)
    shutil.copytree(tmp_path / "backup", workspace.state)
    await workspace.run()
    assert workspace.billed_dubs == 2
    assert workspace.jobs()[0].dubs[FR].state == DubState.DONE


async def test_force_new_goes_past_receipts(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    delete_state(workspace)
    delete_outputs(workspace)
    await run_to_end(workspace, video, force_new=True)
    assert workspace.billed_dubs == 4


async def test_other_options_are_another_purchase(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    delete_outputs(workspace)
    delete_state(workspace)
    await run_to_end(workspace, video, lipsync=True)
    assert workspace.billed_dubs == 4


async def test_what_ended_in_failure_may_be_paid_for_again(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(code="processing_error", languages=(FR,), times=1),))
    video = bench.write_video("intro.mp4")
    await bench.run(video)
    delete_state(bench)
    delete_outputs(bench)
    await run_to_end(bench, video)
    assert sorted(language for _, language in bench.sandbox.billed_dubs()) == [ES, FR, FR]


async def test_what_moderation_refused_is_not_sent_again_under_another_name(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(code="moderation", languages=(FR,)),))
    video = bench.write_video("intro.mp4")
    await bench.run(video)
    delete_state(bench)
    delete_outputs(bench)
    result = await bench.run(video.rename(bench.videos / "other.mp4"))
    assert bench.billed_dubs == 2
    assert result.states("other.mp4") == {FR: "failed", ES: "done"}
    assert ("other.mp4", FR, "moderation") in result.reported_problems()


async def test_a_new_content_is_paid_for_and_the_old_one_again_is_not(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    old = video.read_bytes()
    await run_to_end(workspace, video)
    video.write_bytes(old[::-1])
    await run_to_end(workspace, video)
    assert workspace.billed_dubs == 4
    video.write_bytes(old)
    await run_to_end(workspace, video)
    assert workspace.billed_dubs == 4


async def test_a_renamed_copy_of_an_output_is_no_input(workspace: Workspace) -> None:
    await run_to_end(workspace, workspace.write_video("intro.mp4"))
    (workspace.videos / "intro.dubbed-fr-FR.mp4").rename(workspace.videos / "Intro in French.mp4")
    await workspace.run(workspace.videos)
    assert [job.name for job in workspace.jobs()] == ["intro.mp4"]
    assert workspace.billed_dubs == 2


async def test_the_output_of_another_batch_is_no_foreign_file(workspace: Workspace, tmp_path: Path) -> None:
    """It took the project up, and saved the output before this one could."""
    video = workspace.write_video("intro.mp4")
    await run_to_end(workspace, video)
    (job,) = workspace.jobs()
    forgotten = job
    for language in (FR, ES):
        forgotten = source_changes.start_new_version(forgotten, job.source, (language,), 1.0)
        forgotten = adoption.follow_existing_project(forgotten, language, job.dubs[language].project, 1.0, 2.0)
        forgotten = forgotten.__class__(
            **{**_fields(forgotten), "dubs": {**forgotten.dubs, language: _job_without_history(forgotten, language)}}
        )
    workspace.state = tmp_path / "second"
    save_job(workspace, forgotten)
    result = await workspace.run()
    assert (result.exit_code, workspace.billed_dubs) == (0, 2)


def _fields(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.__struct_fields__}


def _job_without_history(job: Job, language: str) -> Any:
    from msgspec.structs import replace

    return replace(job.dubs[language], output=None, landed=None, captions_ns=())


@pytest.mark.parametrize("folder", ["plain file", "read only"])
async def test_receipts_that_cannot_be_kept_in_the_data_folder_are_kept_with_the_state(
    workspace: Workspace, tmp_path: Path, folder: str
) -> None:
    """As in a container with a random user and no home."""
    place = tmp_path / "data"
    place.write_text("")
    await run_to_end(workspace, workspace.write_video("intro.mp4"), data_dir=str(place / "synthdub"))
    assert workspace.billed_dubs == 2
    assert list((workspace.state / "receipts").iterdir())
    assert workspace.jobs()[0].dubs[FR].state == DubState.DONE
