"""The paid calls: the intent is recorded, then exactly one outcome: accepted, rejected, not sent, or unknown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from synthdub_tui.jobs.failure_codes import SUBMISSION_UNKNOWN
from synthdub_tui.jobs.model import NEVER, Dub, DubState, Failure, FailureScope, Job, RetryStep, Submission
from synthdub_tui.jobs.moderation import MODERATION, is_moderation_refusal
from synthdub_tui.jobs.transitions.dub_states import (
    IllegalTransitionError,
    add_refusal,
    change_state,
    fail_dub_alone,
    replace_dub,
    update_stage,
)
from synthdub_tui.jobs.transitions.upload import drop_asset

MAX_UPLOAD_ATTEMPTS: Final = 3
"""Uploads of one source since the user last acted. Expired credentials and unreadable assets cause automatic repeats."""

_ASSET_PROBLEM_CODES: Final = frozenset({"BrokenAssetUrlError", "asset_not_found"})


def record_intent(job: Job, languages: Iterable[str], project: str, now: float) -> Job:
    """Record the intent of a paid request: PUT to `project`, or POST if that is empty. Save the job before sending.

    Raises `IllegalTransitionError` if another submission is in progress, or a language is held or not waiting.
    """
    languages = tuple(languages)
    if job.submission is not None:
        raise IllegalTransitionError(f"{job.id} already has a submission under way")
    if not languages or not set(languages) <= set(job.unsent_languages):
        raise IllegalTransitionError(f"{job.id}: only waiting dubs that nothing holds can be submitted")
    asset = job.asset.id if job.asset and not project else ""
    return replace(job, submission=Submission(languages, now, project, asset))


def record_project_created(job: Job, project: str, now: float) -> Job:
    """Record that POST /v2/dubbing was accepted. A dub that was cancelled meanwhile stays cancelled, but knows its project.

    Each new project is the time to forget earlier ones. A file that is dubbed again for years would remember hundreds.
    """
    submission = _require_submission(job)
    job = replace(job, submission=None, projects=job.projects | {project: submission.asset})
    for language in submission.languages:
        job = accept_dub(job, language, project, "", now)
    return update_stage(replace(job, projects=_useful_projects(job)))


def _useful_projects(job: Job) -> dict[str, str]:
    """Projects that may still be polled or get more languages: those that a dub is in, and those of the present asset.

    Others never come back. A dub gets to a project by being in it already, or through the present asset, and the service gives
    each new asset a new id. Not valid while a submission is in progress.
    """
    held = {dub.project for dub in job.dubs.values()}
    asset = job.asset.id if job.asset is not None else None
    return {project: made_from for project, made_from in job.projects.items() if project in held or made_from == asset}


def record_locales_added(job: Job, videos: Mapping[str, str], refused: Mapping[str, str], now: float) -> Job:
    """Record the answer to PUT /v2/dubbing/{id}. `videos` maps new languages to ids, `record_rejected` maps others to the
    service's words.

    A language in neither was in the project already. So was a refused one that a retry adds again, unless moderation refused
    it. If a check just found its old failure there and nothing newer, the service does not dub it again, so the dub climbs to
    the next rung. Otherwise it is followed like an accepted one.
    """
    submission = _require_submission(job)
    job = replace(job, submission=None)
    for language in submission.languages:
        dub = job.dubs[language]
        if language in videos:
            job = accept_dub(job, language, submission.project, videos[language], now)
        elif language in refused and (
            dub.next_rung is not RetryStep.ADD_LANGUAGE or is_moderation_refusal("", refused[language])
        ):
            job = _reject_language(job, language, "language_refused", refused[language], now)
        elif dub.state is not DubState.WAITING:
            continue
        elif dub.erred and dub.checked:
            job = _escalate_to_new_project(job, language)
        else:
            # Trust the project's list from here on, even if it reports an old error: nothing newer was begun.
            job = accept_dub(job, language, submission.project, "", now, erred=False, old_video="")
    return update_stage(job)


def record_not_sent(job: Job) -> Job:
    """Record that the request certainly never arrived. Its dubs keep waiting."""
    return update_stage(replace(job, submission=None))


def record_rejected(job: Job, code: str, detail: str, languages: Mapping[str, str], now: float) -> Job:
    """Record that the request was not accepted, and nothing was billed.

    If the service names languages, only these fail, and the others are submitted again without them. An asset that it cannot
    read is uploaded again, a bounded number of times. A project that accepts no more languages is left for another: at once if
    the service does not know it, else with the user's retry.
    """
    submission = _require_submission(job)
    job = replace(job, submission=None)
    named = [language for language in submission.languages if language in languages]
    if not named and is_moderation_refusal(code, detail):
        code = MODERATION  # even if said about an asset or a project: never sent again automatically
        job = add_refusal(job, submission.languages, "", detail, now)
    if not named and submission.project:
        job = close_project(job, submission.project)
        if code == "project_not_found":
            return update_stage(job)
    if not named and code in _ASSET_PROBLEM_CODES and job.uploads < MAX_UPLOAD_ATTEMPTS:
        return drop_asset(job)
    for language in named or submission.languages:
        job = _reject_language(job, language, code, languages.get(language) or detail, now)
    return update_stage(replace(job, asset=None) if code in _ASSET_PROBLEM_CODES else job)


def record_unknown_outcome(job: Job, now: float, detail: str = "") -> Job:
    """Record that the outcome of the request is unknown: only the user decides what happens to its dubs. `detail` describes
    the answer that came instead of the service's."""
    submission = _require_submission(job)
    job = replace(job, submission=None)
    for language in submission.languages:
        dub = job.dubs[language]
        facts = {
            "project": submission.project,
            "failure": Failure(SUBMISSION_UNKNOWN, FailureScope.SUBMISSION, now, detail),
            "checked": False,
        }
        if dub.state is DubState.WAITING:
            job = change_state(job, language, DubState.UNKNOWN, now, **facts)
        elif dub.state is DubState.CANCELLED:
            job = replace_dub(job, language, replace(dub, **facts))  # a retry must know that it may pay twice
    return update_stage(job)


def _require_submission(job: Job) -> Submission:
    if job.submission is None:
        raise IllegalTransitionError(f"{job.id} has no submission under way")
    return job.submission


def accept_dub(job: Job, language: str, project: str, video: str, now: float, **more: Any) -> Job:
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
        return change_state(job, language, DubState.DUBBING, now, **facts)
    return replace_dub(job, language, replace(job.dubs[language], **facts))


def _escalate_to_new_project(job: Job, language: str) -> Job:
    """Let the dub wait for a new project, since adding it to its present one cannot help."""
    dub = job.dubs[language]
    facts: dict[str, Any] = {
        "next_rung": RetryStep.NEW_PROJECT,
        "tried": (*dub.tried, RetryStep.NEW_PROJECT),
        "erred": False,
        "old_video": "",
    }
    return replace_dub(job, language, replace(dub, **facts))


def close_project(job: Job, project: str) -> Job:
    """Record that the project accepts no more languages. Dubs that wait to be added to it climb to the next rung."""
    if project in job.projects:
        job = replace(job, projects=job.projects | {project: ""})
    for language in (*job.unsent_languages, *job.held_languages):
        dub = job.dubs[language]
        if dub.next_rung is RetryStep.ADD_LANGUAGE and dub.project == project:
            job = _escalate_to_new_project(job, language)
    return job


def _reject_language(job: Job, language: str, code: str, words: str, now: float) -> Job:
    """Record that the service refused the language. A dub that was cancelled meanwhile stays cancelled. A refusal by
    moderation is recorded even then, since the content must not be sent again without consent."""
    dub, code = job.dubs[language], MODERATION if is_moderation_refusal(code, words) else code
    if dub.state is DubState.WAITING:
        return fail_dub_alone(job, language, Failure(code, FailureScope.SUBMISSION, now, words))
    if dub.state is DubState.CANCELLED and code == MODERATION:
        job = add_refusal(job, (language,), language, words, now)
        return replace_dub(
            job, language, replace(job.dubs[language], failure=Failure(code, FailureScope.SUBMISSION, now, words))
        )
    return job


def has_unknown_outcome(dub: Dub) -> bool:
    """Whether a request for the dub may have been accepted, although its answer was never read."""
    return dub.failure is not None and dub.failure.code == SUBMISSION_UNKNOWN
