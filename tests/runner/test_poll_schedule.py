"""Whom the poller asks when: nobody starves, nobody is asked too often, the budget holds, and knowledge pays."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdub_tui.runner.duration_model import DubFeatures, DurationModel
from synthdub_tui.runner.poll_schedule import (
    DEFAULT_POLLS_PER_SECOND,
    MAX_POLL_GAP_ROUNDS,
    MAX_POLL_GAP_SECONDS,
    AwaitedDub,
    PollSchedule,
    affordable_poll_rate,
)
from synthdub_tui.synthesia.rate_arithmetic import RateBudget, RateLimit, WindowUse

ONE_MINUTE_DUB = DubFeatures("fr-FR", False, 60.0)


def awaited_dubs(submitted: float, *languages: str) -> dict[str, AwaitedDub]:
    return {language: AwaitedDub(submitted, DubFeatures(language, False, 60.0)) for language in languages or ("fr-FR",)}


def trained_model(seconds: float, count: int = 40) -> DurationModel:
    """Dubs of a minute of video take that long, give or take a tenth."""
    durations, chance = DurationModel(), random.Random(3)
    for _ in range(count):
        taken = seconds * chance.uniform(0.9, 1.1)
        durations.add_finished_dub(ONE_MINUTE_DUB, taken * 0.98, taken, 0.0)
    durations.learn()
    return durations


def poll_times(schedule: PollSchedule, start: float, end: float, step: float = 1.0) -> dict[str, list[float]]:
    """When each project is asked, where one can be asked every `step` seconds."""
    asked: dict[str, list[float]] = defaultdict(list)
    now = start
    while now < end:
        project = schedule.take_due_project(now)
        if project is not None:
            asked[project].append(now)
            schedule.note_answer(project, now, [])
        now += step
    return asked


def test_an_empty_schedule_has_nobody() -> None:
    schedule = PollSchedule(10.0)
    assert schedule.take_due_project(0.0) is None
    assert schedule.next_due() is None


def test_a_project_of_an_earlier_run_is_asked_at_once() -> None:
    schedule = PollSchedule(10.0)
    schedule.add("p", 1000.0, awaited_dubs(100.0))
    assert schedule.take_due_project(1000.0) == "p"


def test_a_new_one_is_asked_after_the_least_interval() -> None:
    schedule = PollSchedule(10.0)
    schedule.add("p", 1000.0, awaited_dubs(1000.0))
    assert schedule.take_due_project(1009.9) is None
    assert schedule.take_due_project(1010.0) == "p"


def test_trouble_puts_off() -> None:
    schedule = PollSchedule(10.0)
    schedule.add("p", 1000.0, awaited_dubs(100.0))
    schedule.postpone("p", 1060.0)
    assert schedule.take_due_project(1059.0) is None
    assert schedule.take_due_project(1060.0) == "p"


def test_who_is_removed_is_not_asked() -> None:
    schedule = PollSchedule(1.0)
    schedule.add("p", 0.0, awaited_dubs(0.0))
    schedule.add("q", 0.0, awaited_dubs(0.0))
    schedule.remove("p")
    assert set(poll_times(schedule, 0.0, 100.0)) == {"q"}
    schedule.remove("q")
    assert schedule.next_due() is None


def test_knowing_nothing_it_is_round_robin_at_the_rate_that_can_be_afforded() -> None:
    schedule = PollSchedule(1.0, rate=lambda count: 0.5)
    for name in "abcde":
        schedule.add(name, 0.0, awaited_dubs(0.0, *(["fr-FR", "it"] if name == "a" else ["it"])))
    asked = poll_times(schedule, 0.0, 1000.0)
    assert {name: len(times) for name, times in asked.items()} == pytest.approx(dict.fromkeys("abcde", 100), abs=3)


def test_a_learned_dub_is_asked_about_when_it_should_be_ready() -> None:
    schedule = PollSchedule(1.0, trained_model(1000.0), rate=lambda count: 0.05)
    for number in range(10):
        schedule.add(str(number), 0.0, awaited_dubs(0.0))
    asked = sorted(time for times in poll_times(schedule, 0.0, 1150.0).values() for time in times)
    around = sum(time >= 880 for time in asked)
    assert around > 3 * (len(asked) - around) * (1150 - 880) / 880


def test_when_to_ask_is_as_fine_as_the_least_interval() -> None:
    """A budget that allows several looks a second around the end is used so, however far away the latest moment is."""
    schedule = PollSchedule(0.1, trained_model(20.0), rate=lambda count: 0.5)
    schedule.add("p", 0.0, awaited_dubs(0.0))
    times = [time for time in poll_times(schedule, 0.0, 24.0, 0.05)["p"] if time >= 18]
    assert max(later - earlier for earlier, later in pairwise(times)) < 1.0


def test_added_languages_are_followed() -> None:
    """The old language is overdue for long and asked about rarely; the new one brings it back."""
    schedule = PollSchedule(1.0, trained_model(100.0), rate=lambda count: 0.1)
    schedule.add("p", 0.0, awaited_dubs(0.0))
    poll_times(schedule, 0.0, 5000.0)
    schedule.set_awaited_dubs("p", {**awaited_dubs(0.0), **awaited_dubs(5000.0, "it")})
    asked = poll_times(schedule, 5000.0, 5130.0)["p"]
    assert any(5085 <= time <= 5130 for time in asked)


def test_knowledge_survives_a_restart() -> None:
    before = PollSchedule(1.0, rate=lambda count: 1.0)
    for number in range(20):
        before.add(str(number), float(number), awaited_dubs(float(number)))
    for now in range(400):
        project = before.take_due_project(float(now))
        if project is not None:
            ready = now - int(project) >= 200
            before.note_answer(project, float(now), ["fr-FR"] if ready else [])
            if ready:
                before.remove(project)
    after = DurationModel()
    after.load(before.durations.dump())
    assert after.usual(ONE_MINUTE_DUB) == pytest.approx(200.0, rel=0.1)


def test_what_ended_before_this_run_teaches_nothing() -> None:
    """Nobody knows when it ended."""
    schedule = PollSchedule(1.0)
    schedule.add("p", 90_000.0, awaited_dubs(0.0))
    schedule.note_answer("p", 90_001.0, ["fr-FR"])
    assert not schedule.durations.changed


# -- the budget ----------------------------------------------------------------------------------------------------------


def test_what_can_be_afforded() -> None:
    minute, day = WindowUse(60.0, 0, 57, 60), WindowUse(86_400.0, 0, 19_000, 20_000)
    assert affordable_poll_rate([], 3600.0) == DEFAULT_POLLS_PER_SECOND
    assert affordable_poll_rate([minute, day], 3600.0) == pytest.approx(57 / 60)  # a short batch: only the minute binds
    assert affordable_poll_rate([minute, day], 1e9) == pytest.approx(19_000 / 86_400)  # one that needs all day
    half = WindowUse(86_400.0, 9_500, 19_000, 20_000)
    assert affordable_poll_rate([minute, half], 43_200.0) == pytest.approx(9_500 / 43_200 + 9_500 / 86_400)


def test_the_daily_budget_lasts_all_day() -> None:
    """A day of projects that never end, through the quota's own limits: polls go on and are never shut out."""
    budget = RateBudget((RateLimit(60, 60.0), RateLimit(2_000, 86_400.0)))
    now = 0.0
    schedule = PollSchedule(
        10.0, trained_model(5000.0), lambda count: affordable_poll_rate(budget.usage(now).windows, 86_400.0)
    )
    for number in range(30):
        schedule.add(str(number), 0.0, awaited_dubs(0.0))
    hours = [0] * 24
    while now < 86_400:
        if budget.next_call_at(now) <= now and schedule.take_due_project(now) is not None:
            budget.count_call(now)
            hours[int(now // 3600)] += 1
        now = max(budget.next_call_at(now), now + 20.0)
    assert sum(hours) <= 1_900
    assert min(hours[1:]) > 1_900 / 24 / 2


# -- for any course of events --------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(1, 25),
    least=st.sampled_from([0.0, 1.0, 10.0]),
    rate=st.sampled_from([0.05, 0.2, 0.5]),
    usual=st.sampled_from([0.0, 30.0, 600.0, 20_000.0]),
    seed=st.integers(0, 10**6),
)
def test_nobody_starves_and_nobody_is_asked_too_often(count: int, least: float, rate: float, usual: float, seed: int) -> None:
    chance = random.Random(seed)
    schedule = PollSchedule(least, trained_model(usual) if usual else None, lambda flying: rate)
    born = {str(number): chance.uniform(0, 500) for number in range(count)}
    last = dict(born)
    step = 1 / rate
    bound = 1.1 * max(MAX_POLL_GAP_SECONDS, MAX_POLL_GAP_ROUNDS * count * step, least) + 2 * count * step
    for tick in range(int(3 * bound / step)):
        now = tick * step
        for name in [name for name, time in born.items() if time <= now]:
            schedule.add(name, now, awaited_dubs(now, *chance.sample(["fr-FR", "it", "de-DE"], chance.randint(1, 3))))
            last[name] = born.pop(name) and now
        project = schedule.take_due_project(now)
        if project is not None:
            assert now - last[project] >= least - 1e-9
            last[project] = now
            schedule.note_answer(project, now, ["it"] if chance.random() < 0.05 else [])
        assert all(now - time <= bound for name, time in last.items() if name not in born)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10**6), rate=st.sampled_from([0.1, 1.0]))
def test_it_keeps_to_the_rate(seed: int, rate: float) -> None:
    """Offered ten times as many chances as it can afford, it takes about what it can afford."""
    chance = random.Random(seed)
    schedule = PollSchedule(1.0, trained_model(chance.choice([100.0, 1000.0])), lambda count: rate)
    for number in range(20):
        schedule.add(str(number), 0.0, awaited_dubs(0.0))
    asked = poll_times(schedule, 0.0, 200 / rate, 0.25 / rate)
    assert sum(map(len, asked.values())) <= 200 * 1.1 + 4 * 20


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("arpoet"), st.sampled_from("wxyz"), st.floats(0, 400)), max_size=60))
def test_any_calls_in_any_order(steps: list[tuple[str, str, float]]) -> None:
    schedule, now, followed = PollSchedule(5.0, trained_model(200.0)), 0.0, set()
    for what, name, passed in steps:
        now += passed
        match what:
            case "a":
                schedule.add(name, now, awaited_dubs(now - passed))
                followed.add(name)
            case "r":
                schedule.remove(name)
                followed.discard(name)
            case "p":
                schedule.postpone(name, now + 30)
            case "o":
                schedule.note_answer(name, now, ["fr-FR"])
            case "e":
                schedule.set_awaited_dubs(name, awaited_dubs(now, "it"))
            case _:
                assert schedule.take_due_project(now) in {None, *followed}
        assert (schedule.next_due() is None) == (not followed)
