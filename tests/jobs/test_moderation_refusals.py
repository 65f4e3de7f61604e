"""What moderation refused is a fact about the content: it outlives the dub, and only consent to that very dub goes past it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import DubState, Job, ProjectSeen, Scope, Seen, SeenState, Source
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.reconcile import activities
from synthdub_tui.jobs.retry_policy import policy
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
    NEWER,
    NOW,
    asked,
    cancelled,
    complete,
    dubbing,
    erred,
    failed_language,
    failed_project,
    listing,
    running,
)

TOUCHED = Source("/videos/intro.mp4", 10, 9, "video/mp4")
COPIED = replace(TOUCHED, path="/videos/renamed.mp4")
REFUSED_LANGUAGE = failed_language(FR, code=MODERATION)
REFUSED_WHOLE = failed_project(FR, code=MODERATION)


def retried(job: Job, language: str = FR) -> Job:
    return retry.retried(job, language, NOW)


def read_again(job: Job) -> Job:
    return restart.resumed(decode_job(encode_job(job).decode()), NOW + 5)


def removed(job: Job, language: str = FR) -> Job:
    left = cancellation.removed(creation.add_targets(job, [DE], NOW), [language])
    assert left is not None
    return left


ERASERS: dict[str, Callable[[Job], Job]] = {
    "a retry that was cancelled before it was sent": lambda job: cancelled(retried(job), FR),
    "a touched file": lambda job: source_changes.source_replaced(job, TOUCHED),
    "a new version by time alone": lambda job: source_changes.renew(job, TOUCHED, [FR], NOW),
    "a retry, then a touched file": lambda job: source_changes.source_replaced(retried(job), TOUCHED),
    "a moved file": lambda job: source_changes.relocated(job, COPIED, "", {}, NOW),
    "a restart": read_again,
    "removing the dub and naming it again": lambda job: creation.add_targets(removed(job), [FR], NOW),
    "a source that was missing and is back": lambda job: source_changes.relocated(
        source_changes.source_failed(retried(job), "source_missing", "", NOW), COPIED, "", {}, NOW
    ),
}


@pytest.mark.parametrize("job", [REFUSED_LANGUAGE, REFUSED_WHOLE], ids=["language", "whole"])
@pytest.mark.parametrize("eraser", ERASERS.values(), ids=ERASERS.keys())
def test_nothing_erases_a_refusal(job: Job, eraser: Callable[[Job], Job]) -> None:
    after = eraser(job)
    assert FR not in after.unsent
    assert policy(after, FR).must_ask
    assert policy(after, FR).alone


def test_another_language_of_a_video_that_was_refused_whole_is_not_sent() -> None:
    job = creation.add_targets(REFUSED_WHOLE, [ES], NOW)
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (job.dubs[ES].state, failure.code) == (DubState.FAILED, MODERATION)
    assert activities(job) == []


def test_another_language_of_a_video_of_which_one_was_refused_is_sent() -> None:
    assert creation.add_targets(REFUSED_LANGUAGE, [ES], NOW).unsent == (ES,)


def test_a_refused_project_lets_nothing_else_of_the_video_go_out() -> None:
    job = creation.add_targets(dubbing(FR), [ES], NOW)
    job = observation.observed(job, "p1", ProjectSeen(SeenState.ERROR, MODERATION), NOW)
    assert job.unsent == ()


def test_a_refused_request_lets_nothing_else_of_the_video_go_out() -> None:
    job = creation.add_targets(asked(FR), [ES], NOW)
    job = submission.refused(job, "request_refused", "violates our content policy", {}, NOW)
    assert job.unsent == ()
    assert creation.add_targets(job, [DE], NOW).unsent == ()


def test_a_refused_language_of_a_request_is_about_no_other_one() -> None:
    job = submission.refused(asked(FR, ES), "request_refused", "", {FR: "moderation"}, NOW)
    assert job.unsent == (ES,)


def test_an_asset_that_moderation_refused_is_refused_as_a_whole() -> None:
    job = source_changes.source_failed(creation.add_targets(REFUSED_LANGUAGE, [ES, DE], NOW), MODERATION, "", NOW)
    assert job.unsent == ()
    assert policy(job, DE).must_ask


def test_who_names_the_dub_sends_it_once() -> None:
    job = retried(creation.add_targets(REFUSED_WHOLE, [ES], NOW), ES)
    assert job.unsent == (ES,)
    again = submission.not_sent(submission.intend(job, [ES], "", NOW))
    assert again.unsent == (ES,)
    accepted = submission.created(submission.intend(again, [ES], "", NOW), "p2", NOW)
    ended = observation.observed(accepted, "p2", listing(erred(ES)), NOW)
    assert policy(ended, ES).must_ask
    assert retried(ended, ES).unsent == (ES,)


def test_consent_outlasts_a_restart() -> None:
    assert read_again(retried(REFUSED_WHOLE)).unsent == (FR,)


def test_consent_is_to_one_dub_alone() -> None:
    job = creation.add_targets(REFUSED_WHOLE, [ES], NOW)
    assert retried(job, ES).unsent == (ES,)


def test_a_new_refusal_ends_a_consent_that_came_before_it() -> None:
    job = creation.add_targets(failed_language(FR, ES, code=MODERATION), [DE], NOW)
    job = retried(job, ES)
    assert set(job.unsent) == {ES, DE}
    job = submission.refused(submission.intend(job, [DE], "", NOW), "request_refused", "moderation", {}, NOW)
    assert job.unsent == ()


@pytest.mark.parametrize(
    "change", [source_changes.source_replaced, lambda job, source: source_changes.renew(job, source, [FR], NOW)]
)
def test_another_content_is_another_matter(change: Callable[[Job, Source], Job]) -> None:
    job = change(REFUSED_WHOLE, NEWER)
    job = creation.named_again(job, [FR, ES], NOW)
    assert set(job.unsent) == {FR, ES}


def test_an_edited_video_of_the_same_size_is_another_content() -> None:
    job = dub_states.failed(source_changes.digest_known(asked_nothing(), "one"), FR, MODERATION, "", Scope.LANGUAGE, NOW)
    edited = replace(TOUCHED, digest="two")
    assert source_changes.renew(job, edited, [FR], NOW).unsent == (FR,)
    assert (
        source_changes.renew(source_changes.renew(job, edited, [FR], NOW), replace(TOUCHED, digest="one"), [FR], NOW).unsent
        == ()
    )


def asked_nothing() -> Job:
    return submission.not_sent(asked(FR))


def test_what_the_service_says_of_an_earlier_version_is_not_about_this_one() -> None:
    job = source_changes.source_replaced(dubbing(FR), NEWER)
    job = observation.observed(job, "p1", listing(Seen(FR, SeenState.ERROR, "v", MODERATION)), NOW)
    assert policy(job, FR).must_ask
    assert creation.named_again(job, [FR], NOW).unsent == (FR,)


@pytest.mark.parametrize(
    "seen", [listing(erred(FR, MODERATION)), ProjectSeen(SeenState.ERROR, MODERATION)], ids=["language", "whole"]
)
def test_what_the_service_says_of_a_dub_that_was_given_up_counts_too(seen: ProjectSeen) -> None:
    """Its project is looked at for the sake of another one."""
    job = observation.observed(cancelled(dubbing(FR, ES), FR), "p1", seen, NOW)
    assert policy(job, ES).must_ask == (seen.state is SeenState.ERROR)
    assert source_changes.renew(job, TOUCHED, [FR], NOW).unsent == ()


def test_what_the_service_says_of_a_dub_that_was_removed_counts_too() -> None:
    job = cancellation.removed(cancelled(dubbing(FR, ES), FR), [FR])
    assert job is not None
    job = observation.observed(job, "p1", listing(erred(FR, MODERATION)), NOW)
    assert creation.add_targets(job, [FR, DE], NOW).unsent == (DE,)


def test_a_project_that_was_refused_and_lists_complete_languages_lets_nothing_else_of_the_video_go_out() -> None:
    job = observation.observed(dubbing(FR), "p1", ProjectSeen(SeenState.ERROR, MODERATION, (complete(FR),)), NOW)
    assert job.dubs[FR].state is DubState.READY
    assert creation.add_targets(job, [ES], NOW).unsent == ()


def test_an_earlier_refusal_that_is_listed_still_ends_no_consent() -> None:
    job = creation.add_targets(REFUSED_LANGUAGE, [ES], NOW)
    job = submission.added(submission.intend(job, [ES], "p1", NOW), {ES: "v2"}, {}, NOW)
    job = observation.observed(retried(job), "p1", listing(erred(FR, MODERATION), running(ES, "v2")), NOW)
    assert job.unsent == (FR,)


def test_a_file_that_was_touched_while_the_request_was_under_way_is_the_same_content() -> None:
    job = submission.created(source_changes.source_replaced(asked(FR), TOUCHED), "p1", NOW)
    job = observation.observed(job, "p1", ProjectSeen(SeenState.ERROR, MODERATION), NOW)
    assert creation.add_targets(creation.named_again(job, [FR], NOW), [ES], NOW).unsent == ()


def test_fetching_again_what_passed_in_the_end_asks_nothing() -> None:
    job = retried(REFUSED_LANGUAGE)
    job = submission.created(submission.intend(job, [FR], "", NOW), "p2", NOW)
    job = observation.observed(job, "p2", listing(Seen(FR, SeenState.COMPLETE, "v2")), NOW)
    job = dub_states.failed(job, FR, "disk_full", "", Scope.DOWNLOAD, NOW)
    assert not policy(job, FR).must_ask
    assert not policy(job, FR).alone
