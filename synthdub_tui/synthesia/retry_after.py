"""Reads from an answer's headers how long the service asks to wait, in seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

DEFAULT_WAIT_SECONDS: Final = 60.0
"""Seconds to wait after a 429 that gives no readable time."""

_MAX_WAIT_SECONDS = 86_400.0
_MIN_EPOCH_SECONDS = 1e9  # a number this large is a date, not a duration
_MIN_EPOCH_MILLISECONDS = 1e12


def requested_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Reads `Retry-After` (RFC 9110, 10.2.3), else `RateLimit-Reset` (API reference); None if neither can be read.

    Either may be seconds, a date, or seconds or milliseconds since the epoch. The result is between one second and a day.
    A point in time is compared with the answer's own `Date`, so that a wrong local clock does no harm. `now` is the wall
    clock, for tests.
    """
    clock = time.time() if now is None else now
    sent = _date(headers.get("date", ""))
    for name in ("retry-after", "ratelimit-reset"):
        wait = _wait(headers.get(name, ""), clock if sent is None else sent)
        if wait is not None:
            return min(max(wait, 1.0), _MAX_WAIT_SECONDS)
    return None


def _wait(value: str, now: float) -> float | None:
    number = _number(value)
    if number is None:
        date = _date(value)
        return None if date is None else date - now
    if number < _MIN_EPOCH_SECONDS:
        return number
    return (number / 1000 if number > _MIN_EPOCH_MILLISECONDS else number) - now


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
