"""Before anything is paid for again the service is asked, for free, whether it is there: end to end against the sandbox."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from msgspec.structs import replace as struct_replace

from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import Dub, DubState
from synthdub_tui.jobs.transitions import observation, submission
from synthdub_tui.runner import request_handlers
from synthdub_tui.sandbox.config import Failure, Fault
from synthdub_tui.sandbox.service_state import Dubbed, Project
from synthdub_tui.store.job_store import Store
from tests.dub_refs import seen
from tests.runner.conftest import Bench, MakeBench, Result

FR, ES = "fr-FR", "es-ES"

Heal = Callable[[Bench], None]


def retry(bench: Bench, language: str = FR) -> None:
    """As `synthdub retry FILE:LANG --yes` does without a runner."""
    store = Store(str(bench.state))
    store.open()
    (job,) = bench.jobs()
    jobs = {job.id: job}
    assert request_handlers.retry(jobs, seen(jobs, [Cell(job.id, language)]), True, time.time(), store.save, lambda path: True)[
        :2
    ] == (
        1,
        0,
    )


def project(bench: Bench) -> Project:
    return list(bench.sandbox.state.projects.values())[-1]


def change_project(bench: Bench, **fields: object) -> None:
    old = project(bench)
    bench.sandbox.state.projects[old.id] = replace(old, **fields)  # type: ignore[arg-type]


def change_dub(bench: Bench, language: str = FR, **fields: object) -> None:
    dubs = project(bench).dubs
    dubs[language] = replace(dubs[language], **fields)  # type: ignore[arg-type]


def the_language_is_complete(bench: Bench) -> None:
    change_dub(bench, error="")


def the_project_is_complete(bench: Bench) -> None:
    change_project(bench, error="")


def as_it_was(bench: Bench) -> None:
    pass


def state(result: Result, language: str = FR) -> tuple[str, str]:
    dub = result.jobs["intro.mp4"].dubs[language]
    return dub.state.value, dub.failure.code if dub.failure is not None else ""


FAILED_LANGUAGE = Failure(languages=(FR,))
FAILED_PROJECT = Failure(kind="project")


@pytest.mark.parametrize(
    ("failure", "heal"),
    [(FAILED_LANGUAGE, the_language_is_complete), (FAILED_PROJECT, the_project_is_complete)],
)
async def test_what_failed_first_and_is_complete_now_is_fetched_and_not_paid_again(
    make_bench: MakeBench, failure: Failure, heal: Heal
) -> None:
    bench = make_bench(failures=(failure,))
    assert (await bench.run(bench.video("intro.mp4"), targets=(FR,))).code == 1
    heal(bench)
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed, result.code) == (("done", ""), 1, 0)
    assert bench.calls("POST /v2/assets") == 1


async def test_what_goes_on_after_all_is_followed_and_not_paid_again(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    change_dub(bench, error="", ends=time.time() + 1.0)
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 1)


async def test_an_old_failure_that_is_listed_still_does_not_count_as_there(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(Failure(languages=(FR,), times=1),))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 2)


async def test_a_project_that_failed_and_lists_complete_languages_gives_them_away(make_bench: MakeBench) -> None:
    """Of the languages that it does not list as complete, it is the failure."""
    listed = {"status": "error", "errorCode": "processing_error"}
    bench = make_bench(
        dubbing_seconds_by_language={ES: (60.0, 60.0)},
        faults=(Fault("GET /v2/dubbing/{id}", "change", nth=tuple(range(8, 900)), set=listed),),
    )
    result = await bench.run(bench.video("intro.mp4"))
    assert state(result) == ("done", "")
    assert state(result, ES) == ("failed", "processing_error")


async def test_a_project_that_was_not_known_for_a_while_is_looked_for_however_often_it_was_lost(bench: Bench) -> None:
    """As with the key of another workspace."""
    video = bench.video("intro.mp4")
    bench.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=404, body='{"error": "Not Found"}', content_type="application/json")
    )
    for _ in range(3):
        result = await bench.run(video, targets=(FR,))
        assert state(result) == ("failed", "project_not_found")
    bench.sandbox.clear_faults()
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 1)


async def test_a_run_looks_for_a_lost_project_by_itself_which_is_free(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    bench.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=404, body='{"error": "Not Found"}', content_type="application/json")
    )
    for _ in range(3):
        await bench.run(video, targets=(FR,))
    bench.sandbox.clear_faults()
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 1)


async def test_a_project_that_is_gone_is_paid_for_again_where_the_user_says_so(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    bench.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=404, body='{"error": "Not Found"}', content_type="application/json")
    )
    for _ in range(2):
        await bench.run(video, targets=(FR,))
    bench.sandbox.state.projects.clear()
    bench.sandbox.clear_faults()
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 2)


async def test_nothing_is_paid_as_long_as_a_look_is_not_answered(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    the_language_is_complete(bench)
    retry(bench)
    bench.sandbox.inject(Fault("GET /v2/dubbing/{id}", "status", status=503, count=3))
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 1)


async def test_a_wrong_key_at_the_look_pays_nothing_and_leaves_the_dub_as_it_was(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    the_language_is_complete(bench)
    retry(bench)
    before = bench.jobs()[0].dubs[FR]
    bench.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=403, body='{"error": "Forbidden"}', content_type="application/json")
    )
    result = await bench.run()
    assert (result.code, bench.billed) == (2, 1)
    assert result.jobs["intro.mp4"].dubs[FR] == before
    bench.sandbox.clear_faults()
    assert state(await bench.run()) == ("done", "")
    assert bench.billed == 1


async def test_an_answer_that_tells_nothing_is_no_reason_to_pay(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    retry(bench)
    bench.sandbox.inject(
        Fault("GET /v2/dubbing/{id}", "status", status=400, body='{"error": "Bad"}', content_type="application/json")
    )
    result = await bench.run()
    assert (state(result), bench.billed) == (("failed", "request_refused"), 1)


async def test_a_look_that_finds_a_refusal_by_moderation_does_not_pay(make_bench: MakeBench) -> None:
    """The user agreed to pay for what had failed by a mishap, and knows nothing of the refusal."""
    bench = make_bench(failures=(FAILED_LANGUAGE,))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    change_dub(bench, error="moderation")
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed) == (("failed", "moderation"), 1)


async def test_what_moderation_refused_is_sent_again_where_the_user_names_it(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(Failure(code="moderation", languages=(FR,), times=1),))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 2)


async def test_a_second_project_is_looked_at_too_and_so_is_the_first(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(FAILED_PROJECT,))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    retry(bench)
    await bench.run()
    assert bench.billed == 2
    first, _ = bench.sandbox.state.projects.values()
    bench.sandbox.state.projects[first.id] = replace(first, error="")
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 2)


async def test_a_held_dub_is_looked_for_again_before_it_is_paid_for(bench: Bench) -> None:
    """Held since nobody knew its project any more; by now the service does."""
    video = bench.video("intro.mp4")
    await bench.run(video, targets=(FR,))
    shutil.rmtree(bench.state)
    for path in bench.videos.glob("*.dubbed-*"):
        path.unlink()
    known = dict(bench.sandbox.state.projects)
    bench.sandbox.state.projects.clear()
    assert (await bench.run(video, targets=(FR,))).code == 5
    bench.sandbox.state.projects.update(known)
    retry(bench)
    result = await bench.run()
    assert (state(result), bench.billed) == (("done", ""), 1)


async def test_of_an_old_failure_and_a_new_dub_in_one_list_the_new_one_is_downloaded(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await bench.run(video, targets=(ES,))
    project(bench).dubs["old"] = Dubbed("old", FR, 0.0, 0.0, error="processing_error")  # listed first
    result = await bench.run(video, targets=(FR,))
    assert (state(result), bench.billed) == (("done", ""), 2)


async def test_an_unknown_addition_is_looked_for_with_each_run(make_bench: MakeBench) -> None:
    """The service took it in, and was behind with listing it."""
    bench = make_bench(faults=(Fault("PUT /v2/dubbing/{id}", "reset_after"),))
    video = bench.video("intro.mp4")
    await bench.run(video, targets=(ES,))
    listed = {"dubbedAssets": [], "status": "complete"}
    bench.sandbox.inject(Fault("GET /v2/dubbing/{id}", "change", set=listed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observation, "UNKNOWN_GRACE", 0.0)
        result = await bench.run(video, targets=(FR,))
        assert state(result) == ("unknown", "submission_unknown")
    bench.sandbox.clear_faults()
    result = await bench.run()
    assert (state(result), bench.billed, result.code) == (("done", ""), 2, 0)


async def test_a_receipt_whose_answer_came_resolves_an_unknown_request(bench: Bench) -> None:
    """The runner was killed after the receipt was written and before the job was."""
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    (job,) = bench.jobs()
    store = Store(str(bench.state))
    store.open()
    asset = struct_replace(job, dubs={FR: Dub(DubState.WAITING, job.added)}, projects={})
    store.save(submission.intend(asset, [FR], "", job.added))
    for path in bench.videos.glob("*.dubbed-*"):
        path.unlink()
    result = await bench.run()
    assert (state(result), bench.billed, result.code) == (("done", ""), 1, 0)
