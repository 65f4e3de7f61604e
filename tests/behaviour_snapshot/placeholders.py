"""Placeholders for what differs between any two runs of the same program."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

MAX_SECONDS_BEFORE_START: Final = 30.0
"""How long before the recording began a time may be and still count as part of it: files are written a moment before."""

MAX_SECONDS_AFTER_START: Final = 86_400.0
"""How long after it: credentials and addresses expire later."""

_UUID: Final = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_BATCH_ID: Final = re.compile(r'(?<=\bid = ")[0-9a-f]{32}\b|(?<=\bbatch = ")[0-9a-f]{32}\b')
_RECEIPT_ID: Final = re.compile(r'(?<="id":")[0-9a-f]{16}(?=")')
_ACCOUNT: Final = re.compile(r'(?<="account":")[0-9a-f]+(?=")')  # a digest of address and key, and the address has a port
_THUMBNAIL: Final = re.compile(r"(?<=/thumbnails/)[0-9a-f]{32}\b")
_PORT: Final = re.compile(r"(?<=\b127\.0\.0\.1:)\d+")
_ID_PATTERNS: Final = {
    "uuid": _UUID,
    "batch": _BATCH_ID,
    "receipt": _RECEIPT_ID,
    "account": _ACCOUNT,
    "thumbnail": _THUMBNAIL,
    "port": _PORT,
}
_EPOCH: Final = re.compile(r"(?<![\w.-])(\d{10})(\d{9})?(\.\d+)?(?![\w-])")
_PLACEHOLDER: Final = re.compile(r"<(\w+) \d+>")
_FIXED_REPLACEMENTS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?"), "<date>"),
    (re.compile(r"\b20\d{6}-\d{6}\b"), "<date>"),
    (re.compile(r"(?m)^\d\d:\d\d:\d\d(?=  )"), "<clock>"),
    (re.compile(r'(?<="pid":)\d+|(?<="pid": )\d+|(?<="runner": )\d+|(?<=\(runner )\d+'), "<process>"),
    (re.compile(r'(?<="age": )\d+'), "<age>"),
    (re.compile(r"(?m)(?<= files, )(\d+ h )?(\d+ min )?\d+ (s|min)$"), "<duration>"),
    (re.compile(r'(?<="credits": 0, )(.*"seconds": )[\d.]+'), r"\1<duration>"),
    (re.compile(r"\b\d+\.\d GB free"), "<space> free"),
)


class Placeholders:
    """Replaces times, random ids, ports and the like. An id gets a number when it is first seen, and keeps it."""

    def __init__(self, began: float | None = None) -> None:
        began = time.time() if began is None else began
        self._earliest, self._latest = began - MAX_SECONDS_BEFORE_START, began + MAX_SECONDS_AFTER_START
        self._ids: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def replace_in(self, text: str) -> str:
        """The text with placeholders."""
        for kind, pattern in _ID_PATTERNS.items():
            text = pattern.sub(self._replace_id(kind), text)
        text = _EPOCH.sub(self._replace_time, text)
        for pattern, placeholder in _FIXED_REPLACEMENTS:
            text = pattern.sub(placeholder, text)
        return text

    def _replace_id(self, kind: str) -> Callable[[re.Match[str]], str]:
        def number(found: re.Match[str]) -> str:
            with self._lock:
                same_kind = sum(other == kind for other, _ in self._ids)
                return self._ids.setdefault((kind, found[0]), f"<{kind} {same_kind + 1}>")

        return number

    def _replace_time(self, found: re.Match[str]) -> str:
        """Only a time of the recording: a size or a time that was set on purpose stays."""
        if not self._earliest <= float(found[1]) <= self._latest:
            return found[0]
        return "<time ns>" if found[2] else "<time>"


def group_by_subject(lines: str, subject: Callable[[str], str]) -> str:
    """Lines grouped by what they are about, groups in alphabetical order. Work on several dubs is interleaved by chance."""
    return "".join(sorted(lines.splitlines(keepends=True), key=subject))


def drop_repeated(texts: Iterable[str]) -> str:
    """Each text once, whatever ids are in it: how often something is asked for depends on the machine."""
    return "\n".join(sorted({_PORT.sub("<port>", _UUID.sub("<uuid>", text)) for text in texts}))


def strip_numbers(line: str) -> str:
    """A text with placeholders, without the numbers that tell them apart."""
    return _PLACEHOLDER.sub(r"<\1>", line)
