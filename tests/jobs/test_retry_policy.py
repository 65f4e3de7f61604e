"""Runner, command line, dashboard and JSON say and do the same about every dub that the domain can reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from synthdub_tui import retry_text
from synthdub_tui.commands import status
from synthdub_tui.dashboard import grid_cells as drawn
from synthdub_tui.dashboard.grid_model import Batch
from synthdub_tui.dashboard.widgets.detail_pane import describe
from synthdub_tui.ipc.protocol import Cell, Shown
from synthdub_tui.jobs import failure_codes
from synthdub_tui.jobs.model import PAID, DubState, Hold, Job, Oddity, ProjectSeen, Rung, Scope, SeenState, WaitsFor
from synthdub_tui.jobs.retry_policy import Cost, RetryPolicy, bill, fingerprint, policy
from synthdub_tui.jobs.transitions import (
    cancellation,
    creation,
    dub_states,
    holds,
    observation,
    restart,
    retry,
    source_changes,
    submission,
    upload,
)
from synthdub_tui.runner import request_handlers
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import resolve
from tests.dub_refs import seen
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NOW,
    asked,
    cancelled,
    complete,
    delivered,
    done,
    dubbing,
    erred,
    failed_download,
    failed_language,
    failed_project,
    failed_source,
    listing,
    queued,
    unknown,
    unknown_addition,
)

CODES = ("processing_error", "moderation", "invalid_target_language", "video_duration_limit_reached", "new_to_us")


@pytest.fixture(autouse=True)
def claims_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other batches keep their claims."""
    monkeypatch.setattr(request_handlers, "is_claimed", lambda output, now: True)


def moves(job: Job) -> Iterator[Job]:
    """What the user, the service and accidents may do to a job of one language next."""
    (language,) = job.dubs
    dub = job.dubs[language]
    yield retry.retried(job, language, NOW)
    yield cancellation.cancelled(job, language, NOW)
    yield restart.resumed(job, NOW)
    if job.submission is not None:
        yield submission.unclear(job, NOW)
        yield submission.not_sent(job)
        for code, detail in (("request_refused", ""), ("request_refused", "moderation"), ("language_refused", CODES[2])):
            yield submission.refused(job, code, detail, {}, NOW)
        if job.submission.project:
            yield submission.added(job, {language: "v2"}, {}, NOW)
            yield submission.added(job, {}, {}, NOW)
        else:
            yield submission.created(job, f"p{len(job.projects) + 1}", NOW)
    elif language in job.unsent:
        for reason in (WaitsFor.ALREADY_PAID, WaitsFor.CLAIMED):
            yield holds.held(job, language, Hold(reason, NOW))
        for code in ("source_missing", "not_a_video", failure_codes.NO_AUDIO, "media_type"):
            yield source_changes.source_failed(job, code, "", NOW)
        if job.asset is not None and job.asset.ready:
            yield submission.intend(job, [language], dub.project if dub.next_rung is Rung.ADD else "", NOW)
        elif job.asset is None:
            yield upload.asset_ready(upload.asset_uploaded(upload.asset_created(job, "a2", NOW)), "")
    if dub.state in (DubState.DUBBING, DubState.UNKNOWN) and dub.project:
        yield observation.project_lost(job, dub.project, "", NOW)
        yield observation.observed(job, dub.project, listing(complete(language)), NOW)
        for code in CODES:
            yield observation.observed(job, dub.project, listing(erred(language, code)), NOW)
            yield observation.observed(job, dub.project, ProjectSeen(SeenState.ERROR, code), NOW)
    if retry.can_look_for(dub):
        yield retry.looked_for(job, language, NOW)
    if dub.state is DubState.READY:
        yield dub_states.failed(job, language, "disk_full", "", Scope.DOWNLOAD, NOW)


def kind(job: Job) -> tuple[object, ...]:
    (dub,) = job.dubs.values()
    failure = dub.failure and (dub.failure.code, dub.failure.scope, dub.failure.detail)
    hold = dub.hold and dub.hold.reason
    facts = (dub.state, bool(dub.project), dub.next_rung, frozenset(dub.tried), failure, hold, frozenset(dub.agreed), dub.erred)
    asset = job.asset and (job.asset.ready, job.asset.uploaded)
    return (*facts, asset, job.submission is None, job.projects.get(dub.project) == "", len(job.refused))


def reachable() -> list[Job]:
    """A job for each kind of dub that some way through the domain leads to."""
    found: dict[tuple[object, ...], Job] = {}
    line = [queued(FR), done(FR)]
    while line:
        job = line.pop()
        if kind(job) not in found and len(job.refused) < 2:
            found[kind(job)] = job
            line += moves(job)
    return list(found.values())


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    found = reachable()
    assert {job.dubs[FR].state for job in found} >= set(DubState) - {DubState.DOWNLOADING}
    assert {policy(job, FR).cost for job in found} == set(Cost)
    return found


def pane(job: Job) -> str:
    """What the dashboard's details say."""
    batch = Batch()
    batch.put([job])
    lines = describe(batch, job.id, FR, NOW, drawn.UNICODE)
    return "\n".join("".join(span for span, _ in line) for line in lines)


def sorted_as(job: Job, *, named: bool) -> str:
    cell = Cell(job.id, FR)
    chosen = request_handlers.choose({job.id: job}, [cell] if named else [], [] if named else [cell], lambda path: True)
    return next((word for word, found in vars(chosen).items() if found), "")


def test_every_face_says_the_same_of_every_dub(jobs: list[Job]) -> None:
    for job in jobs:
        means, dub = policy(job, FR), job.dubs[FR]
        offered = means.step is not None and dub.state is not DubState.DONE
        said = pane(job)
        assert ("r retry " in said) == offered
        assert not offered or retry_text.sentence(means) in said
        assert ("asks you first" in said) == (offered and means.alone)
        assert status._dub(job, FR, False).get("retry", "") == (means.label if offered else "")
        assert sorted_as(job, named=False) == expected(means, named=False)
        assert sorted_as(job, named=True) == expected(means, named=True)


def expected(means: RetryPolicy, *, named: bool) -> str:
    if means.step is None:
        return ""
    if means.alone and not named:
        return "left_out"
    return "to_ask" if means.must_ask else "at_once"


def test_the_runner_does_what_was_said_and_nothing_that_had_to_be_asked(jobs: list[Job]) -> None:
    for job in jobs:
        means = policy(job, FR)
        put: list[Job] = []
        batch = {job.id: job}
        outcome = request_handlers.retry(batch, seen(batch, [Cell(job.id, FR)]), False, NOW, put.append, lambda path: True)
        assert (outcome.retried, outcome.needs_paid) == (int(bool(means.step) and not means.must_ask), int(means.must_ask))
        assert all(FR not in after.unsent for after in put[outcome.retried :])  # what was left alone may be looked for
        again = request_handlers.retry(batch, seen(batch, [Cell(job.id, FR)]), True, NOW, put.append, lambda path: True)
        assert again.retried == int(means.step is not None)


def test_what_may_be_paid_again_or_endangers_the_account_is_always_asked_about(jobs: list[Job]) -> None:
    for job in jobs:
        means = policy(job, FR)
        assert means.must_ask == (means.step in PAID or means.moderated)
        assert means.alone == (means.cost in (Cost.TWICE, Cost.USELESS) or means.moderated)
        assert means.cost is not Cost.FREE or means.step in (None, Rung.DOWNLOAD)


def test_a_first_submission_is_never_called_free(jobs: list[Job]) -> None:
    first = [job for job in jobs if policy(job, FR).cost is Cost.FIRST]
    assert first
    for job in first:
        assert policy(job, FR).label != "free" and "free" not in retry_text.sentence(policy(job, FR))


def test_what_costs_nothing_sends_nothing_that_is_paid(jobs: list[Job]) -> None:
    for job in jobs:
        if policy(job, FR).cost is Cost.FREE and policy(job, FR).step is not None:
            assert FR not in retry.retried(job, FR, NOW).unsent


@pytest.mark.parametrize(
    ("job", "language", "means"),
    [
        (cancelled(unknown_addition(DE), DE), DE, RetryPolicy(Rung.ADD, Cost.TWICE, True, True, "submission_unknown")),
        (unknown(FR), FR, RetryPolicy(Rung.PROJECT, Cost.TWICE, True, True, "submission_unknown")),
        (
            cancelled(retry.retried(unknown(FR), FR, NOW), FR),
            FR,
            RetryPolicy(Rung.PROJECT, Cost.TWICE, True, True, "submission_unknown"),
        ),
        (failed_language(FR), FR, RetryPolicy(Rung.ADD, Cost.AGAIN, True)),
        (failed_language(FR, code="moderation"), FR, RetryPolicy(Rung.ADD, Cost.AGAIN, True, True, "moderation")),
        (
            cancelled(retry.retried(failed_language(FR, code="moderation"), FR, NOW), FR),
            FR,
            RetryPolicy(Rung.ADD, Cost.AGAIN, True, True, "moderation"),
        ),
        (
            failed_project(FR, code="video_duration_limit_reached"),
            FR,
            RetryPolicy(Rung.PROJECT, Cost.USELESS, True, True, "video_duration_limit_reached"),
        ),
        (
            submission.refused(asked(FR), "language_refused", "", {FR: "invalid_target_language"}, NOW),
            FR,
            RetryPolicy(Rung.SUBMIT, Cost.USELESS, False, True, "invalid_target_language"),
        ),
        (
            source_changes.source_failed(delivered(FR), "no_audio", "", NOW),
            FR,
            RetryPolicy(Rung.SUBMIT, Cost.USELESS, False, True, "no_audio"),
        ),
        (failed_source(FR), FR, RetryPolicy(Rung.SUBMIT, Cost.FIRST)),
        (failed_download(FR), FR, RetryPolicy(Rung.DOWNLOAD, Cost.FREE)),
    ],
)
def test_what_a_retry_means(job: Job, language: str, means: RetryPolicy) -> None:
    assert policy(job, language) == means


def test_another_file_need_not_fail_again() -> None:
    job = source_changes.source_failed(queued(FR), "not_a_video", "", NOW)
    assert policy(job, FR).alone and not policy(job, FR, edited=True).alone


# -- consent is for what was shown -----------------------------------------------------------------------------------------


def retry_as_shown(shown: Job, now: Job) -> request_handlers.Retried:
    """The user agreed to what he saw of a job that is another by now."""
    return request_handlers.retry(
        {now.id: now}, seen({shown.id: shown}, [Cell(shown.id, FR)]), True, NOW, pytest.fail, lambda _: True
    )


@pytest.mark.parametrize(
    "turn",
    [
        lambda job: submission.unclear(submission.intend(retry.retried(job, FR, NOW), [FR], "p1", NOW), NOW + 1),
        lambda job: retry.retried(job, FR, NOW),
        lambda job: failed_language(FR, code="moderation"),
        lambda job: cancellation.cancelled(retry.retried(job, FR, NOW), FR, NOW),
        lambda job: dub_states.moderated(job, "", "violence", NOW + 1),
        lambda job: replace(job, projects={"p1": ""}),
    ],
    ids=["unknown", "retried by another", "refused by moderation", "given up", "refused as a whole", "project closed"],
)
def test_consent_is_void_once_the_dub_is_another(turn: Callable[[Job], Job]) -> None:
    shown = failed_language(FR)
    assert retry_as_shown(shown, turn(shown)) == (0, 0, (Cell(shown.id, FR),))


def test_consent_is_void_once_moderation_refused_the_video_whole() -> None:
    """Another language of it: the dub itself stands as it was shown, but sending it now endangers the account."""
    shown = creation.add_targets(failed_language(FR), [ES], NOW)
    now = submission.refused(submission.intend(shown, [ES], "p1", NOW), "request_refused", "moderation", {}, NOW + 1)
    assert now.dubs[FR] == shown.dubs[FR]
    assert retry_as_shown(shown, now) == (0, 0, (Cell(shown.id, FR),))


def test_consent_to_ignore_the_claim_of_one_batch_is_void_for_another_batch() -> None:
    ann, bob = (holds.held(queued(FR), FR, Hold(WaitsFor.CLAIMED, NOW, owner)) for owner in ("ann@mac", "bob@mac"))
    assert retry_as_shown(ann, bob) == (0, 0, (Cell(ann.id, FR),))


def test_a_claim_that_is_found_again_leaves_the_consent_valid() -> None:
    first, again = (holds.held(queued(FR), FR, Hold(WaitsFor.CLAIMED, at, "ann@mac")) for at in (NOW, NOW + 60))
    assert fingerprint(first, FR) == fingerprint(again, FR)


def test_consent_that_does_not_say_what_was_shown_is_none() -> None:
    job = failed_language(FR)
    assert request_handlers.retry({job.id: job}, [Shown(job.id, FR)], True, NOW, pytest.fail, lambda _: True) == (0, 1, ())


def test_a_cancel_that_would_leave_a_bill_that_was_not_shown_is_not_done() -> None:
    shown, now = queued(FR), dubbing(FR)
    assert (bill(shown, FR), bill(now, FR), bill(unknown(FR), FR)) == ("nothing", "accepted", "perhaps")
    cells = [Shown(now.id, FR, bill(shown, FR))]
    assert request_handlers.cancel({now.id: now}, cells, NOW, pytest.fail) == (0, [Cell(now.id, FR)])


def test_what_changed_is_not_removed() -> None:
    job = failed_language(FR)
    again = dub_states.failed(retry.retried(job, FR, NOW), FR, "source_missing", "", Scope.SOURCE, NOW + 1)
    outcome = request_handlers.remove(
        {job.id: again}, seen({job.id: job}, [Cell(job.id, FR)]), True, pytest.fail, lambda _: True
    )
    assert (outcome.count, outcome.changed) == (0, [Cell(job.id, FR)])


def test_who_looks_twice_at_a_request_without_an_answer_sees_the_same() -> None:
    first, second = restart.resumed(asked(FR, ES), NOW + 5), restart.resumed(asked(FR, ES), NOW + 90)
    assert fingerprint(first, FR) == fingerprint(second, FR)
    assert first.dubs[FR].state is DubState.UNKNOWN


def test_a_claimed_dub_goes_on_without_a_question_once_the_claim_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    job = holds.held(queued(FR), FR, Hold(WaitsFor.CLAIMED, NOW))
    batch, put = {job.id: job}, list[Job]()
    cells = seen(batch, [Cell(job.id, FR)])
    assert request_handlers.retry(batch, cells, False, NOW, put.append, lambda _: True) == (0, 1, ())
    monkeypatch.setattr(request_handlers, "is_claimed", lambda output, now: False)
    assert request_handlers.retry(batch, cells, False, NOW, put.append, lambda _: True) == (1, 0, ())
    (after,) = put
    assert (after.dubs[FR].hold, after.dubs[FR].agreed) == (None, ())  # a new claim would hold it again


def test_status_names_what_a_dub_waits_for_and_a_status_that_the_program_does_not_know() -> None:
    held = holds.held(queued(FR), FR, Hold(WaitsFor.ALREADY_PAID, NOW, "a.mp4 in /state, project p1"))
    odd = dubbing(FR)
    odd = replace(odd, dubs={FR: replace(odd.dubs[FR], odd=Oddity("on_hold", NOW, observation.ODD_POLLS))})
    for job, code, words in ((held, "already_paid", "for a.mp4 in /state, project p1"), (odd, "status_unknown", "on_hold")):
        assert words in status._dub(job, FR, False)["problem"]["detail"]
        lines = "\n".join(status._status_lines(status_settings(), [job], None, None, False))
        assert f"[{code}]" in lines and words in lines


def status_settings() -> Settings:
    return resolve({"config": "/dev/null", "state_dir": "/nowhere"}, {})
