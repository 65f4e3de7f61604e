"""What is no video, or has no sound, is neither sent nor paid for; what cannot be read is sent with a warning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.jobs.transitions import source_changes
from synthdub_tui.runner import request_handlers
from synthdub_tui.sandbox.media import make_sources
from synthdub_tui.store.job_store import JobStore
from tests.dub_refs import shown_dubs
from tests.jobs.factories import DE, ES, FR, NOW, queued_job
from tests.runner.conftest import RunResult, Workspace
from tests.sources.media_files import make_media

SIGN_IN_PAGE = b"<!doctype html><title>Sign in</title>"


def write_video_without_sound(bench: Workspace, name: str = "intro.mp4") -> Path:
    return make_media(bench.videos / name, "mov" if name.endswith(".mov") else "mp4", picture="mpeg4")


def write_video_with_sound(bench: Workspace, name: str = "intro.mp4") -> Path:
    return make_media(bench.videos / name, "mp4", picture="mpeg4", sound="aac")


def replace_content(path: Path, content: bytes) -> Path:
    """Another content at another time, whatever the clock of the file system."""
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 5_000_000_000))
    return path


def retry_without_runner(bench: Workspace, *cells: tuple[str, str]) -> tuple[int, int]:
    """As `synthdub retry` does while no runner works. A cell is a file's name and a language, or none for all of them."""
    store = JobStore(str(bench.state))
    jobs = {job.id: job for job in store.load().jobs}
    ids = {job.name: job.id for job in jobs.values()}
    one_by_one = [DubRef(ids[name], language) for name, language in cells if language]
    bulk = [DubRef(ids[name], own) for name, language in cells if not language for own in jobs[ids[name]].dubs]
    chosen = request_handlers.plan_retries(jobs, one_by_one, bulk, lambda path: False)
    return request_handlers.retry(
        jobs, shown_dubs(jobs, chosen.without_asking + chosen.needs_consent), False, NOW, store.save, lambda path: False
    )[:2]


def failure_codes(result: RunResult) -> set[tuple[str, str, str]]:
    return {problem for problem in result.reported_problems() if problem[0]}


def assert_nothing_sent(bench: Workspace) -> None:
    assert (bench.count_calls("POST /v2/assets"), bench.count_calls("POST /v2/dubbing"), bench.billed_dubs) == (0, 0, 0)


@pytest.mark.parametrize("named", [True, False], ids=["named", "found in a folder"])
async def test_of_what_is_no_video_nothing_is_sent(workspace: Workspace, named: bool) -> None:
    path = workspace.write_video("intro.mp4")
    path.write_bytes(SIGN_IN_PAGE)
    result = await workspace.run(path if named else workspace.videos)
    assert (result.exit_code, result.states("intro.mp4")) == (1, {FR: "failed", ES: "failed"})
    assert failure_codes(result) == {("intro.mp4", FR, "not_a_video"), ("intro.mp4", ES, "not_a_video")}
    assert any(event.get("detail") == "it begins as a web page" for event in result.events)
    assert_nothing_sent(workspace)


@pytest.mark.parametrize("name", ["intro.mp4", "intro.mov"])
async def test_of_a_video_without_sound_nothing_is_sent(workspace: Workspace, name: str) -> None:
    result = await workspace.run(write_video_without_sound(workspace, name))
    assert (result.exit_code, result.states(name)) == (1, {FR: "failed", ES: "failed"})
    assert failure_codes(result) == {(name, FR, "no_audio"), (name, ES, "no_audio")}
    assert_nothing_sent(workspace)


async def test_the_others_go_on(workspace: Workspace) -> None:
    write_video_without_sound(workspace, "silent.mp4")
    write_video_with_sound(workspace, "loud.mp4")
    result = await workspace.run(workspace.videos)
    assert result.states("loud.mp4") == {FR: "done", ES: "done"}
    assert result.states("silent.mp4") == {FR: "failed", ES: "failed"}
    assert (result.exit_code, workspace.billed_dubs) == (1, 2)


async def test_the_retry_of_one_language_sends_that_one(workspace: Workspace) -> None:
    path = write_video_without_sound(workspace)
    await workspace.run(path)
    assert retry_without_runner(workspace, ("intro.mp4", FR)) == (1, 0)
    result = await workspace.run(path)
    assert (result.exit_code, result.states("intro.mp4"), workspace.billed_dubs) == (1, {FR: "done", ES: "failed"}, 1)


async def test_a_language_added_to_a_silent_video_is_not_sent_where_another_was(workspace: Workspace) -> None:
    path = write_video_without_sound(workspace)
    await workspace.run(path)
    retry_without_runner(workspace, ("intro.mp4", FR))
    await workspace.run(path)
    result = await workspace.run(path, targets=("de-DE",))
    assert (result.states("intro.mp4"), workspace.billed_dubs) == ({FR: "done", ES: "failed", DE: "failed"}, 1)
    assert failure_codes(result) == {("intro.mp4", DE, "no_audio")}
    assert retry_without_runner(workspace, ("intro.mp4", DE)) == (1, 0)
    result = await workspace.run(path)
    assert (result.states("intro.mp4")[DE], workspace.billed_dubs, workspace.count_calls("POST /v2/assets")) == ("done", 2, 1)


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(SIGN_IN_PAGE), lambda path: make_media(path, "mp4", picture="mpeg4")]
)
async def test_what_fails_again_as_it_is_is_not_retried_in_bulk(workspace: Workspace, make: Any) -> None:
    make(workspace.videos / "intro.mp4")
    first = await workspace.run(workspace.videos)
    jobs = {job.id: job for job in workspace.jobs()}
    assert request_handlers.find_free_retries(jobs) == ()
    assert (
        len(request_handlers.plan_retries(jobs, [], request_handlers.find_failed_dubs(jobs), lambda path: False).only_if_named)
        == 2
    )
    assert retry_without_runner(workspace, ("intro.mp4", "")) == (0, 0)
    again = await workspace.run(workspace.videos)
    assert (again.exit_code, again.jobs) == (1, first.jobs)
    assert_nothing_sent(workspace)


async def test_what_became_a_video_is_taken_up(workspace: Workspace) -> None:
    path = workspace.videos / "intro.mp4"
    path.write_bytes(SIGN_IN_PAGE)
    await workspace.run(path)
    replace_content(path, write_video_with_sound(workspace, "other.mov").read_bytes())
    assert len(request_handlers.find_free_retries({job.id: job for job in workspace.jobs()})) == 2
    result = await workspace.run()  # without naming it again
    assert (result.exit_code, result.states("intro.mp4"), workspace.billed_dubs) == (0, {FR: "done", ES: "done"}, 2)


async def test_another_silent_video_needs_another_agreement(workspace: Workspace) -> None:
    path = write_video_without_sound(workspace)
    await workspace.run(path)
    assert retry_without_runner(workspace, ("intro.mp4", FR)) == (1, 0)
    replace_content(path, make_media(workspace.videos / "other.mov", "mp4", picture="mpeg4", movflags="faststart").read_bytes())
    result = await workspace.run()
    assert result.states("intro.mp4") == {FR: "failed", ES: "failed"}
    assert_nothing_sent(workspace)


async def test_what_cannot_be_read_is_sent_with_one_warning(workspace: Workspace) -> None:
    result = await workspace.run(workspace.write_video("intro.mp4"))
    assert (result.exit_code, workspace.billed_dubs) == (0, 2)
    warnings = [event for event in result.events if event.get("code") == "header_unreadable"]
    assert [Path(event["file"]).name for event in warnings] == ["intro.mp4"]
    assert '"header_unreadable"' in (workspace.state / "log" / "synthdub.log").read_text()


async def test_the_videos_of_the_demo_are_dubbed_without_a_warning(workspace: Workspace) -> None:
    make_sources(workspace.videos, 3)
    result = await workspace.run(workspace.videos)
    assert (result.exit_code, workspace.billed_dubs) == (0, 6)
    assert [event for event in result.events if event["event"] == "problem"] == []


# -- agreements ----------------------------------------------------------------------------------------------------------


def failed_job(*targets: str, code: str = "no_audio") -> Job:
    return source_changes.fail_unsent_dubs(queued_job(*targets), code, "", NOW)


def test_a_retry_agrees_for_its_own_language_only() -> None:
    job = retry_module.retry_dub(failed_job(FR, ES), FR, NOW)
    assert (job.dubs[FR].state, job.dubs[FR].agreed, job.dubs[ES].agreed) == (DubState.WAITING, ("no_audio",), ())
    again = retry_module.retry_dub(source_changes.fail_unsent_dubs(job, "source_missing", "", NOW), FR, NOW)
    assert again.dubs[FR].agreed == ("no_audio",)


def test_a_retry_after_any_other_failure_agrees_to_nothing() -> None:
    assert retry_module.retry_dub(failed_job(FR, code="not_a_video"), FR, NOW).dubs[FR].agreed == ()
