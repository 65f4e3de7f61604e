"""Slots for uploads, given by size and not by the order of coming."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Line(Generic[K]):
    """Who waits for an upload. The smallest and the largest are next in turn.

    The best order of a batch's uploads depends on which line is the tighter one, and on dubbing times that nobody knows:
    with slow uploads the largest first (their dubs take longest: Jackson, "Scheduling a production line to minimize maximum
    tardiness", 1955), with slow downloads the smallest (outputs to fetch come soonest: Johnson, "Optimal two- and three-stage
    production schedules", 1954; with time lags: Mitten, 1958). To alternate is near the better one either way, and the first
    results come early. Equal sizes go in the order of their coming.
    """

    def __init__(self) -> None:
        self._waiting: dict[K, tuple[int, int]] = {}
        self._count = 0
        self._small: list[tuple[int, int, K]] = []
        self._large: list[tuple[int, int, K]] = []
        self._largest_next = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, who: K, size: int) -> None:
        """Wait, if not yet; with another size than before, anew."""
        known = self._waiting.get(who)
        if known is not None and known[0] == size:
            return
        self._count += 1
        self._waiting[who] = (size, self._count)
        heapq.heappush(self._small, (size, self._count, who))
        heapq.heappush(self._large, (-size, self._count, who))

    def discard(self, who: K) -> None:
        """Wait no more."""
        self._waiting.pop(who, None)
        if not self._waiting:
            self.clear()

    def clear(self) -> None:
        """Send all away."""
        self._waiting.clear()
        self._small.clear()
        self._large.clear()

    def pop(self) -> K | None:
        """Whose turn it is; None where nobody waits."""
        heap = self._large if self._largest_next else self._small
        while heap:
            size, count, who = heapq.heappop(heap)
            if self._waiting.get(who) == (abs(size), count):  # else it had its turn through the other heap, or left
                self._largest_next = not self._largest_next
                self.discard(who)
                return who
        return None


class Turns:
    """At most `slots` at once, of those who wait as `Line` has it."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free = slots
        self._line: Line[asyncio.Future[None]] = Line()

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Holds a slot within the context."""
        await self._acquire(size)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._line.add(turn, size)
        loop.call_soon(self._grant)  # not at once: all who come together are weighed together
        try:
            await turn
        except asyncio.CancelledError:
            self._line.discard(turn)
            if turn.done() and not turn.cancelled():
                self._release()  # granted, but cancelled before it could go
            raise

    def _release(self) -> None:
        self._free += 1
        self._grant()

    def _grant(self) -> None:
        while self._free and (turn := self._line.pop()):
            if not turn.done():  # else it was cancelled in this very moment
                self._free -= 1
                turn.set_result(None)
