"""Batches on a volume of exFAT, as users have them on USB drives: sources, outputs and the state directory."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.errors import Trouble
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.sandbox.http_server import Request, Response
from synthdub_tui.settings.resolve import resolve
from tests.cli.conftest import MakeShell
from tests.cli.conftest import until as until_blocking
from tests.proofs.exfat_volume import Volume
from tests.proofs.sandbox_scene import Scene, flags, scene, until, working
from tests.soak.kill_points import SCENARIOS, Torture
from tests.waiting import finished

NO_LINKS = SCENARIOS[-1]
MakeVolume = Callable[..., Volume]
ONE: dict[str, Any] = {"targets": ("fr-FR",), "captions": False}


def codes(jobs: list[Any]) -> dict[str, str]:
    """How each dub ended, by the file's name; one language only."""
    return {job.name: dub.failure.code if dub.failure else dub.state.value for job in jobs for dub in job.dubs.values()}


def check_done(stage: Scene) -> None:
    """What is done is there, whole; other finished outputs and parts are not."""
    outputs = {dub.output.path: stage.content(job, lang) for job in stage.jobs for lang, dub in job.dubs.items() if dub.output}
    found = {path for job in stage.jobs for path in Path(job.outputs or Path(job.source.path).parent).glob("*.dubbed-*.mp4*")}
    assert {str(path): path.read_bytes() for path in found} == outputs


async def test_what_the_volume_is(volume: Volume) -> None:
    """What these tests count on; a volume of another kind would prove little."""
    (volume.path / "Name").write_bytes(b"x")
    assert (volume.path / "nAME").exists()
    assert not os.path.samefile(volume.path / "Name", volume.path / "nAME")
    with pytest.raises(PermissionError):
        os.link(volume.path / "Name", volume.path / "link")
    assert (volume.path / "Name").stat().st_mtime_ns % 1_000_000_000 == 0


# -- case ----------------------------------------------------------------------------------------------------------------


async def test_a_file_named_in_another_way_is_the_same_file(tmp_path: Path, volume: Volume) -> None:
    (volume.path / "Talks").mkdir()
    async with scene(tmp_path) as stage:
        video = stage.video("Talks/Überblick.MP4")
        await stage.add(video, **ONE)
        await stage.ended()
        await stage.add(stage.videos / "talks" / "überblick.mp4", **ONE)
        await stage.add(stage.videos / "TALKS", **ONE)
        await stage.ended()
        volume.unmount()
        volume.mount()  # times are the same again: it is no new version
        await stage.add(video, **ONE)
        await stage.ended()
        assert [job.source.path for job in stage.jobs] == [str(video)]
        assert (codes(stage.jobs), len(stage.sandbox.billed())) == ({"Überblick.MP4": "done"}, 1)


async def test_one_runner_of_a_state_directory_by_whatever_spelling(tmp_path: Path, volume: Volume) -> None:
    (volume.path / "State").mkdir()
    async with scene(tmp_path) as stage:
        named = [
            resolve(flags(stage.sandbox, tmp_path, {"state_dir": str(volume.path / name)}), {}) for name in ("State", "sTATE")
        ]
        first, second = map(Runner, named)
        first.open()
        with pytest.raises(Trouble, match="Another runner"):
            second.open()
        assert await first.stop()


@pytest.mark.parametrize("folder", ["", "Talks", "2026"], ids=["at the root", "in a folder", "in one without letters"])
async def test_two_sources_whose_outputs_differ_in_case_alone(tmp_path: Path, volume: Volume, folder: str) -> None:
    """The second is refused before anything is paid for it."""
    async with scene(tmp_path) as stage:
        stage.videos = volume.path / folder
        stage.videos.mkdir(exist_ok=True)
        await stage.add(stage.video("intro.mp4"), stage.video("INTRO.mov"))
        await stage.ended()
        assert sorted(dub.state.value for job in stage.jobs for dub in job.dubs.values()) == ["done"] * 2 + ["failed"] * 2
        assert {dub.failure.code for job in stage.jobs for dub in job.dubs.values() if dub.failure} == {"output_claimed"}
        assert len(stage.sandbox.billed()) == 2
        await stage.retry()
        assert len(stage.sandbox.billed()) == 2
        assert [name for name in os.listdir(stage.videos) if "synthdub" in name or name.endswith(".part")] == []
        check_done(stage)


async def test_the_same_from_folders_where_case_matters(tmp_path: Path, make_volume: MakeVolume) -> None:
    """What counts is where the outputs go, also if nothing is there yet."""
    volume = make_volume(tmp_path / "drive")
    async with scene(tmp_path) as stage:
        videos = stage.video("intro.mp4"), stage.video("INTRO.mp4")
        await stage.add(*videos, **ONE, output_dir=str(volume.path / "1"))
        await stage.ended()
        assert sorted(codes(stage.jobs).values()) == ["done", "output_claimed"]
        await stage.add(*videos, targets=("es-ES",), captions=False, output_dir=str(tmp_path / "1"))
        await stage.ended()
        await stage.retry()
        assert {dub.state.value for job in stage.jobs for dub in job.dubs.values()} == {"done"}
        assert len(stage.sandbox.billed()) == 4


async def test_names_that_the_volume_does_not_take(tmp_path: Path, make_volume: MakeVolume) -> None:
    """Seen before anything is paid for them; another folder mends it."""
    volume = make_volume(tmp_path / "drive")
    names = (
        "what?.mp4",
        "12:30.mp4",
        'the "end".mp4',
        "a*.mp4",
        "dot..mp4",
        " blank .mp4",
        "ü" * 110 + ".mp4",
        "x" * 235 + ".mp4",
    )
    async with scene(tmp_path) as stage:
        videos = [stage.video(name) for name in names]
        await stage.add(*videos, **ONE, output_dir=str(volume.path / "out"))
        await stage.ended()
        ends = list(codes(stage.jobs).values())
        assert ends == [*["name_refused"] * 4, *["done"] * 3, "name_too_long"]
        assert len(stage.sandbox.billed()) == 3
        await stage.add(*videos[:4], **ONE, output_dir=str(tmp_path / "out"))
        await stage.retry()
        assert set(list(codes(stage.jobs).values())[:4]) == {"done"}


# -- the state directory -------------------------------------------------------------------------------------------------


def test_a_state_directory_on_it(make_shell: MakeShell, make_volume: MakeVolume) -> None:
    """The socket lies elsewhere, since there can be none; commands find it, whoever was there first."""
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    shell.state = make_volume(shell.home / "drive").path / "State"
    shell.environment |= {"SYNTHDUB_STATE_DIR": str(shell.state), "TMPDIR": str(shell.home)}
    for start in (("run", "--targets", "fr-FR", str(shell.video("intro.mp4"))), ("runner",)):
        assert shell.status()["runner"] is None
        process = shell.start(*start, "--poll-interval", "0.1")
        until_blocking(lambda pid=process.pid: shell.state.exists() and shell.status()["runner"] == pid)
        for spelling in ("State", "sTATE"):
            again = shell.run(SYNTHDUB_STATE_DIR=str(shell.state.with_name(spelling)))
            assert again.code == 3, again
        assert shell.call("stop").code == 0
        process.wait(30)
    assert shell.call("cancel", "intro.mp4").code == 0
    assert shell.dubs() == {"fr-FR": "cancelled"}
    assert "Others on this machine can read" in shell.call("doctor").out


# -- times in whole seconds ------------------------------------------------------------------------------------------------


async def test_a_source_that_changes_in_the_second_of_its_time(tmp_path: Path, volume: Volume) -> None:
    """As long as a change may not show, nothing is sent of it; so what was sent of the old version is never dubbed."""
    async with scene(tmp_path) as stage:
        path = volume.path / "copied.mp4"
        content = [b"o" * 2000, b"n" * 2000]
        handler = stage.sandbox._s3._handler

        async def handle(request: Request) -> Response:
            response = await handler(request)
            if len(content) == 1:
                path.write_bytes(content.pop())
            return response

        stage.sandbox._s3._handler = handle
        while time.time() % 1 > 0.2:  # at its beginning, so that it lasts
            await asyncio.sleep(0.01)
        path.write_bytes(content.pop(0))
        await stage.add(path, **ONE)
        await stage.ended()
        assert codes(stage.jobs) == {"copied.mp4": "source_changed"}
        assert stage.sandbox.billed() == []
        await stage.retry()
        assert codes(stage.jobs) == {"copied.mp4": "done"}
        (asset,) = [job.asset for job in stage.jobs if job.asset]
        assert stage.sandbox.source_file(asset.id).read_bytes() == path.read_bytes()


# -- volumes that are full, or gone ----------------------------------------------------------------------------------------


async def test_full(tmp_path: Path, volume: Volume) -> None:
    """What is full says so, and goes on where it was when there is room."""
    async with scene(tmp_path, output_padding=3_000_000) as stage:
        videos = [stage.video(f"{number}.mp4") for number in range(3)]
        filler = volume.fill()
        await stage.add(videos[0], **ONE)
        await stage.ended()
        assert codes(stage.jobs) == {"0.mp4": "disk_full"}
        os.truncate(filler, filler.stat().st_size - 5_000_000)
        await stage.add(*videos, **ONE)
        await stage.retry()
        assert "disk_full" in codes(stage.jobs).values()
        filler.unlink()
        await stage.retry()
        assert set(codes(stage.jobs).values()) == {"done"}
        assert len(stage.sandbox.billed()) == 3
        check_done(stage)


@pytest.mark.parametrize("when", ["uploading", "downloading"])
async def test_unplugged(tmp_path: Path, volume: Volume, when: str) -> None:
    """It fails for free, with the reason, and a retry goes on when it is plugged in again."""
    async with scene(tmp_path, output_padding=2_000_000, bandwidth_up=3_000_000) as stage:
        if when == "downloading":
            stage.sandbox.inject(Fault("download", "slow", bytes_per_second=500_000))
        await stage.add(stage.video("intro.mp4", 9_000_000 if when == "uploading" else 2000), **ONE)
        await until(lambda: any(moving.done > 300_000 for moving in stage.runner.meters.transfers()))
        volume.yank()
        await stage.ended()
        assert codes(stage.jobs) == {"intro.mp4": "source_unreadable" if when == "uploading" else "output_unwritable"}
        await stage.retry()
        assert codes(stage.jobs) == {"intro.mp4": "source_unreadable" if when == "uploading" else "output_unmounted"}
        stage.sandbox.clear_faults()
        volume.unmount()
        volume.mount()
        await stage.retry()
        assert codes(stage.jobs) == {"intro.mp4": "done"}
        assert (len(stage.sandbox.billed()), stage.orphans) == (1, [])
        check_done(stage)


@pytest.mark.parametrize("where", ["", "out"], ids=["at its root", "in a folder that would be made"])
async def test_unmounted_while_dubs_are_under_way(tmp_path: Path, volume: Volume, where: str) -> None:
    """Nothing is written to what lies beneath, by this run or the next; mounted again, all comes for free."""
    async with scene(tmp_path, dubbing_seconds=(3600.0, 3600.0)) as stage:
        source = stage.video("intro.mp4")
        await stage.add(source, **ONE, output_dir=str(volume.path / where) if where else "")
        await until(stage.sandbox.billed)
        assert await stage.runner.stop()
        stage.stopped = True
        volume.unmount()
        stage.sandbox.advance(3600)
        async with working(stage.sandbox, tmp_path) as later:
            stage.runner = later
            await stage.ended()
            assert codes(stage.jobs) == {"intro.mp4": "output_unmounted"}
            assert os.listdir(volume.path) == []
            volume.mount()
            await stage.retry()
            assert codes(stage.jobs) == {"intro.mp4": "done"}
            assert len(stage.sandbox.billed()) == 1
            check_done(stage)


def test_the_state_directory_is_unplugged(make_shell: MakeShell, make_volume: MakeVolume) -> None:
    """Nothing is paid that cannot be noted; it is told, and ends when asked to."""
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    volume = make_volume(shell.home / "drive")
    shell.state = volume.path / "state"
    shell.environment |= {"SYNTHDUB_STATE_DIR": str(shell.state), "TMPDIR": str(shell.home)}
    process = shell.start("run", str(shell.video("intro.mp4")), "--targets", "fr-FR", "--poll-interval", "0.1")
    until_blocking(lambda: shell.state.exists() and shell.dubs() == {"fr-FR": "dubbing"})
    volume.yank()
    status = shell.call("status")
    assert status.code == 2
    assert "The state directory cannot be used" in status.err
    process.send_signal(signal.SIGTERM)
    _, errors = finished(process)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    volume.unmount()
    volume.mount()
    assert shell.dubs() == {"fr-FR": "dubbing"}


# -- kills -----------------------------------------------------------------------------------------------------------------


def test_killed_while_outputs_get_their_names(volume: Volume) -> None:
    """State, sources and outputs on the volume; `python -m tests.soak.kill_points --volume` kills at every step there."""
    torture = Torture(volume.path)
    try:
        points = [point for point in torture.points(NO_LINKS) if point.startswith(("open video", "replace video"))]
        taken = [point for point in points if ".part" not in point and "after" in point]
        assert len(taken) == 6
        outcomes = torture.kill_at(NO_LINKS, taken)
        assert [(outcome.point, outcome.wrong) for outcome in outcomes if outcome.wrong] == []
        assert all(outcome.reached for outcome in outcomes)
    finally:
        torture.close()
