"""When a file has come to rest, as a rule over looks at it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdub_tui.sources.settle import COARSE, NAMED, OPEN_LIMIT, Look, Quiet, Stamp, heed, remaining, suspect

WALL = 1_800_000_000.5
"""Seconds since the epoch; monotonic clocks begin at 0 here."""

SETTLE = 10.0
FINE = 123_456_789
"""Nanoseconds that show that the file system keeps them."""


def stamp(age: float, size: int = 1, *, ctime_age: float | None = None) -> Stamp:
    """Of a file that changed `age` seconds before the first look."""
    mtime, ctime = (int((WALL - each) * 1e9) // 1_000_000_000 * 1_000_000_000 + FINE for each in (age, ctime_age or age))
    return Stamp(size, mtime, ctime)


def waits(looks: list[tuple[float, Stamp, bool]], *, named: bool = False, seconds: float = SETTLE) -> float:
    """How long the file must still stay as it is after looks (when, what, written)."""
    quiet: Quiet | None = None
    left = 0.0
    for now, seen, written in looks:
        look = Look(seen, written, now, WALL + now)
        quiet = heed(quiet, look, named=named)
        left = remaining(quiet, look, seconds, named=named)
    return left


# -- found in a folder -----------------------------------------------------------------------------------------------


def test_what_was_found_and_is_old_is_taken_at_the_first_look() -> None:
    assert waits([(0, stamp(SETTLE + 1), False)]) == 0


def test_what_was_found_and_changed_just_now_is_taken_once_it_stayed_as_it_is() -> None:
    new = stamp(2)
    assert waits([(0, new, False)]) == pytest.approx(SETTLE - 2, abs=1)
    assert waits([(0, new, False), (9, new, False)]) == 0


def test_a_recording_that_grows_every_six_seconds_is_not_taken() -> None:
    grows = [(float(now), stamp(0, size=now // 6), False) for now in range(0, 600, 1)]
    assert all(waits(grows[: count + 1]) > 0 for count in range(0, len(grows), 37))


def test_a_copy_of_fixed_size_is_not_taken_as_long_as_its_time_moves() -> None:
    copying = [(float(now), stamp(-float(now)), False) for now in range(0, 60, 5)]
    assert waits(copying) > SETTLE - 1


def test_a_copy_that_gets_the_old_time_of_its_original_at_last_counts_from_then_on() -> None:
    copying, finished = stamp(0), stamp(86_400, ctime_age=-8)
    assert waits([(0, copying, False), (8, finished, False)]) == SETTLE
    assert waits([(0, stamp(86_400, ctime_age=0.1), False)]) > SETTLE - 2  # added when it was finished just now


def test_a_time_in_the_future_is_not_old_and_holds_nothing_up_for_longer() -> None:
    ahead = stamp(-3600)
    assert waits([(0, ahead, False)]) == SETTLE
    assert waits([(0, ahead, False), (SETTLE, ahead, False)]) == 0


def test_another_file_of_the_same_name_size_and_times_is_another_one() -> None:
    one, other = stamp(5), stamp(5)._replace(inode=2)
    assert waits([(0, one, False), (20, other, False)]) == SETTLE


@given(st.floats(-1e9, 1e9), st.floats(0, SETTLE - 0.01))
def test_a_clock_that_jumps_while_we_look_hastens_and_delays_nothing(jump: float, elapsed: float) -> None:
    new = stamp(0)
    quiet = heed(None, Look(new, False, 0, new.ctime_ns / 1e9), named=False)
    later = Look(new, False, elapsed, new.ctime_ns / 1e9 + jump)
    assert remaining(heed(quiet, later, named=False), later, SETTLE, named=False) == pytest.approx(SETTLE - elapsed)


# -- named, and open for writing ---------------------------------------------------------------------------------------


def test_what_was_named_waits_for_a_second_look_a_second_later() -> None:
    assert waits([(0, stamp(5), False)], named=True) == NAMED
    assert waits([(0, stamp(5), False), (1, stamp(5), False)], named=True) == 0
    assert waits([(0, stamp(5), False), (1, stamp(5, size=2), False)], named=True) == NAMED
    assert waits([(0, stamp(OPEN_LIMIT + 1), False)], named=True) == 0


@pytest.mark.parametrize("named", [True, False])
def test_a_pause_of_a_recording_is_not_its_end(named: bool) -> None:
    paused = stamp(0)
    assert waits([(0, paused, True), (30, paused, True)], named=named) > 0
    assert waits([(0, paused, True), (OPEN_LIMIT, paused, True)], named=named) == 0
    assert waits([(0, paused, True), (30, paused, True), (31, paused, False)], named=named) == 0


# -- coarse clocks, and off --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 1.0])
@pytest.mark.parametrize("named", [True, False])
def test_where_times_are_whole_seconds_a_change_is_given_time_to_show(seconds: float, named: bool) -> None:
    now = int(WALL) * 1_000_000_000
    coarse = Stamp(1, now, now)
    assert waits([(0, coarse, False)], named=named, seconds=seconds) > 0
    assert waits([(0, coarse, False), (COARSE, coarse, False)], named=named, seconds=seconds) == 0


@given(st.booleans(), st.booleans(), st.floats(-1e6, 1e6))
def test_off_takes_everything_at_once(named: bool, written: bool, age: float) -> None:
    assert waits([(0, stamp(age), written)], named=named, seconds=0) == 0
    assert not suspect(*stamp(age)[1:3], WALL, 0)


# -- in general --------------------------------------------------------------------------------------------------------

stamps = st.builds(stamp, st.floats(-20, 1e6), st.integers(1, 3), ctime_age=st.floats(-20, 1e6))
looks = st.lists(st.tuples(st.floats(0, 30), stamps, st.booleans()), min_size=1, max_size=12)


@given(looks, st.booleans(), st.floats(0.1, 60))
def test_whatever_was_seen_it_rests_once_nothing_changes_for_long_enough(
    seen: list[tuple[float, Stamp, bool]], named: bool, seconds: float
) -> None:
    now, story = 0.0, []
    for pause, each, written in seen:
        now += pause
        story.append((now, each, written))
    _, last, written = story[-1]
    left = waits(story, named=named, seconds=seconds)
    assert left <= max(seconds, OPEN_LIMIT if written else COARSE) + 1e-6
    assert waits([*story, (now + left + 1e-6, last, written)], named=named, seconds=seconds) == 0


@given(stamps, st.booleans(), st.booleans(), st.floats(0.1, 2000))
def test_what_raises_no_suspicion_would_be_taken_at_the_first_look(
    seen: Stamp, named: bool, written: bool, seconds: float
) -> None:
    if not suspect(seen.mtime_ns, seen.ctime_ns, WALL, seconds):
        assert waits([(0, seen, written)], named=named, seconds=seconds) == 0
