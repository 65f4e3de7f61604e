"""The runner's clock, under a wall clock that somebody sets."""

from __future__ import annotations

import pytest

from synthdub_tui.jobs.model import Dub, DubState, Job, JobOptions, Source
from synthdub_tui.jobs.transitions import restart
from synthdub_tui.runner.clock import NonDecreasingClock


class FakeClocks:
    def __init__(self) -> None:
        self.wall, self.monotonic = 1_000_000.0, 50.0
        self.clock = NonDecreasingClock(lambda: self.wall, lambda: self.monotonic)

    def advance(self, seconds: float, *, wall: float | None = None) -> float:
        """What the clock says after so many seconds, in which the wall clock moved by `wall`."""
        self.monotonic += seconds
        self.wall += seconds if wall is None else wall
        return self.clock() - 1_000_000.0


def test_time_passes() -> None:
    machine = FakeClocks()
    assert machine.advance(10) == pytest.approx(10)


def test_a_clock_put_back_is_passed_over() -> None:
    machine = FakeClocks()
    assert machine.advance(10, wall=-3600) == pytest.approx(10)
    assert machine.advance(5) == pytest.approx(15)


def test_a_suspension_is_followed() -> None:
    machine = FakeClocks()
    assert machine.advance(1, wall=3600) == pytest.approx(3600)
    assert machine.advance(5) == pytest.approx(3605)


def test_a_clock_put_back_after_it_was_ahead() -> None:
    machine = FakeClocks()
    machine.advance(1, wall=3600)
    assert machine.advance(1, wall=-3599) == pytest.approx(3601)


def test_what_was_written_under_a_clock_ahead_lies_in_the_past_after_a_start() -> None:
    """Else the project is not asked about, nor the dub of unknown outcome settled, before the clock is there again."""
    now, ahead = 1_000_000.0, 1_000_000.0 + 3600
    dub = Dub(DubState.DUBBING, ahead, submitted=ahead, project="p", absent_since=ahead)
    job = Job("a", Source("/a.mp4", 1, 1, "video/mp4"), JobOptions("a"), ahead, {"fr-FR": dub})
    found = restart.resume_job(job, now).dubs["fr-FR"]
    assert (found.since, found.submitted, found.absent_since) == (now, now, now)


def test_what_was_written_in_the_past_stays() -> None:
    dub = Dub(DubState.DUBBING, 100.0, submitted=90.0, project="p")
    job = Job("a", Source("/a.mp4", 1, 1, "video/mp4"), JobOptions("a"), 80.0, {"fr-FR": dub})
    assert restart.resume_job(job, 200.0).dubs["fr-FR"] == dub
