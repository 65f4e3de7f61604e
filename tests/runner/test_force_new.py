"""--force-new begins anew once for each time that it is meant."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from synthdub_tui.commands import run as run_module
from synthdub_tui.commands.process_end import _Stop
from synthdub_tui.runner.add_videos import Added
from synthdub_tui.sources.add_file import Effect
from tests.runner.conftest import Bench, MakeBench
from tests.waiting import until

HOUR = 3600.0


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[_Stop]:
    """The wishes to end of the runs, to be made by the test as by a signal."""
    made: list[_Stop] = []

    class Noted(_Stop):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(run_module, "_Stop", Noted)
    return made


async def interrupted(bench: Bench, stops: list[_Stop], billed: int, **options: Any) -> None:
    run = asyncio.create_task(bench.run(bench.videos, **options))
    await until(lambda: bench.billed == billed)
    await until(lambda: all(dub.project for job in bench.jobs() for dub in job.dubs.values()))
    stops[-1].signal = True
    stops[-1].request()
    assert (await run).code == 130


async def test_force_new_that_was_interrupted_and_is_given_again_pays_once(make_bench: MakeBench, stops: list[_Stop]) -> None:
    bench = make_bench(dubbing_seconds=(HOUR, HOUR))
    bench.video("a.mp4")
    bench.video("b.mp4")
    await interrupted(bench, stops, 4, force_new=True)
    bench.sandbox.advance(HOUR)
    assert (await bench.run(bench.videos, force_new=True)).code == 0
    assert bench.billed == 4


async def test_force_new_of_what_is_finished_begins_anew_each_time(bench: Bench) -> None:
    video = bench.video("a.mp4")
    await bench.run(video)
    await bench.run(video, force_new=True)
    await bench.run(video, force_new=True)
    assert bench.billed == 6


def test_the_run_says_what_goes_on_from_an_earlier_force_new() -> None:
    added = Added()
    added.effects[Effect.GOING_ON] = 2
    said = list(run_module._found(added))
    assert "2 videos were started anew before and not finished: they go on, nothing is paid twice" in said
