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

from synthdub_tui.errors import ProblemError
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.sandbox.http_server import Request, Response
from synthdub_tui.settings.resolve import resolve_settings
from tests.cli.conftest import MakeShell
from tests.cli.conftest import until as until_blocking
from tests.proofs.exfat_volume import ExfatVolume
from tests.proofs.sandbox_scene import RunningBatch, running_batch, running_runner, settings_flags, until
from tests.soak.kill_points import SCENARIOS, KillHarness
from tests.waiting import wait_for_output

NO_LINKS_SCENARIO = SCENARIOS[-1]
MakeVolume = Callable[..., ExfatVolume]
ONE_LANGUAGE: dict[str, Any] = {"targets": ("fr-FR",), "captions": False}


def failure_codes(jobs: list[Any]) -> dict[str, str]:
    """How each dub ended, by the file's name; one language only."""
    return {job.name: dub.failure.code if dub.failure else dub.state.value for job in jobs for dub in job.dubs.values()}


def check_done_outputs(stage: RunningBatch) -> None:
    """What is done is there, whole; other finished outputs and parts are not."""
    outputs = {
        dub.output.path: stage.expected_content(job, lang) for job in stage.jobs for lang, dub in job.dubs.items() if dub.output
    }
    found = {path for job in stage.jobs for path in Path(job.outputs or Path(job.source.path).parent).glob("*.dubbed-*.mp4*")}
    assert {str(path): path.read_bytes() for path in found} == outputs


async def test_the_volume_is_exfat(videos_volume: ExfatVolume) -> None:
    """What these tests count on; a volume of another kind would prove little."""
    (videos_volume.path / "Name").write_bytes(b"x")
    assert (videos_volume.path / "nAME").exists()
    assert not os.path.samefile(videos_volume.path / "Name", videos_volume.path / "nAME")
    with pytest.raises(PermissionError):
        os.link(videos_volume.path / "Name", videos_volume.path / "link")
    assert (videos_volume.path / "Name").stat().st_mtime_ns % 1_000_000_000 == 0


# -- case ----------------------------------------------------------------------------------------------------------------


async def test_a_path_in_other_case_is_the_same_file(tmp_path: Path, videos_volume: ExfatVolume) -> None:
    (videos_volume.path / "Talks").mkdir()
    async with running_batch(tmp_path) as stage:
        video = stage.write_video("Talks/Überblick.MP4")
        await stage.add_videos(video, **ONE_LANGUAGE)
        await stage.wait_until_idle()
        await stage.add_videos(stage.videos / "talks" / "überblick.mp4", **ONE_LANGUAGE)
        await stage.add_videos(stage.videos / "TALKS", **ONE_LANGUAGE)
        await stage.wait_until_idle()
        videos_volume.detach()
        videos_volume.mount()  # times are the same again: it is no new version
        await stage.add_videos(video, **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert [job.source.path for job in stage.jobs] == [str(video)]
        assert (failure_codes(stage.jobs), len(stage.sandbox.billed_dubs())) == ({"Überblick.MP4": "done"}, 1)


async def test_one_runner_per_state_directory_in_any_spelling(tmp_path: Path, videos_volume: ExfatVolume) -> None:
    (videos_volume.path / "State").mkdir()
    async with running_batch(tmp_path) as stage:
        named = [
            resolve_settings(settings_flags(stage.sandbox, tmp_path, {"state_dir": str(videos_volume.path / name)}), {})
            for name in ("State", "sTATE")
        ]
        first, second = map(Runner, named)
        first.open()
        with pytest.raises(ProblemError, match="Another runner"):
            second.open()
        assert await first.stop()


@pytest.mark.parametrize("folder", ["", "Talks", "2026"], ids=["at the root", "in a folder", "in one without letters"])
async def test_two_sources_whose_outputs_differ_only_in_case(tmp_path: Path, videos_volume: ExfatVolume, folder: str) -> None:
    """The second is refused before anything is paid for it."""
    async with running_batch(tmp_path) as stage:
        stage.videos = videos_volume.path / folder
        stage.videos.mkdir(exist_ok=True)
        await stage.add_videos(stage.write_video("intro.mp4"), stage.write_video("INTRO.mov"))
        await stage.wait_until_idle()
        assert sorted(dub.state.value for job in stage.jobs for dub in job.dubs.values()) == ["done"] * 2 + ["failed"] * 2
        assert {dub.failure.code for job in stage.jobs for dub in job.dubs.values() if dub.failure} == {"output_claimed"}
        assert len(stage.sandbox.billed_dubs()) == 2
        await stage.retry_free()
        assert len(stage.sandbox.billed_dubs()) == 2
        assert [name for name in os.listdir(stage.videos) if "synthdub" in name or name.endswith(".part")] == []
        check_done_outputs(stage)


async def test_outputs_that_differ_only_in_case_from_case_sensitive_folders(tmp_path: Path, make_volume: MakeVolume) -> None:
    """What counts is where the outputs go, also if nothing is there yet."""
    volume = make_volume(tmp_path / "drive")
    async with running_batch(tmp_path) as stage:
        videos = stage.write_video("intro.mp4"), stage.write_video("INTRO.mp4")
        await stage.add_videos(*videos, **ONE_LANGUAGE, output_dir=str(volume.path / "1"))
        await stage.wait_until_idle()
        assert sorted(failure_codes(stage.jobs).values()) == ["done", "output_claimed"]
        await stage.add_videos(*videos, targets=("es-ES",), captions=False, output_dir=str(tmp_path / "1"))
        await stage.wait_until_idle()
        await stage.retry_free()
        assert {dub.state.value for job in stage.jobs for dub in job.dubs.values()} == {"done"}
        assert len(stage.sandbox.billed_dubs()) == 4


async def test_file_names_that_the_volume_refuses(tmp_path: Path, make_volume: MakeVolume) -> None:
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
    async with running_batch(tmp_path) as stage:
        videos = [stage.write_video(name) for name in names]
        await stage.add_videos(*videos, **ONE_LANGUAGE, output_dir=str(volume.path / "out"))
        await stage.wait_until_idle()
        ends = list(failure_codes(stage.jobs).values())
        assert ends == [*["name_refused"] * 4, *["done"] * 3, "name_too_long"]
        assert len(stage.sandbox.billed_dubs()) == 3
        await stage.add_videos(*videos[:4], **ONE_LANGUAGE, output_dir=str(tmp_path / "out"))
        await stage.retry_free()
        assert set(list(failure_codes(stage.jobs).values())[:4]) == {"done"}


# -- the state directory -------------------------------------------------------------------------------------------------


def test_a_state_directory_on_exfat(make_shell: MakeShell, make_volume: MakeVolume) -> None:
    """The socket lies elsewhere, since there can be none; commands find it, whoever was there first."""
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    shell.state = make_volume(shell.home / "drive").path / "State"
    shell.environment |= {"SYNTHDUB_STATE_DIR": str(shell.state), "TMPDIR": str(shell.home)}
    for start in (("run", "--targets", "fr-FR", str(shell.write_video("intro.mp4"))), ("runner",)):
        assert shell.read_status()["runner"] is None
        process = shell.start_command(*start, "--poll-interval", "0.1")
        until_blocking(lambda pid=process.pid: shell.state.exists() and shell.read_status()["runner"] == pid)
        for spelling in ("State", "sTATE"):
            again = shell.run_batch(SYNTHDUB_STATE_DIR=str(shell.state.with_name(spelling)))
            assert again.exit_code == 3, again
        assert shell.run_command("stop").exit_code == 0
        process.wait(30)
    assert shell.run_command("cancel", "intro.mp4").exit_code == 0
    assert shell.dub_states() == {"fr-FR": "cancelled"}
    assert "Others on this machine can read" in shell.run_command("doctor").out


# -- times in whole seconds ------------------------------------------------------------------------------------------------


async def test_a_source_changed_within_the_second_of_its_mtime(tmp_path: Path, videos_volume: ExfatVolume) -> None:
    """As long as a change may not show, nothing is sent of it; so what was sent of the old version is never dubbed."""
    async with running_batch(tmp_path) as stage:
        path = videos_volume.path / "copied.mp4"
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
        await stage.add_videos(path, **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert failure_codes(stage.jobs) == {"copied.mp4": "source_changed"}
        assert stage.sandbox.billed_dubs() == []
        await stage.retry_free()
        assert failure_codes(stage.jobs) == {"copied.mp4": "done"}
        (asset,) = [job.asset for job in stage.jobs if job.asset]
        assert stage.sandbox.source_file(asset.id).read_bytes() == path.read_bytes()


# -- volumes that are full, or gone ----------------------------------------------------------------------------------------


async def test_a_full_volume(tmp_path: Path, videos_volume: ExfatVolume) -> None:
    """What is full says so, and goes on where it was when there is room."""
    async with running_batch(tmp_path, output_padding=3_000_000) as stage:
        videos = [stage.write_video(f"{number}.mp4") for number in range(3)]
        filler = videos_volume.fill_up()
        await stage.add_videos(videos[0], **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert failure_codes(stage.jobs) == {"0.mp4": "disk_full"}
        os.truncate(filler, filler.stat().st_size - 5_000_000)
        await stage.add_videos(*videos, **ONE_LANGUAGE)
        await stage.retry_free()
        assert "disk_full" in failure_codes(stage.jobs).values()
        filler.unlink()
        await stage.retry_free()
        assert set(failure_codes(stage.jobs).values()) == {"done"}
        assert len(stage.sandbox.billed_dubs()) == 3
        check_done_outputs(stage)


@pytest.mark.parametrize("when", ["uploading", "downloading"])
async def test_a_volume_unplugged_during_transfers(tmp_path: Path, videos_volume: ExfatVolume, when: str) -> None:
    """It fails for free, with the reason, and a retry goes on when it is plugged in again."""
    async with running_batch(tmp_path, output_padding=2_000_000, bandwidth_up=3_000_000) as stage:
        if when == "downloading":
            stage.sandbox.inject(Fault("download", "slow", bytes_per_second=500_000))
        await stage.add_videos(stage.write_video("intro.mp4", 9_000_000 if when == "uploading" else 2000), **ONE_LANGUAGE)
        await until(lambda: any(moving.done > 300_000 for moving in stage.runner.transfer_stats.transfers()))
        videos_volume.cut_off()
        await stage.wait_until_idle()
        assert failure_codes(stage.jobs) == {"intro.mp4": "source_unreadable" if when == "uploading" else "output_unwritable"}
        await stage.retry_free()
        assert failure_codes(stage.jobs) == {"intro.mp4": "source_unreadable" if when == "uploading" else "output_unmounted"}
        stage.sandbox.clear_faults()
        videos_volume.detach()
        videos_volume.mount()
        await stage.retry_free()
        assert failure_codes(stage.jobs) == {"intro.mp4": "done"}
        assert (len(stage.sandbox.billed_dubs()), stage.open_uploads) == (1, [])
        check_done_outputs(stage)


@pytest.mark.parametrize("where", ["", "out"], ids=["at its root", "in a folder that would be made"])
async def test_a_volume_unmounted_while_dubs_are_in_progress(tmp_path: Path, videos_volume: ExfatVolume, where: str) -> None:
    """Nothing is written to what lies beneath, by this run or the next; mounted again, all comes for free."""
    async with running_batch(tmp_path, dubbing_seconds=(3600.0, 3600.0)) as stage:
        source = stage.write_video("intro.mp4")
        await stage.add_videos(source, **ONE_LANGUAGE, output_dir=str(videos_volume.path / where) if where else "")
        await until(stage.sandbox.billed_dubs)
        assert await stage.runner.stop()
        stage.is_stopped = True
        videos_volume.detach()
        stage.sandbox.advance(3600)
        async with running_runner(stage.sandbox, tmp_path) as later:
            stage.runner = later
            await stage.wait_until_idle()
            assert failure_codes(stage.jobs) == {"intro.mp4": "output_unmounted"}
            assert os.listdir(videos_volume.path) == []
            videos_volume.mount()
            await stage.retry_free()
            assert failure_codes(stage.jobs) == {"intro.mp4": "done"}
            assert len(stage.sandbox.billed_dubs()) == 1
            check_done_outputs(stage)


def test_an_unplugged_state_directory(make_shell: MakeShell, make_volume: MakeVolume) -> None:
    """Nothing is paid that cannot be noted; it is told, and ends when asked to."""
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    volume = make_volume(shell.home / "drive")
    shell.state = volume.path / "state"
    shell.environment |= {"SYNTHDUB_STATE_DIR": str(shell.state), "TMPDIR": str(shell.home)}
    process = shell.start_command("run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR", "--poll-interval", "0.1")
    until_blocking(lambda: shell.state.exists() and shell.dub_states() == {"fr-FR": "dubbing"})
    volume.cut_off()
    status = shell.run_command("status")
    assert status.exit_code == 2
    assert "The state directory cannot be used" in status.err
    process.send_signal(signal.SIGTERM)
    _, errors = wait_for_output(process)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    volume.detach()
    volume.mount()
    assert shell.dub_states() == {"fr-FR": "dubbing"}


# -- kills -----------------------------------------------------------------------------------------------------------------


def test_a_kill_while_outputs_are_renamed(videos_volume: ExfatVolume) -> None:
    """State, sources and outputs on the volume; `python -m tests.soak.kill_points --volume` kills at every step there."""
    torture = KillHarness(videos_volume.path)
    try:
        points = [
            point for point in torture.find_points(NO_LINKS_SCENARIO) if point.startswith(("open video", "replace video"))
        ]
        taken = [point for point in points if ".part" not in point and "after" in point]
        assert len(taken) == 6
        outcomes = torture.kill_at_points(NO_LINKS_SCENARIO, taken)
        assert [(outcome.point, outcome.violations) for outcome in outcomes if outcome.violations] == []
        assert all(outcome.reached for outcome in outcomes)
    finally:
        torture.close()
