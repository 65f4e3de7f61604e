"""How often the service is asked while it fails; and what is kept of its answers, no longer than somebody may need them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from synthdub_tui.synthesia.quota import Endpoint
from tests.runner.conftest import Bench
from tests.runner.test_machine import Life
from tests.runner.test_runs import Working, only, until


async def test_an_ended_job_leaves_no_answers_behind(bench: Bench) -> None:
    """Each holds signed addresses of every language; a runner that lives for weeks would gather them all."""
    async with Working(bench) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(runner.idle.is_set)
        (project,) = only(runner).projects
        assert bench.calls("GET /v2/dubbing/{id}")
        assert runner._poller.latest(project) is None


FAILURES = 9


def waits(endpoint: Endpoint) -> list[float]:
    """Seconds, of virtual time, between reads of which so many fail."""
    life = Life()
    try:
        life.service.strike(endpoint.value, "500", FAILURES)
        life.add("one", ["fr-FR"], False, False)
        life.loop.run_for(1800)
        return [later - earlier for earlier, later in pairwise(life.service.calls[endpoint][: FAILURES + 1])]
    finally:
        life.teardown()


@pytest.mark.parametrize("endpoint", [Endpoint.GET_ASSET, Endpoint.GET_DUBBING])
def test_reads_are_repeated_with_back_off_and_jitter(endpoint: Endpoint) -> None:
    """Twice as long each time, a minute at most; and never in step with others, where not the usual distance of polls rules."""
    some, others = waits(endpoint), waits(endpoint)
    assert len(some) == FAILURES
    assert all(0.5 * min(60, 2**number) <= wait <= 70 for number, wait in enumerate(some))
    assert all(abs(one - other) > 0.001 for one, other in zip(some[4:], others[4:], strict=True))
