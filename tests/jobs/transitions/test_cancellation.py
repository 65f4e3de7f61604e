"""Taking dubs out of a job: only what has ended goes, and what was paid for is known before it is forgotten."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.model import DubState, Job, Stage
from synthdub_tui.jobs.transitions import cancellation, creation, dub_states, submission
from tests.jobs.factories import (
    ES,
    FR,
    NOW,
    cancel_dub,
    done_job,
    dubbing_job,
    job_with_failed_download,
    job_with_failed_language,
    job_with_failed_source,
    jobs_in_every_state,
    queued_job,
    submitting_job,
    unknown_job,
)

REMOVABLE_STATES = {DubState.DONE, DubState.FAILED, DubState.CANCELLED}


@pytest.mark.parametrize("state", list(DubState))
def test_only_what_has_ended_can_be_removed(state: DubState) -> None:
    job = jobs_in_every_state()[state]
    assert cancellation.can_remove(job, FR) == (state in REMOVABLE_STATES)
    if state in REMOVABLE_STATES:
        assert cancellation.remove_dubs(job, [FR]) is None
    else:
        with pytest.raises(dub_states.IllegalTransitionError):
            cancellation.remove_dubs(job, [FR])


def test_what_was_cancelled_while_its_request_is_on_the_way_stays_until_that_is_answered() -> None:
    job = cancel_dub(submitting_job(FR), FR)
    assert not cancellation.can_remove(job, FR)
    assert cancellation.can_remove(submission.record_project_created(job, "p1", NOW), FR)


def test_the_other_dubs_of_the_job_stay_as_they_are() -> None:
    job = cancel_dub(dubbing_job(FR, ES), FR)
    left = cancellation.remove_dubs(job, [FR])
    assert left is not None and left.dubs == {ES: job.dubs[ES]}


def test_the_stage_is_that_of_the_dubs_that_are_left() -> None:
    job = creation.add_targets(done_job(FR), [ES], NOW)
    left = cancellation.remove_dubs(cancel_dub(job, ES), [FR])
    assert left is not None and left.stage is Stage.ENDED


@pytest.mark.parametrize(
    ("job", "paid"),
    [
        (done_job(FR), False),
        (job_with_failed_source(FR), False),
        (cancel_dub(queued_job(FR), FR), False),
        (job_with_failed_language(FR), True),
        (job_with_failed_download(FR), True),
        (cancel_dub(dubbing_job(FR), FR), True),
        (cancel_dub(unknown_job(FR), FR), True),
    ],
    ids=["done", "source", "never sent", "failed", "not fetched", "cancelled at work", "cancelled, nobody knows"],
)
def test_what_was_paid_for_and_is_not_on_disk_is_not_forgotten_unasked(job: Job, paid: bool) -> None:
    assert cancellation.removal_forgets_paid_work(job.dubs[FR]) == paid
