"""Reads the end of a growing file of JSON lines, in a thread."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from synthdub_tui.dashboard.text_layout import Line
from synthdub_tui.dashboard.thread_task import ThreadTask
from synthdub_tui.text import make_printable

MAX_ENTRIES: Final = 5000
"""Most entries in memory."""

MAX_READ_BYTES: Final = 512 * 1024
"""Most bytes of one read: of an existing log, or of one that grows faster than it is read."""

POLL_SECONDS: Final = 0.5

MAX_ENTRY_CHARACTERS: Final = 600
"""Most characters shown of one entry."""

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50}
_ROLES: Final = {10: "faint", 20: "", 30: "warn", 40: "bad", 50: "bad"}
_LABEL_BY_LEVEL: Final = {10: "debug", 20: "", 30: "WARN", 40: "ERROR", 50: "ERROR"}
_MESSAGE_FIELDS: Final = ("message", "msg", "event")
_STANDARD_FIELDS: Final = frozenset({"time", "ts", "timestamp", "level"})


class LogEntry(NamedTuple):
    """One line of the log, ready to be drawn; `folded_text` is for searching."""

    level: int
    line: Line
    folded_text: str


class LogTail:
    """Follows a file by name: after a rotation, it continues with the new file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._offset = 0
        self._partial_line = b""  # a line whose end is not written yet

    def follow(self, task: ThreadTask, on_entries: Callable[[list[LogEntry], str], None]) -> None:
        """Report new entries, and a text to show if there are none, until stopped."""
        last = None
        while not task.is_stopped:
            entries, problem = self.read_new_entries()
            if entries or problem != last:
                task.report(on_entries, entries, problem)
                last = problem
            task.wait(POLL_SECONDS)

    def read_new_entries(self) -> tuple[list[LogEntry], str]:
        """Entries added since the last call, and the text to show if the log has none."""
        try:
            data = self._read_added_bytes()
        except FileNotFoundError:
            return [], "There is no log yet: the runner writes it when it starts."
        except OSError as error:
            return [], f"The log cannot be read: {error.strerror}."
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        if len(self._partial_line) > MAX_READ_BYTES:  # not our log; do not collect it for ever
            self._partial_line = b""
        return [parse_entry(line) for line in lines[-MAX_ENTRIES:] if line.strip()], "Nothing was written to the log yet."

    def _read_added_bytes(self) -> bytes:
        with open(self._path, "rb") as file:
            status = os.fstat(file.fileno())
            same = self._file == (status.st_dev, status.st_ino) and status.st_size >= self._offset
            if not same:
                self._file, self._offset, self._partial_line = (status.st_dev, status.st_ino), 0, b""
            skip = status.st_size - self._offset > MAX_READ_BYTES
            file.seek(status.st_size - MAX_READ_BYTES if skip else self._offset)
            data = file.read(MAX_READ_BYTES)
            self._offset = file.tell()
        if skip:  # begins in the middle of a line
            self._partial_line = b""
            data = data.partition(b"\n")[2]
        return data


def parse_entry(raw: bytes) -> LogEntry:
    """A line as text without control characters. A line that is not JSON is shown as it is."""
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        text = make_printable(raw.decode("utf-8", "replace"), MAX_ENTRY_CHARACTERS)
        return LogEntry(20, ((text, ""),), text.casefold())
    level = _parse_level(fields.get("level"))
    said = next((name for name in _MESSAGE_FIELDS if name in fields), "")
    rest = " ".join(
        f"{name}={_field_text(value)}" for name, value in fields.items() if name != said and name not in _STANDARD_FIELDS
    )
    when = _format_time(next((fields[name] for name in ("time", "ts", "timestamp") if name in fields), ""))
    text = make_printable(f"{_field_text(fields.get(said, ''))} {rest}".strip(), MAX_ENTRY_CHARACTERS)
    sign = f"{_LABEL_BY_LEVEL[level]} " if _LABEL_BY_LEVEL[level] else ""
    return LogEntry(level, ((f"{when} ", "label"), (sign + text, _ROLES[level])), f"{sign}{text}".casefold())


def _parse_level(given: Any) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return max(10, min(50, given // 10 * 10))
    return _LEVELS.get(str(given).lower(), 20)


def _format_time(given: Any) -> str:
    """The time of day; epoch seconds become local time, and other values are shown as they are."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        try:
            return time.strftime("%H:%M:%S", time.localtime(given))
        except (OverflowError, ValueError, OSError):
            return "?"
    text = make_printable(str(given), 40)
    return text[11:19] if len(text) >= 19 and text[10] in "T " else text


def _field_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
