"""What the poller keeps: the last answer for as long as somebody may need its addresses, and no longer."""

from __future__ import annotations

from tests.runner.conftest import Bench
from tests.runner.test_runs import Working, only, until


async def test_an_ended_job_leaves_no_answers_behind(bench: Bench) -> None:
    """Each holds signed addresses of every language; a runner that lives for weeks would gather them all."""
    async with Working(bench) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(runner.idle.is_set)
        (project,) = only(runner).projects
        assert bench.calls("GET /v2/dubbing/{id}")
        assert runner._poller.latest(project) is None
