"""A library whose times became coarser, seen through another protocol or restored from a backup, costs nothing again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synthdub_tui.dashboard.output_file_check import state_of
from synthdub_tui.dashboard.output_rows import OutputRow
from synthdub_tui.runner.output_presence import THERE, present
from synthdub_tui.sources.digest import digest_of
from tests.runner.conftest import Bench

FINE = 1_795_410_723_274_186_359
SECOND = 1_000_000_000
CLOCKS = pytest.mark.parametrize(
    "step",
    [100, 1_000, 1_000_000, 10_000_000, SECOND, 2 * SECOND],
    ids=["NTFS, SMB", "microseconds", "milliseconds", "exFAT", "seconds", "FAT"],
)
ROUNDINGS = pytest.mark.parametrize("up", [False, True], ids=["cut", "rounded up"])


def coarsen(folder: Path, step: int, *, up: bool = False) -> None:
    """Sources, outputs and captions: all that the folder holds."""
    for path in folder.iterdir():
        time = path.stat().st_mtime_ns
        os.utime(path, ns=(time, -(-time // step) * step if up else time // step * step))


def renew_by_hand(path: Path) -> None:
    """The same size, another content, three seconds later."""
    time = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(time, time + 3 * SECOND))


def old(path: Path) -> Path:
    """With a time long past, or a coarse clock would have the upload wait for its next tick."""
    os.utime(path, ns=(FINE - 10**17, FINE - 10**17))
    return path


@CLOCKS
@ROUNDINGS
async def test_a_coarser_clock_pays_for_nothing_again(bench: Bench, step: int, up: bool) -> None:
    first = await bench.run(old(bench.video("intro.mp4")))
    billed, before = bench.billed, first.jobs["intro.mp4"].source
    coarsen(bench.videos, step, up=up)
    again = await bench.run(bench.videos)
    assert (again.code, again.problems(), bench.billed, bench.calls("POST /v2/assets")) == (0, [], billed, 1)
    assert again.jobs["intro.mp4"].source == before, "the finer time is kept, and the digest with it"
    for dub in again.jobs["intro.mp4"].dubs.values():
        assert dub.output is not None
        assert present(dub.output) == THERE
        assert state_of(OutputRow("", "", "", 0.0, dub.output, False)) == ""


@CLOCKS
async def test_a_language_more_after_it_uses_the_same_upload(bench: Bench, step: int) -> None:
    await bench.run(old(bench.video("intro.mp4")), targets=("fr-FR",))
    coarsen(bench.videos, step)
    again = await bench.run(bench.videos, targets=("fr-FR", "es-ES"))
    assert (again.code, bench.billed, bench.calls("POST /v2/assets")) == (0, 2, 1)


@CLOCKS
async def test_outputs_and_captions_of_a_coarser_clock_are_still_ours(bench: Bench, step: int) -> None:
    """Forced to be made again, they are replaced: only what is not ours would be in the way."""
    video = old(bench.video("intro.mp4"))
    await bench.run(video, targets=("fr-FR",))
    coarsen(bench.videos, step)
    again = await bench.run(video, targets=("fr-FR",), force_new=True)
    assert (again.code, again.problems(), bench.billed) == (0, [], 2)


async def test_a_clock_that_becomes_finer_pays_for_nothing_again(bench: Bench) -> None:
    video = old(bench.video("intro.mp4"))
    fine = video.stat().st_mtime_ns
    coarsen(bench.videos, 2 * SECOND)
    await bench.run(video)
    os.utime(video, ns=(fine, fine))
    again = await bench.run(video)
    assert (again.code, bench.calls("POST /v2/assets")) == (0, 1)
    assert again.jobs["intro.mp4"].source.mtime_ns == fine


async def test_an_edited_video_of_the_same_size_is_a_new_version(bench: Bench) -> None:
    video = old(bench.video("intro.mp4"))
    first = await bench.run(video, targets=("fr-FR",))
    renew_by_hand(video)
    again = await bench.run(video, targets=("fr-FR",))
    assert (again.code, bench.billed, bench.calls("POST /v2/assets")) == (0, 2, 2)
    assert again.jobs["intro.mp4"].source.digest != first.jobs["intro.mp4"].source.digest


@pytest.mark.parametrize("size", [2000, 9_000_000], ids=["one request", "multipart"])
async def test_the_digest_of_what_was_sent_is_stored_with_the_source(bench: Bench, size: int) -> None:
    video = bench.video("intro.mp4", size)
    source = (await bench.run(video, targets=("fr-FR",))).jobs["intro.mp4"].source
    assert source.digest == digest_of(str(video), size=source.size) != ""
