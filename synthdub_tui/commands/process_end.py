"""How a process of ours ends: at a signal or a client's request, and without waiting for threads that hang."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import Final

from synthdub_tui.errors import EXIT_INTERRUPTED

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignal:
    """A request to end, by a signal or by a client. A second SIGINT ends the process at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.got_signal = False
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started by nohup: it must outlive its terminal
            loop.add_signal_handler(number, self._on_signal, number)

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        self._event.set()

    async def wait(self, seconds: float | None = None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()

    def _on_signal(self, number: int) -> None:
        if self.got_signal and number == signal.SIGINT:
            os._exit(EXIT_INTERRUPTED)
        self.got_signal = True
        self._event.set()


def exit_immediately(code: int) -> None:
    """Exit without waiting for threads, which may hang in a dead disk or network. Everything is saved by now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
