"""Checks whether finished files are still as recorded. Reads the disk in a thread, never on the event loop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

from textual.message_pump import MessagePump

from synthdub_tui.dashboard.output_rows import OutputKey, OutputRow
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.sources.same_file import FileStamp, same_version

REPORT_INTERVAL_SECONDS: Final = 0.2
"""Least seconds between two reports of a long check."""

ReportStates = Callable[[dict[OutputKey, str]], object]


def check_file(row: OutputRow) -> str:
    """Empty if the file is as recorded; `moved` if it is missing, `changed` if it differs, `unread` if it is
    inaccessible."""
    try:
        status = os.stat(row.path)
    except (FileNotFoundError, NotADirectoryError):
        return "moved"
    except (OSError, ValueError):  # ValueError: a path with a null byte
        return "unread"
    same = same_version(FileStamp(row.size, row.mtime_ns), FileStamp(status.st_size, status.st_mtime_ns))
    return "" if same else "changed"


class OutputFileChecker:
    """One check at a time. During a check, requests are refused; the caller repeats them later."""

    def __init__(self, owner: MessagePump, report: ReportStates) -> None:
        self._owner = owner
        self._report = report
        self._task: ThreadTask | None = None

    def look(self, rows: Sequence[OutputRow]) -> bool:
        """Start a check of these files. False if the last check has not ended."""
        if self._task is not None and not self._task.is_done:
            return False
        self._task = ThreadTask(self._owner, lambda task: self._check_rows(task, rows))
        return True

    def stop(self) -> None:
        """Stop the check in progress, and drop its findings."""
        if self._task is not None:
            self._task.stop()

    def _check_rows(self, task: ThreadTask, rows: Sequence[OutputRow]) -> None:
        found: dict[OutputKey, str] = {}
        reported_at = time.monotonic()
        for row in rows:
            if task.is_stopped:
                return
            found[row.key] = check_file(row)
            if time.monotonic() - reported_at > REPORT_INTERVAL_SECONDS:
                task.report(self._report, found)
                found, reported_at = {}, time.monotonic()
        task.report(self._report, found)
