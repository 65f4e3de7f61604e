"""Decides what a retry of a dub does, what it costs, and whether the user must agree first.

Runner, commands and dashboard all ask here, so that none of them spends credits about which another would have asked.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from synthdub_tui.jobs import failure_codes
from synthdub_tui.jobs.failure_codes import SUBMISSION_UNKNOWN
from synthdub_tui.jobs.model import PAID_STEPS, Dub, DubState, Job, RetryStep, WaitReason
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions import retry

_FILE_AT_FAULT: Final = frozenset({"not_a_video", failure_codes.NO_AUDIO, "media_type", "video_duration_limit_reached"})
"""Failures that repeat as long as the file is the same."""

_REQUEST_AT_FAULT: Final = frozenset({"invalid_target_language", "title_too_long"})
"""Failures that repeat whatever the file contains."""

_REASON_IN_MESSAGE: Final = frozenset({"request_refused", "language_refused"})
"""Refusals whose reason is in the service's message."""


_LOCAL_FAILURES: Final = frozenset(
    {
        *(
            "source_missing",
            "source_unreadable",
            "source_changed",
            "source_changing",
            "source_empty",
            "not_a_video",
            failure_codes.NO_AUDIO,
        ),
        *("output_exists", "output_claimed", "output_unwritable", "output_unmounted", "name_too_long", "name_refused"),
        *("disk_full", "upload_failed", "upload_denied", "upload_region", "credentials_expired", "storage_trouble"),
        *("asset_not_uploaded", "internal"),
    }
)
"""Failures for a reason on this side, before a paid request was sent. The reason may be gone at the next start."""


class RetryCost(StrEnum):
    """The cost of a retry."""

    FREE = "free"  # nothing: what was paid for is downloaded or checked again
    FIRST_PAYMENT = "first"  # the price of any dub: nothing was paid for this one yet
    PAID_AGAIN = "costs"  # credits, although some were spent on this dub before
    MAY_PAY_TWICE = "may_pay_twice"  # credits, for a dub that may have been paid for and be in progress
    USELESS = "useless"  # perhaps credits, and without a change it must fail again


class RetryPolicy(NamedTuple):
    """What a retry of one dub means, in its present state."""

    step: RetryStep | None = None  # None: nothing to retry
    cost: RetryCost = RetryCost.FREE
    must_ask: bool = False  # needs the user's consent to this very step
    never_in_bulk: bool = False  # never in bulk: the user must name this very dub
    reason_code: str = ""  # code of the reason against it

    @property
    def resends_refused_content(self) -> bool:
        """Whether it sends again content that moderation refused, which endangers the account."""
        return self.reason_code == MODERATION

    @property
    def script_label(self) -> str:
        """One word for scripts: free, costs, ask (decide about this very dub) or useless (fix the problem first)."""
        if self.cost is RetryCost.USELESS and self.reason_code != failure_codes.NO_AUDIO:
            return "useless"
        if self.never_in_bulk:
            return "ask"
        return "free" if self.cost is RetryCost.FREE else "costs"


def policy_for(job: Job, language: str, *, source_edited: bool = False) -> RetryPolicy:
    """What a retry of this dub means. `source_edited` says that the source is known to differ from the file that failed."""
    dub, step = job.dubs[language], retry.next_step(job, language)
    if step is None:
        return RetryPolicy()
    spends = step is not RetryStep.DOWNLOAD
    again = step in PAID_STEPS
    if retry.would_resend_refused_content(job, language):
        return RetryPolicy(step, _cost(step), must_ask=True, never_in_bulk=True, reason_code=MODERATION)
    if spends and (code := _repeating_failure_code(dub, source_edited)):
        return RetryPolicy(step, RetryCost.USELESS, must_ask=again, never_in_bulk=True, reason_code=code)
    if again and (code := _possibly_paid_code(dub)):
        return RetryPolicy(step, RetryCost.MAY_PAY_TWICE, must_ask=True, never_in_bulk=True, reason_code=code)
    return RetryPolicy(step, _cost(step), must_ask=again)


def unclaimed(job: Job, language: str) -> RetryPolicy:
    """What a retry of a claimed dub means once the claim is gone: the dub continues as it would at the next start."""
    step = job.dubs[language].next_rung or RetryStep.SUBMIT
    return RetryPolicy(step, _cost(step))


def offered_policy(job: Job, language: str) -> RetryPolicy:
    """What a retry means to callers that do not look at files: a finished dub has one only if it lacks captions."""
    dub = job.dubs[language]
    return RetryPolicy() if dub.state is DubState.DONE and not dub.lacks_captions else policy_for(job, language)


def may_retry_automatically(job: Job, language: str, policy: RetryPolicy) -> bool:
    """Whether a new start may retry the failed dub without asking: only the download failed, a check may find the dub, or
    nothing was sent for a reason on this side.

    The service would refuse again what it refused before: only the user's retry sends that again.
    """
    if retry.can_check_for_free(job.dubs[language]):
        return not policy.resends_refused_content  # unless the user asks for it, the retry is only a check
    if policy.must_ask or policy.never_in_bulk:
        return False
    failure = job.dubs[language].failure
    unsent = failure is not None and failure.code in _LOCAL_FAILURES
    return policy.step is RetryStep.DOWNLOAD or (policy.step is RetryStep.SUBMIT and unsent)


def dub_fingerprint(job: Job, language: str) -> str:
    """A text that changes when the dub does, or what a retry of it means: what is known of its job may change that without any
    change of the dub, as where moderation refuses the whole video. A consent applies only as long as it stays the same."""
    dub, means = job.dubs[language], policy_for(job, language)
    failure = f"{dub.failure.code}@{dub.failure.at}" if dub.failure is not None else ""
    hold = f"{dub.hold.reason.value} {dub.hold.detail}".rstrip() if dub.hold is not None else ""
    retry = f"{means.step.value} {means.cost.value} {means.reason_code}".rstrip() if means.step is not None else ""
    return " ".join(filter(None, (f"{dub.state.value}@{dub.since}", failure, hold, retry)))


def bill_if_cancelled(job: Job, language: str) -> str:
    """What remains to be paid if the dub is given up: "nothing", "accepted" work, or "perhaps" some."""
    dub = job.dubs[language]
    if dub.state is DubState.UNKNOWN or (job.submission is not None and language in job.submission.languages):
        return "perhaps"
    return "accepted" if dub.project and dub.state is not DubState.WAITING else "nothing"


def _cost(step: RetryStep) -> RetryCost:
    if step in PAID_STEPS:
        return RetryCost.PAID_AGAIN
    return RetryCost.FIRST_PAYMENT if step is RetryStep.SUBMIT else RetryCost.FREE


def _repeating_failure_code(dub: Dub, edited: bool) -> str:
    """Code of a failure that must repeat; empty if there is none."""
    if dub.failure is None:
        return ""
    codes = {dub.failure.code}
    if dub.failure.code in _REASON_IN_MESSAGE:
        codes.update(code for code in _REQUEST_AT_FAULT | _FILE_AT_FAULT if code in dub.failure.detail)
    at_fault = _REQUEST_AT_FAULT if edited else _REQUEST_AT_FAULT | _FILE_AT_FAULT
    return next(iter(sorted(codes & at_fault)), "")


def _possibly_paid_code(dub: Dub) -> str:
    """Code of the reason why the dub may have been paid for already; empty if there is none."""
    if dub.hold is not None and dub.hold.reason in (WaitReason.ALREADY_PAID, WaitReason.CLAIMED):
        return dub.hold.reason.value
    unclear = dub.state is DubState.UNKNOWN or (dub.failure is not None and dub.failure.code == SUBMISSION_UNKNOWN)
    return SUBMISSION_UNKNOWN if unclear or SUBMISSION_UNKNOWN in dub.agreed else ""
