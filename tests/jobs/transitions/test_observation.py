"""What GET /v2/dubbing/{id} says, in every shape, and what becomes of a job's dubs by it."""

from __future__ import annotations

from typing import Any

import pytest

from synthdub_tui.jobs.language_entries import alive, entries_of, own_spelling
from synthdub_tui.jobs.model import DubState, Job, ProjectSeen, Rung, Scope, Seen, SeenState, Stage
from synthdub_tui.jobs.reconcile import Download, Recall, Submit, Watch, activities, live_project
from synthdub_tui.jobs.transitions import adoption, creation, observation, restart, retry, submission
from synthdub_tui.jobs.transitions.observation import ABSENT_LIMIT, ODD_LIMIT, STALE_LIMIT, UNKNOWN_GRACE
from synthdub_tui.runner.project_observation import seen_of
from synthdub_tui.synthesia.schema import read_project
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NOW,
    complete,
    done,
    downloading,
    dubbing,
    erred,
    failed_language,
    failed_project,
    listing,
    ready,
    running,
    unknown,
    unknown_addition,
)


def state(job: Job, language: str = FR) -> DubState:
    return job.dubs[language].state


def put_again(video: str = "v1", answer: str = "v2") -> Job:
    """A failed language that was put to its project again, and accepted."""
    job = retry.retried(failed_language(FR, video=video), FR, NOW)
    return submission.added(submission.intend(job, [FR], "p1", NOW), {FR: answer}, {}, NOW)


# -- the plain way -------------------------------------------------------------------------------------------------------


def test_each_language_goes_its_own_way_while_the_project_runs() -> None:
    job = observation.observed(dubbing(FR, ES, DE), "p1", listing(complete(FR, "x"), erred(ES, "moderation"), running(DE)), NOW)
    assert (state(job, FR), state(job, ES), state(job, DE)) == (DubState.READY, DubState.FAILED, DubState.DUBBING)
    assert job.dubs[FR].video == "x"
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.scope) == ("moderation", Scope.LANGUAGE)
    assert activities(job) == [Watch("p1"), Download(FR)]


def test_a_language_that_fails_inside_a_complete_project() -> None:
    job = observation.observed(dubbing(FR, ES), "p1", listing(complete(FR), erred(ES), complete=True), NOW)
    assert (state(job, FR), state(job, ES)) == (DubState.READY, DubState.FAILED)
    assert activities(job) == [Download(FR)]


def test_nothing_new_changes_nothing() -> None:
    job = observation.observed(dubbing(FR), "p1", listing(running(FR)), NOW)
    assert job.dubs[FR].video == "v1"
    assert observation.observed(job, "p1", listing(running(FR)), NOW + 1) == job
    assert observation.observed(job, "p1", listing(running(FR, "")), NOW + 1) == job  # an id once known stays


@pytest.mark.parametrize("spelling", ["fr-FR", "fr_fr", "FR-fr"])
def test_languages_are_compared_without_case(spelling: str) -> None:
    assert state(observation.observed(dubbing(FR), "p1", listing(complete(spelling)), NOW)) is DubState.READY


def test_a_language_nobody_asked_for_is_passed_over() -> None:
    job = dubbing(FR)
    assert observation.observed(job, "p1", listing(running(FR, ""), complete("ja"), erred("ko")), NOW) == job


def test_another_project_is_none_of_the_job() -> None:
    job = dubbing(FR)
    assert observation.observed(job, "p2", listing(complete(FR)), NOW) == job


def test_a_project_that_fails_as_a_whole() -> None:
    job = failed_project(FR, ES, code="video_duration_limit_reached")
    for language in (FR, ES):
        failure = job.dubs[language].failure
        assert failure is not None
        assert (failure.code, failure.scope) == ("video_duration_limit_reached", Scope.PROJECT)
    assert job.stage is Stage.ENDED
    assert live_project(job) == ""


def test_a_failed_project_takes_no_more_languages_even_after_a_retry() -> None:
    job = retry.retried(failed_project(FR), FR, NOW)
    job = creation.add_targets(job, [DE], NOW)
    assert activities(job) == [Submit((FR, DE), "")]


@pytest.mark.parametrize("job", [ready(FR), downloading(FR), done(FR)])
@pytest.mark.parametrize(
    "news",
    [
        listing(running(FR)),
        listing(erred(FR), complete=True),
        listing(complete=True),
        ProjectSeen(SeenState.ERROR, "processing_error"),
    ],
)
def test_what_is_ready_does_not_go_back(job: Job, news: ProjectSeen) -> None:
    assert observation.observed(job, "p1", news, NOW + 10 * ABSENT_LIMIT).dubs == job.dubs


# -- the shapes of the reference and of the guide ------------------------------------------------------------------------

SHAPES: dict[str, dict[str, Any]] = {
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


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_and_the_guide_say_the_same(shape: str) -> None:
    job = observation.observed(dubbing(FR, ES), "p1", seen_of(read_project(SHAPES[shape])), NOW)
    assert state(job, FR) is DubState.READY
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.scope) == ("moderation", Scope.LANGUAGE)


def test_complete_without_a_url_goes_on_being_watched() -> None:
    news = seen_of(
        read_project({"status": "complete", "dubbedAssets": [{"id": "x", "language": "fr-FR", "status": "complete"}]})
    )
    job = observation.observed(dubbing(FR), "p1", news, NOW)
    assert activities(job) == [Watch("p1")]


# -- a language that is missing ------------------------------------------------------------------------------------------


def test_a_language_missing_in_a_running_project_is_waited_for() -> None:
    job = dubbing(FR)
    assert observation.observed(job, "p1", listing(complete(ES)), NOW + 10 * ABSENT_LIMIT) == job


def test_a_language_missing_in_a_complete_project_fails_after_a_while() -> None:
    job = observation.observed(dubbing(FR, ES), "p1", listing(complete(ES), complete=True), NOW)
    assert state(job) is DubState.DUBBING
    job = observation.observed(job, "p1", listing(complete(ES), complete=True), NOW + ABSENT_LIMIT - 1)
    assert state(job) is DubState.DUBBING
    job = observation.observed(job, "p1", listing(complete(ES), complete=True), NOW + ABSENT_LIMIT)
    failure = job.dubs[FR].failure
    assert failure is not None
    assert (failure.code, failure.scope) == ("missing_in_project", Scope.LANGUAGE)
    assert retry.rung(job.dubs[FR]) is Rung.ADD


def test_a_language_that_shows_up_late_is_forgiven() -> None:
    job = observation.observed(dubbing(FR), "p1", listing(complete=True), NOW)
    job = observation.observed(job, "p1", listing(running(FR), complete=True), NOW + 1)
    assert job.dubs[FR].absent_since == 0
    job = observation.observed(job, "p1", listing(complete=True), NOW + 2 * ABSENT_LIMIT)
    assert state(job) is DubState.DUBBING


# -- errors of an earlier try --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("video", ["v1", ""])
def test_the_old_error_is_not_the_new_tries(video: str) -> None:
    job = put_again(video)
    job = observation.observed(job, "p1", listing(erred(FR, video=video), complete=True), NOW + 1)
    assert state(job) is DubState.DUBBING


def test_the_old_error_is_believed_in_the_end() -> None:
    job = observation.observed(put_again(), "p1", listing(erred(FR), complete=True), NOW + STALE_LIMIT)
    assert state(job) is DubState.FAILED


def test_an_error_of_the_new_try_counts_at_once() -> None:
    job = observation.observed(put_again(), "p1", listing(erred(FR, video="v2"), complete=True), NOW + 1)
    assert state(job) is DubState.FAILED
    assert retry.rung(job.dubs[FR]) is Rung.PROJECT


def test_an_error_in_a_first_try_counts_at_once_even_without_an_id() -> None:
    assert state(observation.observed(dubbing(FR), "p1", listing(erred(FR, video="")), NOW)) is DubState.FAILED


@pytest.mark.parametrize("answer", ["v2", ""])
@pytest.mark.parametrize("order", [1, -1])
def test_a_project_that_lists_both_tries(answer: str, order: int) -> None:
    both = [erred(FR), running(FR, "v2")][::order]
    job = observation.observed(put_again(answer=answer), "p1", listing(*both), NOW + 2 * STALE_LIMIT)
    assert state(job) is DubState.DUBBING
    both = [erred(FR), complete(FR, "v2")][::order]
    assert state(observation.observed(job, "p1", listing(*both), NOW + 2 * STALE_LIMIT)) is DubState.READY


# -- unknown outcomes ----------------------------------------------------------------------------------------------------


def test_an_unknown_post_can_only_be_found_in_receipts() -> None:
    assert activities(unknown(FR)) == [Recall((FR,))]
    assert activities(adoption.recalled(unknown(FR), FR, "", NOW)) == []


def test_each_start_looks_again_for_what_is_unknown() -> None:
    put = observation.observed(unknown_addition(), "p1", listing(complete(FR)), NOW + UNKNOWN_GRACE)
    for job, looking in ((put, Watch("p1")), (adoption.recalled(unknown(FR), FR, "", NOW), Recall((FR,)))):
        assert activities(job) == []
        assert activities(restart.resumed(job, NOW + 99)) == [looking]


def test_an_unknown_put_whose_language_is_complete_under_the_old_id_was_accepted() -> None:
    job = submission.unclear(submission.intend(retry.retried(failed_language(FR), FR, NOW), [FR], "p1", NOW), NOW)
    assert state(observation.observed(job, "p1", listing(complete(FR)), NOW)) is DubState.DUBBING


@pytest.mark.parametrize("entry", [running(DE), complete(DE), erred(DE)])
def test_an_unknown_put_that_shows_in_its_project_was_accepted(entry: Any) -> None:
    job = unknown_addition()
    assert activities(job) == [Watch("p1")]
    job = observation.observed(job, "p1", listing(complete(FR), entry), NOW + 1)
    assert state(job, DE) is DubState.DUBBING
    assert job.dubs[DE].failure is None


def test_an_unknown_put_that_does_not_show_stays_unknown_and_is_looked_for_no_more() -> None:
    job = observation.observed(unknown_addition(), "p1", listing(complete(FR)), NOW + UNKNOWN_GRACE - 1)
    assert activities(job) == [Watch("p1")]  # too early to believe it
    job = observation.observed(job, "p1", listing(complete(FR)), NOW + UNKNOWN_GRACE)
    assert state(job, DE) is DubState.UNKNOWN
    assert activities(job) == []
    assert observation.observed(job, "p1", listing(complete(FR)), NOW + 99) == job


@pytest.mark.parametrize("video", ["v1", ""])
def test_an_old_error_does_not_prove_that_an_unknown_put_arrived(video: str) -> None:
    job = retry.retried(failed_language(FR, video=video), FR, NOW)
    job = submission.unclear(submission.intend(job, [FR], "p1", NOW), NOW)
    job = observation.observed(job, "p1", listing(erred(FR, video=video)), NOW + UNKNOWN_GRACE)
    assert state(job) is DubState.UNKNOWN
    assert activities(job) == []
    new = observation.observed(job, "p1", listing(running(FR, "v2")), NOW + UNKNOWN_GRACE)
    assert state(new) is DubState.DUBBING


# -- a project that is gone ----------------------------------------------------------------------------------------------


def test_a_lost_project_fails_what_it_was_dubbing() -> None:
    job = observation.project_lost(dubbing(FR, ES), "p1", "404", NOW)
    for language in (FR, ES):
        failure = job.dubs[language].failure
        assert failure is not None
        assert (failure.code, failure.scope, failure.detail) == ("project_not_found", Scope.PROJECT, "404")
        assert retry.rung(job.dubs[language]) is Rung.DOWNLOAD
    assert live_project(job) == ""


def test_a_lost_project_is_looked_for_once_more_for_free() -> None:
    lost = observation.project_lost(dubbing(FR), "p1", "404", NOW)
    again = retry.retried(lost, FR, NOW)
    assert (state(again, FR), activities(again)) == (DubState.DUBBING, [Watch("p1")])
    lost = observation.project_lost(again, "p1", "404", NOW)
    assert retry.rung(lost.dubs[FR]) is Rung.PROJECT


def test_a_mistake_of_ours_while_watching_costs_nothing() -> None:
    job = observation.watch_failed(dubbing(FR), "p1", NOW)
    assert job.dubs[FR].failure is not None
    assert job.dubs[FR].failure.code == "internal"
    again = retry.retried(job, FR, NOW)
    assert activities(again) == [Watch("p1")]


def test_a_lost_project_leaves_what_is_finished_and_answers_nothing_about_the_unknown() -> None:
    job = observation.project_lost(unknown_addition(), "p1", "404", NOW)
    assert (state(job, FR), state(job, DE)) == (DubState.DONE, DubState.UNKNOWN)
    assert activities(job) == []


def test_another_lost_project_is_none_of_the_job() -> None:
    assert observation.project_lost(dubbing(FR), "p2", "", NOW) == dubbing(FR)


# -- one language more than once, or under another code --------------------------------------------------------------------


@pytest.mark.parametrize("new", [running(FR, "v2"), complete(FR, "v2")])
@pytest.mark.parametrize("new_first", [True, False])
@pytest.mark.parametrize("job", [dubbing(FR), put_again(answer=""), put_again()])
def test_of_an_old_failure_and_a_new_dub_the_new_one_counts(job: Job, new: Seen, new_first: bool) -> None:
    entries = (new, erred(FR)) if new_first else (erred(FR), new)
    seen = observation.observed(job, "p1", listing(*entries, complete=True), NOW)
    assert state(seen) is (DubState.READY if new.state is SeenState.COMPLETE else DubState.DUBBING)
    assert seen.dubs[FR].video == "v2"
    counts = alive(entries_of(entries, FR, seen.dubs), seen.dubs[FR].video)
    assert counts is new  # for the download, too


def test_a_language_alone_is_the_locale_that_was_asked_for() -> None:
    assert state(observation.observed(dubbing(FR, ES), "p1", listing(complete("fr")), NOW), FR) is DubState.READY


def test_a_language_alone_is_none_of_two_locales() -> None:
    job = observation.observed(dubbing(FR, "fr-CA"), "p1", listing(complete("fr")), NOW)
    assert (state(job, FR), state(job, "fr-CA")) == (DubState.DUBBING, DubState.DUBBING)


def test_the_locale_itself_goes_before_the_language_alone() -> None:
    assert state(observation.observed(dubbing(FR), "p1", listing(complete("fr"), running("fr_fr")), NOW)) is DubState.DUBBING


@pytest.mark.parametrize(("named", "own"), [("FR_fr", FR), ("fr", FR), ("es", "es"), ("de", "de")])
def test_what_a_request_is_answered_with_is_known_by_the_same_rule(named: str, own: str) -> None:
    assert own_spelling(named, (FR, "es-ES", "es-MX")) == own


# -- words that nobody knows -----------------------------------------------------------------------------------------------

ODD = Seen(FR, SeenState.RUNNING, "v1", oddity="on_hold")


@pytest.mark.parametrize("odd", [listing(ODD), ProjectSeen(SeenState.RUNNING, oddity="on_hold")])
def test_a_word_that_nobody_knows_is_told_once_after_three_polls(odd: ProjectSeen) -> None:
    job, told = dubbing(FR), []
    for poll in range(6):
        before, job = job, observation.observed(job, "p1", odd, NOW + poll)
        told.append(observation.newly_odd(before, job))
    assert told == [{}, {}, {FR: "on_hold"}, {}, {}, {}]
    assert state(job) is DubState.DUBBING


def test_a_word_that_nobody_knows_fails_after_two_days_and_a_retry_looks_once_for_free() -> None:
    job = observation.observed(dubbing(FR), "p1", listing(ODD), NOW)
    job = observation.observed(job, "p1", listing(ODD), NOW + ODD_LIMIT)
    failure = job.dubs[FR].failure
    assert failure is not None
    assert (failure.code, failure.detail, retry.rung(job.dubs[FR])) == ("status_unknown", "on_hold", Rung.DOWNLOAD)
    job = retry.retried(job, FR, NOW + ODD_LIMIT)
    assert activities(job) == [Watch("p1")]
    assert state(observation.observed(job, "p1", listing(complete(FR)), NOW + ODD_LIMIT)) is DubState.READY
    assert state(observation.observed(job, "p1", listing(ODD), NOW + ODD_LIMIT)) is DubState.FAILED


def test_a_known_word_ends_the_count() -> None:
    job = observation.observed(dubbing(FR), "p1", listing(ODD), NOW)
    job = observation.observed(job, "p1", listing(running(FR)), NOW + 1)
    assert job.dubs[FR].odd is None
    assert state(observation.observed(job, "p1", listing(ODD), NOW + ODD_LIMIT)) is DubState.DUBBING
