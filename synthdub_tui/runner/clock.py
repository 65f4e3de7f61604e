"""The runner's clock, which never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final


class NonDecreasingClock:
    """Seconds since the epoch that never go back.

    If the system clock is put forward, this clock follows: dubbing continues while this machine is suspended, but the monotonic
    clock of Linux stops. If the system clock is put back, this clock ignores it. Otherwise something due in a minute would be
    due an hour later.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._now, self._mark = wall(), steady()

    def __call__(self) -> float:
        mark = self._steady()
        self._now = max(self._now + mark - self._mark, self._wall())
        self._mark = mark
        return self._now


now: Final = NonDecreasingClock()
"""The clock of this process: returns seconds since the epoch."""
