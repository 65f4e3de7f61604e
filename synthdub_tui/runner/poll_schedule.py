"""Decides when to poll which project, by an index policy over learned dubbing times. Pure: callers pass the time.

Each project is a restless bandit. Its dubs become ready whether it is polled or not, a poll costs one call of a scarce budget,
and each second in which a dub is ready but not seen costs one. Whittle ("Restless bandits: activity allocation in a changing
world", 1988) separates the projects by a price per call. The index of a project is the price at which polling it now would just
be worth the call; the projects whose index is above the common price are polled. With R the expected number of dubs that are
ready and not seen, and R' the rate at which this number grows, the index here is

    R × min(R / 2R', longest)

For a constant hazard h and a short time t since the last poll, R = ht, and the index is ht²/2. This is Whittle's own index,
known from web crawling (Cho and Garcia-Molina, 2003; Azar et al., "Tractable near-optimal policies for crawling", 2018). For
other hazards the formula uses the present rate in place of the future rate: while the chance rises, waiting a little finds
more; past the peak, waiting is useless. Hazards come from `runner.duration_model`. Until something is learned they are equal,
and the order is fair round-robin.

The price keeps the calls at the affordable rate: it rises with each call and falls with time (dual ascent). It determines each
project's due time, so a heap suffices. Due times are recomputed now and then, because the price changes.

No project starves: each is polled at the latest four rounds of round-robin after its last poll, or 5 minutes if that is more.
Due projects are polled in the order of their due times.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from synthdub_tui.runner.duration_model import DubFeatures, DurationModel, RunningDub
from synthdub_tui.synthesia.rate_arithmetic import WindowUse

MAX_POLL_GAP_SECONDS: Final = 300.0
"""Longest time in seconds between two polls of a project, unless `MAX_POLL_GAP_ROUNDS` rounds of round-robin are longer."""

MAX_POLL_GAP_ROUNDS: Final = 4.0

DEFAULT_POLLS_PER_SECOND: Final = 10.0
"""Polls per second if no rate limit is known."""

MAX_TAKE_GAP_SECONDS: Final = 5.0
"""Longest time in seconds between two calls of `take_due_project`, which recompute some due times; `earliest_poll` seconds if
that is less."""

_MAX_RUNNING_DUBS_LEARNED: Final = 1000  # most dubs in progress that the model learns from
_PROJECTS_REPLANNED_PER_TAKE: Final = 2  # projects whose due times each `take_due_project` recomputes
_DUE_PRECISION_SHARE, _DUE_PRECISION_SECONDS = (
    0.1,
    0.01,
)  # precision of a due time: as a share of `earliest_poll`, and in seconds
_MIN_LOG_PRICE, _MAX_LOG_PRICE = -3.0, 5.0  # bounds of the price, as logarithms relative to round-robin's price


def affordable_poll_rate(windows: Iterable[WindowUse], horizon: float) -> float:
    """Returns how many polls per second a budget allows for work that may take `horizon` seconds.

    The unused calls of each limit are spread over the horizon, or over the limit's window if that is shorter. Used calls become
    free again at the rate at which they were used.
    """
    return min(
        (max(0, w.usable - w.used) / min(horizon, w.seconds) + w.used / w.seconds for w in windows),
        default=DEFAULT_POLLS_PER_SECOND,
    )


class AwaitedDub(NamedTuple):
    """A dub in progress: when it was submitted (seconds since the epoch), and the facts known about it."""

    submitted: float
    features: DubFeatures


@dataclass(eq=False)
class _ScheduledProject:
    project: str
    dubs: dict[str, AwaitedDub]
    polled_at: float  # time of the last poll; before the first, of the submission
    answered_at: float | None  # time of the last answer; None if it was in an earlier run
    earliest_poll: float  # earliest next poll
    latest: float  # latest next poll
    due: float = 0.0
    before: float = -math.inf  # time of the answer before `answered_at`


class PollSchedule:
    """The projects in progress and when each is due. `min_gap_seconds`: least seconds between two polls of one project.

    `rate` returns how many polls per second are affordable, given the number of projects in progress.
    """

    def __init__(
        self,
        min_gap_seconds: float,
        durations: DurationModel | None = None,
        rate: Callable[[int], float] = lambda count: DEFAULT_POLLS_PER_SECOND,
    ) -> None:
        self.durations = durations or DurationModel()
        self._least = min_gap_seconds
        self._find_rate = rate
        self._rate = DEFAULT_POLLS_PER_SECOND
        self._entries: dict[str, _ScheduledProject] = {}
        self._heap: list[tuple[float, int, _ScheduledProject]] = []
        self._order = itertools.count()
        self._turn: list[str] = []
        self._open = 0
        self._log_price = 0.0  # logarithm of the price relative to round-robin's price
        self._now = self._wake = -math.inf

    # -- who is followed -----------------------------------------------------------------------------------------------

    def add(self, project: str, now: float, dubs: Mapping[str, AwaitedDub]) -> None:
        """Follow a project. It is polled at once, unless it has just been submitted."""
        self.remove(project)
        submitted = max((dub.submitted for dub in dubs.values()), default=now)
        new = now <= submitted + max(self._least, 1.0)
        entry = _ScheduledProject(project, dict(dubs), submitted if new else now, submitted if new else None, 0.0, 0.0)
        self._entries[project] = entry
        self._open += max(1, len(dubs))
        entry.earliest_poll = max(now, submitted + self._least)
        entry.latest = submitted + self._longest() if new else now
        self._plan(entry)

    def set_awaited_dubs(self, project: str, dubs: Mapping[str, AwaitedDub]) -> None:
        """Note which dubs are in progress in the project now, after some were added or cancelled."""
        entry = self._entries.get(project)
        if entry is None or entry.dubs == dubs:
            return
        self._open += max(1, len(dubs)) - max(1, len(entry.dubs))
        entry.dubs = dict(dubs)
        self._plan(entry)

    def remove(self, project: str) -> None:
        """Stop following the project."""
        entry = self._entries.pop(project, None)
        if entry is not None:
            self._open -= max(1, len(entry.dubs))

    def note_answer(self, project: str, now: float, finished: Iterable[str]) -> None:
        """Note an answer of the project, with these finished dubs. Dubs that ended in another way are reported by
        `set_awaited_dubs`."""
        entry = self._entries.get(project)
        if entry is None:
            return
        left = dict(entry.dubs)
        for language in finished:
            dub = left.pop(language, None)
            if dub is not None and entry.answered_at is not None:
                self.durations.add_finished_dub(dub.features, entry.answered_at - dub.submitted, now - dub.submitted, now)
        entry.before, entry.answered_at = now if entry.answered_at is None else entry.answered_at, now
        if len(left) != len(entry.dubs):
            self.set_awaited_dubs(project, left)
            if self.durations.needs_learning:
                each = self._open // _MAX_RUNNING_DUBS_LEARNED + 1
                self.durations.learn(self._running(each), each)

    # -- whom to ask ---------------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """Returns when to call `take_due_project` again; None if no project is followed."""
        self._tidy()
        return min(self._heap[0][0], self._wake) if self._heap else None

    def take_due_project(self, now: float) -> str | None:
        """Returns the project to poll now and plans its next poll; None if no project is due."""
        self._lower_price(now)
        self._plan_some()
        for _ in range(len(self._entries)):
            self._tidy()
            if not self._heap or self._heap[0][0] > now:
                return None
            entry = self._heap[0][2]
            if now < entry.latest and self._plan(entry) > now:
                continue  # the price has risen since its due time was computed
            return self._mark_polled(entry, now)
        return None

    def postpone(self, project: str, until: float) -> None:
        """Do not poll the project before `until`, since the service had trouble."""
        entry = self._entries.get(project)
        if entry is not None:
            entry.earliest_poll = max(entry.earliest_poll, until)
            entry.latest = max(entry.latest, until)
            self._plan(entry)

    def _mark_polled(self, entry: _ScheduledProject, now: float) -> str:
        entry.polled_at = now
        entry.earliest_poll = now + self._least
        entry.latest = now + self._longest()
        self._plan(entry)
        self._log_price = min(self._log_price + self._gain(), _MAX_LOG_PRICE)
        return entry.project

    # -- the price -----------------------------------------------------------------------------------------------------

    def _lower_price(self, now: float) -> None:
        """Lower the price by the calls that were affordable since the last time. Sometimes updates the affordable rate."""
        passed = min(max(now - self._now, 0.0), 60.0)
        self._log_price = max(self._log_price - self._gain() * self._rate * passed, _MIN_LOG_PRICE)
        self._now = max(now, self._now)
        if now >= self._wake:
            self._wake = now + min(MAX_TAKE_GAP_SECONDS, max(self._least, 0.05))
            self._rate = max(self._find_rate(len(self._entries)), 1e-6)

    def _gain(self) -> float:
        """Returns by how much a call raises the logarithm of the price. Half a round multiplies the price by about e."""
        return 2 / (10 + len(self._entries))

    def _round(self) -> float:
        """Returns the seconds of one round of round-robin."""
        return max(self._least, len(self._entries) / self._rate)

    def _longest(self) -> float:
        return max(MAX_POLL_GAP_SECONDS, MAX_POLL_GAP_ROUNDS * self._round(), self._least)

    def _price(self) -> float:
        """Returns the price: the index of an average project after one round, times the correction to the affordable rate."""
        dubs = self._open / max(1, len(self._entries))
        return dubs / self.durations.typical * self._round() ** 2 / 2 * math.exp(self._log_price)

    # -- due times -----------------------------------------------------------------------------------------------------

    def _plan(self, entry: _ScheduledProject) -> float:
        """Set and return the due time: the first moment at which the index reaches the price."""
        entry.due = self._due(entry)
        heapq.heappush(self._heap, (entry.due, next(self._order), entry))
        return entry.due

    def _due(self, entry: _ScheduledProject) -> float:
        low, high = entry.earliest_poll, max(entry.latest, entry.earliest_poll)
        if low >= high:
            return low
        if not self.durations.has_learned:
            return min(max(low, entry.polled_at + 0.95 * self._round()), high)  # a little early, to make up for delays
        price, longest = self._price(), self._longest()
        index = self._index(entry, longest)
        if index(low) >= price:
            return low
        precision = max(_DUE_PRECISION_SHARE * self._least, _DUE_PRECISION_SECONDS)
        while high - low > precision:
            middle = (low + high) / 2
            if index(middle) >= price:
                high = middle
            else:
                low = middle
        return high

    def _index(self, entry: _ScheduledProject, longest: float) -> Callable[[float], float]:
        """Returns the index as a function of the time at which the project is polled."""
        hazard, asked = self.durations.hazard, entry.polled_at
        dubs = [(dub.submitted, self.durations.usual(dub.features)) for dub in entry.dubs.values()] or [(asked, None)]
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
        """Recompute some due times, in turn, because the price changes and the model learns."""
        for _ in range(min(_PROJECTS_REPLANNED_PER_TAKE, len(self._entries))):
            if not self._turn:
                self._turn = list(self._entries)
            entry = self._entries.get(self._turn.pop())
            if entry is not None:
                self._plan(entry)

    def _tidy(self) -> None:
        while self._heap and not self._stands(*self._heap[0]):
            heapq.heappop(self._heap)  # removed or planned again since
        if len(self._heap) > 8 * len(self._entries) + 64:
            self._heap = [(entry.due, next(self._order), entry) for entry in self._entries.values()]
            heapq.heapify(self._heap)

    def _stands(self, due: float, order: int, entry: _ScheduledProject) -> bool:
        return entry.due == due and self._entries.get(entry.project) is entry

    def _running(self, each: int) -> Iterable[RunningDub]:
        """Returns the dubs in progress of every `each`-th project that has answered in this run."""
        for entry in itertools.islice(self._entries.values(), 0, None, each):
            for dub in entry.dubs.values():
                if entry.answered_at is not None:
                    yield RunningDub(dub.features, dub.submitted, max(entry.before, dub.submitted), entry.answered_at)
