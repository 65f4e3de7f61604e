"""What the service says of a project becomes the state of its dubs."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from synthdub_tui.jobs.language_entries import alive, entries_of
from synthdub_tui.jobs.model import NEVER, Dub, DubState, Job, Oddity, ProjectSeen, Rung, Scope, Seen, SeenState
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions.adoption import taken_up
from synthdub_tui.jobs.transitions.dub_states import _move, _staged, _verdicts_noted, _with_dub, failed
from synthdub_tui.jobs.transitions.submission import _closed

ABSENT_LIMIT: Final = 600.0
"""Seconds for which a complete project may fail to list a language before the dub counts as failed."""

STALE_LIMIT: Final = 600.0
"""Seconds for which a project may still list the error of an earlier try after a language was added again."""

ODD_POLLS: Final = 3
"""Polls in a row with an unknown status before the user is informed."""

ODD_LIMIT: Final = 48 * 3600.0
"""Seconds with an unknown status before the dub counts as failed. Moderation by hand takes more than a day."""

UNKNOWN_GRACE: Final = 20.0
"""Seconds after a PUT of unknown outcome in which the project may not list the language although the service accepted it."""


def observed(job: Job, project: str, seen: ProjectSeen, now: float) -> Job:
    """Apply the answer to GET /v2/dubbing/{id} to the job's dubs in that project. Of languages that are not requested (any
    more), only refusals by moderation are recorded."""
    job = _verdicts_noted(job, project, seen, now)
    if seen.state is SeenState.ERROR:
        job = _closed(job, project)
    for language, dub in job.dubs.items():
        if dub.project != project:
            continue
        entries = entries_of(seen.languages, language, job.dubs)
        if dub.state is DubState.DUBBING:
            job = _dubbing_observed(job, language, seen, _newest(dub, entries), now)
        elif dub.state is DubState.UNKNOWN:
            job = _unknown_observed(job, language, _newest(dub, entries), now)
    return _staged(job)


def looked(job: Job, language: str, project: str, seen: ProjectSeen, now: float) -> Job:
    """Apply what a project lists to a dub that waits to be paid for, and may be in it through an earlier request.

    If the language is running or complete there, the dub is followed, and nothing is sent. If moderation refused it, and the
    user has not agreed to send it again, the dub fails, and nothing is sent either.
    """
    dub, own = job.dubs[language], job.dubs[language].project == project
    entry = _newest(dub, entries_of(seen.languages, language, job.dubs))
    if _there(dub, own, seen, entry):
        return taken_up(job, language, project, dub.submitted if own and dub.submitted else now, now)
    if ended_as(seen, language) == MODERATION and MODERATION not in dub.agreed:
        return failed(job, language, MODERATION, "", Scope.PROJECT if entry is None else Scope.LANGUAGE, now)
    if own and entry is not None and dub.next_rung is Rung.ADD:
        return _with_dub(job, language, replace(dub, erred=True, checked=True, old_video=entry.video))
    return job


def ended_as(seen: ProjectSeen, language: str) -> str:
    """The code under which a project ended the language; empty if it is complete, running, or not listed yet."""
    entries = entries_of(seen.languages, language, (language,))
    living = alive(entries, "")
    if living is not None and (living.state is SeenState.COMPLETE or seen.state is not SeenState.ERROR):
        return ""
    if living is None and entries:
        return entries[-1].code
    return seen.code


def _there(dub: Dub, own: bool, seen: ProjectSeen, entry: Seen | None) -> bool:
    """Whether a project has the language running or complete. A project that just began may not list it yet."""
    if entry is not None and (entry.state is SeenState.COMPLETE or seen.state is SeenState.ERROR):
        return entry.state is SeenState.COMPLETE
    if entry is not None:
        return entry.state is SeenState.RUNNING
    accepted = bool(dub.submitted) and not dub.erred if own else True
    return seen.state is SeenState.RUNNING and accepted


def project_lost(job: Job, project: str, detail: str, now: float) -> Job:
    """Record that the service does not know the project (any more)."""
    job = _closed(job, project)
    for language, dub in job.dubs.items():
        if dub.project == project and dub.state is DubState.DUBBING:
            job = failed(job, language, "project_not_found", detail, Scope.PROJECT, now)
        elif dub.project == project and dub.state is DubState.UNKNOWN:
            job = _with_dub(job, language, replace(dub, checked=True))
    return _staged(job)


def watch_failed(job: Job, project: str, now: float) -> Job:
    """Fail the dubs of a project that a bug in this program kept from being followed. Checking again is free."""
    for language, dub in job.dubs.items():
        if dub.project == project and dub.state is DubState.DUBBING:
            job = failed(job, language, "internal", "", Scope.DOWNLOAD, now)
        elif dub.project == project and dub.state is DubState.UNKNOWN:
            job = _with_dub(job, language, replace(dub, checked=True))
    return _staged(job)


def _dubbing_observed(job: Job, language: str, project: ProjectSeen, seen: Seen | None, now: float) -> Job:
    dub = job.dubs[language]
    if seen is not None and seen.state is SeenState.COMPLETE:  # also in a project that failed: it can be downloaded
        return _move(job, language, DubState.READY, now, video=seen.video, absent_since=NEVER, odd=None, failure=None)
    if project.state is SeenState.ERROR:
        return failed(job, language, project.code, "", Scope.PROJECT, now)
    if seen is None:
        return _absence_observed(_oddity_observed(job, language, project.oddity, now), language, project, now)
    if seen.state is SeenState.ERROR:
        return job if _stale(dub, seen, now) else failed(job, language, seen.code, "", Scope.LANGUAGE, now, video=seen.video)
    if (seen.video or dub.video) != dub.video or dub.absent_since:
        job = _with_dub(job, language, replace(dub, video=seen.video or dub.video, absent_since=NEVER))
    return _oddity_observed(job, language, seen.oddity, now)


def _oddity_observed(job: Job, language: str, word: str, now: float) -> Job:
    """Count the polls with an unknown status, and fail the dub if the status stays too long."""
    dub = job.dubs[language]
    if not word:
        return _with_dub(job, language, replace(dub, odd=None)) if dub.odd else job
    since, polls = (dub.odd.since, dub.odd.polls) if dub.odd else (now, 0)
    odd = Oddity(word, min(since, now), min(polls + 1, ODD_POLLS))
    if odd != dub.odd:
        job = _with_dub(job, language, replace(dub, odd=odd))
    if now - odd.since < ODD_LIMIT:
        return job
    return failed(job, language, "status_unknown", word, Scope.DOWNLOAD, now)


def newly_odd(before: Job, job: Job) -> dict[str, str]:
    """Languages whose unknown status the user must be informed of now → that status."""
    return {
        language: word
        for language, dub in job.dubs.items()
        if (word := unknown_status(dub)) and not (language in before.dubs and unknown_status(before.dubs[language]))
    }


def unknown_status(dub: Dub) -> str:
    """The unknown status that the service reports for a dub; empty until it was reported `ODD_POLLS` times."""
    return dub.odd.word if dub.odd is not None and dub.odd.polls >= ODD_POLLS and dub.state is DubState.DUBBING else ""


def _absence_observed(job: Job, language: str, project: ProjectSeen, now: float) -> Job:
    dub = job.dubs[language]
    if project.state is not SeenState.COMPLETE or dub.state is not DubState.DUBBING:
        return job
    if not dub.absent_since:
        return _with_dub(job, language, replace(dub, absent_since=now))
    if now - dub.absent_since < ABSENT_LIMIT:
        return job
    return failed(job, language, "missing_in_project", "", Scope.LANGUAGE, now)


def _unknown_observed(job: Job, language: str, seen: Seen | None, now: float) -> Job:
    """Resolve a PUT of unknown outcome from its project, for free: a new entry proves that the service accepted it."""
    dub = job.dubs[language]
    if seen is not None and not _old(dub, seen):
        return _move(job, language, DubState.DUBBING, now, submitted=dub.since, next_rung=None, failure=None)
    if now - dub.since < UNKNOWN_GRACE or dub.checked:
        return job
    return _with_dub(job, language, replace(dub, checked=True))


def _stale(dub: Dub, seen: Seen, now: float) -> bool:
    """Whether an error belongs to an earlier try of the dub."""
    return _old(dub, seen) and now - dub.submitted < STALE_LIMIT


def _old(dub: Dub, seen: Seen) -> bool:
    """Whether an entry may belong to the earlier try, which failed. An entry that is running or complete does not."""
    return dub.erred and seen.state is SeenState.ERROR and seen.video in ("", dub.old_video)


def _newest(dub: Dub, entries: list[Seen]) -> Seen | None:
    """The entry of the dub's last try, if the project lists more than one for its language."""
    known = [entry for entry in entries if dub.video and entry.video == dub.video]
    new = [entry for entry in entries if not _old(dub, entry)]
    return alive(entries, dub.video) or next(iter(known or new or entries), None)
