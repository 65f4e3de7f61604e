"""What is to be done about a job, told from its facts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.reconcile import Activity, Deliver, Download, Recall, Submit, Watch, activities, live_project
from synthdub_tui.jobs.transitions import adoption, creation, observation, retry, source_changes, submission, upload
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

UPLOADING = upload.asset_created(queued(), "a1", NOW)


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        (queued(), [Deliver(0)]),
        (upload.preparing(queued()), [Deliver(0)]),
        (UPLOADING, [Deliver(0)]),
        (upload.asset_uploaded(UPLOADING), [Deliver(0)]),
        (delivered(FR, ES), [Submit((FR, ES), "")]),
        (cancelled(delivered(FR, ES), FR), [Submit((ES,), "")]),
        (asked(FR, ES), []),
        (creation.add_targets(asked(FR), [ES], NOW), []),
        (dubbing(FR, ES), [Watch("p1")]),
        (cancelled(dubbing(FR), FR), []),
        (observation.observed(dubbing(FR, ES), "p1", listing(complete(FR), running(ES)), NOW), [Watch("p1"), Download(FR)]),
        (ready(FR, ES), [Download(FR), Download(ES)]),
        (downloading(FR), [Download(FR)]),
        (done(FR), []),
        (creation.add_targets(dubbing(FR), [ES], NOW), [Submit((ES,), "p1"), Watch("p1")]),
        (creation.add_targets(done(FR), [ES], NOW), [Submit((ES,), "p1")]),
        (creation.add_targets(failed_project(FR), [ES], NOW), [Submit((ES,), "")]),
        (creation.add_targets(failed_source(FR), [ES], NOW), [Deliver(0)]),
        (failed_language(FR), []),
        (unknown(FR), [Recall((FR,))]),
        (adoption.recalled(unknown(FR), FR, "", NOW), []),
        (adoption.recalled(unknown(FR), FR, "p1", NOW), [Watch("p1")]),
        (unknown_addition(DE), [Watch("p1")]),
        (source_changes.renew(dubbing(FR, ES), NEWER, [FR], NOW), [Deliver(1), Watch("p1")]),
    ],
)
def test_activities(job: Job, wanted: list[Activity]) -> None:
    assert activities(job) == wanted


def test_a_request_under_way_needs_no_delivery() -> None:
    """Its asset was dropped meanwhile for another language's sake; that one does need it."""
    job = upload.asset_dropped(asked(FR))
    assert activities(job) == []
    assert activities(creation.add_targets(job, [ES], NOW)) == [Deliver(0)]


def test_additions_go_to_one_project_at_a_time_and_before_new_projects() -> None:
    job = failed_language(FR, ES)
    job = retry.retried(retry.retried(job, FR, NOW), ES, NOW)
    other = replace(job.dubs[ES], project="p2")
    job = replace(job, dubs=job.dubs | {ES: other})
    assert activities(job) == [Submit((FR,), "p1")]
    job = submission.added(submission.intend(job, [FR], "p1", NOW), {FR: "v2"}, {}, NOW)
    assert activities(job) == [Submit((ES,), "p2"), Watch("p1")]


def test_an_addition_goes_on_while_another_language_needs_an_upload() -> None:
    job = retry.retried(failed_language(FR), FR, NOW)
    job = creation.add_targets(replace(job, asset=None), [ES], NOW)
    assert activities(job) == [Deliver(0), Submit((FR,), "p1")]


def test_the_live_project_is_the_newest_of_the_present_asset() -> None:
    job = replace(done(FR), projects={"p1": "a1", "p2": "a1", "p3": "a0", "p4": ""})
    assert live_project(job) == "p2"
    assert live_project(replace(job, asset=None)) == ""
    assert live_project(queued()) == ""
