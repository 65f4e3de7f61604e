"""When to ask about which project: an index policy over what is learned of dubbing times. Pure: callers pass the time.

Every project is a restless bandit: its dubs become ready whether it is looked at or not, looking costs one call of a scarce
budget, and each second in which something is ready unseen costs one per dub. Whittle ("Restless bandits: activity allocation
in a changing world", 1988) takes the problem apart by a price per call: each project by itself says at which price it would
just be asked now, its index, and those above the common price are asked. With R the expected number of dubs that are ready and
not seen, and R' the rate at which more become so, the index here is

    R × min(R / 2R', longest)

For a constant hazard h and a short time t since the last look, R = ht, this is ht²/2, Whittle's own index, known from web
crawling (Cho and Garcia-Molina, 2003; Azar et al., "Tractable near-optimal policies for crawling", 2018). For others it puts
the present rate where the future's belongs: while the chance rises, waiting a little finds more; past the peak there is no
use in waiting. Hazards come from `jobs.durations`; while nothing is learned they are equal, and the order is fair round-robin.

The price is what makes calls come at the rate that can be afforded: it rises with each call and falls with time (dual ascent).
From it follows each project's due time, so that a heap will do; due times are made anew now and then, as the price moves.

Nobody starves: none is asked later than four rounds of round-robin after the last time, or 5 minutes if that is more; those
that are due go in the order of their due times.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from synthdub_tui.jobs.durations import Dubbing, Durations, Followed
from synthdub_tui.synthesia.budget import WindowUse

LONGEST: Final = 300.0
"""Seconds between two polls of a project at most, if four rounds of round-robin are not longer."""

ROUNDS: Final = 4.0

FASTEST: Final = 10.0
"""Polls a second, where no limit is known."""

LOOK_AGAIN: Final = 5.0
"""Seconds (or `least`, if that is less) after which to look at some due times again, since the price moved."""

_SOME_RUNNING: Final = 1000  # dubs under way from which is learned, at most
_SOME: Final = 2  # projects whose due times are made anew with each look
_FINE, _FINEST = 0.1, 0.01  # precision of a due time: of the least time between two polls, and seconds
_CHEAPEST, _DEAREST = -3.0, 5.0  # bounds of the price, logarithms against round-robin's


def affordable(windows: Iterable[WindowUse], horizon: float) -> float:
    """Polls a second that a budget allows to work that may take `horizon` seconds.

    What is left of each limit is spread over the horizon, or over the limit's own window where that is shorter, and what was
    used comes back as it was used.
    """
    return min((max(0, w.usable - w.used) / min(horizon, w.seconds) + w.used / w.seconds for w in windows), default=FASTEST)


class Awaited(NamedTuple):
    """A dub under way: when it was submitted, and what is known of it."""

    submitted: float
    dubbing: Dubbing


@dataclass(eq=False)
class _Entry:
    project: str
    dubs: dict[str, Awaited]
    asked: float  # when it was asked last; before that, when it was submitted
    seen: float | None  # when it last answered; None where that was in an earlier run
    least: float  # not before
    latest: float  # not after
    due: float = 0.0
    before: float = -math.inf  # when it answered before `seen`


class Schedule:
    """The projects in flight and when each is due. `least`: seconds between two polls of one project.

    `rate` tells how many polls a second can be afforded, given the number of projects in flight.
    """

    def __init__(
        self, least: float, durations: Durations | None = None, rate: Callable[[int], float] = lambda count: FASTEST
    ) -> None:
        self.durations = durations or Durations()
        self._least = least
        self._find_rate = rate
        self._rate = FASTEST
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, int, _Entry]] = []
        self._order = itertools.count()
        self._turn: list[str] = []
        self._open = 0
        self._lean = 0.0  # logarithm of the price against round-robin's
        self._now = self._wake = -math.inf

    # -- who is followed -----------------------------------------------------------------------------------------------

    def add(self, project: str, now: float, dubs: Mapping[str, Awaited]) -> None:
        """Follow a project. One that was submitted before this start is asked at once."""
        self.remove(project)
        submitted = max((dub.submitted for dub in dubs.values()), default=now)
        new = now <= submitted + max(self._least, 1.0)
        entry = _Entry(project, dict(dubs), submitted if new else now, submitted if new else None, 0.0, 0.0)
        self._entries[project] = entry
        self._open += max(1, len(dubs))
        entry.least = max(now, submitted + self._least)
        entry.latest = submitted + self._longest() if new else now
        self._plan(entry)

    def expect(self, project: str, dubs: Mapping[str, Awaited]) -> None:
        """These dubs are under way in it now: some were added or given up."""
        entry = self._entries.get(project)
        if entry is None or entry.dubs == dubs:
            return
        self._open += max(1, len(dubs)) - max(1, len(entry.dubs))
        entry.dubs = dict(dubs)
        self._plan(entry)

    def remove(self, project: str) -> None:
        """Stop following it."""
        entry = self._entries.pop(project, None)
        if entry is not None:
            self._open -= max(1, len(entry.dubs))

    def observed(self, project: str, now: float, finished: Iterable[str]) -> None:
        """The project answered: these dubs are finished. Of those that ended in another way `expect` tells."""
        entry = self._entries.get(project)
        if entry is None:
            return
        left = dict(entry.dubs)
        for language in finished:
            dub = left.pop(language, None)
            if dub is not None and entry.seen is not None:
                self.durations.finished(dub.dubbing, entry.seen - dub.submitted, now - dub.submitted, now)
        entry.before, entry.seen = now if entry.seen is None else entry.seen, now
        if len(left) != len(entry.dubs):
            self.expect(project, left)
            if self.durations.stale:
                each = self._open // _SOME_RUNNING + 1
                self.durations.learn(self._running(each), each)

    # -- whom to ask ---------------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When to call `take` again; None when nobody is followed."""
        self._tidy()
        return min(self._heap[0][0], self._wake) if self._heap else None

    def take(self, now: float) -> str | None:
        """The project to ask now, whose next time is set thereby."""
        self._pass_time(now)
        self._plan_some()
        for _ in range(len(self._entries)):
            self._tidy()
            if not self._heap or self._heap[0][0] > now:
                return None
            entry = self._heap[0][2]
            if now < entry.latest and self._plan(entry) > now:
                continue  # calls have become dearer since its time was made
            return self._ask(entry, now)
        return None

    def postpone(self, project: str, until: float) -> None:
        """Ask not before then, since the service had trouble."""
        entry = self._entries.get(project)
        if entry is not None:
            entry.least = max(entry.least, until)
            entry.latest = max(entry.latest, until)
            self._plan(entry)

    def _ask(self, entry: _Entry, now: float) -> str:
        entry.asked = now
        entry.least = now + self._least
        entry.latest = now + self._longest()
        self._plan(entry)
        self._lean = min(self._lean + self._gain(), _DEAREST)
        return entry.project

    # -- the price -----------------------------------------------------------------------------------------------------

    def _pass_time(self, now: float) -> None:
        """Calls that were not made make those to come cheaper."""
        passed = min(max(now - self._now, 0.0), 60.0)
        self._lean = max(self._lean - self._gain() * self._rate * passed, _CHEAPEST)
        self._now = max(now, self._now)
        if now >= self._wake:
            self._wake = now + min(LOOK_AGAIN, max(self._least, 0.05))
            self._rate = max(self._find_rate(len(self._entries)), 1e-6)

    def _gain(self) -> float:
        """Half a round of everybody changes the price by about e."""
        return 2 / (10 + len(self._entries))

    def _round(self) -> float:
        """Seconds of a round of round-robin."""
        return max(self._least, len(self._entries) / self._rate)

    def _longest(self) -> float:
        return max(LONGEST, ROUNDS * self._round(), self._least)

    def _price(self) -> float:
        """The index of an average project after a round, leaned to what can be afforded."""
        dubs = self._open / max(1, len(self._entries))
        return dubs / self.durations.typical * self._round() ** 2 / 2 * math.exp(self._lean)

    # -- due times -----------------------------------------------------------------------------------------------------

    def _plan(self, entry: _Entry) -> float:
        """Set the due time: the first moment at which the index reaches the price."""
        entry.due = self._due(entry)
        heapq.heappush(self._heap, (entry.due, next(self._order), entry))
        return entry.due

    def _due(self, entry: _Entry) -> float:
        low, high = entry.least, max(entry.latest, entry.least)
        if low >= high:
            return low
        if not self.durations.known:
            return min(max(low, entry.asked + 0.95 * self._round()), high)  # a little early, for chances that are missed
        price, longest = self._price(), self._longest()
        index = self._index(entry, longest)
        if index(low) >= price:
            return low
        precision = max(_FINE * self._least, _FINEST)
        while high - low > precision:
            middle = (low + high) / 2
            if index(middle) >= price:
                high = middle
            else:
                low = middle
        return high

    def _index(self, entry: _Entry, longest: float) -> Callable[[float], float]:
        """The index as a function of the time at which the project is asked."""
        hazard, asked = self.durations.hazard, entry.asked
        dubs = [(dub.submitted, self.durations.usual(dub.dubbing)) for dub in entry.dubs.values()] or [(asked, None)]
        known = [(begun, usual, hazard(asked - begun, usual)[0]) for begun, usual in dubs]

        def index(at: float) -> float:
            ready = rate = 0.0
            for begun, usual, before in known:
                total, now = hazard(at - begun, usual)
                still = math.exp(before - total)
                ready += 1 - still
                rate += still * now
            return ready * min(ready / (2 * rate), longest) if rate > 0 else ready * longest

        return index

    def _plan_some(self) -> None:
        """Some due times anew, in turn: the price moved, and more was learned."""
        for _ in range(min(_SOME, len(self._entries))):
            if not self._turn:
                self._turn = list(self._entries)
            entry = self._entries.get(self._turn.pop())
            if entry is not None:
                self._plan(entry)

    def _tidy(self) -> None:
        while self._heap and not self._stands(*self._heap[0]):
            heapq.heappop(self._heap)  # removed or planned anew since
        if len(self._heap) > 8 * len(self._entries) + 64:
            self._heap = [(entry.due, next(self._order), entry) for entry in self._entries.values()]
            heapq.heapify(self._heap)

    def _stands(self, due: float, order: int, entry: _Entry) -> bool:
        return entry.due == due and self._entries.get(entry.project) is entry

    def _running(self, each: int) -> Iterable[Followed]:
        """The dubs under way of one in so many projects, as far as they were followed."""
        for entry in itertools.islice(self._entries.values(), 0, None, each):
            for dub in entry.dubs.values():
                if entry.seen is not None:
                    yield Followed(dub.dubbing, dub.submitted, max(entry.before, dub.submitted), entry.seen)
