"""The long soak: what it calls flat, and all of it for some seconds."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from tests.soak.long_run import MAX_SETTLE_SECONDS, SoakPlan, run_soak
from tests.soak.process_metrics import ALLOWED_GROWTH, MEASURES, MIB, estimate_trend, window_minima

SAMPLE_TIMES = [minute * 60.0 for minute in range(42)]
RANDOM = random.Random(1)


def swinging_series(mean: float) -> list[tuple[float, float]]:
    """What a healthy process does: swings with its work, and now and then a spike."""
    return [
        (at, mean * (1 + 0.1 * math.sin(at / 50) + RANDOM.gauss(0, 0.02)) + (mean if at % 600 == 0 else 0))
        for at in SAMPLE_TIMES
    ]


@pytest.mark.parametrize("measure", MEASURES)
def test_swings_and_spikes_are_no_leak(measure: str) -> None:
    mean = {"rss": 100 * MIB, "pss": 90 * MIB, "uss": 90 * MIB, "objects": 120_000.0}.get(measure, 20.0)
    assert estimate_trend(swinging_series(mean), ALLOWED_GROWTH[measure]).is_flat


def test_a_leak_below_larger_swings_is_found() -> None:
    """Eight kilobytes a second, under swings that are larger than what leaks."""
    leaking = [(at, value + 1024 * 8 * at) for at, value in swinging_series(100 * MIB)]
    found = estimate_trend(leaking, ALLOWED_GROWTH["uss"])
    assert not found.is_flat
    assert found.growth == pytest.approx(1024 * 8 * SAMPLE_TIMES[-1], rel=0.3)


def leaking_descriptors(leaked: float) -> list[tuple[float, float]]:
    """Descriptors of a runner that is now idle, now at full speed, and leaks this many a minute."""
    chance = random.Random(2)
    return [(at, chance.choice((20, 35, 50, 66)) + leaked * at / 60) for at in range(0, 42 * 60, 30)]


def test_window_minima_distinguish_a_leak_from_load() -> None:
    assert estimate_trend(window_minima(leaking_descriptors(0)), ALLOWED_GROWTH["descriptors"]).is_flat
    assert not estimate_trend(window_minima(leaking_descriptors(0.5)), ALLOWED_GROWTH["descriptors"]).is_flat


def test_a_shrinking_measure_is_no_leak() -> None:
    assert estimate_trend([(at, 100 - at / 100) for at in SAMPLE_TIMES], ALLOWED_GROWTH["threads"]).is_flat


@pytest.mark.timeout(2 * MAX_SETTLE_SECONDS)  # it says what did not come to its end within those
def test_a_soak_of_some_seconds(tmp_path: Path) -> None:
    run = run_soak(tmp_path, seed=1, plan=SoakPlan(3, 5, 1.0, 3.0, 0.1, dubbing=(0.1, 1.0)))
    assert run.violations == []
    assert {(process, measure) for process, measure, _ in run.trends()} == {
        (process, measure) for process in ("runner", "dashboard") for measure in MEASURES
    }
