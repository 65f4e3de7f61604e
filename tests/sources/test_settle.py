"""When a file has come to rest, as a rule over looks at it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdub_tui.sources.settle import (
    COARSE_TIME_SECONDS,
    NAMED_FILE_QUIET_SECONDS,
    OPEN_FILE_QUIET_SECONDS,
    ChangeStamp,
    FileObservation,
    QuietPeriod,
    may_be_changing,
    remaining_quiet_seconds,
    update_quiet_period,
)

WALL_TIME = 1_800_000_000.5
"""Seconds since the epoch; monotonic clocks begin at 0 here."""

SETTLE_SECONDS = 10.0
FINE_NS = 123_456_789
"""Nanoseconds that show that the file system keeps them."""


def stamp_of_age(age: float, size: int = 1, *, ctime_age: float | None = None) -> ChangeStamp:
    """Of a file that changed `age` seconds before the first look."""
    mtime, ctime = (
        int((WALL_TIME - each) * 1e9) // 1_000_000_000 * 1_000_000_000 + FINE_NS for each in (age, ctime_age or age)
    )
    return ChangeStamp(size, mtime, ctime)


def remaining_seconds(
    looks: list[tuple[float, ChangeStamp, bool]], *, named: bool = False, seconds: float = SETTLE_SECONDS
) -> float:
    """How long the file must still stay as it is after looks (when, what, written)."""
    quiet: QuietPeriod | None = None
    left = 0.0
    for now, seen, written in looks:
        look = FileObservation(seen, written, now, WALL_TIME + now)
        quiet = update_quiet_period(quiet, look, named=named)
        left = remaining_quiet_seconds(quiet, look, seconds, named=named)
    return left


# -- found in a folder -----------------------------------------------------------------------------------------------


def test_what_was_found_and_is_old_is_taken_at_the_first_look() -> None:
    assert remaining_seconds([(0, stamp_of_age(SETTLE_SECONDS + 1), False)]) == 0


def test_what_was_found_and_changed_just_now_is_taken_once_it_stayed_as_it_is() -> None:
    new = stamp_of_age(2)
    assert remaining_seconds([(0, new, False)]) == pytest.approx(SETTLE_SECONDS - 2, abs=1)
    assert remaining_seconds([(0, new, False), (9, new, False)]) == 0


def test_a_recording_that_grows_every_six_seconds_is_not_taken() -> None:
    grows = [(float(now), stamp_of_age(0, size=now // 6), False) for now in range(0, 600, 1)]
    assert all(remaining_seconds(grows[: count + 1]) > 0 for count in range(0, len(grows), 37))


def test_a_copy_of_fixed_size_is_not_taken_as_long_as_its_time_moves() -> None:
    copying = [(float(now), stamp_of_age(-float(now)), False) for now in range(0, 60, 5)]
    assert remaining_seconds(copying) > SETTLE_SECONDS - 1


def test_a_copy_that_gets_the_old_time_of_its_original_at_last_counts_from_then_on() -> None:
    copying, finished = stamp_of_age(0), stamp_of_age(86_400, ctime_age=-8)
    assert remaining_seconds([(0, copying, False), (8, finished, False)]) == SETTLE_SECONDS
    assert (
        remaining_seconds([(0, stamp_of_age(86_400, ctime_age=0.1), False)]) > SETTLE_SECONDS - 2
    )  # added when it was finished just now


def test_a_time_in_the_future_is_not_old_and_holds_nothing_up_for_longer() -> None:
    ahead = stamp_of_age(-3600)
    assert remaining_seconds([(0, ahead, False)]) == SETTLE_SECONDS
    assert remaining_seconds([(0, ahead, False), (SETTLE_SECONDS, ahead, False)]) == 0


def test_another_file_of_the_same_name_size_and_times_is_another_one() -> None:
    one, other = stamp_of_age(5), stamp_of_age(5)._replace(inode=2)
    assert remaining_seconds([(0, one, False), (20, other, False)]) == SETTLE_SECONDS


@given(st.floats(-1e9, 1e9), st.floats(0, SETTLE_SECONDS - 0.01))
def test_a_clock_that_jumps_while_we_look_hastens_and_delays_nothing(jump: float, elapsed: float) -> None:
    new = stamp_of_age(0)
    quiet = update_quiet_period(None, FileObservation(new, False, 0, new.ctime_ns / 1e9), named=False)
    later = FileObservation(new, False, elapsed, new.ctime_ns / 1e9 + jump)
    assert remaining_quiet_seconds(
        update_quiet_period(quiet, later, named=False), later, SETTLE_SECONDS, named=False
    ) == pytest.approx(SETTLE_SECONDS - elapsed)


# -- named, and open for writing ---------------------------------------------------------------------------------------


def test_what_was_named_waits_for_a_second_look_a_second_later() -> None:
    assert remaining_seconds([(0, stamp_of_age(5), False)], named=True) == NAMED_FILE_QUIET_SECONDS
    assert remaining_seconds([(0, stamp_of_age(5), False), (1, stamp_of_age(5), False)], named=True) == 0
    assert (
        remaining_seconds([(0, stamp_of_age(5), False), (1, stamp_of_age(5, size=2), False)], named=True)
        == NAMED_FILE_QUIET_SECONDS
    )
    assert remaining_seconds([(0, stamp_of_age(OPEN_FILE_QUIET_SECONDS + 1), False)], named=True) == 0


@pytest.mark.parametrize("named", [True, False])
def test_a_pause_of_a_recording_is_not_its_end(named: bool) -> None:
    paused = stamp_of_age(0)
    assert remaining_seconds([(0, paused, True), (30, paused, True)], named=named) > 0
    assert remaining_seconds([(0, paused, True), (OPEN_FILE_QUIET_SECONDS, paused, True)], named=named) == 0
    assert remaining_seconds([(0, paused, True), (30, paused, True), (31, paused, False)], named=named) == 0


# -- coarse clocks, and off --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("named", [True, False])
def test_where_times_are_whole_seconds_a_change_is_given_time_to_show(seconds: float, named: bool) -> None:
    now = int(WALL_TIME) * 1_000_000_000
    coarse = ChangeStamp(1, now, now)
    assert remaining_seconds([(0, coarse, False)], named=named, seconds=seconds) > 0
    assert remaining_seconds([(0, coarse, False), (COARSE_TIME_SECONDS, coarse, False)], named=named, seconds=seconds) == 0


@given(st.booleans(), st.booleans(), st.floats(-1e6, 1e6))
def test_off_takes_everything_at_once(named: bool, written: bool, age: float) -> None:
    assert remaining_seconds([(0, stamp_of_age(age), written)], named=named, seconds=0) == 0
    assert not may_be_changing(*stamp_of_age(age)[1:3], WALL_TIME, 0)


# -- in general --------------------------------------------------------------------------------------------------------

stamps = st.builds(stamp_of_age, st.floats(-20, 1e6), st.integers(1, 3), ctime_age=st.floats(-20, 1e6))
looks = st.lists(st.tuples(st.floats(0, 30), stamps, st.booleans()), min_size=1, max_size=12)


@given(looks, st.booleans(), st.floats(0.1, 60))
def test_whatever_was_seen_it_rests_once_nothing_changes_for_long_enough(
    seen: list[tuple[float, ChangeStamp, bool]], named: bool, seconds: float
) -> None:
    now, story = 0.0, []
    for pause, each, written in seen:
        now += pause
        story.append((now, each, written))
    _, last, written = story[-1]
    left = remaining_seconds(story, named=named, seconds=seconds)
    assert left <= max(seconds, OPEN_FILE_QUIET_SECONDS if written else COARSE_TIME_SECONDS) + 1e-6
    assert remaining_seconds([*story, (now + left + 1e-6, last, written)], named=named, seconds=seconds) == 0


@given(stamps, st.booleans(), st.booleans(), st.floats(0.1, 2000))
def test_what_raises_no_suspicion_would_be_taken_at_the_first_look(
    seen: ChangeStamp, named: bool, written: bool, seconds: float
) -> None:
    if not may_be_changing(seen.mtime_ns, seen.ctime_ns, WALL_TIME, seconds):
        assert remaining_seconds([(0, seen, written)], named=named, seconds=seconds) == 0
