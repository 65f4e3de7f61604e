"""When to ask about which project. Pure: callers pass the time.

A project is asked again after a share of the time it has taken so far, so that short dubs are found quickly and long ones
cost few calls: the delay in noticing stays a fixed fraction of the dub's own length. Overdue projects go in the order of their
due times, which under a scarce quota is round-robin: nobody starves.
"""

from __future__ import annotations

import heapq
from typing import Final

SHARE: Final = 0.08
"""Of the time a project has taken so far, until it is asked again."""

LONGEST: Final = 300.0
"""Seconds between two polls at most, however long a project takes."""


class Schedule:
    """The projects in flight and when each is due. `least`: seconds between two polls of one project."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._due: dict[str, float] = {}
        self._submitted: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def add(self, project: str, now: float, submitted: float) -> None:
        """Follow a project. One that was submitted before this start is asked at once."""
        self._submitted[project] = submitted
        self._set(project, max(now, submitted + self._least))

    def remove(self, project: str) -> None:
        """Stop following it."""
        self._due.pop(project, None)
        self._submitted.pop(project, None)

    def next_due(self) -> float | None:
        """When somebody is due next; None when nobody is followed."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # removed or re-timed since
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> str | None:
        """The project to ask now, whose next time is set thereby."""
        due = self.next_due()
        if due is None or due > now:
            return None
        project = self._heap[0][1]
        elapsed = max(0.0, now - self._submitted[project])
        self._set(project, now + min(max(self._least, SHARE * elapsed), max(LONGEST, self._least)))
        return project

    def postpone(self, project: str, until: float) -> None:
        """Ask not before then, since the service had trouble."""
        if project in self._due:
            self._set(project, max(self._due[project], until))

    def _set(self, project: str, due: float) -> None:
        self._due[project] = due
        heapq.heappush(self._heap, (due, project))
