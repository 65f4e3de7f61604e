"""Waiting for what another task, thread or process does: always with a bound, and with words if it does not happen."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, AnyStr, Final

PATIENCE: Final = 40.0
"""Seconds: many times what the slowest wait takes on an idle machine."""

LONGEST: Final = 240.0
"""Seconds. pytest's own time limit is longer than a few of these, since it does not know what a test waits for."""

LOAD: Final = Path("/proc/loadavg")

Words = str | Callable[[], str]
"""What is waited for; a function if the words are about how things stand when the wait is over."""


def patience(seconds: float = PATIENCE) -> float:
    """Seconds that are enough for what takes at most `seconds` on an idle machine; more while others want its cores too."""
    return min(max(LONGEST, seconds), seconds * slowness())


def slowness() -> float:
    """How many times as long as on an idle machine something may take: how many want each core, now or in the last minute."""
    wanted = max(os.getloadavg()[0], _running())
    return max(1.0, wanted / (os.cpu_count() or 1))


def _running() -> int:
    try:
        return int(LOAD.read_text().split()[3].partition("/")[0])
    except OSError:  # not on Linux
        return 0


async def until(condition: Callable[[], Any], what: Words = "", seconds: float = PATIENCE) -> None:
    """Let other tasks work until the condition holds. Raises AssertionError after `patience(seconds)`."""
    begun = time.monotonic()
    while not condition():
        _check(begun, seconds, condition, what)
        await asyncio.sleep(0.01)


def block_until(condition: Callable[[], Any], what: Words = "", seconds: float = PATIENCE) -> None:
    """Sleep until the condition holds. Raises AssertionError after `patience(seconds)`."""
    begun = time.monotonic()
    while not condition():
        _check(begun, seconds, condition, what)
        time.sleep(0.01)


@contextmanager
def answering(process: subprocess.Popen[Any], what: str, seconds: float = PATIENCE) -> Iterator[None]:
    """Within this, reads from the process and waits for its end have a bound: it is killed after `patience(seconds)`, which
    ends them, and AssertionError is raised."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    bound = patience(seconds)
    timer = threading.Timer(bound, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            raise AssertionError(f"killed after {bound:.0f} s without {what}: {process.args!r}")


def finished(process: subprocess.Popen[AnyStr], seconds: float = PATIENCE) -> tuple[AnyStr, AnyStr]:
    """Wait for the end of a process: what it wrote to its two pipes. After `patience(seconds)` it is killed, and
    AssertionError raised with what it wrote."""
    bound = patience(seconds)
    try:
        return process.communicate(timeout=bound)
    except subprocess.TimeoutExpired:
        raise _unfinished(process, bound) from None


def exit_code(process: subprocess.Popen[Any], seconds: float = PATIENCE) -> int:
    """Wait for the end of a process as `finished` does, and leave its pipes as they are: its exit code, or less than 0 for
    the signal that ended it."""
    bound = patience(seconds)
    try:
        return process.wait(bound)
    except subprocess.TimeoutExpired:
        raise _unfinished(process, bound) from None


def _unfinished(process: subprocess.Popen[Any], bound: float) -> AssertionError:
    process.kill()
    wrote: object = "to pipes that are closed"
    with suppress(ValueError):
        wrote = process.communicate(timeout=LONGEST)
    return AssertionError(f"killed after {bound:.0f} s without an end: {process.args!r} wrote {wrote!r}")


def _check(begun: float, seconds: float, condition: Callable[[], Any], what: Words) -> None:
    waited = time.monotonic() - begun
    if waited > patience(seconds):
        words = what() if callable(what) else what
        raise AssertionError(f"waited {waited:.0f} s in vain for: {words or _source(condition)}")


def _source(condition: Callable[[], Any]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
