"""How often the service is asked while it fails; and what is kept of its answers, no longer than somebody may need them."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest

from synthdub_tui.runner.poll_schedule import PollSchedule
from synthdub_tui.runner.poller import Poller
from synthdub_tui.synthesia.client import SynthesiaClient
from synthdub_tui.synthesia.rate_gate import Endpoint
from synthdub_tui.synthesia.schema import ProjectInfo, ProjectStatus
from tests.runner.conftest import Workspace
from tests.runner.runner_in_loop import RunningRunner, only_job
from tests.runner.test_runner import until
from tests.runner.test_state_machine import RunnerMachine


async def test_an_ended_job_leaves_no_answers_behind(workspace: Workspace) -> None:
    """Each holds signed addresses of every language; a runner that lives for weeks would gather them all."""
    async with RunningRunner(workspace) as runner:
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await until(runner.idle.is_set)
        (project,) = only_job(runner).projects
        assert workspace.count_calls("GET /v2/dubbing/{id}")
        assert runner._poller.latest(project) is None


def test_a_file_dubbed_anew_leaves_no_answers_behind() -> None:
    """Its worker may have no rest for weeks."""
    life = RunnerMachine()
    try:
        life.add("one", ["fr-FR", "de-DE"], True, False)
        life.loop.run_for(60)
        (project,) = life.runner._poller._latest
        life.add("one", ["fr-FR", "de-DE"], True, True)
        life.loop.run_for(60)
        assert life.runner._workers
        assert len(life.service.projects) == 2
        assert project not in life.runner._poller._latest
        life.answers_are_kept_of_projects_that_jobs_know()
    finally:
        life.teardown()


@pytest.mark.parametrize("asked_for", ["a watcher", "a download"])
async def test_an_answer_that_comes_when_all_is_over_is_not_kept(asked_for: str) -> None:
    poller = Poller(cast(SynthesiaClient, client := SlowClient()), PollSchedule(0.01), lambda trouble: None)
    polling = asyncio.create_task(poller.run())
    async with poller.watch_project("p1", "job", {}):
        if asked_for == "a download":
            asking = asyncio.create_task(poller.get_fresh_project("p1"))
        await client.request_arrived.wait()
    poller.forget("p1")
    client.may_answer.set()
    if asked_for == "a download":
        await asking
    await client.answered.wait()
    await asyncio.sleep(0)
    assert poller.latest("p1") is None
    assert not poller._kept_projects
    polling.cancel()


async def test_two_jobs_may_follow_one_project_and_the_second_hears_at_once_what_is_known() -> None:
    poller = Poller(cast(SynthesiaClient, client := SlowClient()), PollSchedule(0.01), lambda trouble: None)
    polling = asyncio.create_task(poller.run())
    async with poller.watch_project("p1", "one", {}) as first:
        client.may_answer.set()
        heard = await first()
        async with poller.watch_project("p1", "two", {}) as second:
            assert await second() is heard
            poller.set_awaited_dubs("p1", "two", {})
        poller.forget("p1")
        assert poller.latest("p1") is not None
    poller.forget("p1")
    assert poller.latest("p1") is None
    polling.cancel()


class SlowClient:
    """A service that takes its time."""

    def __init__(self) -> None:
        self.request_arrived, self.may_answer, self.answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def get_project(self, project: str, **_: Any) -> ProjectInfo:
        self.request_arrived.set()
        await self.may_answer.wait()
        self.answered.set()
        return ProjectInfo(ProjectStatus.COMPLETE, "", ())


FAILURE_COUNT = 9


def seconds_between_reads(endpoint: Endpoint) -> list[float]:
    """Seconds, of virtual time, between reads of which so many fail."""
    life = RunnerMachine()
    try:
        life.service.add_faults(endpoint.value, "500", FAILURE_COUNT)
        life.add("one", ["fr-FR"], False, False)
        life.loop.run_for(1800)
        return [later - earlier for earlier, later in pairwise(life.service.call_times[endpoint][: FAILURE_COUNT + 1])]
    finally:
        life.teardown()


@pytest.mark.parametrize("endpoint", [Endpoint.GET_ASSET, Endpoint.GET_DUBBING])
def test_reads_are_repeated_with_back_off_and_jitter(endpoint: Endpoint) -> None:
    """Twice as long each time, a minute at most; and never in step with others, where not the usual distance of polls rules."""
    some, others = seconds_between_reads(endpoint), seconds_between_reads(endpoint)
    assert len(some) == FAILURE_COUNT
    assert all(0.5 * min(60, 2**number) <= wait <= 70 for number, wait in enumerate(some))
    assert all(abs(one - other) > 0.001 for one, other in zip(some[4:], others[4:], strict=True))
