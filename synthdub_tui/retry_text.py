"""Describes the effect and the cost of a retry, in the same words for commands and dashboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from synthdub_tui.jobs.model import Hold, RetryStep, WaitReason
from synthdub_tui.jobs.retry_policy import RetryCost, RetryPolicy
from synthdub_tui.problems import explain
from synthdub_tui.text import make_printable

STEP_TEXTS: Final = {
    RetryStep.DOWNLOAD: "fetches it again",
    RetryStep.SUBMIT: "submits it; nothing was paid for it yet",
    RetryStep.ADD_LANGUAGE: "adds the language to its project anew",
    RetryStep.NEW_PROJECT: "makes a new project from the uploaded file",
    RetryStep.NEW_UPLOAD: "uploads the file anew and makes a new project",
}

COST_TEXTS: Final = {
    RetryCost.FREE: "free",
    RetryCost.FIRST_PAYMENT: "submitting costs credits",
    RetryCost.PAID_AGAIN: "costs credits again",
    RetryCost.MAY_PAY_TWICE: "it may be paid twice",
    RetryCost.USELESS: "it fails again as it is",
}

_HELD: Final = {WaitReason.ALREADY_PAID: "Sent on {when}, for {detail}", WaitReason.CLAIMED: "Claimed by {detail}"}

BAN_WARNING: Final = "moderation refused it: sending it again unchanged can get the account banned"


def describe_step(policy: RetryPolicy) -> str:
    """Returns the effect of the retry; empty if there is nothing to retry."""
    return STEP_TEXTS[policy.step] if policy.step is not None else ""


def describe_retry(policy: RetryPolicy) -> str:
    """Returns effect, cost and risk of the retry; empty if there is nothing to retry."""
    if policy.step is None:
        return ""
    parts = [describe_step(policy), COST_TEXTS[policy.cost]]
    if policy.cost is RetryCost.USELESS and policy.must_ask:
        parts.append(COST_TEXTS[RetryCost.PAID_AGAIN])
    if policy.resends_refused_content:
        parts.append(BAN_WARNING)
    return ", ".join(parts)


def held(hold: Hold) -> str:
    """Returns who has claimed the dub, or when and from which batch it was paid for; empty if that is not known."""
    when = datetime.fromtimestamp(hold.at).astimezone().strftime("%Y-%m-%d %H:%M")
    return _HELD[hold.reason].format(when=when, detail=make_printable(hold.detail, 4096)) if hold.detail else ""


def describe_skip_reasons(policies: Iterable[RetryPolicy]) -> str:
    """Returns why dubs are skipped, with a count for each reason: "2 × refused by content moderation"."""
    counts = Counter(explain(policy.reason_code).title for policy in policies)
    return ", ".join(f"{number} × {title[:1].lower()}{title[1:]}" for title, number in counts.items())
