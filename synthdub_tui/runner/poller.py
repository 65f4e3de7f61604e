"""The one poller for all projects. It asks about each project when it is due, and passes the answers to all workers.

Reads are the scarce resource (20,000 a day on Creator). `poll_schedule.py` decides which project is due; the quota spaces the
calls.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.runner.clock import now
from synthdub_tui.runner.poll_schedule import AwaitedDub, PollSchedule
from synthdub_tui.synthesia.client import SynthesiaClient
from synthdub_tui.synthesia.errors import InvalidApiKeyError, RequestRejectedError, ServiceUnavailableError
from synthdub_tui.synthesia.rate_gate import Priority
from synthdub_tui.synthesia.schema import LanguageStatus, ProjectInfo
from synthdub_tui.transfer.daemon_executor import await_detached

_log = logging.getLogger(__name__)

MAX_REFUSED_POLLS: Final = 4
"""Refusals in a row (such as 404) after which a project counts as gone; a new project may be unknown for a moment."""

MAX_BACKOFF_SECONDS: Final = 60.0
"""Longest back-off in seconds while the service cannot be reached."""

MAX_CONCURRENT_POLLS: Final = 8
"""Polls in progress at the same time; the quota spaces their starts."""

ProjectNews = ProjectInfo | RequestRejectedError
"""News for a watcher: the project, or the refusal if the service does not know it."""


@dataclass
class _Watcher:
    """A job that follows a project."""

    news: asyncio.Queue[ProjectNews]
    dubs: dict[str, AwaitedDub]


class Poller:
    """Asks the service about projects. `on_call_result` is called with the error of a failed call, and with None on an
    answer."""

    def __init__(
        self, client: SynthesiaClient, schedule: PollSchedule, on_call_result: Callable[[ProblemError | None], None]
    ) -> None:
        self._client = client
        self._schedule = schedule
        self._on_call_result = on_call_result
        self._watchers: dict[str, dict[str, _Watcher]] = {}  # by project and job: copies of a video may share a project
        self._kept_projects: set[str] = set()  # projects whose answers are kept; answers about others may still arrive
        self._latest: dict[str, ProjectInfo] = {}
        self._asking: dict[str, asyncio.Task[ProjectInfo]] = {}
        self._refused: dict[str, int] = {}
        self._failures = 0
        self._wake = asyncio.Event()

    @asynccontextmanager
    async def watch_project(
        self, project: str, job: str, dubs: Mapping[str, AwaitedDub]
    ) -> AsyncIterator[Callable[[], Awaitable[ProjectNews]]]:
        """Poll the project for a job within the context. Yields a callable that waits for the next news. For `dubs` see
        `set_awaited_dubs`."""
        self._kept_projects.add(project)
        watchers = self._watchers.setdefault(project, {})
        watcher = watchers[job] = _Watcher(asyncio.Queue(), _folded(dubs))
        if len(watchers) == 1:
            self._schedule.add(project, now(), watcher.dubs)
        else:
            self._update_schedule(project)
            if known := self._latest.get(project):
                watcher.news.put_nowait(known)
        self._wake.set()
        try:
            yield watcher.news.get
        finally:
            del watchers[job]
            if watchers:
                self._update_schedule(project)
            else:
                del self._watchers[project]
                self._schedule.remove(project)

    def set_awaited_dubs(self, project: str, job: str, dubs: Mapping[str, AwaitedDub]) -> None:
        """Note which dubs, by language, the job has in progress in a project that it watches."""
        watcher = self._watchers.get(project, {}).get(job)
        if watcher is not None:
            watcher.dubs = _folded(dubs)
            self._update_schedule(project)
            self._wake.set()

    def _update_schedule(self, project: str) -> None:
        every: dict[str, AwaitedDub] = {}
        for watcher in self._watchers[project].values():
            every |= watcher.dubs
        self._schedule.set_awaited_dubs(project, every)

    def latest(self, project: str) -> ProjectInfo | None:
        """Returns the last answer, or None. Its signed URLs may have expired."""
        return self._latest.get(project)

    def forget(self, project: str) -> None:
        """Drop the answers of a project that a job no longer needs, unless another job watches it."""
        if project in self._watchers:
            return
        self._kept_projects.discard(project)
        self._latest.pop(project, None)
        self._refused.pop(project, None)

    async def get_fresh_project(self, project: str, priority: Priority = Priority.SUBMISSION) -> ProjectInfo:
        """Ask now, for fresh URLs. Callers at the same time share one call. Raises the errors of `get_project`."""
        self._kept_projects.add(project)
        task = self._asking.get(project)
        if task is None:
            task = asyncio.create_task(self._get_project(project, priority))
            self._asking[project] = task
            task.add_done_callback(lambda _: self._asking.pop(project, None))
        return await await_detached(task)

    async def run(self) -> None:
        """Poll until cancelled."""
        slots = asyncio.Semaphore(MAX_CONCURRENT_POLLS)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                group.create_task(self._poll(await self._due_project(), slots))

    async def _due_project(self) -> str:
        while True:
            project = self._schedule.take_due_project(now())
            if project is not None:
                return project
            due = self._schedule.next_due()
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - now())):
                    await self._wake.wait()

    async def _poll(self, project: str, slots: asyncio.Semaphore) -> None:
        try:
            await self._get_project(project, Priority.POLL)
        except RequestRejectedError as refusal:
            self._count_refusal(project, refusal)
        except (ServiceUnavailableError, InvalidApiKeyError) as trouble:
            _log.info("poll failed", extra={"project": project, "code": trouble.code})
        finally:
            slots.release()

    async def _get_project(self, project: str, priority: Priority) -> ProjectInfo:
        try:
            info = await self._client.get_project(project, priority=priority)
        except (ServiceUnavailableError, InvalidApiKeyError) as trouble:
            self._failures += 1
            wait = min(MAX_BACKOFF_SECONDS, 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            self._schedule.postpone(project, now() + max(wait, getattr(trouble, "retry_after", None) or 0.0))
            self._on_call_result(trouble)
            raise
        self._failures = 0
        self._refused.pop(project, None)
        self._on_call_result(None)
        if project in self._kept_projects:
            self._latest[project] = info
        self._schedule.note_answer(project, now(), _finished(info))
        self._notify_watchers(project, info)
        return info

    def _count_refusal(self, project: str, refusal: RequestRejectedError) -> None:
        """Report a project as lost after `MAX_REFUSED_POLLS` refusals in a row: a new project may be unknown for a moment."""
        self._on_call_result(None)
        if project not in self._kept_projects:
            return
        self._refused[project] = self._refused.get(project, 0) + 1
        if self._refused[project] >= MAX_REFUSED_POLLS:
            self._notify_watchers(project, refusal)

    def _notify_watchers(self, project: str, news: ProjectNews) -> None:
        for watcher in self._watchers.get(project, {}).values():
            watcher.news.put_nowait(news)


def _finished(info: ProjectInfo) -> list[str]:
    return [entry.language.lower() for entry in info.languages if entry.state is LanguageStatus.COMPLETE]


def _folded(dubs: Mapping[str, AwaitedDub]) -> dict[str, AwaitedDub]:
    """Returns the dubs by language in lower case, since the service may spell languages in another case."""
    return {language.lower(): dub for language, dub in dubs.items()}
