"""The states of a dub and the moves between them, which all transitions use. Pure. An illegal move raises
`IllegalTransitionError`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from synthdub_tui.errors import SynthdubError
from synthdub_tui.jobs.language_entries import requested_spelling
from synthdub_tui.jobs.model import (
    LEGAL_TRANSITIONS,
    NEVER,
    Dub,
    DubState,
    Failure,
    FailureScope,
    Job,
    ModerationRefusal,
    ObservedProject,
    ObservedStatus,
    Stage,
)
from synthdub_tui.jobs.moderation import MODERATION


class IllegalTransitionError(SynthdubError, ValueError):
    """A change that the states do not allow: a bug in this program."""


# -- making jobs -----------------------------------------------------------------------------------------------------


# -- the source at the service ---------------------------------------------------------------------------------------


# -- submissions: the paid calls -------------------------------------------------------------------------------------


# -- what the service says -------------------------------------------------------------------------------------------


def record_listed_refusals(job: Job, project: str, seen: ObservedProject, now: float) -> Job:
    """Record refusals by moderation that fail no dub in progress: of a whole project whose languages are complete
    nevertheless, and of dubs that were cancelled or removed. A known one is skipped: a project may list it forever."""
    if not _is_from_current_source(job, project):
        return job
    followed = {lang for lang, dub in job.dubs.items() if dub.state is not DubState.CANCELLED or dub.project != project}
    about = [each.language for each in seen.languages if each.state is ObservedStatus.ERROR and each.code == MODERATION]
    about = [language for language in (requested_spelling(each, [*job.dubs]) for each in about) if language not in followed]
    if seen.state is ObservedStatus.ERROR and seen.code == MODERATION:
        about.insert(0, "")
    for each in about:
        if job.refusal_for(each) is None:
            job = add_refusal(job, (), each, "", now)
    return job


def _is_from_current_source(job: Job, project: str) -> bool:
    """Whether a project with dubs was made from the present version of the source."""
    return any(not dub.stale for dub in job.dubs.values() if dub.project == project)


# -- downloads -------------------------------------------------------------------------------------------------------


# -- ends, and what the user does ------------------------------------------------------------------------------------


def fail_dub(job: Job, language: str, code: str, detail: str, scope: FailureScope, now: float, **facts: Any) -> Job:
    """End a dub as failed. A refusal by moderation is recorded for as long as the job is known."""
    return update_stage(fail_dub_alone(job, language, Failure(code, scope, now, detail), **facts))


def fail_dub_alone(job: Job, language: str, failure: Failure, **facts: Any) -> Job:
    """Fail this dub alone. If moderation refused the whole video, its other waiting dubs are not barred yet."""
    job = change_state(job, language, DubState.FAILED, failure.at, failure=failure, absent_since=NEVER, **facts)
    if failure.code != MODERATION:
        return job
    about = language if failure.scope in (FailureScope.LANGUAGE, FailureScope.SUBMISSION) else ""
    return add_refusal(job, (language,), about, failure.detail, failure.at)


def record_moderation(job: Job, about: str, words: str, now: float) -> Job:
    """Record that moderation refused this content before, in any batch: in the language `about`, or as a whole if that is
    empty."""
    return update_stage(add_refusal(job, (), about, words, now))


def add_refusal(job: Job, sent: Iterable[str], about: str, words: str, now: float) -> Job:
    """Record a refusal by moderation. Earlier consent of the user no longer counts. If all languages in `sent` belong to an
    earlier version of the source, nothing is known about the present one, and nothing is recorded."""
    sent = tuple(sent)
    if sent and all(job.dubs[language].stale for language in sent):
        return job
    dubs = {lang: _withdraw_consent(dub) if about in ("", lang) else dub for lang, dub in job.dubs.items()}
    fact = ModerationRefusal(about, now, job.source.size, job.source.digest, words)
    return replace(job, dubs=dubs, refused=job.refused if job.refusal_for(about) else (*job.refused, fact))


def _fail_refused_dubs(job: Job) -> Job:
    """Fail waiting dubs that moderation refused, except those that the user has agreed since to send."""
    sent = job.submission.languages if job.submission else ()
    for language in job.languages_in_state(DubState.WAITING) if job.refused else ():
        dub, refusal = job.dubs[language], job.refusal_for(language)
        if refusal is not None and language not in sent and MODERATION not in dub.agreed:
            words = f"not sent, since it was refused before{': ' if refusal.words else ''}{refusal.words}"
            failure = Failure(MODERATION, FailureScope.SUBMISSION, refusal.at, words)
            job = change_state(job, language, DubState.FAILED, dub.since, failure=failure)
    return job


def _withdraw_consent(dub: Dub) -> Dub:
    """The dub without consent to send what moderation refused: each consent covers one request."""
    return replace(dub, agreed=tuple(code for code in dub.agreed if code != MODERATION)) if MODERATION in dub.agreed else dub


# -- shared ----------------------------------------------------------------------------------------------------------


def change_state(job: Job, language: str, state: DubState, now: float, **facts: Any) -> Job:
    dub = job.dubs[language]
    if state not in LEGAL_TRANSITIONS[dub.state]:
        raise IllegalTransitionError(f"{job.id} {language}: {dub.state} → {state}")
    dub = replace(dub, state=state, since=now, hold=None, **facts)
    return replace_dub(job, language, dub if state is DubState.WAITING else _withdraw_consent(dub))


def replace_dub(job: Job, language: str, dub: Dub) -> Job:
    return replace(job, dubs=job.dubs | {language: dub})


def update_stage(job: Job, least: Stage | None = None) -> Job:
    """The job with the stage that follows from its facts. Only a running worker knows of a preparation or an upload in
    progress: that stays, or comes from `least`."""
    job = _fail_refused_dubs(job)
    stage = _stage_from_facts(job, least or job.stage)
    return job if stage is job.stage else replace(job, stage=stage)


def _stage_from_facts(job: Job, current: Stage) -> Stage:
    if not job.is_open:
        return Stage.ENDED
    if not job.languages_in_state(DubState.WAITING) or (job.asset and job.asset.ready):
        return Stage.DUBBING
    if job.asset is None:
        return Stage.PREPARING if current is Stage.PREPARING else Stage.QUEUED
    if job.asset.uploaded:
        return Stage.PROCESSING
    return Stage.UPLOADING if current is Stage.UPLOADING else Stage.QUEUED
