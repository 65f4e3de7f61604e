"""How long dubs take, learned from finished ones, as a chance for each moment. Pure: callers pass the time.

The time of a dub is modelled as `usual × r`.

`usual` depends on the video's length (else the upload's size), the language and lipsync. A regression of logarithms finds it.
Each effect is shrunk towards none while few dubs show it. The regression follows a service that becomes slower or quicker: the
newest dubs count most, and a line is fitted through them (discounted least squares: Brown, "Smoothing, Forecasting and
Prediction of Discrete Time Series", 1963). This run has a level of its own, separate from earlier runs. The few dubs that took
many times as long count little, so that they do not hide what the others show (iterated weights of Student's t: Lange, Little
and Taylor, "Robust statistical modeling using the t distribution", 1989).

The spread `r` has one distribution for all dubs. It is a life table over narrow bins of ln r: deaths over those at risk (Kaplan
and Meier, "Nonparametric estimation from incomplete observations", 1958). So dubs in progress count too, and stuck ones do not
pass for quick. Once older dubs are forgotten, the deaths cover a limited time. A dub is then at risk only at the ages that it
went through in that time (late entry). Otherwise thousands in progress would outweigh the few deaths that are remembered.

A dub is only known to end between two polls. Its death is spread over the bins between, in proportion to the density found so
far (Turnbull, "The empirical distribution function with arbitrarily grouped, censored and truncated data", 1976). Bins with few
dubs are drawn to a constant hazard, under which no dub is due before another.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

from synthdub_tui.jobs.model import Job

MAX_SAMPLES: Final = 256
"""Finished dubs that are remembered. Older ones are forgotten, since the service changes."""

UNKNOWN_DUB_SECONDS: Final = 3600.0
"""Mean seconds that a dub still takes, at every age, before any has finished. Only the ratio of ages matters then."""

BIN: Final = 0.02
MAX_LOG_RATIO: Final = 3.0
BINS: Final = int(2 * MAX_LOG_RATIO / BIN)
"""The life table spans e^-3 to e^3 times the usual, in steps of 2 %."""

_FORGET: Final = 0.993  # factor on a dub's weight in `usual` for each one that ended after it
_MEMORY: Final = 1 / (1 - _FORGET)  # dubs
_PASSES: Final = 5  # of the regression
_FREEDOM: Final = 3.0  # degrees of freedom of Student's t
_SHARP: Final = 0.05  # least scale in ln r: dubs that differ by less count nearly in full
_STEADY: Final = 2.0  # dubs against a trend: as if so many, one `_MEMORY` from the mean, had shown none
_TAIL: Final = 2.0  # mean time under the constant hazard, in units of `usual`
_PRIOR: Final = 0.5  # weight of the constant hazard in each bin, in dubs
_SPREAD: Final = 0.3  # standard deviation of ln r before anything is known, with the weight of two dubs


class DubFeatures(NamedTuple):
    """Facts known before a dub ends. `seconds` of video are 0 if not known; `size` is in bytes of the upload."""

    language: str
    lipsync: bool = False
    seconds: float = 0.0
    size: int = 0

    @property
    def measure(self) -> tuple[str, float]:
        """What the dub's time may be proportional to ("seconds", "bytes" or none), and the logarithm of its amount."""
        if self.seconds > 0:
            return "seconds", math.log(self.seconds)
        return ("bytes", math.log(self.size)) if self.size > 0 else ("", 0.0)


class FinishedDub(NamedTuple):
    """A finished dub: it ended between `low` and `high` seconds after it was submitted, and was found at `at` (epoch)."""

    at: float
    low: float
    high: float
    dubbing: DubFeatures

    @property
    def middle(self) -> float:
        """Logarithm of its likely time in seconds."""
        return (math.log(self.low) + math.log(self.high)) / 2


class RunningDub(NamedTuple):
    """A dub in progress: when it was submitted, and when the last poll (`answered_at`) and the one `previous_answer_at` showed
    it. Epoch."""

    dubbing: DubFeatures
    submitted: float
    previous_answer_at: float
    answered_at: float


def _log(age: float) -> float:
    return math.log(age) if age > 0 else -math.inf


class _Span(NamedTuple):
    """A finished dub in ln r: its age when the observed time began, and the two ages between which it ended."""

    entered: float
    low: float
    high: float


def _span(sample: FinishedDub, since: float, usual: float) -> _Span:
    entered = min(sample.low, since - (sample.at - sample.high))
    return _Span(_log(entered) - usual, math.log(sample.low) - usual, math.log(sample.high) - usual)


def features_of(job: Job, language: str, seconds: float = 0.0) -> DubFeatures:
    """Facts about a job's dub. `seconds` is the playing time of its source, 0 if not known."""
    return DubFeatures(language, job.options.lipsync, seconds, job.source.size)


class DurationModel:
    """Learns from dubs. `add_finished_dub` adds one; `learn` updates the model, and should be called whenever
    `needs_learning`."""

    def __init__(self) -> None:
        self._samples: deque[FinishedDub] = deque(maxlen=MAX_SAMPLES)
        self._fit = _Fit([], 0)
        self._table = _PRIOR_TABLE
        self._new = 0
        self._dropped = False
        self._earlier = 0  # samples of earlier runs
        self.changed = False  # since the last `dump`

    @property
    def needs_learning(self) -> bool:
        """Whether enough dubs have finished since `learn` to call it again."""
        return self._new > len(self._samples) // 25

    @property
    def has_learned(self) -> bool:
        """Whether the model has learned from any dub."""
        return self._table is not _PRIOR_TABLE

    def add_finished_dub(self, dubbing: DubFeatures, low: float, high: float, at: float) -> None:
        """Add a dub that was unfinished `low` seconds after it was submitted, and found finished after `high`, at `at`
        (epoch)."""
        if not 0 < high < 1e8:
            return
        if len(self._samples) == MAX_SAMPLES:
            self._dropped = True
            self._earlier = max(self._earlier - 1, 0)
        self._samples.append(FinishedDub(at, min(max(low, high / 8), high * 0.999), high, dubbing))
        self._new += 1
        self.changed = True

    def learn(self, running: Iterable[RunningDub] = (), each: float = 1.0) -> None:
        """Update the model from all finished dubs, and from `running` ones, each of which stands for `each` dubs in
        progress."""
        self._new = 0
        if not self._samples:
            return
        self._fit = _Fit(self._samples, self._earlier)
        since = self._samples[0].at if self._dropped else -math.inf
        ended = [_span(s, since, usual) for s, usual in zip(self._samples, self._fit.usuals, strict=True)]
        followed = [
            (
                _log(min(dub.previous_answer_at, since) - dub.submitted) - usual,
                math.log(dub.answered_at - dub.submitted) - usual,
            )
            for dub in running
            if dub.answered_at > max(dub.submitted, since)
            for usual in [self._fit.usual(dub.dubbing)]
        ]
        self._table = _life_table(ended, followed, each)

    @property
    def typical(self) -> float:
        """Usual seconds of a dub without known facts."""
        return math.exp(self._fit.level) if self._samples else UNKNOWN_DUB_SECONDS

    def usual(self, dubbing: DubFeatures) -> float | None:
        """Usual seconds of such a dub; None before any has finished."""
        return math.exp(self._fit.usual(dubbing)) if self._samples else None

    def hazard(self, age: float, usual: float | None) -> tuple[float, float]:
        """Cumulative hazard up to `age` (seconds), and hazard per second at `age`, of a dub that usually takes `usual` seconds.

        A dub that has not ended at one age ends before the next with the chance 1 - e^(Λ₁ - Λ₂).
        """
        if usual is None:
            return max(age, 0.0) / UNKNOWN_DUB_SECONDS, 1 / UNKNOWN_DUB_SECONDS
        return self._table.hazard(age / usual, usual)

    # -- kept across runs ----------------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Plain values for TOML. Resets `changed`."""
        self.changed = False
        rows = [[round(s.at), round(s.low, 2), round(s.high, 2), *s.dubbing] for s in self._samples]
        return {"schema": 1, "samples": rows}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Load the values of `dump`. Never fails: damaged values count as missing."""
        rows = saved.get("samples")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, list) and len(row) == 7 and _sound(row):
                at, low, high, language, lipsync, seconds, size = row
                self.add_finished_dub(
                    DubFeatures(language, lipsync, float(seconds), int(size)), float(low), float(high), float(at)
                )
        self._dropped = self.changed = False
        self._earlier = len(self._samples)
        self.learn()


def _sound(row: Sequence[Any]) -> bool:
    at, low, high, language, lipsync, seconds, size = row
    numbers = all(type(value) in (int, float) and 0 <= value < 1e15 for value in (at, low, high, seconds, size))
    return numbers and isinstance(language, str) and len(language) < 40 and isinstance(lipsync, bool)


class _Line(NamedTuple):
    """A straight line."""

    level: float = 0.0
    slope: float = 0.0
    mean: float = 0.0

    def at(self, x: float) -> float:
        """Its height at `x`."""
        return self.level + self.slope * (x - self.mean)


_Points = Sequence[tuple[float, float, float]]
"""Place, height and weight of each point."""


class _Row(NamedTuple):
    """A dub in the regression. Each part is a group and a place within it: measure, language, lipsync, run."""

    time: float  # logarithm of seconds
    weight: float
    parts: tuple[tuple[str | bool, float], ...]


def _row(dubbing: DubFeatures, earlier: bool, back: float, time: float = 0.0, weight: float = 0.0) -> _Row:
    """`back` counts the dubs of its run that ended later, as a negative multiple of `_MEMORY`."""
    return _Row(time, weight, (dubbing.measure, (dubbing.language, 0.0), (dubbing.lipsync, 0.0), (earlier, back)))


class _Fit:
    """Fits ln usual = line of the measure + language + lipsync + line of the run, by backfitting with shrinkage."""

    def __init__(self, samples: Sequence[FinishedDub], earlier: int) -> None:
        """The first `earlier` of the samples belong to earlier runs."""
        count = len(samples)
        self._now = earlier == count
        rows = [
            _row(
                s.dubbing,
                n < earlier,
                (n + 1 - (earlier if n < earlier else count)) / _MEMORY,
                s.middle,
                _FORGET ** (count - 1 - n),
            )
            for n, s in enumerate(samples)
        ]
        self.level = _mean([(row.time, row.weight) for row in rows], 0.0) if rows else 0.0
        self._lines: list[dict[str | bool, _Line]] = [{}, {}, {}, {}]
        weighted = rows
        for _ in range(_PASSES if rows else 0):
            for part in range(len(self._lines)):
                self._refit(part, weighted)
            weighted = self._reweighted(rows)
        self.usuals = [self._fitted(row) for row in rows]
        """ln usual of each sample, at the time when it ended."""

    def usual(self, dubbing: DubFeatures) -> float:
        """Logarithm of the seconds that such a dub usually takes now."""
        return self._fitted(_row(dubbing, self._now, 0.0))

    def _fitted(self, row: _Row) -> float:
        kind, x = row.parts[0]
        total = self._lines[0].get(kind, _Line(self.level)).at(x)
        for lines, (group, x) in zip(self._lines[1:], row.parts[1:], strict=True):
            line = lines.get(group)
            if line is not None:
                total += line.at(x)
        return total

    def _refit(self, part: int, rows: Sequence[_Row]) -> None:
        """Fit one part again to the rest that the other parts leave unexplained."""
        lines, groups = self._lines[part], dict[str | bool, list[tuple[float, float, float]]]()
        for row in rows:
            group, x = row.parts[part]
            explained = lines.get(group, _Line(0.0 if part else self.level)).at(x)
            groups.setdefault(group, []).append((x, row.time - self._fitted(row) + explained, row.weight))
        self._lines[part] = {group: (_shrunk if part else _rising)(points) for group, points in groups.items()}

    def _reweighted(self, rows: Sequence[_Row]) -> list[_Row]:
        """The rows, with less weight on those far from the fit."""
        off = [row.time - self._fitted(row) for row in rows]
        scale = max(statistics.median(map(abs, off)) / 0.6745, _SHARP)  # the standard deviation, if the distribution is normal
        factors = [(_FREEDOM + 1) / (_FREEDOM + (o / scale) ** 2) for o in off]
        return [row._replace(weight=row.weight * factor) for row, factor in zip(rows, factors, strict=True)]


def _rising(points: _Points) -> _Line:
    """The line of a measure. Until the measure varies, times count as proportional to it."""
    level, mean, together, varied = _moments(points, 0.0)
    return _Line(level, min(max((together + 0.5) / (varied + 0.5), 0.0), 1.5), mean)


def _shrunk(points: _Points) -> _Line:
    """Level and trend of a group, shrunk as if two dubs had shown no difference."""
    level, mean, together, varied = _moments(points, 2.0)
    return _Line(level, together / (varied + _STEADY), mean)


def _moments(points: _Points, nothing: float) -> tuple[float, float, float, float]:
    """Level, mean place, covariance and variance (not divided by the weights). `nothing` is the weight of an added level 0."""
    total = sum(w for *_, w in points)
    mean = sum(x * w for x, _, w in points) / total
    level = sum(y * w for _, y, w in points)
    together = sum(w * (x - mean) * (y - level / total) for x, y, w in points)
    return level / (total + nothing), mean, together, sum(w * (x - mean) ** 2 for x, _, w in points)


def _mean(values: Iterable[tuple[float, float]], nothing: float) -> float:
    values = list(values)
    return sum(y * w for y, w in values) / (sum(w for _, w in values) + nothing)


# -- the life table ------------------------------------------------------------------------------------------------------


class _Table(NamedTuple):
    """Cumulative hazard at the edges of the bins of r."""

    cumulative: list[float]

    def hazard(self, r: float, usual: float) -> tuple[float, float]:
        """Cumulative hazard, and hazard per second, at `r` times `usual` seconds."""
        if r <= _FIRST:
            rate = self.cumulative[0] / _FIRST
            return rate * max(r, 0.0), rate / usual
        place = (math.log(r) + MAX_LOG_RATIO) / BIN
        at = int(place)
        if at >= BINS:
            return self.cumulative[BINS] + (r - _LAST) / _TAIL, 1 / (_TAIL * usual)
        low = self.cumulative[at]
        step = self.cumulative[at + 1] - low
        return low + step * (place - at), step / (BIN * r * usual)


_FIRST: Final = math.exp(-MAX_LOG_RATIO)
_LAST: Final = math.exp(MAX_LOG_RATIO)
_EDGES: Final = tuple(math.exp(BIN * n - MAX_LOG_RATIO) for n in range(BINS + 1))
_STILL: Final = tuple((high - low) / _TAIL for low, high in pairwise(_EDGES))
"""Share of the constant hazard in each bin."""
_PRIOR_TABLE: Final = _Table(list(accumulate(_STILL, initial=_FIRST / _TAIL)))


def _life_table(ended: Sequence[_Span], followed: Sequence[tuple[float, float]], each: float) -> _Table:
    """The table from `ended` dubs and those in progress, of which each counts `each` times.

    `followed` contains, for each of the latter, ln r when the observed time began, and ln r at the last poll.
    """
    width = _bandwidth(ended)
    spans = [(_bin(low), _bin(high)) for _, low, high in ended]
    density = [1.0] * BINS
    for _ in range(3):
        density = _smooth(_deaths(spans, density), width)
    changes = [
        *((span.entered, -1.0) for span in ended),
        *((came, -each) for came, _ in followed),
        *((left, each) for _, left in followed),
    ]
    leaving = _smooth(_leaving(changes), width)
    alive, hazards = 0.0, [0.0] * BINS
    for n in range(BINS - 1, -1, -1):
        alive += density[n]
        chance = (density[n] + _PRIOR * _STILL[n]) / (max(alive, density[n]) + _PRIOR * (1 + _STILL[n]))
        hazards[n] = -math.log1p(-min(chance, 0.95))
        alive += leaving[n]
    return _Table(list(accumulate(hazards, initial=_FIRST / _TAIL / (1 + len(ended)))))


def _leaving(changes: Iterable[tuple[float, float]]) -> list[float]:
    """How many dubs leave after each bin, less those that enter. One that does so within a bin counts there in part."""
    found = [0.0] * (BINS + 1)  # the last is for dubs that leave before the first bin
    for at, weight in changes:
        place = min((at + MAX_LOG_RATIO) / BIN, float(BINS))
        if place > 0:
            n = min(int(place), BINS - 1)
            found[n] += weight * (place - n)
            found[n - 1] += weight * (n + 1 - place)
    return found[:BINS]


def _bin(value: float) -> int:
    return max(0, min(int((value + MAX_LOG_RATIO) / BIN), BINS - 1))


def _deaths(spans: Sequence[tuple[int, int]], density: list[float]) -> list[float]:
    """The ended dubs, each spread over the bins in which it may have ended, in proportion to the density there."""
    found = [0.0] * BINS
    for low, high in spans:
        part = density[low : high + 1]
        total = sum(part)
        if total <= 0:
            found[(low + high) // 2] += 1
            continue
        for n, share in enumerate(part, low):
            found[n] += share / total
    return found


def _bandwidth(ended: Sequence[_Span]) -> int:
    """Bins to each side for smoothing: Silverman, "Density Estimation", 1986, with the spread of the middle half."""
    middles = sorted((span.low + span.high) / 2 for span in ended)
    count = len(middles)
    middle_half = (middles[(3 * count) // 4] - middles[count // 4]) / 1.349 if count > 3 else _SPREAD
    spread = math.sqrt((2 * _SPREAD**2 + count * middle_half**2) / (2 + count))
    return int(0.9 * spread / count**0.2 / BIN + 0.5)


def _smooth(values: list[float], width: int) -> list[float]:
    """A running mean, applied twice, which is nearly a bell. At its ends the window is cut."""
    for _ in range(2 if width else 0):
        sums = list(accumulate(values, initial=0.0))
        edges = [(max(n - width, 0), min(n + width + 1, BINS)) for n in range(BINS)]
        values = [(sums[high] - sums[low]) / (high - low) for low, high in edges]
    return values
