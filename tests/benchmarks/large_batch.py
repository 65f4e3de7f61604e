"""A batch of 10,000 jobs in 20 languages beside one of 10: `python -m tests.benchmarks.large_batch [--short]`.

The real runner and the real dashboard in a pseudo-terminal, on state directories with a tenth of the jobs in flight, three
tenths done and the rest waiting, and on one where all is done, which takes most memory; then discovery in a tree of 100,000
files. The goals: the first frame as with 10 jobs, the
whole batch attached within 2 s, 150 MB each, a change at the same cost, filter, sort and marks in 100 ms, and 5 % of a core
for 1,000 projects in flight. Times are those of the wall, so they tell little on a machine that is busy with something else.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from synthdub_tui.dashboard.grid_model import GridModel
from synthdub_tui.ipc import protocol as p
from synthdub_tui.ipc.runner_process import runner_answers
from synthdub_tui.ipc.socket_path import socket_path
from synthdub_tui.jobs.batch_options import BatchOptions as BatchOptions
from synthdub_tui.jobs.filters import parse_filter
from synthdub_tui.jobs.model import SCHEMA_VERSION, DubState, Job
from synthdub_tui.jobs.sorting import SORT_KEYS
from synthdub_tui.languages import OUTPUT_CODES
from synthdub_tui.runner.live_jobs import LiveJobs
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.store.codec import encode_job
from synthdub_tui.store.job_store import JobStore
from tests.benchmarks import job_store as store_benchmark
from tests.benchmarks.dashboard import MeasuredProgram, is_cursor_line_drawn
from tests.dashboard.pseudo_terminal import PseudoTerminal

LANGUAGES = OUTPUT_CODES[:20]
TERMINAL_SIZE = (120, 40)
MIXED_STATES = (DubState.DUBBING, *[DubState.DONE] * 3, *[DubState.WAITING] * 6)
ONLY_DONE = (DubState.DONE,)
CHANGE_COUNT = 100


class BatchFigures(NamedTuple):
    """One size of batch. Seconds and megabytes; `idle` is the runner's share of a core, `filters` the slowest, as `sorts`."""

    parsed: float
    started: float
    attached: float
    runner_cpu: float
    frame: float
    whole: float
    dashboard_cpu: float
    runner: float
    dashboard: float
    idle: float
    change: float
    shown: float
    filters: float
    sorts: float
    marks: float


TABLE_ROWS = (
    ("runner starts: all of it read as TOML", "parsed", "{:.2f} s", "only the first time"),
    ("runner starts: with its cache", "started", "{:.2f} s", ""),
    ("attached: all of it at a client", "attached", "{:.2f} s", "≤ 2 s, with the line above"),
    ("  processor time of both", "runner_cpu", "{:.2f} s", ""),
    ("dashboard: first frame", "frame", "{:.2f} s", "as with few"),
    ("dashboard: all of it shown", "whole", "{:.2f} s", "≤ 2 s"),
    ("  processor time", "dashboard_cpu", "{:.2f} s", ""),
    ("memory of the runner", "runner", "{:.0f} MB", "≤ 150 MB"),
    ("memory of the dashboard", "dashboard", "{:.0f} MB", "≤ 150 MB"),
    ("runner at rest, of a core", "idle", "{:.3f}", "≤ 0.05"),
    ("a change in the runner, till durable", "change", "{:.5f} s", "as with few"),
    ("a change in the grid's model", "shown", "{:.6f} s", "as with few"),
    ("slowest filter", "filters", "{:.3f} s", "≤ 0.1 s"),
    ("slowest order", "sorts", "{:.3f} s", "≤ 0.1 s"),
    ("mark all", "marks", "{:.3f} s", "≤ 0.1 s"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="A large batch beside a small one.")
    parser.add_argument("--short", action="store_true", help="30 jobs instead of 10,000: shows only that it works")
    short = parser.parse_args().short
    many, files, rest = (30, 100, 0.2) if short else (10_000, 100_000, 20)
    store_benchmark.LANGUAGES[:] = LANGUAGES
    with tempfile.TemporaryDirectory(prefix="synthdub-scale-") as folder, answering_service() as url:
        few_measured = measure_batch(Path(folder) / "few", 10, url, rest)
        many_measured = measure_batch(Path(folder) / "many", many, url, rest)
        done_measured = measure_batch(Path(folder) / "done", many, url, min(rest, 2), ONLY_DONE)
        print(f"{'':38} {10:>12,} {many:>12,} {'ratio':>8} {'all done':>12}")
        for title, name, form, goal in TABLE_ROWS:
            small, large = getattr(few_measured, name), getattr(many_measured, name)
            ratio = large / small if small else 0.0
            done = form.format(getattr(done_measured, name))
            print(f"{title:38} {form.format(small):>12} {form.format(large):>12} {ratio:8.2f} {done:>12}  {goal}")
        asyncio.run(measure_discovery(Path(folder) / "tree", Path(folder) / "found", files))


# -- a batch ---------------------------------------------------------------------------------------------------------------


def measure_batch(state: Path, count: int, url: str, rest: float, states: tuple[DubState, ...] = MIXED_STATES) -> BatchFigures:
    """Everything about a batch of so many jobs in these states by turns."""
    fill_state(str(state), count, states)
    parsed, started = (start_runner(state, url) for _ in range(2))
    with running_runner(state, url) as runner:
        begun, spent = time.perf_counter(), time.process_time()
        batch = read_whole_batch(state)
        attached = time.perf_counter() - begun
        runner_cpu = time.process_time() - spent + cpu_seconds(runner.pid)
        frame, whole, dashboard_cpu, dashboard = asyncio.run(measure_dashboard(state, count))
        time.sleep(rest / 4)
        spent = cpu_seconds(runner.pid)
        time.sleep(rest)
        idle = (cpu_seconds(runner.pid) - spent) / rest
        memory = resident_megabytes(runner.pid)
    change = asyncio.run(change_jobs(str(state)))
    return BatchFigures(
        parsed, started, attached, runner_cpu, frame, whole, dashboard_cpu, memory, dashboard, idle, change,
        *measure_grid(batch),
    )  # fmt: skip


def fill_state(state: str, count: int, states: tuple[DubState, ...]) -> None:
    """A paused batch, as the runner leaves it."""
    store = JobStore(state)
    store.open()
    store.write_document("batch", {"schema": SCHEMA_VERSION, "paused": True})
    for number in range(count):
        job = store_benchmark.make_job(number, states[number % len(states)])
        Path(store.path(f"jobs/{job.id}.toml")).write_bytes(encode_job(job))


def start_runner(state: Path, url: str) -> float:
    """Seconds until a runner listens. Then it saves and ends."""
    begun = time.perf_counter()
    with running_runner(state, url):
        return time.perf_counter() - begun


@contextmanager
def running_runner(state: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The runner that dashboards start, once it listens."""
    command = [sys.executable, "-m", "synthdub_tui", "runner", "--state-dir", str(state), "--api-url", url]
    process = subprocess.Popen([*command, "--config", os.devnull], env=os.environ | {"SYNTHESIA_API_KEY": "none"})
    try:
        while not runner_answers(socket_path(str(state))):
            if process.poll() is not None:
                raise SystemExit("the runner did not start")
            time.sleep(0.005)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@contextmanager
def answering_service() -> Iterator[str]:
    """Answers every question about a project: it goes on."""
    body = msgspec.json.encode({"status": "IN_PROGRESS", "dubbedVideos": [{"locale": code} for code in LANGUAGES]})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def read_whole_batch(state: Path) -> GridModel:
    """The whole batch as a dashboard knows it."""
    import socket

    batch = GridModel()
    batch.begin_snapshot()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(socket_path(str(state))))
        connection.sendall(p.encode(p.Hello(version="")) + p.encode(p.SubscribeRequest(id=1)))
        for line in connection.makefile("rb"):
            message = p.decode_message(line)
            if isinstance(message, p.Snapshot):
                batch.update_jobs(message.jobs)
                if message.last:
                    break
    batch.end_snapshot()
    return batch


async def measure_dashboard(state: Path, count: int) -> tuple[float, float, float, float]:
    """The dashboard in a terminal: seconds to its first frame and to the whole batch, on a processor till then; its memory."""
    command = (sys.executable, "-m", "synthdub_tui", "--state-dir", str(state), "--config", os.devnull, "--read-only")
    born = time.perf_counter()
    terminal = PseudoTerminal(command, TERMINAL_SIZE)
    try:
        subject = MeasuredProgram(terminal, TERMINAL_SIZE, born, is_cursor_line_drawn)
        frame = await subject.wait_for_first_frame(b"files")
        whole = await subject.wait_for_text(f" {count} files".encode())
        spent = cpu_seconds(terminal.process.pid)
        await subject.wait_until_quiet()
        return frame, whole, spent, resident_megabytes(terminal.process.pid)
    finally:
        terminal.kill()


async def change_jobs(state: str) -> float:
    """Seconds from a change to its being durable, the median."""
    store = JobStore(state)
    ledger = LiveJobs(store, lambda error: None)
    ledger.load(store.load(set_aside=False).jobs)
    taken = []
    for job in list(ledger.jobs.values())[:10] * (CHANGE_COUNT // 10):
        begun = time.perf_counter()
        ledger.update(replace(ledger.jobs[job.id], uploads=len(taken)))
        await ledger.wait_until_saved(job.id)
        taken.append(time.perf_counter() - begun)
    await ledger.close(timeout=5)
    return statistics.median(taken)


def measure_grid(batch: GridModel) -> tuple[float, float, float, float]:
    """Seconds of a change, the slowest filter, the slowest order, and marking all."""
    jobs = [row.job for row in batch.rows.values()][:10]
    changes = []
    for number in range(CHANGE_COUNT):
        job = jobs[number % len(jobs)]
        code = next(iter(job.dubs))
        state = DubState.FAILED if number // len(jobs) % 2 else DubState.DONE
        changed = replace(job, dubs=job.dubs | {code: replace(job.dubs[code], state=state)})
        changes.append(cpu_time_of(lambda changed=changed: batch.update_jobs([changed])))  # type: ignore[misc]
    words = ("state:failed", "state:open lang:fr", "name:lesson", "path:course -state:done", "reviewed:no", "")
    filters = [cpu_time_of(lambda word=word: batch.set_filter(parse_filter(word))) for word in words]  # type: ignore[misc]
    sorts = [cpu_time_of(lambda order=order: batch.sort(order)) for order in SORT_KEYS]  # type: ignore[misc]
    return statistics.median(changes), max(filters), max(sorts), cpu_time_of(batch.mark_all_visible)


def cpu_time_of(work: object) -> float:
    """On a processor: nothing else is waited for."""
    assert callable(work)
    begun = time.process_time()
    work()
    return time.process_time() - begun


def resident_megabytes(pid: int) -> float:
    """Resident megabytes."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def cpu_seconds(pid: int) -> float:
    """Seconds of a process on a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- discovery -------------------------------------------------------------------------------------------------------------


MAX_DISCOVERY_SECONDS: Final = 30.0
"""Seconds after which adding is stopped on a slow disk."""


async def measure_discovery(tree: Path, state: Path, files: int) -> None:
    """Add a tree of nested folders; stop when half of it is in the batch, or half a minute has passed."""
    for number in range(files):
        place = tree / f"{number // 10_000}" / f"{number // 500}" / "nested"
        if number % 500 == 0:
            place.mkdir(parents=True)
        (place / f"{number}.mp4").write_bytes(b"v")
    flags = {"config": os.devnull, "state_dir": str(state), "api_url": "http://127.0.0.1:9", "settle_seconds": 0.0}
    runner = Runner(resolve_settings(flags, {"SYNTHESIA_API_KEY": "none"}))
    runner.open()
    runner.start()
    await runner.pause(True)
    begun = time.perf_counter()
    first, stopped_at, found = 0.0, 0.0, 0

    def stop() -> None:
        nonlocal stopped_at, found
        if not stopped_at:
            stopped_at, found = time.perf_counter(), len(runner.live_jobs.jobs)
            runner.stop_adding()

    def count(_before: Job | None, _job: Job) -> None:
        """Stops at once and not at the next look: a short tree may be through by then."""
        nonlocal first
        first = first or time.perf_counter() - begun
        if len(runner.live_jobs.jobs) >= files / 2:
            stop()

    runner.live_jobs.add_listener(count)
    time_limit = asyncio.get_running_loop().call_later(MAX_DISCOVERY_SECONDS, stop)
    added = await runner.add([str(tree)], BatchOptions(targets=("fr-FR",)))
    time_limit.cancel()
    stopped, rate = time.perf_counter() - stopped_at, found / (stopped_at - begun)
    assert added.stopped
    print(
        f"adding a tree of {files:,} files: first row after {first:.3f} s, {rate:,.0f} files a second until durable, ", end=""
    )
    print(f"stopped within {stopped:.3f} s with {added.videos:,} in the batch")
    await runner.stop()


if __name__ == "__main__":
    main()
