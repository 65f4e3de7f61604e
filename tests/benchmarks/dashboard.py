"""Measures the dashboard in a real pseudo-terminal, beside Textual's DataTable on the same data and a bare Textual app.

`python -m tests.benchmarks.dashboard [--short]` prints, for each size of batch and terminal: time to the first frame and to
the whole batch, from key to paint while idle and under 200 visible changes a second, bytes written, processor, memory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from synthdub_tui.ipc.protocol import BatchStatus, Changes, Snapshot, Transfer, encode
from synthdub_tui.ipc.server import CHANGES_INTERVAL_SECONDS
from synthdub_tui.jobs.model import DubState
from tests.benchmarks.minimal_difference import MinimalDifference
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, FakeRunner, make_job
from tests.dashboard.pseudo_terminal import FAKE_RUNNER_COMMAND, PseudoTerminal

CHANGES_PER_SECOND = 200
SCROLL_STEPS = 10
_COMPARISON_COMMAND = (sys.executable, "-m", "tests.benchmarks.dashboard_comparison_apps")


class DashboardFigures(NamedTuple):
    """One line of the table. Seconds, but key times in milliseconds; memory in MB."""

    app: str
    first_frame: float
    whole_batch: float
    idle_keys: list[float]
    loaded_keys: list[float]
    idle_bytes: float
    idle_cpu: float
    loaded_bytes: float
    loaded_cpu: float
    memory: float
    loaded_ratio_to_minimum: float = 0  # bytes under load, of the perfect difference
    scroll_bytes: float = 0  # bytes of one step
    scroll_ratio_to_minimum: float = 0


class MeasuredProgram:
    """A program in a terminal, and how its answers are recognised."""

    def __init__(self, terminal: PseudoTerminal, size: tuple[int, int], born: float, moved: Callable[[bytes], bool]) -> None:
        self.terminal = terminal
        self.size = size
        self.started_at = born
        self.has_cursor_moved = moved

    async def wait_for_text(self, words: bytes, timeout: float = 60.0) -> float:
        """Seconds from its start until the words are on the screen."""
        return await self._wait_until(
            lambda: words in self.terminal.output or words.decode() in self.terminal.screen, self.started_at, timeout
        )

    async def wait_for_first_frame(self, words: bytes) -> float:
        """Seconds from its start until the words come in one piece, as a first frame has them. The emulator is not asked: it
        takes longer for a frame than the program."""
        return await self._wait_until(lambda: words in self.terminal.output, self.started_at, 60.0)

    async def measure_keys(self, count: int) -> list[float]:
        """Milliseconds from a key to its paint."""
        times = []
        for number in range(count):
            before = len(self.terminal.output)
            begun = time.perf_counter()
            self.terminal.type_keys(b"\x1b[B" if number % 16 < 8 else b"\x1b[A")
            taken = await self._wait_until(
                lambda before=before: self.has_cursor_moved(bytes(self.terminal.output[before:])), begun, 5.0
            )
            times.append(taken * 1000)
            await asyncio.sleep(0.03 + number % 7 / 100)
        return times

    async def measure_output(self, seconds: float) -> tuple[float, float, range]:
        """Bytes a second and share of a core over a while, and which bytes these were."""
        size, cpu, begun = len(self.terminal.output), self.terminal.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(seconds)
        passed = time.perf_counter() - begun
        written = range(size, len(self.terminal.output))
        return len(written) / passed, (self.terminal.cpu_seconds() - cpu) / passed, written

    async def scroll_down(self, steps: int) -> range:
        """Go to the last line that is seen, then one step down at a time. Returns which bytes the steps were."""
        for _ in range(self.size[1]):
            self.terminal.type_keys(b"\x1b[B")
            await asyncio.sleep(0.01)
        await self.wait_until_quiet()
        size = len(self.terminal.output)
        for _ in range(steps):
            before = len(self.terminal.output)
            self.terminal.type_keys(b"\x1b[B")
            await self._wait_until(lambda before=before: len(self.terminal.output) > before, time.perf_counter(), 5.0)
            await asyncio.sleep(0.2)
        return range(size, len(self.terminal.output))

    def ratios_to_minimum(self, *windows: range) -> list[float]:
        """How much was written in each window, of what perfect differences would have taken for the same frames."""
        replay = MinimalDifference(self.size)
        perfect = [0] * len(windows)
        for begin, end in pairwise([0, *self.terminal.output_sizes]):
            fewest = replay.minimum_bytes(bytes(self.terminal.output[begin:end]))
            for number, window in enumerate(windows):
                perfect[number] += fewest if begin in window else 0
        return [len(window) / max(1, bound) for window, bound in zip(windows, perfect, strict=True)]

    def resident_megabytes(self) -> float:
        """Resident megabytes."""
        status = Path(f"/proc/{self.terminal.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    async def wait_until_quiet(self) -> None:
        """Wait until it writes nothing for half a second."""
        size = -1
        while size != len(self.terminal.output):
            size = len(self.terminal.output)
            await asyncio.sleep(0.5)

    async def _wait_until(self, condition: Callable[[], bool], begun: float, patience: float) -> float:
        while not condition():
            if time.perf_counter() - begun > patience:
                return patience
            await asyncio.sleep(0.0005)
        return time.perf_counter() - begun


def is_cursor_line_drawn(output: bytes) -> bool:
    """Whether the cursor came to another line: the names of both are drawn anew, which no change of a dub does."""
    return b"lesson" in output


async def measure_ours(rows: int, columns: int, size: tuple[int, int], short: bool) -> DashboardFigures:
    """The dashboard on a fake runner."""
    with tempfile.TemporaryDirectory() as folder:
        runner = FakeRunner(Path(folder) / "runner.sock", [])
        snapshot = encode_snapshot(rows, columns)
        runner._send_snapshot = lambda writer: send_snapshot(runner, writer, snapshot)  # type: ignore[method-assign]
        path = await runner.start()
        born = time.perf_counter()
        terminal = PseudoTerminal((*FAKE_RUNNER_COMMAND, "--socket", str(path), "--state", folder), size)
        subject = MeasuredProgram(terminal, size, born, is_cursor_line_drawn)
        try:
            first = await subject.wait_for_first_frame(b"files")
            whole = await subject.wait_for_text(f" {rows} files".encode())
            await subject.wait_until_quiet()
            runner.push_changes(meters=BatchStatus(time.time(), busy=True))
            await subject.wait_until_quiet()
            idle_bytes, idle_cpu, _ = await subject.measure_output(0.5 if short else 5)
            idle = await subject.measure_keys(4 if short else 60)
            load = asyncio.create_task(send_changes(runner, columns))
            await asyncio.sleep(0.5)
            amount, cpu, working = await subject.measure_output(0.5 if short else 6)
            loaded = await subject.measure_keys(4 if short else 80)
            load.cancel()
            memory = subject.resident_megabytes()
            steps = await subject.scroll_down(count := _scroll_steps(short))
            ratios = subject.ratios_to_minimum(working, steps)
            scroll = len(steps) / count
            measured = (first, whole, idle, loaded, idle_bytes, idle_cpu, amount, cpu, memory, ratios[0], scroll, ratios[1])
            return DashboardFigures("synthdub", *measured)
        finally:
            terminal.kill()
            await runner.disconnect()


async def measure_our_start(rows: int, columns: int, size: tuple[int, int]) -> tuple[float, float]:
    """Only the start: seconds to the first frame and to the whole batch."""
    with tempfile.TemporaryDirectory() as folder:
        runner = FakeRunner(Path(folder) / "runner.sock", [])
        snapshot = encode_snapshot(rows, columns)
        runner._send_snapshot = lambda writer: send_snapshot(runner, writer, snapshot)  # type: ignore[method-assign]
        path = await runner.start()
        terminal = PseudoTerminal((*FAKE_RUNNER_COMMAND, "--socket", str(path), "--state", folder), size)
        subject = MeasuredProgram(terminal, size, time.perf_counter(), is_cursor_line_drawn)
        try:
            return await subject.wait_for_first_frame(b"files"), await subject.wait_for_text(f" {rows} files".encode())
        finally:
            subject.terminal.kill()
            await runner.disconnect()


def encode_snapshot(rows: int, columns: int) -> list[bytes]:
    """The snapshot, encoded before anything is measured. Visible rows download, so that changes change no totals."""
    lines, jobs = [], []
    for number in range(rows):
        state = DubState.DOWNLOADING if number < 60 else DubState.DUBBING
        job = make_job(number, TWENTY_LANGUAGES[:columns], state)
        jobs.append(replace(job, dubs={code: replace(dub, submitted=dub.submitted - 900) for code, dub in job.dubs.items()}))
    for start in range(0, rows, 200):
        last = start + 200 >= rows
        lines.append(encode(Snapshot(jobs=jobs[start : start + 200], last=last, meters=BatchStatus(time.time(), busy=True))))
    return lines


async def send_snapshot(runner: FakeRunner, writer: asyncio.StreamWriter, lines: list[bytes]) -> None:
    """A snapshot that was encoded before."""
    for line in lines:
        writer.write(line)
        await writer.drain()
    runner._subscribed.add(writer)


async def send_changes(runner: FakeRunner, columns: int) -> None:
    """200 changes of visible cells a second, told as often as the runner tells of changes."""
    ids = [make_job(number, []).id for number in range(12, 32)]
    codes = TWENTY_LANGUAGES[1 : min(columns, 10)]
    moving: dict[tuple[str, str], int] = {}
    step = 0
    while True:
        for _ in range(round(CHANGES_PER_SECOND * CHANGES_INTERVAL_SECONDS)):
            step += 1
            moving[ids[step % 20], codes[step % len(codes)]] = step % 100
        runner.send_message(Changes(transfers=[Transfer(job, code, done, 100, 1.0) for (job, code), done in moving.items()]))
        await asyncio.sleep(CHANGES_INTERVAL_SECONDS)


async def measure_table(rows: int, columns: int, size: tuple[int, int], short: bool) -> DashboardFigures:
    """DataTable, once idle and once with changes."""
    born = time.perf_counter()
    moved = re.compile(rb"@\d+@").search
    terminal = PseudoTerminal((*_COMPARISON_COMMAND, "table", str(rows), str(columns), "0"), size)
    subject = MeasuredProgram(terminal, size, born, lambda output: bool(moved(output)))
    try:
        first = await subject.wait_for_first_frame(b"lesson 0000")
        await subject.wait_until_quiet()
        idle_bytes, idle_cpu, _ = await subject.measure_output(0.5 if short else 5)
        idle = await subject.measure_keys(4 if short else 60)
        steps = await subject.scroll_down(count := _scroll_steps(short))
        scroll = (len(steps) / count, *subject.ratios_to_minimum(steps))
    finally:
        terminal.kill()
    terminal = PseudoTerminal((*_COMPARISON_COMMAND, "table", str(rows), str(columns), str(CHANGES_PER_SECOND)), size)
    subject = MeasuredProgram(terminal, size, time.perf_counter(), lambda output: bool(moved(output)))
    try:
        await subject.wait_for_text(b"lesson 0000")
        await asyncio.sleep(1)
        amount, cpu, working = await subject.measure_output(0.5 if short else 6)
        loaded = await subject.measure_keys(4 if short else 80)
        measured = (first, first, idle, loaded, idle_bytes, idle_cpu, amount, cpu, subject.resident_megabytes())
        return DashboardFigures("DataTable", *measured, *subject.ratios_to_minimum(working), *scroll)
    finally:
        terminal.kill()


def _scroll_steps(short: bool) -> int:
    return 3 if short else SCROLL_STEPS


async def measure_bare(size: tuple[int, int], short: bool) -> DashboardFigures:
    """An app that shows one word."""
    firsts = []
    for _ in range(1 if short else 5):
        terminal = PseudoTerminal((*_COMPARISON_COMMAND, "bare"), size)
        subject = MeasuredProgram(terminal, size, time.perf_counter(), lambda output: False)
        try:
            firsts.append(await subject.wait_for_first_frame(b"ready-to-read"))
            memory = subject.resident_megabytes()
        finally:
            terminal.kill()
    first = statistics.median(firsts)
    return DashboardFigures("bare Textual", first, first, [], [], 0, 0, 0, 0, memory)


def format_figures(measured: DashboardFigures, bare: float) -> str:
    """One line of the table."""

    def keys(times: list[float]) -> str:
        if not times:
            return f"{'-':>12}"
        ordered = sorted(times)
        return f"{statistics.median(ordered):5.1f} /{ordered[int(len(ordered) * 0.95) - 1]:5.0f}"

    m = measured
    return (
        f"{m.app:<13}{m.first_frame:6.2f} ({m.first_frame / bare:4.2f}){m.whole_batch:7.2f}"
        f"  {keys(m.idle_keys):>12}  {keys(m.loaded_keys):>12}{m.idle_bytes:8.0f}{m.idle_cpu * 100:7.1f}"
        f"{m.loaded_bytes / 1000:8.1f} ({m.loaded_ratio_to_minimum:5.2f}){m.loaded_cpu * 100:7.1f}"
        f"{m.scroll_bytes / 1000:8.2f} ({m.scroll_ratio_to_minimum:5.2f}){m.memory:7.0f}"
    )


_COLUMN_WIDTHS = (13, 7, 12, 12, 8, 7, 16, 7, 16, 7)
_TITLES = (
    ("first frame", "whole", "key idle", "key loaded", "idle", "idle", "loaded", "loaded", "scroll step", "memory"),
    ("s (of bare)", "s", "p50/p95 ms", "p50/p95 ms", "B/s", "CPU %", "kB/s (of perfect)", "CPU %", "kB (of perfect)", "MB"),
)
TABLE_HEAD = "\n".join(
    " " * 13
    + "".join(f"{'  ' if width == 12 else ''}{title:>{width}}" for title, width in zip(titles, _COLUMN_WIDTHS, strict=True))
    for titles in _TITLES
)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one small size: that it works, not how fast")
    parser.add_argument("--ours", action="store_true", help="leave DataTable out")
    arguments = parser.parse_args()
    short = arguments.short
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program does not compile itself at every start
    batches = [(100, 10)] if short else [(1000, 10), (10_000, 20)]
    sizes = [(120, 40)] if short else [(120, 40), (200, 50)]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {CHANGES_PER_SECOND} visible changes a second where loaded")
    for size in sizes:
        for rows, columns in batches:
            bare = await measure_bare(size, short)
            print(f"\n{rows:,} files × {columns} languages at {size[0]}×{size[1]}\n{TABLE_HEAD}")
            print(format_figures(bare, bare.first_frame))
            if not arguments.ours:
                print(format_figures(await measure_table(rows, columns, size, short), bare.first_frame), flush=True)
            ours = await measure_ours(rows, columns, size, short)
            starts = sorted(
                [await measure_our_start(rows, columns, size) for _ in range(0 if short else 4)]
                + [(ours.first_frame, ours.whole_batch)]
            )
            first, whole = starts[len(starts) // 2]
            print(format_figures(ours._replace(first_frame=first, whole_batch=whole), bare.first_frame), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
