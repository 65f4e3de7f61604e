"""Looks about once a second at sources that may still be written. Their upload waits until they stay unchanged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import Final

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.reconcile import waits_for_settled_source
from synthdub_tui.jobs.transitions import source_changes
from synthdub_tui.runner.activities.upload import with_current_source
from synthdub_tui.runner.live_jobs import LiveJobs
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.sources.same_file import FileStamp
from synthdub_tui.sources.settle import FileObservation, QuietPeriod, remaining_quiet_seconds, update_quiet_period
from synthdub_tui.sources.write_probe import observe_files

CHECK_INTERVAL_SECONDS: Final = 1.0
"""Seconds between looks."""

MAX_BUSY_SHARE: Final = 0.1
"""Largest share of the time spent on looks; with 10,000 newly copied files, looks are less frequent than
`CHECK_INTERVAL_SECONDS`."""

JOBS_PER_SAVE: Final = 200
"""Jobs examined before waiting until their changes are on disk."""


class UnsettledSources:
    """The waiting jobs, in memory only: after a restart their files are looked at as if for the first time.

    `settle_seconds`: how long a file found in a folder must have stayed unchanged.
    """

    def __init__(self, live_jobs: LiveJobs, settle_seconds: float) -> None:
        self._live_jobs = live_jobs
        self._settle_seconds = settle_seconds
        self._waiting: dict[str, QuietPeriod | None] = {}
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

    def track(self, job: Job) -> None:
        """Note a new or changed job, which waits from now on, or no longer."""
        if not waits_for_settled_source(job):
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
            await asyncio.sleep(max(CHECK_INTERVAL_SECONDS, (time.monotonic() - began) / MAX_BUSY_SHARE))

    async def _look(self) -> None:
        paths = {job_id: self._live_jobs.jobs[job_id].source.path for job_id in self._waiting}
        looks = await in_thread(observe_files, paths.values())
        for number, (job_id, path) in enumerate(paths.items()):
            if job_id in self._waiting:
                self._release_if_settled(job_id, looks.get(path))
            if number % JOBS_PER_SAVE == JOBS_PER_SAVE - 1:
                await self._live_jobs.wait_until_saved(job_id)

    def _release_if_settled(self, job_id: str, look: FileObservation | None) -> None:
        """Release the job if its source is complete. `look` is None if the file is missing or empty: the upload reports it."""
        job = self._live_jobs.jobs[job_id]
        if look is None:
            self._live_jobs.update(source_changes.mark_settled(job))
            return
        named = job_id in self._named
        quiet = self._waiting[job_id] = update_quiet_period(self._waiting[job_id], look, named=named)
        if not remaining_quiet_seconds(quiet, look, self._settle_seconds, named=named):
            now = FileStamp(look.stamp.size, look.stamp.mtime_ns)
            self._live_jobs.update(source_changes.mark_settled(with_current_source(job, now)))
