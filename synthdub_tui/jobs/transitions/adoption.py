"""A dub is followed in a project that the service has already, and nothing is sent for it."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from synthdub_tui.jobs.model import DubState, Job, Output
from synthdub_tui.jobs.transitions.dub_states import IllegalTransitionError, change_state, replace_dub, update_stage
from synthdub_tui.jobs.transitions.submission import accept_dub

_ADOPTABLE: Final = frozenset({DubState.WAITING, DubState.FAILED, DubState.CANCELLED, DubState.UNKNOWN})


def resolve_from_receipts(job: Job, language: str, project: str, now: float) -> Job:
    """Record into which project the receipts say an unknown request went; empty if they do not know it either."""
    if not project:
        return replace_dub(job, language, replace(job.dubs[language], checked=True))
    return follow_existing_project(job, language, project, job.dubs[language].since, now)


def follow_existing_project(job: Job, language: str, project: str, submitted: float, now: float) -> Job:
    """Follow a language that was paid for before, in a project that still exists, instead of sending it again."""
    job = replace(job, projects={project: "", **job.projects})
    job = accept_dub(job, language, project, "", now, submitted=submitted, erred=False, old_video="")
    return update_stage(job)


def can_adopt(job: Job, language: str) -> bool:
    """Whether a dub may be followed in a project that the user names: it is neither in progress at the service, nor done."""
    sent = job.submission is not None and language in job.submission.languages
    return job.dubs[language].state in _ADOPTABLE and not sent


def adopt(job: Job, language: str, project: str, submitted: float, now: float) -> Job:
    """Follow the dub in the project that the user named, even if it was cancelled before. Nothing is sent. Earlier tries
    elsewhere no longer count.

    Raises `IllegalTransitionError` unless the dub is `can_adopt`.
    """
    if not can_adopt(job, language):
        raise IllegalTransitionError(f"{job.id} {language}: under way at the service, or done")
    job = replace_dub(job, language, replace(job.dubs[language], tried=()))
    job = follow_existing_project(job, language, project, submitted, now)
    if job.dubs[language].state is DubState.CANCELLED:
        job = update_stage(change_state(job, language, DubState.DUBBING, now))
    return job


def recover_output(job: Job, language: str, output: Output, project: str, submitted: float, now: float) -> Job:
    """Record that the language was paid for before, and that its finished file is in its place."""
    job = follow_existing_project(job, language, project, submitted, now)
    job = change_state(job, language, DubState.READY, now)
    return update_stage(change_state(job, language, DubState.DONE, now, output=output))
