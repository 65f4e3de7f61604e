"""What moderation refused is a fact about the content: it outlives the dub, and only consent to that very dub goes past it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import DubState, FailureScope, Job, ObservedLanguage, ObservedProject, ObservedStatus, Source
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.reconcile import needed_activities
from synthdub_tui.jobs.retry_policy import policy_for
from synthdub_tui.jobs.transitions import (
    cancellation,
    creation,
    dub_states,
    observation,
    restart,
    retry,
    source_changes,
    submission,
)
from synthdub_tui.store.codec import decode_job, encode_job
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NEWER_SOURCE,
    NOW,
    cancel_dub,
    complete_language,
    dubbing_job,
    error_language,
    job_with_failed_language,
    job_with_failed_project,
    observed_project,
    running_language,
    submitting_job,
)

TOUCHED_SOURCE = Source("/videos/intro.mp4", 10, 9, "video/mp4")
COPIED_SOURCE = replace(TOUCHED_SOURCE, path="/videos/renamed.mp4")
JOB_WITH_REFUSED_LANGUAGE = job_with_failed_language(FR, code=MODERATION)
JOB_WITH_REFUSED_PROJECT = job_with_failed_project(FR, code=MODERATION)


def retry_dub(job: Job, language: str = FR) -> Job:
    return retry.retry_dub(job, language, NOW)


def restart_from_disk(job: Job) -> Job:
    return restart.resume_job(decode_job(encode_job(job).decode()), NOW + 5)


def remove_language(job: Job, language: str = FR) -> Job:
    left = cancellation.remove_dubs(creation.add_targets(job, [DE], NOW), [language])
    assert left is not None
    return left


WAYS_TO_FORGET: dict[str, Callable[[Job], Job]] = {
    "a retry that was cancelled before it was sent": lambda job: cancel_dub(retry_dub(job), FR),
    "a touched file": lambda job: source_changes.replace_source(job, TOUCHED_SOURCE),
    "a new version by time alone": lambda job: source_changes.start_new_version(job, TOUCHED_SOURCE, [FR], NOW),
    "a retry, then a touched file": lambda job: source_changes.replace_source(retry_dub(job), TOUCHED_SOURCE),
    "a moved file": lambda job: source_changes.relocate_source(job, COPIED_SOURCE, "", {}, NOW),
    "a restart": restart_from_disk,
    "removing the dub and naming it again": lambda job: creation.add_targets(remove_language(job), [FR], NOW),
    "a source that was missing and is back": lambda job: source_changes.relocate_source(
        source_changes.fail_unsent_dubs(retry_dub(job), "source_missing", "", NOW), COPIED_SOURCE, "", {}, NOW
    ),
}


@pytest.mark.parametrize("job", [JOB_WITH_REFUSED_LANGUAGE, JOB_WITH_REFUSED_PROJECT], ids=["language", "whole"])
@pytest.mark.parametrize("eraser", WAYS_TO_FORGET.values(), ids=WAYS_TO_FORGET.keys())
def test_nothing_erases_a_refusal(job: Job, eraser: Callable[[Job], Job]) -> None:
    after = eraser(job)
    assert FR not in after.unsent_languages
    assert policy_for(after, FR).must_ask
    assert policy_for(after, FR).never_in_bulk


def test_another_language_of_a_video_that_was_refused_whole_is_not_sent() -> None:
    job = creation.add_targets(JOB_WITH_REFUSED_PROJECT, [ES], NOW)
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (job.dubs[ES].state, failure.code) == (DubState.FAILED, MODERATION)
    assert needed_activities(job) == []


def test_another_language_of_a_video_of_which_one_was_refused_is_sent() -> None:
    assert creation.add_targets(JOB_WITH_REFUSED_LANGUAGE, [ES], NOW).unsent_languages == (ES,)


def test_a_refused_project_lets_nothing_else_of_the_video_go_out() -> None:
    job = creation.add_targets(dubbing_job(FR), [ES], NOW)
    job = observation.apply_project(job, "p1", ObservedProject(ObservedStatus.ERROR, MODERATION), NOW)
    assert job.unsent_languages == ()


def test_a_refused_request_lets_nothing_else_of_the_video_go_out() -> None:
    job = creation.add_targets(submitting_job(FR), [ES], NOW)
    job = submission.record_rejected(job, "request_refused", "violates our content policy", {}, NOW)
    assert job.unsent_languages == ()
    assert creation.add_targets(job, [DE], NOW).unsent_languages == ()


def test_a_refused_language_of_a_request_is_about_no_other_one() -> None:
    job = submission.record_rejected(submitting_job(FR, ES), "request_refused", "", {FR: "moderation"}, NOW)
    assert job.unsent_languages == (ES,)


def test_an_asset_that_moderation_refused_is_refused_as_a_whole() -> None:
    job = source_changes.fail_unsent_dubs(creation.add_targets(JOB_WITH_REFUSED_LANGUAGE, [ES, DE], NOW), MODERATION, "", NOW)
    assert job.unsent_languages == ()
    assert policy_for(job, DE).must_ask


def test_who_names_the_dub_sends_it_once() -> None:
    job = retry_dub(creation.add_targets(JOB_WITH_REFUSED_PROJECT, [ES], NOW), ES)
    assert job.unsent_languages == (ES,)
    again = submission.record_not_sent(submission.record_intent(job, [ES], "", NOW))
    assert again.unsent_languages == (ES,)
    accepted = submission.record_project_created(submission.record_intent(again, [ES], "", NOW), "p2", NOW)
    ended = observation.apply_project(accepted, "p2", observed_project(error_language(ES)), NOW)
    assert policy_for(ended, ES).must_ask
    assert retry_dub(ended, ES).unsent_languages == (ES,)


def test_consent_outlasts_a_restart() -> None:
    assert restart_from_disk(retry_dub(JOB_WITH_REFUSED_PROJECT)).unsent_languages == (FR,)


def test_consent_is_to_one_dub_alone() -> None:
    job = creation.add_targets(JOB_WITH_REFUSED_PROJECT, [ES], NOW)
    assert retry_dub(job, ES).unsent_languages == (ES,)


def test_a_new_refusal_ends_a_consent_that_came_before_it() -> None:
    job = creation.add_targets(job_with_failed_language(FR, ES, code=MODERATION), [DE], NOW)
    job = retry_dub(job, ES)
    assert set(job.unsent_languages) == {ES, DE}
    job = submission.record_rejected(submission.record_intent(job, [DE], "", NOW), "request_refused", "moderation", {}, NOW)
    assert job.unsent_languages == ()


@pytest.mark.parametrize(
    "change", [source_changes.replace_source, lambda job, source: source_changes.start_new_version(job, source, [FR], NOW)]
)
def test_a_refusal_does_not_apply_to_other_content(change: Callable[[Job, Source], Job]) -> None:
    job = change(JOB_WITH_REFUSED_PROJECT, NEWER_SOURCE)
    job = creation.add_or_restart_targets(job, [FR, ES], NOW)
    assert set(job.unsent_languages) == {FR, ES}


def test_an_edited_video_of_the_same_size_is_another_content() -> None:
    job = dub_states.fail_dub(source_changes.record_digest(unsent_job(), "one"), FR, MODERATION, "", FailureScope.LANGUAGE, NOW)
    edited = replace(TOUCHED_SOURCE, digest="two")
    assert source_changes.start_new_version(job, edited, [FR], NOW).unsent_languages == (FR,)
    assert (
        source_changes.start_new_version(
            source_changes.start_new_version(job, edited, [FR], NOW), replace(TOUCHED_SOURCE, digest="one"), [FR], NOW
        ).unsent_languages
        == ()
    )


def unsent_job() -> Job:
    return submission.record_not_sent(submitting_job(FR))


def test_what_the_service_says_of_an_earlier_version_is_not_about_this_one() -> None:
    job = source_changes.replace_source(dubbing_job(FR), NEWER_SOURCE)
    job = observation.apply_project(
        job, "p1", observed_project(ObservedLanguage(FR, ObservedStatus.ERROR, "v", MODERATION)), NOW
    )
    assert policy_for(job, FR).must_ask
    assert creation.add_or_restart_targets(job, [FR], NOW).unsent_languages == (FR,)


@pytest.mark.parametrize(
    "seen",
    [observed_project(error_language(FR, MODERATION)), ObservedProject(ObservedStatus.ERROR, MODERATION)],
    ids=["language", "whole"],
)
def test_what_the_service_says_of_a_dub_that_was_given_up_counts_too(seen: ObservedProject) -> None:
    """Its project is looked at for the sake of another one."""
    job = observation.apply_project(cancel_dub(dubbing_job(FR, ES), FR), "p1", seen, NOW)
    assert policy_for(job, ES).must_ask == (seen.state is ObservedStatus.ERROR)
    assert source_changes.start_new_version(job, TOUCHED_SOURCE, [FR], NOW).unsent_languages == ()


def test_what_the_service_says_of_a_dub_that_was_removed_counts_too() -> None:
    job = cancellation.remove_dubs(cancel_dub(dubbing_job(FR, ES), FR), [FR])
    assert job is not None
    job = observation.apply_project(job, "p1", observed_project(error_language(FR, MODERATION)), NOW)
    assert creation.add_targets(job, [FR, DE], NOW).unsent_languages == (DE,)


def test_a_project_that_was_refused_and_lists_complete_languages_lets_nothing_else_of_the_video_go_out() -> None:
    job = observation.apply_project(
        dubbing_job(FR), "p1", ObservedProject(ObservedStatus.ERROR, MODERATION, (complete_language(FR),)), NOW
    )
    assert job.dubs[FR].state is DubState.READY
    assert creation.add_targets(job, [ES], NOW).unsent_languages == ()


def test_an_earlier_refusal_that_is_listed_still_ends_no_consent() -> None:
    job = creation.add_targets(JOB_WITH_REFUSED_LANGUAGE, [ES], NOW)
    job = submission.record_locales_added(submission.record_intent(job, [ES], "p1", NOW), {ES: "v2"}, {}, NOW)
    job = observation.apply_project(
        retry_dub(job), "p1", observed_project(error_language(FR, MODERATION), running_language(ES, "v2")), NOW
    )
    assert job.unsent_languages == (FR,)


def test_a_file_that_was_touched_while_the_request_was_under_way_is_the_same_content() -> None:
    job = submission.record_project_created(source_changes.replace_source(submitting_job(FR), TOUCHED_SOURCE), "p1", NOW)
    job = observation.apply_project(job, "p1", ObservedProject(ObservedStatus.ERROR, MODERATION), NOW)
    assert creation.add_targets(creation.add_or_restart_targets(job, [FR], NOW), [ES], NOW).unsent_languages == ()


def test_downloading_again_a_dub_that_passed_moderation_does_not_ask() -> None:
    job = retry_dub(JOB_WITH_REFUSED_LANGUAGE)
    job = submission.record_project_created(submission.record_intent(job, [FR], "", NOW), "p2", NOW)
    job = observation.apply_project(job, "p2", observed_project(ObservedLanguage(FR, ObservedStatus.COMPLETE, "v2")), NOW)
    job = dub_states.fail_dub(job, FR, "disk_full", "", FailureScope.DOWNLOAD, NOW)
    assert not policy_for(job, FR).must_ask
    assert not policy_for(job, FR).never_in_bulk
