"""The queue of files whose content decides what they are. One is read at a time, in its own thread, while the work goes on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from synthdub_tui.jobs.options import Batch
from synthdub_tui.problems import Trouble
from synthdub_tui.runner.actions import Added
from synthdub_tui.runner.protocol import Comparing
from synthdub_tui.sources.digest import StoppedError, digest_of
from synthdub_tui.sources.scan import Found
from synthdub_tui.transfer.threads import DaemonPool

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Comparison:
    """A file that was named, and the jobs that it may belong to: nothing of them is paid for meanwhile."""

    found: Found
    jobs: tuple[str, ...]
    batch: Batch
    added: Added
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Comparisons:
    """`decide` finds out about one file and may ask for its `digest`. `changed` is called with a job that a file begins, or
    ceases, to keep waiting."""

    def __init__(self, decide: Callable[[Comparison], Awaitable[None]], changed: Callable[[str], None]) -> None:
        self._decide = decide
        self._changed = changed
        self._waiting: deque[Comparison] = deque()
        self._current: Comparison | None = None
        self._files: dict[str, list[str]] = {}  # by job: paths that are to be compared with it
        self._read = 0
        self._stopping = threading.Event()  # the file that is read now is not of interest any more
        self._thread = DaemonPool(1, "compare")
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether anything is left to compare."""
        return bool(self._files)

    def files(self, job_id: str) -> list[str]:
        """Paths of files that are to be compared with this job's."""
        return self._files.get(job_id, [])

    @property
    def progress(self) -> Comparing | None:
        """The file that is being read."""
        now = self._current
        return Comparing(now.found.path, self._read, now.found.size, len(self._waiting)) if now is not None else None

    def add(self, comparison: Comparison) -> None:
        """Compare this file once those before it are decided."""
        comparison.added.comparing += 1
        self._waiting.append(comparison)
        for job in comparison.jobs:
            self._hold(job, comparison.found.path)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="comparisons")

    async def finished(self, added: Added) -> None:
        """Returns when all that this adding brought here is decided or given up."""
        mine = [each for each in (self._current, *self._waiting) if each is not None and each.added is added]
        for each in mine:
            await each.over.wait()

    @contextmanager
    def holding(self, job: str, path: str) -> Iterator[None]:
        """Let the job wait, as it does for a comparison with this file."""
        self._hold(job, path)
        try:
            yield
        finally:
            self._release(job, path)

    async def digest(self, found: Found) -> str:
        """The digest of the file's content. Raises OSError, FileChangedError and StoppedError."""
        self._read = 0
        self._stopping.clear()
        work = self._thread.submit(
            digest_of, found.path, size=found.size, progress=self._note, stop=self._stopping.is_set
        )  # fmt: skip
        try:
            return await asyncio.wrap_future(work)
        finally:
            self._stopping.set()  # also where nobody waits for the digest any more

    def give_up(self) -> None:
        """Compare nothing more. The files stay as they are: the same command compares them another time."""
        self._stopping.set()
        dropped, self._waiting = list(self._waiting), deque()
        for each in dropped:
            each.added.stopped = True
            self._end(each)

    async def close(self) -> None:
        """End at once."""
        self.give_up()
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
            except StoppedError:
                current.added.stopped = True
            except Trouble as trouble:
                current.added.troubles.append(trouble)
            except Exception:  # noqa: BLE001 - one file must not keep the others waiting for ever
                _log.exception("comparison failed")
                current.added.troubles.append(Trouble("internal", current.found.path))
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
        self._changed(job)

    def _release(self, job: str, path: str) -> None:
        self._files[job].remove(path)
        if not self._files[job]:
            del self._files[job]
        self._changed(job)

    def _note(self, read: int) -> None:
        """In the thread that reads; one assignment needs no lock."""
        self._read = read
