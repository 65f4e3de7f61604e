"""Slots for uploads, granted by the size of the files and not in order of arrival."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class UploadQueue(Generic[K]):
    """A queue for uploads that returns the smallest and the largest in turn.

    The best order depends on whether uploads or downloads are slower, and on dubbing times, which are unknown. With slow
    uploads the largest should go first, since their dubs take longest (Jackson, "Scheduling a production line to minimize
    maximum tardiness", 1955). With slow downloads the smallest should go first, since their outputs come soonest (Johnson,
    "Optimal two- and three-stage production schedules", 1954; with time lags: Mitten, 1958). Alternating is close to the better
    order in both cases, and the first results come early. Equal sizes go in order of arrival.
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
        """Put `who` into the queue. If it waits already with another size, it starts again with the new size."""
        known = self._waiting.get(who)
        if known is not None and known[0] == size:
            return
        self._count += 1
        self._waiting[who] = (size, self._count)
        heapq.heappush(self._small, (size, self._count, who))
        heapq.heappush(self._large, (-size, self._count, who))

    def discard(self, who: K) -> None:
        """Remove `who` from the queue, if it waits there."""
        self._waiting.pop(who, None)
        if not self._waiting:
            self.clear()

    def clear(self) -> None:
        """Empty the queue."""
        self._waiting.clear()
        self._small.clear()
        self._large.clear()

    def pop(self) -> K | None:
        """Remove and return the next one; None if the queue is empty."""
        heap = self._large if self._largest_next else self._small
        while heap:
            size, count, who = heapq.heappop(heap)
            if self._waiting.get(who) == (abs(size), count):  # else popped from the other heap, or discarded
                self._largest_next = not self._largest_next
                self.discard(who)
                return who
        return None


class UploadSlots:
    """Grants at most `slots` slots at the same time, in the order of `UploadQueue`."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free = slots
        self._queue: UploadQueue[asyncio.Future[None]] = UploadQueue()

    @asynccontextmanager
    async def hold_slot(self, size: int) -> AsyncIterator[None]:
        """Wait for a slot, and hold it within the context. `size`: bytes to upload."""
        await self._acquire(size)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, size: int) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._queue.add(turn, size)
        loop.call_soon(self._grant)  # later, so that uploads that arrive together are ordered together
        try:
            await turn
        except asyncio.CancelledError:
            self._queue.discard(turn)
            if turn.done() and not turn.cancelled():
                self._release()  # granted, but cancelled before it could start
            raise

    def _release(self) -> None:
        self._free += 1
        self._grant()

    def _grant(self) -> None:
        while self._free and (turn := self._queue.pop()):
            if not turn.done():  # else it has just been cancelled
                self._free -= 1
                turn.set_result(None)
