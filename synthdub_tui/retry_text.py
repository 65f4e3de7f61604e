"""Describes the effect and the cost of a retry, in the same words for commands and dashboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from synthdub_tui.jobs.model import Hold, Rung, WaitsFor
from synthdub_tui.jobs.retry_policy import Cost, RetryPolicy
from synthdub_tui.problems import explain
from synthdub_tui.text import printable

STEPS: Final = {
    Rung.DOWNLOAD: "fetches it again",
    Rung.SUBMIT: "submits it; nothing was paid for it yet",
    Rung.ADD: "adds the language to its project anew",
    Rung.PROJECT: "makes a new project from the uploaded file",
    Rung.UPLOAD: "uploads the file anew and makes a new project",
}

COSTS: Final = {
    Cost.FREE: "free",
    Cost.FIRST: "submitting costs credits",
    Cost.AGAIN: "costs credits again",
    Cost.TWICE: "it may be paid twice",
    Cost.USELESS: "it fails again as it is",
}

_HELD: Final = {WaitsFor.ALREADY_PAID: "Sent on {when}, for {detail}", WaitsFor.CLAIMED: "Claimed by {detail}"}

BAN: Final = "moderation refused it: sending it again unchanged can get the account banned"


def step(policy: RetryPolicy) -> str:
    """Returns the effect of the retry; empty if there is nothing to retry."""
    return STEPS[policy.step] if policy.step is not None else ""


def sentence(policy: RetryPolicy) -> str:
    """Returns effect, cost and risk of the retry; empty if there is nothing to retry."""
    if policy.step is None:
        return ""
    parts = [step(policy), COSTS[policy.cost]]
    if policy.cost is Cost.USELESS and policy.must_ask:
        parts.append(COSTS[Cost.AGAIN])
    if policy.moderated:
        parts.append(BAN)
    return ", ".join(parts)


def held(hold: Hold) -> str:
    """Returns who has claimed the dub, or when and from which batch it was paid for; empty if that is not known."""
    when = datetime.fromtimestamp(hold.at).astimezone().strftime("%Y-%m-%d %H:%M")
    return _HELD[hold.reason].format(when=when, detail=printable(hold.detail, 4096)) if hold.detail else ""


def reasons(policies: Iterable[RetryPolicy]) -> str:
    """Returns why dubs are skipped, with a count for each reason: "2 × refused by content moderation"."""
    counts = Counter(explain(policy.why).title for policy in policies)
    return ", ".join(f"{number} × {title[:1].lower()}{title[1:]}" for title, number in counts.items())
