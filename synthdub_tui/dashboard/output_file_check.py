"""Checks whether finished files are still as recorded. Reads the disk in a thread, never on the event loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from textual.message_pump import MessagePump

from synthdub_tui.dashboard.output_rows import Key, OutputRow
from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.sources.same_file import Stamp, same_version

TELL_EVERY: Final = 0.2
"""Least seconds between two reports of a long check."""

Report = Callable[[dict[Key, str]], object]


def state_of(row: OutputRow) -> str:
    """Empty if the file is as recorded; `moved` if it is missing, `changed` if it differs, `unread` if it is inaccessible."""
    try:
        status = os.stat(row.path)
    except (FileNotFoundError, NotADirectoryError):
        return "moved"
    except (OSError, ValueError):  # ValueError: a path with a null byte
        return "unread"
    same = same_version(Stamp(row.size, row.mtime_ns), Stamp(status.st_size, status.st_mtime_ns))
    return "" if same else "changed"


class Checker:
    """One check at a time. During a check, requests are refused; the caller repeats them later."""

    def __init__(self, owner: MessagePump, report: Report) -> None:
        self._owner = owner
        self._report = report
        self._errand: Errand | None = None

    def look(self, rows: Sequence[OutputRow]) -> bool:
        """Start a check of these files. False if the last check has not ended."""
        if self._errand is not None and not self._errand.done:
            return False
        self._errand = Errand(self._owner, lambda errand: self._work(errand, rows))
        return True

    def stop(self) -> None:
        """Stop the check in progress, and drop its findings."""
        if self._errand is not None:
            self._errand.stop()

    def _work(self, errand: Errand, rows: Sequence[OutputRow]) -> None:
        found: dict[Key, str] = {}
        told = time.monotonic()
        for row in rows:
            if errand.stopped:
                return
            found[row.key] = state_of(row)
            if time.monotonic() - told > TELL_EVERY:
                errand.tell(self._report, found)
                found, told = {}, time.monotonic()
        errand.tell(self._report, found)
