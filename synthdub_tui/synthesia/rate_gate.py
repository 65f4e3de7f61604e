"""The gate of all calls: paces each endpoint, counts its calls over minute, hour and day, and pauses it after a 429.

`RateGate` is the asynchronous gate; its arithmetic is `RateBudget`, in `rate_arithmetic.py`.

Time: budgets use the wall clock at the start of the process plus the monotonic time since. A jump of the wall clock during a
run therefore changes nothing; after a suspend, calls only wait longer than needed. Saved times are wall clock at the time of
saving. If the clock went back between two runs, no time counts as passed. If it jumped forward, that time counts as passed:
up to a window's calls may be forgotten, and the service's 429 is the backstop.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from .rate_arithmetic import (
    DEFAULT_TIER,
    MAX_BURST_CALLS,
    MAX_LIMIT_SHARE,
    MAX_PAUSE_SECONDS,
    TIERS,
    Endpoint,
    EndpointUsage,
    RateBudget,
    RateLimit,
    RateTier,
    WindowUse,
    read_number,
)

__all__ = [
    "DEFAULT_TIER",
    "MAX_BURST_CALLS",
    "MAX_LIMIT_SHARE",
    "MAX_PAUSE_SECONDS",
    "TIERS",
    "Endpoint",
    "EndpointUsage",
    "Priority",
    "RateBudget",
    "RateGate",
    "RateLimit",
    "RateTier",
    "WindowUse",
]

_MIN_SLEEP_SECONDS = 0.001


class Priority(IntEnum):
    """Which waiting call is sent first, lowest value first; equal ones in the order of their arrival."""

    USER = 0
    SUBMISSION = 1
    POLL = 2


@dataclass(eq=False)
class _Lane:
    """One endpoint's budget and its waiting calls, a heap by priority and arrival."""

    budget: RateBudget
    waiting: list[tuple[Priority, int, asyncio.Future[float]]] = field(default_factory=list)
    granting_task: asyncio.Task[None] | None = None

    def drop_finished(self) -> None:
        """Drops cancelled or failed waiters at the head."""
        while self.waiting and self.waiting[0][2].done():
            heapq.heappop(self.waiting)


class RateGate:
    """The gate that every call passes. For one event loop; waiting uses the monotonic clock.

    A slot taken, a pause and `undo_arrival` set `has_unsaved_changes` and call `on_change`; `snapshot` resets
    `has_unsaved_changes`. `clock`, `wall` and `sleep` are for tests.
    """

    def __init__(
        self,
        tier: RateTier,
        *,
        on_change: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.tier = tier
        self.has_unsaved_changes = False
        self._on_change = on_change
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._offset = wall() - clock()
        self._order = itertools.count()
        self._lanes = {endpoint: _Lane(RateBudget(tier.limits(endpoint))) for endpoint in Endpoint}

    async def acquire(self, endpoint: Endpoint, priority: Priority) -> float:
        """Waits for this endpoint's next slot and takes it. Returns the slot's time, for `undo_arrival`.

        If cancelled, takes no slot. Raises the error that `fail_waiting_calls` gives.
        """
        if (at := self.try_acquire(endpoint)) is not None:
            return at
        lane = self._lanes[endpoint]
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        heapq.heappush(lane.waiting, (priority, next(self._order), turn))
        if lane.granting_task is None:
            lane.granting_task = asyncio.create_task(self._grant_slots(lane), name=f"quota {endpoint}")
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                lane.budget.undo_call(turn.result())  # granted, but cancelled before it was used
            raise

    def try_acquire(self, endpoint: Endpoint) -> float | None:
        """Takes a slot if one is free now and no call waits for it. Returns the slot's time, or None."""
        lane = self._lanes[endpoint]
        lane.drop_finished()
        now = self._now()
        if lane.waiting or lane.budget.next_call_at(now) > now:
            return None
        self._take_slot(lane, now)
        return now

    def undo_arrival(self, endpoint: Endpoint, slot: float) -> None:
        """Stops counting the call of the slot taken at `at`, which certainly did not reach the service. A night without a
        network must not use up the day's calls. The slot stays taken in the even spacing, so failing calls are not sent
        more often."""
        self._lanes[endpoint].budget.remove_arrival(slot)
        self._note_change()

    def pause(self, endpoint: Endpoint, seconds: float) -> None:
        """Stops this endpoint's calls for `seconds` after a 429, at most for `MAX_PAUSE_SECONDS`."""
        self._lanes[endpoint].budget.pause(self._now() + min(max(seconds, 0.0), MAX_PAUSE_SECONDS))
        self._note_change()

    def seconds_until_free(self, endpoint: Endpoint) -> float:
        """Seconds until the endpoint's next slot, no matter which call gets it; 0 if one is free now."""
        now = self._now()
        return max(0.0, self._lanes[endpoint].budget.next_call_at(now) - now)

    def sustainable_interval(self, endpoint: Endpoint) -> float:
        """Seconds between calls at a pace that fills no window, not even the day's."""
        return max((limit.seconds / limit.usable_calls for limit in self.tier.limits(endpoint)), default=0.0)

    def usage(self) -> dict[Endpoint, EndpointUsage]:
        """State of each endpoint, for display."""
        now = self._now()
        return {
            endpoint: replace(lane.budget.usage(now), waiting=sum(not turn.done() for _, _, turn in lane.waiting))
            for endpoint, lane in self._lanes.items()
        }

    def snapshot(self) -> dict[str, object]:
        """Returns counters and pauses as plain values for TOML, in wall-clock time; resets `has_unsaved_changes`."""
        self.has_unsaved_changes = False
        wall = self._wall()
        shift = wall - self._now()
        return {"saved": wall, **{endpoint.value: lane.budget.dump(shift) for endpoint, lane in self._lanes.items()}}

    def restore(self, saved: Mapping[str, object]) -> None:
        """Restores a snapshot, before the first call. Never fails: damaged parts count as missing."""
        now = self._now()
        written = read_number(saved.get("saved"))
        # A time of saving in the future means that the clock was set back since. It counts as saved now.
        shift = min(0.0, now - written) if written is not None else 0.0
        for endpoint, lane in self._lanes.items():
            part = saved.get(endpoint.value)
            if isinstance(part, Mapping):
                lane.budget.load(part, now, shift)

    def fail_waiting_calls(self, error: Callable[[], BaseException]) -> None:
        """Fails every waiting call with a new error from `error`; none takes a slot."""
        for lane in self._lanes.values():
            for _, _, turn in lane.waiting:
                if not turn.done():
                    turn.set_exception(error())

    def close(self) -> None:
        """Cancels the tasks that grant slots, and all calls that still wait."""
        for lane in self._lanes.values():
            if lane.granting_task is not None:
                lane.granting_task.cancel()
            for _, _, turn in lane.waiting:
                turn.cancel()

    async def _grant_slots(self, lane: _Lane) -> None:
        """Grants each slot when it is due to the first waiter, until none is left."""
        try:
            while True:
                lane.drop_finished()
                if not lane.waiting:
                    return
                now = self._now()
                wait = lane.budget.next_call_at(now) - now
                if wait > 0:
                    # A new waiter cannot make the slot come earlier; a new pause is noticed after the sleep.
                    await self._sleep(max(wait, _MIN_SLEEP_SECONDS))
                    continue
                self._take_slot(lane, now)
                heapq.heappop(lane.waiting)[2].set_result(now)
        finally:
            lane.granting_task = None

    def _take_slot(self, lane: _Lane, now: float) -> None:
        lane.budget.count_call(now)
        self._note_change()

    def _note_change(self) -> None:
        self.has_unsaved_changes = True
        if self._on_change is not None:
            self._on_change()

    def _now(self) -> float:
        return self._clock() + self._offset
