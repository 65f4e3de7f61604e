"""What the service says of a project becomes the state of its dubs."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from synthdub_tui.jobs.language_entries import entries_of, usable_entry
from synthdub_tui.jobs.model import (
    NEVER,
    Dub,
    DubState,
    FailureScope,
    Job,
    ObservedLanguage,
    ObservedProject,
    ObservedStatus,
    RetryStep,
    UnknownStatus,
)
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions.adoption import follow_existing_project
from synthdub_tui.jobs.transitions.dub_states import change_state, fail_dub, record_listed_refusals, replace_dub, update_stage
from synthdub_tui.jobs.transitions.submission import close_project

MAX_ABSENT_SECONDS: Final = 600.0
"""Seconds for which a complete project may fail to list a language before the dub counts as failed."""

OLD_ERROR_GRACE_SECONDS: Final = 600.0
"""Seconds for which a project may still list the error of an earlier try after a language was added again."""

MIN_UNKNOWN_STATUS_POLLS: Final = 3
"""Polls in a row with an unknown status before the user is informed."""

MAX_UNKNOWN_STATUS_SECONDS: Final = 48 * 3600.0
"""Seconds with an unknown status before the dub counts as failed. Moderation by hand takes more than a day."""

UNKNOWN_PUT_GRACE_SECONDS: Final = 20.0
"""Seconds after a PUT of unknown outcome in which the project may not list the language although the service accepted it."""


def apply_project(job: Job, project: str, seen: ObservedProject, now: float) -> Job:
    """Apply the answer to GET /v2/dubbing/{id} to the job's dubs in that project. Of languages that are not requested (any
    more), only refusals by moderation are recorded."""
    job = record_listed_refusals(job, project, seen, now)
    if seen.state is ObservedStatus.ERROR:
        job = close_project(job, project)
    for language, dub in job.dubs.items():
        if dub.project != project:
            continue
        entries = entries_of(seen.languages, language, job.dubs)
        if dub.state is DubState.DUBBING:
            job = _apply_to_dubbing(job, language, seen, _latest_entry(dub, entries), now)
        elif dub.state is DubState.UNKNOWN:
            job = _apply_to_unknown(job, language, _latest_entry(dub, entries), now)
    return update_stage(job)


def apply_project_to_waiting_dub(job: Job, language: str, project: str, seen: ObservedProject, now: float) -> Job:
    """Apply what a project lists to a dub that waits to be paid for, and may be in it through an earlier request.

    If the language is running or complete there, the dub is followed, and nothing is sent. If moderation refused it, and the
    user has not agreed to send it again, the dub fails, and nothing is sent either.
    """
    dub, own = job.dubs[language], job.dubs[language].project == project
    entry = _latest_entry(dub, entries_of(seen.languages, language, job.dubs))
    if _is_in_project(dub, own, seen, entry):
        return follow_existing_project(job, language, project, dub.submitted if own and dub.submitted else now, now)
    if failure_code_in_project(seen, language) == MODERATION and MODERATION not in dub.agreed:
        return fail_dub(job, language, MODERATION, "", FailureScope.PROJECT if entry is None else FailureScope.LANGUAGE, now)
    if own and entry is not None and dub.next_rung is RetryStep.ADD_LANGUAGE:
        return replace_dub(job, language, replace(dub, erred=True, checked=True, old_video=entry.video))
    return job


def failure_code_in_project(seen: ObservedProject, language: str) -> str:
    """The code under which a project ended the language; empty if it is complete, running, or not listed yet."""
    entries = entries_of(seen.languages, language, (language,))
    living = usable_entry(entries, "")
    if living is not None and (living.state is ObservedStatus.COMPLETE or seen.state is not ObservedStatus.ERROR):
        return ""
    if living is None and entries:
        return entries[-1].code
    return seen.code


def _is_in_project(dub: Dub, own: bool, seen: ObservedProject, entry: ObservedLanguage | None) -> bool:
    """Whether a project has the language running or complete. A project that just began may not list it yet."""
    if entry is not None and (entry.state is ObservedStatus.COMPLETE or seen.state is ObservedStatus.ERROR):
        return entry.state is ObservedStatus.COMPLETE
    if entry is not None:
        return entry.state is ObservedStatus.RUNNING
    accepted = bool(dub.submitted) and not dub.erred if own else True
    return seen.state is ObservedStatus.RUNNING and accepted


def record_project_not_found(job: Job, project: str, detail: str, now: float) -> Job:
    """Record that the service does not know the project (any more)."""
    job = close_project(job, project)
    for language, dub in job.dubs.items():
        if dub.project == project and dub.state is DubState.DUBBING:
            job = fail_dub(job, language, "project_not_found", detail, FailureScope.PROJECT, now)
        elif dub.project == project and dub.state is DubState.UNKNOWN:
            job = replace_dub(job, language, replace(dub, checked=True))
    return update_stage(job)


def fail_polled_dubs(job: Job, project: str, now: float) -> Job:
    """Fail the dubs of a project that a bug in this program kept from being followed. Checking again is free."""
    for language, dub in job.dubs.items():
        if dub.project == project and dub.state is DubState.DUBBING:
            job = fail_dub(job, language, "internal", "", FailureScope.DOWNLOAD, now)
        elif dub.project == project and dub.state is DubState.UNKNOWN:
            job = replace_dub(job, language, replace(dub, checked=True))
    return update_stage(job)


def _apply_to_dubbing(job: Job, language: str, project: ObservedProject, seen: ObservedLanguage | None, now: float) -> Job:
    dub = job.dubs[language]
    if seen is not None and seen.state is ObservedStatus.COMPLETE:  # also in a project that failed: it can be downloaded
        return change_state(job, language, DubState.READY, now, video=seen.video, absent_since=NEVER, odd=None, failure=None)
    if project.state is ObservedStatus.ERROR:
        return fail_dub(job, language, project.code, "", FailureScope.PROJECT, now)
    if seen is None:
        return _apply_absence(_apply_unknown_status(job, language, project.oddity, now), language, project, now)
    if seen.state is ObservedStatus.ERROR:
        return (
            job
            if _is_old_error(dub, seen, now)
            else fail_dub(job, language, seen.code, "", FailureScope.LANGUAGE, now, video=seen.video)
        )
    if (seen.video or dub.video) != dub.video or dub.absent_since:
        job = replace_dub(job, language, replace(dub, video=seen.video or dub.video, absent_since=NEVER))
    return _apply_unknown_status(job, language, seen.oddity, now)


def _apply_unknown_status(job: Job, language: str, word: str, now: float) -> Job:
    """Count the polls with an unknown status, and fail the dub if the status stays too long."""
    dub = job.dubs[language]
    if not word:
        return replace_dub(job, language, replace(dub, odd=None)) if dub.odd else job
    since, polls = (dub.odd.since, dub.odd.polls) if dub.odd else (now, 0)
    odd = UnknownStatus(word, min(since, now), min(polls + 1, MIN_UNKNOWN_STATUS_POLLS))
    if odd != dub.odd:
        job = replace_dub(job, language, replace(dub, odd=odd))
    if now - odd.since < MAX_UNKNOWN_STATUS_SECONDS:
        return job
    return fail_dub(job, language, "status_unknown", word, FailureScope.DOWNLOAD, now)


def newly_unknown_statuses(before: Job, job: Job) -> dict[str, str]:
    """Languages whose unknown status the user must be informed of now → that status."""
    return {
        language: word
        for language, dub in job.dubs.items()
        if (word := unknown_status(dub)) and not (language in before.dubs and unknown_status(before.dubs[language]))
    }


def unknown_status(dub: Dub) -> str:
    """The unknown status that the service reports for a dub; empty until it was reported `MIN_UNKNOWN_STATUS_POLLS` times."""
    return (
        dub.odd.word
        if dub.odd is not None and dub.odd.polls >= MIN_UNKNOWN_STATUS_POLLS and dub.state is DubState.DUBBING
        else ""
    )


def _apply_absence(job: Job, language: str, project: ObservedProject, now: float) -> Job:
    dub = job.dubs[language]
    if project.state is not ObservedStatus.COMPLETE or dub.state is not DubState.DUBBING:
        return job
    if not dub.absent_since:
        return replace_dub(job, language, replace(dub, absent_since=now))
    if now - dub.absent_since < MAX_ABSENT_SECONDS:
        return job
    return fail_dub(job, language, "missing_in_project", "", FailureScope.LANGUAGE, now)


def _apply_to_unknown(job: Job, language: str, seen: ObservedLanguage | None, now: float) -> Job:
    """Resolve a PUT of unknown outcome from its project, for free: a new entry proves that the service accepted it."""
    dub = job.dubs[language]
    if seen is not None and not _may_be_earlier_try(dub, seen):
        return change_state(job, language, DubState.DUBBING, now, submitted=dub.since, next_rung=None, failure=None)
    if now - dub.since < UNKNOWN_PUT_GRACE_SECONDS or dub.checked:
        return job
    return replace_dub(job, language, replace(dub, checked=True))


def _is_old_error(dub: Dub, seen: ObservedLanguage, now: float) -> bool:
    """Whether an error belongs to an earlier try of the dub."""
    return _may_be_earlier_try(dub, seen) and now - dub.submitted < OLD_ERROR_GRACE_SECONDS


def _may_be_earlier_try(dub: Dub, seen: ObservedLanguage) -> bool:
    """Whether an entry may belong to the earlier try, which failed. An entry that is running or complete does not."""
    return dub.erred and seen.state is ObservedStatus.ERROR and seen.video in ("", dub.old_video)


def _latest_entry(dub: Dub, entries: list[ObservedLanguage]) -> ObservedLanguage | None:
    """The entry of the dub's last try, if the project lists more than one for its language."""
    known = [entry for entry in entries if dub.video and entry.video == dub.video]
    new = [entry for entry in entries if not _may_be_earlier_try(dub, entry)]
    return usable_entry(entries, dub.video) or next(iter(known or new or entries), None)
