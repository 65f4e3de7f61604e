"""Turns found files into jobs: applies the batch options, and decides what naming a file again means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.jobs.model import Job, Options, Source, WaitsFor
from synthdub_tui.jobs.output_paths import output_folder
from synthdub_tui.jobs.transitions import creation, holds, source_changes
from synthdub_tui.sources.job_index import Known, fits
from synthdub_tui.sources.same_file import Stamp, same_version, seen_as, stamp_of
from synthdub_tui.sources.scan import Found

TITLE_LIMIT: Final = 256
"""Most characters of a title (API reference, POST /v2/assets and /v2/dubbing)."""


class Effect(StrEnum):
    """What adding a file did."""

    NEW = "new"
    RENEWED = "renewed"  # another version of a known file, or --force-new
    EXTENDED = "extended"  # further languages
    KNOWN = "known"  # nothing to add
    MOVED = "moved"  # a known file at a new place
    GOING_ON = "going on"  # --force-new, which started this version before and has not finished it


class Admitted(NamedTuple):
    """The job after a file was added."""

    job: Job
    effect: Effect


class Moved(NamedTuple):
    """A known file at a new place. Its outputs still have to be looked for, see `sources.relocation`."""

    job: Job  # before the move
    source: Source
    outputs: str  # folder of the outputs; empty: next to the source


class Undecided(NamedTuple):
    """A file whose content must be read, to decide whether it belongs to one of these jobs."""

    found: Found
    jobs: tuple[str, ...]  # ids


class Rejected(NamedTuple):
    """A file that cannot be added."""

    path: str
    code: str
    detail: str = ""


class Unsure(NamedTuple):
    """A file that may have been paid for already, which nothing can decide. It is not added unless the user agrees to pay."""

    path: str
    code: str


Outcome = Admitted | Moved | Undecided | Rejected | Unsure

Missing = Mapping[int, dict[str, str]]
"""Jobs whose file is missing: size in bytes → job id → path at which the file was looked for."""


def title_of(path: str, prefix: str) -> str:
    """Title at the service: prefix, if any, and the file's name without extension. Unprintable characters become spaces."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    title = f"{prefix} - {stem}" if prefix else stem
    return "".join(char if char.isprintable() else " " for char in title)


def job_of(known: Known, found: Found, batch: Batch) -> Job | None:
    """The job of a file with these options."""
    return known.at(found.path, _options(found, batch), batch.title)


def job_at(known: Known, path: str, batch: Batch) -> Job | None:
    """The job of the file at a path with these options."""
    return known.at(path, _options_at(path, batch), batch.title)


def stamps(jobs: Iterable[Job], batch: Batch) -> dict[str, Stamp]:
    """The paths of the jobs with these options → the version of the file that the job is about."""
    fitting = (job for job in jobs if fits(job, _options_at(job.source.path, batch), batch.title))
    return {job.source.path: stamp_of(job.source) for job in fitting}


def admit(known: Known, found: Found, batch: Batch, now: float, *, missing: Missing | None = None, digest: str = "") -> Outcome:
    """Add a file: a new job, a new version of a known one, further languages of it, or nothing new.

    `missing` are the jobs that a file at a new path may belong to. `digest` is that of the file's content. Without it, the
    outcome is `Undecided` if the content decides.
    """
    options = _options(found, batch)
    if len(options.title) > TITLE_LIMIT:
        return Rejected(found.path, "title_too_long", f"{len(options.title)} characters")
    job = known.at(found.path, options, batch.title)
    if job is not None:
        return _known(job, found, batch, now, digest)
    if not batch.force_new:
        gone = (missing or {}).get(found.size, {}).items()
        lost = [known.jobs[each] for each, path in gone if each in known.jobs and known.jobs[each].source.path == path]
        outcome = _moved([job for job in lost if _may_be(job, found, options, batch)], found, batch, digest)
        if outcome is not None:
            return outcome
    folder = output_folder(found.path, found.root, batch.output_dir)
    job = creation.new_job(_source(found), options, batch.targets, now=now, outputs=folder, captions=batch.captions)
    return Admitted(_meant(msgspec.structs.replace(job, id=known.free_id(found.path, options)), batch, now), Effect.NEW)


def _known(job: Job, found: Found, batch: Batch, now: float, digest: str) -> Outcome:
    """Add a file whose path has a job: the same version, another one, or one that must be compared."""
    goes_on = batch.force_new and holds.force_goes_on(job, batch.targets)
    anew = batch.force_new and not goes_on
    if not anew and not same_version(stamp_of(job.source), _stamp(found)) and found.size == job.source.size:
        if job.source.digest and not digest:
            return Undecided(found, (job.id,))
        if not job.source.digest and job.paid_for and not batch.agreed:
            return Unsure(found.path, "source_touched")
    folder = output_folder(found.path, found.root, batch.output_dir)
    if folder and folder != job.outputs:
        job = msgspec.structs.replace(job, outputs=folder, mount="")
    job = msgspec.structs.replace(job, captions=batch.captions)
    if anew or not _same(job.source, found, digest):
        return _renewed(job, found, batch, now, digest)
    job = source_changes.source_adopted(job, _seen(job.source, found))
    extended = creation.named_again(job, batch.targets, now)
    if goes_on:
        new = [language for language in batch.targets if extended.dubs[language] is not job.dubs.get(language)]
        return Admitted(holds.agreed_to(extended, new, WaitsFor.ALREADY_PAID), Effect.GOING_ON)
    return Admitted(extended, Effect.KNOWN if extended is job else Effect.EXTENDED)


def _renewed(job: Job, found: Found, batch: Batch, now: float, digest: str) -> Admitted:
    """Start the job again, except for languages in which moderation refused this very content."""
    source = msgspec.structs.replace(_source(found), digest=digest)
    seen = msgspec.structs.replace(job, source=source)
    anew = [language for language in batch.targets if language not in job.dubs or not seen.refusal(language)]
    if batch.force_new and not anew:
        return Admitted(job, Effect.KNOWN)
    return Admitted(_meant(source_changes.renew(job, source, anew, now), batch, now), Effect.RENEWED)


def _same(source: Source, found: Found, digest: str) -> bool:
    """Whether the file is the known version: by size and time, else by its content."""
    return same_version(stamp_of(source), _stamp(found)) or (found.size == source.size and source.digest == digest != "")


def _seen(source: Source, found: Found) -> Source:
    """The same version as it is now: with the finer of two times that agree, else with the new time."""
    seen = seen_as(source, _stamp(found))
    return seen if seen.digest == source.digest else msgspec.structs.replace(seen, digest=source.digest)


def _may_be(job: Job, found: Found, options: Options, batch: Batch) -> bool:
    """Whether a job whose file is missing has the options of this file. The file may have been renamed, and its title with
    it."""
    if job.source.size != found.size or job.source.path == found.path:
        return False
    return fits(job, msgspec.structs.replace(options, title=title_of(job.source.path, batch.title)), batch.title)


def _moved(lost: list[Job], found: Found, batch: Batch, digest: str) -> Outcome | None:
    """Choose the job that this file belongs to, among those whose file is missing; None if there is none."""
    lost.sort(key=lambda job: (-_common_end(job.source.path, found.path), job.source.path))
    if digest and (same := next((job for job in lost if job.source.digest == digest), None)):
        return _move(same, found, batch)
    unread = [job for job in lost if not job.source.digest]
    stamped = [job for job in unread if same_version(stamp_of(job.source), _stamp(found))]
    if same := next((job for job in stamped if job.name == _name(found)), None):
        return _move(same, found, batch)
    if not digest and (read := tuple(job.id for job in lost if job.source.digest)):
        return Undecided(found, read)
    named = [job for job in unread if job.name == _name(found)]
    if any(job.paid_for for job in (*stamped, *named)) and not batch.agreed:
        return Unsure(found.path, "source_maybe_moved")
    return None


def _move(job: Job, found: Found, batch: Batch) -> Moved:
    source = msgspec.structs.replace(job.source, path=found.path, mtime_ns=found.mtime_ns, content_type=found.content_type)
    return Moved(job, source, output_folder(found.path, found.root, batch.output_dir) or job.outputs)


def _common_end(one: str, other: str) -> int:
    """How many last names two paths have in common."""
    pairs = zip(reversed(one.split("/")), reversed(other.split("/")), strict=False)
    return next((count for count, (left, right) in enumerate(pairs) if left != right), 0)


def _name(found: Found) -> str:
    return found.path.rpartition("/")[2]


def _stamp(found: Found) -> Stamp:
    return Stamp(found.size, found.mtime_ns)


def _source(found: Found) -> Source:
    return Source(found.path, found.size, found.mtime_ns, found.content_type)


def _meant(job: Job, batch: Batch, now: float) -> Job:
    """With --force-new, record that the user pays again for what was paid for before."""
    return holds.forced(job, batch.targets, now) if batch.force_new else job


def _options(found: Found, batch: Batch) -> Options:
    return _options_at(found.path, batch)


def _options_at(path: str, batch: Batch) -> Options:
    title = title_of(path, batch.title)
    return Options(title, batch.source_language, batch.lipsync, batch.video_duration, batch.visibility)
