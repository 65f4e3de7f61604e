"""Checks by its header whether a source can be dubbed, before it is uploaded and before anything is paid."""

from __future__ import annotations

import os

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs import failure_codes
from synthdub_tui.jobs.model import Dub, FailureScope, Source
from synthdub_tui.jobs.transitions import dub_states
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import WorkerContext
from synthdub_tui.sources.same_file import FileStamp, same_version, source_stamp
from synthdub_tui.sources.video_header import FileKind, VideoHeader, read_video_header


async def select_acceptable_languages(
    context: WorkerContext, job_id: str, languages: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Returns the waiting languages (of `languages`, or all unsent ones) that the header allows; the others fail with a reason.

    A header that cannot be read allows all, since the service may be able to read it.
    """
    header = await in_thread(_header, context.live_jobs.jobs[job_id].source)
    job = context.live_jobs.jobs[job_id]
    waiting = [language for language in job.unsent_languages if languages is None or language in languages]
    refused = {language: trouble for language in waiting if (trouble := _objection(header, job.dubs[language]))}
    for language, trouble in refused.items():
        job = dub_states.fail_dub(job, language, trouble.code, trouble.detail, FailureScope.SOURCE, context.now())
    if refused:
        context.live_jobs.update(job)
    return tuple(language for language in waiting if language not in refused)


async def warn_if_header_unreadable(context: WorkerContext, job_id: str) -> None:
    """Warn that a source is uploaded although its header could not be read."""
    job = context.live_jobs.jobs[job_id]
    header = await in_thread(_header, job.source)
    if header is not None and header.kind is FileKind.UNKNOWN:
        context.on_warning(job, ProblemError("header_unreadable", header.finding))


def _header(source: Source) -> VideoHeader | None:
    """Returns the source's header; None if the file is gone or another version, which says nothing about the upload."""
    try:
        status = os.stat(source.path)
    except OSError:
        return None
    now = FileStamp(status.st_size, status.st_mtime_ns)
    return read_video_header(source.path) if same_version(source_stamp(source), now) else None


def _objection(header: VideoHeader | None, dub: Dub) -> ProblemError | None:
    """Returns why the dub should not be sent, unless the user agreed to send it anyway."""
    if header is None:
        return None
    if header.kind is FileKind.NOT_VIDEO:
        return ProblemError("not_a_video", header.finding)
    if header.is_silent and failure_codes.NO_AUDIO not in dub.agreed:
        return ProblemError("no_audio")
    return None
