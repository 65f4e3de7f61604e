"""A download starts, pauses, is published and finishes; its output is reviewed."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from synthdub_tui.jobs.model import Dub, DubState, Failure, Job, Output, Part
from synthdub_tui.jobs.transitions.dub_states import IllegalMove, _move, _staged, _with_dub


def download_started(job: Job, language: str, part: Part, now: float) -> Job:
    """Record that the download begins, continues, or begins again under another validator. `part` lets it continue."""
    dub = job.dubs[language]
    if dub.state is DubState.DOWNLOADING:
        return _with_dub(job, language, replace(dub, part=part))
    return _move(job, language, DubState.DOWNLOADING, now, part=part, failure=None)


def landing(job: Job, language: str, size: int, mtime_ns: int) -> Job:
    """Record that the part file is complete and about to get its final name. Size and time then identify it as ours."""
    dub = job.dubs[language]
    etag = dub.part.etag if dub.part else ""
    return _with_dub(job, language, replace(dub, part=Part(size, etag, mtime_ns)))


def captions_landing(job: Job, language: str, times: tuple[int, ...]) -> Job:
    """Record that captions are about to get their final names. `times`: theirs, and those of our captions already there."""
    return _with_dub(job, language, replace(job.dubs[language], captions_ns=times))


def downloaded(job: Job, language: str, output: Output, now: float, *, lacking: Failure | None = None) -> Job:
    """Record that the video is complete on disk, under its final name. `lacking` is why not all of its captions are."""
    dub = job.dubs[language]
    facts = {
        **{"part": None, "landed": None, "captions_ns": (), "output": output.with_captions(captions_ns(dub))},
        **{"failure": lacking, "captions_tries": dub.captions_tries + 1 if lacking else 0},
    }
    return _staged(_move(job, language, DubState.DONE, now, **facts))


def captions_ns(dub: Dub) -> tuple[int, ...]:
    """Modification times of captions that this dub wrote, or is about to write: only these captions are ours."""
    return dub.captions_ns or (dub.output.captions_ns if dub.output is not None else ())


def download_paused(job: Job, language: str, now: float) -> Job:
    """Record that the download stopped. It will continue at the same place."""
    return _move(job, language, DubState.READY, now)


def _landed(dub: Dub) -> Part | None:
    """The file that may have the final name although the dub is not done, since captions are saved after the video."""
    return dub.part if dub.part is not None and dub.part.mtime_ns else dub.landed


def _files_of(dub: Dub) -> dict[str, Any]:
    """Fields that identify which files are ours, so that those of a new version may replace them."""
    return {"output": dub.output, "landed": _landed(dub), "captions_ns": dub.captions_ns}


def reviewed(job: Job, language: str, mark: bool) -> Job:
    """Set or remove the review mark of a finished output."""
    dub = job.dubs[language]
    if dub.output is None:
        raise IllegalMove(f"{job.id} has no output in {language}")
    return _with_dub(job, language, replace(dub, output=replace(dub.output, reviewed=mark)))


def _as_landed(output: Output) -> Part:
    return Part(output.size, "", output.mtime_ns)
