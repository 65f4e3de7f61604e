"""What no polling policy can beat that does not know the future: a bound for `tests.benchmarks.polling`.

Whittle's relaxation: let the budget hold on average only. Under a price per call every project then stands alone, and how much
its delays and calls cost at least is found by dynamic programming: the state is when it was asked last and which of its dubs
were open then, the choice when to ask next, however the answers turn out. Everything is known but the noise. For any price,
those costs less the price of the budget are a lower bound of the delays (weak duality); the best price gives the best bound.

Times are on a grid. A policy that may ask only on it does a little worse. For a lower figure, which is `certain`, a
call brings the answer of the grid's next time, and delays count only to the time before it: whatever asks between the two does
no better. A project of m minutes is one of one minute at m times the time scale, so one table serves all lengths; the costs are
concave in the price, so that lines between the prices that were looked at stay below them.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Final

LENGTH_STEPS: Final = 40
PRICE_STEPS: Final = 4
"""Per factor e."""

ReadyChance = Callable[[float], float]
"""That a dub is ready by a time."""


def minimum_mean_delay(
    dubs: Sequence[ReadyChance], span: tuple[float, float], longest: float, budget: float, step: float, *, certain: bool
) -> float:
    """The least mean delay of a dub, of projects of these dubs with lengths from 1 to `longest` evenly in logarithms.

    A dub of length 1 becomes ready within `span`, or never. `budget`: calls per project. All times are in the same unit;
    `step`, that of the grid, is in logarithms.
    """
    grid = [0.0, *(span[0] * math.exp(n * step) for n in range(math.ceil(math.log(span[1] / span[0]) / step) + 1))]
    lengths = [longest ** ((n + 0.5) / LENGTH_STEPS) for n in range(LENGTH_STEPS)]
    guess = longest / budget**2
    prices = [
        guess * math.exp(n / PRICE_STEPS) / longest for n in range(-PRICE_STEPS, PRICE_STEPS * math.ceil(math.log(longest) + 2))
    ]
    table = _ProjectCosts(grid, dubs, certain)
    return _best_dual_bound(prices, [table.minimum_cost(price) for price in prices], lengths, budget) / len(dubs)


def _best_dual_bound(prices: list[float], costs: list[float], lengths: list[float], budget: float) -> float:
    """The best bound, over prices."""
    return max(
        sum(length * _interpolate(prices, costs, price / length) for length in lengths) / len(lengths) - price * budget
        for price in (prices[0] * lengths[-1] * math.exp(n / 50) for n in range(250))
        if price / lengths[0] <= prices[-1]
    )


def _interpolate(xs: list[float], ys: list[float], x: float) -> float:
    at = min(max(bisect.bisect(xs, x), 1), len(xs) - 1)
    part = (x - xs[at - 1]) / (xs[at] - xs[at - 1])
    return ys[at - 1] * (1 - part) + ys[at] * part


class _ProjectCosts:
    """The least cost of a project of length 1."""

    def __init__(self, grid: list[float], dubs: Sequence[ReadyChance], certain: bool) -> None:
        self._grid = grid
        self._chance_before = 1 if certain else 0
        self._chance_ready = [[dub(at) if at else 0.0 for at in grid] for dub in dubs]
        self._chance_area = [_cumulative_area(grid, ready) for ready in self._chance_ready]

    def minimum_cost(self, price: float) -> float:
        """Delays and calls from the start, where each call costs `price`."""
        sets = 1 << len(self._chance_ready)
        after = [[0.0] * sets]  # of the last time on the grid: what comes later costs nothing
        for asked in range(len(self._grid) - 2, -1, -1):
            after.append(self._minimum_costs_at(asked, price, after))
        return after[-1][-1]

    def _minimum_costs_at(self, asked: int, price: float, after: list[list[float]]) -> list[float]:
        """For each set of open dubs the least cost from here on; `after` has those of later times, the last first."""
        best = [0.0] + [math.inf] * (len(after[0]) - 1)
        for back in range(len(after) - 1, -1, -1):
            waits = [self._expected_wait(dub, asked, len(self._grid) - 1 - back) for dub in range(len(self._chance_ready))]
            delays = [price]
            for _, delay in waits:
                delays += [others + delay for others in delays]
            if all(delay >= known for delay, known in zip(delays, best, strict=True)):
                break  # waiting longer only costs more
            then = _expected_costs(after[back], [still for still, _ in waits])
            best = [min(known, delay + cost) for known, delay, cost in zip(best, delays, then, strict=True)]
        return best

    def _expected_wait(self, dub: int, asked: int, later: int) -> tuple[float, float]:
        """Of a dub that was open when asked: the chance that it still is at a later call, and its mean delay by that."""
        ready, area, until = self._chance_ready[dub], self._chance_area[dub], later - self._chance_before
        open_, time = 1 - ready[asked], self._grid[until] - self._grid[asked]
        if open_ < 1e-9:
            return 0.0, time
        return (1 - ready[later]) / open_, (area[until] - area[asked] - ready[asked] * time) / open_


def _expected_costs(costs: list[float], still: list[float]) -> list[float]:
    """From the costs for each set of open dubs those expected before a call, when each is still open with its chance.

    Each round takes the dub of the lowest bit, which then becomes the highest: in the end all are where they were.
    """
    for chance in still:
        without, with_ = costs[::2], costs[1::2]
        costs = without + [done + chance * (open_ - done) for done, open_ in zip(without, with_, strict=True)]
    return costs


def _cumulative_area(grid: list[float], ready: list[float]) -> list[float]:
    """Under the chances, up to each time."""
    pieces = ((b - a) * (p + q) / 2 for (a, b), (p, q) in zip(itertools.pairwise(grid), itertools.pairwise(ready), strict=True))
    return list(itertools.accumulate(pieces, initial=0.0))
