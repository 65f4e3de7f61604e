"""Decides what a retry of a dub does, what it costs, and whether the user must agree first.

Runner, commands and dashboard all ask here, so that none of them spends credits about which another would have asked.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from synthdub_tui.jobs import failure_codes
from synthdub_tui.jobs.failure_codes import SUBMISSION_UNKNOWN
from synthdub_tui.jobs.model import PAID, Dub, DubState, Job, Rung, WaitsFor
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions import retry

_FILE_AT_FAULT: Final = frozenset({"not_a_video", failure_codes.NO_AUDIO, "media_type", "video_duration_limit_reached"})
"""Failures that repeat as long as the file is the same."""

_REQUEST_AT_FAULT: Final = frozenset({"invalid_target_language", "title_too_long"})
"""Failures that repeat whatever the file contains."""

_WORDED: Final = frozenset({"request_refused", "language_refused"})
"""Refusals whose reason is in the service's message."""


_THIS_SIDE: Final = frozenset(
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


class Cost(StrEnum):
    """The cost of a retry."""

    FREE = "free"  # nothing: what was paid for is downloaded or checked again
    FIRST = "first"  # the price of any dub: nothing was paid for this one yet
    AGAIN = "costs"  # credits, although some were spent on this dub before
    TWICE = "may_pay_twice"  # credits, for a dub that may have been paid for and be in progress
    USELESS = "useless"  # perhaps credits, and without a change it must fail again


class RetryPolicy(NamedTuple):
    """What a retry of one dub means, in its present state."""

    step: Rung | None = None  # None: nothing to retry
    cost: Cost = Cost.FREE
    must_ask: bool = False  # needs the user's consent to this very step
    alone: bool = False  # never in bulk: the user must name this very dub
    why: str = ""  # code of the reason against it

    @property
    def moderated(self) -> bool:
        """Whether it sends again content that moderation refused, which endangers the account."""
        return self.why == MODERATION

    @property
    def label(self) -> str:
        """One word for scripts: free, costs, ask (decide about this very dub) or useless (fix the problem first)."""
        if self.cost is Cost.USELESS and self.why != failure_codes.NO_AUDIO:
            return "useless"
        if self.alone:
            return "ask"
        return "free" if self.cost is Cost.FREE else "costs"


def policy(job: Job, language: str, *, edited: bool = False) -> RetryPolicy:
    """What a retry of this dub means. `edited` says that the source is known to differ from the file that failed."""
    dub, step = job.dubs[language], retry.step(job, language)
    if step is None:
        return RetryPolicy()
    spends = step is not Rung.DOWNLOAD
    again = step in PAID
    if retry.must_not_be_sent(job, language):
        return RetryPolicy(step, _cost(step), must_ask=True, alone=True, why=MODERATION)
    if spends and (code := _fails_again(dub, edited)):
        return RetryPolicy(step, Cost.USELESS, must_ask=again, alone=True, why=code)
    if again and (code := _paid_perhaps(dub)):
        return RetryPolicy(step, Cost.TWICE, must_ask=True, alone=True, why=code)
    return RetryPolicy(step, _cost(step), must_ask=again)


def unclaimed(job: Job, language: str) -> RetryPolicy:
    """What a retry of a claimed dub means once the claim is gone: the dub continues as it would at the next start."""
    step = job.dubs[language].next_rung or Rung.SUBMIT
    return RetryPolicy(step, _cost(step))


def offered(job: Job, language: str) -> RetryPolicy:
    """What a retry means to callers that do not look at files: a finished dub has one only if it lacks captions."""
    dub = job.dubs[language]
    return RetryPolicy() if dub.state is DubState.DONE and not dub.lacks_captions else policy(job, language)


def mends_itself(job: Job, language: str, means: RetryPolicy) -> bool:
    """Whether a new start may retry the failed dub without asking: only the download failed, a check may find the dub, or
    nothing was sent for a reason on this side.

    The service would refuse again what it refused before: only the user's retry sends that again.
    """
    if retry.can_look_for(job.dubs[language]):
        return not means.moderated  # unless the user asks for it, the retry is only a check
    if means.must_ask or means.alone:
        return False
    failure = job.dubs[language].failure
    unsent = failure is not None and failure.code in _THIS_SIDE
    return means.step is Rung.DOWNLOAD or (means.step is Rung.SUBMIT and unsent)


def fingerprint(job: Job, language: str) -> str:
    """A text that changes when the dub does, or what a retry of it means: what is known of its job may change that without any
    change of the dub, as where moderation refuses the whole video. A consent applies only as long as it stays the same."""
    dub, means = job.dubs[language], policy(job, language)
    failure = f"{dub.failure.code}@{dub.failure.at}" if dub.failure is not None else ""
    hold = f"{dub.hold.reason.value} {dub.hold.detail}".rstrip() if dub.hold is not None else ""
    retry = f"{means.step.value} {means.cost.value} {means.why}".rstrip() if means.step is not None else ""
    return " ".join(filter(None, (f"{dub.state.value}@{dub.since}", failure, hold, retry)))


def bill(job: Job, language: str) -> str:
    """What remains to be paid if the dub is given up: "nothing", "accepted" work, or "perhaps" some."""
    dub = job.dubs[language]
    if dub.state is DubState.UNKNOWN or (job.submission is not None and language in job.submission.languages):
        return "perhaps"
    return "accepted" if dub.project and dub.state is not DubState.WAITING else "nothing"


def _cost(step: Rung) -> Cost:
    if step in PAID:
        return Cost.AGAIN
    return Cost.FIRST if step is Rung.SUBMIT else Cost.FREE


def _fails_again(dub: Dub, edited: bool) -> str:
    """Code of a failure that must repeat; empty if there is none."""
    if dub.failure is None:
        return ""
    codes = {dub.failure.code}
    if dub.failure.code in _WORDED:
        codes.update(code for code in _REQUEST_AT_FAULT | _FILE_AT_FAULT if code in dub.failure.detail)
    at_fault = _REQUEST_AT_FAULT if edited else _REQUEST_AT_FAULT | _FILE_AT_FAULT
    return next(iter(sorted(codes & at_fault)), "")


def _paid_perhaps(dub: Dub) -> str:
    """Code of the reason why the dub may have been paid for already; empty if there is none."""
    if dub.hold is not None and dub.hold.reason in (WaitsFor.ALREADY_PAID, WaitsFor.CLAIMED):
        return dub.hold.reason.value
    unclear = dub.state is DubState.UNKNOWN or (dub.failure is not None and dub.failure.code == SUBMISSION_UNKNOWN)
    return SUBMISSION_UNKNOWN if unclear or SUBMISSION_UNKNOWN in dub.agreed else ""
