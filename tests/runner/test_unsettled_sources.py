"""Files that are still being written are not sent before they are complete, and hold nothing else up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.errors import Trouble
from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import Job
from synthdub_tui.runner import unsettled_sources
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sources import write_probe as look_module
from synthdub_tui.sources.settle import Look
from tests.dub_refs import seen, unmarked
from tests.runner.conftest import QUICK, Bench
from tests.runner.runner_in_loop import Working, only, states_of
from tests.sources.test_write_probe import HOLDERS, holding
from tests.waiting import until

LONG = 3600.0
"""Seconds that no test lasts."""

ONE: dict[str, Any] = {"targets": ("fr-FR",)}


class Watched:
    """In place of looks: real ones, but the writers are on another computer, and our monotonic clock can be put forward."""

    def __init__(self) -> None:
        self.looks = 0
        self.ahead = 0.0

    def look_at(self, paths: Iterable[str]) -> dict[str, Look]:
        ahead = self.ahead
        found = {path: look._replace(written=False, now=look.now + ahead) for path, look in look_module.look_at(paths).items()}
        self.looks += 1
        return found

    async def another(self) -> None:
        seen = self.looks
        await until(lambda: self.looks > seen + 1, "another look at the files")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsettled_sources, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(unsettled_sources, "BUSY_PART", 1.0)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched()
    monkeypatch.setattr(unsettled_sources, "look_at", made.look_at)
    return made


def named(runner: Runner, name: str) -> Job:
    (job,) = [job for job in runner.ledger.jobs.values() if job.name == name]
    return job


def grow(path: Path, size: int = 1000) -> None:
    with path.open("ab") as file:
        file.write(b"+" * size)


async def add(runner: Runner, *paths: Path) -> None:
    added = await runner.add([str(path) for path in paths], runner.settings.batch)
    assert not added.refused and not added.troubles


async def test_a_recording_is_dubbed_once_and_whole_and_holds_nothing_up(bench: Bench) -> None:
    """With one slot for uploads, which the file that waits does not take."""
    recording, other = bench.video("rec.mp4", 200_000), bench.video("other.mp4")
    async with Working(bench, settle_seconds=0.1, max_uploads=1, **ONE) as runner:
        with holding(recording, HOLDERS["appending"]):
            await add(runner, bench.videos)
            await until(lambda: states_of(runner, named(runner, other.name).id) == {"fr-FR": "done"})
            await until(lambda: [job.name for job in runner.unsettled] == [recording.name])
            assert not runner.idle.is_set()
            grow(recording, 800_000)
            assert bench.billed == 1
        await until(runner.idle.is_set)
        assert states_of(runner, named(runner, recording.name).id) == {"fr-FR": "done"}
        assert named(runner, recording.name).source.size == recording.stat().st_size
        assert (bench.calls("POST /v2/assets"), bench.billed) == (2, 2)
        await add(runner, bench.videos)
        await until(runner.idle.is_set)
    assert bench.billed == 2


async def test_a_file_that_another_computer_writes_is_taken_once_it_stays_as_it_is(bench: Bench, watched: Watched) -> None:
    copy = bench.video("copy.mp4")
    async with Working(bench, settle_seconds=LONG, **ONE) as runner:
        await add(runner, bench.videos)
        for _ in range(3):
            grow(copy)
            await watched.another()
            watched.ahead += 3000
            await watched.another()
            assert only(runner).unsettled
        os.utime(copy, (1, 1))  # as a copying program does at last
        await watched.another()
        watched.ahead += 3000
        await watched.another()
        assert only(runner).unsettled and bench.calls("POST /v2/assets") == 0
        watched.ahead += 700
        await until(runner.idle.is_set)
        assert only(runner).source.size == copy.stat().st_size
    assert bench.billed == 1


async def test_a_file_that_was_named_waits_for_a_second_look_and_one_that_was_found_longer(bench: Bench) -> None:
    video, other = bench.video("one.mp4"), bench.video("folder/two.mp4")
    async with Working(bench, settle_seconds=LONG, **ONE) as runner:
        await add(runner, video, other.parent)
        await until(lambda: states_of(runner, named(runner, "one.mp4").id) == {"fr-FR": "done"})
        await until(lambda: [job.name for job in runner.unsettled] == ["two.mp4"])
        await add(runner, other)
        await until(runner.idle.is_set)
    assert bench.billed == 2


async def test_a_restart_looks_again(bench: Bench) -> None:
    video = bench.video("rec.mp4")
    with holding(video, HOLDERS["appending"]):
        async with Working(bench, settle_seconds=0.1, **ONE) as runner:
            await add(runner, bench.videos)
            await until(lambda: len(runner.unsettled) == 1)
        assert bench.jobs()[0].unsettled
        async with Working(bench, settle_seconds=0.1, **ONE) as runner:
            await until(lambda: len(runner.unsettled) == 1)
            grow(video)
    async with Working(bench, settle_seconds=0.1, **ONE) as runner:
        await until(runner.idle.is_set)
        assert not only(runner).unsettled and only(runner).source.size == video.stat().st_size
    assert bench.billed == 1


@pytest.mark.parametrize("code", ["source_missing", "source_empty"])
async def test_what_vanishes_or_becomes_empty_while_it_waits_fails_with_that_reason(bench: Bench, code: str) -> None:
    video = bench.video("rec.mp4")
    async with Working(bench, settle_seconds=LONG, **ONE) as runner:
        await add(runner, bench.videos)
        await until(lambda: len(runner.unsettled) == 1)
        video.unlink()
        if code == "source_empty":
            video.touch()
        await until(runner.idle.is_set)
        failure = only(runner).dubs["fr-FR"].failure
        assert failure is not None and failure.code == code
    assert bench.billed == 0


async def test_a_file_that_is_written_again_while_it_waits_in_line_has_to_come_to_rest_again(bench: Bench) -> None:
    video = bench.video("rec.mp4")
    async with Working(bench, settle_seconds=0.1, **ONE) as runner:
        await runner.pause(True)
        await add(runner, bench.videos)
        await until(lambda: not only(runner).unsettled)
        with holding(video, HOLDERS["appending"]):
            grow(video)
            await runner.pause(False)
            await until(lambda: len(runner.unsettled) == 1)
            grow(video)
            assert bench.calls("POST /v2/assets") == 0
        await until(runner.idle.is_set)
        assert only(runner).source.size == video.stat().st_size
    assert (bench.calls("POST /v2/assets"), bench.billed) == (1, 1)


async def test_a_file_that_grows_while_it_is_uploaded_is_uploaded_again_once_it_rests(bench: Bench) -> None:
    video = bench.video("rec.mp4")
    async with Working(bench, settle_seconds=0.1, **ONE) as runner:
        genuine = runner._shop.uploader.upload

        async def upload(*arguments: Any) -> str:
            if bench.calls("POST /v2/assets") > 1:
                return await genuine(*arguments)
            grow(video)
            raise Trouble("source_changed")

        runner._shop.uploader.upload = upload  # type: ignore[method-assign]
        await add(runner, bench.videos)
        await until(runner.idle.is_set)
        assert states_of(runner, only(runner).id) == {"fr-FR": "done"}
        assert only(runner).source.size == video.stat().st_size
    assert bench.billed == 1


async def test_what_waits_can_be_cancelled_and_wanted_again(bench: Bench) -> None:
    video = bench.video("rec.mp4")
    async with Working(bench, settle_seconds=0.1, **ONE) as runner:
        with holding(video, HOLDERS["appending"]):
            await add(runner, bench.videos)
            await until(lambda: len(runner.unsettled) == 1)
            runner.cancel(unmarked(runner.ledger.jobs, [Cell(only(runner).id, "fr-FR")]))
            await until(runner.idle.is_set)
            runner.retry(seen(runner.ledger.jobs, [Cell(only(runner).id, "fr-FR")]), paid=False)
            await until(lambda: len(runner.unsettled) == 1)
        await until(runner.idle.is_set)
        assert states_of(runner, only(runner).id) == {"fr-FR": "done"}


async def test_a_run_waits_a_while_for_files_that_are_being_written_and_says_so(bench: Bench) -> None:
    video, other = bench.video("rec.mp4"), bench.video("other.mp4")
    patience = replace(QUICK, rest=0.1)
    with holding(video, HOLDERS["appending"]):
        ended = await bench.run(bench.videos, patience=patience, settle_seconds=0.1, **ONE)
    assert ended.problems() == [("rec.mp4", "", "source_unsettled")]
    assert ended.code != 0
    assert (ended.states("rec.mp4"), ended.states(other.name)) == ({"fr-FR": "waiting"}, {"fr-FR": "done"})
    assert (await bench.run(bench.videos, settle_seconds=0.1, **ONE)).code == 0
    assert bench.billed == 2
