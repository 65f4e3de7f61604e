"""Looks about once a second at sources that may still be written. Their upload waits until they stay unchanged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Final

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.reconcile import awaits_rest
from synthdub_tui.jobs.transitions import source_changes
from synthdub_tui.runner.activities.upload import adopted
from synthdub_tui.runner.live_jobs import Ledger
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.sources.same_file import Stamp
from synthdub_tui.sources.settle import Look, Quiet, heed, remaining
from synthdub_tui.sources.write_probe import look_at

LOOK_EVERY: Final = 1.0
"""Seconds between looks."""

BUSY_PART: Final = 0.1
"""Largest share of the time spent on looks; with 10,000 newly copied files, looks are less frequent than `LOOK_EVERY`."""

AT_ONCE: Final = 200
"""Jobs examined before waiting until their changes are on disk."""


class Rest:
    """The waiting jobs, in memory only: after a restart their files are looked at as if for the first time.

    `seconds`: how long a file found in a folder must have stayed unchanged.
    """

    def __init__(self, ledger: Ledger, seconds: float) -> None:
        self._ledger = ledger
        self._seconds = seconds
        self._waiting: dict[str, Quiet | None] = {}
        self._named: set[str] = set()
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        """Ids of the jobs that wait."""
        return iter(self._waiting)

    def note_named(self, jobs: Iterable[str]) -> None:
        """Note that the user named the files of these jobs, which therefore need to stay unchanged for one second only."""
        self._named.update(jobs)

    def note(self, job: Job) -> None:
        """Note a new or changed job, which waits from now on, or no longer."""
        if not awaits_rest(job):
            self._waiting.pop(job.id, None)
        elif job.id not in self._waiting:
            self._waiting[job.id] = None
            self._some.set()

    async def run(self) -> None:
        """Look while there are waiting jobs. Runs until cancelled."""
        while True:
            await self._some.wait()
            began = time.monotonic()
            await self._look()
            if not self._waiting:
                self._some.clear()
            await asyncio.sleep(max(LOOK_EVERY, (time.monotonic() - began) / BUSY_PART))

    async def _look(self) -> None:
        paths = {job_id: self._ledger.jobs[job_id].source.path for job_id in self._waiting}
        looks = await in_thread(look_at, paths.values())
        for number, (job_id, path) in enumerate(paths.items()):
            if job_id in self._waiting:
                self._judge(job_id, looks.get(path))
            if number % AT_ONCE == AT_ONCE - 1:
                await self._ledger.saved(job_id)

    def _judge(self, job_id: str, look: Look | None) -> None:
        """Release the job if its source is complete. `look` is None if the file is missing or empty: the upload reports it."""
        job = self._ledger.jobs[job_id]
        if look is None:
            self._ledger.put(source_changes.rested(job))
            return
        named = job_id in self._named
        quiet = self._waiting[job_id] = heed(self._waiting[job_id], look, named=named)
        if not remaining(quiet, look, self._seconds, named=named):
            now = Stamp(look.stamp.size, look.stamp.mtime_ns)
            self._ledger.put(source_changes.rested(adopted(job, now)))
