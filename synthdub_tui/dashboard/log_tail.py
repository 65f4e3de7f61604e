"""Reads the end of a growing file of JSON lines, in a thread."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from synthdub_tui.dashboard.text_layout import Line
from synthdub_tui.dashboard.thread_task import Errand
from synthdub_tui.text import printable

KEEP: Final = 5000
"""Most entries in memory."""

FIRST: Final = 512 * 1024
"""Most bytes of one read: of an existing log, or of one that grows faster than it is read."""

EVERY: Final = 0.5

LONGEST: Final = 600
"""Most characters shown of one entry."""

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50}
_ROLES: Final = {10: "faint", 20: "", 30: "warn", 40: "bad", 50: "bad"}
_SIGNS: Final = {10: "debug", 20: "", 30: "WARN", 40: "ERROR", 50: "ERROR"}
_MESSAGE: Final = ("message", "msg", "event")
_STANDARD: Final = frozenset({"time", "ts", "timestamp", "level"})


class Entry(NamedTuple):
    """One line of the log, ready to be drawn; `low` is for searching."""

    level: int
    line: Line
    low: str


class Tail:
    """Follows a file by name: after a rotation, it continues with the new file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None
        self._at = 0
        self._rest = b""  # a line whose end is not written yet

    def follow(self, errand: Errand, tell: Callable[[list[Entry], str], None]) -> None:
        """Report new entries, and a text to show if there are none, until stopped."""
        last = None
        while not errand.stopped:
            entries, problem = self.read()
            if entries or problem != last:
                errand.tell(tell, entries, problem)
                last = problem
            errand.wait(EVERY)

    def read(self) -> tuple[list[Entry], str]:
        """Entries added since the last call, and the text to show if the log has none."""
        try:
            data = self._added()
        except FileNotFoundError:
            return [], "There is no log yet: the runner writes it when it starts."
        except OSError as error:
            return [], f"The log cannot be read: {error.strerror}."
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > FIRST:  # not our log; do not collect it for ever
            self._rest = b""
        return [entry(line) for line in lines[-KEEP:] if line.strip()], "Nothing was written to the log yet."

    def _added(self) -> bytes:
        with open(self._path, "rb") as file:
            status = os.fstat(file.fileno())
            same = self._file == (status.st_dev, status.st_ino) and status.st_size >= self._at
            if not same:
                self._file, self._at, self._rest = (status.st_dev, status.st_ino), 0, b""
            skip = status.st_size - self._at > FIRST
            file.seek(status.st_size - FIRST if skip else self._at)
            data = file.read(FIRST)
            self._at = file.tell()
        if skip:  # begins in the middle of a line
            self._rest = b""
            data = data.partition(b"\n")[2]
        return data


def entry(raw: bytes) -> Entry:
    """A line as text without control characters. A line that is not JSON is shown as it is."""
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        text = printable(raw.decode("utf-8", "replace"), LONGEST)
        return Entry(20, ((text, ""),), text.casefold())
    level = _level(fields.get("level"))
    said = next((name for name in _MESSAGE if name in fields), "")
    rest = " ".join(f"{name}={_plain(value)}" for name, value in fields.items() if name != said and name not in _STANDARD)
    when = _clock(next((fields[name] for name in ("time", "ts", "timestamp") if name in fields), ""))
    text = printable(f"{_plain(fields.get(said, ''))} {rest}".strip(), LONGEST)
    sign = f"{_SIGNS[level]} " if _SIGNS[level] else ""
    return Entry(level, ((f"{when} ", "label"), (sign + text, _ROLES[level])), f"{sign}{text}".casefold())


def _level(given: Any) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return max(10, min(50, given // 10 * 10))
    return _LEVELS.get(str(given).lower(), 20)


def _clock(given: Any) -> str:
    """The time of day; epoch seconds become local time, and other values are shown as they are."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        try:
            return time.strftime("%H:%M:%S", time.localtime(given))
        except (OverflowError, ValueError, OSError):
            return "?"
    text = printable(str(given), 40)
    return text[11:19] if len(text) >= 19 and text[10] in "T " else text


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
