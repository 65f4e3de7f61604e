"""What counts as the same version of a file."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from synthdub_tui.jobs.model import Source
from synthdub_tui.sources.same_file import (
    TIME_RESOLUTIONS_NS,
    FileStamp,
    finer_stamp,
    refresh_source,
    same_time,
    same_version,
    time_resolution_ns,
)

FINE_TIME_NS = 1_795_410_723_274_186_359
NS_PER_SECOND = 1_000_000_000

times = st.integers(-(2**40), 2**62)
fine_times = times.filter(lambda time: time % 100)
steps = st.sampled_from(TIME_RESOLUTIONS_NS)


def round_down(time: int, step: int) -> int:
    return time // step * step


@given(times, steps)
def test_a_time_that_was_cut_or_rounded_is_the_same(time: int, step: int) -> None:
    assert same_time(time, round_down(time, step))
    assert same_time(time, round_down(time + step - 1, step)), "rounded up"
    assert same_time(time, round_down(time + step // 2, step)), "rounded to the nearest"


@given(times, times)
def test_the_order_does_not_matter(one: int, other: int) -> None:
    assert same_time(one, other) == same_time(other, one)


@given(fine_times, st.integers(-3 * NS_PER_SECOND, 3 * NS_PER_SECOND).filter(bool))
def test_two_fine_times_that_differ_are_not_the_same(time: int, shift: int) -> None:
    assume((time + shift) % 100)
    assert same_time(time, time)
    assert not same_time(time, time + shift)


@given(times, times)
def test_times_two_seconds_apart_are_never_the_same(one: int, other: int) -> None:
    if abs(one - other) >= 2 * NS_PER_SECOND:
        assert not same_time(one, other)


@given(times, steps)
def test_times_of_one_coarse_clock_differ_once_that_has_ticked(time: int, step: int) -> None:
    """As far as their zeros tell; that a time ends in more of them is chance, and bounded by the coarsest clock."""
    tick = round_down(time, step)
    apart = max(time_resolution_ns(tick), time_resolution_ns(tick + step))
    assert same_time(tick, tick + step) == (step < apart)
    assert not same_time(tick, tick + 2 * NS_PER_SECOND)


@given(times, steps, steps)
def test_a_time_cut_twice_is_the_same(time: int, one: int, other: int) -> None:
    assert same_time(time, round_down(round_down(time, one), other))


@pytest.mark.parametrize("hours", [-1, 1, 2, 12])
def test_a_shift_by_whole_hours_is_another_time(hours: int) -> None:
    assert not same_time(FINE_TIME_NS, FINE_TIME_NS + hours * 3600 * NS_PER_SECOND)
    assert not same_time(
        round_down(FINE_TIME_NS, NS_PER_SECOND), round_down(FINE_TIME_NS, NS_PER_SECOND) + hours * 3600 * NS_PER_SECOND
    )


@given(times, st.integers(0, 2**40), st.integers(0, 2**40), steps)
def test_another_size_is_another_version_whatever_the_time(time: int, one: int, other: int, step: int) -> None:
    assert same_version(FileStamp(one, time), FileStamp(other, round_down(time, step))) == (one == other)


@pytest.mark.parametrize(
    ("time", "step"),
    [
        (FINE_TIME_NS, 1),
        (FINE_TIME_NS - 59, 100),
        (FINE_TIME_NS // 1000 * 1000, 1000),
        (FINE_TIME_NS // 10**6 * 10**6, 10**6),
        (17 * NS_PER_SECOND + 270_000_000, 10_000_000),
        (17 * NS_PER_SECOND, NS_PER_SECOND),
        (18 * NS_PER_SECOND, 2 * NS_PER_SECOND),
        (0, 2 * NS_PER_SECOND),
    ],
)
def test_the_zeros_of_a_time_tell_its_resolution(time: int, step: int) -> None:
    assert time_resolution_ns(time) == step


@given(times, steps)
def test_the_finer_time_is_kept(time: int, step: int) -> None:
    one, other = FileStamp(5, time), FileStamp(5, round_down(time, step))
    assert finer_stamp(one, other) == finer_stamp(other, one) == one


@pytest.mark.parametrize("step", TIME_RESOLUTIONS_NS)
def test_a_source_seen_by_a_coarser_clock_stays_as_it_is(step: int) -> None:
    known = Source("/v/a.mp4", 5, FINE_TIME_NS, "video/mp4", digest="xxh3:1")
    coarse = Source("/v/a.mp4", 5, round_down(FINE_TIME_NS, step), "video/mp4", digest="xxh3:1")
    assert refresh_source(known, FileStamp(5, round_down(FINE_TIME_NS, step))) == known
    assert refresh_source(coarse, FileStamp(5, FINE_TIME_NS)) == known


@pytest.mark.parametrize("now", [FileStamp(6, FINE_TIME_NS), FileStamp(5, FINE_TIME_NS + 1)])
def test_a_changed_source_forgets_its_digest(now: FileStamp) -> None:
    known = Source("/v/a.mp4", 5, FINE_TIME_NS, "video/mp4", digest="xxh3:1")
    assert refresh_source(known, now) == Source("/v/a.mp4", now.size, now.mtime_ns, "video/mp4")
