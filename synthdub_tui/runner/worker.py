"""One worker per job: runs the activities that the job's facts require, and ends when there are none.

The facts decide (`jobs.reconcile.activities`). After every change, by the user, the service or a finished activity, the worker
looks again, starts the activities that are wanted now and cancels the others. So resuming after a crash needs no code of its
own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.model import DubState, Job, Scope
from synthdub_tui.jobs.reconcile import Activity, Deliver, Download, Recall, Submit, Watch, activities
from synthdub_tui.jobs.transitions import adoption, dub_states, observation, source_changes
from synthdub_tui.runner.activities.download import Fetch
from synthdub_tui.runner.activities.submit import Submission
from synthdub_tui.runner.activities.upload import Delivery
from synthdub_tui.runner.duration_model import dubbing_of
from synthdub_tui.runner.poll_schedule import Awaited
from synthdub_tui.runner.project_observation import seen_of
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import Workshop
from synthdub_tui.sources import video_header
from synthdub_tui.synthesia.errors import KeyRejected, Refused

_log = logging.getLogger(__name__)

FRUITLESS_LIMIT: Final = 5
"""Times in a row that activities may end without changing the job before the worker fails the job's dubs of that activity."""


class Worker:
    """Works on one job until nothing is left that can continue automatically.

    Raises KeyRejected; other errors are noted in the job.
    """

    def __init__(self, shop: Workshop, job_id: str) -> None:
        self._shop = shop
        self._id = job_id
        self._changed = asyncio.Event()
        self._running: dict[Activity, asyncio.Task[None]] = {}
        self._fruitless = 0
        self._seconds = 0.0  # playing time of the source, once it is known

    @property
    def _job(self) -> Job:
        return self._shop.ledger.jobs[self._id]

    def look_again(self) -> None:
        """Note that the job changed. Cancels unwanted activities at once, since their next step may not fit the job's new
        state; `run` does the rest."""
        self._cancel_unwanted()
        self._changed.set()

    def hold_back(self) -> None:
        """Cancel activities that wait for their turn and may no longer start."""
        for activity, task in self._running.items():
            if not self._shop.may_go_on(self._job, activity) and not task.cancelling():
                task.cancel()

    async def quiet(self) -> None:
        """Wait until all activities that are no longer wanted have ended."""
        wanted = self._shop.decided(self._job)
        if ending := [task for activity, task in self._running.items() if activity not in wanted]:
            await asyncio.wait(ending)

    def _ended(self, _: asyncio.Task[None]) -> None:
        """Called when an activity ends. Waking `run` in this way saves a waiting task, and so kilobytes, per worker."""
        self._changed.set()

    async def put_away(self) -> None:
        """Wait until all cancelled activities and paid requests have ended."""
        while ending := [task for task in self._running.values() if task.cancelling() and not task.done()]:
            await asyncio.wait(ending)
        if critical := [task for task in self._shop.critical if task.cancelling()]:
            await asyncio.wait(critical)

    async def run(self) -> None:
        """Reconcile after each change or finished activity, until nothing runs. Raises KeyRejected."""
        try:
            while True:
                self._changed.clear()
                self._reconcile()
                if not self._running:
                    self._forget_projects()
                    return
                before = self._job
                await self._changed.wait()
                self._reap(before)
        finally:
            await self._cancel_all()

    def _cancel_unwanted(self) -> None:
        wanted = self._shop.decided(self._job)
        for activity, task in self._running.items():
            under_way = isinstance(activity, Submit) and self._job.submission is not None
            if activity not in wanted and not under_way and not task.cancelling():
                task.cancel()

    def _reconcile(self) -> None:
        for activity in self._shop.wanted(self._job):
            if activity not in self._running:
                task = asyncio.create_task(self._start(activity), name=f"{self._id} {activity}")
                task.add_done_callback(self._ended)
                self._running[activity] = task
            elif isinstance(activity, Watch):
                self._shop.poller.expect(activity.project, self._id, self._awaited(activity.project))

    def _forget_projects(self) -> None:
        for project in self._job.projects:
            self._shop.poller.forget(project)

    def _reap(self, before: Job) -> None:
        for activity, task in list(self._running.items()):
            if not task.done():
                continue
            del self._running[activity]
            if task.cancelled():
                continue
            error = task.exception()
            if isinstance(error, KeyRejected):
                raise error
            self._judge(activity, error, before)

    def _judge(self, activity: Activity, error: BaseException | None, before: Job) -> None:
        """Treat an activity that ends with an error, or `FRUITLESS_LIMIT` times without effect, as a bug of this program."""
        in_vain = self._job is before and self._shop.may_go_on(self._job, activity)
        self._fruitless = self._fruitless + 1 if in_vain else 0
        if error is None and self._fruitless < FRUITLESS_LIMIT:
            return
        _log.error("activity failed", exc_info=error, extra={"job": self._id, "activity": str(activity)})
        self._fruitless = 0
        if activity in activities(self._job):
            self._give_up(activity)

    def _give_up(self, activity: Activity) -> None:
        trouble, now = Trouble("internal"), self._shop.now()
        job = self._job
        match activity:
            case Deliver():
                job = source_changes.source_failed(job, trouble.code, "", now)
            case Submit(languages, _):
                for language in languages:
                    if job.dubs[language].state is DubState.WAITING:
                        job = dub_states.failed(job, language, trouble.code, "", Scope.SUBMISSION, now)
            case Watch(project):
                job = observation.watch_failed(job, project, now)
            case Recall(languages):
                for language in languages:
                    job = adoption.recalled(job, language, "", now)
            case Download(language):
                job = dub_states.failed(job, language, trouble.code, "", Scope.DOWNLOAD, now)
        self._shop.ledger.put(job)

    def _start(self, activity: Activity) -> Coroutine[Any, Any, None]:
        match activity:
            case Deliver():
                return Delivery(self._shop, self._id).run()
            case Submit(languages, project):
                return Submission(self._shop, self._id, languages, project).run()
            case Watch(project):
                return self._watch(project)
            case Recall(languages):
                return self._shop.paid_before.recall(self._id, languages)
            case Download(language):
                return Fetch(self._shop, self._id, language).run()

    async def _watch(self, project: str) -> None:
        """Apply the service's answers about a project to the job. Runs until the worker cancels it as no longer wanted."""
        if not self._seconds:
            self._seconds = (await in_thread(video_header.look_at, self._job.source.path)).seconds
        async with self._shop.poller.watching(project, self._id, self._awaited(project)) as news:
            while True:
                heard = await news()
                now = self._shop.now()
                if isinstance(heard, Refused):
                    self._shop.ledger.put(observation.project_lost(self._job, project, heard.detail, now))
                else:
                    seen, before = seen_of(heard), self._job
                    await self._shop.paid_before.note_failures(
                        before, observation.observed(before, project, seen, now), project
                    )
                    self._shop.ledger.put(observation.observed(self._job, project, seen, now))
                    for language, word in observation.newly_odd(before, self._job).items():
                        self._shop.on_warning(self._job, Trouble("status_unknown", f"{language}: {word}"))

    def _awaited(self, project: str) -> dict[str, Awaited]:
        """Returns the job's dubs in progress in the project, by language."""
        return {
            language: Awaited(dub.submitted or dub.since, dubbing_of(self._job, language, self._seconds))
            for language, dub in self._job.dubs.items()
            if dub.project == project and dub.state in (DubState.DUBBING, DubState.UNKNOWN)
        }

    async def _cancel_all(self) -> None:
        for task in self._running.values():
            if not task.cancelling():  # a second cancel would interrupt its clean-up
                task.cancel()
        if self._running:
            await asyncio.wait(self._running.values())
