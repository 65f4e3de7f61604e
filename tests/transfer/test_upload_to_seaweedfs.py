"""Uploads to an S3 that is not ours, with temporary credentials for one key."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from synthdub_tui.errors import ProblemError
from synthdub_tui.sources.digest import compute_digest
from synthdub_tui.transfer.upload import MIB, MIN_PART_BYTES, Uploader, UploadTarget
from tests.seaweedfs_server import SeaweedFS, seaweedfs
from tests.transfer.conftest import make_source, until

__all__ = ["seaweedfs"]


def _upload_target(storage: SeaweedFS, key: str, seconds: int = 900, *, granted: str = "") -> UploadTarget:
    given = storage.credentials_for(granted or key, seconds)
    return UploadTarget(given.access_key, given.secret_key, given.token, storage.bucket, key)


def _make_uploader(storage: SeaweedFS) -> Uploader:
    return Uploader(storage.endpoint_url, attempts=3, backoff=0.05, grace_seconds=10)


@pytest.mark.parametrize("size", [MIB + 1, 2 * MIN_PART_BYTES + 5 * MIB + 3], ids=["small", "multipart"])
async def test_every_byte_arrives(seaweedfs: SeaweedFS, tmp_path: Path, size: int) -> None:
    uploader = _make_uploader(seaweedfs)
    source = make_source(tmp_path / "a.mp4", size)
    key = f"folder/with spaces & ümlauts/{size}.mp4"
    made = await uploader.upload(source, _upload_target(seaweedfs, key), lambda sent: None)
    await uploader.close()
    assert made == compute_digest(source.path, size=size)
    found = seaweedfs.admin().get_object(Bucket=seaweedfs.bucket, Key=key)
    assert found["ContentType"] == "video/mp4"
    digest = hashlib.sha256()
    for block in found["Body"].iter_chunks(MIB):
        digest.update(block)
    assert digest.hexdigest() == hashlib.sha256((tmp_path / "a.mp4").read_bytes()).hexdigest()


async def test_a_cancel_leaves_nothing(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    uploader = _make_uploader(seaweedfs)
    source = make_source(tmp_path / "a.mp4", 8 * MIN_PART_BYTES)
    admin = seaweedfs.admin()
    sent = [0]
    upload = uploader.upload(source, _upload_target(seaweedfs, "cancelled.mp4"), sent.append)
    task = asyncio.create_task(upload)
    await until(lambda: sent[-1] > MIB)
    assert admin.list_multipart_uploads(Bucket=seaweedfs.bucket, Prefix="cancelled").get("Uploads")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await uploader.close()
    assert not admin.list_multipart_uploads(Bucket=seaweedfs.bucket, Prefix="cancelled").get("Uploads")
    assert not admin.list_objects_v2(Bucket=seaweedfs.bucket, Prefix="cancelled").get("Contents")


@asynccontextmanager
async def relay_that_loses_last_answer(storage: SeaweedFS) -> AsyncIterator[tuple[str, list[str]]]:
    """The storage's address by way of a relay, which lets it put the parts together and never tells; and the requests seen."""
    host, port = urlsplit(storage.endpoint_url).hostname, urlsplit(storage.endpoint_url).port
    seen: list[str] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, thither = await asyncio.open_connection(host, port)
        last = False

        async def forth() -> None:
            nonlocal last
            while data := await reader.read(MIB):
                if (line := data.partition(b"\r\n")[0].decode("latin-1")).endswith("HTTP/1.1"):
                    seen.append(line.partition(" ")[0])
                    last = line.startswith("POST") and "uploadId=" in line
                thither.write(data)
                await thither.drain()

        sending = asyncio.create_task(forth())
        while (data := await there.read(MIB)) and not last:
            writer.write(data)
            await writer.drain()
        sending.cancel()
        thither.close()
        writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen


async def test_a_lost_answer_to_the_last_request_is_found_out(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mp4", MIN_PART_BYTES + 5)
    target = _upload_target(seaweedfs, "lost.mp4")
    async with relay_that_loses_last_answer(seaweedfs) as (url, seen):
        uploader = Uploader(url, attempts=3, backoff=0.05, grace_seconds=10)
        assert await uploader.upload(source, target, lambda sent: None) == compute_digest(source.path, size=source.size)
        await uploader.close()
    assert "HEAD" in seen
    assert seaweedfs.admin().head_object(Bucket=seaweedfs.bucket, Key="lost.mp4")["ContentLength"] == source.size


@pytest.mark.parametrize("size", [MIB, MIN_PART_BYTES], ids=["small", "multipart"])
async def test_an_upload_with_expired_credentials(seaweedfs: SeaweedFS, tmp_path: Path, size: int) -> None:
    # AWS says ExpiredToken; SeaweedFS only that it does not know the key id
    assert await _upload_error(seaweedfs, tmp_path, size, _upload_target(seaweedfs, "late.mp4", -60)) == "upload_denied"


async def test_credentials_that_expire_during_an_upload(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    """The first part was taken in time; what is not whole is never there."""
    seconds = 3
    uploader = _make_uploader(seaweedfs)
    late = threading.Event()

    def sent(so_far: int) -> None:
        if so_far and not late.is_set():
            late.set()
            time.sleep(seconds + 1)

    target = _upload_target(seaweedfs, "midway.mp4", seconds)
    with pytest.raises(ProblemError) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", 12 * MIN_PART_BYTES), target, sent)
    await uploader.close()
    assert caught.value.code == "upload_denied"
    assert late.is_set()
    assert not seaweedfs.admin().list_objects_v2(Bucket=seaweedfs.bucket, Prefix="midway").get("Contents")


@pytest.mark.parametrize("size", [MIB, MIN_PART_BYTES], ids=["small", "multipart"])
async def test_credentials_for_another_key(seaweedfs: SeaweedFS, tmp_path: Path, size: int) -> None:
    target = _upload_target(seaweedfs, "not-mine.mp4", granted="mine.mp4")
    assert await _upload_error(seaweedfs, tmp_path, size, target) == "upload_denied"


async def test_credentials_that_are_wrong(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    right = _upload_target(seaweedfs, "mine.mp4")
    wrong = UploadTarget(right.access_key_id, "wrong", right.session_token, right.bucket, right.key)
    assert await _upload_error(seaweedfs, tmp_path, MIB, wrong) == "upload_denied"


async def _upload_error(storage: SeaweedFS, folder: Path, size: int, target: UploadTarget) -> str:
    uploader = _make_uploader(storage)
    with pytest.raises(ProblemError) as caught:
        await uploader.upload(make_source(folder / "a.mp4", size), target, lambda sent: None)
    await uploader.close()
    return caught.value.code
