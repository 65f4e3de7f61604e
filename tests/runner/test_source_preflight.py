"""What is no video, or has no sound, is neither sent nor paid for; what cannot be read is sent with a warning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.jobs.transitions import source_changes
from synthdub_tui.runner import request_handlers
from synthdub_tui.sandbox.media import make_sources
from synthdub_tui.store.job_store import Store
from tests.dub_refs import seen
from tests.jobs.factories import DE, ES, FR, NOW, queued
from tests.runner.conftest import Bench, Result
from tests.sources.media_files import media

PAGE = b"<!doctype html><title>Sign in</title>"


def silent(bench: Bench, name: str = "intro.mp4") -> Path:
    return media(bench.videos / name, "mov" if name.endswith(".mov") else "mp4", picture="mpeg4")


def loud(bench: Bench, name: str = "intro.mp4") -> Path:
    return media(bench.videos / name, "mp4", picture="mpeg4", sound="aac")


def replaced(path: Path, content: bytes) -> Path:
    """Another content at another time, whatever the clock of the file system."""
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 5_000_000_000))
    return path


def retry(bench: Bench, *cells: tuple[str, str]) -> tuple[int, int]:
    """As `synthdub retry` does while no runner works. A cell is a file's name and a language, or none for all of them."""
    store = Store(str(bench.state))
    jobs = {job.id: job for job in store.load().jobs}
    ids = {job.name: job.id for job in jobs.values()}
    one_by_one = [Cell(ids[name], language) for name, language in cells if language]
    bulk = [Cell(ids[name], own) for name, language in cells if not language for own in jobs[ids[name]].dubs]
    chosen = request_handlers.choose(jobs, one_by_one, bulk, lambda path: False)
    return request_handlers.retry(jobs, seen(jobs, chosen.at_once + chosen.to_ask), False, NOW, store.save, lambda path: False)[
        :2
    ]


def codes(result: Result) -> set[tuple[str, str, str]]:
    return {problem for problem in result.problems() if problem[0]}


def assert_nothing_sent(bench: Bench) -> None:
    assert (bench.calls("POST /v2/assets"), bench.calls("POST /v2/dubbing"), bench.billed) == (0, 0, 0)


@pytest.mark.parametrize("named", [True, False], ids=["named", "found in a folder"])
async def test_of_what_is_no_video_nothing_is_sent(bench: Bench, named: bool) -> None:
    path = bench.video("intro.mp4")
    path.write_bytes(PAGE)
    result = await bench.run(path if named else bench.videos)
    assert (result.code, result.states("intro.mp4")) == (1, {FR: "failed", ES: "failed"})
    assert codes(result) == {("intro.mp4", FR, "not_a_video"), ("intro.mp4", ES, "not_a_video")}
    assert any(event.get("detail") == "it begins as a web page" for event in result.events)
    assert_nothing_sent(bench)


@pytest.mark.parametrize("name", ["intro.mp4", "intro.mov"])
async def test_of_a_video_without_sound_nothing_is_sent(bench: Bench, name: str) -> None:
    result = await bench.run(silent(bench, name))
    assert (result.code, result.states(name)) == (1, {FR: "failed", ES: "failed"})
    assert codes(result) == {(name, FR, "no_audio"), (name, ES, "no_audio")}
    assert_nothing_sent(bench)


async def test_the_others_go_on(bench: Bench) -> None:
    silent(bench, "silent.mp4")
    loud(bench, "loud.mp4")
    result = await bench.run(bench.videos)
    assert result.states("loud.mp4") == {FR: "done", ES: "done"}
    assert result.states("silent.mp4") == {FR: "failed", ES: "failed"}
    assert (result.code, bench.billed) == (1, 2)


async def test_the_retry_of_one_language_sends_that_one(bench: Bench) -> None:
    path = silent(bench)
    await bench.run(path)
    assert retry(bench, ("intro.mp4", FR)) == (1, 0)
    result = await bench.run(path)
    assert (result.code, result.states("intro.mp4"), bench.billed) == (1, {FR: "done", ES: "failed"}, 1)


async def test_a_language_added_to_a_silent_video_is_not_sent_where_another_was(bench: Bench) -> None:
    path = silent(bench)
    await bench.run(path)
    retry(bench, ("intro.mp4", FR))
    await bench.run(path)
    result = await bench.run(path, targets=("de-DE",))
    assert (result.states("intro.mp4"), bench.billed) == ({FR: "done", ES: "failed", DE: "failed"}, 1)
    assert codes(result) == {("intro.mp4", DE, "no_audio")}
    assert retry(bench, ("intro.mp4", DE)) == (1, 0)
    result = await bench.run(path)
    assert (result.states("intro.mp4")[DE], bench.billed, bench.calls("POST /v2/assets")) == ("done", 2, 1)


@pytest.mark.parametrize("make", [lambda path: path.write_bytes(PAGE), lambda path: media(path, "mp4", picture="mpeg4")])
async def test_what_fails_again_as_it_is_is_not_retried_in_bulk(bench: Bench, make: Any) -> None:
    make(bench.videos / "intro.mp4")
    first = await bench.run(bench.videos)
    jobs = {job.id: job for job in bench.jobs()}
    assert request_handlers.free_cells(jobs) == ()
    assert len(request_handlers.choose(jobs, [], request_handlers.failed_cells(jobs), lambda path: False).left_out) == 2
    assert retry(bench, ("intro.mp4", "")) == (0, 0)
    again = await bench.run(bench.videos)
    assert (again.code, again.jobs) == (1, first.jobs)
    assert_nothing_sent(bench)


async def test_what_became_a_video_is_taken_up(bench: Bench) -> None:
    path = bench.videos / "intro.mp4"
    path.write_bytes(PAGE)
    await bench.run(path)
    replaced(path, loud(bench, "other.mov").read_bytes())
    assert len(request_handlers.free_cells({job.id: job for job in bench.jobs()})) == 2
    result = await bench.run()  # without naming it again
    assert (result.code, result.states("intro.mp4"), bench.billed) == (0, {FR: "done", ES: "done"}, 2)


async def test_another_silent_video_needs_another_agreement(bench: Bench) -> None:
    path = silent(bench)
    await bench.run(path)
    assert retry(bench, ("intro.mp4", FR)) == (1, 0)
    replaced(path, media(bench.videos / "other.mov", "mp4", picture="mpeg4", movflags="faststart").read_bytes())
    result = await bench.run()
    assert result.states("intro.mp4") == {FR: "failed", ES: "failed"}
    assert_nothing_sent(bench)


async def test_what_cannot_be_read_is_sent_with_one_warning(bench: Bench) -> None:
    result = await bench.run(bench.video("intro.mp4"))
    assert (result.code, bench.billed) == (0, 2)
    warnings = [event for event in result.events if event.get("code") == "header_unreadable"]
    assert [Path(event["file"]).name for event in warnings] == ["intro.mp4"]
    assert '"header_unreadable"' in (bench.state / "log" / "synthdub.log").read_text()


async def test_the_videos_of_the_demo_are_dubbed_without_a_warning(bench: Bench) -> None:
    make_sources(bench.videos, 3)
    result = await bench.run(bench.videos)
    assert (result.code, bench.billed) == (0, 6)
    assert [event for event in result.events if event["event"] == "problem"] == []


# -- agreements ----------------------------------------------------------------------------------------------------------


def failed(*targets: str, code: str = "no_audio") -> Job:
    return source_changes.source_failed(queued(*targets), code, "", NOW)


def test_a_retry_agrees_for_its_own_language_only() -> None:
    job = retry_module.retried(failed(FR, ES), FR, NOW)
    assert (job.dubs[FR].state, job.dubs[FR].agreed, job.dubs[ES].agreed) == (DubState.WAITING, ("no_audio",), ())
    again = retry_module.retried(source_changes.source_failed(job, "source_missing", "", NOW), FR, NOW)
    assert again.dubs[FR].agreed == ("no_audio",)


def test_a_retry_after_any_other_failure_agrees_to_nothing() -> None:
    assert retry_module.retried(failed(FR, code="not_a_video"), FR, NOW).dubs[FR].agreed == ()
