"""Work that may block (files, folders, other programs), away from the loop.

A thread of its own and a daemon: a folder on a dead network disk then holds up neither the screen nor the end of the process,
as Textual's thread workers would (they use the loop's executor, whose threads are joined on exit).
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from textual.message_pump import MessagePump


class Errand:
    """Runs `work(errand)` in a thread. The work tells its findings and looks at `stopped` between two steps."""

    def __init__(self, owner: MessagePump, work: Callable[[Errand], None]) -> None:
        self._owner = owner
        self._work = work
        self._stop = threading.Event()
        self._done = threading.Event()
        context = contextvars.copy_context()  # posting to the owner needs to know the app
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="dashboard-errand", daemon=True)
        self._thread.start()

    @property
    def stopped(self) -> bool:
        """Whether nobody waits for the findings any more."""
        return self._stop.is_set()

    @property
    def done(self) -> bool:
        """Whether the work has ended."""
        return self._done.is_set()

    def stop(self) -> None:
        """Ask the work to end; what it still tells is dropped."""
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Sleep in the thread. Whether the errand was stopped meanwhile."""
        return self._stop.wait(seconds)

    def tell(self, callback: Callable[..., object], *findings: Any) -> None:
        """From the thread: call back on the owner's loop, unless the errand was stopped by then."""
        if not self.stopped:
            self._owner.call_later(self._deliver, callback, *findings)

    def _deliver(self, callback: Callable[..., object], *findings: Any) -> None:
        if not self.stopped:
            callback(*findings)

    def _run(self) -> None:
        try:
            self._work(self)
        except Exception as error:  # noqa: BLE001 - raised again on the loop, where the app reports it
            self.tell(_raise, error)
        finally:
            self._done.set()


def _raise(error: Exception) -> None:
    raise error
