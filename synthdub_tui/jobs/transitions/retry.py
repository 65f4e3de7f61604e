"""The user wants a dub again: the cheapest step that may help, and the job after it."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from synthdub_tui.jobs.model import NEVER, Dub, DubState, Failure, Job, Rung, Scope, WaitsFor
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions.download import _as_landed
from synthdub_tui.jobs.transitions.dub_states import _move, _staged, _with_dub
from synthdub_tui.jobs.transitions.holds import _agreed, _past_failure, _with_agreement
from synthdub_tui.jobs.transitions.submission import _unclear

_LOOK_AGAIN: Final = frozenset({"project_not_found", "internal", "status_unknown"})
"""Failures after which a retry first checks the project again."""


def rung(dub: Dub) -> Rung | None:
    """The cheapest step of a retry that may help this dub; None if there is nothing to retry."""
    match dub.state:
        case DubState.WAITING if dub.hold is not None:
            return Rung.PROJECT if dub.hold.reason in (WaitsFor.ALREADY_PAID, WaitsFor.CLAIMED) else Rung.SUBMIT
        case DubState.UNKNOWN:
            return Rung.ADD if dub.project else Rung.PROJECT
        case DubState.CANCELLED if _unclear(dub):
            return Rung.ADD if dub.project else Rung.PROJECT
        case DubState.CANCELLED if dub.next_rung is not None:
            return dub.next_rung  # cancelled while it waited for that very step
        case DubState.CANCELLED if dub.project:
            return Rung.DOWNLOAD
        case DubState.CANCELLED:
            return Rung.PROJECT if dub.failure is not None else Rung.SUBMIT
        case DubState.DONE:
            return Rung.DOWNLOAD
        case DubState.FAILED if dub.failure is not None:
            return _failed_rung(dub, dub.failure)
        case _:
            return None


def step(job: Job, language: str) -> Rung | None:
    """The step that a retry takes: the dub's rung, or a new project if the dub's project accepts no more languages."""
    dub = job.dubs[language]
    found = rung(dub)
    return Rung.PROJECT if found is Rung.ADD and job.projects.get(dub.project) == "" else found


def retried(job: Job, language: str, now: float) -> Job:
    """Retry a dub for the user, by its rung, or release a held one.

    For a finished dub, the caller has checked that its file is missing or lacks captions. If the file is there, only the
    captions are downloaded. For a dub that moderation refused, the caller has asked the user.
    """
    if must_not_be_sent(job, language):
        dub = job.dubs[language]
        job = _with_dub(job, language, replace(dub, agreed=_with_agreement(dub, MODERATION)))
    return _again(job, language, now)


def must_not_be_sent(job: Job, language: str) -> bool:
    """Whether a retry would send content that moderation refused. That needs the user's consent to that very dub."""
    dub = job.dubs[language]
    refused = job.refusal(language) is not None or (dub.failure is not None and dub.failure.code == MODERATION)
    return refused and rung(dub) not in (None, Rung.DOWNLOAD)


def _again(job: Job, language: str, now: float) -> Job:
    dub = job.dubs[language]
    if dub.hold is not None:
        return _agreed(_with_dub(job, language, replace(dub, since=now)), language, dub.hold.reason)
    wanted = step(job, language)
    if wanted is None:
        return job
    clean: dict[str, Any] = {"failure": None, "checked": False, "absent_since": NEVER, "agreed": _past_failure(dub)}
    if wanted is Rung.DOWNLOAD:
        lost = dub.state is DubState.CANCELLED or (dub.failure is not None and dub.failure.code in _LOOK_AGAIN)
        tried = _tried(dub, wanted) if lost else dub.tried
        if dub.lacks_captions and dub.output is not None:
            clean["part"] = _as_landed(dub.output)
        return _staged(_move(job, language, DubState.DUBBING if lost else DubState.READY, now, **clean, tried=tried))
    job, clean = replace(job, uploads=0), {**clean, "stale": False}
    if wanted is Rung.UPLOAD and job.asset is not None and job.asset.uploaded:
        job = replace(job, asset=None, version=job.version + 1)
    if wanted is Rung.SUBMIT:
        return _staged(_move(job, language, DubState.WAITING, now, **clean))
    if dub.stale:
        clean["project"] = ""  # it belongs to the earlier version, whose dub is no longer wanted
    climbed = {**clean, "next_rung": wanted, "tried": _tried(dub, wanted), "video": "", **_history(dub, wanted)}
    return _staged(_move(job, language, DubState.WAITING, now, **climbed))


def can_look_for(dub: Dub) -> bool:
    """Whether a free check may find what a retry would pay for: the project was not known, or the request's outcome is not."""
    lost = dub.state is DubState.FAILED and dub.failure is not None and dub.failure.code == "project_not_found"
    return (lost and bool(dub.project)) or dub.state is DubState.UNKNOWN


def looked_for(job: Job, language: str, now: float) -> Job:
    """Check once more for a dub that `can_look_for` selects. Nothing is sent, whatever the check finds."""
    dub = job.dubs[language]
    if dub.state is DubState.UNKNOWN:
        return _with_dub(job, language, replace(dub, checked=False)) if dub.checked else job
    return _staged(_move(job, language, DubState.DUBBING, now, failure=None, checked=False, absent_since=NEVER))


def _history(dub: Dub, step: Rung) -> dict[str, Any]:
    """What the dub's next project may still list about earlier tries."""
    if step is not Rung.ADD:
        return {"erred": False, "old_video": "", "checked": False}
    if dub.failure is None or dub.failure.scope is not Scope.LANGUAGE:
        return {}
    listed = dub.failure.code != "missing_in_project"
    return {"erred": listed, "old_video": dub.video or dub.old_video if listed else ""}


def _tried(dub: Dub, step: Rung) -> tuple[Rung, ...]:
    return dub.tried if step in dub.tried else (*dub.tried, step)


def _failed_rung(dub: Dub, failure: Failure) -> Rung:
    match failure.scope:
        case Scope.DOWNLOAD:
            return Rung.DOWNLOAD
        case Scope.PROJECT if failure.code == "project_not_found" and Rung.DOWNLOAD not in dub.tried:
            return Rung.DOWNLOAD  # it may have been unknown only for a while
        case Scope.SOURCE | Scope.SUBMISSION:
            return dub.next_rung or Rung.SUBMIT
        case Scope.LANGUAGE if Rung.ADD not in dub.tried and Rung.PROJECT not in dub.tried:
            return Rung.ADD
        case _ if Rung.PROJECT not in dub.tried:
            return Rung.PROJECT
        case _:
            return Rung.UPLOAD
