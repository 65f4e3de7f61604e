"""Dubs that wait for the user: they are not sent, keep nothing else waiting, and only the user lets them go on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import DubState, Hold, Job, RetryStep, WaitReason, count_dubs
from synthdub_tui.jobs.reconcile import Submit, Upload, needed_activities
from synthdub_tui.jobs.retry_policy import policy_for
from synthdub_tui.jobs.transitions import cancellation, dub_states, holds, observation, retry, submission
from synthdub_tui.runner import request_handlers
from tests.dub_refs import shown_dubs
from tests.jobs.factories import ES, FR, NOW, dubbing_job, job_with_failed_language, queued_job, submitting_job, uploaded_job

PAID_BEFORE_HOLD = Hold(WaitReason.ALREADY_PAID, NOW, "p1 of 3 May")


def hold_dub(job: Job, *languages: str) -> Job:
    for language in languages:
        job = holds.hold_dub(job, language, PAID_BEFORE_HOLD)
    return job


def test_what_is_held_wants_nothing_and_the_others_go_on() -> None:
    job = hold_dub(uploaded_job(FR, ES), FR)
    assert needed_activities(job) == [Submit((ES,), "")]
    assert job.can_continue and job.is_open
    assert job.held_languages == (FR,)
    everything = hold_dub(queued_job(FR, ES), FR, ES)
    assert needed_activities(everything) == []
    assert everything.is_open and not everything.can_continue


def test_only_a_dub_that_waits_and_is_not_being_sent_can_be_held() -> None:
    for job in (dubbing_job(FR), submitting_job(FR)):
        with pytest.raises(dub_states.IllegalTransitionError):
            hold_dub(job, FR)


def test_what_is_held_is_never_sent() -> None:
    with pytest.raises(dub_states.IllegalTransitionError):
        submission.record_intent(hold_dub(uploaded_job(FR, ES), FR), [FR, ES], "", NOW)


def test_a_hold_that_is_over_leaves_nothing_behind() -> None:
    assert holds.release_hold(hold_dub(queued_job(FR), FR), FR) == queued_job(FR)


def test_a_cancel_ends_the_hold_and_a_retry_after_it_asks_the_receipts_again() -> None:
    job = cancellation.cancel_dub(hold_dub(queued_job(FR), FR), FR, NOW)
    assert job.dubs[FR].state is DubState.CANCELLED and job.dubs[FR].hold is None
    job = retry.retry_dub(job, FR, NOW)
    assert job.dubs[FR].hold is None and job.dubs[FR].agreed == ()


def test_a_retry_releases_the_dub_and_remembers_what_the_user_agreed_to() -> None:
    job = retry.retry_dub(hold_dub(queued_job(FR, ES), FR, ES), FR, NOW)
    assert job.dubs[FR].agreed == ("already_paid",) and job.dubs[FR].hold is None
    assert job.held_languages == (ES,)
    again = retry.retry_dub(hold_dub(job, FR), FR, NOW)
    assert again.dubs[FR].agreed == ("already_paid",)
    assert needed_activities(again) == [Upload(0)]


def test_what_was_paid_before_is_retried_with_consent_alone() -> None:
    job = hold_dub(queued_job(FR), FR)
    assert retry.cheapest_step(job.dubs[FR]) is RetryStep.NEW_PROJECT
    assert policy_for(job, FR).must_ask
    jobs = {job.id: job}
    assert request_handlers.retry(jobs, shown_dubs(jobs, [DubRef(job.id)]), False, NOW, pytest.fail, lambda _: True) == (
        0,
        1,
        (),
    )


def test_what_waits_for_its_file_may_be_sent_at_once_without_asking() -> None:
    job = holds.hold_dub(queued_job(FR), FR, Hold(WaitReason.SETTLING, NOW))
    assert not policy_for(job, FR).must_ask
    assert retry.retry_dub(job, FR, NOW).dubs[FR].agreed == ("rest",)


def test_a_held_addition_climbs_with_the_others_when_its_project_takes_no_more() -> None:
    job = retry.retry_dub(job_with_failed_language(FR), FR, NOW)
    job = observation.record_project_not_found(hold_dub(job, FR), "p1", "", NOW)
    assert job.dubs[FR].next_rung is RetryStep.NEW_PROJECT and job.held_languages == (FR,)


def test_what_a_dub_waits_for() -> None:
    job = hold_dub(queued_job(FR, ES), FR)
    assert job.wait_reason(FR) is WaitReason.ALREADY_PAID
    assert job.wait_reason(ES) is None
    assert job.wait_reason(ES, paused=True) is WaitReason.PAUSE
    growing = replace(job, unsettled=True)
    assert growing.wait_reason(ES, paused=True) is WaitReason.SETTLING
    assert growing.wait_reason(FR) is WaitReason.ALREADY_PAID
    assert dubbing_job(FR).wait_reason(FR, paused=True) is None


def test_held_dubs_are_counted_among_those_that_wait() -> None:
    jobs = [hold_dub(queued_job(FR, ES), FR), dubbing_job(FR)]
    assert (count_dubs(jobs).waiting, count_dubs(jobs).held) == (2, 1)
    assert count_dubs(jobs, paused=True).held == 2
