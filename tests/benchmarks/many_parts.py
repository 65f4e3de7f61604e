"""Uploads of nearly 10,000 parts, and of 100 GB: `python -m tests.benchmarks.many_parts [--gigabytes N] [--short]`.

Sparse files go through our Uploader, in a process of its own, to the sandbox's storage, which checks and counts every byte and
drops it. The first is of 100 parts, the second of 9,950, both of 5 MiB, the least that S3 and s3transfer take (the size of a
part is set to it: with the program's own 32 MiB it would be a third of a terabyte); `--gigabytes` sends one file in the parts
that the program chooses. What must come out: the size and the ETag of the object, computed here, no unfinished upload, and a
peak of memory that hardly grows with the number of parts. `--short`: 4 and 40 parts of 1 MiB, for which the least of s3transfer
and the sandbox are set as well.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from synthdub_tui.jobs.model import Source
from synthdub_tui.sandbox import multipart_uploads as sandbox_uploads
from synthdub_tui.sandbox import upload_body
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.sandbox.service import Sandbox, running_sandbox
from synthdub_tui.synthesia.client import SynthesiaClient
from synthdub_tui.synthesia.rate_gate import TIERS, RateGate
from synthdub_tui.transfer import upload
from synthdub_tui.transfer.upload import Uploader, UploadTarget, part_size
from tests.benchmarks.uploads import plain_boto3_client

MIB, GB = 1024**2, 10**9
PART_COUNT = 9_950
MAX_GROWTH_MB = 60.0
"""MB that the peak of 9,950 parts may be above that of 100: s3transfer keeps a task and an answer for each."""


@dataclass(frozen=True)
class UploadTask:
    """What a child is to upload; it comes on stdin, since arguments are public."""

    url: str
    path: str
    target: dict[str, str]
    part: int  # bytes; 0: the program's own choice


def main() -> None:
    options = _parse_options()
    if options.child:
        print(json.dumps(_measure_upload(UploadTask(**json.load(sys.stdin)))))
        return
    part = MIB if options.short else 5 * MIB
    counts = (4, 40) if options.short else (100, PART_COUNT)
    plans = [(options.gigabytes * GB, 0)] if options.gigabytes else [(count * part - 1, part) for count in counts]
    with (
        tempfile.TemporaryDirectory(prefix="synthdub-parts-") as name,
        _sandbox_without_storage(Path(name) / "sandbox", part) as sandbox,
    ):
        print(
            f"load {os.getloadavg()[0]:.1f}\n{'bytes':>16} {'parts':>6} {'part MiB':>9} {'MB/s':>6} {'CPU s':>6} {'peak MB':>8}"
        )
        peaks = [_upload(sandbox, Path(name), size, part) for size, part in plans]
    if len(peaks) == 2 and peaks[1] - peaks[0] > MAX_GROWTH_MB:
        sys.exit(f"the peak grew by {peaks[1] - peaks[0]:.0f} MB, more than {MAX_GROWTH_MB:.0f}")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Uploads of nearly 10,000 parts, and of large sparse files.")
    parser.add_argument("--short", action="store_true", help="40 small parts: shows only that it works")
    parser.add_argument("--gigabytes", type=int, help="one file of this size instead, in parts of the program's choice")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


# -- the uploading process -------------------------------------------------------------------------------------------------


def _measure_upload(task: UploadTask) -> dict[str, float]:
    """Seconds, seconds of CPU, and the peak memory of this process in MB."""
    if task.part:
        upload.MIN_PART_BYTES = task.part  # type: ignore[misc]
        upload.MULTIPART_THRESHOLD_BYTES = task.part  # type: ignore[misc]
        _allow_small_parts(task.part)
    started = time.perf_counter()
    asyncio.run(_run_child(task))
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024 / 1e6}


def _allow_small_parts(part: int) -> None:
    """s3transfer sends no parts below 5 MiB, which is more than a short run has time for."""
    from s3transfer.utils import ChunksizeAdjuster

    most, least, parts = ChunksizeAdjuster.__init__.__defaults__ or ()
    ChunksizeAdjuster.__init__.__defaults__ = (most, min(part, least), parts)


async def _run_child(task: UploadTask) -> None:
    now = os.stat(task.path)
    uploader = Uploader(task.url)
    source = Source(task.path, now.st_size, now.st_mtime_ns, "video/mp4")
    await uploader.upload(source, UploadTarget(**task.target), lambda sent: None)
    await uploader.close()


# -- this process: the storage, and what must come out ---------------------------------------------------------------------


def _upload(sandbox: Sandbox, folder: Path, size: int, part: int) -> float:
    """Upload a sparse file of that size, check what became of it, print a line; the peak in MB."""
    path = folder / "source.mp4"
    with path.open("wb") as file:
        file.truncate(size)
    target = asyncio.run(_create_asset(sandbox, size))
    task = UploadTask(sandbox.s3_url, str(path), asdict(target), part)
    command = [sys.executable, "-m", "tests.benchmarks.many_parts", "--child"]
    done = subprocess.run(command, input=json.dumps(asdict(task)).encode(), stdout=subprocess.PIPE, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    each = part or part_size(size)
    _check_object(sandbox, target, size, each)
    rate = size / figures["seconds"] / 1e6
    line = f"{size:>16,} {-(-size // each):>6,} {each / MIB:>9.2f} {rate:>6.0f} {figures['cpu']:>6.0f} {figures['peak']:>8.0f}"
    print(line, flush=True)
    return figures["peak"]


async def _create_asset(sandbox: Sandbox, size: int) -> UploadTarget:
    client = SynthesiaClient(sandbox.api_url, sandbox.api_key, RateGate(TIERS["unlimited"]))
    try:
        keys = (await client.create_asset(title="source", content_type="video/mp4", size=size)).credentials
    finally:
        await client.close()
    return UploadTarget(keys.access_key_id, keys.secret_access_key, keys.session_token, keys.bucket, keys.key)


def _check_object(sandbox: Sandbox, target: UploadTarget, size: int, part: int) -> None:
    """The object is whole, and made of the parts that it should be; nothing is left of the upload."""
    client = plain_boto3_client(sandbox.s3_url, target)
    found = client.head_object(Bucket=target.bucket, Key=target.key)
    assert (found["ContentLength"], found["ETag"]) == (size, _expected_etag(size, part)), found
    left = client.list_multipart_uploads(Bucket=target.bucket, Prefix=target.key).get("Uploads", [])
    assert (left, list(sandbox.storage.uploads.open_uploads)) == ([], [])


def _expected_etag(size: int, part: int) -> str:
    """Of an object of zeros: the digest of its parts' digests, and their number."""
    whole, rest = divmod(size, part)
    digests = _md5(bytes(part)) * whole + (_md5(bytes(rest)) if rest else b"")
    return f'"{_md5(digests).hex()}-{len(digests) // 16}"'


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


class _NullFile(io.RawIOBase):
    """A file that takes everything and keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


@contextmanager
def _sandbox_without_storage(root: Path, least: int) -> Iterator[Sandbox]:
    """A sandbox whose storage checks what comes and keeps none of it."""

    def drop(path: Path) -> BinaryIO:
        path.touch()
        return cast(BinaryIO, _NullFile())

    upload_body._open = drop
    sandbox_uploads.MIN_PART_BYTES = min(least, sandbox_uploads.MIN_PART_BYTES)  # type: ignore[misc]
    with running_sandbox(SandboxConfig(upload_credentials_seconds=86_400.0), root) as sandbox:
        yield sandbox


if __name__ == "__main__":
    main()
