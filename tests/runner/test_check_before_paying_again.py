"""Before anything is paid for again the service is asked, for free, whether it is there: end to end against the sandbox."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as struct_replace

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import Dub, DubState
from synthdub_tui.jobs.transitions import observation, submission
from synthdub_tui.runner import request_handlers
from synthdub_tui.sandbox.config import Fault, SimulatedFailure
from synthdub_tui.sandbox.service_state import DubbedVideo, Project
from synthdub_tui.store.job_store import JobStore
from tests.dub_refs import shown_dubs
from tests.runner.conftest import MakeWorkspace, RunResult, Workspace

FR, ES = "fr-FR", "es-ES"

ChangeService = Callable[[Workspace], None]


def retry_failed_dub(bench: Workspace, language: str = FR) -> None:
    """As `synthdub retry FILE:LANG --yes` does without a runner."""
    store = JobStore(str(bench.state))
    store.open()
    (job,) = bench.jobs()
    jobs = {job.id: job}
    assert request_handlers.retry(
        jobs, shown_dubs(jobs, [DubRef(job.id, language)]), True, time.time(), store.save, lambda path: True
    )[:2] == (
        1,
        0,
    )


def last_project(bench: Workspace) -> Project:
    return list(bench.sandbox.state.projects.values())[-1]


def change_project(bench: Workspace, **fields: object) -> None:
    old = last_project(bench)
    bench.sandbox.state.projects[old.id] = replace(old, **fields)  # type: ignore[arg-type]


def change_dub(bench: Workspace, language: str = FR, **fields: object) -> None:
    dubs = last_project(bench).dubs
    dubs[language] = replace(dubs[language], **fields)  # type: ignore[arg-type]


def complete_language(bench: Workspace) -> None:
    change_dub(bench, error="")


def complete_project(bench: Workspace) -> None:
    change_project(bench, error="")


def change_nothing(bench: Workspace) -> None:
    pass


def dub_state(result: RunResult, language: str = FR) -> tuple[str, str]:
    dub = result.jobs["intro.mp4"].dubs[language]
    return dub.state.value, dub.failure.code if dub.failure is not None else ""


FAILED_LANGUAGE = SimulatedFailure(languages=(FR,))
FAILED_PROJECT = SimulatedFailure(kind="project")


@pytest.mark.parametrize(
    ("failure", "heal"),
    [(FAILED_LANGUAGE, complete_language), (FAILED_PROJECT, complete_project)],
)
async def test_what_failed_first_and_is_complete_now_is_fetched_and_not_paid_again(
    make_workspace: MakeWorkspace, failure: SimulatedFailure, heal: ChangeService
) -> None:
    bench = make_workspace(failures=(failure,))
    assert (await bench.run(bench.write_video("intro.mp4"), targets=(FR,))).exit_code == 1
    heal(bench)
    retry_failed_dub(bench)
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs, result.exit_code) == (("done", ""), 1, 0)
    assert bench.count_calls("POST /v2/assets") == 1


async def test_what_goes_on_after_all_is_followed_and_not_paid_again(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    change_dub(bench, error="", ends_at=time.time() + 1.0)
    retry_failed_dub(bench)
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs) == (("done", ""), 1)


async def test_an_old_failure_that_is_listed_still_does_not_count_as_there(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(languages=(FR,), times=1),))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    retry_failed_dub(bench)
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs) == (("done", ""), 2)


async def test_a_project_that_failed_and_lists_complete_languages_gives_them_away(make_workspace: MakeWorkspace) -> None:
    """Of the languages that it does not list as complete, it is the failure."""
    listed = {"status": "error", "errorCode": "processing_error"}
    bench = make_workspace(
        dubbing_seconds_by_language={ES: (60.0, 60.0)},
        faults=(Fault("GET /v2/dubbing/{id}", "change", nth=tuple(range(8, 900)), set=listed),),
    )
    result = await bench.run(bench.write_video("intro.mp4"))
    assert dub_state(result) == ("done", "")
    assert dub_state(result, ES) == ("failed", "processing_error")


async def test_a_project_that_was_not_known_for_a_while_is_looked_for_however_often_it_was_lost(workspace: Workspace) -> None:
    """As with the key of another workspace."""
    video = workspace.write_video("intro.mp4")
    workspace.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=404, body='{"error": "Not Found"}', content_type="application/json")
    )
    for _ in range(3):
        result = await workspace.run(video, targets=(FR,))
        assert dub_state(result) == ("failed", "project_not_found")
    workspace.sandbox.clear_faults()
    retry_failed_dub(workspace)
    result = await workspace.run()
    assert (dub_state(result), workspace.billed_dubs) == (("done", ""), 1)


async def test_a_run_looks_for_a_lost_project_by_itself_which_is_free(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    workspace.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=404, body='{"error": "Not Found"}', content_type="application/json")
    )
    for _ in range(3):
        await workspace.run(video, targets=(FR,))
    workspace.sandbox.clear_faults()
    result = await workspace.run()
    assert (dub_state(result), workspace.billed_dubs) == (("done", ""), 1)


async def test_a_project_that_is_gone_is_paid_for_again_where_the_user_says_so(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    workspace.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=404, body='{"error": "Not Found"}', content_type="application/json")
    )
    for _ in range(2):
        await workspace.run(video, targets=(FR,))
    workspace.sandbox.state.projects.clear()
    workspace.sandbox.clear_faults()
    retry_failed_dub(workspace)
    result = await workspace.run()
    assert (dub_state(result), workspace.billed_dubs) == (("done", ""), 2)


async def test_nothing_is_paid_as_long_as_a_look_is_not_answered(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    complete_language(bench)
    retry_failed_dub(bench)
    bench.sandbox.inject(Fault("GET /v2/dubbing/{id}", "status", status=503, count=3))
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs) == (("done", ""), 1)


async def test_a_wrong_key_at_the_look_pays_nothing_and_leaves_the_dub_as_it_was(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    complete_language(bench)
    retry_failed_dub(bench)
    before = bench.jobs()[0].dubs[FR]
    bench.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=403, body='{"error": "Forbidden"}', content_type="application/json")
    )
    result = await bench.run()
    assert (result.exit_code, bench.billed_dubs) == (2, 1)
    assert result.jobs["intro.mp4"].dubs[FR] == before
    bench.sandbox.clear_faults()
    assert dub_state(await bench.run()) == ("done", "")
    assert bench.billed_dubs == 1


async def test_an_answer_that_tells_nothing_is_no_reason_to_pay(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    retry_failed_dub(bench)
    bench.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=400, body='{"error": "Bad"}', content_type="application/json")
    )
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs) == (("failed", "request_refused"), 1)


async def test_a_look_that_finds_a_refusal_by_moderation_does_not_pay(make_workspace: MakeWorkspace) -> None:
    """The user agreed to pay for what had failed by a mishap, and knows nothing of the refusal."""
    bench = make_workspace(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    change_dub(bench, error="moderation")
    retry_failed_dub(bench)
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs) == (("failed", "moderation"), 1)


async def test_what_moderation_refused_is_sent_again_where_the_user_names_it(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(code="moderation", languages=(FR,), times=1),))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    retry_failed_dub(bench)
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs) == (("done", ""), 2)


async def test_a_second_project_is_looked_at_too_and_so_is_the_first(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(FAILED_PROJECT,))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    retry_failed_dub(bench)
    await bench.run()
    assert bench.billed_dubs == 2
    first, _ = bench.sandbox.state.projects.values()
    bench.sandbox.state.projects[first.id] = replace(first, error="")
    retry_failed_dub(bench)
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs) == (("done", ""), 2)


async def test_a_held_dub_is_looked_for_again_before_it_is_paid_for(workspace: Workspace) -> None:
    """Held since nobody knew its project any more; by now the service does."""
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=(FR,))
    shutil.rmtree(workspace.state)
    for path in workspace.videos.glob("*.dubbed-*"):
        path.unlink()
    known = dict(workspace.sandbox.state.projects)
    workspace.sandbox.state.projects.clear()
    assert (await workspace.run(video, targets=(FR,))).exit_code == 5
    workspace.sandbox.state.projects.update(known)
    retry_failed_dub(workspace)
    result = await workspace.run()
    assert (dub_state(result), workspace.billed_dubs) == (("done", ""), 1)


async def test_of_an_old_failure_and_a_new_dub_in_one_list_the_new_one_is_downloaded(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=(ES,))
    last_project(workspace).dubs["old"] = DubbedVideo("old", FR, 0.0, 0.0, error="processing_error")  # listed first
    result = await workspace.run(video, targets=(FR,))
    assert (dub_state(result), workspace.billed_dubs) == (("done", ""), 2)


async def test_an_unknown_addition_is_looked_for_with_each_run(make_workspace: MakeWorkspace) -> None:
    """The service took it in, and was behind with listing it."""
    bench = make_workspace(faults=(Fault("PUT /v2/dubbing/{id}", "reset_after"),))
    video = bench.write_video("intro.mp4")
    await bench.run(video, targets=(ES,))
    listed = {"dubbedAssets": [], "status": "complete"}
    bench.sandbox.inject(Fault("GET /v2/dubbing/{id}", "change", set=listed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observation, "UNKNOWN_PUT_GRACE_SECONDS", 0.0)
        result = await bench.run(video, targets=(FR,))
        assert dub_state(result) == ("unknown", "submission_unknown")
    bench.sandbox.clear_faults()
    result = await bench.run()
    assert (dub_state(result), bench.billed_dubs, result.exit_code) == (("done", ""), 2, 0)


async def test_a_receipt_whose_answer_came_resolves_an_unknown_request(workspace: Workspace) -> None:
    """The runner was killed after the receipt was written and before the job was."""
    await workspace.run(workspace.write_video("intro.mp4"), targets=(FR,))
    (job,) = workspace.jobs()
    store = JobStore(str(workspace.state))
    store.open()
    asset = struct_replace(job, dubs={FR: Dub(DubState.WAITING, job.added)}, projects={})
    store.save(submission.record_intent(asset, [FR], "", job.added))
    for path in workspace.videos.glob("*.dubbed-*"):
        path.unlink()
    result = await workspace.run()
    assert (dub_state(result), workspace.billed_dubs, result.exit_code) == (("done", ""), 1, 0)
