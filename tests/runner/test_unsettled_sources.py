"""Files that are still being written are not sent before they are complete, and hold nothing else up."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import Job
from synthdub_tui.runner import unsettled_sources
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sources import write_probe as look_module
from synthdub_tui.sources.settle import FileObservation
from tests.dub_refs import shown_dubs, shown_in_any_state
from tests.runner.conftest import FAST_BACKOFF, Workspace
from tests.runner.runner_in_loop import RunningRunner, job_states, only_job
from tests.sources.test_write_probe import WRITER_PROGRAMS, hold_file
from tests.waiting import until

LONG_SECONDS = 3600.0
"""Seconds that no test lasts."""

ONE_LANGUAGE: dict[str, Any] = {"targets": ("fr-FR",)}


class FakeObservations:
    """In place of looks: real ones, but the writers are on another computer, and our monotonic clock can be put forward."""

    def __init__(self) -> None:
        self.observation_count = 0
        self.seconds_ahead = 0.0

    def observe_files(self, paths: Iterable[str]) -> dict[str, FileObservation]:
        ahead = self.seconds_ahead
        found = {
            path: look._replace(is_open_for_writing=False, monotonic_time=look.monotonic_time + ahead)
            for path, look in look_module.observe_files(paths).items()
        }
        self.observation_count += 1
        return found

    async def wait_for_next(self) -> None:
        seen = self.observation_count
        await until(lambda: self.observation_count > seen + 1, "another look at the files")


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsettled_sources, "CHECK_INTERVAL_SECONDS", 0.02)
    monkeypatch.setattr(unsettled_sources, "MAX_BUSY_SHARE", 1.0)


@pytest.fixture
def observations(monkeypatch: pytest.MonkeyPatch) -> FakeObservations:
    made = FakeObservations()
    monkeypatch.setattr(unsettled_sources, "observe_files", made.observe_files)
    return made


def named(runner: Runner, name: str) -> Job:
    (job,) = [job for job in runner.live_jobs.jobs.values() if job.name == name]
    return job


def append_bytes(path: Path, size: int = 1000) -> None:
    with path.open("ab") as file:
        file.write(b"+" * size)


async def add_videos(runner: Runner, *paths: Path) -> None:
    added = await runner.add([str(path) for path in paths], runner.settings.batch)
    assert not added.path_problems and not added.problems


async def test_a_recording_is_dubbed_once_and_whole_and_holds_nothing_up(workspace: Workspace) -> None:
    """With one slot for uploads, which the file that waits does not take."""
    recording, other = workspace.write_video("rec.mp4", 200_000), workspace.write_video("other.mp4")
    async with RunningRunner(workspace, settle_seconds=0.1, max_uploads=1, **ONE_LANGUAGE) as runner:
        with hold_file(recording, WRITER_PROGRAMS["appending"]):
            await add_videos(runner, workspace.videos)
            await until(lambda: job_states(runner, named(runner, other.name).id) == {"fr-FR": "done"})
            await until(lambda: [job.name for job in runner.unsettled] == [recording.name])
            assert not runner.idle.is_set()
            append_bytes(recording, 800_000)
            assert workspace.billed_dubs == 1
        await until(runner.idle.is_set)
        assert job_states(runner, named(runner, recording.name).id) == {"fr-FR": "done"}
        assert named(runner, recording.name).source.size == recording.stat().st_size
        assert (workspace.count_calls("POST /v2/assets"), workspace.billed_dubs) == (2, 2)
        await add_videos(runner, workspace.videos)
        await until(runner.idle.is_set)
    assert workspace.billed_dubs == 2


async def test_a_file_that_another_computer_writes_is_taken_once_it_stays_as_it_is(
    workspace: Workspace, observations: FakeObservations
) -> None:
    copy = workspace.write_video("copy.mp4")
    async with RunningRunner(workspace, settle_seconds=LONG_SECONDS, **ONE_LANGUAGE) as runner:
        await add_videos(runner, workspace.videos)
        for _ in range(3):
            append_bytes(copy)
            await observations.wait_for_next()
            observations.seconds_ahead += 3000
            await observations.wait_for_next()
            assert only_job(runner).unsettled
        os.utime(copy, (1, 1))  # as a copying program does at last
        await observations.wait_for_next()
        observations.seconds_ahead += 3000
        await observations.wait_for_next()
        assert only_job(runner).unsettled and workspace.count_calls("POST /v2/assets") == 0
        observations.seconds_ahead += 700
        await until(runner.idle.is_set)
        assert only_job(runner).source.size == copy.stat().st_size
    assert workspace.billed_dubs == 1


async def test_a_file_that_was_named_waits_for_a_second_look_and_one_that_was_found_longer(workspace: Workspace) -> None:
    video, other = workspace.write_video("one.mp4"), workspace.write_video("folder/two.mp4")
    async with RunningRunner(workspace, settle_seconds=LONG_SECONDS, **ONE_LANGUAGE) as runner:
        await add_videos(runner, video, other.parent)
        await until(lambda: job_states(runner, named(runner, "one.mp4").id) == {"fr-FR": "done"})
        await until(lambda: [job.name for job in runner.unsettled] == ["two.mp4"])
        await add_videos(runner, other)
        await until(runner.idle.is_set)
    assert workspace.billed_dubs == 2


async def test_a_restart_looks_again(workspace: Workspace) -> None:
    video = workspace.write_video("rec.mp4")
    with hold_file(video, WRITER_PROGRAMS["appending"]):
        async with RunningRunner(workspace, settle_seconds=0.1, **ONE_LANGUAGE) as runner:
            await add_videos(runner, workspace.videos)
            await until(lambda: len(runner.unsettled) == 1)
        assert workspace.jobs()[0].unsettled
        async with RunningRunner(workspace, settle_seconds=0.1, **ONE_LANGUAGE) as runner:
            await until(lambda: len(runner.unsettled) == 1)
            append_bytes(video)
    async with RunningRunner(workspace, settle_seconds=0.1, **ONE_LANGUAGE) as runner:
        await until(runner.idle.is_set)
        assert not only_job(runner).unsettled and only_job(runner).source.size == video.stat().st_size
    assert workspace.billed_dubs == 1


@pytest.mark.parametrize("code", ["source_missing", "source_empty"])
async def test_what_vanishes_or_becomes_empty_while_it_waits_fails_with_that_reason(workspace: Workspace, code: str) -> None:
    video = workspace.write_video("rec.mp4")
    async with RunningRunner(workspace, settle_seconds=LONG_SECONDS, **ONE_LANGUAGE) as runner:
        await add_videos(runner, workspace.videos)
        await until(lambda: len(runner.unsettled) == 1)
        video.unlink()
        if code == "source_empty":
            video.touch()
        await until(runner.idle.is_set)
        failure = only_job(runner).dubs["fr-FR"].failure
        assert failure is not None and failure.code == code
    assert workspace.billed_dubs == 0


async def test_a_file_that_is_written_again_while_it_waits_in_line_has_to_come_to_rest_again(workspace: Workspace) -> None:
    video = workspace.write_video("rec.mp4")
    async with RunningRunner(workspace, settle_seconds=0.1, **ONE_LANGUAGE) as runner:
        await runner.pause(True)
        await add_videos(runner, workspace.videos)
        await until(lambda: not only_job(runner).unsettled)
        with hold_file(video, WRITER_PROGRAMS["appending"]):
            append_bytes(video)
            await runner.pause(False)
            await until(lambda: len(runner.unsettled) == 1)
            append_bytes(video)
            assert workspace.count_calls("POST /v2/assets") == 0
        await until(runner.idle.is_set)
        assert only_job(runner).source.size == video.stat().st_size
    assert (workspace.count_calls("POST /v2/assets"), workspace.billed_dubs) == (1, 1)


async def test_a_file_that_grows_while_it_is_uploaded_is_uploaded_again_once_it_rests(workspace: Workspace) -> None:
    video = workspace.write_video("rec.mp4")
    async with RunningRunner(workspace, settle_seconds=0.1, **ONE_LANGUAGE) as runner:
        genuine = runner._context.uploader.upload

        async def upload(*arguments: Any) -> str:
            if workspace.count_calls("POST /v2/assets") > 1:
                return await genuine(*arguments)
            append_bytes(video)
            raise ProblemError("source_changed")

        runner._context.uploader.upload = upload  # type: ignore[method-assign]
        await add_videos(runner, workspace.videos)
        await until(runner.idle.is_set)
        assert job_states(runner, only_job(runner).id) == {"fr-FR": "done"}
        assert only_job(runner).source.size == video.stat().st_size
    assert workspace.billed_dubs == 1


async def test_what_waits_can_be_cancelled_and_wanted_again(workspace: Workspace) -> None:
    video = workspace.write_video("rec.mp4")
    async with RunningRunner(workspace, settle_seconds=0.1, **ONE_LANGUAGE) as runner:
        with hold_file(video, WRITER_PROGRAMS["appending"]):
            await add_videos(runner, workspace.videos)
            await until(lambda: len(runner.unsettled) == 1)
            runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id, "fr-FR")]))
            await until(runner.idle.is_set)
            runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id, "fr-FR")]), allow_paid=False)
            await until(lambda: len(runner.unsettled) == 1)
        await until(runner.idle.is_set)
        assert job_states(runner, only_job(runner).id) == {"fr-FR": "done"}


async def test_a_run_waits_a_while_for_files_that_are_being_written_and_says_so(workspace: Workspace) -> None:
    video, other = workspace.write_video("rec.mp4"), workspace.write_video("other.mp4")
    patience = replace(FAST_BACKOFF, unsettled_timeout=0.1)
    with hold_file(video, WRITER_PROGRAMS["appending"]):
        ended = await workspace.run(workspace.videos, backoff=patience, settle_seconds=0.1, **ONE_LANGUAGE)
    assert ended.reported_problems() == [("rec.mp4", "", "source_unsettled")]
    assert ended.exit_code != 0
    assert (ended.states("rec.mp4"), ended.states(other.name)) == ({"fr-FR": "waiting"}, {"fr-FR": "done"})
    assert (await workspace.run(workspace.videos, settle_seconds=0.1, **ONE_LANGUAGE)).exit_code == 0
    assert workspace.billed_dubs == 2
