"""Threads that never hold up the end of the process, and watching from the event loop what they do."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

TICK: Final = 0.1
"""Seconds between two looks at a transfer in a thread."""


async def watch(done: asyncio.Future[T], look: Callable[[], None]) -> T:
    """The outcome of work in a thread; until then, and once after, `look` is called every `TICK`. A cancel leaves it alone."""
    done.add_done_callback(_outcome_seen)
    while True:
        await asyncio.wait({done}, timeout=TICK)
        look()
        if done.done():
            return done.result()


def _outcome_seen(done: asyncio.Future[Any]) -> None:
    """Of work that was left alone nobody else looks at the error."""
    if not done.cancelled():
        done.exception()


class DaemonPool(Executor):
    """A thread pool like `ThreadPoolExecutor`, of daemon threads.

    The interpreter joins the threads of a `ThreadPoolExecutor` when it exits, so that one stalled socket or disk delays the
    end by its whole timeout. Threads are started on demand, at most `max_workers`.
    """

    def __init__(self, max_workers: int, name: str = "transfer") -> None:
        self._max = max_workers
        self._name = name
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0  # threads without a task
        self._waiting = 0  # tasks without a thread
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn` in a thread. Raises RuntimeError after `shutdown`."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is shut down")
            self._tasks.put(lambda: _run(future, fn, args, kwargs))
            self._waiting += 1
            if self._waiting > self._idle and len(self._threads) < self._max:
                self._start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks and let the threads end after those queued; `wait` for that.

        `cancel_futures` is part of the interface of `Executor`; nothing here needs it, and it raises ValueError.
        """
        if cancel_futures:
            raise ValueError("DaemonPool cannot drop queued tasks")
        with self._lock:
            self._closed = True
            threads = tuple(self._threads)
        for _ in threads:
            self._tasks.put(None)
        if wait:
            for thread in threads:
                thread.join()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        self._idle += 1
        thread.start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            with self._lock:  # often another thread than the one woken for it takes a task, so both are counted
                self._idle -= 1
                self._waiting -= 1
            task()
            del task  # or it would keep the last result alive while this thread waits
            with self._lock:
                self._idle += 1


def _run(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the result
        future.set_exception(error)
    else:
        future.set_result(result)
