"""Retrying, rung by rung: download, add to the project, new project, new upload; each only when the one before cannot help."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.model import PAID, DubState, Job, ProjectSeen, Rung, Scope, SeenState
from synthdub_tui.jobs.reconcile import Deliver, Download, Recall, Submit, Watch, activities
from synthdub_tui.jobs.retry_policy import policy
from synthdub_tui.jobs.transitions import dub_states, observation, retry, source_changes, submission, upload
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NEWER,
    NOW,
    asked,
    cancelled,
    complete,
    delivered,
    done,
    downloading,
    dubbing,
    erred,
    failed_download,
    failed_language,
    failed_project,
    failed_source,
    listing,
    queued,
    ready,
    unknown,
    unknown_addition,
)


def refused(*targets: str) -> Job:
    return submission.refused(asked(*targets), "request_refused", "no", {}, NOW)


def step(job: Job, language: str = FR) -> Rung | None:
    return retry.rung(job.dubs[language])


def retried(job: Job, language: str = FR) -> Job:
    return retry.retried(job, language, NOW)


# -- the first step of each situation ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "rung"),
    [
        (queued(FR), None),
        (dubbing(FR), None),
        (ready(FR), None),
        (downloading(FR), None),
        (done(FR), Rung.DOWNLOAD),
        (failed_download(FR), Rung.DOWNLOAD),
        (failed_source(FR), Rung.SUBMIT),
        (refused(FR), Rung.SUBMIT),
        (failed_language(FR), Rung.ADD),
        (failed_language(FR, code="moderation"), Rung.ADD),
        (failed_project(FR), Rung.PROJECT),
        (observation.project_lost(dubbing(FR), "p1", "", NOW), Rung.DOWNLOAD),
        (unknown(FR), Rung.PROJECT),
        (cancelled(queued(FR), FR), Rung.SUBMIT),
        (cancelled(dubbing(FR), FR), Rung.DOWNLOAD),
        (cancelled(ready(FR), FR), Rung.DOWNLOAD),
        (cancelled(downloading(FR), FR), Rung.DOWNLOAD),
        (cancelled(unknown(FR), FR), Rung.PROJECT),
    ],
)
def test_the_cheapest_rung_that_may_help(job: Job, rung: Rung | None) -> None:
    assert step(job) is rung
    assert policy(job, FR).must_ask == (rung in PAID or _code(job) == "moderation")


def _code(job: Job) -> str:
    failure = job.dubs[FR].failure
    return failure.code if failure else ""


def test_an_unknown_addition_is_added_again_if_the_user_says_so() -> None:
    job = unknown_addition(DE)
    assert step(job, DE) is Rung.ADD
    assert policy(job, DE).must_ask
    assert activities(retried(job, DE)) == [Submit((DE,), "p1")]


@pytest.mark.parametrize("job", [queued(FR), dubbing(FR), ready(FR), downloading(FR)])
def test_what_goes_on_by_itself_cannot_be_retried(job: Job) -> None:
    assert retried(job) is job


# -- what a retry does ---------------------------------------------------------------------------------------------------


def test_download_again_is_free_and_continues() -> None:
    job = retried(failed_download(FR))
    assert job.dubs[FR].state is DubState.READY
    assert job.dubs[FR].part is not None
    assert job.dubs[FR].failure is None
    assert activities(job) == [Download(FR)]


def test_a_finished_dub_whose_file_is_gone_is_fetched_again() -> None:
    job = retried(done(FR))
    assert activities(job) == [Download(FR)]
    assert job.dubs[FR].output is not None  # what may be replaced


def test_a_cancelled_dub_that_was_accepted_is_looked_up_in_its_project() -> None:
    job = retried(cancelled(downloading(FR), FR))
    assert activities(job) == [Watch("p1")]
    assert observation.observed(job, "p1", listing(complete(FR)), NOW).dubs[FR].state is DubState.READY


def test_a_download_whose_project_is_gone_is_looked_up_then_made_anew() -> None:
    job = dub_states.failed(downloading(FR), FR, "project_not_found", "", Scope.DOWNLOAD, NOW)
    job = retried(job)
    assert activities(job) == [Watch("p1")]
    job = observation.project_lost(job, "p1", "", NOW)
    assert step(job) is Rung.PROJECT


def test_a_cancelled_dub_that_was_never_sent_goes_with_a_first_submission() -> None:
    assert activities(retried(cancelled(delivered(FR), FR))) == [Submit((FR,), "")]
    assert activities(retried(cancelled(queued(FR), FR))) == [Deliver(0)]


def test_after_a_failing_source_everything_starts_over() -> None:
    job = retried(failed_source(FR))
    assert job.uploads == 0
    assert activities(job) == [Deliver(0)]


def test_after_a_refusal_the_request_is_sent_again() -> None:
    assert activities(retried(refused(FR))) == [Submit((FR,), "")]


def test_a_refused_retry_stays_on_its_rung() -> None:
    job = submission.intend(retried(failed_project(FR)), [FR], "", NOW)
    job = submission.refused(job, "request_refused", "", {}, NOW)
    assert step(job) is Rung.PROJECT
    assert policy(job, FR).must_ask


# -- up the whole ladder -------------------------------------------------------------------------------------------------


def fail_at(job: Job, project: str, video: str) -> Job:
    return observation.observed(job, project, listing(erred(FR, video=video), complete=True), NOW)


def test_rung_by_rung() -> None:
    job = failed_language(FR, ES)
    assert step(job) is Rung.ADD
    job = retried(job)
    assert activities(job) == [Submit((FR,), "p1")]
    job = submission.added(submission.intend(job, [FR], "p1", NOW), {FR: "v2"}, {}, NOW)
    job = fail_at(job, "p1", "v2")

    assert step(job) is Rung.PROJECT
    job = retried(job)
    assert activities(job) == [Submit((FR,), "")]
    job = submission.created(submission.intend(job, [FR], "", NOW), "p2", NOW)
    assert job.projects == {"p1": "a1", "p2": "a1"}
    assert activities(job) == [Watch("p2")]
    job = fail_at(job, "p2", "v3")

    assert step(job) is Rung.UPLOAD
    job = retried(job)
    assert activities(job) == [Deliver(1)]
    job = upload.asset_ready(upload.asset_created(job, "a2", NOW), "")
    assert activities(job) == [Submit((FR,), "")]
    job = submission.created(submission.intend(job, [FR], "", NOW), "p3", NOW)
    job = fail_at(job, "p3", "v4")

    assert step(job) is Rung.UPLOAD  # the last rung may be climbed again
    assert job.dubs[FR].tried == (Rung.ADD, Rung.PROJECT, Rung.UPLOAD)
    assert activities(retried(job)) == [Deliver(2)]
    assert job.dubs[ES].state is DubState.FAILED  # untouched by all of it


def test_after_a_failed_project_only_a_new_upload_is_left() -> None:
    job = submission.created(submission.intend(retried(failed_project(FR)), [FR], "", NOW), "p2", NOW)
    assert step(observation.observed(job, "p2", ProjectSeen(SeenState.ERROR, "processing_error"), NOW)) is Rung.UPLOAD


def test_a_new_upload_for_two_languages_is_one() -> None:
    job = failed_project(FR, ES)
    for language in (FR, ES):
        job = retried(job, language)
    job = submission.created(submission.intend(job, [FR, ES], "", NOW), "p2", NOW)
    job = observation.observed(job, "p2", ProjectSeen(SeenState.ERROR, "processing_error"), NOW)
    for language in (FR, ES):
        job = retried(job, language)
    assert activities(job) == [Deliver(1)]


def test_an_error_in_a_new_project_counts_at_once() -> None:
    """The old project's error is no reason to doubt that of the new one."""
    job = failed_language(FR, video="")
    job = submission.added(submission.intend(retried(job), [FR], "p1", NOW), {FR: "v2"}, {}, NOW)
    job = retried(fail_at(job, "p1", "v2"))
    job = submission.created(submission.intend(job, [FR], "", NOW), "p2", NOW)
    assert fail_at(job, "p2", "").dubs[FR].state is DubState.FAILED


def test_unknown_then_retried_by_a_new_project() -> None:
    job = retried(unknown(FR, ES))
    assert activities(job) == [Submit((FR,), ""), Recall((ES,))]
    assert job.dubs[ES].state is DubState.UNKNOWN


def test_unknown_then_cancelled_then_wanted_again_says_that_it_may_pay_twice() -> None:
    job = cancelled(unknown(FR), FR)
    assert policy(job, FR).must_ask
    failure = job.dubs[FR].failure
    assert failure is not None
    assert failure.code == "submission_unknown"


def test_a_moderated_dub_is_retried_only_after_a_decision_on_every_rung() -> None:
    job = failed_language(FR, code="moderation")
    assert policy(job, FR).must_ask
    refusal = submission.refused(asked(FR), "request_refused", "moderation", {}, NOW)
    assert step(refusal) is Rung.SUBMIT
    assert policy(refusal, FR).must_ask


def test_a_language_waiting_to_be_added_to_a_project_that_is_gone_gets_a_new_one() -> None:
    job = observation.observed(dubbing(FR, ES), "p1", listing(erred(FR)), NOW)
    waiting = observation.project_lost(retried(job), "p1", "", NOW)
    assert waiting.dubs[FR].next_rung is Rung.PROJECT
    later = retried(observation.project_lost(job, "p1", "", NOW))
    assert later.dubs[FR].next_rung is Rung.PROJECT


def test_a_retry_that_was_cancelled_before_it_was_sent_is_the_same_step_again() -> None:
    """Its project still lists the failure of the try before: following that would wait for nothing."""
    waiting = retried(failed_language(FR))
    again = cancelled(waiting, FR)
    assert step(again) is Rung.ADD
    assert policy(again, FR).must_ask
    assert activities(retried(again)) == activities(waiting)
    assert retried(again).dubs[FR].tried == (Rung.ADD,)


def test_a_language_that_failed_before_a_renewal_is_retried_with_the_new_version() -> None:
    """Its project is of the old version: adding it there would dub what the user has replaced."""
    job = source_changes.renew(failed_language(FR), NEWER, [ES], NOW)
    again = retried(job)
    assert again.dubs[FR].next_rung is Rung.PROJECT
    assert activities(again) == [Deliver(1)]
