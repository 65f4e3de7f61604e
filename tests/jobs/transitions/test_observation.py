"""What GET /v2/dubbing/{id} says, in every shape, and what becomes of a job's dubs by it."""

from __future__ import annotations

from typing import Any

import pytest

from synthdub_tui.jobs.language_entries import entries_of, requested_spelling, usable_entry
from synthdub_tui.jobs.model import (
    DubState,
    FailureScope,
    Job,
    ObservedLanguage,
    ObservedProject,
    ObservedStatus,
    RetryStep,
    Stage,
)
from synthdub_tui.jobs.reconcile import Download, LookUpReceipts, PollProject, Submit, extendable_project, needed_activities
from synthdub_tui.jobs.transitions import adoption, creation, observation, restart, retry, submission
from synthdub_tui.jobs.transitions.observation import (
    MAX_ABSENT_SECONDS,
    MAX_UNKNOWN_STATUS_SECONDS,
    OLD_ERROR_GRACE_SECONDS,
    UNKNOWN_PUT_GRACE_SECONDS,
)
from synthdub_tui.runner.project_observation import to_project_seen
from synthdub_tui.synthesia.schema import read_project
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NOW,
    complete_language,
    done_job,
    downloading_job,
    dubbing_job,
    error_language,
    job_with_failed_language,
    job_with_failed_project,
    job_with_unknown_addition,
    observed_project,
    ready_job,
    running_language,
    unknown_job,
)


def dub_state(job: Job, language: str = FR) -> DubState:
    return job.dubs[language].state


def resubmitted_job(video: str = "v1", answer: str = "v2") -> Job:
    """A failed language that was put to its project again, and accepted."""
    job = retry.retry_dub(job_with_failed_language(FR, video=video), FR, NOW)
    return submission.record_locales_added(submission.record_intent(job, [FR], "p1", NOW), {FR: answer}, {}, NOW)


# -- the plain way -------------------------------------------------------------------------------------------------------


def test_each_language_goes_its_own_way_while_the_project_runs() -> None:
    job = observation.apply_project(
        dubbing_job(FR, ES, DE),
        "p1",
        observed_project(complete_language(FR, "x"), error_language(ES, "moderation"), running_language(DE)),
        NOW,
    )
    assert (dub_state(job, FR), dub_state(job, ES), dub_state(job, DE)) == (DubState.READY, DubState.FAILED, DubState.DUBBING)
    assert job.dubs[FR].video == "x"
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.scope) == ("moderation", FailureScope.LANGUAGE)
    assert needed_activities(job) == [PollProject("p1"), Download(FR)]


def test_a_language_that_fails_inside_a_complete_project() -> None:
    job = observation.apply_project(
        dubbing_job(FR, ES), "p1", observed_project(complete_language(FR), error_language(ES), complete=True), NOW
    )
    assert (dub_state(job, FR), dub_state(job, ES)) == (DubState.READY, DubState.FAILED)
    assert needed_activities(job) == [Download(FR)]


def test_nothing_new_changes_nothing() -> None:
    job = observation.apply_project(dubbing_job(FR), "p1", observed_project(running_language(FR)), NOW)
    assert job.dubs[FR].video == "v1"
    assert observation.apply_project(job, "p1", observed_project(running_language(FR)), NOW + 1) == job
    assert (
        observation.apply_project(job, "p1", observed_project(running_language(FR, "")), NOW + 1) == job
    )  # an id once known stays


@pytest.mark.parametrize("spelling", ["fr-FR", "fr_fr", "FR-fr"])
def test_languages_are_compared_without_case(spelling: str) -> None:
    assert (
        dub_state(observation.apply_project(dubbing_job(FR), "p1", observed_project(complete_language(spelling)), NOW))
        is DubState.READY
    )


def test_a_language_that_was_not_requested_is_ignored() -> None:
    job = dubbing_job(FR)
    assert (
        observation.apply_project(
            job, "p1", observed_project(running_language(FR, ""), complete_language("ja"), error_language("ko")), NOW
        )
        == job
    )


def test_an_observation_of_another_project_is_ignored() -> None:
    job = dubbing_job(FR)
    assert observation.apply_project(job, "p2", observed_project(complete_language(FR)), NOW) == job


def test_a_project_that_fails_as_a_whole() -> None:
    job = job_with_failed_project(FR, ES, code="video_duration_limit_reached")
    for language in (FR, ES):
        failure = job.dubs[language].failure
        assert failure is not None
        assert (failure.code, failure.scope) == ("video_duration_limit_reached", FailureScope.PROJECT)
    assert job.stage is Stage.ENDED
    assert extendable_project(job) == ""


def test_a_failed_project_takes_no_more_languages_even_after_a_retry() -> None:
    job = retry.retry_dub(job_with_failed_project(FR), FR, NOW)
    job = creation.add_targets(job, [DE], NOW)
    assert needed_activities(job) == [Submit((FR, DE), "")]


@pytest.mark.parametrize("job", [ready_job(FR), downloading_job(FR), done_job(FR)])
@pytest.mark.parametrize(
    "news",
    [
        observed_project(running_language(FR)),
        observed_project(error_language(FR), complete=True),
        observed_project(complete=True),
        ObservedProject(ObservedStatus.ERROR, "processing_error"),
    ],
)
def test_a_later_poll_does_not_undo_a_ready_dub(job: Job, news: ObservedProject) -> None:
    assert observation.apply_project(job, "p1", news, NOW + 10 * MAX_ABSENT_SECONDS).dubs == job.dubs


# -- the shapes of the reference and of the guide ------------------------------------------------------------------------

ANSWER_SHAPES: dict[str, dict[str, Any]] = {
    "reference": {
        "status": "complete",
        "dubbedAssets": [
            {"id": "0b7e", "language": "fr-FR", "status": "complete", "download": "https://files.test/fr"},
            {"id": "0b7f", "language": "es-ES", "status": "error", "errorCode": "moderation"},
        ],
    },
    "guide": {
        "status": "COMPLETE",
        "dubbedVideos": [
            {"locale": "fr-fr", "status": "COMPLETED", "downloadUrl": "https://files.test/fr"},
            {"locale": "es_ES", "status": "ERROR", "errorCode": "moderation"},
        ],
    },
    "guide, other names": {
        "status": "completed",
        "dubbed": [
            {"locale": "fr-FR", "url": "https://files.test/fr"},
            {"locale": "es-ES", "error": "moderation"},
        ],
    },
}


@pytest.mark.parametrize("shape", ANSWER_SHAPES)
def test_the_reference_and_the_guide_say_the_same(shape: str) -> None:
    job = observation.apply_project(dubbing_job(FR, ES), "p1", to_project_seen(read_project(ANSWER_SHAPES[shape])), NOW)
    assert dub_state(job, FR) is DubState.READY
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.scope) == ("moderation", FailureScope.LANGUAGE)


def test_complete_without_a_url_goes_on_being_watched() -> None:
    news = to_project_seen(
        read_project({"status": "complete", "dubbedAssets": [{"id": "x", "language": "fr-FR", "status": "complete"}]})
    )
    job = observation.apply_project(dubbing_job(FR), "p1", news, NOW)
    assert needed_activities(job) == [PollProject("p1")]


# -- a language that is missing ------------------------------------------------------------------------------------------


def test_a_language_missing_in_a_running_project_is_waited_for() -> None:
    job = dubbing_job(FR)
    assert observation.apply_project(job, "p1", observed_project(complete_language(ES)), NOW + 10 * MAX_ABSENT_SECONDS) == job


def test_a_language_missing_in_a_complete_project_fails_after_a_while() -> None:
    job = observation.apply_project(dubbing_job(FR, ES), "p1", observed_project(complete_language(ES), complete=True), NOW)
    assert dub_state(job) is DubState.DUBBING
    job = observation.apply_project(
        job, "p1", observed_project(complete_language(ES), complete=True), NOW + MAX_ABSENT_SECONDS - 1
    )
    assert dub_state(job) is DubState.DUBBING
    job = observation.apply_project(job, "p1", observed_project(complete_language(ES), complete=True), NOW + MAX_ABSENT_SECONDS)
    failure = job.dubs[FR].failure
    assert failure is not None
    assert (failure.code, failure.scope) == ("missing_in_project", FailureScope.LANGUAGE)
    assert retry.cheapest_step(job.dubs[FR]) is RetryStep.ADD_LANGUAGE


def test_a_language_that_shows_up_late_is_forgiven() -> None:
    job = observation.apply_project(dubbing_job(FR), "p1", observed_project(complete=True), NOW)
    job = observation.apply_project(job, "p1", observed_project(running_language(FR), complete=True), NOW + 1)
    assert job.dubs[FR].absent_since == 0
    job = observation.apply_project(job, "p1", observed_project(complete=True), NOW + 2 * MAX_ABSENT_SECONDS)
    assert dub_state(job) is DubState.DUBBING


# -- errors of an earlier try --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("video", ["v1", ""])
def test_an_old_error_does_not_fail_the_new_attempt(video: str) -> None:
    job = resubmitted_job(video)
    job = observation.apply_project(job, "p1", observed_project(error_language(FR, video=video), complete=True), NOW + 1)
    assert dub_state(job) is DubState.DUBBING


def test_an_old_error_that_persists_fails_the_new_attempt() -> None:
    job = observation.apply_project(
        resubmitted_job(), "p1", observed_project(error_language(FR), complete=True), NOW + OLD_ERROR_GRACE_SECONDS
    )
    assert dub_state(job) is DubState.FAILED


def test_an_error_of_the_new_attempt_counts_at_once() -> None:
    job = observation.apply_project(
        resubmitted_job(), "p1", observed_project(error_language(FR, video="v2"), complete=True), NOW + 1
    )
    assert dub_state(job) is DubState.FAILED
    assert retry.cheapest_step(job.dubs[FR]) is RetryStep.NEW_PROJECT


def test_an_error_in_a_first_try_counts_at_once_even_without_an_id() -> None:
    assert (
        dub_state(observation.apply_project(dubbing_job(FR), "p1", observed_project(error_language(FR, video="")), NOW))
        is DubState.FAILED
    )


@pytest.mark.parametrize("answer", ["v2", ""])
@pytest.mark.parametrize("order", [1, -1])
def test_a_project_that_lists_both_tries(answer: str, order: int) -> None:
    both = [error_language(FR), running_language(FR, "v2")][::order]
    job = observation.apply_project(
        resubmitted_job(answer=answer), "p1", observed_project(*both), NOW + 2 * OLD_ERROR_GRACE_SECONDS
    )
    assert dub_state(job) is DubState.DUBBING
    both = [error_language(FR), complete_language(FR, "v2")][::order]
    assert (
        dub_state(observation.apply_project(job, "p1", observed_project(*both), NOW + 2 * OLD_ERROR_GRACE_SECONDS))
        is DubState.READY
    )


# -- unknown outcomes ----------------------------------------------------------------------------------------------------


def test_an_unknown_post_can_only_be_found_in_receipts() -> None:
    assert needed_activities(unknown_job(FR)) == [LookUpReceipts((FR,))]
    assert needed_activities(adoption.resolve_from_receipts(unknown_job(FR), FR, "", NOW)) == []


def test_each_start_looks_again_for_what_is_unknown() -> None:
    put = observation.apply_project(
        job_with_unknown_addition(), "p1", observed_project(complete_language(FR)), NOW + UNKNOWN_PUT_GRACE_SECONDS
    )
    for job, looking in (
        (put, PollProject("p1")),
        (adoption.resolve_from_receipts(unknown_job(FR), FR, "", NOW), LookUpReceipts((FR,))),
    ):
        assert needed_activities(job) == []
        assert needed_activities(restart.resume_job(job, NOW + 99)) == [looking]


def test_an_unknown_put_whose_language_is_complete_under_the_old_id_was_accepted() -> None:
    job = submission.record_unknown_outcome(
        submission.record_intent(retry.retry_dub(job_with_failed_language(FR), FR, NOW), [FR], "p1", NOW), NOW
    )
    assert dub_state(observation.apply_project(job, "p1", observed_project(complete_language(FR)), NOW)) is DubState.DUBBING


@pytest.mark.parametrize("entry", [running_language(DE), complete_language(DE), error_language(DE)])
def test_an_unknown_put_that_shows_in_its_project_was_accepted(entry: Any) -> None:
    job = job_with_unknown_addition()
    assert needed_activities(job) == [PollProject("p1")]
    job = observation.apply_project(job, "p1", observed_project(complete_language(FR), entry), NOW + 1)
    assert dub_state(job, DE) is DubState.DUBBING
    assert job.dubs[DE].failure is None


def test_an_unknown_put_that_does_not_show_stays_unknown_and_is_looked_for_no_more() -> None:
    job = observation.apply_project(
        job_with_unknown_addition(), "p1", observed_project(complete_language(FR)), NOW + UNKNOWN_PUT_GRACE_SECONDS - 1
    )
    assert needed_activities(job) == [PollProject("p1")]  # too early to believe it
    job = observation.apply_project(job, "p1", observed_project(complete_language(FR)), NOW + UNKNOWN_PUT_GRACE_SECONDS)
    assert dub_state(job, DE) is DubState.UNKNOWN
    assert needed_activities(job) == []
    assert observation.apply_project(job, "p1", observed_project(complete_language(FR)), NOW + 99) == job


@pytest.mark.parametrize("video", ["v1", ""])
def test_an_old_error_does_not_prove_that_an_unknown_put_arrived(video: str) -> None:
    job = retry.retry_dub(job_with_failed_language(FR, video=video), FR, NOW)
    job = submission.record_unknown_outcome(submission.record_intent(job, [FR], "p1", NOW), NOW)
    job = observation.apply_project(
        job, "p1", observed_project(error_language(FR, video=video)), NOW + UNKNOWN_PUT_GRACE_SECONDS
    )
    assert dub_state(job) is DubState.UNKNOWN
    assert needed_activities(job) == []
    new = observation.apply_project(job, "p1", observed_project(running_language(FR, "v2")), NOW + UNKNOWN_PUT_GRACE_SECONDS)
    assert dub_state(new) is DubState.DUBBING


# -- a project that is gone ----------------------------------------------------------------------------------------------


def test_a_lost_project_fails_what_it_was_dubbing() -> None:
    job = observation.record_project_not_found(dubbing_job(FR, ES), "p1", "404", NOW)
    for language in (FR, ES):
        failure = job.dubs[language].failure
        assert failure is not None
        assert (failure.code, failure.scope, failure.detail) == ("project_not_found", FailureScope.PROJECT, "404")
        assert retry.cheapest_step(job.dubs[language]) is RetryStep.DOWNLOAD
    assert extendable_project(job) == ""


def test_a_lost_project_is_looked_for_once_more_for_free() -> None:
    lost = observation.record_project_not_found(dubbing_job(FR), "p1", "404", NOW)
    again = retry.retry_dub(lost, FR, NOW)
    assert (dub_state(again, FR), needed_activities(again)) == (DubState.DUBBING, [PollProject("p1")])
    lost = observation.record_project_not_found(again, "p1", "404", NOW)
    assert retry.cheapest_step(lost.dubs[FR]) is RetryStep.NEW_PROJECT


def test_an_internal_error_while_polling_is_retried_by_a_free_poll() -> None:
    job = observation.fail_polled_dubs(dubbing_job(FR), "p1", NOW)
    assert job.dubs[FR].failure is not None
    assert job.dubs[FR].failure.code == "internal"
    again = retry.retry_dub(job, FR, NOW)
    assert needed_activities(again) == [PollProject("p1")]


def test_a_lost_project_leaves_what_is_finished_and_answers_nothing_about_the_unknown() -> None:
    job = observation.record_project_not_found(job_with_unknown_addition(), "p1", "404", NOW)
    assert (dub_state(job, FR), dub_state(job, DE)) == (DubState.DONE, DubState.UNKNOWN)
    assert needed_activities(job) == []


def test_the_loss_of_another_project_is_ignored() -> None:
    assert observation.record_project_not_found(dubbing_job(FR), "p2", "", NOW) == dubbing_job(FR)


# -- one language more than once, or under another code --------------------------------------------------------------------


@pytest.mark.parametrize("new", [running_language(FR, "v2"), complete_language(FR, "v2")])
@pytest.mark.parametrize("new_first", [True, False])
@pytest.mark.parametrize("job", [dubbing_job(FR), resubmitted_job(answer=""), resubmitted_job()])
def test_of_an_old_failure_and_a_new_dub_the_new_one_counts(job: Job, new: ObservedLanguage, new_first: bool) -> None:
    entries = (new, error_language(FR)) if new_first else (error_language(FR), new)
    seen = observation.apply_project(job, "p1", observed_project(*entries, complete=True), NOW)
    assert dub_state(seen) is (DubState.READY if new.state is ObservedStatus.COMPLETE else DubState.DUBBING)
    assert seen.dubs[FR].video == "v2"
    counts = usable_entry(entries_of(entries, FR, seen.dubs), seen.dubs[FR].video)
    assert counts is new  # for the download, too


def test_a_language_without_region_matches_the_requested_locale() -> None:
    assert (
        dub_state(observation.apply_project(dubbing_job(FR, ES), "p1", observed_project(complete_language("fr")), NOW), FR)
        is DubState.READY
    )


def test_a_language_without_region_matches_neither_of_two_locales() -> None:
    job = observation.apply_project(dubbing_job(FR, "fr-CA"), "p1", observed_project(complete_language("fr")), NOW)
    assert (dub_state(job, FR), dub_state(job, "fr-CA")) == (DubState.DUBBING, DubState.DUBBING)


def test_an_exact_locale_is_preferred_to_a_language_without_region() -> None:
    assert (
        dub_state(
            observation.apply_project(
                dubbing_job(FR), "p1", observed_project(complete_language("fr"), running_language("fr_fr")), NOW
            )
        )
        is DubState.DUBBING
    )


@pytest.mark.parametrize(("named", "own"), [("FR_fr", FR), ("fr", FR), ("es", "es"), ("de", "de")])
def test_what_a_request_is_answered_with_is_known_by_the_same_rule(named: str, own: str) -> None:
    assert requested_spelling(named, (FR, "es-ES", "es-MX")) == own


# -- words that nobody knows -----------------------------------------------------------------------------------------------

UNKNOWN_STATUS_LANGUAGE = ObservedLanguage(FR, ObservedStatus.RUNNING, "v1", oddity="on_hold")


@pytest.mark.parametrize(
    "odd", [observed_project(UNKNOWN_STATUS_LANGUAGE), ObservedProject(ObservedStatus.RUNNING, oddity="on_hold")]
)
def test_an_unknown_status_is_reported_once_after_three_polls(odd: ObservedProject) -> None:
    job, told = dubbing_job(FR), []
    for poll in range(6):
        before, job = job, observation.apply_project(job, "p1", odd, NOW + poll)
        told.append(observation.newly_unknown_statuses(before, job))
    assert told == [{}, {}, {FR: "on_hold"}, {}, {}, {}]
    assert dub_state(job) is DubState.DUBBING


def test_an_unknown_status_fails_after_two_days_and_a_retry_polls_once_for_free() -> None:
    job = observation.apply_project(dubbing_job(FR), "p1", observed_project(UNKNOWN_STATUS_LANGUAGE), NOW)
    job = observation.apply_project(job, "p1", observed_project(UNKNOWN_STATUS_LANGUAGE), NOW + MAX_UNKNOWN_STATUS_SECONDS)
    failure = job.dubs[FR].failure
    assert failure is not None
    assert (failure.code, failure.detail, retry.cheapest_step(job.dubs[FR])) == (
        "status_unknown",
        "on_hold",
        RetryStep.DOWNLOAD,
    )
    job = retry.retry_dub(job, FR, NOW + MAX_UNKNOWN_STATUS_SECONDS)
    assert needed_activities(job) == [PollProject("p1")]
    assert (
        dub_state(
            observation.apply_project(job, "p1", observed_project(complete_language(FR)), NOW + MAX_UNKNOWN_STATUS_SECONDS)
        )
        is DubState.READY
    )
    assert (
        dub_state(
            observation.apply_project(job, "p1", observed_project(UNKNOWN_STATUS_LANGUAGE), NOW + MAX_UNKNOWN_STATUS_SECONDS)
        )
        is DubState.FAILED
    )


def test_a_known_status_resets_the_count_of_unknown_ones() -> None:
    job = observation.apply_project(dubbing_job(FR), "p1", observed_project(UNKNOWN_STATUS_LANGUAGE), NOW)
    job = observation.apply_project(job, "p1", observed_project(running_language(FR)), NOW + 1)
    assert job.dubs[FR].odd is None
    assert (
        dub_state(
            observation.apply_project(job, "p1", observed_project(UNKNOWN_STATUS_LANGUAGE), NOW + MAX_UNKNOWN_STATUS_SECONDS)
        )
        is DubState.DUBBING
    )
