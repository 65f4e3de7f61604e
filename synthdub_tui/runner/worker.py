"""One worker per job: runs the activities that the job's facts require, and ends when there are none.

The facts decide (`jobs.reconcile.needed_activities`). After every change, by the user, the service or a finished activity, the
worker looks again, starts the activities that are wanted now and cancels the others. So resuming after a crash needs no code of
its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import DubState, FailureScope, Job
from synthdub_tui.jobs.reconcile import Activity, Download, LookUpReceipts, PollProject, Submit, Upload, needed_activities
from synthdub_tui.jobs.transitions import adoption, dub_states, observation, source_changes
from synthdub_tui.runner.activities.download import DownloadActivity
from synthdub_tui.runner.activities.submit import SubmitActivity
from synthdub_tui.runner.activities.upload import UploadActivity
from synthdub_tui.runner.duration_model import features_of
from synthdub_tui.runner.poll_schedule import AwaitedDub
from synthdub_tui.runner.project_observation import to_project_seen
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import WorkerContext
from synthdub_tui.sources import video_header
from synthdub_tui.synthesia.errors import InvalidApiKeyError, RequestRejectedError

_log = logging.getLogger(__name__)

MAX_FRUITLESS_ACTIVITIES: Final = 5
"""Times in a row that activities may end without changing the job before the worker fails the job's dubs of that activity."""


class Worker:
    """Works on one job until nothing is left that can continue automatically.

    Raises InvalidApiKeyError; other errors are noted in the job.
    """

    def __init__(self, context: WorkerContext, job_id: str) -> None:
        self._context = context
        self._id = job_id
        self._changed = asyncio.Event()
        self._running: dict[Activity, asyncio.Task[None]] = {}
        self._fruitless = 0
        self._seconds = 0.0  # playing time of the source, once it is known

    @property
    def _job(self) -> Job:
        return self._context.live_jobs.jobs[self._id]

    def wake(self) -> None:
        """Note that the job changed. Cancels unwanted activities at once, since their next step may not fit the job's new
        state; `run` does the rest."""
        self._cancel_unwanted()
        self._changed.set()

    def cancel_queued_activities(self) -> None:
        """Cancel activities that wait for their turn and may no longer start."""
        for activity, task in self._running.items():
            if not self._context.may_run(self._job, activity) and not task.cancelling():
                task.cancel()

    async def wait_for_unwanted_activities(self) -> None:
        """Wait until all activities that are no longer wanted have ended."""
        wanted = self._context.needed_activities(self._job)
        if ending := [task for activity, task in self._running.items() if activity not in wanted]:
            await asyncio.wait(ending)

    def _ended(self, _: asyncio.Task[None]) -> None:
        """Called when an activity ends. Waking `run` in this way saves a waiting task, and so kilobytes, per worker."""
        self._changed.set()

    async def wait_for_cancelled_activities(self) -> None:
        """Wait until all cancelled activities and paid requests have ended."""
        while ending := [task for task in self._running.values() if task.cancelling() and not task.done()]:
            await asyncio.wait(ending)
        if critical := [task for task in self._context.paid_request_tasks if task.cancelling()]:
            await asyncio.wait(critical)

    async def run(self) -> None:
        """Reconcile after each change or finished activity, until nothing runs. Raises InvalidApiKeyError."""
        try:
            while True:
                self._changed.clear()
                self._reconcile()
                if not self._running:
                    self._forget_projects()
                    return
                before = self._job
                await self._changed.wait()
                self._collect_done(before)
        finally:
            await self._cancel_all()

    def _cancel_unwanted(self) -> None:
        wanted = self._context.needed_activities(self._job)
        for activity, task in self._running.items():
            under_way = isinstance(activity, Submit) and self._job.submission is not None
            if activity not in wanted and not under_way and not task.cancelling():
                task.cancel()

    def _reconcile(self) -> None:
        for activity in self._context.startable_activities(self._job):
            if activity not in self._running:
                task = asyncio.create_task(self._start(activity), name=f"{self._id} {activity}")
                task.add_done_callback(self._ended)
                self._running[activity] = task
            elif isinstance(activity, PollProject):
                self._context.poller.set_awaited_dubs(activity.project, self._id, self._awaited(activity.project))

    def _forget_projects(self) -> None:
        for project in self._job.projects:
            self._context.poller.forget(project)

    def _collect_done(self, before: Job) -> None:
        for activity, task in list(self._running.items()):
            if not task.done():
                continue
            del self._running[activity]
            if task.cancelled():
                continue
            error = task.exception()
            if isinstance(error, InvalidApiKeyError):
                raise error
            self._check_progress(activity, error, before)

    def _check_progress(self, activity: Activity, error: BaseException | None, before: Job) -> None:
        """Treat an activity that ends with an error, or `MAX_FRUITLESS_ACTIVITIES` times without effect, as a bug of this
        program."""
        in_vain = self._job is before and self._context.may_run(self._job, activity)
        self._fruitless = self._fruitless + 1 if in_vain else 0
        if error is None and self._fruitless < MAX_FRUITLESS_ACTIVITIES:
            return
        _log.error("activity failed", exc_info=error, extra={"job": self._id, "activity": str(activity)})
        self._fruitless = 0
        if activity in needed_activities(self._job):
            self._fail_activity(activity)

    def _fail_activity(self, activity: Activity) -> None:
        trouble, now = ProblemError("internal"), self._context.now()
        job = self._job
        match activity:
            case Upload():
                job = source_changes.fail_unsent_dubs(job, trouble.code, "", now)
            case Submit(languages, _):
                for language in languages:
                    if job.dubs[language].state is DubState.WAITING:
                        job = dub_states.fail_dub(job, language, trouble.code, "", FailureScope.SUBMISSION, now)
            case PollProject(project):
                job = observation.fail_polled_dubs(job, project, now)
            case LookUpReceipts(languages):
                for language in languages:
                    job = adoption.resolve_from_receipts(job, language, "", now)
            case Download(language):
                job = dub_states.fail_dub(job, language, trouble.code, "", FailureScope.DOWNLOAD, now)
        self._context.live_jobs.update(job)

    def _start(self, activity: Activity) -> Coroutine[Any, Any, None]:
        match activity:
            case Upload():
                return UploadActivity(self._context, self._id).run()
            case Submit(languages, project):
                return SubmitActivity(self._context, self._id, languages, project).run()
            case PollProject(project):
                return self._watch(project)
            case LookUpReceipts(languages):
                return self._context.payment_history.recall_lost_answers(self._id, languages)
            case Download(language):
                return DownloadActivity(self._context, self._id, language).run()

    async def _watch(self, project: str) -> None:
        """Apply the service's answers about a project to the job. Runs until the worker cancels it as no longer wanted."""
        if not self._seconds:
            self._seconds = (await in_thread(video_header.read_video_header, self._job.source.path)).seconds
        async with self._context.poller.watch_project(project, self._id, self._awaited(project)) as news:
            while True:
                heard = await news()
                now = self._context.now()
                if isinstance(heard, RequestRejectedError):
                    self._context.live_jobs.update(observation.record_project_not_found(self._job, project, heard.detail, now))
                else:
                    seen, before = to_project_seen(heard), self._job
                    await self._context.payment_history.record_failures(
                        before, observation.apply_project(before, project, seen, now), project
                    )
                    self._context.live_jobs.update(observation.apply_project(self._job, project, seen, now))
                    for language, word in observation.newly_unknown_statuses(before, self._job).items():
                        self._context.on_warning(self._job, ProblemError("status_unknown", f"{language}: {word}"))

    def _awaited(self, project: str) -> dict[str, AwaitedDub]:
        """Returns the job's dubs in progress in the project, by language."""
        return {
            language: AwaitedDub(dub.submitted or dub.since, features_of(self._job, language, self._seconds))
            for language, dub in self._job.dubs.items()
            if dub.project == project and dub.state in (DubState.DUBBING, DubState.UNKNOWN)
        }

    async def _cancel_all(self) -> None:
        for task in self._running.values():
            if not task.cancelling():  # a second cancel would interrupt its clean-up
                task.cancel()
        if self._running:
            await asyncio.wait(self._running.values())
