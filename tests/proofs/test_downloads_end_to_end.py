"""Downloads of a whole batch, on bad lines and bad disks: no half file under a final name, nothing lost, nothing paid again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.runner.request_handlers import to_shown_dubs
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.sandbox.http_server import Request
from tests.proofs.conftest import SmallDisk
from tests.proofs.sandbox_scene import RunningBatch, running_batch, running_runner, until

MakeSmallDisk = Callable[[Path], SmallDisk]
ONE_LANGUAGE: dict[str, Any] = {"targets": ("fr-FR",), "captions": False}


def http_statuses(stage: RunningBatch) -> list[int]:
    return [record.status for record in stage.sandbox.journal if record.endpoint == "download"]


async def test_a_download_cut_at_several_points_continues(tmp_path: Path) -> None:
    cuts = (1, 70_000, 200_000, 30)
    faults = tuple(Fault("download", "reset_during", nth=(n,), after_bytes=cut) for n, cut in enumerate(cuts, 1))
    async with running_batch(tmp_path, output_padding=500_000, faults=faults) as stage:
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "done"}
        assert http_statuses(stage)[0] == 200
        assert set(http_statuses(stage)[2:]) == {206}  # each goes on where the one before was cut
        stage.check_outputs()
        stage.check_payments()


async def test_an_output_that_changes_at_the_storage_between_two_attempts(tmp_path: Path) -> None:
    cut = Fault("download", "truncate", count=1, after_bytes=100_000)
    async with running_batch(tmp_path, output_padding=300_000, faults=(cut,)) as stage:

        def changed(request: Request, response: Any) -> Any:
            downloads = stage.sandbox._downloads
            downloads._gate.config = msgspec.structs.replace(downloads._gate.config, output_padding=200_000)
            return response

        stage.change_responses("download", changed)
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "done"}
        assert http_statuses(stage) == [200, 200]
        stage.check_outputs()


async def test_a_part_longer_than_the_file_and_storage_without_ranges(tmp_path: Path) -> None:
    """Between two runs something was written behind the part: 416, and from the start; then without any ranges."""
    faults = (Fault("download", "truncate", count=1, after_bytes=50_000), Fault("download", "status"))
    async with running_batch(tmp_path, output_padding=300_000, faults=faults) as stage:
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "failed download_failed"}
        (part,) = stage.videos.glob("*.part")
        with part.open("ab") as file:
            file.write(b"x" * 2_000_000)
        stage.sandbox.clear_faults()
        await stage.retry_free()
        assert stage.dub_states() == {"fr-FR": "done"}
        assert http_statuses(stage)[-2:] == [416, 200]
        handler = stage.sandbox._s3._handler

        async def without_ranges(request: Request) -> Any:
            request.headers.pop("range", None)
            return await handler(request)

        stage.sandbox._s3._handler = without_ranges
        stage.sandbox.inject(Fault("download", "truncate", count=1, after_bytes=90_000))
        await stage.add_videos(stage.videos / "intro.mp4", targets=("es-ES",), captions=False)
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "done", "es-ES": "done"}
        stage.check_outputs()
        stage.check_payments()


async def test_a_download_url_that_never_comes_back_frees_its_slot(tmp_path: Path) -> None:
    """The service takes the completion back and keeps it back: the dub fails for free, and others get their turn."""
    async with running_batch(tmp_path, settings={"max_downloads": 1}) as stage:
        expired = Fault("download", "status", status=403, count=1)
        stage.sandbox.inject(expired)

        def withdrawn(request: Request, response: Any) -> Any:
            if response.status == 403:
                path = f"/v2/dubbing/{request.path.split('/')[2]}"
                stage.sandbox.inject(Fault("GET /v2/dubbing/{id}", "change", path=path, drop=("dubbedAssets.*.download",)))
            return response

        stage.change_responses("download", withdrawn)
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await until(lambda: http_statuses(stage))
        await stage.add_videos(stage.write_video("other.mp4"), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        ends = {job.name: job.dubs["fr-FR"] for job in stage.jobs}
        assert ends["other.mp4"].state == "done"
        assert ends["intro.mp4"].failure is not None
        assert ends["intro.mp4"].failure.code == "download_failed"
        stage.sandbox.clear_faults()
        await stage.retry_free()
        assert {job.dubs["fr-FR"].state for job in stage.jobs} == {"done"}
        assert len(stage.sandbox.billed_dubs()) == 2


# -- the disk ------------------------------------------------------------------------------------------------------------


async def test_a_disk_that_fills_up_at_any_point_of_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that grows little by little: at each point the dub says so, keeps what it has, and a retry goes on there."""
    genuine = {name: getattr(os, name) for name in ("pwrite", "fsync", "link")}
    room = 0
    broken = ""

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if offset >= room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(genuine["pwrite"](fd, data[: room - offset], offset))

    def breaking(name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            target = os.readlink(f"/proc/self/fd/{arguments[0]}") if name == "fsync" else arguments[0]
            if broken == name and str(target).endswith(".mp4.part"):
                raise OSError(errno.EDQUOT, "Disk quota exceeded")
            return genuine[name](*arguments, **named)

        return call

    async with running_batch(tmp_path, output_padding=2_500_000) as stage:
        monkeypatch.setattr(os, "pwrite", pwrite)
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        part = stage.videos / "intro.dubbed-fr-FR.mp4.part"
        for room in (0, 1, 1000, 1_048_576, 1_048_577, 2_500_000):
            await stage.retry_free()
            assert stage.dub_states() == {"fr-FR": "failed disk_full"}
            assert part.stat().st_size == room
            stage.check_outputs()
        monkeypatch.setattr(os, "pwrite", genuine["pwrite"])
        for broken in ("fsync", "link"):
            monkeypatch.setattr(os, broken, breaking(broken))
            await stage.retry_free()
            assert stage.dub_states() == {"fr-FR": "failed disk_full"}, broken
            stage.check_outputs()
        monkeypatch.undo()
        await stage.retry_free()
        assert stage.dub_states() == {"fr-FR": "done"}
        assert set(http_statuses(stage)[3:]) <= {206, 416}  # the first tries had nothing to go on from
        stage.check_outputs()
        stage.check_payments()


async def test_a_real_disk_that_is_full_and_then_read_only(tmp_path: Path, make_small_disk: MakeSmallDisk) -> None:
    disk = make_small_disk(tmp_path / "videos")
    async with running_batch(tmp_path, output_padding=3_000_000) as stage:
        await stage.add_videos(stage.write_video(), targets=("fr-FR",))
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "failed disk_full"}
        disk.remount("size=20m")
        await stage.retry_free()
        assert stage.dub_states() == {"fr-FR": "done"}
        disk.remount("ro")
        await stage.add_videos(stage.videos / "intro.mp4", targets=("es-ES",))
        await stage.wait_until_idle()
        assert stage.dub_states()["es-ES"] == "failed output_unwritable"
        assert len(stage.sandbox.billed_dubs()) == 1  # seen before it was paid for
        disk.remount("rw")
        await stage.retry_free()
        assert stage.dub_states()["es-ES"] == "done"
        stage.check_outputs()
        stage.check_payments()


async def test_output_names_that_are_taken(tmp_path: Path) -> None:
    """Folders, links, a pipe and somebody's file in the place of outputs and parts: all stay, nothing is paid in vain."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    place = "{}.dubbed-fr-FR.mp4".format
    async with running_batch(tmp_path) as stage:
        folder = stage.videos
        names = ("folder", "link", "dangling", "file", "part-folder", "part-link", "part-pipe", "free")
        videos = [stage.write_video(f"{name}.mp4") for name in names]
        (folder / place("folder")).mkdir()
        (folder / place("link")).symlink_to(precious)
        (folder / place("dangling")).symlink_to(tmp_path / "nowhere")
        (folder / place("file")).write_bytes(b"theirs")
        (folder / f"{place('part-folder')}.part").mkdir()
        (folder / f"{place('part-link')}.part").symlink_to(precious)
        os.mkfifo(folder / f"{place('part-pipe')}.part")
        await stage.add_videos(*videos, **ONE_LANGUAGE)
        await stage.wait_until_idle()
        codes = {Path(job.name).stem: dub.failure.code for job in stage.jobs for dub in job.dubs.values() if dub.failure}
        taken = dict.fromkeys(("folder", "link", "dangling", "file"), "output_exists")
        assert codes == taken | dict.fromkeys(("part-folder", "part-link", "part-pipe"), "output_unwritable")
        assert len(stage.sandbox.billed_dubs()) == 1  # of the others it was seen before
        assert (precious.read_bytes(), (folder / place("file")).read_bytes()) == (b"precious", b"theirs")
        assert not (tmp_path / "nowhere").exists()
        for path in [*folder.glob("*.part"), *(folder / place(name) for name in taken)]:
            path.rename(tmp_path / f"aside-{path.name}")
        await stage.retry_free()
        assert {job.dubs["fr-FR"].state for job in stage.jobs} == {"done"}
        assert len(stage.sandbox.billed_dubs()) == len(names)


async def test_an_output_name_taken_at_the_last_moment(tmp_path: Path) -> None:
    async with running_batch(tmp_path, output_padding=100_000) as stage:
        final = stage.videos / "intro.dubbed-fr-FR.mp4"

        def snatch(request: Request, response: Any) -> Any:
            final.write_bytes(b"theirs")
            return response

        stage.change_responses("download", snatch)
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "failed output_exists"}
        assert final.read_bytes() == b"theirs"
        final.unlink()
        await stage.retry_free()
        assert stage.dub_states() == {"fr-FR": "done"}
        assert len(http_statuses(stage)) == 1  # the part was complete: nothing is fetched again
        stage.check_outputs()


async def test_file_names_too_long_for_the_output_suffix(tmp_path: Path) -> None:
    async with running_batch(tmp_path) as stage:
        long, fits, wide = (stage.write_video(f"{name}.mp4") for name in ("x" * 251, "y" * 230, "ü" * 120))
        await stage.add_videos(long, fits, wide, targets=("fr-FR",))
        await stage.wait_until_idle()
        codes = {job.name[0]: dub.failure and dub.failure.code for job in stage.jobs for dub in job.dubs.values()}
        assert codes == {"x": "name_too_long", "y": None, "ü": "name_too_long"}
        assert len(stage.sandbox.billed_dubs()) == 1
        assert all(len(os.fsencode(path.name)) <= 255 for path in stage.videos.iterdir())


# -- races -----------------------------------------------------------------------------------------------------------------


async def test_two_sources_with_the_same_output_name(tmp_path: Path) -> None:
    async with running_batch(tmp_path) as stage:
        await stage.add_videos(stage.write_video("intro.mp4"), stage.write_video("intro.mov"), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert sorted(
            dub.state + (f" {dub.failure.code}" if dub.failure else "") for job in stage.jobs for dub in job.dubs.values()
        ) == [
            "done",
            "failed output_claimed",
        ]
        assert len(stage.sandbox.billed_dubs()) == 1


async def test_two_batches_race_for_one_output(tmp_path: Path) -> None:
    """Two users, one source: the slower one must not write into the part, nor the finished file, of the other."""
    async with running_batch(tmp_path, output_padding=400_000) as stage:
        stage.sandbox.inject(Fault("download", "slow", bytes_per_second=400_000, count=1))
        await stage.add_videos(stage.write_video(), **ONE_LANGUAGE)
        part = stage.videos / "intro.dubbed-fr-FR.mp4.part"
        await until(lambda: part.exists() and http_statuses(stage))
        held = part.stat().st_ino
        other = {"state_dir": str(tmp_path / "other"), "data_dir": str(tmp_path / "another user's")}
        async with running_runner(stage.sandbox, tmp_path, **other) as second:
            await second.add([str(stage.videos / "intro.mp4")], second.settings.batch)
            rival = RunningBatch(stage.sandbox, tmp_path, second)
            (job,) = rival.jobs
            await until(
                lambda: second.live_jobs.jobs[job.id].held_languages
            )  # it is told who began first, and goes on all the same
            second.retry(to_shown_dubs(second.live_jobs.jobs, [DubRef(job.id, "fr-FR")]), allow_paid=True)
            await until(lambda: not {"waiting", "dubbing", "ready"} & set(rival.dub_states().values()))
            assert rival.dub_states()["fr-FR"] in ("failed output_unwritable", "failed output_exists")
            await stage.wait_until_idle()
            assert stage.dub_states() == {"fr-FR": "done"}
            await rival.retry_free()
            assert rival.dub_states()["fr-FR"] == "failed output_exists"
        final = stage.videos / "intro.dubbed-fr-FR.mp4"
        assert final.stat().st_ino == held
        stage.check_outputs()
