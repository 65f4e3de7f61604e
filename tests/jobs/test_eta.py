"""Predictions are made only where what was seen supports them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synthdub_tui.jobs.eta import MIN_FINISHED_DUBS, CompletionPace, PastDurations, TransferRates
from synthdub_tui.jobs.model import Dub, DubState


def pace_from(times: list[float]) -> CompletionPace:
    pace = CompletionPace()
    for at in times:
        pace.record_finished(at)
    return pace


def test_no_prediction_before_enough_is_known() -> None:
    assert pace_from([10.0 * n for n in range(MIN_FINISHED_DUBS - 1)]).remaining_seconds(10, 30) is None
    assert pace_from([]).remaining_seconds(10, 0) is None


def test_a_steady_pace_goes_on() -> None:
    assert pace_from([10.0 * n for n in range(11)]).remaining_seconds(6, 100) == 60


def test_waiting_lengthens_the_prediction_until_it_is_given_up() -> None:
    pace = pace_from([10.0 * n for n in range(11)])
    soon, later = pace.remaining_seconds(6, 101), pace.remaining_seconds(6, 130)
    assert soon is not None and later is not None and soon < later
    assert pace.remaining_seconds(6, 100 + 4 * 10 + 61) is None


def test_nothing_left_and_all_at_once_predict_nothing() -> None:
    assert pace_from([10.0 * n for n in range(11)]).remaining_seconds(0, 100) is None
    assert pace_from([5.0] * 9).remaining_seconds(3, 6) is None


def test_usual_duration_is_the_median_of_the_last_dubs() -> None:
    durations = PastDurations(window=5)
    for taken in [1000.0, 10, 20, 30, 40, 50]:
        durations.add_if_done(Dub(DubState.DONE, since=100 + taken, submitted=100.0))
    assert durations.median_and_count() == (30, 5)


def test_only_finished_dubs_teach() -> None:
    durations = PastDurations()
    for state in DubState:
        if state is not DubState.DONE:
            for _ in range(MIN_FINISHED_DUBS):
                durations.add_if_done(Dub(state, since=200.0, submitted=100.0))
    for _ in range(MIN_FINISHED_DUBS):
        durations.add_if_done(Dub(DubState.DONE, since=100.0, submitted=0.0))
    assert durations.median_and_count() is None


@given(st.lists(st.floats(0, 1e12)), st.integers(0, 80))
def test_sparkline_heights_fit(rates: list[float], width: int) -> None:
    shown = TransferRates()
    for rate in rates:
        shown.add(rate)
    levels = shown.levels(width, 8)
    assert len(levels) == min(width, len(shown.samples))
    assert all(0 <= level <= 8 for level in levels)
    assert not any(levels) or max(levels) == 8
    taken = list(shown.samples)[-width:] if width else []
    assert all((level > 0) == (rate > 0) for level, rate in zip(levels, taken, strict=True))
