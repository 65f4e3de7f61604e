"""What a process takes of its machine, and whether that grows."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.soak.soak_batch import until

MIB = 1024 * 1024

MEASURES = ("rss", "pss", "uss", "descriptors", "threads", "tasks", "objects")
"""Names of what is sampled; bytes for the first three. `objects`: those that the garbage collector follows."""

Series = Sequence[tuple[float, float]]
"""Seconds since the start, and a value."""


class Allowed(NamedTuple):
    """Growth that counts as none: a share of the median, or an amount, whichever is more."""

    share: float
    amount: float


ALLOWED = {
    "rss": Allowed(0.06, 4 * MIB),
    "pss": Allowed(0.06, 4 * MIB),
    "uss": Allowed(0.06, 4 * MIB),
    "descriptors": Allowed(0.1, 6),
    "threads": Allowed(0.0, 3),
    "tasks": Allowed(0.1, 25),
    "objects": Allowed(0.06, 10_000),
}


OF_THE_WORK = frozenset({"descriptors", "threads", "tasks"})
"""Measures that what is under way moves up and down threefold, so that growth is told from their lows."""


class Trend(NamedTuple):
    """How a series behaves: its median, and the growth over its whole span by the median slope."""

    median: float
    growth: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Growth only: what shrinks leaks nothing."""
        return self.growth <= self.allowed


def trend(series: Series, allowed: Allowed) -> Trend:
    """By the estimator of Theil and Sen (the median of the slopes of all pairs), which single spikes do not move."""
    slopes = [(v - u) / (t - s) for (s, u), (t, v) in combinations(series, 2) if t > s]
    middle = median(value for _, value in series)
    growth = median(slopes) * (series[-1][0] - series[0][0]) if slopes else 0.0
    return Trend(middle, growth, max(allowed.share * middle, allowed.amount))


def lows(series: Series, window: int = 12) -> Series:
    """The least of every `window` samples: what is leaked is there at the quietest moments, too."""
    return [min(series[at : at + window], key=lambda sample: sample[1]) for at in range(0, len(series), window)]


class Probe:
    """Looks at one process from outside and, by a signal that `process_inspection/sitecustomize.py` answers, from inside."""

    def __init__(self, name: str, pid: int, folder: Path) -> None:
        self.name = name
        self.pid = pid
        self._answer = folder / f"{pid}.json"

    def look(self) -> dict[str, float]:
        """The measures now. Raises OSError if the process is gone."""
        outside = _outside(self.pid)
        inside = self._inside()
        return outside | {"tasks": inside["tasks"], "objects": inside["objects"]}

    def types(self) -> Mapping[str, int]:
        """How many objects there are of the most frequent types, by the last look."""
        found: dict[str, int] = json.loads(self._answer.read_text())["types"]
        return found

    def _inside(self) -> dict[str, float]:
        self._answer.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR2)
        if not until(self._answer.exists, 300, 0.02):
            raise TimeoutError(f"{self.name} does not answer")
        found: dict[str, float] = json.loads(self._answer.read_text())
        return found


def _outside(pid: int) -> dict[str, float]:
    process = Path(f"/proc/{pid}")
    words = [line.split() for line in (process / "smaps_rollup").read_text().splitlines()[1:]]
    size = {line[0].rstrip(":"): int(line[1]) * 1024 for line in words}
    return {
        "rss": size["Rss"],
        "pss": size["Pss"],
        "uss": size["Private_Clean"] + size["Private_Dirty"],
        "descriptors": len(os.listdir(process / "fd")),
        "threads": len(os.listdir(process / "task")),
    }
