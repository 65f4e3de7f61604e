"""What all workers of a runner share: the jobs, the client of the service, the limits on transfers, and how long to wait."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.reconcile import Activity, Deliver, Download, Submit, activities, begun
from synthdub_tui.runner import clock
from synthdub_tui.runner.account_gate import Account
from synthdub_tui.runner.backoff import Patience
from synthdub_tui.runner.cross_batch_claims import SharedClaims
from synthdub_tui.runner.live_jobs import Ledger
from synthdub_tui.runner.output_claims import Claims
from synthdub_tui.runner.payment_history import PaidBefore
from synthdub_tui.runner.poller import Poller
from synthdub_tui.runner.transfer_stats import Meters
from synthdub_tui.runner.upload_queue import Turns
from synthdub_tui.store.receipts import Receipts
from synthdub_tui.synthesia.client import Client
from synthdub_tui.synthesia.errors import NotSent, Unavailable, Unclear
from synthdub_tui.transfer.download import Downloader
from synthdub_tui.transfer.upload import Uploader

_log = logging.getLogger(__name__)


GOES_WELL: Final = 60.0
"""Seconds after which a transfer that had failed before counts as going well again."""


@dataclass
class Workshop:
    """The objects that all workers of a runner share."""

    ledger: Ledger
    client: Client
    account: Account
    poller: Poller
    uploader: Uploader
    downloader: Downloader
    meters: Meters
    patience: Patience
    uploads: Turns
    receipts: Receipts
    downloads: asyncio.Semaphore
    on_trouble: Callable[[Trouble | None], None]
    on_warning: Callable[[Job, Trouble], None]  # about a job that has not failed
    settle: float  # seconds for which a source that was found in a folder must not have changed; 0: off
    state_dir: str
    paused: bool = False  # nothing new starts
    critical: set[asyncio.Task[None]] = field(default_factory=set)  # paid requests in progress
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while a source is read to tell versions apart
    comparing: Callable[[str], list[str]] = lambda _job: []  # paths of files being compared, by job
    held_up: dict[tuple[str, str], Trouble] = field(default_factory=dict)  # transfers that wait for the storage
    claims: Claims = field(init=False)
    shared_claims: SharedClaims = field(init=False)
    paid_before: PaidBefore = field(init=False)

    def __post_init__(self) -> None:
        self.claims = Claims(self.ledger.jobs)
        self.shared_claims = SharedClaims(self.ledger, self.state_dir, self.now)
        self.paid_before = PaidBefore(self, self.receipts, self.state_dir)

    def decided(self, job: Job) -> list[Activity]:
        """Returns the activities that the job needs, even if they may not start now.

        While a file is compared with the job's source, nothing is uploaded or paid for. Nothing is downloaded either if that
        file has another path, since the source and its outputs may have moved.
        """
        files = self.comparing(job.id)
        if not files:
            return activities(job)
        waits = Deliver | Submit if set(files) == {job.source.path} else Deliver | Submit | Download
        return [activity for activity in activities(job) if not isinstance(activity, waits)]

    def wanted(self, job: Job) -> list[Activity]:
        """Returns the activities that the job needs and that have begun, or may begin now."""
        return [activity for activity in self.decided(job) if self.may_go_on(job, activity)]

    def may_go_on(self, job: Job, activity: Activity) -> bool:
        """Whether the activity has begun, or neither a pause nor the account forbids it."""
        refused = self.account.refusal is not None and isinstance(activity, Deliver | Submit)
        return begun(job, activity) or not (self.paused or refused)

    async def reach(self, call: Callable[[], Awaitable[object]], *, unclear_too: bool = False) -> object:
        """Repeat a free call with back-off and jitter until it is answered, and return the answer.

        `unclear_too`: also repeat a write that may have arrived; only for writes that do no harm when repeated. Raises all
        errors but NotSent, Unavailable and, with `unclear_too`, Unclear.
        """
        delay = self.patience.back_off
        while True:
            try:
                answer = await call()
            except (NotSent, Unavailable, Unclear) as trouble:
                if isinstance(trouble, Unclear) and not unclear_too:
                    raise
                self.on_trouble(trouble)
                await self.pause_after(trouble, delay)
                delay = min(delay * 2, self.patience.back_off_limit)
            else:
                self.on_trouble(None)
                return answer

    async def pause_after(self, trouble: Trouble, delay: float) -> None:
        """Wait before a repeat: `delay` seconds with jitter, or longer if the service asks for it."""
        asked = getattr(trouble, "retry_after", None) or 0.0
        await asyncio.sleep(max(asked, delay * random.uniform(0.5, 1.0)))  # noqa: S311 - jitter

    async def outlast(self, job_id: str, language: str, trouble: Trouble, delay: float) -> None:
        """Wait before the next try of a transfer (an upload has an empty language), and show its trouble in `held_up`.

        The trouble stays there until `outlasted`, or until the next try has lasted `GOES_WELL` seconds.
        """
        self.held_up[job_id, language] = trouble
        self.meters.changed = True
        await self.pause_after(trouble, delay)
        asyncio.get_running_loop().call_later(GOES_WELL, self.outlasted, job_id, language, trouble)

    def outlasted(self, job_id: str, language: str, trouble: Trouble | None = None) -> None:
        """Remove the trouble of a transfer from `held_up`; if `trouble` is given, only if it is still that one."""
        if trouble in (None, self.held_up.get((job_id, language))):
            self.meters.changed |= self.held_up.pop((job_id, language), None) is not None

    @staticmethod
    def now() -> float:
        """Returns the runner's time, in seconds since the epoch."""
        return clock.now()
