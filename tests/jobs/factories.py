"""Jobs in the situations that the tests of the domain start from."""

from __future__ import annotations

from synthdub_tui.jobs.model import DubState, Job, Options, Output, Part, ProjectSeen, Scope, Seen, SeenState, Source
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
NEWER = Source("/videos/intro.mp4", 11, 2, "video/mp4")
OPTIONS = Options("intro")
FR, ES, DE = "fr-FR", "es-ES", "de-DE"


def queued(*targets: str) -> Job:
    return creation.new_job(SOURCE, OPTIONS, targets or (FR, ES), now=NOW)


def delivered(*targets: str) -> Job:
    """The asset is ready, nothing is submitted."""
    job = upload.asset_created(queued(*targets), "a1", NOW)
    return upload.asset_ready(upload.asset_uploaded(job), "")


def asked(*targets: str, project: str = "") -> Job:
    """The intent is on disk, the answer is not there."""
    job = delivered(*targets)
    return submission.intend(job, job.dubs, project, NOW)


def dubbing(*targets: str, project: str = "p1") -> Job:
    return submission.created(asked(*targets), project, NOW)


def listing(*entries: Seen, complete: bool = False) -> ProjectSeen:
    return ProjectSeen(SeenState.COMPLETE if complete else SeenState.RUNNING, "", entries)


def complete(language: str, video: str = "v1") -> Seen:
    return Seen(language, SeenState.COMPLETE, video)


def running(language: str, video: str = "v1") -> Seen:
    return Seen(language, SeenState.RUNNING, video)


def erred(language: str, code: str = "processing_error", video: str = "v1") -> Seen:
    return Seen(language, SeenState.ERROR, video, code)


def ready(*targets: str) -> Job:
    job = dubbing(*targets)
    return observation.observed(job, "p1", listing(*(complete(language) for language in job.dubs), complete=True), NOW)


def downloading(*targets: str) -> Job:
    job = ready(*targets)
    for language in job.dubs:
        job = download.download_started(job, language, Part(100, '"tag"'), NOW)
    return job


def done(*targets: str) -> Job:
    job = downloading(*targets)
    for language in job.dubs:
        job = download.downloaded(job, language, Output.of(f"/videos/intro.dubbed-{language}.mp4", 100, 5), NOW)
    return job


def failed_language(*targets: str, code: str = "processing_error", video: str = "v1") -> Job:
    """The service failed these languages, each by itself, in project p1."""
    job = dubbing(*targets)
    return observation.observed(
        job, "p1", listing(*(erred(language, code, video) for language in job.dubs), complete=True), NOW
    )


def failed_project(*targets: str, code: str = "processing_error") -> Job:
    return observation.observed(dubbing(*targets), "p1", ProjectSeen(SeenState.ERROR, code), NOW)


def unknown(*targets: str) -> Job:
    """A POST whose outcome nobody knows."""
    return submission.unclear(asked(*targets), NOW)


def unknown_addition(language: str = DE) -> Job:
    """A finished job to which a language was added by a PUT whose outcome nobody knows."""
    job = creation.add_targets(done(FR), [language], NOW)
    return submission.unclear(submission.intend(job, [language], "p1", NOW), NOW)


def cancelled(job: Job, language: str) -> Job:
    return cancellation.cancelled(job, language, NOW)


def failed_source(*targets: str) -> Job:
    return source_changes.source_failed(queued(*targets), "source_missing", "", NOW)


def failed_download(*targets: str) -> Job:
    job = downloading(*targets)
    for language in job.dubs:
        job = dub_states.failed(job, language, "disk_full", "", Scope.DOWNLOAD, NOW)
    return job


def in_every_state(language: str = FR) -> dict[DubState, Job]:
    """A job of one language for each state that a dub can have."""
    return {
        DubState.WAITING: queued(language),
        DubState.DUBBING: dubbing(language),
        DubState.READY: ready(language),
        DubState.DOWNLOADING: downloading(language),
        DubState.DONE: done(language),
        DubState.FAILED: failed_language(language),
        DubState.CANCELLED: cancelled(queued(language), language),
        DubState.UNKNOWN: unknown(language),
    }
