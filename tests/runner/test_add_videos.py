"""Folders of any size: what is found is in the batch at once, and the search can be stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.ipc import protocol as p
from synthdub_tui.runner import runner as runner_module
from synthdub_tui.sources import scan as scan_module
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.runner.runner_in_loop import RunningRunner
from tests.runner.socket_client import connect_client
from tests.runner.test_runner import until
from tests.waiting import scale_timeout


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A folder whose third file is found only when the event is set."""
    go_on = threading.Event()
    monkeypatch.setattr(runner_module, "MAX_CHUNK_FILES", 2)

    def scan(*arguments: Any, **options: Any) -> Iterator[scan_module.FoundVideo | scan_module.SkippedPath]:
        for number, item in enumerate(scan_module.find_sources(*arguments, **options)):
            if number == 2:
                go_on.wait()
            yield item

    monkeypatch.setattr(runner_module, "find_sources", scan)
    yield go_on
    go_on.set()


def write_video_folder(bench: Workspace) -> Path:
    for name in ("a.mp4", "b.mp4", "c/d.mp4", "e.mp4"):
        bench.write_video(name)
    return bench.videos


async def test_what_is_found_is_worked_on_while_the_search_goes_on(workspace: Workspace, slow_disk: threading.Event) -> None:
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        adding = asyncio.create_task(runner.add([str(write_video_folder(workspace))], runner.settings.batch))
        await until(lambda: len(workspace.output_names()) == 6)  # two videos with their captions
        assert (len(runner.live_jobs.jobs), runner.adding, adding.done()) == (2, True, False)
        slow_disk.set()
        added = await adding
        assert (added.videos, added.stopped, runner.adding) == (4, False, False)
        await until(runner.idle.is_set)
        assert len(workspace.output_names()) == 12


async def test_a_search_is_stopped_by_its_client_and_what_was_found_stays(
    workspace: Workspace, slow_disk: threading.Event
) -> None:
    async with RunningRunner(workspace) as runner, connect_client(runner) as peer:
        peer.send(p.AddRequest(id=1, paths=(str(write_video_folder(workspace)),), batch=runner.settings.batch))
        await until(lambda: len(runner.live_jobs.jobs) == 2)
        peer.send(p.StatusRequest(id=2))
        assert (await peer.read_reply()).id == 2  # it is served meanwhile
        peer.send(p.StopAddingRequest(id=3))
        replies = {reply.id: reply for reply in (await peer.read_reply(), await peer.read_reply())}
        assert (replies[1].code, replies[1].result["new"], replies[1].result["stopped"]) == ("", 2, 1)
        assert (len(runner.live_jobs.jobs), runner.adding) == (2, False)


async def test_a_search_outlives_its_client_and_ends_with_its_runner(workspace: Workspace, slow_disk: threading.Event) -> None:
    async with RunningRunner(workspace) as runner:
        async with connect_client(runner) as peer:
            peer.send(p.AddRequest(id=1, paths=(str(write_video_folder(workspace)),), batch=runner.settings.batch))
            await until(lambda: len(runner.live_jobs.jobs) == 2)
        assert runner.adding
    assert len(workspace.jobs()) == 2


async def test_nothing_is_added_where_a_named_path_is_wrong(workspace: Workspace) -> None:
    async with RunningRunner(workspace) as runner:
        added = await runner.add(
            [str(write_video_folder(workspace)), str(workspace.videos / "none.mp4")], runner.settings.batch
        )
        assert ([trouble.code for trouble in added.path_problems], added.videos, runner.live_jobs.jobs) == (
            ["path_missing"],
            0,
            {},
        )


async def test_sigint_ends_a_search_and_the_same_command_goes_on(
    make_workspace: MakeWorkspace, slow_disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_workspace()
    videos = write_video_folder(bench)
    running = asyncio.create_task(bench.run(videos, targets=("fr-FR",)))
    await until(lambda: (bench.state / "jobs").is_dir() and len(bench.jobs()) == 2)
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(scale_timeout()):
        result = await running
    assert (result.exit_code, result.summary["jobs"], bench.count_calls("POST /v2/assets")) == (130, 2, 0)
    slow_disk.set()
    result = await bench.run(videos, targets=("fr-FR",))
    assert (result.exit_code, result.summary["done"]) == (0, 4)


async def test_a_thousand_files_are_added_once_each(workspace: Workspace) -> None:
    """More than are taken in before those before are on disk."""
    for number in range(1100):
        workspace.write_video(f"{number % 7}/{number}.mp4", 1)
    async with RunningRunner(workspace, targets=("fr-FR",), api_url="http://127.0.0.1:9") as runner:
        await runner.pause(True)
        added = await runner.add([str(workspace.videos)], runner.settings.batch)
        assert (added.videos, len(runner.live_jobs.jobs)) == (1100, 1100)
    assert len(workspace.jobs()) == 1100
