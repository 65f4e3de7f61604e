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

from synthdub_tui.ipc.protocol import Changes, Meters, Snapshot, Transfer, encode
from synthdub_tui.ipc.server import TICK
from synthdub_tui.jobs.model import DubState
from tests.benchmarks.minimal_difference import Replay
from tests.dashboard.fake_runner import LANGUAGES, FakeRunner, make_job
from tests.dashboard.pseudo_terminal import PLAY, Terminal

CHANGES = 200
STEPS = 10
_APPS = (sys.executable, "-m", "tests.benchmarks.dashboard_comparison_apps")


class Measured(NamedTuple):
    """One line of the table. Seconds, but key times in milliseconds; memory in MB."""

    app: str
    first: float
    whole: float
    idle_keys: list[float]
    loaded_keys: list[float]
    idle_bytes: float
    idle_cpu: float
    bytes: float
    cpu: float
    memory: float
    of_perfect: float = 0  # bytes under load, of the perfect difference
    scroll: float = 0  # bytes of one step
    scroll_of_perfect: float = 0


class Subject:
    """A program in a terminal, and how its answers are recognised."""

    def __init__(self, terminal: Terminal, size: tuple[int, int], born: float, moved: Callable[[bytes], bool]) -> None:
        self.terminal = terminal
        self.size = size
        self.born = born
        self.moved = moved

    async def seen(self, words: bytes, patience: float = 60.0) -> float:
        """Seconds from its start until the words are on the screen."""
        return await self._until(
            lambda: words in self.terminal.output or words.decode() in self.terminal.screen, self.born, patience
        )

    async def first(self, words: bytes) -> float:
        """Seconds from its start until the words come in one piece, as a first frame has them. The emulator is not asked: it
        takes longer for a frame than the program."""
        return await self._until(lambda: words in self.terminal.output, self.born, 60.0)

    async def keys(self, count: int) -> list[float]:
        """Milliseconds from a key to its paint."""
        times = []
        for number in range(count):
            before = len(self.terminal.output)
            begun = time.perf_counter()
            self.terminal.type(b"\x1b[B" if number % 16 < 8 else b"\x1b[A")
            taken = await self._until(lambda before=before: self.moved(bytes(self.terminal.output[before:])), begun, 5.0)
            times.append(taken * 1000)
            await asyncio.sleep(0.03 + number % 7 / 100)
        return times

    async def work(self, seconds: float) -> tuple[float, float, range]:
        """Bytes a second and share of a core over a while, and which bytes these were."""
        size, cpu, begun = len(self.terminal.output), self.terminal.cpu(), time.perf_counter()
        await asyncio.sleep(seconds)
        passed = time.perf_counter() - begun
        written = range(size, len(self.terminal.output))
        return len(written) / passed, (self.terminal.cpu() - cpu) / passed, written

    async def scroll(self, steps: int) -> range:
        """Go to the last line that is seen, then one step down at a time. Returns which bytes the steps were."""
        for _ in range(self.size[1]):
            self.terminal.type(b"\x1b[B")
            await asyncio.sleep(0.01)
        await self.settle()
        size = len(self.terminal.output)
        for _ in range(steps):
            before = len(self.terminal.output)
            self.terminal.type(b"\x1b[B")
            await self._until(lambda before=before: len(self.terminal.output) > before, time.perf_counter(), 5.0)
            await asyncio.sleep(0.2)
        return range(size, len(self.terminal.output))

    def of_perfect(self, *windows: range) -> list[float]:
        """How much was written in each window, of what perfect differences would have taken for the same frames."""
        replay = Replay(self.size)
        perfect = [0] * len(windows)
        for begin, end in pairwise([0, *self.terminal.reads]):
            fewest = replay.frame(bytes(self.terminal.output[begin:end]))
            for number, window in enumerate(windows):
                perfect[number] += fewest if begin in window else 0
        return [len(window) / max(1, bound) for window, bound in zip(windows, perfect, strict=True)]

    def memory(self) -> float:
        """Resident megabytes."""
        status = Path(f"/proc/{self.terminal.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    async def settle(self) -> None:
        """Wait until it writes nothing for half a second."""
        size = -1
        while size != len(self.terminal.output):
            size = len(self.terminal.output)
            await asyncio.sleep(0.5)

    async def _until(self, condition: Callable[[], bool], begun: float, patience: float) -> float:
        while not condition():
            if time.perf_counter() - begun > patience:
                return patience
            await asyncio.sleep(0.0005)
        return time.perf_counter() - begun


def name_drawn(output: bytes) -> bool:
    """Whether the cursor came to another line: the names of both are drawn anew, which no change of a dub does."""
    return b"lesson" in output


async def measure_ours(rows: int, columns: int, size: tuple[int, int], short: bool) -> Measured:
    """The dashboard on a fake runner."""
    with tempfile.TemporaryDirectory() as folder:
        runner = FakeRunner(Path(folder) / "runner.sock", [])
        snapshot = lines_of(rows, columns)
        runner._snapshot = lambda writer: send(runner, writer, snapshot)  # type: ignore[method-assign]
        path = await runner.start()
        born = time.perf_counter()
        terminal = Terminal((*PLAY, "--socket", str(path), "--state", folder), size)
        subject = Subject(terminal, size, born, name_drawn)
        try:
            first = await subject.first(b"files")
            whole = await subject.seen(f" {rows} files".encode())
            await subject.settle()
            runner.push(meters=Meters(time.time(), busy=True))
            await subject.settle()
            idle_bytes, idle_cpu, _ = await subject.work(0.5 if short else 5)
            idle = await subject.keys(4 if short else 60)
            load = asyncio.create_task(change(runner, columns))
            await asyncio.sleep(0.5)
            amount, cpu, working = await subject.work(0.5 if short else 6)
            loaded = await subject.keys(4 if short else 80)
            load.cancel()
            memory = subject.memory()
            steps = await subject.scroll(count := _steps(short))
            ratios = subject.of_perfect(working, steps)
            scroll = len(steps) / count
            measured = (first, whole, idle, loaded, idle_bytes, idle_cpu, amount, cpu, memory, ratios[0], scroll, ratios[1])
            return Measured("synthdub", *measured)
        finally:
            terminal.close()
            await runner.die()


async def start_ours(rows: int, columns: int, size: tuple[int, int]) -> tuple[float, float]:
    """Only the start: seconds to the first frame and to the whole batch."""
    with tempfile.TemporaryDirectory() as folder:
        runner = FakeRunner(Path(folder) / "runner.sock", [])
        snapshot = lines_of(rows, columns)
        runner._snapshot = lambda writer: send(runner, writer, snapshot)  # type: ignore[method-assign]
        path = await runner.start()
        terminal = Terminal((*PLAY, "--socket", str(path), "--state", folder), size)
        subject = Subject(terminal, size, time.perf_counter(), name_drawn)
        try:
            return await subject.first(b"files"), await subject.seen(f" {rows} files".encode())
        finally:
            subject.terminal.close()
            await runner.die()


def lines_of(rows: int, columns: int) -> list[bytes]:
    """The snapshot, encoded before anything is measured. Visible rows download, so that changes change no totals."""
    lines, jobs = [], []
    for number in range(rows):
        state = DubState.DOWNLOADING if number < 60 else DubState.DUBBING
        job = make_job(number, LANGUAGES[:columns], state)
        jobs.append(replace(job, dubs={code: replace(dub, submitted=dub.submitted - 900) for code, dub in job.dubs.items()}))
    for start in range(0, rows, 200):
        last = start + 200 >= rows
        lines.append(encode(Snapshot(jobs=jobs[start : start + 200], last=last, meters=Meters(time.time(), busy=True))))
    return lines


async def send(runner: FakeRunner, writer: asyncio.StreamWriter, lines: list[bytes]) -> None:
    """A snapshot that was encoded before."""
    for line in lines:
        writer.write(line)
        await writer.drain()
    runner._subscribed.add(writer)


async def change(runner: FakeRunner, columns: int) -> None:
    """200 changes of visible cells a second, told as often as the runner tells of changes."""
    ids = [make_job(number, []).id for number in range(12, 32)]
    codes = LANGUAGES[1 : min(columns, 10)]
    moving: dict[tuple[str, str], int] = {}
    step = 0
    while True:
        for _ in range(round(CHANGES * TICK)):
            step += 1
            moving[ids[step % 20], codes[step % len(codes)]] = step % 100
        runner.say(Changes(transfers=[Transfer(job, code, done, 100, 1.0) for (job, code), done in moving.items()]))
        await asyncio.sleep(TICK)


async def measure_table(rows: int, columns: int, size: tuple[int, int], short: bool) -> Measured:
    """DataTable, once idle and once with changes."""
    born = time.perf_counter()
    moved = re.compile(rb"@\d+@").search
    terminal = Terminal((*_APPS, "table", str(rows), str(columns), "0"), size)
    subject = Subject(terminal, size, born, lambda output: bool(moved(output)))
    try:
        first = await subject.first(b"lesson 0000")
        await subject.settle()
        idle_bytes, idle_cpu, _ = await subject.work(0.5 if short else 5)
        idle = await subject.keys(4 if short else 60)
        steps = await subject.scroll(count := _steps(short))
        scroll = (len(steps) / count, *subject.of_perfect(steps))
    finally:
        terminal.close()
    terminal = Terminal((*_APPS, "table", str(rows), str(columns), str(CHANGES)), size)
    subject = Subject(terminal, size, time.perf_counter(), lambda output: bool(moved(output)))
    try:
        await subject.seen(b"lesson 0000")
        await asyncio.sleep(1)
        amount, cpu, working = await subject.work(0.5 if short else 6)
        loaded = await subject.keys(4 if short else 80)
        measured = (first, first, idle, loaded, idle_bytes, idle_cpu, amount, cpu, subject.memory())
        return Measured("DataTable", *measured, *subject.of_perfect(working), *scroll)
    finally:
        terminal.close()


def _steps(short: bool) -> int:
    return 3 if short else STEPS


async def measure_bare(size: tuple[int, int], short: bool) -> Measured:
    """An app that shows one word."""
    firsts = []
    for _ in range(1 if short else 5):
        terminal = Terminal((*_APPS, "bare"), size)
        subject = Subject(terminal, size, time.perf_counter(), lambda output: False)
        try:
            firsts.append(await subject.first(b"ready-to-read"))
            memory = subject.memory()
        finally:
            terminal.close()
    first = statistics.median(firsts)
    return Measured("bare Textual", first, first, [], [], 0, 0, 0, 0, memory)


def shown(measured: Measured, bare: float) -> str:
    """One line of the table."""

    def keys(times: list[float]) -> str:
        if not times:
            return f"{'-':>12}"
        ordered = sorted(times)
        return f"{statistics.median(ordered):5.1f} /{ordered[int(len(ordered) * 0.95) - 1]:5.0f}"

    m = measured
    return (
        f"{m.app:<13}{m.first:6.2f} ({m.first / bare:4.2f}){m.whole:7.2f}  {keys(m.idle_keys):>12}  {keys(m.loaded_keys):>12}"
        f"{m.idle_bytes:8.0f}{m.idle_cpu * 100:7.1f}{m.bytes / 1000:8.1f} ({m.of_perfect:5.2f}){m.cpu * 100:7.1f}"
        f"{m.scroll / 1000:8.2f} ({m.scroll_of_perfect:5.2f}){m.memory:7.0f}"
    )


_WIDTHS = (13, 7, 12, 12, 8, 7, 16, 7, 16, 7)
_TITLES = (
    ("first frame", "whole", "key idle", "key loaded", "idle", "idle", "loaded", "loaded", "scroll step", "memory"),
    ("s (of bare)", "s", "p50/p95 ms", "p50/p95 ms", "B/s", "CPU %", "kB/s (of perfect)", "CPU %", "kB (of perfect)", "MB"),
)
HEAD = "\n".join(
    " " * 13 + "".join(f"{'  ' if width == 12 else ''}{title:>{width}}" for title, width in zip(titles, _WIDTHS, strict=True))
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
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {CHANGES} visible changes a second where loaded")
    for size in sizes:
        for rows, columns in batches:
            bare = await measure_bare(size, short)
            print(f"\n{rows:,} files × {columns} languages at {size[0]}×{size[1]}\n{HEAD}")
            print(shown(bare, bare.first))
            if not arguments.ours:
                print(shown(await measure_table(rows, columns, size, short), bare.first), flush=True)
            ours = await measure_ours(rows, columns, size, short)
            starts = sorted(
                [await start_ours(rows, columns, size) for _ in range(0 if short else 4)] + [(ours.first, ours.whole)]
            )
            first, whole = starts[len(starts) // 2]
            print(shown(ours._replace(first=first, whole=whole), bare.first), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
