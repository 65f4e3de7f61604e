"""Dubs that wait for the user: they are not sent, keep nothing else waiting, and only the user lets them go on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import DubState, Hold, Job, Rung, WaitsFor, count
from synthdub_tui.jobs.reconcile import Deliver, Submit, activities
from synthdub_tui.jobs.retry_policy import policy
from synthdub_tui.jobs.transitions import cancellation, dub_states, holds, observation, retry, submission
from synthdub_tui.runner import request_handlers
from tests.dub_refs import seen
from tests.jobs.factories import ES, FR, NOW, asked, delivered, dubbing, failed_language, queued

PAID_BEFORE = Hold(WaitsFor.ALREADY_PAID, NOW, "p1 of 3 May")


def held(job: Job, *languages: str) -> Job:
    for language in languages:
        job = holds.held(job, language, PAID_BEFORE)
    return job


def test_what_is_held_wants_nothing_and_the_others_go_on() -> None:
    job = held(delivered(FR, ES), FR)
    assert activities(job) == [Submit((ES,), "")]
    assert job.can_go_on and job.open
    assert job.held == (FR,)
    everything = held(queued(FR, ES), FR, ES)
    assert activities(everything) == []
    assert everything.open and not everything.can_go_on


def test_only_a_dub_that_waits_and_is_not_being_sent_can_be_held() -> None:
    for job in (dubbing(FR), asked(FR)):
        with pytest.raises(dub_states.IllegalMove):
            held(job, FR)


def test_what_is_held_is_never_sent() -> None:
    with pytest.raises(dub_states.IllegalMove):
        submission.intend(held(delivered(FR, ES), FR), [FR, ES], "", NOW)


def test_a_hold_that_is_over_leaves_nothing_behind() -> None:
    assert holds.hold_released(held(queued(FR), FR), FR) == queued(FR)


def test_a_cancel_ends_the_hold_and_a_retry_after_it_asks_the_receipts_again() -> None:
    job = cancellation.cancelled(held(queued(FR), FR), FR, NOW)
    assert job.dubs[FR].state is DubState.CANCELLED and job.dubs[FR].hold is None
    job = retry.retried(job, FR, NOW)
    assert job.dubs[FR].hold is None and job.dubs[FR].agreed == ()


def test_a_retry_releases_the_dub_and_remembers_what_the_user_agreed_to() -> None:
    job = retry.retried(held(queued(FR, ES), FR, ES), FR, NOW)
    assert job.dubs[FR].agreed == ("already_paid",) and job.dubs[FR].hold is None
    assert job.held == (ES,)
    again = retry.retried(held(job, FR), FR, NOW)
    assert again.dubs[FR].agreed == ("already_paid",)
    assert activities(again) == [Deliver(0)]


def test_what_was_paid_before_is_retried_with_consent_alone() -> None:
    job = held(queued(FR), FR)
    assert retry.rung(job.dubs[FR]) is Rung.PROJECT
    assert policy(job, FR).must_ask
    jobs = {job.id: job}
    assert request_handlers.retry(jobs, seen(jobs, [Cell(job.id)]), False, NOW, pytest.fail, lambda _: True) == (0, 1, ())


def test_what_waits_for_its_file_may_be_sent_at_once_without_asking() -> None:
    job = holds.held(queued(FR), FR, Hold(WaitsFor.REST, NOW))
    assert not policy(job, FR).must_ask
    assert retry.retried(job, FR, NOW).dubs[FR].agreed == ("rest",)


def test_a_held_addition_climbs_with_the_others_when_its_project_takes_no_more() -> None:
    job = retry.retried(failed_language(FR), FR, NOW)
    job = observation.project_lost(held(job, FR), "p1", "", NOW)
    assert job.dubs[FR].next_rung is Rung.PROJECT and job.held == (FR,)


def test_what_a_dub_waits_for() -> None:
    job = held(queued(FR, ES), FR)
    assert job.waits_for(FR) is WaitsFor.ALREADY_PAID
    assert job.waits_for(ES) is None
    assert job.waits_for(ES, paused=True) is WaitsFor.PAUSE
    growing = replace(job, unsettled=True)
    assert growing.waits_for(ES, paused=True) is WaitsFor.REST
    assert growing.waits_for(FR) is WaitsFor.ALREADY_PAID
    assert dubbing(FR).waits_for(FR, paused=True) is None


def test_held_dubs_are_counted_among_those_that_wait() -> None:
    jobs = [held(queued(FR, ES), FR), dubbing(FR)]
    assert (count(jobs).waiting, count(jobs).held) == (2, 1)
    assert count(jobs, paused=True).held == 2
