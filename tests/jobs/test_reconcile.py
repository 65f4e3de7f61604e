"""What is to be done about a job, told from its facts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.reconcile import (
    Activity,
    Download,
    LookUpReceipts,
    PollProject,
    Submit,
    Upload,
    extendable_project,
    needed_activities,
)
from synthdub_tui.jobs.transitions import adoption, creation, observation, retry, source_changes, submission, upload
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NEWER_SOURCE,
    NOW,
    cancel_dub,
    complete_language,
    done_job,
    downloading_job,
    dubbing_job,
    job_with_failed_language,
    job_with_failed_project,
    job_with_failed_source,
    job_with_unknown_addition,
    observed_project,
    queued_job,
    ready_job,
    running_language,
    submitting_job,
    unknown_job,
    uploaded_job,
)

UPLOADING_JOB = upload.record_asset_created(queued_job(), "a1", NOW)


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        (queued_job(), [Upload(0)]),
        (upload.start_preparing(queued_job()), [Upload(0)]),
        (UPLOADING_JOB, [Upload(0)]),
        (upload.record_asset_uploaded(UPLOADING_JOB), [Upload(0)]),
        (uploaded_job(FR, ES), [Submit((FR, ES), "")]),
        (cancel_dub(uploaded_job(FR, ES), FR), [Submit((ES,), "")]),
        (submitting_job(FR, ES), []),
        (creation.add_targets(submitting_job(FR), [ES], NOW), []),
        (dubbing_job(FR, ES), [PollProject("p1")]),
        (cancel_dub(dubbing_job(FR), FR), []),
        (
            observation.apply_project(
                dubbing_job(FR, ES), "p1", observed_project(complete_language(FR), running_language(ES)), NOW
            ),
            [PollProject("p1"), Download(FR)],
        ),
        (ready_job(FR, ES), [Download(FR), Download(ES)]),
        (downloading_job(FR), [Download(FR)]),
        (done_job(FR), []),
        (creation.add_targets(dubbing_job(FR), [ES], NOW), [Submit((ES,), "p1"), PollProject("p1")]),
        (creation.add_targets(done_job(FR), [ES], NOW), [Submit((ES,), "p1")]),
        (creation.add_targets(job_with_failed_project(FR), [ES], NOW), [Submit((ES,), "")]),
        (creation.add_targets(job_with_failed_source(FR), [ES], NOW), [Upload(0)]),
        (job_with_failed_language(FR), []),
        (unknown_job(FR), [LookUpReceipts((FR,))]),
        (adoption.resolve_from_receipts(unknown_job(FR), FR, "", NOW), []),
        (adoption.resolve_from_receipts(unknown_job(FR), FR, "p1", NOW), [PollProject("p1")]),
        (job_with_unknown_addition(DE), [PollProject("p1")]),
        (source_changes.start_new_version(dubbing_job(FR, ES), NEWER_SOURCE, [FR], NOW), [Upload(1), PollProject("p1")]),
    ],
)
def test_activities(job: Job, wanted: list[Activity]) -> None:
    assert needed_activities(job) == wanted


def test_a_request_under_way_needs_no_delivery() -> None:
    """Its asset was dropped meanwhile for another language's sake; that one does need it."""
    job = upload.drop_asset(submitting_job(FR))
    assert needed_activities(job) == []
    assert needed_activities(creation.add_targets(job, [ES], NOW)) == [Upload(0)]


def test_additions_go_to_one_project_at_a_time_and_before_new_projects() -> None:
    job = job_with_failed_language(FR, ES)
    job = retry.retry_dub(retry.retry_dub(job, FR, NOW), ES, NOW)
    other = replace(job.dubs[ES], project="p2")
    job = replace(job, dubs=job.dubs | {ES: other})
    assert needed_activities(job) == [Submit((FR,), "p1")]
    job = submission.record_locales_added(submission.record_intent(job, [FR], "p1", NOW), {FR: "v2"}, {}, NOW)
    assert needed_activities(job) == [Submit((ES,), "p2"), PollProject("p1")]


def test_an_addition_goes_on_while_another_language_needs_an_upload() -> None:
    job = retry.retry_dub(job_with_failed_language(FR), FR, NOW)
    job = creation.add_targets(replace(job, asset=None), [ES], NOW)
    assert needed_activities(job) == [Upload(0), Submit((FR,), "p1")]


def test_the_live_project_is_the_newest_of_the_present_asset() -> None:
    job = replace(done_job(FR), projects={"p1": "a1", "p2": "a1", "p3": "a0", "p4": ""})
    assert extendable_project(job) == "p2"
    assert extendable_project(replace(job, asset=None)) == ""
    assert extendable_project(queued_job()) == ""
