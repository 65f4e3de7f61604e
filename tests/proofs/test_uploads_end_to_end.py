"""Uploads of a whole batch: storage that refuses, sources that change under way, and that nothing of it is left behind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.transitions.submission import MAX_UPLOAD_ATTEMPTS
from synthdub_tui.sandbox.http_server import Request, Response
from synthdub_tui.transfer import upload as upload_module
from synthdub_tui.transfer.upload import part_size
from tests.cli.conftest import MP4_HEADER
from tests.dub_refs import shown_in_any_state
from tests.proofs.sandbox_scene import RunningBatch, running_batch, until
from tests.proofs.test_network_table import s3_error_body, status_fault

ONE_LANGUAGE: dict[str, Any] = {"targets": ("fr-FR",), "captions": False}
MULTIPART_SOURCE_BYTES = 1_100_000


@pytest.fixture(autouse=True)
def low_multipart_threshold() -> Iterator[None]:
    """Multipart from 1 MB, so that the files can be small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload_module, "MULTIPART_THRESHOLD_BYTES", 1_000_000)
        yield


def failure_codes(stage: RunningBatch) -> dict[str, str]:
    return {
        Path(job.name).stem: dub.state.value + (f" {dub.failure.code}" if dub.failure else "")
        for job in stage.jobs
        for dub in job.dubs.values()
    }


def act_before_first_part(stage: RunningBatch, act: dict[str, Any]) -> None:
    """Do `act[title]` once, when the first part of that source begins to arrive."""
    handler = stage.sandbox._s3._handler

    async def handle(request: Request) -> Any:
        if "partNumber" in request.target:
            title = stage.sandbox.state.assets[request.path.split("/")[3]].title
            act.pop(title, lambda: None)()
        return await handler(request)

    stage.sandbox._s3._handler = handle


def slow_down_requests(stage: RunningBatch, times: int) -> Counter[tuple[str, str]]:
    """The storage answers the first tries of each request with SlowDown; how often each came is counted."""
    handler, seen = stage.sandbox._s3._handler, Counter[tuple[str, str]]()

    async def handle(request: Request) -> Response:
        seen[request.method, request.target] += 1
        if seen[request.method, request.target] > times:
            return await handler(request)
        return Response(503, (("Content-Type", "application/xml"),), s3_error_body("SlowDown").encode())

    stage.sandbox._s3._handler = handle
    return seen


async def test_credentials_that_always_expire(tmp_path: Path) -> None:
    """A new asset each time, a bounded number of times; and after the reason is gone, a retry succeeds."""
    async with running_batch(tmp_path, upload_credentials_seconds=0.0) as stage:
        await stage.add_videos(
            stage.write_video("small.mp4"), stage.write_video("large.mp4", MULTIPART_SOURCE_BYTES), **ONE_LANGUAGE
        )
        await stage.wait_until_idle()
        assert failure_codes(stage) == dict.fromkeys(("small", "large"), "failed credentials_expired")
        assert stage.count_calls("POST /v2/assets") == 2 * MAX_UPLOAD_ATTEMPTS
        assert (stage.count_calls("POST /v2/dubbing"), stage.open_uploads) == (0, [])


async def test_credentials_that_expire_in_the_middle(tmp_path: Path) -> None:
    """The second of two parts comes too late: a new asset, and the whole file again."""
    async with running_batch(
        tmp_path, faults=status_fault("S3 UploadPart", 400, s3_error_body("ExpiredToken"), count=2)
    ) as stage:
        await stage.add_videos(stage.write_video("large.mp4", MULTIPART_SOURCE_BYTES), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        assert failure_codes(stage) == {"large": "done"}
        assert (stage.count_calls("POST /v2/assets"), stage.open_uploads) == (3, [])
        (asset,) = [asset for asset in stage.sandbox.state.assets.values() if asset.uploaded_at]
        assert stage.sandbox.source_file(asset.id).read_bytes() == (stage.videos / "large.mp4").read_bytes()


async def test_one_part_that_fails_for_good_fails_one_file(tmp_path: Path) -> None:
    async with running_batch(tmp_path, faults=status_fault("S3 UploadPart", 403, s3_error_body("AccessDenied"))) as stage:
        await stage.add_videos(
            stage.write_video("large.mp4", MULTIPART_SOURCE_BYTES),
            *(stage.write_video(f"{n}.mp4") for n in range(3)),
            **ONE_LANGUAGE,
        )
        await stage.wait_until_idle()
        assert failure_codes(stage) == {"large": "failed upload_denied", "0": "done", "1": "done", "2": "done"}
        assert stage.open_uploads == []
        stage.sandbox.clear_faults()
        await stage.retry_free()
        assert set(failure_codes(stage).values()) == {"done"}


async def test_throttling_of_a_whole_batch(tmp_path: Path) -> None:
    """Each request is turned away twice, those that abort and complete as well."""
    async with running_batch(tmp_path) as stage:
        turned_away = slow_down_requests(stage, times=2)
        await stage.add_videos(
            *(stage.write_video(f"{n}.mp4", MULTIPART_SOURCE_BYTES if n % 3 == 0 else 2000) for n in range(8)), **ONE_LANGUAGE
        )
        await stage.wait_until_idle()
        assert set(failure_codes(stage).values()) == {"done"}
        assert (stage.count_calls("POST /v2/assets"), stage.open_uploads) == (8, [])
        assert set(turned_away.values()) == {3}


async def test_sources_that_change_during_upload(tmp_path: Path) -> None:
    """What was sent of the old version is never dubbed, nothing is left at the storage, and a retry takes the file as it is."""
    async with running_batch(tmp_path, settings={"max_uploads": 6}) as stage:
        names = ("grows", "shrinks", "touched", "replaced", "vanishes", "steady")
        paths = {name: stage.write_video(f"{name}.mp4", MULTIPART_SOURCE_BYTES) for name in names}
        other = tmp_path / "other.mp4"
        other.write_bytes(b"o" * MULTIPART_SOURCE_BYTES)
        act = {
            "grows": lambda: paths["grows"].open("ab").write(b"more"),
            "shrinks": lambda: os.truncate(paths["shrinks"], 5000),
            "touched": lambda: os.utime(paths["touched"], ns=(0, 1)),
            "replaced": lambda: other.replace(paths["replaced"]),
            "vanishes": paths["vanishes"].unlink,
        }
        act_before_first_part(stage, act)
        await stage.add_videos(*paths.values(), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        changed = dict.fromkeys(("grows", "shrinks", "touched", "replaced"), "failed source_changed")
        assert failure_codes(stage) == changed | {"vanishes": "failed source_missing", "steady": "done"}
        assert (stage.count_calls("POST /v2/dubbing"), stage.open_uploads) == (1, [])
        paths["vanishes"].write_bytes(b"back again")
        await stage.retry_free()
        assert set(failure_codes(stage).values()) == {"done"}
        sent = {stage.sandbox.source_file(job.asset.id).read_bytes() for job in stage.jobs if job.asset}
        assert sent == {path.read_bytes() for path in paths.values()}
        assert stage.open_uploads == []


def resident_bytes() -> int:
    """Bytes of memory that this process, sandbox included, holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc")
async def test_a_terabyte(tmp_path: Path) -> None:
    """Its parts are larger, so that there are not too many, and of none more than some megabytes is held."""
    async with running_batch(tmp_path) as stage:
        sizes: set[int] = set()
        handler = stage.sandbox._s3._handler

        async def handle(request: Request) -> Response:
            if "partNumber" in request.target:
                sizes.add(int(request.headers["content-length"]))
            return await handler(request)

        stage.sandbox._s3._handler = handle
        await stage.add_videos(stage.write_video("small.mp4"), **ONE_LANGUAGE)
        await stage.wait_until_idle()
        before = resident_bytes()
        video = stage.videos / "huge.mp4"
        video.write_bytes(MP4_HEADER)
        os.truncate(video, 10**12)
        await stage.add_videos(video, **ONE_LANGUAGE)
        await until(lambda: any(moving.done > 50_000_000 for moving in stage.runner.transfer_stats.transfers()))
        assert resident_bytes() - before < 60_000_000
        assert sizes == {part_size(10**12)}
        assert 9_000 < 10**12 / part_size(10**12) <= 10_000
        stage.runner.cancel(shown_in_any_state(stage.runner.live_jobs.jobs, [DubRef(job.id) for job in stage.jobs]))
        await stage.wait_until_idle()
        video.unlink()
        assert stage.open_uploads == []
