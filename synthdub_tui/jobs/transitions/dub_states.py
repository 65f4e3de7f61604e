"""Every legal change of a job: each function makes the next version from the last. Pure. Illegal changes raise `IllegalMove`.

A paid request goes through `intend` (saved before the request is sent), then exactly one of `created` / `added` (accepted),
`refused` (not accepted, nothing billed), `not_sent` (certainly never arrived) or `unclear` (outcome unknown).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from synthdub_tui.jobs.language_entries import own_spelling
from synthdub_tui.jobs.model import (
    LEGAL,
    NEVER,
    Dub,
    DubState,
    Failure,
    Job,
    ProjectSeen,
    Refusal,
    Scope,
    SeenState,
    Stage,
)
from synthdub_tui.jobs.moderation import MODERATION


class IllegalMove(ValueError):
    """A change that the states do not allow: a bug in this program."""


# -- making jobs -----------------------------------------------------------------------------------------------------


# -- the source at the service ---------------------------------------------------------------------------------------


# -- submissions: the paid calls -------------------------------------------------------------------------------------


# -- what the service says -------------------------------------------------------------------------------------------


def _verdicts_noted(job: Job, project: str, seen: ProjectSeen, now: float) -> Job:
    """Record refusals by moderation that fail no dub in progress: of a whole project whose languages are complete
    nevertheless, and of dubs that were cancelled or removed. A known one is skipped: a project may list it forever."""
    if not _is_of_present(job, project):
        return job
    followed = {lang for lang, dub in job.dubs.items() if dub.state is not DubState.CANCELLED or dub.project != project}
    about = [each.language for each in seen.languages if each.state is SeenState.ERROR and each.code == MODERATION]
    about = [language for language in (own_spelling(each, [*job.dubs]) for each in about) if language not in followed]
    if seen.state is SeenState.ERROR and seen.code == MODERATION:
        about.insert(0, "")
    for each in about:
        if job.refusal(each) is None:
            job = _refusal_noted(job, (), each, "", now)
    return job


def _is_of_present(job: Job, project: str) -> bool:
    """Whether a project with dubs was made from the present version of the source."""
    return any(not dub.stale for dub in job.dubs.values() if dub.project == project)


# -- downloads -------------------------------------------------------------------------------------------------------


# -- ends, and what the user does ------------------------------------------------------------------------------------


def failed(job: Job, language: str, code: str, detail: str, scope: Scope, now: float, **facts: Any) -> Job:
    """End a dub as failed. A refusal by moderation is recorded for as long as the job is known."""
    return _staged(_ended(job, language, Failure(code, scope, now, detail), **facts))


def _ended(job: Job, language: str, failure: Failure, **facts: Any) -> Job:
    """Fail this dub alone. If moderation refused the whole video, its other waiting dubs are not barred yet."""
    job = _move(job, language, DubState.FAILED, failure.at, failure=failure, absent_since=NEVER, **facts)
    if failure.code != MODERATION:
        return job
    about = language if failure.scope in (Scope.LANGUAGE, Scope.SUBMISSION) else ""
    return _refusal_noted(job, (language,), about, failure.detail, failure.at)


def moderated(job: Job, about: str, words: str, now: float) -> Job:
    """Record that moderation refused this content before, in any batch: in the language `about`, or as a whole if that is
    empty."""
    return _staged(_refusal_noted(job, (), about, words, now))


def _refusal_noted(job: Job, sent: Iterable[str], about: str, words: str, now: float) -> Job:
    """Record a refusal by moderation. Earlier consent of the user no longer counts. If all languages in `sent` belong to an
    earlier version of the source, nothing is known about the present one, and nothing is recorded."""
    sent = tuple(sent)
    if sent and all(job.dubs[language].stale for language in sent):
        return job
    dubs = {lang: _not_agreed(dub) if about in ("", lang) else dub for lang, dub in job.dubs.items()}
    fact = Refusal(about, now, job.source.size, job.source.digest, words)
    return replace(job, dubs=dubs, refused=job.refused if job.refusal(about) else (*job.refused, fact))


def _barred(job: Job) -> Job:
    """Fail waiting dubs that moderation refused, except those that the user has agreed since to send."""
    sent = job.submission.languages if job.submission else ()
    for language in job.in_state(DubState.WAITING) if job.refused else ():
        dub, refusal = job.dubs[language], job.refusal(language)
        if refusal is not None and language not in sent and MODERATION not in dub.agreed:
            words = f"not sent, since it was refused before{': ' if refusal.words else ''}{refusal.words}"
            failure = Failure(MODERATION, Scope.SUBMISSION, refusal.at, words)
            job = _move(job, language, DubState.FAILED, dub.since, failure=failure)
    return job


def _not_agreed(dub: Dub) -> Dub:
    """The dub without consent to send what moderation refused: each consent covers one request."""
    return replace(dub, agreed=tuple(code for code in dub.agreed if code != MODERATION)) if MODERATION in dub.agreed else dub


# -- shared ----------------------------------------------------------------------------------------------------------


def _move(job: Job, language: str, state: DubState, now: float, **facts: Any) -> Job:
    dub = job.dubs[language]
    if state not in LEGAL[dub.state]:
        raise IllegalMove(f"{job.id} {language}: {dub.state} → {state}")
    dub = replace(dub, state=state, since=now, hold=None, **facts)
    return _with_dub(job, language, dub if state is DubState.WAITING else _not_agreed(dub))


def _with_dub(job: Job, language: str, dub: Dub) -> Job:
    return replace(job, dubs=job.dubs | {language: dub})


def _staged(job: Job, least: Stage | None = None) -> Job:
    """The job with the stage that follows from its facts. Only a running worker knows of a preparation or an upload in
    progress: that stays, or comes from `least`."""
    job = _barred(job)
    stage = _stage(job, least or job.stage)
    return job if stage is job.stage else replace(job, stage=stage)


def _stage(job: Job, current: Stage) -> Stage:
    if not job.open:
        return Stage.ENDED
    if not job.in_state(DubState.WAITING) or (job.asset and job.asset.ready):
        return Stage.DUBBING
    if job.asset is None:
        return Stage.PREPARING if current is Stage.PREPARING else Stage.QUEUED
    if job.asset.uploaded:
        return Stage.PROCESSING
    return Stage.UPLOADING if current is Stage.UPLOADING else Stage.QUEUED
