"""What a retry does and costs, in words: the same in the commands and in the dashboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from synthdub_tui.jobs.model import Rung
from synthdub_tui.jobs.retry_policy import Cost, RetryPolicy
from synthdub_tui.problems import explain

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

BAN: Final = "moderation refused it: sending it again unchanged can get the account banned"


def step(policy: RetryPolicy) -> str:
    """What it does; empty where there is nothing to retry."""
    return STEPS[policy.step] if policy.step is not None else ""


def sentence(policy: RetryPolicy) -> str:
    """What it does, what it costs, and what it endangers. Empty where there is nothing to retry."""
    if policy.step is None:
        return ""
    parts = [step(policy), COSTS[policy.cost]]
    if policy.cost is Cost.USELESS and policy.must_ask:
        parts.append(COSTS[Cost.AGAIN])
    if policy.moderated:
        parts.append(BAN)
    return ", ".join(parts)


def reasons(policies: Iterable[RetryPolicy]) -> str:
    """Why dubs are left out, with their number: "2 refused by content moderation"."""
    counts = Counter(explain(policy.why).title for policy in policies)
    return ", ".join(f"{number} × {title[:1].lower()}{title[1:]}" for title, number in counts.items())
