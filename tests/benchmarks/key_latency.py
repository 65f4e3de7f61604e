"""Keys while the runner uploads: `python -m tests.benchmarks.key_latency [--short]`.

The whole program in a real pseudo-terminal, the sandbox as a process of its own: the time from a key to its paint while four
uploads run at full speed, beside the same with nothing to do, in one run. Sandbox, runner, dashboard and this share the cores,
and the terminal's emulation here, about a millisecond, is in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from synthdub_tui.ipc.protocol import StatusRequest, StopRequest
from tests.dashboard.pseudo_terminal import REPO_ROOT, PseudoTerminal

MIB = 1024 * 1024
UPLOAD_COUNT = 4
SMALL_FILE_COUNT = 12
"""Files that are dubbed at once, so that there is a grid to move in."""

GOAL_MILLISECONDS = 20
"""Milliseconds at the 95th percentile while uploading (issue 5)."""

LOST_KEY_SECONDS = 5.0
"""Seconds."""

PRODUCT_COMMAND = (sys.executable, "-m", "synthdub_tui")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="smaller files, fewer keys: that it works, not how fast")
    short = parser.parse_args().short
    size = (256 if short else 2048) * MIB
    with tempfile.TemporaryDirectory(prefix="synthdub-keys-") as name:
        await measure(Path(name), size, 4 if short else 80)


async def measure(folder: Path, size: int, keys: int) -> None:
    """Print both rows."""
    for number in range(SMALL_FILE_COUNT):
        _make_sparse_file(folder / "small" / f"small-{number:02}.mp4", 1000)
    for number in range(UPLOAD_COUNT):
        _make_sparse_file(folder / "large" / f"large-{number:02}.mp4", size)
    state = folder / "state"
    with _running_sandbox(folder) as environment:
        environment["SYNTHDUB_STATE_DIR"] = str(state)
        try:
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {UPLOAD_COUNT} uploads of {size // MIB:,} MiB")
            async with asyncio.timeout(300):
                idle = await _measure_keys(folder / "small", environment, keys, f"{SMALL_FILE_COUNT}/{SMALL_FILE_COUNT} done")
                _print("nothing to do", idle)
                loaded = await _measure_keys(folder / "large", environment, keys, "large-03.mp4", uploading=state)
                _print(f"{UPLOAD_COUNT} uploads", loaded)
                rate = _upload_rate(state)
            print(f"uploading at {rate / MIB:.0f} MiB/s at the end; goal: p95 ≤ {GOAL_MILLISECONDS} ms")
            assert rate > 0, "the uploads ended before the keys did: nothing was measured"
        finally:
            control = BlockingRunnerClient.connect(str(state))
            if control is not None:
                control.ask(StopRequest(id=1))
                control.wait_for_end()


async def _measure_keys(
    videos: Path, environment: dict[str, str], count: int, ready: str, *, uploading: Path | None = None
) -> list[float]:
    """Milliseconds from each key to its paint, once the screen shows `ready` and, where wanted, bytes move."""
    command = (*PRODUCT_COMMAND, str(videos), "--config", os.devnull, "--tier", "unlimited", "--targets", "fr-FR")
    command += ("--max-uploads", str(UPLOAD_COUNT), "--poll-interval", "0.2", "--settle", "0")
    terminal = PseudoTerminal(command, (120, 40), **environment)
    try:
        await terminal.wait_for_text(ready)
        while uploading is not None and _upload_rate(uploading) <= 0:
            await asyncio.sleep(0.1)
        return [await _measure_key(terminal, b"\x1b[A" if number % 2 else b"\x1b[B", number) for number in range(count)]
    finally:
        terminal.kill()


async def _measure_key(terminal: PseudoTerminal, key: bytes, number: int) -> float:
    """Milliseconds until the cursor stands in another line."""
    await asyncio.sleep(0.1 + number % 7 / 100)
    before = _cursor_line(terminal)
    begun = time.perf_counter()
    terminal.type_keys(key)
    while _cursor_line(terminal) in (before, None):
        if time.perf_counter() - begun > LOST_KEY_SECONDS:
            raise AssertionError(f"a key was lost:\n{terminal.screen}")
        await asyncio.sleep(0.0005)
    return (time.perf_counter() - begun) * 1000


def _cursor_line(terminal: PseudoTerminal) -> int | None:
    """The line in which the grid's cursor is drawn, in reverse."""
    lines = terminal.lines
    return next((y for y, line in enumerate(lines[4:-1]) if any(char.reverse for char in line)), None)


def _upload_rate(state: Path) -> float:
    """Bytes a second that the runner uploads."""
    control = BlockingRunnerClient.connect(str(state))
    assert control is not None, "no runner works"
    try:
        meters = control.ask(StatusRequest(id=1)).meters
    finally:
        control.close()
    assert meters is not None
    return meters.up


def _print(what: str, times: list[float]) -> None:
    ordered = sorted(times)
    p95 = ordered[int(len(ordered) * 0.95) - 1]
    print(f"{what:<14} key to paint p50 {statistics.median(ordered):6.1f} ms, p95 {p95:6.1f} ms", flush=True)


def _make_sparse_file(path: Path, size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        file.write(b"v")  # zeros alone are known to be no video
        file.truncate(size)


@contextmanager
def _running_sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """The service as a process of its own; the environment that leads there."""
    config = folder / "sandbox.toml"
    config.write_text("processing_seconds = 0.05\ndubbing_seconds = [1.0, 1.0]\n")
    with subprocess.Popen(
        (*PRODUCT_COMMAND, "sandbox", "--config", str(config)), stdout=subprocess.PIPE, text=True, cwd=REPO_ROOT
    ) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline().split()[1] for _ in range(3)]
            names = ("SYNTHDUB_API_URL", "SYNTHDUB_S3_ENDPOINT_URL", "SYNTHESIA_API_KEY")
            yield dict(zip(names, said, strict=True))
        finally:
            process.terminate()


if __name__ == "__main__":
    asyncio.run(main())
