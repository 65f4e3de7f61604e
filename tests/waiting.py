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

DEFAULT_TIMEOUT_SECONDS: Final = 40.0
"""Seconds: many times what the slowest wait takes on an idle machine."""

MAX_TIMEOUT_SECONDS: Final = 240.0
"""Seconds. pytest's own time limit is longer than a few of these, since it does not know what a test waits for."""

LOADAVG_PATH: Final = Path("/proc/loadavg")

Description = str | Callable[[], str]
"""What is waited for; a function if the words are about how things stand when the wait is over."""


def scale_timeout(seconds: float = DEFAULT_TIMEOUT_SECONDS) -> float:
    """Seconds that are enough for what takes at most `seconds` on an idle machine; more while others want its cores too."""
    return min(max(MAX_TIMEOUT_SECONDS, seconds), seconds * load_factor())


def load_factor() -> float:
    """How many times as long as on an idle machine something may take: how many want each core, now or in the last minute."""
    wanted = max(os.getloadavg()[0], _running_processes())
    return max(1.0, wanted / (os.cpu_count() or 1))


def _running_processes() -> int:
    try:
        return int(LOADAVG_PATH.read_text().split()[3].partition("/")[0])
    except OSError:  # not on Linux
        return 0


async def until(condition: Callable[[], Any], description: Description = "", seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
    """Let other tasks work until the condition holds. Raises AssertionError after `patience(seconds)`."""
    begun = time.monotonic()
    while not condition():
        _raise_if_timed_out(begun, seconds, condition, description)
        await asyncio.sleep(0.01)


def block_until(condition: Callable[[], Any], description: Description = "", seconds: float = DEFAULT_TIMEOUT_SECONDS) -> None:
    """Sleep until the condition holds. Raises AssertionError after `patience(seconds)`."""
    begun = time.monotonic()
    while not condition():
        _raise_if_timed_out(begun, seconds, condition, description)
        time.sleep(0.01)


@contextmanager
def kill_after_timeout(
    process: subprocess.Popen[Any], expected: str, seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> Iterator[None]:
    """Within this, reads from the process and waits for its end have a bound: it is killed after `patience(seconds)`, which
    ends them, and AssertionError is raised."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    bound = scale_timeout(seconds)
    timer = threading.Timer(bound, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():
            raise AssertionError(f"killed after {bound:.0f} s without {expected}: {process.args!r}")


def wait_for_output(process: subprocess.Popen[AnyStr], seconds: float = DEFAULT_TIMEOUT_SECONDS) -> tuple[AnyStr, AnyStr]:
    """Wait for the end of a process: what it wrote to its two pipes. After `patience(seconds)` it is killed, and
    AssertionError raised with what it wrote."""
    bound = scale_timeout(seconds)
    try:
        return process.communicate(timeout=bound)
    except subprocess.TimeoutExpired:
        raise _kill_and_describe(process, bound) from None


def wait_for_exit(process: subprocess.Popen[Any], seconds: float = DEFAULT_TIMEOUT_SECONDS) -> int:
    """Wait for the end of a process as `wait_for_output` does, and leave its pipes as they are: its exit code, or less than 0
    for the signal that ended it."""
    bound = scale_timeout(seconds)
    try:
        return process.wait(bound)
    except subprocess.TimeoutExpired:
        raise _kill_and_describe(process, bound) from None


def _kill_and_describe(process: subprocess.Popen[Any], bound: float) -> AssertionError:
    process.kill()
    wrote: object = "to pipes that are closed"
    with suppress(ValueError):
        wrote = process.communicate(timeout=MAX_TIMEOUT_SECONDS)
    return AssertionError(f"killed after {bound:.0f} s without an end: {process.args!r} wrote {wrote!r}")


def _raise_if_timed_out(begun: float, seconds: float, condition: Callable[[], Any], what: Description) -> None:
    waited = time.monotonic() - begun
    if waited > scale_timeout(seconds):
        words = what() if callable(what) else what
        raise AssertionError(f"waited {waited:.0f} s in vain for: {words or _source_text(condition)}")


def _source_text(condition: Callable[[], Any]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
