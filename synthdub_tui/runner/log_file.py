"""The log in the state directory: one JSON object per line, rotated, without secrets.

There is no filter: callers never log a key, credentials, a signed URL or a body.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import time
from typing import Final

import msgspec

MAX_LOG_FILE_BYTES: Final = 2 * 1024 * 1024
"""Largest size of one log file in bytes; four files are kept."""

_FIELDS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _JsonLinesFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "from": record.name.rpartition(".")[2],
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _FIELDS}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class _Private(logging.handlers.RotatingFileHandler):
    """Creates files that only their owner can read, regardless of the umask."""

    def _open(self):  # type: ignore[no-untyped-def]
        handle = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return open(handle, "a", encoding="utf-8", errors="backslashreplace")


def path(state_dir: str) -> str:
    """Returns the path of the log file."""
    return os.path.join(state_dir, "log", "synthdub.log")


def start(state_dir: str) -> logging.Handler:
    """Start to log the messages of synthdub to the state directory. Returns the handler for `end`. Raises OSError."""
    file = path(state_dir)
    os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
    handler = _Private(file, maxBytes=MAX_LOG_FILE_BYTES, backupCount=3, encoding="utf-8", delay=True)
    handler.setFormatter(_JsonLinesFormatter())
    logger = logging.getLogger("synthdub_tui")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    logging.raiseExceptions = False  # else a full disk would fill the terminal with tracebacks
    return handler


def end(handler: logging.Handler) -> None:
    """Close the log."""
    logging.getLogger("synthdub_tui").removeHandler(handler)
    with contextlib.suppress(OSError):  # the volume may be gone
        handler.close()
