"""What a cancel leaves: no part of a download, whoever carries it out, and the word that it may be billed all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthdub_tui.commands import steer
from synthdub_tui.jobs.model import DubState
from synthdub_tui.problems import Trouble
from synthdub_tui.runner.protocol import Cell
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.settings import Settings, resolve
from synthdub_tui.transfer.part import holding
from tests.runner.conftest import Bench, MakeBench
from tests.runner.test_runs import Working, only
from tests.waiting import until


@pytest.fixture
def slow(make_bench: MakeBench) -> Bench:
    """A bench whose downloads take seconds."""
    return make_bench(output_padding=4_000_000, bandwidth_down=1_000_000)


def part_of(bench: Bench) -> Path:
    return bench.videos / "intro.dubbed-fr-FR.mp4.part"


def settings_of(bench: Bench) -> Settings:
    return resolve(bench.flags(), {"SYNTHESIA_API_KEY": bench.sandbox.api_key})


async def interrupted(bench: Bench) -> Path:
    """The part of a download whose runner ended."""
    part = part_of(bench)
    async with Working(bench, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: part.exists() and part.stat().st_size > 0)
    assert part.exists()
    return part


async def test_a_cancel_without_a_runner_removes_the_part(slow: Bench) -> None:
    part = await interrupted(slow)
    assert steer.cancel(settings_of(slow), ["intro.mp4"]) == 0
    assert not part.exists()
    assert slow.jobs()[0].dubs["fr-FR"].state is DubState.CANCELLED


async def test_a_part_that_another_process_downloads_is_left(slow: Bench) -> None:
    part = await interrupted(slow)
    async with holding(str(part)):
        steer.cancel(settings_of(slow), ["intro.mp4"])
    assert part.exists()


async def test_a_cancel_of_a_paused_download_removes_its_part(slow: Bench) -> None:
    part = await interrupted(slow)
    async with Working(slow) as runner:
        await runner.pause(True)
        runner.cancel([Cell(only(runner).id)])
        await until(lambda: runner.idle.is_set() and not part.exists())


async def test_a_cancel_where_the_key_was_rejected_meanwhile_removes_the_part(slow: Bench) -> None:
    """The dub is still said to be downloading, and nobody downloads it."""
    async with Working(slow, targets=("fr-FR",)) as runner:
        await runner.add([str(slow.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: part_of(slow).exists() and part_of(slow).stat().st_size > 0)
        runner._halt(Trouble("key_rejected"))
        await until(lambda: not runner._workers)
        assert only(runner).dubs["fr-FR"].state is DubState.DOWNLOADING
        runner.cancel([Cell(only(runner).id)])
        await until(lambda: not part_of(slow).exists())


async def test_a_cancel_between_two_rounds_of_a_download_leaves_no_part(bench: Bench) -> None:
    bench.sandbox.inject(Fault("download", "status", status=503))
    async with Working(bench, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: ("fr-FR" in {language for _, language in runner._shop.held_up}) and part_of(bench).exists())
        runner.cancel([Cell(only(runner).id)])
        await until(runner.idle.is_set)
        assert bench.outputs() == []
