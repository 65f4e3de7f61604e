"""The long soak: what it calls flat, and all of it for some seconds."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from tests.soak.long_run import CALM_SECONDS, Plan, soak
from tests.soak.process_metrics import ALLOWED, MEASURES, MIB, lows, trend

MINUTES = [minute * 60.0 for minute in range(42)]
CHANCE = random.Random(1)


def swinging(mean: float) -> list[tuple[float, float]]:
    """What a healthy process does: swings with its work, and now and then a spike."""
    return [
        (at, mean * (1 + 0.1 * math.sin(at / 50) + CHANCE.gauss(0, 0.02)) + (mean if at % 600 == 0 else 0)) for at in MINUTES
    ]


@pytest.mark.parametrize("measure", MEASURES)
def test_swings_and_spikes_are_flat(measure: str) -> None:
    mean = {"rss": 100 * MIB, "pss": 90 * MIB, "uss": 90 * MIB, "objects": 120_000.0}.get(measure, 20.0)
    assert trend(swinging(mean), ALLOWED[measure]).flat


def test_a_leak_is_seen() -> None:
    """Eight kilobytes a second, under swings that are larger than what leaks."""
    leaking = [(at, value + 1024 * 8 * at) for at, value in swinging(100 * MIB)]
    found = trend(leaking, ALLOWED["uss"])
    assert not found.flat
    assert found.growth == pytest.approx(1024 * 8 * MINUTES[-1], rel=0.3)


def busy(leaked: float) -> list[tuple[float, float]]:
    """Descriptors of a runner that is now idle, now at full speed, and leaks this many a minute."""
    chance = random.Random(2)
    return [(at, chance.choice((20, 35, 50, 66)) + leaked * at / 60) for at in range(0, 42 * 60, 30)]


def test_lows_tell_a_leak_from_work() -> None:
    assert trend(lows(busy(0)), ALLOWED["descriptors"]).flat
    assert not trend(lows(busy(0.5)), ALLOWED["descriptors"]).flat


def test_what_shrinks_leaks_nothing() -> None:
    assert trend([(at, 100 - at / 100) for at in MINUTES], ALLOWED["threads"]).flat


@pytest.mark.timeout(2 * CALM_SECONDS)  # it says what did not come to its end within those
def test_some_seconds_of_it(tmp_path: Path) -> None:
    run = soak(tmp_path, seed=1, plan=Plan(3, 5, 1.0, 3.0, 0.1, dubbing=(0.1, 1.0)))
    assert run.violations == []
    assert {(process, measure) for process, measure, _ in run.trends()} == {
        (process, measure) for process in ("runner", "dashboard") for measure in MEASURES
    }
