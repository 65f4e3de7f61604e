"""What is to be done about a job, told from its facts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.reconcile import Activity, Deliver, Download, Recall, Submit, Watch, activities, live_project
from synthdub_tui.jobs.transitions import dub_states
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NEWER,
    NOW,
    asked,
    cancelled,
    complete,
    delivered,
    done,
    downloading,
    dubbing,
    failed_language,
    failed_project,
    failed_source,
    listing,
    queued,
    ready,
    running,
    unknown,
    unknown_addition,
)

UPLOADING = dub_states.asset_created(queued(), "a1", NOW)


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        (queued(), [Deliver(0)]),
        (dub_states.preparing(queued()), [Deliver(0)]),
        (UPLOADING, [Deliver(0)]),
        (dub_states.asset_uploaded(UPLOADING), [Deliver(0)]),
        (delivered(FR, ES), [Submit((FR, ES), "")]),
        (cancelled(delivered(FR, ES), FR), [Submit((ES,), "")]),
        (asked(FR, ES), []),
        (dub_states.add_targets(asked(FR), [ES], NOW), []),
        (dubbing(FR, ES), [Watch("p1")]),
        (cancelled(dubbing(FR), FR), []),
        (dub_states.observed(dubbing(FR, ES), "p1", listing(complete(FR), running(ES)), NOW), [Watch("p1"), Download(FR)]),
        (ready(FR, ES), [Download(FR), Download(ES)]),
        (downloading(FR), [Download(FR)]),
        (done(FR), []),
        (dub_states.add_targets(dubbing(FR), [ES], NOW), [Submit((ES,), "p1"), Watch("p1")]),
        (dub_states.add_targets(done(FR), [ES], NOW), [Submit((ES,), "p1")]),
        (dub_states.add_targets(failed_project(FR), [ES], NOW), [Submit((ES,), "")]),
        (dub_states.add_targets(failed_source(FR), [ES], NOW), [Deliver(0)]),
        (failed_language(FR), []),
        (unknown(FR), [Recall((FR,))]),
        (dub_states.recalled(unknown(FR), FR, "", NOW), []),
        (dub_states.recalled(unknown(FR), FR, "p1", NOW), [Watch("p1")]),
        (unknown_addition(DE), [Watch("p1")]),
        (dub_states.renew(dubbing(FR, ES), NEWER, [FR], NOW), [Deliver(1), Watch("p1")]),
    ],
)
def test_activities(job: Job, wanted: list[Activity]) -> None:
    assert activities(job) == wanted


def test_a_request_under_way_needs_no_delivery() -> None:
    """Its asset was dropped meanwhile for another language's sake; that one does need it."""
    job = dub_states.asset_dropped(asked(FR))
    assert activities(job) == []
    assert activities(dub_states.add_targets(job, [ES], NOW)) == [Deliver(0)]


def test_additions_go_to_one_project_at_a_time_and_before_new_projects() -> None:
    job = failed_language(FR, ES)
    job = dub_states.retried(dub_states.retried(job, FR, NOW), ES, NOW)
    other = replace(job.dubs[ES], project="p2")
    job = replace(job, dubs=job.dubs | {ES: other})
    assert activities(job) == [Submit((FR,), "p1")]
    job = dub_states.added(dub_states.intend(job, [FR], "p1", NOW), {FR: "v2"}, {}, NOW)
    assert activities(job) == [Submit((ES,), "p2"), Watch("p1")]


def test_an_addition_goes_on_while_another_language_needs_an_upload() -> None:
    job = dub_states.retried(failed_language(FR), FR, NOW)
    job = dub_states.add_targets(replace(job, asset=None), [ES], NOW)
    assert activities(job) == [Deliver(0), Submit((FR,), "p1")]


def test_the_live_project_is_the_newest_of_the_present_asset() -> None:
    job = replace(done(FR), projects={"p1": "a1", "p2": "a1", "p3": "a0", "p4": ""})
    assert live_project(job) == "p2"
    assert live_project(replace(job, asset=None)) == ""
    assert live_project(queued()) == ""
