"""Rate limits of one endpoint: plans, and the pure arithmetic that counts and spaces calls. No clock, no I/O.

Source of the limits: "Rate limits", a help page of the vendor's API reference (2026-09). At most 95 % of a limit is used in
any sliding window, because the service's clock, its way of counting and the network's jitter are unknown.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_LIMIT_SHARE: Final = 0.95
"""Largest share of each limit that is used."""

MAX_BURST_CALLS: Final = 10
"""Calls that may be sent at once after a pause in traffic; further calls are evenly spaced."""

MAX_TRANSIT_SECONDS: Final = 2.0
"""Seconds by which network delay may bring calls closer together. The service counts arrivals: a late burst and a punctual
burst one minute after it would be more calls in one minute than the headroom allows."""

MAX_PAUSE_SECONDS: Final = 86_400.0
"""Seconds. The service has no window longer than a day, so a longer pause is not believed."""

_MAX_EXACT_SECONDS: Final = 60.0
_MAX_EXACT_CALLS: Final = 500


class Endpoint(StrEnum):
    """The calls that the service counts separately."""

    CREATE_ASSET = "create_asset"
    GET_ASSET = "get_asset"
    CREATE_DUBBING = "create_dubbing"
    GET_DUBBING = "get_dubbing"
    ADD_LOCALES = "add_locales"

    @property
    def is_write(self) -> bool:
        """Whether a call changes something at the service."""
        return self not in (Endpoint.GET_ASSET, Endpoint.GET_DUBBING)


@dataclass(frozen=True)
class RateLimit:
    """At most `calls` in any `seconds`. Raises ValueError if `calls` < 1, or `seconds` is not positive or exceeds a day."""

    calls: int
    seconds: float

    def __post_init__(self) -> None:
        if self.calls < 1 or not 0 < self.seconds <= MAX_PAUSE_SECONDS:
            raise ValueError(f"no rate limit: {self.calls} calls in {self.seconds} seconds")

    @property
    def usable_calls(self) -> int:
        """Calls of the limit that are used, at least one."""
        return max(1, math.floor(self.calls * MAX_LIMIT_SHARE))


@dataclass(frozen=True)
class RateTier:
    """The limits of a plan, for each endpoint separately. Empty: no limits, but pauses are obeyed."""

    name: str
    writes: tuple[RateLimit, ...] = ()
    reads: tuple[RateLimit, ...] = ()

    def limits(self, endpoint: Endpoint) -> tuple[RateLimit, ...]:
        """The limits of one endpoint."""
        return self.writes if endpoint.is_write else self.reads


def _make_tier(name: str, minute: int, hour: int, day: int, reads_a_day: int) -> RateTier:
    writes = (RateLimit(minute, 60), RateLimit(hour, 3600), RateLimit(day, 86_400))
    return RateTier(name, writes, (RateLimit(minute, 60), RateLimit(reads_a_day, 86_400)))


TIERS: Final[dict[str, RateTier]] = {
    tier.name: tier
    for tier in (
        _make_tier("creator", 60, 300, 1_000, 20_000),
        _make_tier("enterprise-2", 80, 400, 2_000, 40_000),
        _make_tier("enterprise-1", 120, 600, 3_000, 80_000),
        RateTier("unlimited"),
    )
}
DEFAULT_TIER: Final = "creator"


@dataclass(frozen=True)
class WindowUse:
    """How much of one limit is used. `limit`: calls that the service grants; `usable`: calls that synthdub makes at most."""

    seconds: float
    used: int
    usable: int
    limit: int


@dataclass(frozen=True)
class EndpointUsage:
    """State of one endpoint for display.

    `next_call_in`: seconds until the next call may be sent; `paused_seconds`: seconds left of a pause after a 429.
    """

    windows: tuple[WindowUse, ...]
    next_call_in: float
    paused_seconds: float
    waiting: int = 0


class _Window:
    """Calls of one sliding window, as [end, count] groups.

    All calls of a group count as if sent at its end, so the count is never too low. Minutes are exact (groups of no width),
    hours have 60 groups, days 96: memory stays bounded, and at most 1/60 of the rate stays unused. A call counts
    `MAX_TRANSIT_SECONDS` longer than the window (less if the window is shorter than a minute).
    """

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._span = limit.seconds + min(MAX_TRANSIT_SECONDS, limit.seconds / 30)
        exact = limit.seconds <= _MAX_EXACT_SECONDS and limit.calls <= _MAX_EXACT_CALLS
        self._width = 0.0 if exact else limit.seconds / (60 if limit.seconds <= 3600 else 96)
        self._groups: deque[tuple[float, int]] = deque()
        self._total = 0

    def count_used(self, now: float) -> int:
        """Returns the calls that still count at `now`; drops the others."""
        while self._groups and self._groups[0][0] + self._span <= now:
            self._total -= self._groups.popleft()[1]
        return self._total

    def next_free_at(self, now: float) -> float:
        """Returns the time at which one more call fits: `now`, or the expiry of the group that makes room."""
        surplus = self.count_used(now) + 1 - self.limit.usable_calls
        expiry = now
        for end, count in self._groups if surplus > 0 else ():
            expiry = end + self._span
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
        """Removes a call added at `at`, if it still counts."""
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
        # No group can end later than a group added now. If one does, the file is damaged: the group counts as added now.
        latest = now + self._width
        self._groups = deque(sorted((min(end, latest), count) for end, count in groups))
        self._total = sum(count for _, count in self._groups)
        self.count_used(now)


class RateBudget:
    """When one endpoint's next call may be sent: pure, no clock. `now` is in seconds; if it goes back, the latest `now` counts.

    Two rules apply together. A generic cell rate algorithm (GCRA, ITU-T I.371) on the shortest limit spaces calls evenly after
    a burst of `MAX_BURST_CALLS`. Each window's count is a hard cap. GCRA alone would allow burst + limit in the first window
    (as a leaky bucket does); the caps alone would allow a minute's calls at once.
    """

    def __init__(self, limits: Iterable[RateLimit] = ()) -> None:
        self._windows = tuple(_Window(limit) for limit in sorted(limits, key=lambda limit: limit.seconds))
        shortest = self._windows[0].limit if self._windows else None
        self._interval = shortest.seconds / shortest.usable_calls if shortest else 0.0
        # BURST calls at once are BURST - 1 intervals ahead of the even pace; the millisecond absorbs rounding.
        self._burst_slack = (min(MAX_BURST_CALLS, shortest.usable_calls) - 1) * self._interval + 0.001 if shortest else 0.0
        self._next_due = 0.0  # GCRA's theoretical arrival time of the next call
        self._paused_until = 0.0
        self._latest = 0.0

    def next_call_at(self, now: float) -> float:
        """Returns the time at which the next call may be sent, `now` if at once."""
        now = self._advance_clock(now)
        times = [window.next_free_at(now) for window in self._windows]
        return max(now, self._paused_until, self._next_due - self._burst_slack, *times)

    def count_call(self, now: float) -> None:
        """Counts a call sent at `now`."""
        now = self._advance_clock(now)
        self._next_due = max(now, self._next_due) + self._interval
        for window in self._windows:
            window.add(now)

    def undo_call(self, at: float) -> None:
        """Undoes `count_call` for a call counted at `at` that was granted but never sent."""
        self._next_due -= self._interval
        self.remove_arrival(at)

    def remove_arrival(self, at: float) -> None:
        """Removes from the windows a call sent at `at` that never arrived. It keeps its place in the even spacing."""
        for window in self._windows:
            window.remove(at)

    def pause(self, until: float) -> None:
        """Allows no call before `until` and no burst right after it. A shorter pause never ends a longer one."""
        self._paused_until = max(self._paused_until, until)
        self._next_due = max(self._next_due, until + self._burst_slack)

    def usage(self, now: float) -> EndpointUsage:
        """Returns the counts at `now`, for display."""
        next_in = self.next_call_at(now) - self._advance_clock(now)
        windows = tuple(
            WindowUse(window.limit.seconds, window.count_used(self._latest), window.limit.usable_calls, window.limit.calls)
            for window in self._windows
        )
        return EndpointUsage(windows, next_in, max(0.0, self._paused_until - self._latest))

    def dump(self, shift: float = 0.0) -> dict[str, object]:
        """Returns plain values for TOML, with all times moved by `shift` seconds."""
        return {
            "due": self._next_due + shift,
            "paused_until": self._paused_until + shift,
            "windows": {_window_key(window.limit): window.dump(shift) for window in self._windows},
        }

    def load(self, saved: Mapping[str, object], now: float, shift: float = 0.0) -> None:
        """Restores the result of `dump`, moved by `shift` seconds. Skips damaged values and windows of other limits."""
        now = self._advance_clock(now)
        pause = read_number(saved.get("paused_until"))
        self._paused_until = min(pause + shift, now + MAX_PAUSE_SECONDS) if pause is not None else 0.0
        due = read_number(saved.get("due"))
        latest_due = max(now, self._paused_until) + self._burst_slack + self._interval
        self._next_due = min(due + shift, latest_due) if due is not None else 0.0
        windows = saved.get("windows")
        for window in self._windows:
            groups = windows.get(_window_key(window.limit)) if isinstance(windows, Mapping) else None
            window.load(_groups(groups, shift), now)

    def _advance_clock(self, now: float) -> float:
        self._latest = max(self._latest, now)
        return self._latest


def _window_key(limit: RateLimit) -> str:
    """Name of a window in the state file: its seconds, so that counters survive a change of tier."""
    return f"{limit.seconds:g}s"


def read_number(value: object) -> float | None:
    """Returns a value of a state file as a float; None if it is not a number, or not below 1e15 in size."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)


def _groups(value: object, shift: float) -> list[tuple[float, int]]:
    """Returns the valid [end, count] pairs of a state file, moved by `shift` seconds."""
    found = []
    for pair in value if isinstance(value, list) else ():
        end, count = (read_number(item) for item in pair) if isinstance(pair, list) and len(pair) == 2 else (None, None)
        if end is not None and count is not None and 1 <= count < 1e9:
            found.append((end + shift, int(count)))
    return found
