"""Runs blocking work in threads that never delay the end of the process, since a disk may hang for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from synthdub_tui.transfer.daemon_executor import DaemonThreadPool

P = ParamSpec("P")
T = TypeVar("T")

_POOL: Final = DaemonThreadPool(8, "runner")


async def in_thread(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` like `asyncio.to_thread`, but in threads that are not joined when the loop ends."""
    return await asyncio.wrap_future(_POOL.submit(work, *args, **kwargs))
