"""What is paid for is what the user has at that moment, however long ago it was uploaded; and each version once."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import DubState
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox.config import Failure, Fault
from tests.dub_refs import seen
from tests.runner.conftest import Bench, MakeBench
from tests.runner.runner_in_loop import Working, only, states
from tests.runner.test_runner import REFUSED
from tests.waiting import until

FR, ES, DE = "fr-FR", "es-ES", "de-DE"
ONE: dict[str, Any] = {"targets": (FR,)}
SLOW: dict[str, Any] = {"processing_seconds": 3600.0}
"""The service looks at an upload until its clock is put forward."""

OLD, NEW = b"o" * 3000, b"n" * 3000


def edit(path: Path, content: bytes = NEW) -> None:
    """As a program does that saves the video again: same name, other content, another time."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before + 5_000_000_007, before + 5_000_000_007))


def paid(bench: Bench) -> Counter[tuple[bytes, str]]:
    """How often each content was paid for in each language."""
    sandbox = bench.sandbox
    made_from = {project: sandbox.source_file(known.asset).read_bytes() for project, known in sandbox.state.projects.items()}
    return Counter((made_from[project], language) for project, language in sandbox.billed())


async def add(runner: Runner, path: Path, *languages: str) -> None:
    batch = runner.settings.batch
    added = await runner.add([str(path)], replace(batch, targets=languages) if languages else batch)
    assert not added.refused and not added.troubles


@pytest.fixture
def bench(bench: Bench) -> Bench:
    video(bench)
    return bench


def video(bench: Bench) -> Path:
    path = bench.videos / "intro.mp4"
    if not path.exists():
        path.write_bytes(OLD)
    return path


@pytest.mark.parametrize("content", [NEW, NEW + b"longer"], ids=["same size", "other size"])
async def test_edited_while_the_service_looks_at_it(make_bench: MakeBench, content: bytes) -> None:
    bench = make_bench(**SLOW)
    async with Working(bench, **ONE) as runner:
        await add(runner, video(bench))
        await until(lambda: only(runner).asset is not None and only(runner).asset.uploaded)
        edit(video(bench), content)
        bench.sandbox.advance(3600)
        await until(lambda: bench.calls("POST /v2/assets") == 2 and only(runner).asset is not None)
        await until(lambda: only(runner).asset is not None and only(runner).asset.uploaded)
        bench.sandbox.advance(3600)
        await until(runner.idle.is_set)
        assert states(runner) == {FR: "done"}
        await add(runner, video(bench))
        await until(runner.idle.is_set)
    assert paid(bench) == {(content, FR): 1}


async def test_edited_while_the_batch_is_paused(make_bench: MakeBench) -> None:
    bench = make_bench(**SLOW)
    async with Working(bench, **ONE) as runner:
        await add(runner, video(bench))
        await until(lambda: only(runner).asset is not None and only(runner).asset.uploaded)
        await runner.pause(True)
        bench.sandbox.advance(3600)
        await until(lambda: only(runner).asset is not None and only(runner).asset.ready)
        edit(video(bench))
        await runner.pause(False)
        await until(lambda: bench.calls("POST /v2/assets") == 2)
        await until(lambda: only(runner).asset is not None and only(runner).asset.uploaded)
        bench.sandbox.advance(3600)
        await until(runner.idle.is_set)
    assert paid(bench) == {(NEW, FR): 1}


async def test_edited_while_there_are_no_credits(bench: Bench) -> None:
    bench.sandbox.inject(Fault("POST /v2/dubbing", "status", **REFUSED))
    async with Working(bench, **ONE) as runner:
        await add(runner, video(bench))
        await until(lambda: runner.refusal is not None)
        await until(runner.idle.is_set)
        edit(video(bench))
        bench.sandbox.clear_faults()
        await runner.pause(False)
        await until(runner.idle.is_set)
        assert states(runner) == {FR: "done"}
    assert paid(bench) == {(NEW, FR): 1}


async def test_edited_and_then_retried(make_bench: MakeBench) -> None:
    """The new version is paid for once; what was done of the old one stays, and is renewed when it is named."""
    bench = make_bench(failures=(Failure(languages=(ES,), times=1),))
    async with Working(bench) as runner:
        await add(runner, video(bench))
        await until(lambda: runner.idle.is_set() and states(runner) == {FR: "done", ES: "failed"})
        edit(video(bench))
        runner.retry(seen(runner.ledger.jobs, [Cell(only(runner).id, ES)]), paid=True)
        await until(lambda: runner.idle.is_set() and states(runner) == {FR: "done", ES: "done"})
        assert paid(bench) == {(OLD, FR): 1, (OLD, ES): 1, (NEW, ES): 1}
        await add(runner, video(bench), ES)
        assert runner.idle.is_set()
        await add(runner, video(bench))
        await until(lambda: runner.idle.is_set() and states(runner) == {FR: "done", ES: "done"})
        await add(runner, video(bench))
        assert runner.idle.is_set()
    assert paid(bench) == {(OLD, FR): 1, (OLD, ES): 1, (NEW, ES): 1, (NEW, FR): 1}


async def test_edited_between_two_languages(bench: Bench) -> None:
    async with Working(bench, **ONE) as runner:
        await add(runner, video(bench))
        await until(runner.idle.is_set)
        edit(video(bench))
        await runner.add_languages([only(runner).id], [ES])
        await until(lambda: runner.idle.is_set() and states(runner) == {FR: "done", ES: "done"})
        assert only(runner).dubs[FR].stale and not only(runner).dubs[ES].stale
        await runner.add_languages([only(runner).id], [FR, DE])
        await until(lambda: runner.idle.is_set() and only(runner).dubs[DE].state is DubState.DONE)
    assert paid(bench) == {(OLD, FR): 1, (NEW, ES): 1, (NEW, DE): 1}
    assert bench.calls("POST /v2/assets") == 2


async def test_a_time_without_a_change_uploads_nothing_again(bench: Bench) -> None:
    async with Working(bench, **ONE) as runner:
        await add(runner, video(bench))
        await until(runner.idle.is_set)
        edit(video(bench), OLD)
        await runner.add_languages([only(runner).id], [ES])
        await until(lambda: runner.idle.is_set() and states(runner) == {FR: "done", ES: "done"})
        assert only(runner).source.mtime_ns == video(bench).stat().st_mtime_ns
        await add(runner, video(bench), FR, ES)
        assert runner.idle.is_set()
    assert paid(bench) == {(OLD, FR): 1, (OLD, ES): 1}
    assert bench.calls("POST /v2/assets") == 1


async def test_a_source_that_was_deleted_after_its_upload_is_dubbed(bench: Bench) -> None:
    async with Working(bench, **ONE) as runner:
        await add(runner, video(bench))
        await until(runner.idle.is_set)
        video(bench).unlink()
        await runner.add_languages([only(runner).id], [ES])
        await until(lambda: runner.idle.is_set() and states(runner) == {FR: "done", ES: "done"})
    assert paid(bench) == {(OLD, FR): 1, (OLD, ES): 1}


async def test_a_source_that_was_emptied_is_not_paid_for(bench: Bench) -> None:
    async with Working(bench, **ONE) as runner:
        await add(runner, video(bench))
        await until(runner.idle.is_set)
        edit(video(bench), b"")
        await runner.add_languages([only(runner).id], [ES])
        await until(lambda: runner.idle.is_set() and states(runner) == {FR: "done", ES: "failed"})
        failure = only(runner).dubs[ES].failure
        assert failure is not None and failure.code == "source_empty"
    assert paid(bench) == {(OLD, FR): 1}
