"""The time as the runner counts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final


class Clock:
    """Seconds since the epoch that never go back.

    A clock that was put forward is followed: dubbing goes on while this machine is suspended, and Linux' monotonic clock stands
    still then. One that was put back is not, or what was due in a minute would be due in that minute and an hour.
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


now: Final = Clock()
"""The one of this process."""
