"""The paid calls: the intent before, exactly one answer after."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import DubState, FailureScope, Job, RetryStep, Stage
from synthdub_tui.jobs.reconcile import LookUpReceipts, Submit, Upload, extendable_project, needed_activities
from synthdub_tui.jobs.retry_policy import policy_for
from synthdub_tui.jobs.transitions import creation, dub_states, observation, retry, source_changes, submission, upload
from synthdub_tui.jobs.transitions.dub_states import IllegalTransitionError
from synthdub_tui.jobs.transitions.submission import MAX_UPLOAD_ATTEMPTS
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
    job_with_failed_language,
    observed_project,
    queued_job,
    submitting_job,
    uploaded_job,
)


def states_by_language(job: Job) -> dict[str, DubState]:
    return {language: dub.state for language, dub in job.dubs.items()}


def job_with_added_languages(*languages: str) -> Job:
    """Languages added to a finished job, about to be put to its project."""
    job = creation.add_targets(done_job(FR), languages, NOW)
    return submission.record_intent(job, languages, "p1", NOW)


def job_retried_in_project(language: str = FR, video: str = "v1") -> Job:
    """A language that the service failed, about to be put to the same project again."""
    job = retry.retry_dub(job_with_failed_language(language, video=video), language, NOW)
    return submission.record_intent(job, [language], "p1", NOW)


# -- the intent ----------------------------------------------------------------------------------------------------------


def test_an_intent_names_its_languages_and_changes_no_state() -> None:
    job = submission.record_intent(uploaded_job(FR, ES), [ES], "", NOW)
    assert job.submission is not None
    assert (job.submission.languages, job.submission.project, job.submission.asset) == ((ES,), "", "a1")
    assert states_by_language(job) == {FR: DubState.WAITING, ES: DubState.WAITING}


def test_only_one_request_at_a_time() -> None:
    with pytest.raises(IllegalTransitionError):
        submission.record_intent(submitting_job(FR, ES), [ES], "", NOW)


@pytest.mark.parametrize("languages", [[], [FR]])
def test_only_waiting_dubs_are_submitted(languages: list[str]) -> None:
    with pytest.raises(IllegalTransitionError):
        submission.record_intent(dubbing_job(FR), languages, "", NOW)


def test_an_answer_without_an_intent_is_a_mistake_of_the_program() -> None:
    job = uploaded_job()
    for answer in (
        lambda: submission.record_project_created(job, "p1", NOW),
        lambda: submission.record_locales_added(job, {}, {}, NOW),
        lambda: submission.record_rejected(job, "request_refused", "", {}, NOW),
        lambda: submission.record_unknown_outcome(job, NOW),
    ):
        with pytest.raises(IllegalTransitionError):
            answer()


def test_a_request_that_never_arrived_leaves_the_dubs_waiting() -> None:
    job = submission.record_not_sent(submitting_job(FR, ES))
    assert job == uploaded_job(FR, ES)
    assert needed_activities(job) == [Submit((FR, ES), "")]


# -- POST ----------------------------------------------------------------------------------------------------------------


def test_created() -> None:
    job = submission.record_project_created(submitting_job(FR, ES), "p1", NOW + 1)
    assert states_by_language(job) == {FR: DubState.DUBBING, ES: DubState.DUBBING}
    assert job.projects == {"p1": "a1"}
    assert job.submission is None
    assert (job.dubs[FR].project, job.dubs[FR].submitted, job.dubs[FR].since) == ("p1", NOW + 1, NOW + 1)
    assert job.stage is Stage.DUBBING


def test_a_project_belongs_to_the_asset_that_was_sent_even_if_the_job_has_another_by_now() -> None:
    job = submitting_job(FR)
    job = upload.record_asset_created(upload.drop_asset(job), "a2", NOW)
    job = submission.record_project_created(job, "p1", NOW)
    assert job.projects == {"p1": "a1"}
    assert extendable_project(job) == ""


def test_dubbing_again_forgets_projects_that_are_no_longer_used() -> None:
    """Each would stay in the state file, in memory and in every message to a dashboard."""
    job = dubbing_job(FR, ES)
    for number in range(2, 100):
        job = source_changes.start_new_version(job, job.source, [FR], NOW)
        job = upload.record_asset_ready(upload.record_asset_created(job, f"a{number}", NOW), "")
        job = submission.record_project_created(submission.record_intent(job, [FR], "", NOW), f"p{number}", NOW)
    assert job.projects == {"p1": "", "p99": "a99"}
    assert (job.dubs[ES].project, job.dubs[FR].project) == ("p1", "p99")


def test_a_project_that_takes_no_more_is_known_as_such_while_a_dub_is_in_it() -> None:
    """Or a retry would send there what was refused."""
    job = source_changes.start_new_version(dubbing_job(FR, ES), replace(dubbing_job(FR).source, mtime_ns=2), [FR], NOW)
    job = upload.record_asset_ready(upload.record_asset_created(job, "a2", NOW), "")
    job = submission.record_project_created(submission.record_intent(job, [FR], "", NOW), "p2", NOW)
    job = dub_states.fail_dub(job, ES, "processing_error", "", FailureScope.LANGUAGE, NOW)
    assert retry.retry_dub(job, ES, NOW).dubs[ES].next_rung is RetryStep.NEW_PROJECT


def test_a_project_of_the_present_asset_is_known_also_where_no_dub_is_in_it_any_more() -> None:
    """Languages can still be added to it, without a new one."""
    job = job_with_failed_language(FR)
    job = retry.retry_dub(replace(job, dubs={FR: replace(job.dubs[FR], tried=(RetryStep.ADD_LANGUAGE,))}), FR, NOW)
    job = submission.record_project_created(submission.record_intent(job, [FR], "", NOW), "p2", NOW)
    job = creation.add_targets(observation.record_project_not_found(job, "p2", "", NOW), [DE], NOW)
    assert needed_activities(job) == [Submit((DE,), "p1")]


def test_refused_as_a_whole() -> None:
    job = submission.record_rejected(submitting_job(FR, ES), "request_refused", "no", {}, NOW)
    assert states_by_language(job) == {FR: DubState.FAILED, ES: DubState.FAILED}
    failure = job.dubs[FR].failure
    assert failure is not None
    assert (failure.code, failure.scope, failure.detail) == ("request_refused", FailureScope.SUBMISSION, "no")
    assert job.stage is Stage.ENDED
    assert retry.cheapest_step(job.dubs[FR]) is RetryStep.SUBMIT  # nothing was billed


def test_refused_for_some_languages_the_others_are_sent_without_them() -> None:
    job = submission.record_rejected(submitting_job(FR, ES, DE), "language_refused", "all words", {ES: "not this one"}, NOW)
    assert states_by_language(job) == {FR: DubState.WAITING, ES: DubState.FAILED, DE: DubState.WAITING}
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.detail) == ("language_refused", "not this one")
    assert needed_activities(job) == [Submit((FR, DE), "")]


def test_a_refusal_of_languages_that_were_not_requested_applies_to_all() -> None:
    job = submission.record_rejected(submitting_job(FR), "language_refused", "words", {"xx": "?"}, NOW)
    assert states_by_language(job) == {FR: DubState.FAILED}


@pytest.mark.parametrize("languages", [{}, {FR: "Moderation: not allowed"}])
def test_a_refusal_for_content_is_moderation(languages: dict[str, str]) -> None:
    job = submission.record_rejected(submitting_job(FR), "request_refused", "Rejected by moderation", languages, NOW)
    failure = job.dubs[FR].failure
    assert failure is not None
    assert failure.code == "moderation"


@pytest.mark.parametrize("code", ["BrokenAssetUrlError", "asset_not_found"])
def test_an_unreadable_asset_is_uploaded_again_a_bounded_number_of_times(code: str) -> None:
    job = queued_job(FR, ES)
    for uploads in range(1, MAX_UPLOAD_ATTEMPTS + 1):
        assert needed_activities(job) == [Upload(0)]
        job = upload.record_asset_ready(upload.record_asset_created(job, f"a{uploads}", NOW), "")
        job = submission.record_intent(job, [FR, ES], "", NOW)
        job = submission.record_rejected(job, code, "gone", {}, NOW)
        assert job.asset is None
    assert states_by_language(job) == {FR: DubState.FAILED, ES: DubState.FAILED}
    assert needed_activities(job) == []
    again = retry.retry_dub(job, FR, NOW)
    assert again.uploads == 0
    assert needed_activities(again) == [Upload(0)]


# -- PUT -----------------------------------------------------------------------------------------------------------------


def test_put_created() -> None:
    job = submission.record_locales_added(job_with_added_languages(ES, DE), {ES: "v2", DE: "v3"}, {}, NOW)
    assert states_by_language(job) == {FR: DubState.DONE, ES: DubState.DUBBING, DE: DubState.DUBBING}
    assert (job.dubs[ES].project, job.dubs[ES].video) == ("p1", "v2")


def test_put_refused_for_a_language() -> None:
    job = submission.record_locales_added(job_with_added_languages(ES, DE), {ES: "v2"}, {DE: "not this one"}, NOW)
    assert states_by_language(job) == {FR: DubState.DONE, ES: DubState.DUBBING, DE: DubState.FAILED}
    failure = job.dubs[DE].failure
    assert failure is not None
    assert (failure.code, failure.scope) == ("language_refused", FailureScope.SUBMISSION)
    assert retry.cheapest_step(job.dubs[DE]) is RetryStep.SUBMIT


@pytest.mark.parametrize("job", [job_with_added_languages(FR.lower(), ES), job_retried_in_project(FR)])
def test_put_refused_for_content_is_moderation_and_is_not_retried_automatically(job: Job) -> None:
    assert job.submission is not None
    language = job.submission.languages[0]
    job = submission.record_locales_added(job, {ES: "v2"}, {language: "Rejected by moderation."}, NOW)
    failure = job.dubs[language].failure
    assert job.dubs[language].state is DubState.FAILED
    assert failure is not None
    assert failure.code == "moderation"


def test_put_skipped_or_204_means_that_the_language_is_there_and_is_followed() -> None:
    job = submission.record_locales_added(job_with_added_languages(ES), {}, {}, NOW)
    assert states_by_language(job)[ES] is DubState.DUBBING
    assert job.dubs[ES].project == "p1"


@pytest.mark.parametrize("video", ["v1", ""])
@pytest.mark.parametrize("refused", [{}, {FR: "already there"}])
def test_put_skipping_a_language_that_failed_there_climbs_to_a_new_project(refused: dict[str, str], video: str) -> None:
    job = observation.apply_project_to_waiting_dub(
        retry.retry_dub(job_with_failed_language(FR, video=video), FR, NOW),
        FR,
        "p1",
        observed_project(error_language(FR, video=video)),
        NOW,
    )
    job = submission.record_locales_added(submission.record_intent(job, [FR], "p1", NOW), {}, refused, NOW)
    assert states_by_language(job)[FR] is DubState.WAITING
    assert job.dubs[FR].next_rung is RetryStep.NEW_PROJECT
    assert job.dubs[FR].tried == (RetryStep.ADD_LANGUAGE, RetryStep.NEW_PROJECT)
    assert needed_activities(job) == [Submit((FR,), "")]


def test_put_skipping_a_language_whose_first_put_is_unknown_does_not_pay_for_a_new_project() -> None:
    """The user asked again for a language whose PUT broke off; the service has it already: that first PUT arrived."""
    job = submission.record_unknown_outcome(job_with_added_languages(DE), NOW)
    job = retry.retry_dub(job, DE, NOW)
    assert needed_activities(job) == [Submit((DE,), "p1")]
    job = submission.record_locales_added(submission.record_intent(job, [DE], "p1", NOW), {}, {}, NOW)
    assert states_by_language(job)[DE] is DubState.DUBBING


def test_put_skipping_a_failed_language_whose_last_put_is_unknown_does_not_pay_for_a_new_project() -> None:
    job = submission.record_unknown_outcome(job_retried_in_project(FR), NOW)
    again = submission.record_intent(retry.retry_dub(job, FR, NOW), [FR], "p1", NOW)
    followed = submission.record_locales_added(again, {}, {}, NOW)
    assert states_by_language(followed)[FR] is DubState.DUBBING
    seen_failed = observation.apply_project(followed, "p1", observed_project(error_language(FR)), NOW)
    assert states_by_language(seen_failed)[FR] is DubState.FAILED  # it was the old error after all
    assert retry.cheapest_step(seen_failed.dubs[FR]) is RetryStep.NEW_PROJECT


def test_put_skipping_a_failed_language_that_was_not_polled_since_follows_it() -> None:
    """It may have become complete after all: only its present entry tells."""
    job = submission.record_locales_added(job_retried_in_project(FR), {}, {}, NOW)
    assert states_by_language(job)[FR] is DubState.DUBBING
    assert (
        states_by_language(observation.apply_project(job, "p1", observed_project(complete_language(FR)), NOW))[FR]
        is DubState.READY
    )


def test_put_skipping_a_failed_language_that_was_seen_unchanged_climbs() -> None:
    job = retry.retry_dub(submission.record_unknown_outcome(job_retried_in_project(FR), NOW), FR, NOW)
    job = observation.apply_project_to_waiting_dub(job, FR, "p1", observed_project(error_language(FR)), NOW)
    climbed = submission.record_locales_added(submission.record_intent(job, [FR], "p1", NOW), {}, {}, NOW)
    assert climbed.dubs[FR].next_rung is RetryStep.NEW_PROJECT


def test_put_skipping_a_language_that_was_missing_follows_it() -> None:
    job = dubbing_job(FR, ES)
    for now in (NOW, NOW + observation.MAX_ABSENT_SECONDS):
        job = observation.apply_project(job, "p1", observed_project(complete_language(ES), complete=True), now)
    job = submission.record_intent(retry.retry_dub(job, FR, NOW), [FR], "p1", NOW)
    assert states_by_language(submission.record_locales_added(job, {}, {}, NOW))[FR] is DubState.DUBBING


def test_put_to_a_project_that_is_gone_makes_a_new_one_for_languages_that_were_never_paid() -> None:
    job = submission.record_rejected(job_with_added_languages(ES, DE), "project_not_found", "404", {}, NOW)
    assert states_by_language(job) == {FR: DubState.DONE, ES: DubState.WAITING, DE: DubState.WAITING}
    assert extendable_project(job) == ""
    assert needed_activities(job) == [Submit((ES, DE), "")]


@pytest.mark.parametrize("code", ["project_not_found", "BrokenAssetUrlError", "asset_not_found"])
def test_put_that_can_never_work_is_not_repeated(code: str) -> None:
    job = submission.record_rejected(job_retried_in_project(FR), code, "no", {}, NOW)
    assert states_by_language(job)[FR] is DubState.WAITING
    assert job.dubs[FR].next_rung is RetryStep.NEW_PROJECT
    assert not [act for act in needed_activities(job) if isinstance(act, Submit) and act.project]


def test_put_that_was_refused_is_retried_as_a_new_project() -> None:
    """A service that adds no languages would say no for ever; and nothing was billed by either."""
    job = submission.record_rejected(job_with_added_languages(ES), "request_refused", "no", {}, NOW)
    assert states_by_language(job)[ES] is DubState.FAILED
    assert not policy_for(job, ES).must_ask
    assert needed_activities(retry.retry_dub(job, ES, NOW)) == [Submit((ES,), "")]
    again = submission.record_rejected(job_retried_in_project(FR), "request_refused", "no", {}, NOW)
    assert policy_for(again, FR).must_ask
    assert needed_activities(retry.retry_dub(again, FR, NOW))[0] == Submit((FR,), "")


def test_put_that_was_refused_for_one_language_leaves_the_project_to_the_others() -> None:
    job = submission.record_rejected(job_with_added_languages(ES, DE), "language_refused", "no", {ES: "no"}, NOW)
    assert needed_activities(job) == [Submit((DE,), "p1")]


# -- nobody knows --------------------------------------------------------------------------------------------------------


def test_unclear() -> None:
    job = submission.record_unknown_outcome(submitting_job(FR, ES), NOW)
    assert states_by_language(job) == {FR: DubState.UNKNOWN, ES: DubState.UNKNOWN}
    assert job.dubs[FR].project == ""
    assert needed_activities(job) == [LookUpReceipts((FR, ES))]
    assert job.stage is Stage.ENDED


def test_an_unclear_put_knows_where_to_look() -> None:
    job = submission.record_unknown_outcome(job_with_added_languages(ES), NOW)
    assert (job.dubs[ES].state, job.dubs[ES].project) == (DubState.UNKNOWN, "p1")


# -- cancelled while the request is on its way ---------------------------------------------------------------------------


def test_cancelled_meanwhile_stays_so_and_knows_its_project() -> None:
    job = submission.record_project_created(cancel_dub(submitting_job(FR, ES), FR), "p1", NOW)
    assert states_by_language(job) == {FR: DubState.CANCELLED, ES: DubState.DUBBING}
    assert job.dubs[FR].project == "p1"
    again = retry.retry_dub(job, FR, NOW)
    assert states_by_language(again)[FR] is DubState.DUBBING  # looks at what was paid, and pays nothing


def test_cancelled_meanwhile_and_put_stays_so() -> None:
    job = submission.record_locales_added(cancel_dub(job_with_added_languages(ES, DE), ES), {ES: "v2", DE: "v3"}, {}, NOW)
    assert states_by_language(job)[ES] is DubState.CANCELLED
    assert (job.dubs[ES].project, job.dubs[ES].video) == ("p1", "v2")


def test_cancelled_meanwhile_and_refused_stays_so() -> None:
    job = submission.record_rejected(cancel_dub(submitting_job(FR, ES), FR), "request_refused", "", {}, NOW)
    assert states_by_language(job) == {FR: DubState.CANCELLED, ES: DubState.FAILED}


def test_cancelled_meanwhile_and_refused_by_moderation_is_not_sent_again_without_consent() -> None:
    posted = submission.record_rejected(cancel_dub(submitting_job(FR, ES), ES), "request_refused", "moderation", {}, NOW)
    put = submission.record_locales_added(cancel_dub(job_with_added_languages(ES, DE), ES), {DE: "v2"}, {ES: "moderation"}, NOW)
    for job in (posted, put):
        assert states_by_language(job)[ES] is DubState.CANCELLED
        assert policy_for(job, ES).must_ask


def test_cancelled_meanwhile_and_unclear_is_not_sent_again_without_a_decision() -> None:
    job = submission.record_unknown_outcome(cancel_dub(submitting_job(FR, ES), FR), NOW)
    assert states_by_language(job) == {FR: DubState.CANCELLED, ES: DubState.UNKNOWN}
    assert retry.cheapest_step(job.dubs[FR]) is RetryStep.NEW_PROJECT


def test_unknown_then_cancelled_is_not_sent_again_without_a_decision() -> None:
    job = cancel_dub(submission.record_unknown_outcome(submitting_job(FR), NOW), FR)
    assert states_by_language(job) == {FR: DubState.CANCELLED}
    assert retry.cheapest_step(job.dubs[FR]) is RetryStep.NEW_PROJECT


def test_cancelled_and_wanted_again_before_the_answer() -> None:
    job = retry.retry_dub(cancel_dub(submitting_job(FR), FR), FR, NOW)
    assert needed_activities(job) == []  # the request is under way
    assert states_by_language(submission.record_project_created(job, "p1", NOW)) == {FR: DubState.DUBBING}


# -- the source fails while a request is on its way ----------------------------------------------------------------------


def test_a_source_that_fails_takes_no_request_under_way_with_it() -> None:
    """Another language of the job needs a new upload, which fails, while a paid request waits for its answer."""
    job = replace(submitting_job(FR, ES), submission=submission.record_intent(uploaded_job(FR, ES), [FR], "", NOW).submission)
    job = source_changes.fail_unsent_dubs(upload.drop_asset(job), "source_missing", "", NOW)
    assert states_by_language(job) == {FR: DubState.WAITING, ES: DubState.FAILED}
    assert job.submission is not None
    assert states_by_language(submission.record_project_created(job, "p1", NOW)) == {FR: DubState.DUBBING, ES: DubState.FAILED}


def test_an_accepted_dub_that_this_side_gave_up_is_followed() -> None:
    job = dub_states.fail_dub(submitting_job(FR), FR, "internal", "", FailureScope.SUBMISSION, NOW)
    job = submission.record_project_created(job, "p1", NOW)
    assert states_by_language(job) == {FR: DubState.DUBBING}
    assert job.dubs[FR].failure is None
