"""What keeps a waiting dub from being submitted, and the user's consent to go past that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from synthdub_tui.jobs.failure_codes import NO_AUDIO, SUBMISSION_UNKNOWN
from synthdub_tui.jobs.model import NEVER, OPEN_STATES, Dub, DubState, Hold, Job, WaitReason
from synthdub_tui.jobs.transitions.dub_states import IllegalTransitionError, replace_dub, update_stage

_OVERRIDABLE_FAILURES: Final = frozenset({NO_AUDIO, SUBMISSION_UNKNOWN})
"""Failures that a retry overrides. The dub records that, since it may be cancelled, or fail again, before it is sent."""


def hold_dub(job: Job, language: str, hold: Hold, project: str = "") -> Job:
    """Keep a waiting dub from being submitted until the user decides. `project` is that of an earlier request for it, if known;
    it is polled before the dub is paid for.

    Raises `IllegalTransitionError` if the dub is not waiting, or its request is in progress.
    """
    sent = job.submission is not None and language in job.submission.languages
    if job.dubs[language].state is not DubState.WAITING or sent:
        raise IllegalTransitionError(f"{job.id} {language}: only a waiting dub can be held")
    dub = job.dubs[language]
    return update_stage(replace_dub(job, language, replace(dub, hold=hold, project=project or dub.project)))


def agree_to(job: Job, languages: Iterable[str], reason: WaitReason) -> Job:
    """Record that the user overrides this reason for holding the dubs, whether or not it holds them already."""
    for language in languages:
        job = agree_and_release(job, language, reason)
    return job


def agree_to_pay_again(job: Job, languages: Iterable[str], now: float) -> Job:
    """Record that the user started these dubs again, even if they were paid for before."""
    return replace(agree_to(job, languages, WaitReason.ALREADY_PAID), forced=now)


def has_unfinished_forced_dubs(job: Job, languages: Iterable[str]) -> bool:
    """Whether some of these dubs were started again with --force-new before, and have not ended yet."""
    dubs = [job.dubs[language] for language in languages if language in job.dubs]
    return job.forced != NEVER and any(dub.state in OPEN_STATES | {DubState.UNKNOWN} and not dub.stale for dub in dubs)


def release_hold(job: Job, language: str) -> Job:
    """Release the dub from its hold: it waits like any other."""
    return update_stage(replace_dub(job, language, replace(job.dubs[language], hold=None)))


def release_claimed_dubs(job: Job) -> Job:
    """Release dubs that another batch had claimed, so that their claims are checked again: that batch may have ended."""
    for language in job.held_languages:
        hold = job.dubs[language].hold
        if hold is not None and hold.reason is WaitReason.CLAIMED:
            job = release_hold(job, language)
    return job


def agree_and_release(job: Job, language: str, reason: WaitReason) -> Job:
    """Record that the user overrides this reason for holding the dub, and release it. The reason will not hold it again."""
    dub = job.dubs[language]
    return release_hold(replace_dub(job, language, replace(dub, agreed=add_agreement(dub, reason.value))), language)


def agreements_with_failure(dub: Dub) -> tuple[str, ...]:
    """What the user has agreed to, including the failure that a retry of this dub overrides."""
    if dub.failure is None or dub.failure.code not in _OVERRIDABLE_FAILURES:
        return dub.agreed
    return add_agreement(dub, dub.failure.code)


def add_agreement(dub: Dub, code: str) -> tuple[str, ...]:
    return dub.agreed if code in dub.agreed else (*dub.agreed, code)
