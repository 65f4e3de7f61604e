"""The paid calls: the intent is recorded, then exactly one outcome: accepted, rejected, not sent, or unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from synthdub_tui.jobs.failure_codes import SUBMISSION_UNKNOWN
from synthdub_tui.jobs.model import NEVER, Dub, DubState, Failure, Job, Rung, Scope, Submission
from synthdub_tui.jobs.moderation import MODERATION, is_moderation
from synthdub_tui.jobs.transitions.dub_states import IllegalMove, _ended, _move, _refusal_noted, _staged, _with_dub
from synthdub_tui.jobs.transitions.upload import asset_dropped

UPLOAD_LIMIT: Final = 3
"""Uploads of one source since the user last acted. Expired credentials and unreadable assets cause automatic repeats."""

_ASSET_TROUBLE: Final = frozenset({"BrokenAssetUrlError", "asset_not_found"})


def intend(job: Job, languages: Iterable[str], project: str, now: float) -> Job:
    """Record the intent of a paid request: PUT to `project`, or POST if that is empty. Save the job before sending.

    Raises `IllegalMove` if another submission is in progress, or a language is held or not waiting.
    """
    languages = tuple(languages)
    if job.submission is not None:
        raise IllegalMove(f"{job.id} already has a submission under way")
    if not languages or not set(languages) <= set(job.unsent):
        raise IllegalMove(f"{job.id}: only waiting dubs that nothing holds can be submitted")
    asset = job.asset.id if job.asset and not project else ""
    return replace(job, submission=Submission(languages, now, project, asset))


def created(job: Job, project: str, now: float) -> Job:
    """Record that POST /v2/dubbing was accepted. A dub that was cancelled meanwhile stays cancelled, but knows its project.

    Each new project is the time to forget earlier ones. A file that is dubbed again for years would remember hundreds.
    """
    submission = _submission(job)
    job = replace(job, submission=None, projects=job.projects | {project: submission.asset})
    for language in submission.languages:
        job = _accepted(job, language, project, "", now)
    return _staged(replace(job, projects=_of_use(job)))


def _of_use(job: Job) -> dict[str, str]:
    """Projects that may still be polled or get more languages: those that a dub is in, and those of the present asset.

    Others never come back. A dub gets to a project by being in it already, or through the present asset, and the service gives
    each new asset a new id. Not valid while a submission is in progress.
    """
    held = {dub.project for dub in job.dubs.values()}
    asset = job.asset.id if job.asset is not None else None
    return {project: made_from for project, made_from in job.projects.items() if project in held or made_from == asset}


def added(job: Job, videos: Mapping[str, str], refused: Mapping[str, str], now: float) -> Job:
    """Record the answer to PUT /v2/dubbing/{id}. `videos` maps new languages to ids, `refused` maps others to the service's
    words.

    A language in neither was in the project already. So was a refused one that a retry adds again, unless moderation refused
    it. If a check just found its old failure there and nothing newer, the service does not dub it again, so the dub climbs to
    the next rung. Otherwise it is followed like an accepted one.
    """
    submission = _submission(job)
    job = replace(job, submission=None)
    for language in submission.languages:
        dub = job.dubs[language]
        if language in videos:
            job = _accepted(job, language, submission.project, videos[language], now)
        elif language in refused and (dub.next_rung is not Rung.ADD or is_moderation("", refused[language])):
            job = _turned_down(job, language, "language_refused", refused[language], now)
        elif dub.state is not DubState.WAITING:
            continue
        elif dub.erred and dub.checked:
            job = _climbed(job, language)
        else:
            # Trust the project's list from here on, even if it reports an old error: nothing newer was begun.
            job = _accepted(job, language, submission.project, "", now, erred=False, old_video="")
    return _staged(job)


def not_sent(job: Job) -> Job:
    """Record that the request certainly never arrived. Its dubs keep waiting."""
    return _staged(replace(job, submission=None))


def refused(job: Job, code: str, detail: str, languages: Mapping[str, str], now: float) -> Job:
    """Record that the request was not accepted, and nothing was billed.

    If the service names languages, only these fail, and the others are submitted again without them. An asset that it cannot
    read is uploaded again, a bounded number of times. A project that accepts no more languages is left for another: at once if
    the service does not know it, else with the user's retry.
    """
    submission = _submission(job)
    job = replace(job, submission=None)
    named = [language for language in submission.languages if language in languages]
    if not named and is_moderation(code, detail):
        code = MODERATION  # even if said about an asset or a project: never sent again automatically
        job = _refusal_noted(job, submission.languages, "", detail, now)
    if not named and submission.project:
        job = _closed(job, submission.project)
        if code == "project_not_found":
            return _staged(job)
    if not named and code in _ASSET_TROUBLE and job.uploads < UPLOAD_LIMIT:
        return asset_dropped(job)
    for language in named or submission.languages:
        job = _turned_down(job, language, code, languages.get(language) or detail, now)
    return _staged(replace(job, asset=None) if code in _ASSET_TROUBLE else job)


def unclear(job: Job, now: float, detail: str = "") -> Job:
    """Record that the outcome of the request is unknown: only the user decides what happens to its dubs. `detail` describes
    the answer that came instead of the service's."""
    submission = _submission(job)
    job = replace(job, submission=None)
    for language in submission.languages:
        dub = job.dubs[language]
        facts = {
            "project": submission.project,
            "failure": Failure(SUBMISSION_UNKNOWN, Scope.SUBMISSION, now, detail),
            "checked": False,
        }
        if dub.state is DubState.WAITING:
            job = _move(job, language, DubState.UNKNOWN, now, **facts)
        elif dub.state is DubState.CANCELLED:
            job = _with_dub(job, language, replace(dub, **facts))  # a retry must know that it may pay twice
    return _staged(job)


def _submission(job: Job) -> Submission:
    if job.submission is None:
        raise IllegalMove(f"{job.id} has no submission under way")
    return job.submission


def _accepted(job: Job, language: str, project: str, video: str, now: float, **more: Any) -> Job:
    facts = {
        "project": project,
        "video": video,
        "submitted": now,
        "next_rung": None,
        "failure": None,
        "absent_since": NEVER,
        "odd": None,
        "checked": False,
        "agreed": tuple(code for code in job.dubs[language].agreed if code != SUBMISSION_UNKNOWN),  # this one is known
        **more,
    }
    if job.dubs[language].state in (DubState.WAITING, DubState.FAILED, DubState.UNKNOWN):
        return _move(job, language, DubState.DUBBING, now, **facts)
    return _with_dub(job, language, replace(job.dubs[language], **facts))


def _climbed(job: Job, language: str) -> Job:
    """Let the dub wait for a new project, since adding it to its present one cannot help."""
    dub = job.dubs[language]
    facts: dict[str, Any] = {"next_rung": Rung.PROJECT, "tried": (*dub.tried, Rung.PROJECT), "erred": False, "old_video": ""}
    return _with_dub(job, language, replace(dub, **facts))


def _closed(job: Job, project: str) -> Job:
    """Record that the project accepts no more languages. Dubs that wait to be added to it climb to the next rung."""
    if project in job.projects:
        job = replace(job, projects=job.projects | {project: ""})
    for language in (*job.unsent, *job.held):
        dub = job.dubs[language]
        if dub.next_rung is Rung.ADD and dub.project == project:
            job = _climbed(job, language)
    return job


def _turned_down(job: Job, language: str, code: str, words: str, now: float) -> Job:
    """Record that the service refused the language. A dub that was cancelled meanwhile stays cancelled. A refusal by
    moderation is recorded even then, since the content must not be sent again without consent."""
    dub, code = job.dubs[language], MODERATION if is_moderation(code, words) else code
    if dub.state is DubState.WAITING:
        return _ended(job, language, Failure(code, Scope.SUBMISSION, now, words))
    if dub.state is DubState.CANCELLED and code == MODERATION:
        job = _refusal_noted(job, (language,), language, words, now)
        return _with_dub(job, language, replace(job.dubs[language], failure=Failure(code, Scope.SUBMISSION, now, words)))
    return job


def _unclear(dub: Dub) -> bool:
    """Whether a request for the dub may have been accepted, although its answer was never read."""
    return dub.failure is not None and dub.failure.code == SUBMISSION_UNKNOWN
