"""Slots for uploads, given by size and not by the order of coming."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_Entry = tuple[int, int, asyncio.Future[None]]


class Turns:
    """At most `slots` at once. Of those who wait, the smallest and the largest are next in turn.

    The best order of a batch's uploads depends on which line is the tighter one, and on dubbing times that nobody knows:
    with slow uploads the largest first (their dubs take longest: Jackson, "Scheduling a production line to minimize maximum
    tardiness", 1955), with slow downloads the smallest (outputs to fetch come soonest: Johnson, "Optimal two- and three-stage
    production schedules", 1954; with time lags: Mitten, 1958). To alternate is near the better one either way, and the first
    results come early. Equal sizes go in the order of their coming.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._count = 0
        self._small: list[_Entry] = []
        self._large: list[_Entry] = []
        self._largest_next = False

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
        self._count += 1
        heapq.heappush(self._small, (size, self._count, turn))
        heapq.heappush(self._large, (-size, self._count, turn))
        loop.call_soon(self._grant)  # not at once: all who come together are weighed together
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()  # granted, but cancelled before it could go
            raise

    def _release(self) -> None:
        self._free += 1
        self._grant()

    def _grant(self) -> None:
        while self._free and (turn := self._next()):
            self._free -= 1
            self._largest_next = not self._largest_next
            turn.set_result(None)

    def _next(self) -> asyncio.Future[None] | None:
        heap = self._large if self._largest_next else self._small
        while heap:
            _, _, turn = heapq.heappop(heap)
            if not turn.done():  # else it had its turn through the other heap, or gave up
                return turn
        return None
