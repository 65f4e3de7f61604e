"""What the digest of a content costs: `python -m tests.benchmarks.source_digest [--tls] [--size MIB] [--rounds N] [--short]`.

First the hashes that were to choose from, fed as an upload feeds them, in pieces of 64 KiB: CPU seconds per GiB. Then uploads
of 1 GiB to SeaweedFS, with and without the digest, in turn, each a process of its own. They differ by more from run to run than
the digest costs, so the CPU time within `Reader.update` is measured in the same upload, too, less what measuring takes. The
goal: at most 5 % of that upload's CPU time. Over plain HTTP every part is read twice, since its checksum goes first, and hashed
the first time; over TLS, as to S3 itself, it is read once.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from xxhash import xxh3_128

from synthdub_tui.sources.digest import RangeHasher
from synthdub_tui.transfer.upload import READ_CHUNK_BYTES
from tests.benchmarks import upload_settings, uploads
from tests.benchmarks.uploads import MIB, UploadsTask

MAX_CPU_SHARE = 0.05
"""Of an upload's CPU time."""


class Crc32Hasher:
    """`zlib.crc32`, which botocore computes for each part, as a hash."""

    def __init__(self) -> None:
        self.value = 0

    def update(self, data: bytes) -> None:
        self.value = zlib.crc32(data, self.value)


HASHES: dict[str, Callable[[], Callable[[bytes], None]]] = {
    "xxh3-128": lambda: xxh3_128().update,
    "CRC32": lambda: Crc32Hasher().update,
    "SHA-256": lambda: hashlib.sha256().update,
    "BLAKE2b": lambda: hashlib.blake2b().update,
    "ours": lambda: RangeHasher(2**40, 0, {}).update,
}


def main() -> None:
    options = _parse_options()
    if options.child:
        print(json.dumps(_measure_upload(options.child, UploadsTask(**json.load(sys.stdin)))))
        return
    size, rounds = (16, 1) if options.short else (options.size, options.rounds)
    print(f"load {os.getloadavg()[0]:.1f}; CPU s/GiB of hashes")
    for name, make in HASHES.items():
        print(f"{name:<9}{_hash_cost(make, size * MIB):>7.3f}", flush=True)
    with tempfile.TemporaryDirectory(prefix="synthdub-benchmark-", dir=uploads._folder_with_room(6 * size * MIB)) as name:
        path = Path(name) / "source.mp4"
        uploads._write_random(path, size * MIB)
        share = _print_table(size, _compare_hashes(path, rounds, tls=options.tls))
    if share > MAX_CPU_SHARE and not options.short:
        sys.exit(f"the digest takes {share:.1%} of the upload's CPU time, more than {MAX_CPU_SHARE:.0%}")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the digest of a content costs, alone and within an upload.")
    parser.add_argument("--short", action="store_true", help="16 MiB, one round: shows only that it works")
    parser.add_argument("--tls", action="store_true", help="over TLS, as to S3 itself")
    parser.add_argument("--size", type=int, default=1024, help="MiB of each upload")
    parser.add_argument("--rounds", type=int, default=5, help="uploads of each")
    parser.add_argument("--child", choices=["with", "without"], help=argparse.SUPPRESS)
    return parser.parse_args()


def _hash_cost(make: Callable[[], Callable[[bytes], None]], size: int) -> float:
    """CPU seconds per GiB, the least of three."""
    pieces = [os.urandom(READ_CHUNK_BYTES) for _ in range(4 * MIB // READ_CHUNK_BYTES)]
    times = []
    for _ in range(3):
        update = make()
        before = time.process_time()
        for _ in range(size // (4 * MIB)):
            for piece in pieces:
                update(piece)
        times.append(time.process_time() - before)
    return min(times) * 1024 * MIB / size


def _measure_upload(who: str, task: UploadsTask) -> dict[str, float]:
    """An upload in this process: seconds of CPU, and those of them within the digest."""
    import boto3  # noqa: F401 - imports are not part of the comparison
    import s3transfer.manager  # noqa: F401

    spent: list[int] = []  # nanoseconds, from several threads
    genuine = RangeHasher.update

    def timed(self: RangeHasher, data: bytes) -> None:
        before = time.thread_time_ns()
        genuine(self, data)
        spent.append(time.thread_time_ns() - before)

    RangeHasher.update = timed if who == "with" else lambda self, data: None  # type: ignore[method-assign]
    before = time.process_time()
    asyncio.run(uploads._upload_with_product(task, [uploads.UploadTarget(**fields) for fields in task.targets]))
    cpu = time.process_time() - before
    measuring = min(_measurement_overhead() for _ in range(1000))
    return {"cpu": cpu, "digest": sum(each - measuring for each in spent) / 1e9}


def _measurement_overhead() -> int:
    """Nanoseconds that a measurement of nothing says."""
    before = time.thread_time_ns()
    return time.thread_time_ns() - before


def _compare_hashes(path: Path, rounds: int, *, tls: bool) -> dict[str, list[dict[str, float]]]:
    runs: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
    for number in range(rounds):
        for who in runs if number % 2 == 0 else reversed(runs):
            runs[who].append(_run_child(who, path, tls=tls))
    return runs


def _run_child(who: str, path: Path, *, tls: bool) -> dict[str, float]:
    """One child against storage of its own."""
    certificate = upload_settings.CERTIFICATE
    command = [sys.executable, "-m", "tests.benchmarks.source_digest", "--child", who]
    with upload_settings._running_storage(path.parent, certificate if tls else None) as storage:
        task = UploadsTask(storage.endpoint_url, str(path), [uploads._upload_target(storage, "a.mp4")])
        given = json.dumps(asdict(task)).encode()
        environment = uploads._quiet_environment() | {"SSL_CERT_FILE": str(certificate)}
        done = subprocess.run(command, input=given, env=environment, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _print_table(size: int, runs: dict[str, list[dict[str, float]]]) -> float:
    """The table; the digest's share of an upload's CPU time."""
    share = statistics.median(run["digest"] / run["cpu"] for run in runs["with"])
    print(f"\n{size} MiB uploaded, load {os.getloadavg()[0]:.1f}; medians of {len(runs['with'])} runs in turn")
    print(f"{'':<9}{'CPU s/GiB':>10} {'digest':>8} {'of it':>7}")
    for who, each in runs.items():
        cpu, digest = (statistics.median(run[what] for run in each) * 1024 / size for what in ("cpu", "digest"))
        print(f"{who:<9}{cpu:>10.2f} {digest:>8.3f} {digest / cpu:>7.1%}", flush=True)
    return share


if __name__ == "__main__":
    main()
