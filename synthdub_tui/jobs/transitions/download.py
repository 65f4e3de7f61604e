"""A download starts, pauses, is published and finishes; its output is reviewed."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from synthdub_tui.jobs.model import Dub, DubState, Failure, Job, Output, PartRecord
from synthdub_tui.jobs.transitions.dub_states import IllegalTransitionError, change_state, replace_dub, update_stage


def start_download(job: Job, language: str, part: PartRecord, now: float) -> Job:
    """Record that the download begins, continues, or begins again under another validator. `part` lets it continue."""
    dub = job.dubs[language]
    if dub.state is DubState.DOWNLOADING:
        return replace_dub(job, language, replace(dub, part=part))
    return change_state(job, language, DubState.DOWNLOADING, now, part=part, failure=None)


def record_publishing(job: Job, language: str, size: int, mtime_ns: int) -> Job:
    """Record that the part file is complete and about to get its final name. Size and time then identify it as ours."""
    dub = job.dubs[language]
    etag = dub.part.etag if dub.part else ""
    return replace_dub(job, language, replace(dub, part=PartRecord(size, etag, mtime_ns)))


def record_captions_publishing(job: Job, language: str, times: tuple[int, ...]) -> Job:
    """Record that captions are about to get their final names. `times`: theirs, and those of our captions already there."""
    return replace_dub(job, language, replace(job.dubs[language], captions_ns=times))


def finish_download(job: Job, language: str, output: Output, now: float, *, captions_failure: Failure | None = None) -> Job:
    """Record that the video is complete on disk, under its final name. `captions_failure` is why not all of its captions
    are."""
    dub = job.dubs[language]
    facts = {
        **{"part": None, "landed": None, "captions_ns": (), "output": output.with_caption_times(own_captions_ns(dub))},
        **{"failure": captions_failure, "captions_tries": dub.captions_tries + 1 if captions_failure else 0},
    }
    return update_stage(change_state(job, language, DubState.DONE, now, **facts))


def own_captions_ns(dub: Dub) -> tuple[int, ...]:
    """Modification times of captions that this dub wrote, or is about to write: only these captions are ours."""
    return dub.captions_ns or (dub.output.captions_ns if dub.output is not None else ())


def pause_download(job: Job, language: str, now: float) -> Job:
    """Record that the download stopped. It will continue at the same place."""
    return change_state(job, language, DubState.READY, now)


def published_part(dub: Dub) -> PartRecord | None:
    """The file that may have the final name although the dub is not done, since captions are saved after the video."""
    return dub.part if dub.part is not None and dub.part.mtime_ns else dub.landed


def own_file_fields(dub: Dub) -> dict[str, Any]:
    """Fields that identify which files are ours, so that those of a new version may replace them."""
    return {"output": dub.output, "landed": published_part(dub), "captions_ns": dub.captions_ns}


def set_reviewed(job: Job, language: str, is_reviewed: bool) -> Job:
    """Set or remove the review mark of a finished output."""
    dub = job.dubs[language]
    if dub.output is None:
        raise IllegalTransitionError(f"{job.id} has no output in {language}")
    return replace_dub(job, language, replace(dub, output=replace(dub.output, reviewed=is_reviewed)))


def part_of_output(output: Output) -> PartRecord:
    return PartRecord(output.size, "", output.mtime_ns)
