"""How long dubs take, learned from those that ended, as a chance for each moment. Pure: callers pass the time.

A dub's time is taken as `usual × r`. What is usual depends on the video's length (else the upload's size), the language and
lipsync: a regression of logarithms, each effect shrunk towards none while few dubs speak for it. The spread `r` is one
distribution for all: a life table over narrow bins of ln r, that is deaths over those at risk (Kaplan and Meier,
"Nonparametric estimation from incomplete observations", 1958), so that dubs still under way count too and stuck ones do not
pass for quick. When a dub ended is only known to lie between two polls; such a dub is spread over the bins between, in
proportion to the density found so far (Turnbull, "The empirical distribution function with arbitrarily grouped, censored and
truncated data", 1976). Bins that saw little are drawn to a constant hazard, under which nothing is due before anything else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple, TypeVar

from synthdub_tui.jobs.model import Job

MOST: Final = 256
"""Dubs that are remembered; older ones are forgotten, since the service changes."""

UNKNOWN: Final = 3600.0
"""Seconds that a dub is taken to last on average, at every age, before any ended. Only the ratio of ages matters then."""

BIN: Final = 0.02
REACH: Final = 3.0
BINS: Final = int(2 * REACH / BIN)
"""The life table spans e^-3 to e^3 times the usual, in steps of 2 %."""

_FORGET: Final = 0.993  # weight of a dub for each one that ended after it
_AT_RISK: Final = 1000  # dubs under way that are looked at, at most
_TAIL: Final = 2.0  # mean of the constant hazard, in usual times
_PRIOR: Final = 0.5  # dubs that speak for it in each bin
_SPREAD: Final = 0.3  # standard deviation of ln r before anything is known, with the weight of two dubs


_Key = TypeVar("_Key")


class Dubbing(NamedTuple):
    """What is known of a dub beforehand: seconds of video (0 if not known), bytes of the upload."""

    language: str
    lipsync: bool = False
    seconds: float = 0.0
    size: int = 0

    @property
    def measure(self) -> tuple[str, float]:
        """What its time may be proportional to, and the logarithm of how much of it there is."""
        if self.seconds > 0:
            return "seconds", math.log(self.seconds)
        return ("bytes", math.log(self.size)) if self.size > 0 else ("", 0.0)


class Sample(NamedTuple):
    """A dub that ended between `low` and `high` seconds after it was submitted, seen at `at` (epoch)."""

    at: float
    low: float
    high: float
    dubbing: Dubbing

    @property
    def middle(self) -> float:
        """Logarithm of its likely time."""
        return (math.log(self.low) + math.log(self.high)) / 2


def dubbing_of(job: Job, language: str, seconds: float = 0.0) -> Dubbing:
    """What is known of a job's dub; `seconds` is the playing time of its source."""
    return Dubbing(language, job.options.lipsync, seconds, job.source.size)


class Durations:
    """What was learned. `finished` adds to it; `learn` makes it count, and is worth calling whenever `stale`."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=MOST)
        self._fit = _Fit([], [])
        self._table = _NOTHING
        self._new = 0
        self._dropped = False
        self.changed = False  # since the last `dump`

    @property
    def stale(self) -> bool:
        """Whether enough dubs ended since `learn`."""
        return self._new > len(self._samples) // 25

    @property
    def known(self) -> bool:
        """Whether anything was learned."""
        return self._table is not _NOTHING

    def finished(self, dubbing: Dubbing, low: float, high: float, at: float) -> None:
        """A dub was found finished `high` seconds after it was submitted, and was not yet after `low`."""
        if not 0 < high < 1e8:
            return
        self._dropped |= len(self._samples) == MOST
        self._samples.append(Sample(at, min(max(low, high / 8), high * 0.999), high, dubbing))
        self._new += 1
        self.changed = True

    def learn(self, running: Iterable[tuple[Dubbing, float]] = (), now: float = 0.0) -> None:
        """Take all in: those that ended, and those under way with the age at which they were last seen so."""
        self._new = 0
        if not self._samples:
            return
        weights = [_FORGET**back for back in range(len(self._samples) - 1, -1, -1)]
        self._fit = _Fit(self._samples, weights)
        at_risk = self._at_risk(running, now)
        ended = [
            (math.log(s.low) - shift, math.log(s.high) - shift, weight)
            for s, weight in zip(self._samples, weights, strict=True)
            for shift in [self._fit.usual(s.dubbing)]
        ]
        self._table = _life_table(ended, at_risk)

    def _at_risk(self, running: Iterable[tuple[Dubbing, float]], now: float) -> list[tuple[float, float]]:
        """Logarithms of age over the usual, with weights. When ended dubs were forgotten already, those under way stand for a
        longer time than the ended ones do, and count for less."""
        dubs = [(dubbing, age) for dubbing, age in running if age > 0]
        step = len(dubs) // _AT_RISK + 1
        covered = (now - self._samples[0].at) / (2 * self.typical) if self._dropped else 1.0
        weight = step * min(1.0, max(covered, 0.0))
        return [(math.log(age) - self._fit.usual(dubbing), weight) for dubbing, age in dubs[::step]]

    @property
    def typical(self) -> float:
        """Seconds of a dub of which nothing is known."""
        return math.exp(self._fit.level) if self._samples else UNKNOWN

    def usual(self, dubbing: Dubbing) -> float | None:
        """Seconds that such a dub usually takes; None while nothing is known."""
        return math.exp(self._fit.usual(dubbing)) if self._samples else None

    def hazard(self, age: float, usual: float | None) -> tuple[float, float]:
        """Of a dub that usually takes that long: its cumulative hazard up to `age`, and the hazard per second now.

        The chance that it ended between two ages, if it had not at the first, is 1 - e^(Λ₁ - Λ₂).
        """
        if usual is None:
            return max(age, 0.0) / UNKNOWN, 1 / UNKNOWN
        return self._table.hazard(age / usual, usual)

    # -- kept across runs ----------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Plain values for TOML; resets `changed`."""
        self.changed = False
        rows = [[round(s.at), round(s.low, 2), round(s.high, 2), *s.dubbing] for s in self._samples]
        return {"schema": 1, "samples": rows}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Takes over what `dump` gave. Never fails: what is damaged counts as not there."""
        rows = saved.get("samples")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, list) and len(row) == 7 and _sound(row):
                at, low, high, language, lipsync, seconds, size = row
                self.finished(Dubbing(language, lipsync, float(seconds), int(size)), float(low), float(high), float(at))
        self._dropped = self.changed = False
        self.learn()


def _sound(row: Sequence[Any]) -> bool:
    at, low, high, language, lipsync, seconds, size = row
    numbers = all(type(value) in (int, float) and 0 <= value < 1e15 for value in (at, low, high, seconds, size))
    return numbers and isinstance(language, str) and len(language) < 40 and isinstance(lipsync, bool)


class _Fit:
    """ln usual = level + slope × (measure - mean) + language + lipsync, by backfitting with shrinkage."""

    def __init__(self, samples: Iterable[Sample], weights: Sequence[float]) -> None:
        rows = [
            (s.middle, *s.dubbing.measure, s.dubbing.language, s.dubbing.lipsync, w)
            for s, w in zip(samples, weights, strict=True)
        ]
        self._lines: dict[str, tuple[float, float, float]] = {}  # kind of measure → level, slope, mean
        self._language: dict[str, float] = {}
        self._lipsync: dict[bool, float] = {}
        self.level = _mean([(y, w) for y, *_, w in rows], 0.0) if rows else 0.0
        for _ in range(3 if rows else 0):
            kinds = {kind for _, kind, *_ in rows}
            self._lines = {
                kind: _line([(x, y - self._offset(lang, lip), w) for y, k, x, lang, lip, w in rows if k == kind])
                for kind in kinds
            }
            rest = [(y - self._on_line(kind, x), lang, lip, w) for y, kind, x, lang, lip, w in rows]
            self._language = _effects([(lang, y - self._lipsync.get(lip, 0.0), w) for y, lang, lip, w in rest])
            self._lipsync = _effects([(lip, y - self._language[lang], w) for y, lang, lip, w in rest])

    def usual(self, dubbing: Dubbing) -> float:
        """Logarithm of the seconds that such a dub usually takes."""
        kind, x = dubbing.measure
        return self._on_line(kind, x) + self._offset(dubbing.language, dubbing.lipsync)

    def _offset(self, language: str, lipsync: bool) -> float:
        return self._language.get(language, 0.0) + self._lipsync.get(lipsync, 0.0)

    def _on_line(self, kind: str, x: float) -> float:
        level, slope, mean = self._lines.get(kind, (self.level, 0.0, 0.0))
        return level + slope * (x - mean)


def _line(points: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Level, slope and mean. Until the measure was seen to vary, times are taken to be in proportion to it."""
    total = sum(w for *_, w in points)
    mean = sum(x * w for x, _, w in points) / total
    level = sum(y * w for _, y, w in points) / total
    varied = sum(w * (x - mean) ** 2 for x, _, w in points)
    together = sum(w * (x - mean) * (y - level) for x, y, w in points)
    return level, min(max((together + 0.5) / (varied + 0.5), 0.0), 1.5), mean


def _effects(rows: Iterable[tuple[_Key, float, float]]) -> dict[_Key, float]:
    """Mean of each group, shrunk towards none as if two dubs had shown none."""
    groups: dict[_Key, list[tuple[float, float]]] = {}
    for key, value, weight in rows:
        groups.setdefault(key, []).append((value, weight))
    return {key: _mean(values, 2.0) for key, values in groups.items()}


def _mean(values: Iterable[tuple[float, float]], nothing: float) -> float:
    values = list(values)
    return sum(y * w for y, w in values) / (sum(w for _, w in values) + nothing)


# -- the life table ------------------------------------------------------------------------------------------------------


class _Table(NamedTuple):
    """Cumulative hazard at the edges of the bins of r."""

    cumulative: list[float]

    def hazard(self, r: float, usual: float) -> tuple[float, float]:
        """At `r` times the usual: cumulative hazard, and hazard per second."""
        if r <= _FIRST:
            rate = self.cumulative[0] / _FIRST
            return rate * max(r, 0.0), rate / usual
        place = (math.log(r) + REACH) / BIN
        at = int(place)
        if at >= BINS:
            return self.cumulative[BINS] + (r - _LAST) / _TAIL, 1 / (_TAIL * usual)
        low = self.cumulative[at]
        step = self.cumulative[at + 1] - low
        return low + step * (place - at), step / (BIN * r * usual)


_FIRST: Final = math.exp(-REACH)
_LAST: Final = math.exp(REACH)
_EDGES: Final = tuple(math.exp(BIN * n - REACH) for n in range(BINS + 1))
_STILL: Final = tuple((high - low) / _TAIL for low, high in pairwise(_EDGES))
"""The constant hazard's part in each bin."""
_NOTHING: Final = _Table(list(accumulate(_STILL, initial=_FIRST / _TAIL)))


def _life_table(ended: list[tuple[float, float, float]], at_risk: list[tuple[float, float]]) -> _Table:
    """From (low, high, weight) of those that ended and (age, weight) of those under way, all in ln r."""
    width = _bandwidth(ended)
    spans = [(_bin(low), _bin(high), weight) for low, high, weight in ended]
    density = [1.0] * BINS
    for _ in range(3):
        density = _smooth(_deaths(spans, density), width)
    left = [0.0] * (BINS + 1)
    for age, weight in at_risk:
        left[_bin(age)] += weight
    leaving = _smooth(left[:BINS], width)
    alive, hazards = 0.0, [0.0] * BINS
    for n in range(BINS - 1, -1, -1):
        alive += density[n]
        chance = (density[n] + _PRIOR * _STILL[n]) / (alive + _PRIOR * (1 + _STILL[n]))
        hazards[n] = -math.log1p(-min(chance, 0.95))
        alive += leaving[n]
    return _Table(list(accumulate(hazards, initial=_FIRST / _TAIL / (1 + sum(w for *_, w in ended)))))


def _bin(value: float) -> int:
    return max(0, min(int((value + REACH) / BIN), BINS - 1))


def _deaths(spans: list[tuple[int, int, float]], density: list[float]) -> list[float]:
    """Each dub over the bins in which it may have ended, in proportion to the density there."""
    found = [0.0] * BINS
    for low, high, weight in spans:
        part = density[low : high + 1]
        total = sum(part)
        if total <= 0:
            found[(low + high) // 2] += weight
            continue
        for n, share in enumerate(part, low):
            found[n] += weight * share / total
    return found


def _bandwidth(ended: list[tuple[float, float, float]]) -> int:
    """Bins to either side over which to smooth: Silverman, "Density Estimation", 1986, with the middle half's spread."""
    middles = sorted((low + high) / 2 for low, high, _ in ended)
    count = len(middles)
    middle_half = (middles[(3 * count) // 4] - middles[count // 4]) / 1.349 if count > 3 else _SPREAD
    spread = math.sqrt((2 * _SPREAD**2 + count * middle_half**2) / (2 + count))
    return int(0.9 * spread / count**0.2 / BIN + 0.5)


def _smooth(values: list[float], width: int) -> list[float]:
    """A running mean, twice: nearly a bell. What would leave the table stays in it."""
    for _ in range(2 if width else 0):
        sums = list(accumulate(values, initial=0.0))
        edges = [(max(n - width, 0), min(n + width + 1, BINS)) for n in range(BINS)]
        values = [(sums[high] - sums[low]) / (high - low) for low, high in edges]
    return values
