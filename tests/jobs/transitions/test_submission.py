"""The paid calls: the intent before, exactly one answer after."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import DubState, Job, Rung, Scope, Stage
from synthdub_tui.jobs.reconcile import Deliver, Recall, Submit, activities, live_project
from synthdub_tui.jobs.retry_policy import policy
from synthdub_tui.jobs.transitions import creation, dub_states, observation, retry, source_changes, submission, upload
from synthdub_tui.jobs.transitions.dub_states import IllegalMove
from synthdub_tui.jobs.transitions.submission import UPLOAD_LIMIT
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
    failed_language,
    listing,
    queued,
)


def states(job: Job) -> dict[str, DubState]:
    return {language: dub.state for language, dub in job.dubs.items()}


def added_to_done(*languages: str) -> Job:
    """Languages added to a finished job, about to be put to its project."""
    job = creation.add_targets(done(FR), languages, NOW)
    return submission.intend(job, languages, "p1", NOW)


def retried_in_project(language: str = FR, video: str = "v1") -> Job:
    """A language that the service failed, about to be put to the same project again."""
    job = retry.retried(failed_language(language, video=video), language, NOW)
    return submission.intend(job, [language], "p1", NOW)


# -- the intent ----------------------------------------------------------------------------------------------------------


def test_an_intent_names_its_languages_and_changes_no_state() -> None:
    job = submission.intend(delivered(FR, ES), [ES], "", NOW)
    assert job.submission is not None
    assert (job.submission.languages, job.submission.project, job.submission.asset) == ((ES,), "", "a1")
    assert states(job) == {FR: DubState.WAITING, ES: DubState.WAITING}


def test_only_one_request_at_a_time() -> None:
    with pytest.raises(IllegalMove):
        submission.intend(asked(FR, ES), [ES], "", NOW)


@pytest.mark.parametrize("languages", [[], [FR]])
def test_only_waiting_dubs_are_submitted(languages: list[str]) -> None:
    with pytest.raises(IllegalMove):
        submission.intend(dubbing(FR), languages, "", NOW)


def test_an_answer_without_an_intent_is_a_mistake_of_the_program() -> None:
    job = delivered()
    for answer in (
        lambda: submission.created(job, "p1", NOW),
        lambda: submission.added(job, {}, {}, NOW),
        lambda: submission.refused(job, "request_refused", "", {}, NOW),
        lambda: submission.unclear(job, NOW),
    ):
        with pytest.raises(IllegalMove):
            answer()


def test_a_request_that_never_arrived_leaves_the_dubs_waiting() -> None:
    job = submission.not_sent(asked(FR, ES))
    assert job == delivered(FR, ES)
    assert activities(job) == [Submit((FR, ES), "")]


# -- POST ----------------------------------------------------------------------------------------------------------------


def test_created() -> None:
    job = submission.created(asked(FR, ES), "p1", NOW + 1)
    assert states(job) == {FR: DubState.DUBBING, ES: DubState.DUBBING}
    assert job.projects == {"p1": "a1"}
    assert job.submission is None
    assert (job.dubs[FR].project, job.dubs[FR].submitted, job.dubs[FR].since) == ("p1", NOW + 1, NOW + 1)
    assert job.stage is Stage.DUBBING


def test_a_project_belongs_to_the_asset_that_was_sent_even_if_the_job_has_another_by_now() -> None:
    job = asked(FR)
    job = upload.asset_created(upload.asset_dropped(job), "a2", NOW)
    job = submission.created(job, "p1", NOW)
    assert job.projects == {"p1": "a1"}
    assert live_project(job) == ""


def test_what_is_dubbed_anew_forgets_projects_that_nothing_is_asked_of_any_more() -> None:
    """Each would stay in the state file, in memory and in every message to a dashboard."""
    job = dubbing(FR, ES)
    for number in range(2, 100):
        job = source_changes.renew(job, job.source, [FR], NOW)
        job = upload.asset_ready(upload.asset_created(job, f"a{number}", NOW), "")
        job = submission.created(submission.intend(job, [FR], "", NOW), f"p{number}", NOW)
    assert job.projects == {"p1": "", "p99": "a99"}
    assert (job.dubs[ES].project, job.dubs[FR].project) == ("p1", "p99")


def test_a_project_that_takes_no_more_is_known_as_such_while_a_dub_is_in_it() -> None:
    """Or a retry would send there what was refused."""
    job = source_changes.renew(dubbing(FR, ES), replace(dubbing(FR).source, mtime_ns=2), [FR], NOW)
    job = upload.asset_ready(upload.asset_created(job, "a2", NOW), "")
    job = submission.created(submission.intend(job, [FR], "", NOW), "p2", NOW)
    job = dub_states.failed(job, ES, "processing_error", "", Scope.LANGUAGE, NOW)
    assert retry.retried(job, ES, NOW).dubs[ES].next_rung is Rung.PROJECT


def test_a_project_of_the_present_asset_is_known_also_where_no_dub_is_in_it_any_more() -> None:
    """Languages can still be added to it, without a new one."""
    job = failed_language(FR)
    job = retry.retried(replace(job, dubs={FR: replace(job.dubs[FR], tried=(Rung.ADD,))}), FR, NOW)
    job = submission.created(submission.intend(job, [FR], "", NOW), "p2", NOW)
    job = creation.add_targets(observation.project_lost(job, "p2", "", NOW), [DE], NOW)
    assert activities(job) == [Submit((DE,), "p1")]


def test_refused_as_a_whole() -> None:
    job = submission.refused(asked(FR, ES), "request_refused", "no", {}, NOW)
    assert states(job) == {FR: DubState.FAILED, ES: DubState.FAILED}
    failure = job.dubs[FR].failure
    assert failure is not None
    assert (failure.code, failure.scope, failure.detail) == ("request_refused", Scope.SUBMISSION, "no")
    assert job.stage is Stage.ENDED
    assert retry.rung(job.dubs[FR]) is Rung.SUBMIT  # nothing was billed


def test_refused_for_some_languages_the_others_are_sent_without_them() -> None:
    job = submission.refused(asked(FR, ES, DE), "language_refused", "all words", {ES: "not this one"}, NOW)
    assert states(job) == {FR: DubState.WAITING, ES: DubState.FAILED, DE: DubState.WAITING}
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.detail) == ("language_refused", "not this one")
    assert activities(job) == [Submit((FR, DE), "")]


def test_refused_for_languages_nobody_asked_for_counts_for_all() -> None:
    job = submission.refused(asked(FR), "language_refused", "words", {"xx": "?"}, NOW)
    assert states(job) == {FR: DubState.FAILED}


@pytest.mark.parametrize("languages", [{}, {FR: "Moderation: not allowed"}])
def test_a_refusal_for_content_is_moderation(languages: dict[str, str]) -> None:
    job = submission.refused(asked(FR), "request_refused", "Rejected by moderation", languages, NOW)
    failure = job.dubs[FR].failure
    assert failure is not None
    assert failure.code == "moderation"


@pytest.mark.parametrize("code", ["BrokenAssetUrlError", "asset_not_found"])
def test_an_unreadable_asset_is_uploaded_again_a_bounded_number_of_times(code: str) -> None:
    job = queued(FR, ES)
    for uploads in range(1, UPLOAD_LIMIT + 1):
        assert activities(job) == [Deliver(0)]
        job = upload.asset_ready(upload.asset_created(job, f"a{uploads}", NOW), "")
        job = submission.intend(job, [FR, ES], "", NOW)
        job = submission.refused(job, code, "gone", {}, NOW)
        assert job.asset is None
    assert states(job) == {FR: DubState.FAILED, ES: DubState.FAILED}
    assert activities(job) == []
    again = retry.retried(job, FR, NOW)
    assert again.uploads == 0
    assert activities(again) == [Deliver(0)]


# -- PUT -----------------------------------------------------------------------------------------------------------------


def test_put_created() -> None:
    job = submission.added(added_to_done(ES, DE), {ES: "v2", DE: "v3"}, {}, NOW)
    assert states(job) == {FR: DubState.DONE, ES: DubState.DUBBING, DE: DubState.DUBBING}
    assert (job.dubs[ES].project, job.dubs[ES].video) == ("p1", "v2")


def test_put_refused_for_a_language() -> None:
    job = submission.added(added_to_done(ES, DE), {ES: "v2"}, {DE: "not this one"}, NOW)
    assert states(job) == {FR: DubState.DONE, ES: DubState.DUBBING, DE: DubState.FAILED}
    failure = job.dubs[DE].failure
    assert failure is not None
    assert (failure.code, failure.scope) == ("language_refused", Scope.SUBMISSION)
    assert retry.rung(job.dubs[DE]) is Rung.SUBMIT


@pytest.mark.parametrize("job", [added_to_done(FR.lower(), ES), retried_in_project(FR)])
def test_put_refused_for_content_is_moderation_and_goes_nowhere_by_itself(job: Job) -> None:
    assert job.submission is not None
    language = job.submission.languages[0]
    job = submission.added(job, {ES: "v2"}, {language: "Rejected by moderation."}, NOW)
    failure = job.dubs[language].failure
    assert job.dubs[language].state is DubState.FAILED
    assert failure is not None
    assert failure.code == "moderation"


def test_put_skipped_or_204_means_that_the_language_is_there_and_is_followed() -> None:
    job = submission.added(added_to_done(ES), {}, {}, NOW)
    assert states(job)[ES] is DubState.DUBBING
    assert job.dubs[ES].project == "p1"


@pytest.mark.parametrize("video", ["v1", ""])
@pytest.mark.parametrize("refused", [{}, {FR: "already there"}])
def test_put_skipping_a_language_that_failed_there_climbs_to_a_new_project(refused: dict[str, str], video: str) -> None:
    job = observation.looked(
        retry.retried(failed_language(FR, video=video), FR, NOW), FR, "p1", listing(erred(FR, video=video)), NOW
    )
    job = submission.added(submission.intend(job, [FR], "p1", NOW), {}, refused, NOW)
    assert states(job)[FR] is DubState.WAITING
    assert job.dubs[FR].next_rung is Rung.PROJECT
    assert job.dubs[FR].tried == (Rung.ADD, Rung.PROJECT)
    assert activities(job) == [Submit((FR,), "")]


def test_put_skipping_a_language_whose_first_put_is_unknown_does_not_pay_for_a_new_project() -> None:
    """The user asked again for a language whose PUT broke off; the service has it already: that first PUT arrived."""
    job = submission.unclear(added_to_done(DE), NOW)
    job = retry.retried(job, DE, NOW)
    assert activities(job) == [Submit((DE,), "p1")]
    job = submission.added(submission.intend(job, [DE], "p1", NOW), {}, {}, NOW)
    assert states(job)[DE] is DubState.DUBBING


def test_put_skipping_a_failed_language_whose_last_put_is_unknown_does_not_pay_for_a_new_project() -> None:
    job = submission.unclear(retried_in_project(FR), NOW)
    again = submission.intend(retry.retried(job, FR, NOW), [FR], "p1", NOW)
    followed = submission.added(again, {}, {}, NOW)
    assert states(followed)[FR] is DubState.DUBBING
    seen_failed = observation.observed(followed, "p1", listing(erred(FR)), NOW)
    assert states(seen_failed)[FR] is DubState.FAILED  # it was the old error after all
    assert retry.rung(seen_failed.dubs[FR]) is Rung.PROJECT


def test_put_skipping_a_failed_language_that_nobody_looked_at_since_follows_it() -> None:
    """It may have become complete after all: only its present entry tells."""
    job = submission.added(retried_in_project(FR), {}, {}, NOW)
    assert states(job)[FR] is DubState.DUBBING
    assert states(observation.observed(job, "p1", listing(complete(FR)), NOW))[FR] is DubState.READY


def test_put_skipping_a_failed_language_that_was_seen_unchanged_climbs() -> None:
    job = retry.retried(submission.unclear(retried_in_project(FR), NOW), FR, NOW)
    job = observation.looked(job, FR, "p1", listing(erred(FR)), NOW)
    climbed = submission.added(submission.intend(job, [FR], "p1", NOW), {}, {}, NOW)
    assert climbed.dubs[FR].next_rung is Rung.PROJECT


def test_put_skipping_a_language_that_was_missing_follows_it() -> None:
    job = dubbing(FR, ES)
    for now in (NOW, NOW + observation.ABSENT_LIMIT):
        job = observation.observed(job, "p1", listing(complete(ES), complete=True), now)
    job = submission.intend(retry.retried(job, FR, NOW), [FR], "p1", NOW)
    assert states(submission.added(job, {}, {}, NOW))[FR] is DubState.DUBBING


def test_put_to_a_project_that_is_gone_makes_a_new_one_for_languages_that_were_never_paid() -> None:
    job = submission.refused(added_to_done(ES, DE), "project_not_found", "404", {}, NOW)
    assert states(job) == {FR: DubState.DONE, ES: DubState.WAITING, DE: DubState.WAITING}
    assert live_project(job) == ""
    assert activities(job) == [Submit((ES, DE), "")]


@pytest.mark.parametrize("code", ["project_not_found", "BrokenAssetUrlError", "asset_not_found"])
def test_put_that_can_never_work_is_not_repeated(code: str) -> None:
    job = submission.refused(retried_in_project(FR), code, "no", {}, NOW)
    assert states(job)[FR] is DubState.WAITING
    assert job.dubs[FR].next_rung is Rung.PROJECT
    assert not [act for act in activities(job) if isinstance(act, Submit) and act.project]


def test_put_that_was_refused_is_retried_as_a_new_project() -> None:
    """A service that adds no languages would say no for ever; and nothing was billed by either."""
    job = submission.refused(added_to_done(ES), "request_refused", "no", {}, NOW)
    assert states(job)[ES] is DubState.FAILED
    assert not policy(job, ES).must_ask
    assert activities(retry.retried(job, ES, NOW)) == [Submit((ES,), "")]
    again = submission.refused(retried_in_project(FR), "request_refused", "no", {}, NOW)
    assert policy(again, FR).must_ask
    assert activities(retry.retried(again, FR, NOW))[0] == Submit((FR,), "")


def test_put_that_was_refused_for_one_language_leaves_the_project_to_the_others() -> None:
    job = submission.refused(added_to_done(ES, DE), "language_refused", "no", {ES: "no"}, NOW)
    assert activities(job) == [Submit((DE,), "p1")]


# -- nobody knows --------------------------------------------------------------------------------------------------------


def test_unclear() -> None:
    job = submission.unclear(asked(FR, ES), NOW)
    assert states(job) == {FR: DubState.UNKNOWN, ES: DubState.UNKNOWN}
    assert job.dubs[FR].project == ""
    assert activities(job) == [Recall((FR, ES))]
    assert job.stage is Stage.ENDED


def test_an_unclear_put_knows_where_to_look() -> None:
    job = submission.unclear(added_to_done(ES), NOW)
    assert (job.dubs[ES].state, job.dubs[ES].project) == (DubState.UNKNOWN, "p1")


# -- cancelled while the request is on its way ---------------------------------------------------------------------------


def test_cancelled_meanwhile_stays_so_and_knows_its_project() -> None:
    job = submission.created(cancelled(asked(FR, ES), FR), "p1", NOW)
    assert states(job) == {FR: DubState.CANCELLED, ES: DubState.DUBBING}
    assert job.dubs[FR].project == "p1"
    again = retry.retried(job, FR, NOW)
    assert states(again)[FR] is DubState.DUBBING  # looks at what was paid, and pays nothing


def test_cancelled_meanwhile_and_put_stays_so() -> None:
    job = submission.added(cancelled(added_to_done(ES, DE), ES), {ES: "v2", DE: "v3"}, {}, NOW)
    assert states(job)[ES] is DubState.CANCELLED
    assert (job.dubs[ES].project, job.dubs[ES].video) == ("p1", "v2")


def test_cancelled_meanwhile_and_refused_stays_so() -> None:
    job = submission.refused(cancelled(asked(FR, ES), FR), "request_refused", "", {}, NOW)
    assert states(job) == {FR: DubState.CANCELLED, ES: DubState.FAILED}


def test_cancelled_meanwhile_and_refused_by_moderation_is_not_sent_again_without_consent() -> None:
    posted = submission.refused(cancelled(asked(FR, ES), ES), "request_refused", "moderation", {}, NOW)
    put = submission.added(cancelled(added_to_done(ES, DE), ES), {DE: "v2"}, {ES: "moderation"}, NOW)
    for job in (posted, put):
        assert states(job)[ES] is DubState.CANCELLED
        assert policy(job, ES).must_ask


def test_cancelled_meanwhile_and_unclear_is_not_sent_again_without_a_decision() -> None:
    job = submission.unclear(cancelled(asked(FR, ES), FR), NOW)
    assert states(job) == {FR: DubState.CANCELLED, ES: DubState.UNKNOWN}
    assert retry.rung(job.dubs[FR]) is Rung.PROJECT


def test_unknown_then_cancelled_is_not_sent_again_without_a_decision() -> None:
    job = cancelled(submission.unclear(asked(FR), NOW), FR)
    assert states(job) == {FR: DubState.CANCELLED}
    assert retry.rung(job.dubs[FR]) is Rung.PROJECT


def test_cancelled_and_wanted_again_before_the_answer() -> None:
    job = retry.retried(cancelled(asked(FR), FR), FR, NOW)
    assert activities(job) == []  # the request is under way
    assert states(submission.created(job, "p1", NOW)) == {FR: DubState.DUBBING}


# -- the source fails while a request is on its way ----------------------------------------------------------------------


def test_a_source_that_fails_takes_no_request_under_way_with_it() -> None:
    """Another language of the job needs a new upload, which fails, while a paid request waits for its answer."""
    job = replace(asked(FR, ES), submission=submission.intend(delivered(FR, ES), [FR], "", NOW).submission)
    job = source_changes.source_failed(upload.asset_dropped(job), "source_missing", "", NOW)
    assert states(job) == {FR: DubState.WAITING, ES: DubState.FAILED}
    assert job.submission is not None
    assert states(submission.created(job, "p1", NOW)) == {FR: DubState.DUBBING, ES: DubState.FAILED}


def test_an_accepted_dub_that_this_side_gave_up_is_followed() -> None:
    job = dub_states.failed(asked(FR), FR, "internal", "", Scope.SUBMISSION, NOW)
    job = submission.created(job, "p1", NOW)
    assert states(job) == {FR: DubState.DUBBING}
    assert job.dubs[FR].failure is None
