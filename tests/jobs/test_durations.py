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

from synthdub_tui.jobs.durations import MOST, UNKNOWN, Dubbing, Durations


def taught(count: int, draw: Any, seed: int = 1) -> Durations:
    """After `count` dubs of which `draw(chance)` gives (dubbing, seconds), each seen to within a tenth."""
    durations, chance = Durations(), random.Random(seed)
    for number in range(count):
        dubbing, seconds = draw(chance)
        durations.finished(dubbing, seconds * 0.95, seconds * 1.05, float(number))
    durations.learn()
    return durations


def chance_between(durations: Durations, usual: float | None, first: float, second: float) -> float:
    """That a dub not ended at the first age is at the second."""
    return 1 - math.exp(durations.hazard(first, usual)[0] - durations.hazard(second, usual)[0])


def test_nothing_is_known_at_first() -> None:
    durations = Durations()
    durations.learn([(Dubbing("fr-FR"), 100.0)], 100.0)
    assert durations.usual(Dubbing("fr-FR", False, 60.0)) is None and not durations.known
    assert durations.hazard(50.0, None) == (50 / UNKNOWN, 1 / UNKNOWN)


def test_time_is_in_proportion_to_the_length_from_the_first_dub_on() -> None:
    durations = taught(1, lambda chance: (Dubbing("fr-FR", False, 60.0), 300.0))
    assert durations.usual(Dubbing("fr-FR", False, 600.0)) == pytest.approx(3000.0, rel=0.01)


def test_a_service_that_takes_the_same_time_for_all_is_learned() -> None:
    durations = taught(60, lambda chance: (Dubbing("fr-FR", False, chance.uniform(60, 1200)), 300.0))
    assert durations.usual(Dubbing("fr-FR", False, 1200.0)) == pytest.approx(300.0, rel=0.1)


def test_size_stands_in_for_an_unknown_length() -> None:
    durations = taught(
        40, lambda chance: (lambda size: (Dubbing("fr-FR", size=size), size / 1e6))(chance.randint(10**7, 10**9))
    )
    assert durations.usual(Dubbing("fr-FR", size=200_000_000)) == pytest.approx(200.0, rel=0.1)


def test_languages_and_lipsync_have_their_own_times() -> None:
    def draw(chance: random.Random) -> tuple[Dubbing, float]:
        language, lipsync = chance.choice(["fr-FR", "it"]), chance.random() < 0.5
        return Dubbing(language, lipsync, 60.0), 100 * (2 if language == "it" else 1) * (3 if lipsync else 1)

    durations = taught(200, draw)
    quick, slow = durations.usual(Dubbing("fr-FR", False, 60.0)), durations.usual(Dubbing("it", True, 60.0))
    assert quick is not None and slow is not None
    assert slow / quick == pytest.approx(6.0, rel=0.15)


def test_the_chance_rises_where_dubs_end() -> None:
    durations = taught(200, lambda chance: (Dubbing("fr-FR", False, 60.0), chance.lognormvariate(math.log(600), 0.1)))
    usual = durations.usual(Dubbing("fr-FR", False, 60.0))
    assert chance_between(durations, usual, 0, 400) < 0.05
    assert chance_between(durations, usual, 450, 800) > 0.9
    assert durations.hazard(600, usual)[1] > 20 * durations.hazard(300, usual)[1]


def test_dubs_under_way_count() -> None:
    """One that is still under way long after the others ended makes it likely that more are stuck."""
    one = Dubbing("fr-FR", False, 60.0)
    alone = taught(30, lambda chance: (one, 600.0))
    with_stuck = taught(30, lambda chance: (one, 600.0))
    with_stuck.learn([(one, 5000.0)] * 30, 10_000.0)
    usual = alone.usual(one)
    assert chance_between(with_stuck, usual, 400, 900) < chance_between(alone, usual, 400, 900) - 0.2


def test_knowledge_is_kept_and_bounded() -> None:
    durations = taught(3 * MOST, lambda chance: (Dubbing("fr-FR", False, 60.0), chance.uniform(500, 700)))
    assert durations.changed
    text = tomli_w.dumps(durations.dump())
    assert not durations.changed and len(text) < 40_000
    again = Durations()
    again.load(tomllib.loads(text))
    assert again.known and not again.changed
    assert again.usual(Dubbing("it", False, 60.0)) == pytest.approx(durations.usual(Dubbing("it", False, 60.0)), rel=0.01)


@pytest.mark.parametrize(
    "saved",
    [{}, {"samples": 3}, {"samples": [1, [], [1] * 7, [0, 1, -5, "fr", False, 0, 0], [0, 1, 2, "x" * 99, False, 0, 0]]}],
)
def test_a_damaged_document_teaches_nothing(saved: dict[str, Any]) -> None:
    durations = Durations()
    durations.load(saved)
    assert not durations.known


_TIMES = st.floats(0.001, 1e7)
_DUBBINGS = st.builds(
    Dubbing,
    st.sampled_from(["fr-FR", "it"]),
    st.booleans(),
    st.one_of(st.just(0.0), st.floats(0.1, 1e5)),
    st.integers(0, 2**40),
)


@settings(max_examples=60, deadline=None)
@given(
    ended=st.lists(st.tuples(_DUBBINGS, _TIMES, st.floats(0, 1)), max_size=8),
    running=st.lists(st.tuples(_DUBBINGS, _TIMES), max_size=5),
    one=_DUBBINGS,
    ages=st.lists(_TIMES, min_size=2, max_size=10),
)
def test_hazards_only_add_up(
    ended: list[tuple[Dubbing, float, float]], running: list[tuple[Dubbing, float]], one: Dubbing, ages: list[float]
) -> None:
    durations = Durations()
    for dubbing, high, share in ended:
        durations.finished(dubbing, share * high, high, 0.0)
    durations.learn(running, 1.0)
    usual = durations.usual(one)
    found = [durations.hazard(age, usual) for age in sorted(ages)]
    assert all(math.isfinite(total) and rate > 0 for total, rate in found)
    assert all(before[0] <= after[0] for before, after in pairwise(found))
