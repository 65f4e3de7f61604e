"""--force-new begins anew once for each time that it is meant."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from synthdub_tui.commands import headless_run as run_module
from synthdub_tui.commands.process_end import StopSignal
from synthdub_tui.runner.add_videos import AddResult
from synthdub_tui.sources.add_file import AddEffect
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.waiting import until

SECONDS_PER_HOUR = 3600.0


@pytest.fixture
def stop_requests(monkeypatch: pytest.MonkeyPatch) -> list[StopSignal]:
    """The wishes to end of the runs, to be made by the test as by a signal."""
    made: list[StopSignal] = []

    class Noted(StopSignal):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(run_module, "StopSignal", Noted)
    return made


async def interrupt_run(bench: Workspace, stops: list[StopSignal], billed: int, **options: Any) -> None:
    run = asyncio.create_task(bench.run(bench.videos, **options))
    await until(lambda: bench.billed_dubs == billed)
    await until(lambda: all(dub.project for job in bench.jobs() for dub in job.dubs.values()))
    stops[-1].got_signal = True
    stops[-1].request()
    assert (await run).exit_code == 130


async def test_force_new_that_was_interrupted_and_is_given_again_pays_once(
    make_workspace: MakeWorkspace, stop_requests: list[StopSignal]
) -> None:
    bench = make_workspace(dubbing_seconds=(SECONDS_PER_HOUR, SECONDS_PER_HOUR))
    bench.write_video("a.mp4")
    bench.write_video("b.mp4")
    await interrupt_run(bench, stop_requests, 4, force_new=True)
    bench.sandbox.advance(SECONDS_PER_HOUR)
    assert (await bench.run(bench.videos, force_new=True)).exit_code == 0
    assert bench.billed_dubs == 4


async def test_force_new_of_what_is_finished_begins_anew_each_time(workspace: Workspace) -> None:
    video = workspace.write_video("a.mp4")
    await workspace.run(video)
    await workspace.run(video, force_new=True)
    await workspace.run(video, force_new=True)
    assert workspace.billed_dubs == 6


def test_the_run_says_what_goes_on_from_an_earlier_force_new() -> None:
    added = AddResult()
    added.effects[AddEffect.UNFINISHED] = 2
    said = list(run_module._found_lines(added))
    assert "2 videos were started anew before and not finished: they go on, nothing is paid twice" in said
