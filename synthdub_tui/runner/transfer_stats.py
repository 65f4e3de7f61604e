"""Measures transfers in progress: the bytes of each, and the rates of the batch."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from synthdub_tui.ipc.protocol import Transfer

RATE_WINDOW_SECONDS: Final = 5.0
"""Seconds over which a rate is averaged: long enough to be steady, short enough to show a stall."""


class _Flow:
    """Counts bytes and their rate over the last `RATE_WINDOW_SECONDS` seconds."""

    def __init__(self, now: float) -> None:
        self._marks: deque[tuple[float, int]] = deque([(now, 0)])
        self.total = 0

    def add(self, count: int, now: float) -> None:
        self.total += count
        if now - self._marks[-1][0] >= 0.1:
            self._marks.append((now, self.total))
        self._trim(now)

    def rate(self, now: float) -> float:
        self._trim(now)
        since, before = self._marks[0]
        return (self.total - before) / max(now - since, 0.5)

    def _trim(self, now: float) -> None:
        while len(self._marks) > 1 and self._marks[1][0] <= now - RATE_WINDOW_SECONDS:
            self._marks.popleft()
        if now - self._marks[-1][0] > RATE_WINDOW_SECONDS:
            self._marks = deque([(now, self.total)])


class TransferStats:
    """All transfers in progress. An upload has an empty language."""

    def __init__(self) -> None:
        now = time.monotonic()
        self.up = _Flow(now)
        self.down = _Flow(now)
        self._moving: dict[tuple[str, str], tuple[_Flow, int, int]] = {}
        self.changed = False

    def note_progress(self, job: str, language: str, done: int, total: int) -> None:
        """Note that `done` of `total` bytes (0: not known) are transferred. The first bytes of a download that continues a part
        file do not count for the rate."""
        now = time.monotonic()
        flow, before, _ = self._moving.get((job, language), (_Flow(now), done if language else 0, 0))
        gained = max(0, done - before)
        flow.add(gained, now)
        (self.down if language else self.up).add(gained, now)
        self._moving[job, language] = (flow, done, total)
        self.changed = True

    def note_end(self, job: str, language: str) -> None:
        """Note that the transfer has ended, for whatever reason."""
        self.changed = self._moving.pop((job, language), None) is not None or self.changed

    def transfers(self) -> list[Transfer]:
        """Returns all transfers in progress."""
        now = time.monotonic()
        return [
            Transfer(job, language, done, total, round(flow.rate(now)))
            for (job, language), (flow, done, total) in self._moving.items()
        ]

    def rates(self) -> tuple[float, float]:
        """Returns bytes per second, up and down."""
        now = time.monotonic()
        return self.up.rate(now), self.down.rate(now)
