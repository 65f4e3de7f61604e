"""Days of a runner in seconds: an event loop whose time jumps to the next timer when nothing else is left to do.

    with virtual_time() as clock, asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        runner.run(something())  # asyncio.sleep, timeouts and all clocks of this program follow the loop

Blocking work of `DaemonThreadPool` runs on the loop itself, so that one thread does everything, in the same order each time.
There is no place for real sockets, threads or processes: a client of HTTP needs an `httpx.MockTransport` or the like.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
import time as genuine_time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import Context
from typing import Any, Final

import pytest

from synthdub_tui.runner import clock as runner_clock
from synthdub_tui.runner import runner as _everything  # noqa: F401 - imported before its clocks are replaced
from synthdub_tui.synthesia.rate_gate import RateGate
from synthdub_tui.transfer import daemon_executor
from synthdub_tui.transfer.daemon_executor import DaemonThreadPool

START_EPOCH_SECONDS: Final = 1_800_000_000.0
"""Wall clock when virtual time begins."""

MIN_STEP_SECONDS: Final = 1e-6
"""Seconds after which all that could happen at one moment has happened."""


class StuckLoopError(Exception):
    """Nothing is ready and no timer is set: whoever waits now waits for ever."""


class VirtualClock:
    """`now`: seconds since virtual time began; `wall_ahead_seconds`: what the wall clock was put forward since; `disk_seconds`:
    asked how long each blocking work takes."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wall_ahead_seconds = 0.0
        self.disk_seconds: Callable[[], float] = lambda: 0.0

    def time(self) -> float:
        """The monotonic clock."""
        return self.now

    def wall(self) -> float:
        """The wall clock."""
        return START_EPOCH_SECONDS + self.now + self.wall_ahead_seconds

    def forget_process(self) -> None:
        """What a process knows of the time before is forgotten."""
        runner_clock.now._now, runner_clock.now._mark = self.wall(), self.now


class VirtualLoop(asyncio.SelectorEventLoop):
    """Counts time by a virtual clock, and raises StuckLoopError where a real loop would wait without end."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        super().__init__(_JumpingSelector(clock))

    def time(self) -> float:
        return self.clock.now

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)  # there is one thread, and nobody to wake

    def run_for(self, seconds: float) -> None:
        """Let this much time pass."""
        self.run_until_complete(asyncio.sleep(seconds))

    def settle(self) -> None:
        """Let all happen that waits for nothing but its turn."""
        self.run_for(MIN_STEP_SECONDS)

    def kill(self) -> None:
        """What SIGKILL does: nothing goes on. What coroutines do on being closed finds no loop, so no disk either."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # coroutines made there, and never awaited
            for task in asyncio.all_tasks(self):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close_coroutine(task.get_coro())
        self.close()


class _JumpingSelector(selectors.DefaultSelector):
    """Waits by putting the clock forward."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StuckLoopError
        self._clock.now += max(timeout, 0.0)
        return []


class _TimeModule:
    """Stands for the module `time` in the modules of this program."""

    def __init__(self, clock: VirtualClock) -> None:
        self.time = clock.wall
        self.monotonic = self.perf_counter = clock.time

    def __getattr__(self, name: str) -> Any:
        return getattr(genuine_time, name)


@contextmanager
def virtual_time() -> Iterator[VirtualClock]:
    """Within it, this program's clocks and thread pools are virtual, for loops made of `VirtualLoop`."""
    clock = VirtualClock()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("synthdub_tui.") and getattr(module, "time", None) is genuine_time:
                patch.setattr(module, "time", _TimeModule(clock))
        for name, value in {"_wall": clock.wall, "_steady": clock.time, "_now": clock.wall(), "_mark": clock.now}.items():
            patch.setattr(runner_clock.now, name, value)
        defaults = RateGate.__init__.__kwdefaults__
        assert defaults is not None
        patch.setitem(defaults, "clock", clock.time)
        patch.setitem(defaults, "wall", clock.wall)
        patch.setattr(DaemonThreadPool, "submit", _submit)
        yield clock


def _submit(pool: DaemonThreadPool, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """In place of a thread."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    future: Future[Any] = Future()
    loop.call_later(loop.clock.disk_seconds(), daemon_executor._run, future, fn, args, kwargs)
    return future


def _close_coroutine(coroutine: Any) -> None:
    """Close it, however often it waits for something while it cleans up."""
    for _ in range(100):
        with suppress(RuntimeError, BaseExceptionGroup):  # it waits for something, or a TaskGroup tells what befell its tasks
            coroutine.close()
        if coroutine.cr_frame is None:
            return
    raise AssertionError(f"{coroutine} goes on for ever")
