"""How long a 429 or 503 asks us to wait, in seconds, however it says so."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

DEFAULT_WAIT: Final = 60.0
"""After a 429 that does not say how long, or says it in a way that makes no sense."""

_DAY = 86_400.0
_EPOCH = 1e9  # a number this large is a date, not a duration
_EPOCH_MILLISECONDS = 1e12


def asked_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3), else `RateLimit-Reset` (API reference); None if neither can be read.

    Between one second and a day. A date is held against the answer's own `Date`, so that a wrong clock here does no harm.
    `now` is the wall clock, for tests.
    """
    clock = time.time() if now is None else now
    sent = _date(headers.get("date", ""))
    wait = _retry_after(headers.get("retry-after", ""), clock if sent is None else sent)
    if wait is None:
        wait = _reset(headers.get("ratelimit-reset", ""), clock)
    return None if wait is None else min(max(wait, 1.0), _DAY)


def _retry_after(value: str, now: float) -> float | None:
    seconds = _number(value)
    if seconds is not None:
        return seconds
    date = _date(value)
    return None if date is None else date - now


def _reset(value: str, now: float) -> float | None:
    number = _number(value)
    if number is None or number < _EPOCH:
        return number
    return (number / 1000 if number > _EPOCH_MILLISECONDS else number) - now


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
