"""The batch in memory, written to disk in the background: `update` takes effect at once, `wait_until_saved` waits for the
disk."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final

from synthdub_tui.jobs.model import Job
from synthdub_tui.store.job_store import JobStore
from synthdub_tui.transfer.daemon_executor import DaemonThreadPool

SAVE_RETRY_SECONDS: Final = 2.0
"""Seconds between tries to save while the disk is full or read-only. Nothing is paid for until an intent is on disk."""

_log = logging.getLogger(__name__)

Listener = Callable[[Job | None, Job], None]
"""Called on every change with the job's version before (None for a new job) and after."""

OnRemoved = Callable[[Job], None]
"""Called with a job that was removed."""


class LiveJobs:
    """All jobs of the batch. Belongs to one event loop; its own threads write the files.

    `check_ownership` is called before each write and raises OSError if the directory is no longer ours. `on_write_result` is
    called with the error of a failed write, and with None after a successful one. `on_flushed` is called whenever all changes
    are durable.
    """

    def __init__(
        self,
        store: JobStore,
        on_write_result: Callable[[OSError | None], None],
        *,
        check_ownership: Callable[[], None] = lambda: None,
        on_flushed: Callable[[], None] = lambda: None,
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self._store = store
        self._check_ownership = check_ownership
        self._on_write_result = on_write_result
        self._on_flushed = on_flushed
        self._listeners: list[Listener] = []
        self._on_removed: list[OnRemoved] = []
        self._threads = DaemonThreadPool(4, "store")
        self._saving: dict[str, asyncio.Task[None]] = {}
        self._unsaved: dict[str, Job | None] = {}  # None: delete its file
        self._try_now = asyncio.Event()  # wakes saves that wait for `SAVE_RETRY_SECONDS`

    def load(self, jobs: Iterable[Job]) -> None:
        """Accept jobs that are on disk already."""
        self.jobs.update({job.id: job for job in jobs})

    def add_listener(self, listener: Listener, on_removed: OnRemoved = lambda _: None) -> None:
        """From now on, call `listener` on every change and `on_removed` for every job that is removed."""
        self._listeners.append(listener)
        self._on_removed.append(on_removed)

    def update(self, job: Job) -> None:
        """Replace the job by this version and start to save it. `wait_until_saved` waits for the disk."""
        before = self.jobs.get(job.id)
        if before == job:
            return
        self.jobs[job.id] = job
        self._save_soon(job.id, job)
        for listener in self._listeners:
            listener(before, job)

    def remove(self, job_id: str) -> None:
        """Remove the job from the batch and start to delete its file. `wait_until_saved` waits for the disk."""
        job = self.jobs.pop(job_id)
        self._save_soon(job_id, None)
        for on_removed in self._on_removed:
            on_removed(job)

    @property
    def has_unsaved_changes(self) -> bool:
        """Whether some change is not durable yet."""
        return bool(self._saving)

    async def wait_until_saved(self, job_id: str) -> None:
        """Wait until the job's present version, or a later one, is durable."""
        task = self._saving.get(job_id)
        if task is not None:
            await asyncio.shield(task)

    async def close(self, timeout: float) -> bool:  # noqa: ASYNC109 - returns False then
        """Wait for unfinished saves, at most `timeout` seconds, and try failed ones again. Returns whether all succeeded."""
        self._try_now.set()
        self._try_now.clear()
        tasks = list(self._saving.values())
        pending: set[asyncio.Task[None]] = set()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=timeout)
        for task in pending:
            task.cancel()
        if not pending:
            await self.write_cache()
        self._threads.shutdown(wait=not pending)
        return not pending

    async def write_cache(self) -> None:
        """Write the cache that makes the next start fast. A failure is only logged, since it loses nothing."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, self._guarded, self._store.write_cache)
        except OSError as error:
            _log.warning("cannot write the cache", extra={"reason": error.strerror})

    async def write_document(self, name: str, content: dict[str, object]) -> None:
        """Write a document of the batch. Raises OSError."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._guarded, self._store.write_document, name, content)

    def _guarded(self, write: Callable[..., None], *arguments: object) -> None:
        self._check_ownership()
        write(*arguments)

    def _save_soon(self, job_id: str, job: Job | None) -> None:
        self._unsaved[job_id] = job
        if job_id not in self._saving:
            self._saving[job_id] = asyncio.create_task(self._save(job_id))

    def _write(self, job_id: str, job: Job | None) -> None:
        if job is None:
            self._store.delete(job_id)
        else:
            self._store.save(job)

    async def _save(self, job_id: str) -> None:
        """Save the job's newest version, until there is no newer one. One job is never saved twice at the same time."""
        loop = asyncio.get_running_loop()
        try:
            while job_id in self._unsaved:
                job = self._unsaved.pop(job_id)
                try:
                    await loop.run_in_executor(self._threads, self._guarded, self._write, job_id, job)
                except OSError as error:
                    self._unsaved.setdefault(job_id, job)
                    _log.warning("cannot save", extra={"job": job_id, "reason": error.strerror})
                    self._on_write_result(error)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(SAVE_RETRY_SECONDS):
                            await self._try_now.wait()
                else:
                    self._on_write_result(None)
        finally:
            del self._saving[job_id]
            if not self._saving:
                self._on_flushed()
