"""What the tests of the room share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from synthdub_tui.jobs.model import Source
from synthdub_tui.transfer.upload import Uploader, UploadTarget
from tests.transfer.fault_servers import FakeBucket, running_server
from tests.waiting import until as until

UPLOAD_TARGET = UploadTarget("AKIDOFTHEUPLOAD", "very-secret-key", "very-long-session-token", "bucket", "some/key.mp4")
OBJECT_PATH = "/bucket/some/key.mp4"


def make_source(path: Path, size: int) -> Source:
    """A sparse file with a different byte pattern every MiB, as a source."""
    with path.open("wb") as file:
        for offset in range(0, size, 1024 * 1024):
            file.seek(offset)
            file.write(offset.to_bytes(8, "big")[: size - offset])
        file.truncate(size)
    return source_of(path)


def source_of(path: Path) -> Source:
    now = path.stat()
    return Source(str(path), now.st_size, now.st_mtime_ns, "video/mp4")


def part_digests(path: Path, part: int | None = None) -> str:
    """What `FakeBucket` keeps for a file sent in parts of this size."""
    data = path.read_bytes()
    step = part or max(len(data), 1)
    return ",".join(hashlib.sha256(data[at : at + step]).hexdigest() for at in range(0, len(data), step))


@pytest.fixture
async def bucket_and_url() -> AsyncIterator[tuple[FakeBucket, str]]:
    storage = FakeBucket()
    async with running_server(storage.handle) as url:
        yield storage, url


@pytest.fixture
async def uploader(bucket_and_url: tuple[FakeBucket, str]) -> AsyncIterator[Uploader]:
    made = Uploader(bucket_and_url[1], connect_timeout=20, read_timeout=20, attempts=3, backoff=0.01)
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own proxy settings stay out of the tests."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
