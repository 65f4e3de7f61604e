"""Work that may block (files, folders, other programs), outside the event loop.

Each task has its own daemon thread, so a folder on a dead network disk blocks neither the screen nor the end of the process.
Textual's thread workers would: they use the loop's executor, whose threads are joined on exit.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from textual.message_pump import MessagePump


class ThreadTask:
    """Runs `work(task)` in a thread. The work reports with `report`, and checks `is_stopped` between two steps."""

    def __init__(self, owner: MessagePump, work: Callable[[ThreadTask], None]) -> None:
        self._owner = owner
        self._work = work
        self._stop = threading.Event()
        self._done = threading.Event()
        context = contextvars.copy_context()  # posting to the owner needs the app's context
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="dashboard-task", daemon=True)
        self._thread.start()

    @property
    def is_stopped(self) -> bool:
        """Whether the findings are no longer needed."""
        return self._stop.is_set()

    @property
    def is_done(self) -> bool:
        """Whether the work has ended."""
        return self._done.is_set()

    def stop(self) -> None:
        """Ask the work to end; later findings are dropped."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Sleep in the thread, until the task is stopped at most. Returns whether it was."""
        return self._stop.wait(seconds)

    def report(self, callback: Callable[..., object], *findings: Any) -> None:
        """From the thread: call back on the owner's loop, unless the task was stopped by then."""
        if not self.is_stopped:
            self._owner.call_later(self._deliver, callback, *findings)

    def _deliver(self, callback: Callable[..., object], *findings: Any) -> None:
        if not self.is_stopped:
            callback(*findings)

    def _run(self) -> None:
        try:
            self._work(self)
        except Exception as error:  # noqa: BLE001 - raised again on the loop, where the app reports it
            self.report(_reraise, error)
        finally:
            self._done.set()


def _reraise(error: Exception) -> None:
    raise error
