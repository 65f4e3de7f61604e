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

from tests.soak.soak_batch import becomes_true

MIB = 1024 * 1024

MEASURES = ("rss", "pss", "uss", "descriptors", "threads", "tasks", "objects")
"""Names of what is sampled; bytes for the first three. `objects`: those that the garbage collector follows."""

TimeSeries = Sequence[tuple[float, float]]
"""Seconds since the start, and a value."""


class AllowedGrowth(NamedTuple):
    """Growth that counts as none: a share of the median, or an amount, whichever is more."""

    share: float
    amount: float


ALLOWED_GROWTH = {
    "rss": AllowedGrowth(0.06, 4 * MIB),
    "pss": AllowedGrowth(0.06, 4 * MIB),
    "uss": AllowedGrowth(0.06, 4 * MIB),
    "descriptors": AllowedGrowth(0.1, 6),
    "threads": AllowedGrowth(0.0, 3),
    "tasks": AllowedGrowth(0.1, 25),
    "objects": AllowedGrowth(0.06, 10_000),
}


WORKLOAD_MEASURES = frozenset({"descriptors", "threads", "tasks"})
"""Measures that what is under way moves up and down threefold, so that growth is told from their lows."""


class Trend(NamedTuple):
    """How a series behaves: its median, and the growth over its whole span by the median slope."""

    median: float
    growth: float
    allowed_growth: float

    @property
    def is_flat(self) -> bool:
        """Growth only: what shrinks leaks nothing."""
        return self.growth <= self.allowed_growth


def estimate_trend(series: TimeSeries, allowed: AllowedGrowth) -> Trend:
    """By the estimator of Theil and Sen (the median of the slopes of all pairs), which single spikes do not move."""
    slopes = [(v - u) / (t - s) for (s, u), (t, v) in combinations(series, 2) if t > s]
    middle = median(value for _, value in series)
    growth = median(slopes) * (series[-1][0] - series[0][0]) if slopes else 0.0
    return Trend(middle, growth, max(allowed.share * middle, allowed.amount))


def window_minima(series: TimeSeries, window: int = 12) -> TimeSeries:
    """The least of every `window` samples: what is leaked is there at the quietest moments, too."""
    return [min(series[at : at + window], key=lambda sample: sample[1]) for at in range(0, len(series), window)]


class ProcessProbe:
    """Looks at one process from outside and, by a signal that `process_inspection/sitecustomize.py` answers, from inside."""

    def __init__(self, name: str, pid: int, folder: Path) -> None:
        self.name = name
        self.pid = pid
        self._answer_file = folder / f"{pid}.json"

    def look(self) -> dict[str, float]:
        """The measures now. Raises OSError if the process is gone."""
        outside = _measure_outside(self.pid)
        inside = self._measure_inside()
        return outside | {"tasks": inside["tasks"], "objects": inside["objects"]}

    def object_types(self) -> Mapping[str, int]:
        """How many objects there are of the most frequent types, by the last look."""
        found: dict[str, int] = json.loads(self._answer_file.read_text())["types"]
        return found

    def _measure_inside(self) -> dict[str, float]:
        self._answer_file.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR2)
        if not becomes_true(self._answer_file.exists, 300, 0.02):
            raise TimeoutError(f"{self.name} does not answer")
        found: dict[str, float] = json.loads(self._answer_file.read_text())
        return found


def _measure_outside(pid: int) -> dict[str, float]:
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
