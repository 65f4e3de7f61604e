"""A library whose times became coarser, seen through another protocol or restored from a backup, costs nothing again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from synthdub_tui.dashboard.output_file_check import check_file
from synthdub_tui.dashboard.output_rows import OutputRow
from synthdub_tui.runner.output_presence import PRESENT, check_presence
from synthdub_tui.sources.digest import compute_digest
from tests.runner.conftest import Workspace

FINE_TIME_NS = 1_795_410_723_274_186_359
NS_PER_SECOND = 1_000_000_000
EACH_CLOCK_STEP = pytest.mark.parametrize(
    "step",
    [100, 1_000, 1_000_000, 10_000_000, NS_PER_SECOND, 2 * NS_PER_SECOND],
    ids=["NTFS, SMB", "microseconds", "milliseconds", "exFAT", "seconds", "FAT"],
)
EACH_ROUNDING = pytest.mark.parametrize("up", [False, True], ids=["cut", "rounded up"])


def round_file_times(folder: Path, step: int, *, up: bool = False) -> None:
    """Sources, outputs and captions: all that the folder holds."""
    for path in folder.iterdir():
        time = path.stat().st_mtime_ns
        os.utime(path, ns=(time, -(-time // step) * step if up else time // step * step))


def rewrite_later(path: Path) -> None:
    """The same size, another content, three seconds later."""
    time = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(time, time + 3 * NS_PER_SECOND))


def make_old(path: Path) -> Path:
    """With a time long past, or a coarse clock would have the upload wait for its next tick."""
    os.utime(path, ns=(FINE_TIME_NS - 10**17, FINE_TIME_NS - 10**17))
    return path


@EACH_CLOCK_STEP
@EACH_ROUNDING
async def test_a_coarser_clock_pays_for_nothing_again(workspace: Workspace, step: int, up: bool) -> None:
    first = await workspace.run(make_old(workspace.write_video("intro.mp4")))
    billed, before = workspace.billed_dubs, first.jobs["intro.mp4"].source
    round_file_times(workspace.videos, step, up=up)
    again = await workspace.run(workspace.videos)
    assert (again.exit_code, again.reported_problems(), workspace.billed_dubs, workspace.count_calls("POST /v2/assets")) == (
        0,
        [],
        billed,
        1,
    )
    assert again.jobs["intro.mp4"].source == before, "the finer time is kept, and the digest with it"
    for dub in again.jobs["intro.mp4"].dubs.values():
        assert dub.output is not None
        assert check_presence(dub.output) == PRESENT
        assert check_file(OutputRow("", "", "", 0.0, dub.output, False)) == ""


@EACH_CLOCK_STEP
async def test_a_language_more_after_it_uses_the_same_upload(workspace: Workspace, step: int) -> None:
    await workspace.run(make_old(workspace.write_video("intro.mp4")), targets=("fr-FR",))
    round_file_times(workspace.videos, step)
    again = await workspace.run(workspace.videos, targets=("fr-FR", "es-ES"))
    assert (again.exit_code, workspace.billed_dubs, workspace.count_calls("POST /v2/assets")) == (0, 2, 1)


@EACH_CLOCK_STEP
async def test_outputs_and_captions_of_a_coarser_clock_are_still_ours(workspace: Workspace, step: int) -> None:
    """Forced to be made again, they are replaced: only what is not ours would be in the way."""
    video = make_old(workspace.write_video("intro.mp4"))
    await workspace.run(video, targets=("fr-FR",))
    round_file_times(workspace.videos, step)
    again = await workspace.run(video, targets=("fr-FR",), force_new=True)
    assert (again.exit_code, again.reported_problems(), workspace.billed_dubs) == (0, [], 2)


async def test_a_clock_that_becomes_finer_pays_for_nothing_again(workspace: Workspace) -> None:
    video = make_old(workspace.write_video("intro.mp4"))
    fine = video.stat().st_mtime_ns
    round_file_times(workspace.videos, 2 * NS_PER_SECOND)
    await workspace.run(video)
    os.utime(video, ns=(fine, fine))
    again = await workspace.run(video)
    assert (again.exit_code, workspace.count_calls("POST /v2/assets")) == (0, 1)
    assert again.jobs["intro.mp4"].source.mtime_ns == fine


async def test_an_edited_video_of_the_same_size_is_a_new_version(workspace: Workspace) -> None:
    video = make_old(workspace.write_video("intro.mp4"))
    first = await workspace.run(video, targets=("fr-FR",))
    rewrite_later(video)
    again = await workspace.run(video, targets=("fr-FR",))
    assert (again.exit_code, workspace.billed_dubs, workspace.count_calls("POST /v2/assets")) == (0, 2, 2)
    assert again.jobs["intro.mp4"].source.digest != first.jobs["intro.mp4"].source.digest


@pytest.mark.parametrize("size", [2000, 9_000_000], ids=["one request", "multipart"])
async def test_the_digest_of_what_was_sent_is_stored_with_the_source(workspace: Workspace, size: int) -> None:
    video = workspace.write_video("intro.mp4", size)
    source = (await workspace.run(video, targets=("fr-FR",))).jobs["intro.mp4"].source
    assert source.digest == compute_digest(str(video), size=source.size) != ""
