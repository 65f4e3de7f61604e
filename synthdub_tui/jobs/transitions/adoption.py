"""A dub is followed in a project that the service has already, and nothing is sent for it."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from synthdub_tui.jobs.model import DubState, Job, Output
from synthdub_tui.jobs.transitions.dub_states import IllegalMove, _move, _staged, _with_dub
from synthdub_tui.jobs.transitions.submission import _accepted

_ADOPTABLE: Final = frozenset({DubState.WAITING, DubState.FAILED, DubState.CANCELLED, DubState.UNKNOWN})


def recalled(job: Job, language: str, project: str, now: float) -> Job:
    """Record into which project the receipts say an unknown request went; empty if they do not know it either."""
    if not project:
        return _with_dub(job, language, replace(job.dubs[language], checked=True))
    return taken_up(job, language, project, job.dubs[language].since, now)


def taken_up(job: Job, language: str, project: str, submitted: float, now: float) -> Job:
    """Follow a language that was paid for before, in a project that still exists, instead of sending it again."""
    job = replace(job, projects={project: "", **job.projects})
    job = _accepted(job, language, project, "", now, submitted=submitted, erred=False, old_video="")
    return _staged(job)


def adoptable(job: Job, language: str) -> bool:
    """Whether a dub may be followed in a project that the user names: it is neither in progress at the service, nor done."""
    sent = job.submission is not None and language in job.submission.languages
    return job.dubs[language].state in _ADOPTABLE and not sent


def adopted(job: Job, language: str, project: str, submitted: float, now: float) -> Job:
    """Follow the dub in the project that the user named, even if it was cancelled before. Nothing is sent. Earlier tries
    elsewhere no longer count.

    Raises `IllegalMove` unless the dub is `adoptable`.
    """
    if not adoptable(job, language):
        raise IllegalMove(f"{job.id} {language}: under way at the service, or done")
    job = _with_dub(job, language, replace(job.dubs[language], tried=()))
    job = taken_up(job, language, project, submitted, now)
    if job.dubs[language].state is DubState.CANCELLED:
        job = _staged(_move(job, language, DubState.DUBBING, now))
    return job


def recovered(job: Job, language: str, output: Output, project: str, submitted: float, now: float) -> Job:
    """Record that the language was paid for before, and that its finished file is in its place."""
    job = taken_up(job, language, project, submitted, now)
    job = _move(job, language, DubState.READY, now)
    return _staged(_move(job, language, DubState.DONE, now, output=output))
