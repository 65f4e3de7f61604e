"""The sandbox's clock, which tests can move forward, and a limit on bytes per second."""

from __future__ import annotations

import asyncio
import time


class SandboxClock:
    """Seconds since the epoch plus the seconds given to `advance`, so that tests need not wait for expiry and dubbing."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


class Throttle:
    """Limits all its users together to `rate` bytes per second; None is no limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    async def wait_for(self, count: int) -> None:
        """Wait until `count` more bytes may have passed."""
        if self._rate is None or count == 0:
            return
        start = max(self._free_at, time.monotonic())
        self._free_at = start + count / self._rate
        await asyncio.sleep(self._free_at - time.monotonic())
