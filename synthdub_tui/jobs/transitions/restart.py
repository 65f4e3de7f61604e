"""The job as it is taken up after a stop or a crash."""

from __future__ import annotations

from msgspec.structs import replace

from synthdub_tui.jobs.model import Dub, DubState, Job, Stage
from synthdub_tui.jobs.transitions.download import pause_download
from synthdub_tui.jobs.transitions.dub_states import update_stage
from synthdub_tui.jobs.transitions.retry import check_again
from synthdub_tui.jobs.transitions.submission import record_unknown_outcome


def resume_job(job: Job, now: float) -> Job:
    """The job as it continues after a stop or a crash."""
    job = replace(job, dubs={language: _without_future_times(dub, now) for language, dub in job.dubs.items()})
    if job.submission is not None:
        job = record_unknown_outcome(
            job, min(job.submission.at, now)
        )  # the same time at every read, so that two readers see the same job
    for language in job.languages_in_state(DubState.DOWNLOADING):
        job = pause_download(job, language, now)
    for language in job.languages_in_state(DubState.UNKNOWN):
        job = check_again(job, language, now)
    return update_stage(job, Stage.QUEUED)


def _without_future_times(dub: Dub, now: float) -> Dub:
    """The dub without times in the future, in case the clock was put back: it would not be checked before they come."""
    if max(dub.since, dub.submitted, dub.absent_since) <= now:
        return dub
    since, submitted, absent = (min(at, now) for at in (dub.since, dub.submitted, dub.absent_since))
    return replace(dub, since=since, submitted=submitted, absent_since=absent)
