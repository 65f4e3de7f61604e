"""The sandbox's time, which tests can move forward, and pacing of bytes."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Seconds since the epoch, plus what `advance` added: expiry and dubbing come about without waiting."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


class Throttle:
    """Holds all that share it to a number of bytes per second together; None lets everything pass."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        """Returns when `count` more bytes may have passed."""
        if self._rate is None or count == 0:
            return
        start = max(self._free_at, time.monotonic())
        self._free_at = start + count / self._rate
        await asyncio.sleep(self._free_at - time.monotonic())
