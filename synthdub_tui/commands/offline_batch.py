"""The batch read from, and changed in, the state directory while no runner works on it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from synthdub_tui.commands.runner_connection import connect_to_runner
from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.transitions import cancellation, restart
from synthdub_tui.settings.model import Settings
from synthdub_tui.store.job_store import JobStore
from synthdub_tui.store.lock import StateLock


class OfflineBatch:
    """The store while no runner works. Holds the lock, so that no runner can start meanwhile.

    `now`: the time for which the jobs were shown to the user, so that an unchanged file yields the same jobs as then.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self.store = JobStore(settings.state_dir)
        self.jobs: dict[str, Job] = {}
        self._lock = StateLock(self.store.path("lock"))
        self._now = now

    def update_job(self, job: Job) -> None:
        self.store.save(job)
        self.jobs[job.id] = job

    def move(self, job: Job) -> None:
        """Save a job, and release its claims on outputs that it no longer needs."""
        from synthdub_tui.runner.cross_batch_claims import give_back  # noqa: PLC0415 - other commands start faster without

        before = self.jobs[job.id]
        self.update_job(job)
        give_back(before, job, self.store.batch_id(), self.store.folder, time.time())

    def cancel_dubs(self, job: Job) -> None:
        from synthdub_tui.runner.activities.download import remove_cancelled_parts  # noqa: PLC0415 - other commands do not need it

        before = self.jobs[job.id]
        self.move(job)
        remove_cancelled_parts(before, job)

    def remove_dubs(self, job: Job, languages: Sequence[str]) -> None:
        from synthdub_tui.runner.activities.download import remove_leftovers  # noqa: PLC0415 - other commands do not need it

        remove_leftovers(job, languages)
        left = cancellation.remove_dubs(job, languages)
        if left is not None:
            self.update_job(left)
        else:
            self.store.delete(job.id)
            del self.jobs[job.id]

    def __enter__(self) -> OfflineBatch:
        try:
            os.makedirs(self.store.folder, mode=0o700, exist_ok=True)
            self._lock.acquire()  # before `open`, which deletes temporary files that a runner may be writing
        except OSError as error:
            raise ProblemError("state_unwritable", f"{error.strerror}: {self.store.folder}") from error
        try:
            self.store.open()
            self.jobs = {job.id: restart.resume_job(job, self._now) for job in self.store.load().jobs}
        except ProblemError:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def load_jobs(settings: Settings, now: float) -> dict[str, Job]:
    """Returns the jobs by id; without a runner, as the next one will find them."""
    with connect_to_runner(settings) as control:
        works = control is not None
    store = JobStore(settings.state_dir)
    store.check_schema()
    jobs = store.load(set_aside=False).jobs
    return {job.id: job if works else restart.resume_job(job, now) for job in jobs}
