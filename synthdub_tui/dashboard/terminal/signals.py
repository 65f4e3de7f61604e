"""How the dashboard ends when a signal comes or the terminal hangs up."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import termios
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from textual.app import App

from synthdub_tui.errors import EXIT_INTERRUPTED

EXIT_GRACE_SECONDS: Final = 2.0
"""Seconds that an orderly exit may take after a signal; a stalled terminal accepts no output at all."""

_RESTORE_SEQUENCES: Final = (
    b"\x1b[r\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"
    b"\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l\x1b[0m"
)

hangup_tasks: list[Callable[[], object]] = []
"""Tasks for when the terminal is gone. They run in another thread: they must be short, and not use the event loop."""


def wait_for_hangup(fileno: int) -> None:
    """Wait, at no cost, until the terminal hangs up. Without SIGHUP (sudo, nohup), only this sees it while output stalls."""
    poll = select.poll()
    poll.register(fileno, 0)
    found = poll.poll()
    if any(event & select.POLLHUP for _, event in found):
        exit_after_hangup()


def exit_after_hangup() -> None:
    for task in hangup_tasks:
        task()
    os._exit(EXIT_INTERRUPTED)


def install_signal_handlers(app: App[Any], fileno: int) -> None:
    """Exit in order on SIGHUP, SIGTERM and SIGINT. After `EXIT_GRACE_SECONDS` seconds, restore the terminal if possible, and
    exit."""
    before = termios.tcgetattr(fileno)

    def leave(number: int, frame: FrameType | None) -> None:
        del number, frame
        watchdog = threading.Timer(EXIT_GRACE_SECONDS, _force_exit, (fileno, before))
        watchdog.daemon = True
        watchdog.start()
        app.call_later(app.exit, None, EXIT_INTERRUPTED)

    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def _force_exit(fileno: int, attributes: list[Any]) -> None:
    for task in hangup_tasks:
        task()
    # The terminal may be gone, or accept nothing: write only as much as it accepts without waiting.
    with contextlib.suppress(OSError, termios.error):
        termios.tcsetattr(fileno, termios.TCSANOW, attributes)
        terminal = os.open("/dev/tty", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.write(terminal, _RESTORE_SEQUENCES)
    os._exit(EXIT_INTERRUPTED)
