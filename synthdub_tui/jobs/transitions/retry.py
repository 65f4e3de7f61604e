"""The user wants a dub again: the cheapest step that may help, and the job after it."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from synthdub_tui.jobs.model import NEVER, Dub, DubState, Failure, FailureScope, Job, RetryStep, WaitReason
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions.download import part_of_output
from synthdub_tui.jobs.transitions.dub_states import change_state, replace_dub, update_stage
from synthdub_tui.jobs.transitions.holds import add_agreement, agree_and_release, agreements_with_failure
from synthdub_tui.jobs.transitions.submission import has_unknown_outcome

_CHECK_PROJECT_FIRST: Final = frozenset({"project_not_found", "internal", "status_unknown"})
"""Failures after which a retry first checks the project again."""


def cheapest_step(dub: Dub) -> RetryStep | None:
    """The cheapest step of a retry that may help this dub; None if there is nothing to retry."""
    match dub.state:
        case DubState.WAITING if dub.hold is not None:
            return (
                RetryStep.NEW_PROJECT if dub.hold.reason in (WaitReason.ALREADY_PAID, WaitReason.CLAIMED) else RetryStep.SUBMIT
            )
        case DubState.UNKNOWN:
            return RetryStep.ADD_LANGUAGE if dub.project else RetryStep.NEW_PROJECT
        case DubState.CANCELLED if has_unknown_outcome(dub):
            return RetryStep.ADD_LANGUAGE if dub.project else RetryStep.NEW_PROJECT
        case DubState.CANCELLED if dub.next_rung is not None:
            return dub.next_rung  # cancelled while it waited for that very step
        case DubState.CANCELLED if dub.project:
            return RetryStep.DOWNLOAD
        case DubState.CANCELLED:
            return RetryStep.NEW_PROJECT if dub.failure is not None else RetryStep.SUBMIT
        case DubState.DONE:
            return RetryStep.DOWNLOAD
        case DubState.FAILED if dub.failure is not None:
            return _step_after_failure(dub, dub.failure)
        case _:
            return None


def next_step(job: Job, language: str) -> RetryStep | None:
    """The step that a retry takes: the dub's rung, or a new project if the dub's project accepts no more languages."""
    dub = job.dubs[language]
    found = cheapest_step(dub)
    return RetryStep.NEW_PROJECT if found is RetryStep.ADD_LANGUAGE and job.projects.get(dub.project) == "" else found


def retry_dub(job: Job, language: str, now: float) -> Job:
    """Retry a dub for the user, by its rung, or release a held one.

    For a finished dub, the caller has checked that its file is missing or lacks captions. If the file is there, only the
    captions are downloaded. For a dub that moderation refused, the caller has asked the user.
    """
    if would_resend_refused_content(job, language):
        dub = job.dubs[language]
        job = replace_dub(job, language, replace(dub, agreed=add_agreement(dub, MODERATION)))
    return take_next_step(job, language, now)


def would_resend_refused_content(job: Job, language: str) -> bool:
    """Whether a retry would send content that moderation refused. That needs the user's consent to that very dub."""
    dub = job.dubs[language]
    refused = job.refusal_for(language) is not None or (dub.failure is not None and dub.failure.code == MODERATION)
    return refused and cheapest_step(dub) not in (None, RetryStep.DOWNLOAD)


def take_next_step(job: Job, language: str, now: float) -> Job:
    dub = job.dubs[language]
    if dub.hold is not None:
        return agree_and_release(replace_dub(job, language, replace(dub, since=now)), language, dub.hold.reason)
    wanted = next_step(job, language)
    if wanted is None:
        return job
    clean: dict[str, Any] = {"failure": None, "checked": False, "absent_since": NEVER, "agreed": agreements_with_failure(dub)}
    if wanted is RetryStep.DOWNLOAD:
        lost = dub.state is DubState.CANCELLED or (dub.failure is not None and dub.failure.code in _CHECK_PROJECT_FIRST)
        tried = _add_tried_step(dub, wanted) if lost else dub.tried
        if dub.lacks_captions and dub.output is not None:
            clean["part"] = part_of_output(dub.output)
        return update_stage(
            change_state(job, language, DubState.DUBBING if lost else DubState.READY, now, **clean, tried=tried)
        )
    job, clean = replace(job, uploads=0), {**clean, "stale": False}
    if wanted is RetryStep.NEW_UPLOAD and job.asset is not None and job.asset.uploaded:
        job = replace(job, asset=None, version=job.version + 1)
    if wanted is RetryStep.SUBMIT:
        return update_stage(change_state(job, language, DubState.WAITING, now, **clean))
    if dub.stale:
        clean["project"] = ""  # it belongs to the earlier version, whose dub is no longer wanted
    climbed = {
        **clean,
        "next_rung": wanted,
        "tried": _add_tried_step(dub, wanted),
        "video": "",
        **_earlier_try_fields(dub, wanted),
    }
    return update_stage(change_state(job, language, DubState.WAITING, now, **climbed))


def can_check_for_free(dub: Dub) -> bool:
    """Whether a free check may find what a retry would pay for: the project was not known, or the request's outcome is not."""
    lost = dub.state is DubState.FAILED and dub.failure is not None and dub.failure.code == "project_not_found"
    return (lost and bool(dub.project)) or dub.state is DubState.UNKNOWN


def check_again(job: Job, language: str, now: float) -> Job:
    """Check once more for a dub that `can_check_for_free` selects. Nothing is sent, whatever the check finds."""
    dub = job.dubs[language]
    if dub.state is DubState.UNKNOWN:
        return replace_dub(job, language, replace(dub, checked=False)) if dub.checked else job
    return update_stage(change_state(job, language, DubState.DUBBING, now, failure=None, checked=False, absent_since=NEVER))


def _earlier_try_fields(dub: Dub, step: RetryStep) -> dict[str, Any]:
    """What the dub's next project may still list about earlier tries."""
    if step is not RetryStep.ADD_LANGUAGE:
        return {"erred": False, "old_video": "", "checked": False}
    if dub.failure is None or dub.failure.scope is not FailureScope.LANGUAGE:
        return {}
    listed = dub.failure.code != "missing_in_project"
    return {"erred": listed, "old_video": dub.video or dub.old_video if listed else ""}


def _add_tried_step(dub: Dub, step: RetryStep) -> tuple[RetryStep, ...]:
    return dub.tried if step in dub.tried else (*dub.tried, step)


def _step_after_failure(dub: Dub, failure: Failure) -> RetryStep:
    match failure.scope:
        case FailureScope.DOWNLOAD:
            return RetryStep.DOWNLOAD
        case FailureScope.PROJECT if failure.code == "project_not_found" and RetryStep.DOWNLOAD not in dub.tried:
            return RetryStep.DOWNLOAD  # it may have been unknown only for a while
        case FailureScope.SOURCE | FailureScope.SUBMISSION:
            return dub.next_rung or RetryStep.SUBMIT
        case FailureScope.LANGUAGE if RetryStep.ADD_LANGUAGE not in dub.tried and RetryStep.NEW_PROJECT not in dub.tried:
            return RetryStep.ADD_LANGUAGE
        case _ if RetryStep.NEW_PROJECT not in dub.tried:
            return RetryStep.NEW_PROJECT
        case _:
            return RetryStep.NEW_UPLOAD
