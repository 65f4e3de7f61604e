"""How found files become jobs: the batch options, and what naming a file again means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from synthdub_tui.jobs import changes
from synthdub_tui.jobs.model import Job, Options, Source
from synthdub_tui.jobs.options import Batch
from synthdub_tui.jobs.output_paths import output_folder
from synthdub_tui.sources.same_file import Stamp, same_version, seen_as, stamp_of
from synthdub_tui.sources.scan import Found

TITLE_LIMIT: Final = 256
"""Characters of a title (API reference, POST /v2/assets and /v2/dubbing)."""


class Effect(StrEnum):
    """What taking a file in did."""

    NEW = "new"
    RENEWED = "renewed"  # another version of a known file, or --force-new
    EXTENDED = "extended"  # further languages
    KNOWN = "known"  # nothing to add


class Admitted(NamedTuple):
    """The job after a file was taken in."""

    job: Job
    effect: Effect


class Rejected(NamedTuple):
    """A file that cannot be taken."""

    path: str
    code: str
    detail: str = ""


def title_of(path: str, prefix: str) -> str:
    """Title at the service: the file's name without its ending, after the prefix where there is one."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    title = f"{prefix} - {stem}" if prefix else stem
    return "".join(char if char.isprintable() else " " for char in title)


def id_of(found: Found, batch: Batch) -> str:
    """Id of the job that a file has, or would have, with these options."""
    return changes.job_id(found.path, _options(found, batch))


def job_at(jobs: Mapping[str, Job], path: str, batch: Batch) -> Job | None:
    """The job that the file at a path has with these options."""
    return jobs.get(changes.job_id(path, _options_at(path, batch)))


def stamps(jobs: Iterable[Job], batch: Batch) -> dict[str, Stamp]:
    """The paths of the jobs with these options, and the version of each that its job is about."""
    return {job.source.path: stamp_of(job.source) for job in jobs if job.options == _options_at(job.source.path, batch)}


def admit(jobs: Mapping[str, Job], found: Found, batch: Batch, now: float) -> Admitted | Rejected:
    """Take a file in: a new job, a new version of a known one, further languages of it, or nothing new."""
    options = _options(found, batch)
    if len(options.title) > TITLE_LIMIT:
        return Rejected(found.path, "title_too_long", f"{len(options.title)} characters")
    source = Source(found.path, found.size, found.mtime_ns, found.content_type)
    known = jobs.get(changes.job_id(found.path, options))
    folder = output_folder(found.path, found.root, batch.output_dir)
    if known is None:
        job = changes.new_job(source, options, batch.targets, now=now, outputs=folder, captions=batch.captions)
        return Admitted(job, Effect.NEW)
    if folder and folder != known.outputs:
        known = msgspec.structs.replace(known, outputs=folder, mount="")
    known = msgspec.structs.replace(known, captions=batch.captions)
    stamp = Stamp(found.size, found.mtime_ns)
    if batch.force_new or not same_version(stamp_of(known.source), stamp):
        return Admitted(changes.renew(known, source, batch.targets, now), Effect.RENEWED)
    known = msgspec.structs.replace(known, source=seen_as(known.source, stamp))
    extended = changes.named_again(known, batch.targets, now)
    return Admitted(extended, Effect.KNOWN if extended is known else Effect.EXTENDED)


def _options(found: Found, batch: Batch) -> Options:
    return _options_at(found.path, batch)


def _options_at(path: str, batch: Batch) -> Options:
    title = title_of(path, batch.title)
    return Options(title, batch.source_language, batch.lipsync, batch.video_duration, batch.visibility)
