"""The pool of daemon threads: no more of them than work at the same time."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

from synthdub_tui.transfer.daemon_executor import DaemonThreadPool, await_detached


def test_no_more_threads_than_work_at_the_same_time() -> None:
    """One that is done may take a task for which another was woken; that one still counts as idle."""
    pool = DaemonThreadPool(64)
    ran = set()
    for _ in range(3000):
        for task in [pool.submit(lambda: ran.add(threading.get_ident())) for _ in range(2)]:
            task.result()
    assert len(ran) <= 4  # two that have just given their result, and two for the next tasks
    pool.shutdown()


def test_as_many_threads_as_there_is_work_for() -> None:
    pool = DaemonThreadPool(3)
    together = threading.Barrier(3)
    for _ in range(20):
        for task in [pool.submit(together.wait, 30) for _ in range(3)]:
            task.result()
    pool.shutdown()


def test_shut_down_what_is_queued_is_done() -> None:
    pool = DaemonThreadPool(1)
    done: list[int] = []
    for number in range(5):
        pool.submit(done.append, number)
    pool.shutdown()
    assert done == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("how", [await_detached, asyncio.shield])
async def test_an_error_after_the_waiter_was_cancelled_is_not_reported_as_forgotten(how: Callable[[Any], Any]) -> None:
    reported: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    work: asyncio.Future[None] = loop.create_future()
    waiter = asyncio.ensure_future(how(work))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait({waiter})
    work.set_exception(OSError("the connection ended"))
    del work
    await asyncio.sleep(0)
    gc.collect()
    assert bool(reported) is (how is asyncio.shield)  # the difference is what `await_detached` is for
