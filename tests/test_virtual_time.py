"""The loop of virtual time itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from synthdub_tui.runner import clock as runner_clock
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.synthesia.rate_gate import TIERS, Endpoint, Priority, RateGate
from tests.virtual_time import START_EPOCH_SECONDS, StuckLoopError, VirtualLoop, virtual_time


def test_days_pass_at_once() -> None:
    async def a_day_of_calls() -> float:
        quota = RateGate(TIERS["creator"])
        for _ in range(1001):
            await quota.acquire(Endpoint.CREATE_DUBBING, Priority.SUBMISSION)
        quota.close()
        return asyncio.get_running_loop().time()

    with virtual_time() as clock, asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        assert runner.run(a_day_of_calls()) > 86_400  # 950 of the day's 1,000 are used
        assert runner_clock.now() == clock.wall() > START_EPOCH_SECONDS + 86_400
    assert runner_clock.now() == pytest.approx(time.time(), abs=60)


def test_blocking_work_takes_the_time_that_the_disk_does() -> None:
    with virtual_time() as clock, asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        clock.disk_seconds = lambda: 7.0
        assert runner.run(in_thread(sum, [1, 2])) == 3
        assert clock.now == 7.0
        with pytest.raises(ZeroDivisionError):
            runner.run(in_thread(divmod, 1, 0))


def test_waiting_for_nothing_is_found() -> None:
    with virtual_time() as clock:
        loop = VirtualLoop(clock)
        with pytest.raises(StuckLoopError):
            loop.run_until_complete(loop.create_future())
        loop.close()


def test_killed() -> None:
    """Nobody cleans up on the disk, and time goes on for the next process."""
    done = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await in_thread(done.append, "cleaned up")

    with virtual_time() as clock:
        loop = VirtualLoop(clock)
        task = loop.create_task(work())
        loop.run_for(10)
        loop.kill()
        assert not task.done()
        loop = VirtualLoop(clock)
        loop.run_for(7200)
        loop.close()
        assert (clock.now, done) == (7210, [])
