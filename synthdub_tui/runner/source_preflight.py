"""Checks by its header whether a source can be dubbed, before it is uploaded and before anything is paid."""

from __future__ import annotations

import os

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs import failure_codes
from synthdub_tui.jobs.model import Dub, Scope, Source
from synthdub_tui.jobs.transitions import dub_states
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import Workshop
from synthdub_tui.sources.same_file import Stamp, same_version, stamp_of
from synthdub_tui.sources.video_header import Kind, VideoHeader, look_at


async def worth_sending(shop: Workshop, job_id: str, languages: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Returns the waiting languages (of `languages`, or all unsent ones) that the header allows; the others fail with a reason.

    A header that cannot be read allows all, since the service may be able to read it.
    """
    header = await in_thread(_header, shop.ledger.jobs[job_id].source)
    job = shop.ledger.jobs[job_id]
    waiting = [language for language in job.unsent if languages is None or language in languages]
    refused = {language: trouble for language in waiting if (trouble := _objection(header, job.dubs[language]))}
    for language, trouble in refused.items():
        job = dub_states.failed(job, language, trouble.code, trouble.detail, Scope.SOURCE, shop.now())
    if refused:
        shop.ledger.put(job)
    return tuple(language for language in waiting if language not in refused)


async def warn_if_unreadable(shop: Workshop, job_id: str) -> None:
    """Warn that a source is uploaded although its header could not be read."""
    job = shop.ledger.jobs[job_id]
    header = await in_thread(_header, job.source)
    if header is not None and header.kind is Kind.UNKNOWN:
        shop.on_warning(job, Trouble("header_unreadable", header.looks))


def _header(source: Source) -> VideoHeader | None:
    """Returns the source's header; None if the file is gone or another version, which says nothing about the upload."""
    try:
        status = os.stat(source.path)
    except OSError:
        return None
    now = Stamp(status.st_size, status.st_mtime_ns)
    return look_at(source.path) if same_version(stamp_of(source), now) else None


def _objection(header: VideoHeader | None, dub: Dub) -> Trouble | None:
    """Returns why the dub should not be sent, unless the user agreed to send it anyway."""
    if header is None:
        return None
    if header.kind is Kind.NOT_VIDEO:
        return Trouble("not_a_video", header.looks)
    if header.silent and failure_codes.NO_AUDIO not in dub.agreed:
        return Trouble("no_audio")
    return None
