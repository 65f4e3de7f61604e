"""The queue of files whose content decides to which job they belong. A thread reads them one at a time, during other work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import ComparisonProgress
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.runner.add_videos import AddResult
from synthdub_tui.sources.digest import DigestCancelledError, compute_digest
from synthdub_tui.sources.scan import FoundVideo
from synthdub_tui.transfer.daemon_executor import DaemonThreadPool

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Comparison:
    """A file and the jobs that it may belong to. Nothing is paid for these jobs until the comparison ends."""

    found: FoundVideo
    jobs: tuple[str, ...]
    batch: BatchOptions
    added: AddResult
    over: asyncio.Event = field(default_factory=asyncio.Event)


class ComparisonQueue:
    """Compares files in the order of `add`. `decide` decides about one file and may ask for its `digest`. `on_hold_change` is
    called with the id of a job when a file starts or stops keeping it waiting."""

    def __init__(self, decide: Callable[[Comparison], Awaitable[None]], on_hold_change: Callable[[str], None]) -> None:
        self._decide = decide
        self._on_hold_change = on_hold_change
        self._waiting: deque[Comparison] = deque()
        self._current: Comparison | None = None
        self._files: dict[str, list[str]] = {}  # by job: paths still to be compared with it
        self._read = 0
        self._stopping = threading.Event()  # stops the reading of the current file
        self._thread = DaemonThreadPool(1, "compare")
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether any comparison is waiting or in progress, or `hold_job` keeps a job waiting."""
        return bool(self._files)

    def files_holding(self, job_id: str) -> list[str]:
        """Returns the paths of files that keep this job waiting."""
        return self._files.get(job_id, [])

    @property
    def progress(self) -> ComparisonProgress | None:
        """The file in comparison and how far it is; None if there is none."""
        now = self._current
        return ComparisonProgress(now.found.path, self._read, now.found.size, len(self._waiting)) if now is not None else None

    def add(self, comparison: Comparison) -> None:
        """Compare this file after the files that were added before."""
        comparison.added.comparing += 1
        self._waiting.append(comparison)
        for job in comparison.jobs:
            self._hold(job, comparison.found.path)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="comparisons")

    async def wait_until_decided(self, added: AddResult) -> None:
        """Wait until all comparisons of `added` are decided or given up."""
        mine = [each for each in (self._current, *self._waiting) if each is not None and each.added is added]
        for each in mine:
            await each.over.wait()

    @contextmanager
    def hold_job(self, job: str, path: str) -> Iterator[None]:
        """Keep the job waiting within the context, as a comparison with this file would."""
        self._hold(job, path)
        try:
            yield
        finally:
            self._release(job, path)

    async def digest(self, found: FoundVideo) -> str:
        """Returns the digest of the file's content. Raises OSError, FileChangedError or DigestCancelledError."""
        self._read = 0
        self._stopping.clear()
        work = self._thread.submit(
            compute_digest, found.path, size=found.size, progress=self._note, stop=self._stopping.is_set
        )  # fmt: skip
        try:
            return await asyncio.wrap_future(work)
        finally:
            self._stopping.set()  # also if the caller was cancelled

    def cancel_all(self) -> None:
        """Stop all comparisons. The files remain undecided; the same command compares them again."""
        self._stopping.set()
        dropped, self._waiting = list(self._waiting), deque()
        for each in dropped:
            each.added.stopped = True
            self._end(each)

    async def close(self) -> None:
        """Stop all comparisons and end at once."""
        self.cancel_all()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown(wait=False)

    async def _work(self) -> None:
        while self._waiting:
            self._current = current = self._waiting.popleft()
            try:
                await self._decide(current)
            except DigestCancelledError:
                current.added.stopped = True
            except ProblemError as trouble:
                current.added.problems.append(trouble)
            except Exception:  # noqa: BLE001 - an error with one file must not block the others
                _log.exception("comparison failed")
                current.added.problems.append(ProblemError("internal", current.found.path))
            finally:
                self._current = None
                self._end(current)

    def _end(self, comparison: Comparison) -> None:
        comparison.added.comparing -= 1
        for job in comparison.jobs:
            self._release(job, comparison.found.path)
        comparison.over.set()

    def _hold(self, job: str, path: str) -> None:
        self._files.setdefault(job, []).append(path)
        self._on_hold_change(job)

    def _release(self, job: str, path: str) -> None:
        self._files[job].remove(path)
        if not self._files[job]:
            del self._files[job]
        self._on_hold_change(job)

    def _note(self, read: int) -> None:
        """Called in the reading thread. A single assignment needs no lock."""
        self._read = read
