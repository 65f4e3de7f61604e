"""What is paid for is what the user has at that moment, however long ago it was uploaded; and each version once."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import DubState
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox.config import Fault, SimulatedFailure
from tests.dub_refs import shown_dubs
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.runner.runner_in_loop import RunningRunner, only_job, only_job_states
from tests.runner.test_runner import NO_CREDITS_FAULT
from tests.waiting import until

FR, ES, DE = "fr-FR", "es-ES", "de-DE"
ONE_LANGUAGE: dict[str, Any] = {"targets": (FR,)}
SLOW_SANDBOX: dict[str, Any] = {"processing_seconds": 3600.0}
"""The service looks at an upload until its clock is put forward."""

OLD_CONTENT, NEW_CONTENT = b"o" * 3000, b"n" * 3000


def save_again(path: Path, content: bytes = NEW_CONTENT) -> None:
    """As a program does that saves the video again: same name, other content, another time."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before + 5_000_000_007, before + 5_000_000_007))


def count_payments(bench: Workspace) -> Counter[tuple[bytes, str]]:
    """How often each content was paid for in each language."""
    sandbox = bench.sandbox
    made_from = {project: sandbox.source_file(known.asset).read_bytes() for project, known in sandbox.state.projects.items()}
    return Counter((made_from[project], language) for project, language in sandbox.billed_dubs())


async def add_and_wait(runner: Runner, path: Path, *languages: str) -> None:
    batch = runner.settings.batch
    added = await runner.add([str(path)], replace(batch, targets=languages) if languages else batch)
    assert not added.path_problems and not added.problems


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    intro_video(workspace)
    return workspace


def intro_video(bench: Workspace) -> Path:
    path = bench.videos / "intro.mp4"
    if not path.exists():
        path.write_bytes(OLD_CONTENT)
    return path


@pytest.mark.parametrize("content", [NEW_CONTENT, NEW_CONTENT + b"longer"], ids=["same size", "other size"])
async def test_edited_while_the_service_looks_at_it(make_workspace: MakeWorkspace, content: bytes) -> None:
    bench = make_workspace(**SLOW_SANDBOX)
    async with RunningRunner(bench, **ONE_LANGUAGE) as runner:
        await add_and_wait(runner, intro_video(bench))
        await until(lambda: only_job(runner).asset is not None and only_job(runner).asset.uploaded)
        save_again(intro_video(bench), content)
        bench.sandbox.advance(3600)
        await until(lambda: bench.count_calls("POST /v2/assets") == 2 and only_job(runner).asset is not None)
        await until(lambda: only_job(runner).asset is not None and only_job(runner).asset.uploaded)
        bench.sandbox.advance(3600)
        await until(runner.idle.is_set)
        assert only_job_states(runner) == {FR: "done"}
        await add_and_wait(runner, intro_video(bench))
        await until(runner.idle.is_set)
    assert count_payments(bench) == {(content, FR): 1}


async def test_edited_while_the_batch_is_paused(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(**SLOW_SANDBOX)
    async with RunningRunner(bench, **ONE_LANGUAGE) as runner:
        await add_and_wait(runner, intro_video(bench))
        await until(lambda: only_job(runner).asset is not None and only_job(runner).asset.uploaded)
        await runner.pause(True)
        bench.sandbox.advance(3600)
        await until(lambda: only_job(runner).asset is not None and only_job(runner).asset.ready)
        save_again(intro_video(bench))
        await runner.pause(False)
        await until(lambda: bench.count_calls("POST /v2/assets") == 2)
        await until(lambda: only_job(runner).asset is not None and only_job(runner).asset.uploaded)
        bench.sandbox.advance(3600)
        await until(runner.idle.is_set)
    assert count_payments(bench) == {(NEW_CONTENT, FR): 1}


async def test_edited_while_there_are_no_credits(workspace: Workspace) -> None:
    workspace.sandbox.inject(Fault("POST /v2/dubbing", "status", **NO_CREDITS_FAULT))
    async with RunningRunner(workspace, **ONE_LANGUAGE) as runner:
        await add_and_wait(runner, intro_video(workspace))
        await until(lambda: runner.account_refusal is not None)
        await until(runner.idle.is_set)
        save_again(intro_video(workspace))
        workspace.sandbox.clear_faults()
        await runner.pause(False)
        await until(runner.idle.is_set)
        assert only_job_states(runner) == {FR: "done"}
    assert count_payments(workspace) == {(NEW_CONTENT, FR): 1}


async def test_edited_and_then_retried(make_workspace: MakeWorkspace) -> None:
    """The new version is paid for once; what was done of the old one stays, and is renewed when it is named."""
    bench = make_workspace(failures=(SimulatedFailure(languages=(ES,), times=1),))
    async with RunningRunner(bench) as runner:
        await add_and_wait(runner, intro_video(bench))
        await until(lambda: runner.idle.is_set() and only_job_states(runner) == {FR: "done", ES: "failed"})
        save_again(intro_video(bench))
        runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id, ES)]), allow_paid=True)
        await until(lambda: runner.idle.is_set() and only_job_states(runner) == {FR: "done", ES: "done"})
        assert count_payments(bench) == {(OLD_CONTENT, FR): 1, (OLD_CONTENT, ES): 1, (NEW_CONTENT, ES): 1}
        await add_and_wait(runner, intro_video(bench), ES)
        assert runner.idle.is_set()
        await add_and_wait(runner, intro_video(bench))
        await until(lambda: runner.idle.is_set() and only_job_states(runner) == {FR: "done", ES: "done"})
        await add_and_wait(runner, intro_video(bench))
        assert runner.idle.is_set()
    assert count_payments(bench) == {(OLD_CONTENT, FR): 1, (OLD_CONTENT, ES): 1, (NEW_CONTENT, ES): 1, (NEW_CONTENT, FR): 1}


async def test_edited_between_two_languages(workspace: Workspace) -> None:
    async with RunningRunner(workspace, **ONE_LANGUAGE) as runner:
        await add_and_wait(runner, intro_video(workspace))
        await until(runner.idle.is_set)
        save_again(intro_video(workspace))
        await runner.add_languages([only_job(runner).id], [ES])
        await until(lambda: runner.idle.is_set() and only_job_states(runner) == {FR: "done", ES: "done"})
        assert only_job(runner).dubs[FR].stale and not only_job(runner).dubs[ES].stale
        await runner.add_languages([only_job(runner).id], [FR, DE])
        await until(lambda: runner.idle.is_set() and only_job(runner).dubs[DE].state is DubState.DONE)
    assert count_payments(workspace) == {(OLD_CONTENT, FR): 1, (NEW_CONTENT, ES): 1, (NEW_CONTENT, DE): 1}
    assert workspace.count_calls("POST /v2/assets") == 2


async def test_a_time_without_a_change_uploads_nothing_again(workspace: Workspace) -> None:
    async with RunningRunner(workspace, **ONE_LANGUAGE) as runner:
        await add_and_wait(runner, intro_video(workspace))
        await until(runner.idle.is_set)
        save_again(intro_video(workspace), OLD_CONTENT)
        await runner.add_languages([only_job(runner).id], [ES])
        await until(lambda: runner.idle.is_set() and only_job_states(runner) == {FR: "done", ES: "done"})
        assert only_job(runner).source.mtime_ns == intro_video(workspace).stat().st_mtime_ns
        await add_and_wait(runner, intro_video(workspace), FR, ES)
        assert runner.idle.is_set()
    assert count_payments(workspace) == {(OLD_CONTENT, FR): 1, (OLD_CONTENT, ES): 1}
    assert workspace.count_calls("POST /v2/assets") == 1


async def test_a_source_that_was_deleted_after_its_upload_is_dubbed(workspace: Workspace) -> None:
    async with RunningRunner(workspace, **ONE_LANGUAGE) as runner:
        await add_and_wait(runner, intro_video(workspace))
        await until(runner.idle.is_set)
        intro_video(workspace).unlink()
        await runner.add_languages([only_job(runner).id], [ES])
        await until(lambda: runner.idle.is_set() and only_job_states(runner) == {FR: "done", ES: "done"})
    assert count_payments(workspace) == {(OLD_CONTENT, FR): 1, (OLD_CONTENT, ES): 1}


async def test_a_source_that_was_emptied_is_not_paid_for(workspace: Workspace) -> None:
    async with RunningRunner(workspace, **ONE_LANGUAGE) as runner:
        await add_and_wait(runner, intro_video(workspace))
        await until(runner.idle.is_set)
        save_again(intro_video(workspace), b"")
        await runner.add_languages([only_job(runner).id], [ES])
        await until(lambda: runner.idle.is_set() and only_job_states(runner) == {FR: "done", ES: "failed"})
        failure = only_job(runner).dubs[ES].failure
        assert failure is not None and failure.code == "source_empty"
    assert count_payments(workspace) == {(OLD_CONTENT, FR): 1}
