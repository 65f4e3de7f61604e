"""What all workers share: the ledger, the service, the limits on transfers, and how long to be patient."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.plan import Activity, Deliver, Download, Submit, activities, begun
from synthdub_tui.problems import Trouble
from synthdub_tui.runner import clock
from synthdub_tui.runner.account import Account
from synthdub_tui.runner.claims import Claims
from synthdub_tui.runner.ledger import Ledger
from synthdub_tui.runner.meters import Meters
from synthdub_tui.runner.paid_before import PaidBefore
from synthdub_tui.runner.poller import Poller
from synthdub_tui.runner.shared_claims import SharedClaims
from synthdub_tui.runner.turns import Turns
from synthdub_tui.store.receipts import Receipts
from synthdub_tui.synthesia.client import Client
from synthdub_tui.synthesia.errors import NotSent, Unavailable, Unclear
from synthdub_tui.transfer.download import Downloader
from synthdub_tui.transfer.upload import Uploader

_log = logging.getLogger(__name__)


GOES_WELL: Final = 60.0
"""Seconds for which a transfer that broke before has to last."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds. Tests shorten it."""

    back_off: float = 1.0  # first wait after a failed call; doubled each time
    back_off_limit: float = 60.0
    asset_first: float = 1.0  # first look at an uploaded asset; waits grow by half
    asset_longest: float = 30.0  # between two looks
    asset_unseen: float = 120.0  # the upload is over, but the service still waits for it
    asset_limit: float = 900.0  # the service never calls the asset ready: try to dub it all the same
    download_rounds: int = 8  # tries of a download, each with a fresh address and several connections
    upload_pause: float = 5.0  # before a source is uploaded again; doubled each time
    upload_rounds: int = 20  # tries of an upload while the storage takes nothing, each of several requests
    rest: float = 60.0  # for files that are still being written, where nothing else is left to do
    new_project: float = 120.0  # for which a project may not be known everywhere at the service yet
    paid_answer: float = 200.0  # for the answer to a paid request of which there is only a receipt
    stop: float = 1.5  # for a paid request under way when the runner ends


@dataclass
class Workshop:
    """Shared by all workers of a runner."""

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
    on_warning: Callable[[Job, Trouble], None]  # about a job, without a failure
    settle: float  # seconds for which a source that was found in a folder must not have changed; 0: off
    state_dir: str
    paused: bool = False  # nothing new is begun
    critical: set[asyncio.Task[None]] = field(default_factory=set)  # paid requests under way
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)  # one source at a time is read to tell versions apart
    comparing: Callable[[str], list[str]] = lambda _job: []  # files that are compared with a job's
    held_up: dict[tuple[str, str], Trouble] = field(default_factory=dict)  # transfers that wait for the storage
    claims: Claims = field(init=False)
    shared_claims: SharedClaims = field(init=False)
    paid_before: PaidBefore = field(init=False)

    def __post_init__(self) -> None:
        self.claims = Claims(self.ledger.jobs)
        self.shared_claims = SharedClaims(self.ledger, self.state_dir, self.now)
        self.paid_before = PaidBefore(self, self.receipts, self.state_dir)

    def decided(self, job: Job) -> list[Activity]:
        """What should be going on for the job. As long as a file is compared with its source, nothing is uploaded or paid for;
        and nothing is downloaded where the source may lie elsewhere by now, with its outputs."""
        files = self.comparing(job.id)
        if not files:
            return activities(job)
        waits = Deliver | Submit if set(files) == {job.source.path} else Deliver | Submit | Download
        return [activity for activity in activities(job) if not isinstance(activity, waits)]

    def wanted(self, job: Job) -> list[Activity]:
        """What should be going on for the job, and may: it has begun, or neither a pause nor the account forbids it."""
        return [activity for activity in self.decided(job) if self.may_go_on(job, activity)]

    def may_go_on(self, job: Job, activity: Activity) -> bool:
        """Whether the activity has begun, or may begin now."""
        refused = self.account.refusal is not None and isinstance(activity, Deliver | Submit)
        return begun(job, activity) or not (self.paused or refused)

    async def reach(self, call: Callable[[], Awaitable[object]], *, unclear_too: bool = False) -> object:
        """Repeat an unpaid call with back-off and jitter until it is answered. With `unclear_too` also a write that may
        have arrived, which is only right where that does no harm. Other errors are the caller's."""
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
        """Wait before a repeat: as long as the service asks for, else `delay` with jitter."""
        asked = getattr(trouble, "retry_after", None) or 0.0
        await asyncio.sleep(max(asked, delay * random.uniform(0.5, 1.0)))  # noqa: S311 - jitter

    async def outlast(self, job_id: str, language: str, trouble: Trouble, delay: float) -> None:
        """Wait before the next try of a transfer (an upload has no language), and say what for: until `outlasted`, or until
        that try has lasted so long that it seems to go well."""
        self.held_up[job_id, language] = trouble
        self.meters.changed = True
        await self.pause_after(trouble, delay)
        asyncio.get_running_loop().call_later(GOES_WELL, self.outlasted, job_id, language, trouble)

    def outlasted(self, job_id: str, language: str, trouble: Trouble | None = None) -> None:
        """A transfer is held up no more, or not any more by this."""
        if trouble in (None, self.held_up.get((job_id, language))):
            self.meters.changed |= self.held_up.pop((job_id, language), None) is not None

    @staticmethod
    def now() -> float:
        """Seconds since the epoch."""
        return clock.now()
