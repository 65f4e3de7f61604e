"""Runner, command line, dashboard and JSON say and do the same about every dub that the domain can reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from synthdub_tui import retry_text
from synthdub_tui.commands import status
from synthdub_tui.dashboard import grid_cells as drawn
from synthdub_tui.dashboard.grid_model import GridModel
from synthdub_tui.dashboard.widgets.detail_pane import describe_cell
from synthdub_tui.ipc.protocol import DubRef, ShownDub
from synthdub_tui.jobs import failure_codes
from synthdub_tui.jobs.model import (
    PAID_STEPS,
    DubState,
    FailureScope,
    Hold,
    Job,
    ObservedProject,
    ObservedStatus,
    RetryStep,
    UnknownStatus,
    WaitReason,
)
from synthdub_tui.jobs.retry_policy import RetryCost, RetryPolicy, bill_if_cancelled, dub_fingerprint, policy_for
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
from synthdub_tui.settings.resolve import resolve_settings
from tests.dub_refs import shown_dubs
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NOW,
    cancel_dub,
    complete_language,
    done_job,
    dubbing_job,
    error_language,
    job_with_failed_download,
    job_with_failed_language,
    job_with_failed_project,
    job_with_failed_source,
    job_with_unknown_addition,
    observed_project,
    queued_job,
    submitting_job,
    unknown_job,
    uploaded_job,
)

FAILURE_CODES = ("processing_error", "moderation", "invalid_target_language", "video_duration_limit_reached", "new_to_us")


@pytest.fixture(autouse=True)
def claims_stay_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other batches keep their claims."""
    monkeypatch.setattr(request_handlers, "is_claimed", lambda output, now: True)


def possible_changes(job: Job) -> Iterator[Job]:
    """What the user, the service and accidents may do to a job of one language next."""
    (language,) = job.dubs
    dub = job.dubs[language]
    yield retry.retry_dub(job, language, NOW)
    yield cancellation.cancel_dub(job, language, NOW)
    yield restart.resume_job(job, NOW)
    if job.submission is not None:
        yield submission.record_unknown_outcome(job, NOW)
        yield submission.record_not_sent(job)
        for code, detail in (
            ("request_refused", ""),
            ("request_refused", "moderation"),
            ("language_refused", FAILURE_CODES[2]),
        ):
            yield submission.record_rejected(job, code, detail, {}, NOW)
        if job.submission.project:
            yield submission.record_locales_added(job, {language: "v2"}, {}, NOW)
            yield submission.record_locales_added(job, {}, {}, NOW)
        else:
            yield submission.record_project_created(job, f"p{len(job.projects) + 1}", NOW)
    elif language in job.unsent_languages:
        for reason in (WaitReason.ALREADY_PAID, WaitReason.CLAIMED):
            yield holds.hold_dub(job, language, Hold(reason, NOW))
        for code in ("source_missing", "not_a_video", failure_codes.NO_AUDIO, "media_type"):
            yield source_changes.fail_unsent_dubs(job, code, "", NOW)
        if job.asset is not None and job.asset.ready:
            yield submission.record_intent(job, [language], dub.project if dub.next_rung is RetryStep.ADD_LANGUAGE else "", NOW)
        elif job.asset is None:
            yield upload.record_asset_ready(upload.record_asset_uploaded(upload.record_asset_created(job, "a2", NOW)), "")
    if dub.state in (DubState.DUBBING, DubState.UNKNOWN) and dub.project:
        yield observation.record_project_not_found(job, dub.project, "", NOW)
        yield observation.apply_project(job, dub.project, observed_project(complete_language(language)), NOW)
        for code in FAILURE_CODES:
            yield observation.apply_project(job, dub.project, observed_project(error_language(language, code)), NOW)
            yield observation.apply_project(job, dub.project, ObservedProject(ObservedStatus.ERROR, code), NOW)
    if retry.can_check_for_free(dub):
        yield retry.check_again(job, language, NOW)
    if dub.state is DubState.READY:
        yield dub_states.fail_dub(job, language, "disk_full", "", FailureScope.DOWNLOAD, NOW)


def kind_of_dub(job: Job) -> tuple[object, ...]:
    (dub,) = job.dubs.values()
    failure = dub.failure and (dub.failure.code, dub.failure.scope, dub.failure.detail)
    hold = dub.hold and dub.hold.reason
    facts = (dub.state, bool(dub.project), dub.next_rung, frozenset(dub.tried), failure, hold, frozenset(dub.agreed), dub.erred)
    asset = job.asset and (job.asset.ready, job.asset.uploaded)
    return (*facts, asset, job.submission is None, job.projects.get(dub.project) == "", len(job.refused))


def find_reachable_jobs() -> list[Job]:
    """A job for each kind of dub that some way through the domain leads to."""
    found: dict[tuple[object, ...], Job] = {}
    line = [queued_job(FR), done_job(FR)]
    while line:
        job = line.pop()
        if kind_of_dub(job) not in found and len(job.refused) < 2:
            found[kind_of_dub(job)] = job
            line += possible_changes(job)
    return list(found.values())


@pytest.fixture(scope="module")
def reachable_jobs() -> list[Job]:
    found = find_reachable_jobs()
    assert {job.dubs[FR].state for job in found} >= set(DubState) - {DubState.DOWNLOADING}
    assert {policy_for(job, FR).cost for job in found} == set(RetryCost)
    return found


def detail_text(job: Job) -> str:
    """What the dashboard's details say."""
    batch = GridModel()
    batch.update_jobs([job])
    lines = describe_cell(batch, job.id, FR, NOW, drawn.UNICODE_SIGNS)
    return "\n".join("".join(span for span, _ in line) for line in lines)


def group_in_question(job: Job, *, named: bool) -> str:
    cell = DubRef(job.id, FR)
    chosen = request_handlers.plan_retries({job.id: job}, [cell] if named else [], [] if named else [cell], lambda path: True)
    return next((word for word, found in vars(chosen).items() if found), "")


def test_every_interface_describes_a_retry_the_same_way(reachable_jobs: list[Job]) -> None:
    for job in reachable_jobs:
        means, dub = policy_for(job, FR), job.dubs[FR]
        offered = means.step is not None and dub.state is not DubState.DONE
        said = detail_text(job)
        assert ("r retry " in said) == offered
        assert not offered or retry_text.describe_retry(means) in said
        assert ("asks you first" in said) == (offered and means.never_in_bulk)
        assert status._dub(job, FR, False).get("retry", "") == (means.script_label if offered else "")
        assert group_in_question(job, named=False) == expected_group(means, named=False)
        assert group_in_question(job, named=True) == expected_group(means, named=True)


def expected_group(means: RetryPolicy, *, named: bool) -> str:
    if means.step is None:
        return ""
    if means.never_in_bulk and not named:
        return "only_if_named"
    return "needs_consent" if means.must_ask else "without_asking"


def test_the_runner_does_what_was_said_and_nothing_that_had_to_be_asked(reachable_jobs: list[Job]) -> None:
    for job in reachable_jobs:
        means = policy_for(job, FR)
        put: list[Job] = []
        batch = {job.id: job}
        outcome = request_handlers.retry(
            batch, shown_dubs(batch, [DubRef(job.id, FR)]), False, NOW, put.append, lambda path: True
        )
        assert (outcome.retried, outcome.needs_paid) == (int(bool(means.step) and not means.must_ask), int(means.must_ask))
        assert all(
            FR not in after.unsent_languages for after in put[outcome.retried :]
        )  # what was left alone may be looked for
        again = request_handlers.retry(batch, shown_dubs(batch, [DubRef(job.id, FR)]), True, NOW, put.append, lambda path: True)
        assert again.retried == int(means.step is not None)


def test_what_may_be_paid_again_or_endangers_the_account_is_always_asked_about(reachable_jobs: list[Job]) -> None:
    for job in reachable_jobs:
        means = policy_for(job, FR)
        assert means.must_ask == (means.step in PAID_STEPS or means.resends_refused_content)
        assert means.never_in_bulk == (
            means.cost in (RetryCost.MAY_PAY_TWICE, RetryCost.USELESS) or means.resends_refused_content
        )
        assert means.cost is not RetryCost.FREE or means.step in (None, RetryStep.DOWNLOAD)


def test_a_first_submission_is_never_called_free(reachable_jobs: list[Job]) -> None:
    first = [job for job in reachable_jobs if policy_for(job, FR).cost is RetryCost.FIRST_PAYMENT]
    assert first
    for job in first:
        assert policy_for(job, FR).script_label != "free" and "free" not in retry_text.describe_retry(policy_for(job, FR))


def test_what_costs_nothing_sends_nothing_that_is_paid(reachable_jobs: list[Job]) -> None:
    for job in reachable_jobs:
        if policy_for(job, FR).cost is RetryCost.FREE and policy_for(job, FR).step is not None:
            assert FR not in retry.retry_dub(job, FR, NOW).unsent_languages


@pytest.mark.parametrize(
    ("job", "language", "means"),
    [
        (
            cancel_dub(job_with_unknown_addition(DE), DE),
            DE,
            RetryPolicy(RetryStep.ADD_LANGUAGE, RetryCost.MAY_PAY_TWICE, True, True, "submission_unknown"),
        ),
        (unknown_job(FR), FR, RetryPolicy(RetryStep.NEW_PROJECT, RetryCost.MAY_PAY_TWICE, True, True, "submission_unknown")),
        (
            cancel_dub(retry.retry_dub(unknown_job(FR), FR, NOW), FR),
            FR,
            RetryPolicy(RetryStep.NEW_PROJECT, RetryCost.MAY_PAY_TWICE, True, True, "submission_unknown"),
        ),
        (job_with_failed_language(FR), FR, RetryPolicy(RetryStep.ADD_LANGUAGE, RetryCost.PAID_AGAIN, True)),
        (
            job_with_failed_language(FR, code="moderation"),
            FR,
            RetryPolicy(RetryStep.ADD_LANGUAGE, RetryCost.PAID_AGAIN, True, True, "moderation"),
        ),
        (
            cancel_dub(retry.retry_dub(job_with_failed_language(FR, code="moderation"), FR, NOW), FR),
            FR,
            RetryPolicy(RetryStep.ADD_LANGUAGE, RetryCost.PAID_AGAIN, True, True, "moderation"),
        ),
        (
            job_with_failed_project(FR, code="video_duration_limit_reached"),
            FR,
            RetryPolicy(RetryStep.NEW_PROJECT, RetryCost.USELESS, True, True, "video_duration_limit_reached"),
        ),
        (
            submission.record_rejected(submitting_job(FR), "language_refused", "", {FR: "invalid_target_language"}, NOW),
            FR,
            RetryPolicy(RetryStep.SUBMIT, RetryCost.USELESS, False, True, "invalid_target_language"),
        ),
        (
            source_changes.fail_unsent_dubs(uploaded_job(FR), "no_audio", "", NOW),
            FR,
            RetryPolicy(RetryStep.SUBMIT, RetryCost.USELESS, False, True, "no_audio"),
        ),
        (job_with_failed_source(FR), FR, RetryPolicy(RetryStep.SUBMIT, RetryCost.FIRST_PAYMENT)),
        (job_with_failed_download(FR), FR, RetryPolicy(RetryStep.DOWNLOAD, RetryCost.FREE)),
    ],
)
def test_what_a_retry_means(job: Job, language: str, means: RetryPolicy) -> None:
    assert policy_for(job, language) == means


def test_another_file_need_not_fail_again() -> None:
    job = source_changes.fail_unsent_dubs(queued_job(FR), "not_a_video", "", NOW)
    assert policy_for(job, FR).never_in_bulk and not policy_for(job, FR, source_edited=True).never_in_bulk


# -- consent is for what was shown -----------------------------------------------------------------------------------------


def retry_as_shown(shown: Job, now: Job) -> request_handlers.RetryResult:
    """The user agreed to what he saw of a job that is another by now."""
    return request_handlers.retry(
        {now.id: now}, shown_dubs({shown.id: shown}, [DubRef(shown.id, FR)]), True, NOW, pytest.fail, lambda _: True
    )


@pytest.mark.parametrize(
    "turn",
    [
        lambda job: submission.record_unknown_outcome(
            submission.record_intent(retry.retry_dub(job, FR, NOW), [FR], "p1", NOW), NOW + 1
        ),
        lambda job: retry.retry_dub(job, FR, NOW),
        lambda job: job_with_failed_language(FR, code="moderation"),
        lambda job: cancellation.cancel_dub(retry.retry_dub(job, FR, NOW), FR, NOW),
        lambda job: dub_states.record_moderation(job, "", "violence", NOW + 1),
        lambda job: replace(job, projects={"p1": ""}),
    ],
    ids=["unknown", "retried by another", "refused by moderation", "given up", "refused as a whole", "project closed"],
)
def test_consent_is_void_once_the_dub_is_another(turn: Callable[[Job], Job]) -> None:
    shown = job_with_failed_language(FR)
    assert retry_as_shown(shown, turn(shown)) == (0, 0, (DubRef(shown.id, FR),))


def test_consent_is_void_once_moderation_refused_the_video_whole() -> None:
    """Another language of it: the dub itself stands as it was shown, but sending it now endangers the account."""
    shown = creation.add_targets(job_with_failed_language(FR), [ES], NOW)
    now = submission.record_rejected(
        submission.record_intent(shown, [ES], "p1", NOW), "request_refused", "moderation", {}, NOW + 1
    )
    assert now.dubs[FR] == shown.dubs[FR]
    assert retry_as_shown(shown, now) == (0, 0, (DubRef(shown.id, FR),))


def test_consent_to_ignore_the_claim_of_one_batch_is_void_for_another_batch() -> None:
    ann, bob = (holds.hold_dub(queued_job(FR), FR, Hold(WaitReason.CLAIMED, NOW, owner)) for owner in ("ann@mac", "bob@mac"))
    assert retry_as_shown(ann, bob) == (0, 0, (DubRef(ann.id, FR),))


def test_a_claim_that_is_found_again_leaves_the_consent_valid() -> None:
    first, again = (holds.hold_dub(queued_job(FR), FR, Hold(WaitReason.CLAIMED, at, "ann@mac")) for at in (NOW, NOW + 60))
    assert dub_fingerprint(first, FR) == dub_fingerprint(again, FR)


def test_consent_that_does_not_say_what_was_shown_is_none() -> None:
    job = job_with_failed_language(FR)
    assert request_handlers.retry({job.id: job}, [ShownDub(job.id, FR)], True, NOW, pytest.fail, lambda _: True) == (0, 1, ())


def test_a_cancel_that_would_leave_a_bill_that_was_not_shown_is_not_done() -> None:
    shown, now = queued_job(FR), dubbing_job(FR)
    assert (bill_if_cancelled(shown, FR), bill_if_cancelled(now, FR), bill_if_cancelled(unknown_job(FR), FR)) == (
        "nothing",
        "accepted",
        "perhaps",
    )
    cells = [ShownDub(now.id, FR, bill_if_cancelled(shown, FR))]
    assert request_handlers.cancel({now.id: now}, cells, NOW, pytest.fail) == (0, [DubRef(now.id, FR)])


def test_what_changed_is_not_removed() -> None:
    job = job_with_failed_language(FR)
    again = dub_states.fail_dub(retry.retry_dub(job, FR, NOW), FR, "source_missing", "", FailureScope.SOURCE, NOW + 1)
    outcome = request_handlers.remove(
        {job.id: again}, shown_dubs({job.id: job}, [DubRef(job.id, FR)]), True, pytest.fail, lambda _: True
    )
    assert (outcome.count, outcome.changed) == (0, [DubRef(job.id, FR)])


def test_a_pending_request_looks_the_same_when_viewed_twice() -> None:
    first, second = restart.resume_job(submitting_job(FR, ES), NOW + 5), restart.resume_job(submitting_job(FR, ES), NOW + 90)
    assert dub_fingerprint(first, FR) == dub_fingerprint(second, FR)
    assert first.dubs[FR].state is DubState.UNKNOWN


def test_a_claimed_dub_goes_on_without_a_question_once_the_claim_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    job = holds.hold_dub(queued_job(FR), FR, Hold(WaitReason.CLAIMED, NOW))
    batch, put = {job.id: job}, list[Job]()
    cells = shown_dubs(batch, [DubRef(job.id, FR)])
    assert request_handlers.retry(batch, cells, False, NOW, put.append, lambda _: True) == (0, 1, ())
    monkeypatch.setattr(request_handlers, "is_claimed", lambda output, now: False)
    assert request_handlers.retry(batch, cells, False, NOW, put.append, lambda _: True) == (1, 0, ())
    (after,) = put
    assert (after.dubs[FR].hold, after.dubs[FR].agreed) == (None, ())  # a new claim would hold it again


def test_status_names_what_a_dub_waits_for_and_a_status_that_the_program_does_not_know() -> None:
    held = holds.hold_dub(queued_job(FR), FR, Hold(WaitReason.ALREADY_PAID, NOW, "a.mp4 in /state, project p1"))
    odd = dubbing_job(FR)
    odd = replace(
        odd, dubs={FR: replace(odd.dubs[FR], odd=UnknownStatus("on_hold", NOW, observation.MIN_UNKNOWN_STATUS_POLLS))}
    )
    for job, code, words in ((held, "already_paid", "for a.mp4 in /state, project p1"), (odd, "status_unknown", "on_hold")):
        assert words in status._dub(job, FR, False)["problem"]["detail"]
        lines = "\n".join(status._status_lines(status_settings(), [job], None, None, False))
        assert f"[{code}]" in lines and words in lines


def status_settings() -> Settings:
    return resolve_settings({"config": "/dev/null", "state_dir": "/nowhere"}, {})
