"""Retrying, rung by rung: download, add to the project, new project, new upload; each only when the one before cannot help."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.model import PAID_STEPS, DubState, FailureScope, Job, ObservedProject, ObservedStatus, RetryStep
from synthdub_tui.jobs.reconcile import Download, LookUpReceipts, PollProject, Submit, Upload, needed_activities
from synthdub_tui.jobs.retry_policy import policy_for
from synthdub_tui.jobs.transitions import dub_states, observation, retry, source_changes, submission, upload
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NEWER_SOURCE,
    NOW,
    cancel_dub,
    complete_language,
    done_job,
    downloading_job,
    dubbing_job,
    error_language,
    job_with_failed_download,
    job_with_failed_language,
    job_with_failed_project,
    job_with_failed_source,
    job_with_unknown_addition,
    observed_project,
    queued_job,
    ready_job,
    submitting_job,
    unknown_job,
    uploaded_job,
)


def refused_job(*targets: str) -> Job:
    return submission.record_rejected(submitting_job(*targets), "request_refused", "no", {}, NOW)


def retry_step(job: Job, language: str = FR) -> RetryStep | None:
    return retry.cheapest_step(job.dubs[language])


def retry_dub(job: Job, language: str = FR) -> Job:
    return retry.retry_dub(job, language, NOW)


# -- the first step of each situation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "rung"),
    [
        (queued_job(FR), None),
        (dubbing_job(FR), None),
        (ready_job(FR), None),
        (downloading_job(FR), None),
        (done_job(FR), RetryStep.DOWNLOAD),
        (job_with_failed_download(FR), RetryStep.DOWNLOAD),
        (job_with_failed_source(FR), RetryStep.SUBMIT),
        (refused_job(FR), RetryStep.SUBMIT),
        (job_with_failed_language(FR), RetryStep.ADD_LANGUAGE),
        (job_with_failed_language(FR, code="moderation"), RetryStep.ADD_LANGUAGE),
        (job_with_failed_project(FR), RetryStep.NEW_PROJECT),
        (observation.record_project_not_found(dubbing_job(FR), "p1", "", NOW), RetryStep.DOWNLOAD),
        (unknown_job(FR), RetryStep.NEW_PROJECT),
        (cancel_dub(queued_job(FR), FR), RetryStep.SUBMIT),
        (cancel_dub(dubbing_job(FR), FR), RetryStep.DOWNLOAD),
        (cancel_dub(ready_job(FR), FR), RetryStep.DOWNLOAD),
        (cancel_dub(downloading_job(FR), FR), RetryStep.DOWNLOAD),
        (cancel_dub(unknown_job(FR), FR), RetryStep.NEW_PROJECT),
    ],
)
def test_the_cheapest_rung_that_may_help(job: Job, rung: RetryStep | None) -> None:
    assert retry_step(job) is rung
    assert policy_for(job, FR).must_ask == (rung in PAID_STEPS or _failure_code(job) == "moderation")


def _failure_code(job: Job) -> str:
    failure = job.dubs[FR].failure
    return failure.code if failure else ""


def test_an_unknown_addition_is_added_again_if_the_user_says_so() -> None:
    job = job_with_unknown_addition(DE)
    assert retry_step(job, DE) is RetryStep.ADD_LANGUAGE
    assert policy_for(job, DE).must_ask
    assert needed_activities(retry_dub(job, DE)) == [Submit((DE,), "p1")]


@pytest.mark.parametrize("job", [queued_job(FR), dubbing_job(FR), ready_job(FR), downloading_job(FR)])
def test_a_dub_in_progress_cannot_be_retried(job: Job) -> None:
    assert retry_dub(job) is job


# -- what a retry does ---------------------------------------------------------------------------------------------------


def test_download_again_is_free_and_continues() -> None:
    job = retry_dub(job_with_failed_download(FR))
    assert job.dubs[FR].state is DubState.READY
    assert job.dubs[FR].part is not None
    assert job.dubs[FR].failure is None
    assert needed_activities(job) == [Download(FR)]


def test_a_finished_dub_whose_file_is_missing_is_downloaded_again() -> None:
    job = retry_dub(done_job(FR))
    assert needed_activities(job) == [Download(FR)]
    assert job.dubs[FR].output is not None  # what may be replaced


def test_a_cancelled_dub_that_was_accepted_is_looked_up_in_its_project() -> None:
    job = retry_dub(cancel_dub(downloading_job(FR), FR))
    assert needed_activities(job) == [PollProject("p1")]
    assert observation.apply_project(job, "p1", observed_project(complete_language(FR)), NOW).dubs[FR].state is DubState.READY


def test_a_download_whose_project_is_gone_is_polled_once_then_dubbed_again() -> None:
    job = dub_states.fail_dub(downloading_job(FR), FR, "project_not_found", "", FailureScope.DOWNLOAD, NOW)
    job = retry_dub(job)
    assert needed_activities(job) == [PollProject("p1")]
    job = observation.record_project_not_found(job, "p1", "", NOW)
    assert retry_step(job) is RetryStep.NEW_PROJECT


def test_a_cancelled_dub_that_was_never_sent_goes_with_a_first_submission() -> None:
    assert needed_activities(retry_dub(cancel_dub(uploaded_job(FR), FR))) == [Submit((FR,), "")]
    assert needed_activities(retry_dub(cancel_dub(queued_job(FR), FR))) == [Upload(0)]


def test_after_a_failing_source_everything_starts_over() -> None:
    job = retry_dub(job_with_failed_source(FR))
    assert job.uploads == 0
    assert needed_activities(job) == [Upload(0)]


def test_after_a_refusal_the_request_is_sent_again() -> None:
    assert needed_activities(retry_dub(refused_job(FR))) == [Submit((FR,), "")]


def test_a_refused_retry_stays_on_its_rung() -> None:
    job = submission.record_intent(retry_dub(job_with_failed_project(FR)), [FR], "", NOW)
    job = submission.record_rejected(job, "request_refused", "", {}, NOW)
    assert retry_step(job) is RetryStep.NEW_PROJECT
    assert policy_for(job, FR).must_ask


# -- up the whole ladder -------------------------------------------------------------------------------------------------


def fail_in_project(job: Job, project: str, video: str) -> Job:
    return observation.apply_project(job, project, observed_project(error_language(FR, video=video), complete=True), NOW)


def test_rung_by_rung() -> None:
    job = job_with_failed_language(FR, ES)
    assert retry_step(job) is RetryStep.ADD_LANGUAGE
    job = retry_dub(job)
    assert needed_activities(job) == [Submit((FR,), "p1")]
    job = submission.record_locales_added(submission.record_intent(job, [FR], "p1", NOW), {FR: "v2"}, {}, NOW)
    job = fail_in_project(job, "p1", "v2")

    assert retry_step(job) is RetryStep.NEW_PROJECT
    job = retry_dub(job)
    assert needed_activities(job) == [Submit((FR,), "")]
    job = submission.record_project_created(submission.record_intent(job, [FR], "", NOW), "p2", NOW)
    assert job.projects == {"p1": "a1", "p2": "a1"}
    assert needed_activities(job) == [PollProject("p2")]
    job = fail_in_project(job, "p2", "v3")

    assert retry_step(job) is RetryStep.NEW_UPLOAD
    job = retry_dub(job)
    assert needed_activities(job) == [Upload(1)]
    job = upload.record_asset_ready(upload.record_asset_created(job, "a2", NOW), "")
    assert needed_activities(job) == [Submit((FR,), "")]
    job = submission.record_project_created(submission.record_intent(job, [FR], "", NOW), "p3", NOW)
    job = fail_in_project(job, "p3", "v4")

    assert retry_step(job) is RetryStep.NEW_UPLOAD  # the last rung may be climbed again
    assert job.dubs[FR].tried == (RetryStep.ADD_LANGUAGE, RetryStep.NEW_PROJECT, RetryStep.NEW_UPLOAD)
    assert needed_activities(retry_dub(job)) == [Upload(2)]
    assert job.dubs[ES].state is DubState.FAILED  # untouched by all of it


def test_after_a_failed_project_only_a_new_upload_is_left() -> None:
    job = submission.record_project_created(
        submission.record_intent(retry_dub(job_with_failed_project(FR)), [FR], "", NOW), "p2", NOW
    )
    assert (
        retry_step(observation.apply_project(job, "p2", ObservedProject(ObservedStatus.ERROR, "processing_error"), NOW))
        is RetryStep.NEW_UPLOAD
    )


def test_a_new_upload_for_two_languages_is_one() -> None:
    job = job_with_failed_project(FR, ES)
    for language in (FR, ES):
        job = retry_dub(job, language)
    job = submission.record_project_created(submission.record_intent(job, [FR, ES], "", NOW), "p2", NOW)
    job = observation.apply_project(job, "p2", ObservedProject(ObservedStatus.ERROR, "processing_error"), NOW)
    for language in (FR, ES):
        job = retry_dub(job, language)
    assert needed_activities(job) == [Upload(1)]


def test_an_error_in_a_new_project_counts_at_once() -> None:
    """The old project's error is no reason to doubt that of the new one."""
    job = job_with_failed_language(FR, video="")
    job = submission.record_locales_added(submission.record_intent(retry_dub(job), [FR], "p1", NOW), {FR: "v2"}, {}, NOW)
    job = retry_dub(fail_in_project(job, "p1", "v2"))
    job = submission.record_project_created(submission.record_intent(job, [FR], "", NOW), "p2", NOW)
    assert fail_in_project(job, "p2", "").dubs[FR].state is DubState.FAILED


def test_unknown_then_retried_by_a_new_project() -> None:
    job = retry_dub(unknown_job(FR, ES))
    assert needed_activities(job) == [Submit((FR,), ""), LookUpReceipts((ES,))]
    assert job.dubs[ES].state is DubState.UNKNOWN


def test_unknown_then_cancelled_then_wanted_again_says_that_it_may_pay_twice() -> None:
    job = cancel_dub(unknown_job(FR), FR)
    assert policy_for(job, FR).must_ask
    failure = job.dubs[FR].failure
    assert failure is not None
    assert failure.code == "submission_unknown"


def test_a_moderated_dub_is_retried_only_after_a_decision_on_every_rung() -> None:
    job = job_with_failed_language(FR, code="moderation")
    assert policy_for(job, FR).must_ask
    refusal = submission.record_rejected(submitting_job(FR), "request_refused", "moderation", {}, NOW)
    assert retry_step(refusal) is RetryStep.SUBMIT
    assert policy_for(refusal, FR).must_ask


def test_a_language_waiting_to_be_added_to_a_project_that_is_gone_gets_a_new_one() -> None:
    job = observation.apply_project(dubbing_job(FR, ES), "p1", observed_project(error_language(FR)), NOW)
    waiting = observation.record_project_not_found(retry_dub(job), "p1", "", NOW)
    assert waiting.dubs[FR].next_rung is RetryStep.NEW_PROJECT
    later = retry_dub(observation.record_project_not_found(job, "p1", "", NOW))
    assert later.dubs[FR].next_rung is RetryStep.NEW_PROJECT


def test_a_retry_that_was_cancelled_before_it_was_sent_is_the_same_step_again() -> None:
    """Its project still lists the failure of the try before: following that would wait for nothing."""
    waiting = retry_dub(job_with_failed_language(FR))
    again = cancel_dub(waiting, FR)
    assert retry_step(again) is RetryStep.ADD_LANGUAGE
    assert policy_for(again, FR).must_ask
    assert needed_activities(retry_dub(again)) == needed_activities(waiting)
    assert retry_dub(again).dubs[FR].tried == (RetryStep.ADD_LANGUAGE,)


def test_a_language_that_failed_before_a_renewal_is_retried_with_the_new_version() -> None:
    """Its project is of the old version: adding it there would dub what the user has replaced."""
    job = source_changes.start_new_version(job_with_failed_language(FR), NEWER_SOURCE, [ES], NOW)
    again = retry_dub(job)
    assert again.dubs[FR].next_rung is RetryStep.NEW_PROJECT
    assert needed_activities(again) == [Upload(1)]
