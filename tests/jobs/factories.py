"""Jobs in the situations that the tests of the domain start from."""

from __future__ import annotations

from synthdub_tui.jobs.model import (
    DubState,
    FailureScope,
    Job,
    JobOptions,
    ObservedLanguage,
    ObservedProject,
    ObservedStatus,
    Output,
    PartRecord,
    Source,
)
from synthdub_tui.jobs.transitions import (
    cancellation,
    creation,
    download,
    dub_states,
    observation,
    source_changes,
    submission,
    upload,
)

NOW = 1000.0
SOURCE = Source("/videos/intro.mp4", 10, 1, "video/mp4")
NEWER_SOURCE = Source("/videos/intro.mp4", 11, 2, "video/mp4")
OPTIONS = JobOptions("intro")
FR, ES, DE = "fr-FR", "es-ES", "de-DE"


def queued_job(*targets: str) -> Job:
    return creation.new_job(SOURCE, OPTIONS, targets or (FR, ES), now=NOW)


def uploaded_job(*targets: str) -> Job:
    """The asset is ready, nothing is submitted."""
    job = upload.record_asset_created(queued_job(*targets), "a1", NOW)
    return upload.record_asset_ready(upload.record_asset_uploaded(job), "")


def submitting_job(*targets: str, project: str = "") -> Job:
    """The intent is on disk, the answer is not there."""
    job = uploaded_job(*targets)
    return submission.record_intent(job, job.dubs, project, NOW)


def dubbing_job(*targets: str, project: str = "p1") -> Job:
    return submission.record_project_created(submitting_job(*targets), project, NOW)


def observed_project(*entries: ObservedLanguage, complete: bool = False) -> ObservedProject:
    return ObservedProject(ObservedStatus.COMPLETE if complete else ObservedStatus.RUNNING, "", entries)


def complete_language(language: str, video: str = "v1") -> ObservedLanguage:
    return ObservedLanguage(language, ObservedStatus.COMPLETE, video)


def running_language(language: str, video: str = "v1") -> ObservedLanguage:
    return ObservedLanguage(language, ObservedStatus.RUNNING, video)


def error_language(language: str, code: str = "processing_error", video: str = "v1") -> ObservedLanguage:
    return ObservedLanguage(language, ObservedStatus.ERROR, video, code)


def ready_job(*targets: str) -> Job:
    job = dubbing_job(*targets)
    return observation.apply_project(
        job, "p1", observed_project(*(complete_language(language) for language in job.dubs), complete=True), NOW
    )


def downloading_job(*targets: str) -> Job:
    job = ready_job(*targets)
    for language in job.dubs:
        job = download.start_download(job, language, PartRecord(100, '"tag"'), NOW)
    return job


def done_job(*targets: str) -> Job:
    job = downloading_job(*targets)
    for language in job.dubs:
        job = download.finish_download(job, language, Output.of(f"/videos/intro.dubbed-{language}.mp4", 100, 5), NOW)
    return job


def job_with_failed_language(*targets: str, code: str = "processing_error", video: str = "v1") -> Job:
    """The service failed these languages, each by itself, in project p1."""
    job = dubbing_job(*targets)
    return observation.apply_project(
        job, "p1", observed_project(*(error_language(language, code, video) for language in job.dubs), complete=True), NOW
    )


def job_with_failed_project(*targets: str, code: str = "processing_error") -> Job:
    return observation.apply_project(dubbing_job(*targets), "p1", ObservedProject(ObservedStatus.ERROR, code), NOW)


def unknown_job(*targets: str) -> Job:
    """A POST whose outcome nobody knows."""
    return submission.record_unknown_outcome(submitting_job(*targets), NOW)


def job_with_unknown_addition(language: str = DE) -> Job:
    """A finished job to which a language was added by a PUT whose outcome nobody knows."""
    job = creation.add_targets(done_job(FR), [language], NOW)
    return submission.record_unknown_outcome(submission.record_intent(job, [language], "p1", NOW), NOW)


def cancel_dub(job: Job, language: str) -> Job:
    return cancellation.cancel_dub(job, language, NOW)


def job_with_failed_source(*targets: str) -> Job:
    return source_changes.fail_unsent_dubs(queued_job(*targets), "source_missing", "", NOW)


def job_with_failed_download(*targets: str) -> Job:
    job = downloading_job(*targets)
    for language in job.dubs:
        job = dub_states.fail_dub(job, language, "disk_full", "", FailureScope.DOWNLOAD, NOW)
    return job


def jobs_in_every_state(language: str = FR) -> dict[DubState, Job]:
    """A job of one language for each state that a dub can have."""
    return {
        DubState.WAITING: queued_job(language),
        DubState.DUBBING: dubbing_job(language),
        DubState.READY: ready_job(language),
        DubState.DOWNLOADING: downloading_job(language),
        DubState.DONE: done_job(language),
        DubState.FAILED: job_with_failed_language(language),
        DubState.CANCELLED: cancel_dub(queued_job(language), language),
        DubState.UNKNOWN: unknown_job(language),
    }
