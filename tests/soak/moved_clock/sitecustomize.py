"""Put on PYTHONPATH, this moves the clocks of a Python process by what a file says at every moment: [wall, monotonic]."""

from __future__ import annotations

import json
import os
import time

_time, _time_ns, _monotonic, _perf_counter = time.time, time.time_ns, time.monotonic, time.perf_counter
_file = os.environ["SOAK_CLOCK"]
_known_offsets: tuple[int, tuple[float, float]] = (0, (0.0, 0.0))


def _read_offsets() -> tuple[float, float]:
    """The file is replaced, never written in place, so its inode and time tell whether it is another."""
    global _known_offsets  # noqa: PLW0603
    status = os.stat(_file)
    stamp = hash((status.st_ino, status.st_mtime_ns))
    if _known_offsets[0] != stamp:
        with open(_file) as file:
            wall, monotonic = json.load(file)
        _known_offsets = (stamp, (wall, monotonic))
    return _known_offsets[1]


time.time = lambda: _time() + _read_offsets()[0]
time.time_ns = lambda: _time_ns() + int(_read_offsets()[0] * 1e9)
time.monotonic = lambda: _monotonic() + _read_offsets()[1]
time.perf_counter = lambda: _perf_counter() + _read_offsets()[1]
