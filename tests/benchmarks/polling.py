"""How soon a finished dub is noticed, by polling policy: `python -m tests.benchmarks.polling [--short] [--bound]`.

A simulation; nothing is sent. Projects of five languages come one after another so that about N are in flight. All policies
meet the same projects and the same gate: what Creator allows to a batch that runs all day, 20,000 GETs (less the quota's
headroom of 5 %) spread evenly, 13.2 a minute, of which unused ones may be saved for seven minutes, and at most 57 a minute go
out. Creator starts 1,000 projects a day, so N in flight means projects that take N/1000 of a day, or half an hour where that is
more: 19 GETs a project, 40 for N = 10. Delays are counted from two and a half to five times that, when nearly as many end as
come; of few projects, in several such runs.

Dubs take a time in proportion to the video's length (spread 1–20 times, known) and the language (0.8–1.25, not known), times:
`fixed` nothing; `log-normal` a factor with σ = 0.3; `bimodal` σ = 0.1, but one in seven 4 times as long, and one in fifty never
ends; `drifting` σ = 0.15, slowing down steadily, three times as slow at the end as at the start.

Policies: round-robin, which under one gate is also what the vendor's fixed 10 s comes to; per-job exponential back-off, 10 s
growing by half up to 10 minutes; ours with what another such batch taught it; ours starting from nothing, learning on the way;
ours that never learns; and an oracle that knows when each dub is ready, and asks where most are. While there are more GETs than
dubs the oracle has no delay at all, so no policy that does not know the future comes within any factor of it.

What can be reached without knowing the future is `minimum_mean_delay`, beside round-robin's mean: see `polling_lower_bound`.
For log-normal times it is 0.58–0.59, so that half of round-robin's mean is out of reach there, for any policy. `--bound` shows
how the figure settles as the grid gets finer, and a lower one that holds for certain. It is one of a steady state, which the
other kinds never reach here: their longest dubs outlast the simulation, or all become slower.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
import random
import statistics
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from synthdub_tui.runner.duration_model import DubFeatures, DurationModel
from synthdub_tui.runner.poll_schedule import AwaitedDub, PollSchedule
from tests.benchmarks.polling_lower_bound import ReadyChance, minimum_mean_delay

GETS_PER_SECOND: Final = 20_000 * 0.95 / 86_400
BURST_GETS_PER_SECOND: Final = 57 / 60
MAX_SAVED_GETS: Final = 7 * 60 * GETS_PER_SECOND
MIN_INTERVAL_SECONDS: Final = 10.0
LANGUAGES: Final = {"fr-FR": 0.8, "es-ES": 0.9, "de-DE": 1.0, "it": 1.1, "pt-BR": 1.25}
MAX_VIDEO_MINUTES: Final = 20
"""Minutes of the longest video; the shortest has one."""

NEVER_READY: Final = float("inf")
SIMULATED_LIVES: Final = 5.0
WARM_UP_LIVES: Final = 2.5
"""The simulation's end, and when delays begin to count, in lives of a project."""

PROJECTS_IN_ALL_RUNS: Final = 100
"""Projects in flight, all runs together."""

SHORT_PROJECT_COUNT: Final = 5
"""Projects in flight in the short form."""


@dataclass(frozen=True)
class SimulatedProject:
    """A project as it will be: when each language is ready."""

    name: str
    submitted: float
    seconds: float
    ready: dict[str, float]


class PollPolicy(Protocol):
    """Whom to ask when."""

    def add(self, project: SimulatedProject, now: float) -> None: ...
    def take_next(self, now: float) -> str | None: ...
    def next_due(self) -> float | None: ...
    def on_answer(self, project: SimulatedProject, now: float, found: list[str], over: bool) -> None: ...


# -- what comes ----------------------------------------------------------------------------------------------------------


def mean_life_seconds(count: int) -> float:
    """Seconds that a project takes on average, where that many are in flight."""
    return max(1800.0, count * 86.4)


def make_projects(kind: str, count: int, seed: int) -> list[SimulatedProject]:
    """Everything that is submitted until the end."""
    chance = random.Random(f"{kind} {seed}")
    end = SIMULATED_LIVES * mean_life_seconds(count)
    total = round(SIMULATED_LIVES * count)
    drafts = []
    for number in range(total):
        submitted = end * number / total
        minutes = MAX_VIDEO_MINUTES ** chance.random()
        drafts.append(
            (
                submitted,
                minutes,
                {lang: minutes * by * _duration_noise(kind, chance, submitted / end) for lang, by in LANGUAGES.items()},
            )
        )
    scale = _seconds_per_video_minute(count)
    return [
        SimulatedProject(str(number), begun, minutes * 60, {lang: begun + scale * time for lang, time in times.items()})
        for number, (begun, minutes, times) in enumerate(drafts)
    ]


def _seconds_per_video_minute(count: int) -> float:
    """Seconds per minute of video: the mean length in the slowest language takes a life."""
    return mean_life_seconds(count) / ((MAX_VIDEO_MINUTES - 1) / math.log(MAX_VIDEO_MINUTES) * max(LANGUAGES.values()))


def _duration_noise(kind: str, chance: random.Random, progress: float) -> float:
    match kind:
        case "fixed":
            return 1.0
        case "log-normal":
            return chance.lognormvariate(0, 0.3)
        case "bimodal":
            kind_of = chance.random()
            return NEVER_READY if kind_of < 0.02 else chance.lognormvariate(0, 0.1) * (4 if kind_of < 0.02 + 1 / 7 else 1)
        case _:
            return chance.lognormvariate(0, 0.15) * (1 + 2 * progress)


# -- policies ------------------------------------------------------------------------------------------------------------


class IntervalPolicy:
    """Each project after an interval that grows from poll to poll; the longest due first. Without growth it is round-robin."""

    def __init__(self, growth: float = 1.0, most: float = 600.0) -> None:
        self._growth = growth
        self._max_interval = most
        self._heap: list[tuple[float, int, str, float]] = []
        self._order = itertools.count()
        self._finished: set[str] = set()

    def add(self, project: SimulatedProject, now: float) -> None:
        heapq.heappush(self._heap, (now + MIN_INTERVAL_SECONDS, next(self._order), project.name, MIN_INTERVAL_SECONDS))

    def next_due(self) -> float | None:
        while self._heap and self._heap[0][2] in self._finished:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_next(self, now: float) -> str | None:
        due = self.next_due()
        if due is None or due > now:
            return None
        _, _, name, interval = heapq.heappop(self._heap)
        interval = min(interval * self._growth, self._max_interval)
        heapq.heappush(self._heap, (now + interval, next(self._order), name, interval))
        return name

    def on_answer(self, project: SimulatedProject, now: float, found: list[str], over: bool) -> None:
        if over:
            self._finished.add(project.name)


class OraclePolicy:
    """Knows when each dub is ready, and asks where most are ready and not seen."""

    def __init__(self) -> None:
        self._coming: list[tuple[float, str]] = []
        self._ready: dict[str, int] = {}

    def add(self, project: SimulatedProject, now: float) -> None:
        for ready in project.ready.values():
            if ready < NEVER_READY:
                heapq.heappush(self._coming, (ready, project.name))

    def next_due(self) -> float | None:
        if self._ready:
            return 0.0
        return self._coming[0][0] if self._coming else None

    def take_next(self, now: float) -> str | None:
        while self._coming and self._coming[0][0] <= now:
            _, name = heapq.heappop(self._coming)
            self._ready[name] = self._ready.get(name, 0) + 1
        if not self._ready:
            return None
        name = max(self._ready, key=self._ready.__getitem__)
        del self._ready[name]
        return name

    def on_answer(self, project: SimulatedProject, now: float, found: list[str], over: bool) -> None:
        pass


class _NeverLearningModel(DurationModel):
    """Learns nothing."""

    def add_finished_dub(self, dubbing: DubFeatures, low: float, high: float, at: float) -> None:
        pass


class LearnedPolicy:
    """The runner's own schedule."""

    def __init__(self, durations: DurationModel) -> None:
        self.durations = durations
        self._schedule = PollSchedule(MIN_INTERVAL_SECONDS, durations, lambda count: GETS_PER_SECOND)

    def add(self, project: SimulatedProject, now: float) -> None:
        dubs = {lang: AwaitedDub(project.submitted, DubFeatures(lang, False, project.seconds)) for lang in project.ready}
        self._schedule.add(project.name, now, dubs)

    def next_due(self) -> float | None:
        return self._schedule.next_due()

    def take_next(self, now: float) -> str | None:
        return self._schedule.take_due_project(now)

    def on_answer(self, project: SimulatedProject, now: float, found: list[str], over: bool) -> None:
        self._schedule.note_answer(project.name, now, found)
        if over:
            self._schedule.remove(project.name)


# -- the simulation ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PollDelays:
    """Delays in seconds of all dubs that were ready in the time that counts; those never noticed count to the end."""

    delays: list[float]
    polls: int

    @property
    def mean(self) -> float:
        return statistics.mean(self.delays)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.delays, n=20)[-1]


def simulate(policy: PollPolicy, coming: list[SimulatedProject], end: float) -> PollDelays:
    """Let the policy ask within its budget until the end."""
    begin = end * WARM_UP_LIVES / SIMULATED_LIVES
    by_name = {project.name: project for project in coming}
    unseen = {project.name: dict(project.ready) for project in coming}
    arrivals = iter([*coming, None])
    arriving = next(arrivals)
    delays: list[float] = []
    now, tokens, last, polls = 0.0, MAX_SAVED_GETS, 0.0, 0
    while now < end:
        while arriving is not None and arriving.submitted <= now:
            policy.add(arriving, now)
            arriving = next(arrivals)
        name = policy.take_next(now) if tokens > 1 - 1e-6 else None
        if name is not None:
            tokens, polls = tokens - 1, polls + 1
            found = [lang for lang, ready in unseen[name].items() if ready <= now]
            delays += [now - unseen[name].pop(lang) for lang in found if by_name[name].ready[lang] >= begin]
            for lang in found:
                unseen[name].pop(lang, None)
            policy.on_answer(by_name[name], now, found, not unseen[name])
            ahead = now + 1 / BURST_GETS_PER_SECOND
        else:
            due = policy.next_due()
            ahead = max(now + max((1 - tokens) / GETS_PER_SECOND, 0.001), end if due is None else due)
        if arriving is not None:
            ahead = min(ahead, max(arriving.submitted, now + 1 / BURST_GETS_PER_SECOND if name is not None else now))
        now, last = ahead, now
        tokens = min(MAX_SAVED_GETS, tokens + (now - last) * GETS_PER_SECOND)
    for left in unseen.values():
        delays += [end - ready for ready in left.values() if begin <= ready < end]
    return PollDelays(delays, polls)


def train_model(kind: str, count: int) -> DurationModel:
    """What a batch of that kind taught, as the state directory keeps it."""
    earlier = LearnedPolicy(DurationModel())
    simulate(earlier, make_projects(kind, count, seed=1), SIMULATED_LIVES * mean_life_seconds(count))
    kept = DurationModel()
    kept.load(earlier.durations.dump())
    return kept


def _policies(teacher: DurationModel) -> Iterable[tuple[str, PollPolicy]]:
    learned = DurationModel()
    learned.load(teacher.dump())
    return (
        ("round-robin", IntervalPolicy()),
        ("back-off", IntervalPolicy(1.5)),
        ("learned", LearnedPolicy(learned)),
        ("from nothing", LearnedPolicy(DurationModel())),
        ("never learns", LearnedPolicy(_NeverLearningModel())),
        ("oracle", OraclePolicy()),
    )


def compare_policies(kind: str, count: int, enough: int = PROJECTS_IN_ALL_RUNS) -> dict[str, PollDelays]:
    """All policies on one workload."""
    teacher = train_model(kind, min(count, enough))
    delays: dict[str, list[float]] = {name: [] for name in POLICY_NAMES}
    polls = dict.fromkeys(POLICY_NAMES, 0)
    for seed in range(2, 2 + max(1, enough // count)):
        coming = make_projects(kind, count, seed)
        for name, policy in _policies(teacher):
            outcome = simulate(policy, coming, SIMULATED_LIVES * mean_life_seconds(count))
            delays[name] += outcome.delays
            polls[name] += outcome.polls
    return {name: PollDelays(delays[name], polls[name]) for name in POLICY_NAMES}


# -- the bound -----------------------------------------------------------------------------------------------------------

READY_SPAN: Final = (0.25, 4.0)
"""When dubs become ready, beside the usual time of the usual language."""


def minimum_delay(kind: str, count: int, step: float, *, certain: bool = False) -> float | None:
    """The least mean delay in seconds that can be reached; None where it was not worked out."""
    if kind != "log-normal":
        return None
    dubs = [_ready_chance(by) for by in LANGUAGES.values()]
    return minimum_mean_delay(
        dubs, READY_SPAN, MAX_VIDEO_MINUTES, GETS_PER_SECOND * mean_life_seconds(count) / count, step, certain=certain
    ) * _seconds_per_video_minute(count)


def _ready_chance(by: float) -> ReadyChance:
    """That a dub of one minute of video is ready by a time, in the units of `_seconds_per_video_minute`."""
    return lambda at: 0.5 * (1 + math.erf(math.log(at / by) / 0.3 / math.sqrt(2)))


def _round_robin_delay(count: int) -> float:
    """Its mean delay: half the time in which all that are in flight are asked once."""
    dubs, step = [_ready_chance(by) for by in LANGUAGES.values()], 0.001
    ends = int(READY_SPAN[1] / step)
    lasts = sum(1 - math.prod(dub(n * step) for dub in dubs) for n in range(1, ends)) * step
    in_flight = (
        lasts
        * _seconds_per_video_minute(count)
        * (MAX_VIDEO_MINUTES - 1)
        / math.log(MAX_VIDEO_MINUTES)
        / (mean_life_seconds(count) / count)
    )
    return in_flight / GETS_PER_SECOND / 2


# -- the tables ----------------------------------------------------------------------------------------------------------

WORKLOAD_KINDS: Final = ("fixed", "log-normal", "bimodal", "drifting")
POLICY_NAMES: Final = ("round-robin", "back-off", "learned", "from nothing", "never learns", "oracle")


def main() -> None:
    parser = argparse.ArgumentParser(description="Delay until a finished dub is noticed, by polling policy.")
    parser.add_argument("--short", action="store_true", help="few projects of one kind: shows only that it works")
    parser.add_argument("--bound", action="store_true", help="what can be reached, on finer and finer grids")
    parser.add_argument("--in-flight", type=int, nargs="*", help="how many projects")
    options = parser.parse_args()
    if options.bound:
        _print_bounds((0.08, 0.04) if options.short else (0.02, 0.01, 0.005, 0.003))
        return
    if options.short:
        _print_table([("log-normal", SHORT_PROJECT_COUNT)], 0.08, SHORT_PROJECT_COUNT)
        return
    counts = options.in_flight or (10, 100, 500, 2000)
    _print_table(list(itertools.product(WORKLOAD_KINDS, counts)), 0.015, PROJECTS_IN_ALL_RUNS)


def _print_table(workloads: list[tuple[str, int]], step: float, enough: int) -> None:
    print("mean and p95 delay in seconds, and ratios of the means to round-robin's")
    titles = " ".join(f"{name:>13}" for name in POLICY_NAMES)
    print(f"{'':>16} {titles} {'learned':>8} {'nothing':>8} {'never':>6} {'bound':>6}", flush=True)
    with ProcessPoolExecutor() as pool:
        for workload, (row, least) in zip(workloads, pool.map(partial(_compute_row, step, enough), workloads), strict=True):
            _print_row(*workload, row, least)


def _compute_row(step: float, enough: int, workload: tuple[str, int]) -> tuple[dict[str, PollDelays], float | None]:
    return compare_policies(*workload, enough), minimum_delay(*workload, step)


def _print_row(kind: str, count: int, row: dict[str, PollDelays], least: float | None) -> None:
    whole = row["round-robin"].mean
    cells = " ".join(f"{row[name].mean:>6.0f} {row[name].p95:>6.0f}" for name in POLICY_NAMES)
    learned, nothing, never = (row[name].mean / whole for name in ("learned", "from nothing", "never learns"))
    reach = f"{least / whole:.2f}" if least is not None else "-"
    print(f"{kind:>11}{count:>5} {cells} {learned:>8.2f} {nothing:>8.2f} {never:>6.2f} {reach:>6}", flush=True)


def _print_bounds(steps: Iterable[float]) -> None:
    whole = _round_robin_delay(100)
    print("the least mean delay that can be reached beside round-robin's, log-normal, 19 GETs a project")
    print(f"{'step':>8} {'certain':>8} {'on the grid':>12}")
    for step in steps:
        on_grid, certain = (minimum_delay("log-normal", 100, step, certain=certain) for certain in (False, True))
        assert on_grid is not None
        assert certain is not None
        print(f"{step:>8} {certain / whole:>8.2f} {on_grid / whole:>12.2f}", flush=True)


if __name__ == "__main__":
    main()
