"""A new job, and further languages of one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec.structs import replace

from synthdub_tui.jobs.model import Dub, DubState, Job, JobOptions, Source
from synthdub_tui.jobs.transitions.dub_states import update_stage
from synthdub_tui.jobs.transitions.source_changes import new_waiting_dub


def make_job_id(path: str, options: JobOptions) -> str:
    """The usual id of a job, safe as a file name: a readable stem, and a digest of absolute path and options."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    readable = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:32].strip("-") or "video"
    parts = (path, options.source_language, options.title, options.lipsync, options.video_duration, options.visibility)
    import hashlib  # noqa: PLC0415 - not needed for the dashboard's first frame

    digest = hashlib.sha256("\0".join(map(str, parts)).encode("utf-8", "surrogateescape"))
    return f"{readable}-{digest.hexdigest()[:12]}"


def new_job(
    source: Source, options: JobOptions, targets: Iterable[str], *, now: float, outputs: str = "", captions: bool = True
) -> Job:
    """A job for which nothing was done yet."""
    dubs = {language: Dub(DubState.WAITING, now) for language in targets}
    return Job(make_job_id(source.path, options), source, options, now, dubs, outputs=outputs, captions=captions)


def add_targets(job: Job, targets: Iterable[str], now: float) -> Job:
    """The job with further languages. Languages that it has keep their state."""
    new = {language: Dub(DubState.WAITING, now) for language in targets if language not in job.dubs}
    return update_stage(replace(job, dubs=job.dubs | new)) if new else job


def add_or_restart_targets(job: Job, targets: Iterable[str], now: float) -> Job:
    """The job with further languages. Languages that were dubbed from an earlier version of the source start again."""
    again = {language for language in targets if language in job.dubs and job.dubs[language].stale}
    if again:
        job = replace(job, dubs=job.dubs | {language: new_waiting_dub(job.dubs[language], now) for language in again})
    return update_stage(add_targets(job, targets, now))
