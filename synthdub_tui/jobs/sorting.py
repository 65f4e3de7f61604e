"""The orders of rows. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from synthdub_tui.jobs.model import DubState, Job

_STATE_RANKS: Final = {
    state: place
    for place, state in enumerate(
        (
            DubState.UNKNOWN,
            DubState.FAILED,
            DubState.DOWNLOADING,
            DubState.READY,
            DubState.DUBBING,
            DubState.WAITING,
            DubState.CANCELLED,
            DubState.DONE,
        )
    )
}
"""Ranks of states in the order in which users want to see them."""


def _natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key for names as people order them: part 2 before part 10, without case."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part.casefold()) for part in parts)


def _progress(job: Job) -> float:
    done = sum(1 for dub in job.dubs.values() if dub.state is DubState.DONE)
    return -done / len(job.dubs) if job.dubs else 0.0


SORT_KEYS: Final[dict[str, Callable[[Job], Any]]] = {
    "added": lambda job: (job.added,),
    "name": lambda job: _natural_key(job.name),
    "state": lambda job: min((_STATE_RANKS[dub.state] for dub in job.dubs.values()), default=len(_STATE_RANKS)),
    "progress": _progress,
    "size": lambda job: -job.source.size,
}
"""Sort keys of rows. Equal rows stay in the order in which they were added."""
