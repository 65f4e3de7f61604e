"""Taking dubs out of a job: only what has ended goes, and what was paid for is known before it is forgotten."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.model import DubState, Job, Stage
from synthdub_tui.jobs.transitions import cancellation, creation, dub_states, submission
from tests.jobs.factories import (
    ES,
    FR,
    NOW,
    asked,
    cancelled,
    done,
    dubbing,
    failed_download,
    failed_language,
    failed_source,
    in_every_state,
    queued,
    unknown,
)

REMOVABLE = {DubState.DONE, DubState.FAILED, DubState.CANCELLED}


@pytest.mark.parametrize("state", list(DubState))
def test_only_what_has_ended_can_be_removed(state: DubState) -> None:
    job = in_every_state()[state]
    assert cancellation.removable(job, FR) == (state in REMOVABLE)
    if state in REMOVABLE:
        assert cancellation.removed(job, [FR]) is None
    else:
        with pytest.raises(dub_states.IllegalMove):
            cancellation.removed(job, [FR])


def test_what_was_cancelled_while_its_request_is_on_the_way_stays_until_that_is_answered() -> None:
    job = cancelled(asked(FR), FR)
    assert not cancellation.removable(job, FR)
    assert cancellation.removable(submission.created(job, "p1", NOW), FR)


def test_the_other_dubs_of_the_job_stay_as_they_are() -> None:
    job = cancelled(dubbing(FR, ES), FR)
    left = cancellation.removed(job, [FR])
    assert left is not None and left.dubs == {ES: job.dubs[ES]}


def test_the_stage_is_that_of_the_dubs_that_are_left() -> None:
    job = creation.add_targets(done(FR), [ES], NOW)
    left = cancellation.removed(cancelled(job, ES), [FR])
    assert left is not None and left.stage is Stage.ENDED


@pytest.mark.parametrize(
    ("job", "paid"),
    [
        (done(FR), False),
        (failed_source(FR), False),
        (cancelled(queued(FR), FR), False),
        (failed_language(FR), True),
        (failed_download(FR), True),
        (cancelled(dubbing(FR), FR), True),
        (cancelled(unknown(FR), FR), True),
    ],
    ids=["done", "source", "never sent", "failed", "not fetched", "cancelled at work", "cancelled, nobody knows"],
)
def test_what_was_paid_for_and_is_not_on_disk_is_not_forgotten_unasked(job: Job, paid: bool) -> None:
    assert cancellation.forgets_paid(job.dubs[FR]) == paid
