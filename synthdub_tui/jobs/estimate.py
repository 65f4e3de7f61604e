"""How fast a batch goes and when it may end, told only where what was seen so far supports it. Pure: callers pass the time."""

from __future__ import annotations

from collections import deque
from typing import Final

from synthdub_tui.jobs.model import Dub, DubState

LEAST: Final = 5
"""Dubs that must have been finished before a prediction is made."""

STALLED: Final = 4.0
"""Silence, in typical times between two finished dubs, after which the pace says nothing any more."""


class Pace:
    """When dubs were finished lately, and what this says about the rest.

    The prediction is the number of open dubs over the rate of the last ones. It counts the time since the last one too, so
    that it grows while nothing happens, and is given up when that takes too long.
    """

    def __init__(self, window: int = 40) -> None:
        self._finished: deque[float] = deque(maxlen=window)

    def finished(self, at: float) -> None:
        """A dub was finished."""
        self._finished.append(at)

    def remaining(self, open_dubs: int, now: float) -> float | None:
        """Seconds until the last of the open dubs is finished; None where nobody can know."""
        count = len(self._finished)
        if count < LEAST or not open_dubs:
            return None
        first, last = self._finished[0], self._finished[-1]
        gap = (last - first) / (count - 1)
        if gap <= 0 or now - last > STALLED * gap + 60:
            return None
        return open_dubs * (max(now, last) - first) / (count - 1)


class Durations:
    """How long dubs took from their submission to the file, to say what is usual."""

    def __init__(self, window: int = 200) -> None:
        self._taken: deque[float] = deque(maxlen=window)

    def learn(self, dub: Dub) -> None:
        """Take a finished dub into account."""
        if dub.state is DubState.DONE and 0 < dub.submitted < dub.since:
            self._taken.append(dub.since - dub.submitted)

    def usual(self) -> tuple[float, int] | None:
        """The median and how many dubs it comes from; None before there are enough."""
        count = len(self._taken)
        return (sorted(self._taken)[count // 2], count) if count >= LEAST else None


class Rates:
    """Transfer rates over the last while, one sample at a time, for a sparkline."""

    def __init__(self, samples: int = 60) -> None:
        self.samples: deque[float] = deque(maxlen=samples)

    def add(self, rate: float) -> None:
        """The rate of the time since the last sample, in bytes per second."""
        self.samples.append(max(0.0, rate))

    @property
    def moving(self) -> bool:
        """Whether any sample shows movement."""
        return any(self.samples)

    def levels(self, width: int, steps: int) -> list[int]:
        """The last `width` samples as heights from 0 to `steps`; the largest sample of them is `steps` high."""
        taken = list(self.samples)[-width:] if width > 0 else []
        top = max(taken, default=0.0)
        return [0 if not top or not rate else max(1, round(rate / top * steps)) for rate in taken]
