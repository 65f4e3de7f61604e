"""The batch in memory and on disk: changes are seen at once, and `saved` waits until they are durable."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final

from synthdub_tui.jobs.model import Job
from synthdub_tui.store.store import Store
from synthdub_tui.transfer.threads import DaemonPool

RETRY_SECONDS: Final = 2.0
"""Between tries to save while the disk is full or read-only. Nothing is paid for meanwhile, since intents are not on disk."""

_log = logging.getLogger(__name__)

Listener = Callable[[Job | None, Job], None]
"""Told of every change: the version before (None for a new job) and after."""

OnRemoved = Callable[[Job], None]
"""Told of a job that was removed."""


class Ledger:
    """All jobs of the batch. Belongs to one event loop; files are written in threads of its own.

    `guard` is called before each write, and raises OSError where the directory is not ours any more; `on_rest` whenever all
    changes are durable.
    """

    def __init__(
        self,
        store: Store,
        on_trouble: Callable[[OSError | None], None],
        *,
        guard: Callable[[], None] = lambda: None,
        on_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self._store = store
        self._guard = guard
        self._on_trouble = on_trouble
        self._on_rest = on_rest
        self._listeners: list[Listener] = []
        self._on_removed: list[OnRemoved] = []
        self._threads = DaemonPool(4, "store")
        self._saving: dict[str, asyncio.Task[None]] = {}
        self._unsaved: dict[str, Job | None] = {}  # None: its file is to go
        self._try_now = asyncio.Event()  # who waits for room wakes up

    def load(self, jobs: Iterable[Job]) -> None:
        """Take over what stands on disk."""
        self.jobs.update({job.id: job for job in jobs})

    def listen(self, listener: Listener, on_removed: OnRemoved = lambda _: None) -> None:
        """Tell `listener` of every change from now on, and `on_removed` of every job that is removed."""
        self._listeners.append(listener)
        self._on_removed.append(on_removed)

    def put(self, job: Job) -> None:
        """The job's next version. It is on its way to disk; `saved` waits for it."""
        before = self.jobs.get(job.id)
        if before == job:
            return
        self.jobs[job.id] = job
        self._save_soon(job.id, job)
        for listener in self._listeners:
            listener(before, job)

    def remove(self, job_id: str) -> None:
        """The job is no part of the batch any more. Its file is on its way out; `saved` waits for that."""
        job = self.jobs.pop(job_id)
        self._save_soon(job_id, None)
        for on_removed in self._on_removed:
            on_removed(job)

    @property
    def saving(self) -> bool:
        """Whether some change is not durable yet."""
        return bool(self._saving)

    async def saved(self, job_id: str) -> None:
        """Returns when the job's present version, or a later one, is durable."""
        task = self._saving.get(job_id)
        if task is not None:
            await asyncio.shield(task)

    async def close(self, patience: float) -> bool:
        """Wait for what is being saved, `patience` seconds at most; tells whether all of it was. What failed is tried again."""
        self._try_now.set()
        self._try_now.clear()
        tasks = list(self._saving.values())
        pending: set[asyncio.Task[None]] = set()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=patience)
        for task in pending:
            task.cancel()
        if not pending:
            await self.write_cache()
        self._threads.shutdown(wait=not pending)
        return not pending

    async def write_cache(self) -> None:
        """Let the next start be quick. Nothing is lost where that fails."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._threads, self._guarded, self._store.write_cache)
        except OSError as error:
            _log.warning("cannot write the cache", extra={"reason": error.strerror})

    async def write_document(self, name: str, content: dict[str, object]) -> None:
        """A document of the batch. Raises OSError."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._guarded, self._store.write_document, name, content)

    def _guarded(self, write: Callable[..., None], *arguments: object) -> None:
        self._guard()
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
        """Saves of one job come one after another, each the newest version."""
        loop = asyncio.get_running_loop()
        try:
            while job_id in self._unsaved:
                job = self._unsaved.pop(job_id)
                try:
                    await loop.run_in_executor(self._threads, self._guarded, self._write, job_id, job)
                except OSError as error:
                    self._unsaved.setdefault(job_id, job)
                    _log.warning("cannot save", extra={"job": job_id, "reason": error.strerror})
                    self._on_trouble(error)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(RETRY_SECONDS):
                            await self._try_now.wait()
                else:
                    self._on_trouble(None)
        finally:
            del self._saving[job_id]
            if not self._saving:
                self._on_rest()
