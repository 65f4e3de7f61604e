"""One quota for all calls: paced per endpoint, counted over minute, hour and day, paused by a 429.

`Quota` is the asynchronous gate; the arithmetic behind it is `Budget`, in `budget.py`.

Time. Budgets know one time axis: wall clock at the start of the process, carried on by the monotonic clock. So a jump of the
wall clock while running changes nothing; a suspended machine only waits longer than it had to. What is persisted is wall
clock at the time of saving. Between two runs a clock that went back counts as no time passed, one that went forward as
time passed: then up to a window's calls may be forgotten, and the service's 429 is the backstop.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from .budget import (
    BURST,
    DEFAULT_TIER,
    HEADROOM,
    LONGEST_PAUSE,
    TIERS,
    Budget,
    Endpoint,
    Limit,
    Tier,
    Usage,
    WindowUse,
    number,
)

__all__ = [
    "BURST",
    "DEFAULT_TIER",
    "HEADROOM",
    "LONGEST_PAUSE",
    "TIERS",
    "Budget",
    "Endpoint",
    "Limit",
    "Priority",
    "Quota",
    "Tier",
    "Usage",
    "WindowUse",
]

_SHORTEST_SLEEP = 0.001


class Priority(IntEnum):
    """Who goes first when calls wait; equal ones go in the order of their arrival."""

    USER = 0
    SUBMISSION = 1
    POLL = 2


@dataclass(eq=False)
class _Lane:
    """One endpoint's budget and who waits for it, best first."""

    budget: Budget
    heap: list[tuple[Priority, int, asyncio.Future[float]]] = field(default_factory=list)
    pump: asyncio.Task[None] | None = None

    def prune(self) -> None:
        """Drops waiters at the head that gave up."""
        while self.heap and self.heap[0][2].done():
            heapq.heappop(self.heap)


class Quota:
    """The gate every call passes. For one event loop; waiting uses the monotonic clock.

    `changed` turns true with every call or pause and false with `snapshot`; `on_change` is called at the same moments, for
    an owner that would rather be told. `clock` and `sleep` are for tests.
    """

    def __init__(
        self,
        tier: Tier,
        *,
        on_change: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.tier = tier
        self.changed = False
        self._on_change = on_change
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._offset = wall() - clock()
        self._order = itertools.count()
        self._lanes = {endpoint: _Lane(Budget(tier.limits(endpoint))) for endpoint in Endpoint}

    async def acquire(self, endpoint: Endpoint, priority: Priority) -> float:
        """Waits for this endpoint's next slot and takes it; when that was, for `never_arrived`.

        Cancelled, it takes none; raises what `dismiss` says.
        """
        if (at := self.try_acquire(endpoint)) is not None:
            return at
        lane = self._lanes[endpoint]
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        heapq.heappush(lane.heap, (priority, next(self._order), turn))
        if lane.pump is None:
            lane.pump = asyncio.create_task(self._serve(lane), name=f"quota {endpoint}")
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                lane.budget.refund(turn.result())  # granted, but cancelled before it could go
            raise

    def try_acquire(self, endpoint: Endpoint) -> float | None:
        """Takes a slot if one is free now and nobody waits for it; when that was."""
        lane = self._lanes[endpoint]
        lane.prune()
        now = self._now()
        if lane.heap or lane.budget.allows(now) > now:
            return None
        self._spend(lane, now)
        return now

    def never_arrived(self, endpoint: Endpoint, at: float) -> None:
        """The call of the slot taken at `at` certainly did not reach the service, which cannot have counted it: a night without
        a network must not use up the day. It keeps its place in the pace, so that nobody is called more often for that."""
        self._lanes[endpoint].budget.uncount(at)
        self._note_change()

    def pause(self, endpoint: Endpoint, seconds: float) -> None:
        """No call of this endpoint for that long (a 429 said so); at most a day."""
        self._lanes[endpoint].budget.pause(self._now() + min(max(seconds, 0.0), LONGEST_PAUSE))
        self._note_change()

    def next_free(self, endpoint: Endpoint) -> float:
        """Seconds until the endpoint's next slot, whoever gets it; 0 if there is one now."""
        now = self._now()
        return max(0.0, self._lanes[endpoint].budget.allows(now) - now)

    def pace(self, endpoint: Endpoint) -> float:
        """Seconds between calls that can be kept up for ever: then no window, not even the day's, fills up."""
        return max((limit.seconds / limit.usable for limit in self.tier.limits(endpoint)), default=0.0)

    def usage(self) -> dict[Endpoint, Usage]:
        """Per endpoint what is used, what is left and when the next call may go."""
        now = self._now()
        return {
            endpoint: replace(lane.budget.usage(now), waiting=sum(not turn.done() for _, _, turn in lane.heap))
            for endpoint, lane in self._lanes.items()
        }

    def snapshot(self) -> dict[str, object]:
        """Counters and pauses as plain values for TOML, in wall clock; resets `changed`."""
        self.changed = False
        wall = self._wall()
        shift = wall - self._now()
        return {"saved": wall, **{endpoint.value: lane.budget.dump(shift) for endpoint, lane in self._lanes.items()}}

    def restore(self, saved: Mapping[str, object]) -> None:
        """Takes over a snapshot, before the first call. Never fails: what is damaged counts as not there."""
        now = self._now()
        written = number(saved.get("saved"))
        # Saved in the future: the clock was put back since. Counted as saved this very moment.
        shift = min(0.0, now - written) if written is not None else 0.0
        for endpoint, lane in self._lanes.items():
            part = saved.get(endpoint.value)
            if isinstance(part, Mapping):
                lane.budget.load(part, now, shift)

    def dismiss(self, error: Callable[[], BaseException]) -> None:
        """Lets everybody who waits now fail with a fresh error; they take no slot."""
        for lane in self._lanes.values():
            for _, _, turn in lane.heap:
                if not turn.done():
                    turn.set_exception(error())

    def close(self) -> None:
        """Ends the tasks that serve waiters; those still waiting are cancelled."""
        for lane in self._lanes.values():
            if lane.pump is not None:
                lane.pump.cancel()
            for _, _, turn in lane.heap:
                turn.cancel()

    async def _serve(self, lane: _Lane) -> None:
        """Grants slots to the best waiter at each due time, until nobody waits."""
        try:
            while True:
                lane.prune()
                if not lane.heap:
                    return
                now = self._now()
                wait = lane.budget.allows(now) - now
                if wait > 0:
                    # Whoever comes meanwhile cannot bring the time forward, a pause is seen after the sleep.
                    await self._sleep(max(wait, _SHORTEST_SLEEP))
                    continue
                self._spend(lane, now)
                heapq.heappop(lane.heap)[2].set_result(now)
        finally:
            lane.pump = None

    def _spend(self, lane: _Lane, now: float) -> None:
        lane.budget.spend(now)
        self._note_change()

    def _note_change(self) -> None:
        self.changed = True
        if self._on_change is not None:
            self._on_change()

    def _now(self) -> float:
        return self._clock() + self._offset
