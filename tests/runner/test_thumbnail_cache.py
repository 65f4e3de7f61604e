"""Pictures of dubbed videos: found when asked for, checked, kept in bounded room, and nobody's trouble."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.ipc.protocol import DubRef, Reply, Request, StatusRequest, ThumbnailRequest, decode_message, encode
from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.runner import thumbnail_cache
from synthdub_tui.runner.thumbnail_cache import MAX_PICTURE_BYTES, is_picture
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.sandbox.media import thumbnail
from tests.proofs.sandbox_scene import RunningBatch, running_batch, until
from tests.waiting import scale_timeout

PNG = thumbnail("intro", "fr-FR", "png")
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"  # APP0
    b"\xff\xc4\x00\x04\x00\x00"  # a table, whose marker is near that of the frame
    b"\xff\xc0\x00\x0b\x08\x00\xb0\x01\x40\x01\x01\x11\x00"
)


@asynccontextmanager
async def done_dub(folder: Path, **more: Any) -> AsyncIterator[tuple[RunningBatch, DubRef]]:
    """A finished dub."""
    async with running_batch(folder, **more) as at:
        await at.add_videos(at.write_video(), targets=("fr-FR",))
        await at.wait_until_idle()
        (job,) = at.jobs
        yield at, DubRef(job.id, "fr-FR")


async def thumbnail_path(at: RunningBatch, cell: DubRef) -> str:
    return await at.runner.thumbnails.path(cell.job, cell.language)


async def test_it_is_fetched_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    async with done_dub(tmp_path) as (at, cell):
        assert at.count_calls("thumbnail") == 0  # nobody asked yet
        before = os.umask(0)
        try:
            path = await thumbnail_path(at, cell)
        finally:
            os.umask(before)
        assert Path(path).read_bytes() == PNG
        folder = Path(path).parent
        assert folder.parent == tmp_path / "state"
        assert [stat.S_IMODE(os.stat(name).st_mode) for name in (folder, path)] == [0o700, 0o600]
        assert os.listdir(folder) == [Path(path).name]
        assert await thumbnail_path(at, cell) == path
        assert at.count_calls("thumbnail") == 1


async def test_an_address_that_expired_is_replaced(tmp_path: Path) -> None:
    async with done_dub(tmp_path, download_url_seconds=60) as (at, cell):
        at.sandbox.advance(3600)
        assert Path(await thumbnail_path(at, cell)).read_bytes() == PNG


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("gone", Fault("thumbnail", "status", status=404)),
        ("no picture", Fault("thumbnail", "body", body="<svg/>", content_type="image/png")),
        ("too large", Fault("thumbnail", "body", body="\x89" + "x" * MAX_PICTURE_BYTES, content_type="image/png")),
        ("no address", Fault("GET /v2/dubbing/{id}", "change", drop=("dubbedAssets.*.thumbnail",))),
        (
            "unreachable",
            Fault("GET /v2/dubbing/{id}", "change", set={"dubbedAssets.*.thumbnail.image": "http://127.0.0.1:1/x.png"}),
        ),
    ],
)
async def test_without_a_picture_nothing_else_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, fault: Fault
) -> None:
    monkeypatch.setattr(thumbnail_cache, "FETCH_TIMEOUT_SECONDS", 2.0)
    async with done_dub(tmp_path, faults=(fault,)) as (at, cell):
        assert await thumbnail_path(at, cell) == ""
        asked = len(at.sandbox.journal)
        assert await thumbnail_path(at, cell) == ""
        assert len(at.sandbox.journal) == asked  # it is not asked for again at once
        assert at.dub_states() == {"fr-FR": "done"} and at.shown_problem == ""
        assert not [name for name in os.listdir(tmp_path / "state" / "thumbnails") if name != thumbnail_cache.PART]


async def test_cells_without_a_video_have_none(tmp_path: Path) -> None:
    async with done_dub(tmp_path) as (at, cell):
        for job, language in (("nobody", "fr-FR"), (cell.job, "es-ES"), (cell.job, "../../x")):
            assert await at.runner.thumbnails.path(job, language) == ""
        assert not (tmp_path / "state" / "thumbnails").exists()


async def test_the_room_is_bounded_and_the_last_seen_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnail_cache, "MAX_CACHE_BYTES", 2 * len(PNG) + 100)
    async with done_dub(tmp_path) as (at, cell):
        folder = tmp_path / "state" / "thumbnails"
        folder.mkdir(mode=0o700)
        for number in range(3):
            (folder / f"old{number}").write_bytes(PNG)
            os.utime(folder / f"old{number}", (number, number))
        path = await thumbnail_path(at, cell)
        assert sorted(os.listdir(folder)) == sorted([Path(path).name, "old2"])


async def test_a_slow_picture_holds_up_no_other_request(tmp_path: Path) -> None:
    """Over the socket, where a request that takes long comes before one that is urgent; and none of the address is told."""
    async with done_dub(tmp_path, faults=(Fault("thumbnail", "delay", seconds=3600.0),)) as (at, cell):
        server = RunnerServer(at.runner, on_stop=lambda: None, read_key=lambda: "")
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "state" / "runner.sock"))
        writer.write(encode(ThumbnailRequest(id=1, cell=cell)))
        await until(lambda: at.count_calls("thumbnail") or at.runner.thumbnails._request_tasks)
        assert (await send_and_read_reply(reader, writer, StatusRequest(id=2))).id == 2
        at.sandbox.clear_faults()
        at.runner.thumbnails.close()
        assert (await send_and_read_reply(reader, writer, ThumbnailRequest(id=3, cell=cell))).result.keys() == {"path"}
        writer.close()
        await server.close("done")


async def send_and_read_reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> Reply:
    writer.write(encode(request))
    line = await asyncio.wait_for(reader.readline(), scale_timeout())
    assert b"X-Amz" not in line and b"http" not in line
    answer = decode_message(line)
    assert isinstance(answer, Reply)
    return answer


@pytest.mark.parametrize(
    ("head", "good"),
    [
        (PNG, True),
        (JPEG, True),
        (PNG[:20], False),
        (PNG[:16] + b"\xff\xff\xff\xff" + PNG[20:], False),
        (PNG[:16] + bytes(4) + PNG[20:], False),
        (JPEG[:-8] + b"\xff\xff\xff\xff" + JPEG[-4:], False),
        (JPEG[:30], False),
        (b"\xff\xd8\xff" + b"\xff" * 100, False),
        (b"GIF89a" + bytes(20), False),
        (b"", False),
    ],
)
def test_what_is_a_picture(head: bytes, good: bool) -> None:
    assert is_picture(head) is good
