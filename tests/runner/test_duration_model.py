"""What is learned of dubbing times."""

from __future__ import annotations

import math
import random
import tomllib
from itertools import pairwise
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdub_tui.runner.duration_model import MAX_SAMPLES, UNKNOWN_DUB_SECONDS, DubFeatures, DurationModel, RunningDub


def train_model(count: int, draw: Any, seed: int = 1) -> DurationModel:
    """After `count` dubs of which `draw(chance)` gives (dubbing, seconds), each seen to within a tenth."""
    durations, chance = DurationModel(), random.Random(seed)
    for number in range(count):
        dubbing, seconds = draw(chance)
        durations.add_finished_dub(dubbing, seconds * 0.95, seconds * 1.05, float(number))
    durations.learn()
    return durations


def chance_of_ending(durations: DurationModel, usual: float | None, first: float, second: float) -> float:
    """That a dub not ended at the first age is at the second."""
    return 1 - math.exp(durations.hazard(first, usual)[0] - durations.hazard(second, usual)[0])


def test_nothing_is_known_at_first() -> None:
    durations = DurationModel()
    durations.learn([RunningDub(DubFeatures("fr-FR"), 0.0, 50.0, 100.0)])
    assert durations.usual(DubFeatures("fr-FR", False, 60.0)) is None and not durations.has_learned
    assert durations.hazard(50.0, None) == (50 / UNKNOWN_DUB_SECONDS, 1 / UNKNOWN_DUB_SECONDS)


def test_time_is_in_proportion_to_the_length_from_the_first_dub_on() -> None:
    durations = train_model(1, lambda chance: (DubFeatures("fr-FR", False, 60.0), 300.0))
    assert durations.usual(DubFeatures("fr-FR", False, 600.0)) == pytest.approx(3000.0, rel=0.01)


def test_a_service_that_takes_the_same_time_for_all_is_learned() -> None:
    durations = train_model(60, lambda chance: (DubFeatures("fr-FR", False, chance.uniform(60, 1200)), 300.0))
    assert durations.usual(DubFeatures("fr-FR", False, 1200.0)) == pytest.approx(300.0, rel=0.1)


def test_size_stands_in_for_an_unknown_length() -> None:
    durations = train_model(
        40, lambda chance: (lambda size: (DubFeatures("fr-FR", size=size), size / 1e6))(chance.randint(10**7, 10**9))
    )
    assert durations.usual(DubFeatures("fr-FR", size=200_000_000)) == pytest.approx(200.0, rel=0.1)


def test_languages_and_lipsync_have_their_own_times() -> None:
    def draw(chance: random.Random) -> tuple[DubFeatures, float]:
        language, lipsync = chance.choice(["fr-FR", "it"]), chance.random() < 0.5
        return DubFeatures(language, lipsync, 60.0), 100 * (2 if language == "it" else 1) * (3 if lipsync else 1)

    durations = train_model(200, draw)
    quick, slow = durations.usual(DubFeatures("fr-FR", False, 60.0)), durations.usual(DubFeatures("it", True, 60.0))
    assert quick is not None and slow is not None
    assert slow / quick == pytest.approx(6.0, rel=0.15)


def test_the_chance_rises_where_dubs_end() -> None:
    durations = train_model(200, lambda chance: (DubFeatures("fr-FR", False, 60.0), chance.lognormvariate(math.log(600), 0.1)))
    usual = durations.usual(DubFeatures("fr-FR", False, 60.0))
    assert chance_of_ending(durations, usual, 0, 400) < 0.05
    assert chance_of_ending(durations, usual, 450, 800) > 0.9
    assert durations.hazard(600, usual)[1] > 20 * durations.hazard(300, usual)[1]


def test_dubs_under_way_count() -> None:
    """One that is still under way long after the others ended makes it likely that more are stuck."""
    one = DubFeatures("fr-FR", False, 60.0)
    alone = train_model(30, lambda chance: (one, 600.0))
    with_stuck = train_model(30, lambda chance: (one, 600.0))
    with_stuck.learn([RunningDub(one, 5000.0, 9000.0, 10_000.0)] * 30)
    usual = alone.usual(one)
    assert chance_of_ending(with_stuck, usual, 400, 900) < chance_of_ending(alone, usual, 400, 900) - 0.2


def test_in_a_short_memory_all_are_at_risk_for_that_time_only() -> None:
    """One begins each second, one in five is stuck. Of the others only those of the last minutes are remembered, of the stuck
    all are there; still, of those that come to the age at which dubs end, four in five do."""
    one, durations, chance = DubFeatures("fr-FR", False, 60.0), DurationModel(), random.Random(4)
    now, flying = 20_000, []
    for begun in range(now):
        ends = begun + chance.uniform(570, 630)
        if chance.random() < 0.2 or ends > now:
            flying.append(RunningDub(one, float(begun), now - 10.0, float(now)))
        else:
            durations.add_finished_dub(one, ends - begun - 10, ends - begun, ends)
    durations.learn(flying[::4], 4)
    assert len(flying) > 10 * MAX_SAMPLES
    assert chance_of_ending(durations, durations.usual(one), 500, 800) == pytest.approx(0.8, abs=0.06)


def test_those_that_take_many_times_as_long_do_not_hide_the_others() -> None:
    """One in seven takes four times as long; what two languages differ by is known to a few percent all the same."""

    def draw(chance: random.Random) -> tuple[DubFeatures, float]:
        language = chance.choice(["fr-FR", "it"])
        slow = 4 if chance.random() < 1 / 7 else 1
        return DubFeatures(language, False, 60.0), slow * (125 if language == "it" else 100) * chance.lognormvariate(0, 0.1)

    for seed in range(5):
        durations = train_model(150, draw, seed)
        quick, slow = durations.usual(DubFeatures("fr-FR", False, 60.0)), durations.usual(DubFeatures("it", False, 60.0))
        assert quick is not None and slow is not None
        assert slow / quick == pytest.approx(1.25, rel=0.06)


def test_a_service_that_slows_down_is_followed() -> None:
    one, durations, chance = DubFeatures("fr-FR", False, 60.0), DurationModel(), random.Random(5)
    for number in range(250):
        seconds = 100 * (1 + number / 125) * chance.lognormvariate(0, 0.15)
        durations.add_finished_dub(one, seconds * 0.95, seconds, float(number))
    durations.learn()
    assert durations.usual(one) == pytest.approx(300.0, rel=0.1)


def test_another_level_than_in_earlier_runs_is_learned_from_a_few() -> None:
    one = DubFeatures("fr-FR", False, 60.0)
    durations = DurationModel()
    durations.load(train_model(250, lambda chance: (one, 300 * chance.lognormvariate(0, 0.15))).dump())
    assert durations.usual(one) == pytest.approx(300.0, rel=0.05)
    for number in range(12):
        durations.add_finished_dub(one, 95.0, 100.0, 1000.0 + number)
    durations.learn()
    assert durations.usual(one) == pytest.approx(100.0, rel=0.25)


def test_knowledge_is_kept_and_bounded() -> None:
    durations = train_model(3 * MAX_SAMPLES, lambda chance: (DubFeatures("fr-FR", False, 60.0), chance.uniform(500, 700)))
    assert durations.changed
    text = tomli_w.dumps(durations.dump())
    assert not durations.changed and len(text) < 40_000
    again = DurationModel()
    again.load(tomllib.loads(text))
    assert again.has_learned and not again.changed
    assert again.usual(DubFeatures("it", False, 60.0)) == pytest.approx(
        durations.usual(DubFeatures("it", False, 60.0)), rel=0.01
    )


@pytest.mark.parametrize(
    "saved",
    [{}, {"samples": 3}, {"samples": [1, [], [1] * 7, [0, 1, -5, "fr", False, 0, 0], [0, 1, 2, "x" * 99, False, 0, 0]]}],
)
def test_a_damaged_document_teaches_nothing(saved: dict[str, Any]) -> None:
    durations = DurationModel()
    durations.load(saved)
    assert not durations.has_learned


_TIMES = st.floats(0.001, 1e7)
_DUBBINGS = st.builds(
    DubFeatures,
    st.sampled_from(["fr-FR", "it"]),
    st.booleans(),
    st.one_of(st.just(0.0), st.floats(0.1, 1e5)),
    st.integers(0, 2**40),
)


@settings(max_examples=30, deadline=None)
@given(
    ended=st.lists(st.tuples(_DUBBINGS, _TIMES, st.floats(0, 1)), max_size=8),
    running=st.lists(st.builds(RunningDub, _DUBBINGS, _TIMES, _TIMES, _TIMES), max_size=5),
    forgotten=st.booleans(),
    one=_DUBBINGS,
    ages=st.lists(_TIMES, min_size=2, max_size=10),
)
def test_hazards_only_add_up(
    ended: list[tuple[DubFeatures, float, float]],
    running: list[RunningDub],
    forgotten: bool,
    one: DubFeatures,
    ages: list[float],
) -> None:
    durations = DurationModel()
    for dubbing, high, share in ended * (MAX_SAMPLES if forgotten else 1):
        durations.add_finished_dub(dubbing, share * high, high, 1e6)
    durations.learn(running)
    usual = durations.usual(one)
    found = [durations.hazard(age, usual) for age in sorted(ages)]
    assert all(math.isfinite(total) and rate > 0 for total, rate in found)
    assert all(before[0] <= after[0] for before, after in pairwise(found))
