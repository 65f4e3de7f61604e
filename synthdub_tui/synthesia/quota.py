"""One quota for all calls: paced per endpoint, counted over minute, hour and day, paused by a 429.

`Budget` is the pure arithmetic for one endpoint, `Quota` the asynchronous gate over all of them. Never more than 95 % of a
limit is used in any sliding window: the service's clock, its way of counting and the network's jitter are not ours.

Time. Budgets know one time axis: wall clock at the start of the process, carried on by the monotonic clock. So a jump of the
wall clock while running changes nothing; a suspended machine only waits longer than it had to. What is persisted is wall
clock at the time of saving. Between two runs a clock that went back counts as no time passed, one that went forward as
time passed: then up to a window's calls may be forgotten, and the service's 429 is the backstop.

Limits: help page of the vendor's API reference, "Rate limits" (2026-09).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

HEADROOM: Final = 0.95
"""Share of each limit that is used at most."""

BURST: Final = 10
"""Calls that may go at once after a pause in traffic; then they are evenly spaced."""

LONGEST_PAUSE: Final = 86_400.0
"""Seconds. No window of the service is longer than a day, so no believable pause is."""

_EXACT_SECONDS: Final = 60.0
_EXACT_CALLS: Final = 500
_SHORTEST_SLEEP: Final = 0.001


class Endpoint(StrEnum):
    """The calls the service counts separately."""

    CREATE_ASSET = "create_asset"
    GET_ASSET = "get_asset"
    CREATE_DUBBING = "create_dubbing"
    GET_DUBBING = "get_dubbing"
    ADD_LOCALES = "add_locales"

    @property
    def write(self) -> bool:
        """Whether a call changes something at the service."""
        return self not in (Endpoint.GET_ASSET, Endpoint.GET_DUBBING)


class Priority(IntEnum):
    """Who goes first when calls wait; equal ones go in the order of their arrival."""

    USER = 0
    SUBMISSION = 1
    POLL = 2


@dataclass(frozen=True)
class Limit:
    """At most `calls` in any `seconds`. Raises ValueError on numbers that make no limit."""

    calls: int
    seconds: float

    def __post_init__(self) -> None:
        if self.calls < 1 or not 0 < self.seconds <= LONGEST_PAUSE:
            raise ValueError(f"no rate limit: {self.calls} calls in {self.seconds} seconds")

    @property
    def usable(self) -> int:
        """Calls that are really used of it, at least one."""
        return max(1, math.floor(self.calls * HEADROOM))


@dataclass(frozen=True)
class Tier:
    """The limits of a plan. Each endpoint of a kind has them for itself. Empty: no limits, but pauses are obeyed."""

    name: str
    writes: tuple[Limit, ...] = ()
    reads: tuple[Limit, ...] = ()

    def limits(self, endpoint: Endpoint) -> tuple[Limit, ...]:
        """The limits of one endpoint."""
        return self.writes if endpoint.write else self.reads


def _plan(name: str, minute: int, hour: int, day: int, reads_a_day: int) -> Tier:
    writes = (Limit(minute, 60), Limit(hour, 3600), Limit(day, 86_400))
    return Tier(name, writes, (Limit(minute, 60), Limit(reads_a_day, 86_400)))


TIERS: Final[dict[str, Tier]] = {
    tier.name: tier
    for tier in (
        _plan("creator", 60, 300, 1_000, 20_000),
        _plan("enterprise-2", 80, 400, 2_000, 40_000),
        _plan("enterprise-1", 120, 600, 3_000, 80_000),
        Tier("unlimited"),
    )
}
DEFAULT_TIER: Final = "creator"


@dataclass(frozen=True)
class WindowUse:
    """How much of one limit is used. `limit` is what the service grants, `usable` what is used of it at most."""

    seconds: float
    used: int
    usable: int
    limit: int


@dataclass(frozen=True)
class Usage:
    """State of one endpoint for display. `next_in`: seconds until the next call may go; `paused`: seconds left of a 429."""

    windows: tuple[WindowUse, ...]
    next_in: float
    paused: float
    waiting: int = 0


class _Window:
    """Calls of one sliding window, as [end, count] groups.

    A group is counted as if all its calls came at its end, so never too few are counted. Minutes are kept exactly (groups
    of no width), hours in 60 groups, days in 96: memory stays bounded and at worst 1/60 of the rate is given away.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        exact = limit.seconds <= _EXACT_SECONDS and limit.calls <= _EXACT_CALLS
        self._width = 0.0 if exact else limit.seconds / (60 if limit.seconds <= 3600 else 96)
        self._groups: deque[tuple[float, int]] = deque()
        self._total = 0

    def used(self, now: float) -> int:
        """Calls that still count at `now`; forgets the others."""
        while self._groups and self._groups[0][0] + self.limit.seconds <= now:
            self._total -= self._groups.popleft()[1]
        return self._total

    def free_at(self, now: float) -> float:
        """Time at which one more call fits: `now`, or the expiry of the group that makes room."""
        surplus = self.used(now) + 1 - self.limit.usable
        expiry = now
        for end, count in self._groups if surplus > 0 else ():
            expiry = end + self.limit.seconds
            surplus -= count
            if surplus <= 0:
                break
        return expiry

    def add(self, now: float) -> None:
        if self._width and self._groups and now <= self._groups[-1][0]:
            end, count = self._groups.pop()
            self._groups.append((end, count + 1))
        else:
            self._groups.append((now + self._width, 1))
        self._total += 1

    def remove(self, at: float) -> None:
        """Takes back a call added at `at`, if it still counts."""
        for index, (end, count) in enumerate(self._groups):
            if at <= end <= at + self._width:
                self._total -= 1
                if count > 1:
                    self._groups[index] = (end, count - 1)
                else:
                    del self._groups[index]
                return

    def dump(self, shift: float) -> list[list[float]]:
        return [[end + shift, count] for end, count in self._groups]

    def load(self, groups: Iterable[tuple[float, int]], now: float) -> None:
        # An end later than a group made now could have means a damaged file; such a group is kept, but as of now.
        latest = now + self._width
        self._groups = deque(sorted((min(end, latest), count) for end, count in groups))
        self._total = sum(count for _, count in self._groups)
        self.used(now)


class Budget:
    """What one endpoint may still be asked: pure, no clock. `now` is in seconds and never goes back; if it does, it is held.

    Two rules at once: a generic cell rate algorithm (GCRA, ITU-T I.371) on the shortest limit spaces calls evenly after a
    burst of `BURST`, and each window's count is a hard cap. GCRA alone would let burst + limit through in the first window
    (as a leaky bucket does), the caps alone would let a whole minute's calls through at once.
    """

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._windows = tuple(_Window(limit) for limit in sorted(limits, key=lambda limit: limit.seconds))
        shortest = self._windows[0].limit if self._windows else None
        self._interval = shortest.seconds / shortest.usable if shortest else 0.0
        # BURST calls at once means BURST - 1 intervals ahead of the even pace; the millisecond is for rounding.
        self._slack = (min(BURST, shortest.usable) - 1) * self._interval + 0.001 if shortest else 0.0
        self._due = 0.0  # GCRA's theoretical arrival time of the next call
        self._paused_until = 0.0
        self._latest = 0.0

    def allows(self, now: float) -> float:
        """Time at which the next call may go; not later than `now` means at once."""
        now = self._held(now)
        times = [window.free_at(now) for window in self._windows]
        return max(now, self._paused_until, self._due - self._slack, *times)

    def spend(self, now: float) -> None:
        """Counts a call sent at `now`."""
        now = self._held(now)
        self._due = max(now, self._due) + self._interval
        for window in self._windows:
            window.add(now)

    def refund(self, at: float) -> None:
        """Takes back a call counted at `at`, which was granted but never sent."""
        self._due -= self._interval
        for window in self._windows:
            window.remove(at)

    def pause(self, until: float) -> None:
        """No call before `until`, and no burst right after it. A shorter pause never ends a longer one."""
        self._paused_until = max(self._paused_until, until)
        self._due = max(self._due, until + self._slack)

    def usage(self, now: float) -> Usage:
        """Counts at `now`, for display."""
        next_in = self.allows(now) - self._held(now)
        windows = tuple(
            WindowUse(window.limit.seconds, window.used(self._latest), window.limit.usable, window.limit.calls)
            for window in self._windows
        )
        return Usage(windows, next_in, max(0.0, self._paused_until - self._latest))

    def dump(self, shift: float = 0.0) -> dict[str, object]:
        """Plain values for TOML, all times moved by `shift` seconds."""
        return {
            "due": self._due + shift,
            "paused_until": self._paused_until + shift,
            "windows": {_label(window.limit): window.dump(shift) for window in self._windows},
        }

    def load(self, saved: Mapping[str, object], now: float, shift: float = 0.0) -> None:
        """Takes over what `dump` gave, moved by `shift` seconds. What is damaged or of other limits is left out."""
        now = self._held(now)
        pause = _number(saved.get("paused_until"))
        self._paused_until = min(pause + shift, now + LONGEST_PAUSE) if pause is not None else 0.0
        due = _number(saved.get("due"))
        latest_due = max(now, self._paused_until) + self._slack + self._interval
        self._due = min(due + shift, latest_due) if due is not None else 0.0
        windows = saved.get("windows")
        for window in self._windows:
            groups = windows.get(_label(window.limit)) if isinstance(windows, Mapping) else None
            window.load(_groups(groups, shift), now)

    def _held(self, now: float) -> float:
        self._latest = max(self._latest, now)
        return self._latest


def _label(limit: Limit) -> str:
    """Name of a window in the state file: its seconds, so that counters outlive a change of tier."""
    return f"{limit.seconds:g}s"


def _number(value: object) -> float | None:
    """A finite number of a state file, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)


def _groups(value: object, shift: float) -> list[tuple[float, int]]:
    """The [end, count] pairs of a state file that make sense."""
    found = []
    for pair in value if isinstance(value, list) else ():
        end, count = (_number(item) for item in pair) if isinstance(pair, list) and len(pair) == 2 else (None, None)
        if end is not None and count is not None and 1 <= count < 1e9:
            found.append((end + shift, int(count)))
    return found


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

    async def acquire(self, endpoint: Endpoint, priority: Priority) -> None:
        """Waits for this endpoint's next slot and takes it. Cancelled, it takes none; raises what `dismiss` says."""
        if self.try_acquire(endpoint):
            return
        lane = self._lanes[endpoint]
        turn: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        heapq.heappush(lane.heap, (priority, next(self._order), turn))
        if lane.pump is None:
            lane.pump = asyncio.create_task(self._serve(lane), name=f"quota {endpoint}")
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                lane.budget.refund(turn.result())  # granted, but cancelled before it could go
            raise

    def try_acquire(self, endpoint: Endpoint) -> bool:
        """Takes a slot if one is free now and nobody waits for it."""
        lane = self._lanes[endpoint]
        lane.prune()
        now = self._now()
        if lane.heap or lane.budget.allows(now) > now:
            return False
        self._spend(lane, now)
        return True

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
        used = {endpoint: lane.budget.usage(now) for endpoint, lane in self._lanes.items()}
        return {
            endpoint: Usage(use.windows, use.next_in, use.paused, self._waiting(endpoint)) for endpoint, use in used.items()
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
        written = _number(saved.get("saved"))
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

    def _waiting(self, endpoint: Endpoint) -> int:
        return sum(not turn.done() for _, _, turn in self._lanes[endpoint].heap)

    def _now(self) -> float:
        return self._clock() + self._offset
