"""Threads that never delay the end of the process, and a way to watch them from the event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CHECK_INTERVAL_SECONDS: Final = 0.1
"""Seconds between two checks of a transfer in a thread."""


async def wait_with_checks(done: asyncio.Future[T], check: Callable[[], None]) -> T:
    """Await the outcome of work in a thread. Calls `check` every `CHECK_INTERVAL_SECONDS` and once at the end. A cancel does
    not stop the work."""
    done.add_done_callback(_retrieve_exception)
    while True:
        await asyncio.wait({done}, timeout=CHECK_INTERVAL_SECONDS)
        check()
        if done.done():
            return done.result()


async def await_detached(work: Awaitable[T]) -> T:
    """Await work that goes on when this waiter is cancelled. Without a waiter its error is dropped: the cancel was the answer.

    `asyncio.shield` alone would let asyncio log "exception was never retrieved" for such an error.
    """
    future = asyncio.ensure_future(work)
    future.add_done_callback(_retrieve_exception)
    return await asyncio.shield(future)


def _retrieve_exception(done: asyncio.Future[Any]) -> None:
    """Retrieve the exception, or asyncio warns that it was never retrieved."""
    if not done.cancelled():
        done.exception()


class DaemonThreadPool(Executor):
    """A thread pool like `ThreadPoolExecutor`, with daemon threads.

    The interpreter joins the threads of a `ThreadPoolExecutor` when it exits, so one stalled socket or disk would delay the
    exit by its whole timeout. Threads are started on demand, at most `max_workers`.
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
        """Accept no more tasks, and end the threads after the queued tasks; `wait` for that.

        `cancel_futures` belongs to the interface of `Executor`; it is not supported and raises ValueError.
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
            with self._lock:  # a thread other than the woken one may take the task, so both numbers are counted
                self._idle -= 1
                self._waiting -= 1
            task()
            del task  # it would keep the last result alive while this thread waits
            with self._lock:
                self._idle += 1


def _run(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - passed on to the waiter for the result
        future.set_exception(error)
    else:
        future.set_result(result)
