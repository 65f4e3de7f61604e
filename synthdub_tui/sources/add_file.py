"""Turns found files into jobs: applies the batch options, and decides what naming a file again means. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import Job, JobOptions, Source, WaitReason
from synthdub_tui.jobs.output_paths import output_folder
from synthdub_tui.jobs.transitions import creation, holds, source_changes
from synthdub_tui.sources.job_index import JobIndex, has_options
from synthdub_tui.sources.same_file import FileStamp, refresh_source, same_version, source_stamp
from synthdub_tui.sources.scan import FoundVideo

MAX_TITLE_CHARACTERS: Final = 256
"""Most characters of a title (API reference, POST /v2/assets and /v2/dubbing)."""


class AddEffect(StrEnum):
    """What adding a file did."""

    NEW = "new"
    RENEWED = "renewed"  # another version of a known file, or --force-new
    EXTENDED = "extended"  # further languages
    KNOWN = "known"  # nothing to add
    MOVED = "moved"  # a known file at a new place
    UNFINISHED = "going on"  # --force-new, which started this version before and has not finished it


class AddedFile(NamedTuple):
    """The job after a file was added."""

    job: Job
    effect: AddEffect


class MovedFile(NamedTuple):
    """A known file at a new place. Its outputs still have to be looked for, see `sources.relocation`."""

    job: Job  # before the move
    source: Source
    outputs: str  # folder of the outputs; empty: next to the source


class FileToCompare(NamedTuple):
    """A file whose content must be read, to decide whether it belongs to one of these jobs."""

    found: FoundVideo
    jobs: tuple[str, ...]  # ids


class RejectedFile(NamedTuple):
    """A file that cannot be added."""

    path: str
    code: str
    detail: str = ""


class PossiblyPaidFile(NamedTuple):
    """A file that may have been paid for already, which nothing can decide. It is not added unless the user agrees to pay."""

    path: str
    code: str


AddOutcome = AddedFile | MovedFile | FileToCompare | RejectedFile | PossiblyPaidFile

MissingFiles = Mapping[int, dict[str, str]]
"""Jobs whose file is missing: size in bytes → job id → path at which the file was looked for."""


def make_title(path: str, prefix: str) -> str:
    """Title at the service: prefix, if any, and the file's name without extension. Unprintable characters become spaces."""
    stem = path.rpartition("/")[2].rpartition(".")[0]
    title = f"{prefix} - {stem}" if prefix else stem
    return "".join(char if char.isprintable() else " " for char in title)


def find_job(known: JobIndex, found: FoundVideo, batch: BatchOptions) -> Job | None:
    """The job of a file with these options."""
    return known.find(found.path, _options(found, batch), batch.title)


def find_job_at(known: JobIndex, path: str, batch: BatchOptions) -> Job | None:
    """The job of the file at a path with these options."""
    return known.find(path, _options_at(path, batch), batch.title)


def recorded_stamps(jobs: Iterable[Job], batch: BatchOptions) -> dict[str, FileStamp]:
    """The paths of the jobs with these options → the version of the file that the job is about."""
    fitting = (job for job in jobs if has_options(job, _options_at(job.source.path, batch), batch.title))
    return {job.source.path: source_stamp(job.source) for job in fitting}


def add_file(
    index: JobIndex,
    video: FoundVideo,
    batch: BatchOptions,
    now: float,
    *,
    missing: MissingFiles | None = None,
    digest: str = "",
) -> AddOutcome:
    """Add a file: a new job, a new version of a known one, further languages of it, or nothing new.

    `missing` are the jobs that a file at a new path may belong to. `digest` is that of the file's content. Without it, the
    outcome is `FileToCompare` if the content decides.
    """
    options = _options(video, batch)
    if len(options.title) > MAX_TITLE_CHARACTERS:
        return RejectedFile(video.path, "title_too_long", f"{len(options.title)} characters")
    job = index.find(video.path, options, batch.title)
    if job is not None:
        return _add_known_file(job, video, batch, now, digest)
    if not batch.force_new:
        gone = (missing or {}).get(video.size, {}).items()
        lost = [index.jobs[each] for each, path in gone if each in index.jobs and index.jobs[each].source.path == path]
        outcome = _choose_moved_job(
            [job for job in lost if _may_be_moved_job(job, video, options, batch)], video, batch, digest
        )
        if outcome is not None:
            return outcome
    folder = output_folder(video.path, video.root, batch.output_dir)
    job = creation.new_job(_source(video), options, batch.targets, now=now, outputs=folder, captions=batch.captions)
    return AddedFile(
        _record_force_new(msgspec.structs.replace(job, id=index.unused_id(video.path, options)), batch, now), AddEffect.NEW
    )


def _add_known_file(job: Job, found: FoundVideo, batch: BatchOptions, now: float, digest: str) -> AddOutcome:
    """Add a file whose path has a job: the same version, another one, or one that must be compared."""
    goes_on = batch.force_new and holds.has_unfinished_forced_dubs(job, batch.targets)
    starts_over = batch.force_new and not goes_on
    if not starts_over and not same_version(source_stamp(job.source), _stamp(found)) and found.size == job.source.size:
        if job.source.digest and not digest:
            return FileToCompare(found, (job.id,))
        if not job.source.digest and job.may_be_paid_for and not batch.agreed:
            return PossiblyPaidFile(found.path, "source_touched")
    folder = output_folder(found.path, found.root, batch.output_dir)
    if folder and folder != job.outputs:
        job = msgspec.structs.replace(job, outputs=folder, mount="")
    job = msgspec.structs.replace(job, captions=batch.captions)
    if starts_over or not _is_same_version(job.source, found, digest):
        return _start_new_version(job, found, batch, now, digest)
    job = source_changes.update_source_time(job, _source_as_found(job.source, found))
    extended = creation.add_or_restart_targets(job, batch.targets, now)
    if goes_on:
        new = [language for language in batch.targets if extended.dubs[language] is not job.dubs.get(language)]
        return AddedFile(holds.agree_to(extended, new, WaitReason.ALREADY_PAID), AddEffect.UNFINISHED)
    return AddedFile(extended, AddEffect.KNOWN if extended is job else AddEffect.EXTENDED)


def _start_new_version(job: Job, found: FoundVideo, batch: BatchOptions, now: float, digest: str) -> AddedFile:
    """Start the job again, except for languages in which moderation refused this very content."""
    source = msgspec.structs.replace(_source(found), digest=digest)
    seen = msgspec.structs.replace(job, source=source)
    languages = [language for language in batch.targets if language not in job.dubs or not seen.refusal_for(language)]
    if batch.force_new and not languages:
        return AddedFile(job, AddEffect.KNOWN)
    return AddedFile(
        _record_force_new(source_changes.start_new_version(job, source, languages, now), batch, now), AddEffect.RENEWED
    )


def _is_same_version(source: Source, found: FoundVideo, digest: str) -> bool:
    """Whether the file is the known version: by size and time, else by its content."""
    return same_version(source_stamp(source), _stamp(found)) or (found.size == source.size and source.digest == digest != "")


def _source_as_found(source: Source, found: FoundVideo) -> Source:
    """The same version as it is now: with the finer of two times that agree, else with the new time."""
    seen = refresh_source(source, _stamp(found))
    return seen if seen.digest == source.digest else msgspec.structs.replace(seen, digest=source.digest)


def _may_be_moved_job(job: Job, found: FoundVideo, options: JobOptions, batch: BatchOptions) -> bool:
    """Whether a job whose file is missing has the options of this file. The file may have been renamed, and its title with
    it."""
    if job.source.size != found.size or job.source.path == found.path:
        return False
    return has_options(job, msgspec.structs.replace(options, title=make_title(job.source.path, batch.title)), batch.title)


def _choose_moved_job(lost: list[Job], found: FoundVideo, batch: BatchOptions, digest: str) -> AddOutcome | None:
    """Choose the job that this file belongs to, among those whose file is missing; None if there is none."""
    lost.sort(key=lambda job: (-_common_trailing_names(job.source.path, found.path), job.source.path))
    if digest and (same := next((job for job in lost if job.source.digest == digest), None)):
        return _move(same, found, batch)
    unread = [job for job in lost if not job.source.digest]
    stamped = [job for job in unread if same_version(source_stamp(job.source), _stamp(found))]
    if same := next((job for job in stamped if job.name == _name(found)), None):
        return _move(same, found, batch)
    if not digest and (read := tuple(job.id for job in lost if job.source.digest)):
        return FileToCompare(found, read)
    named = [job for job in unread if job.name == _name(found)]
    if any(job.may_be_paid_for for job in (*stamped, *named)) and not batch.agreed:
        return PossiblyPaidFile(found.path, "source_maybe_moved")
    return None


def _move(job: Job, found: FoundVideo, batch: BatchOptions) -> MovedFile:
    source = msgspec.structs.replace(job.source, path=found.path, mtime_ns=found.mtime_ns, content_type=found.content_type)
    return MovedFile(job, source, output_folder(found.path, found.root, batch.output_dir) or job.outputs)


def _common_trailing_names(one: str, other: str) -> int:
    """How many last names two paths have in common."""
    pairs = zip(reversed(one.split("/")), reversed(other.split("/")), strict=False)
    return next((count for count, (left, right) in enumerate(pairs) if left != right), 0)


def _name(found: FoundVideo) -> str:
    return found.path.rpartition("/")[2]


def _stamp(found: FoundVideo) -> FileStamp:
    return FileStamp(found.size, found.mtime_ns)


def _source(found: FoundVideo) -> Source:
    return Source(found.path, found.size, found.mtime_ns, found.content_type)


def _record_force_new(job: Job, batch: BatchOptions, now: float) -> Job:
    """With --force-new, record that the user pays again for what was paid for before."""
    return holds.agree_to_pay_again(job, batch.targets, now) if batch.force_new else job


def _options(found: FoundVideo, batch: BatchOptions) -> JobOptions:
    return _options_at(found.path, batch)


def _options_at(path: str, batch: BatchOptions) -> JobOptions:
    title = make_title(path, batch.title)
    return JobOptions(title, batch.source_language, batch.lipsync, batch.video_duration, batch.visibility)
