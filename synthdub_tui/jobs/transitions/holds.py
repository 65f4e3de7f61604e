"""What keeps a waiting dub from being submitted, and the user's consent to go past that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from synthdub_tui.jobs.failure_codes import NO_AUDIO, SUBMISSION_UNKNOWN
from synthdub_tui.jobs.model import NEVER, OPEN, Dub, DubState, Hold, Job, WaitsFor
from synthdub_tui.jobs.transitions.dub_states import IllegalMove, _staged, _with_dub

_AGREEABLE: Final = frozenset({NO_AUDIO, SUBMISSION_UNKNOWN})
"""Failures that a retry overrides. The dub records that, since it may be cancelled, or fail again, before it is sent."""


def held(job: Job, language: str, hold: Hold, project: str = "") -> Job:
    """Keep a waiting dub from being submitted until the user decides. `project` is that of an earlier request for it, if known;
    it is polled before the dub is paid for.

    Raises `IllegalMove` if the dub is not waiting, or its request is in progress.
    """
    sent = job.submission is not None and language in job.submission.languages
    if job.dubs[language].state is not DubState.WAITING or sent:
        raise IllegalMove(f"{job.id} {language}: only a waiting dub can be held")
    dub = job.dubs[language]
    return _staged(_with_dub(job, language, replace(dub, hold=hold, project=project or dub.project)))


def agreed_to(job: Job, languages: Iterable[str], reason: WaitsFor) -> Job:
    """Record that the user overrides this reason for holding the dubs, whether or not it holds them already."""
    for language in languages:
        job = _agreed(job, language, reason)
    return job


def forced(job: Job, languages: Iterable[str], now: float) -> Job:
    """Record that the user started these dubs again, even if they were paid for before."""
    return replace(agreed_to(job, languages, WaitsFor.ALREADY_PAID), forced=now)


def force_goes_on(job: Job, languages: Iterable[str]) -> bool:
    """Whether some of these dubs were started again with --force-new before, and have not ended yet."""
    dubs = [job.dubs[language] for language in languages if language in job.dubs]
    return job.forced != NEVER and any(dub.state in OPEN | {DubState.UNKNOWN} and not dub.stale for dub in dubs)


def hold_released(job: Job, language: str) -> Job:
    """Release the dub from its hold: it waits like any other."""
    return _staged(_with_dub(job, language, replace(job.dubs[language], hold=None)))


def claims_forgotten(job: Job) -> Job:
    """Release dubs that another batch had claimed, so that their claims are checked again: that batch may have ended."""
    for language in job.held:
        hold = job.dubs[language].hold
        if hold is not None and hold.reason is WaitsFor.CLAIMED:
            job = hold_released(job, language)
    return job


def _agreed(job: Job, language: str, reason: WaitsFor) -> Job:
    """Record that the user overrides this reason for holding the dub, and release it. The reason will not hold it again."""
    dub = job.dubs[language]
    return hold_released(_with_dub(job, language, replace(dub, agreed=_with_agreement(dub, reason.value))), language)


def _past_failure(dub: Dub) -> tuple[str, ...]:
    """What the user has agreed to, including the failure that a retry of this dub overrides."""
    if dub.failure is None or dub.failure.code not in _AGREEABLE:
        return dub.agreed
    return _with_agreement(dub, dub.failure.code)


def _with_agreement(dub: Dub, code: str) -> tuple[str, ...]:
    return dub.agreed if code in dub.agreed else (*dub.agreed, code)
