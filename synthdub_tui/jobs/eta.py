"""How fast a batch finishes dubs, and when it may end, if recent dubs support an estimate. Pure: callers pass the time."""

from __future__ import annotations

from collections import deque
from typing import Final

from synthdub_tui.jobs.model import Dub, DubState

MIN_FINISHED_DUBS: Final = 5
"""Finished dubs that an estimate needs."""

MAX_SILENCE_IN_MEAN_GAPS: Final = 4.0
"""Mean times between two finished dubs, plus a minute, after which silence ends the estimate."""


class CompletionPace:
    """Times at which dubs finished lately, and an estimate for the rest.

    The estimate is the number of open dubs divided by the rate of recent ones. The time since the last one counts too, so the
    estimate grows while nothing finishes, and ends when that takes too long.
    """

    def __init__(self, window: int = 40) -> None:
        self._finished: deque[float] = deque(maxlen=window)

    def record_finished(self, at: float) -> None:
        """Record that a dub finished at `at`."""
        self._finished.append(at)

    def remaining_seconds(self, open_dubs: int, now: float) -> float | None:
        """Seconds until the last open dub finishes; None without an estimate."""
        count = len(self._finished)
        if count < MIN_FINISHED_DUBS or not open_dubs:
            return None
        first, last = self._finished[0], self._finished[-1]
        gap = (last - first) / (count - 1)
        if gap <= 0 or now - last > MAX_SILENCE_IN_MEAN_GAPS * gap + 60:
            return None
        return open_dubs * (max(now, last) - first) / (count - 1)


class PastDurations:
    """Seconds from submission to finished file of past dubs, to show the usual time."""

    def __init__(self, window: int = 200) -> None:
        self._seconds: deque[float] = deque(maxlen=window)

    def add_if_done(self, dub: Dub) -> None:
        """Add a dub if it is finished."""
        if dub.state is DubState.DONE and 0 < dub.submitted < dub.since:
            self._seconds.append(dub.since - dub.submitted)

    def median_and_count(self) -> tuple[float, int] | None:
        """The median in seconds, and the number of dubs that it comes from; None before there are enough."""
        count = len(self._seconds)
        return (sorted(self._seconds)[count // 2], count) if count >= MIN_FINISHED_DUBS else None


class TransferRates:
    """Recent transfer rates, one sample for each interval, for a sparkline."""

    def __init__(self, samples: int = 60) -> None:
        self.samples: deque[float] = deque(maxlen=samples)

    def add(self, rate: float) -> None:
        """Add the rate since the last sample, in bytes per second."""
        self.samples.append(max(0.0, rate))

    @property
    def has_movement(self) -> bool:
        """Whether any sample shows movement."""
        return any(self.samples)

    def levels(self, width: int, steps: int) -> list[int]:
        """The last `width` samples as heights from 0 to `steps`. The largest of them is `steps` high."""
        taken = list(self.samples)[-width:] if width > 0 else []
        top = max(taken, default=0.0)
        return [0 if not top or not rate else max(1, round(rate / top * steps)) for rate in taken]
