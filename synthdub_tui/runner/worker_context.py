"""What all workers of a runner share: the jobs, the client of the service, the limits on transfers, and how long to wait."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.reconcile import Activity, Download, Submit, Upload, has_begun, needed_activities
from synthdub_tui.runner import clock
from synthdub_tui.runner.account_gate import AccountGate
from synthdub_tui.runner.backoff import Backoff
from synthdub_tui.runner.cross_batch_claims import CrossBatchClaims
from synthdub_tui.runner.live_jobs import LiveJobs
from synthdub_tui.runner.output_claims import OutputClaims
from synthdub_tui.runner.payment_history import PaymentHistory
from synthdub_tui.runner.poller import Poller
from synthdub_tui.runner.transfer_stats import TransferStats
from synthdub_tui.runner.upload_queue import UploadSlots
from synthdub_tui.store.receipts import Receipts
from synthdub_tui.synthesia.client import SynthesiaClient
from synthdub_tui.synthesia.errors import NotSentError, ServiceUnavailableError, UnknownOutcomeError
from synthdub_tui.transfer.download import Downloader
from synthdub_tui.transfer.upload import Uploader

_log = logging.getLogger(__name__)


STALL_CLEARED_AFTER_SECONDS: Final = 60.0
"""Seconds after which a transfer that had failed before counts as going well again."""


@dataclass
class WorkerContext:
    """The objects that all workers of a runner share."""

    live_jobs: LiveJobs
    client: SynthesiaClient
    account_gate: AccountGate
    poller: Poller
    uploader: Uploader
    downloader: Downloader
    transfer_stats: TransferStats
    backoff: Backoff
    upload_slots: UploadSlots
    receipts: Receipts
    download_slots: asyncio.Semaphore
    on_call_result: Callable[[ProblemError | None], None]
    on_warning: Callable[[Job, ProblemError], None]  # about a job that has not failed
    settle_seconds: float  # seconds for which a source that was found in a folder must not have changed; 0: off
    state_dir: str
    paused: bool = False  # nothing new starts
    paid_request_tasks: set[asyncio.Task[None]] = field(default_factory=set)  # paid requests in progress
    source_read_lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while a source is read to tell versions apart
    files_in_comparison: Callable[[str], list[str]] = lambda _job: []  # paths of files being compared, by job
    stalled_transfers: dict[tuple[str, str], ProblemError] = field(default_factory=dict)  # transfers that wait for the storage
    output_claims: OutputClaims = field(init=False)
    cross_batch_claims: CrossBatchClaims = field(init=False)
    payment_history: PaymentHistory = field(init=False)

    def __post_init__(self) -> None:
        self.output_claims = OutputClaims(self.live_jobs.jobs)
        self.cross_batch_claims = CrossBatchClaims(self.live_jobs, self.state_dir, self.now)
        self.payment_history = PaymentHistory(self, self.receipts, self.state_dir)

    def needed_activities(self, job: Job) -> list[Activity]:
        """Returns the activities that the job needs, even if they may not start now.

        While a file is compared with the job's source, nothing is uploaded or paid for. Nothing is downloaded either if that
        file has another path, since the source and its outputs may have moved.
        """
        files = self.files_in_comparison(job.id)
        if not files:
            return needed_activities(job)
        waits = Upload | Submit if set(files) == {job.source.path} else Upload | Submit | Download
        return [activity for activity in needed_activities(job) if not isinstance(activity, waits)]

    def startable_activities(self, job: Job) -> list[Activity]:
        """Returns the activities that the job needs and that have begun, or may begin now."""
        return [activity for activity in self.needed_activities(job) if self.may_run(job, activity)]

    def may_run(self, job: Job, activity: Activity) -> bool:
        """Whether the activity has begun, or neither a pause nor the account forbids it."""
        refused = self.account_gate.refusal is not None and isinstance(activity, Upload | Submit)
        return has_begun(job, activity) or not (self.paused or refused)

    async def retry_until_answered(
        self, call: Callable[[], Awaitable[object]], *, retry_unknown_outcome: bool = False
    ) -> object:
        """Repeat a free call with back-off and jitter until it is answered, and return the answer.

        `retry_unknown_outcome`: also repeat a write that may have arrived; only for writes that do no harm when repeated.
        Raises all errors but NotSentError, ServiceUnavailableError and, with `retry_unknown_outcome`, UnknownOutcomeError.
        """
        delay = self.backoff.initial_delay
        while True:
            try:
                answer = await call()
            except (NotSentError, ServiceUnavailableError, UnknownOutcomeError) as trouble:
                if isinstance(trouble, UnknownOutcomeError) and not retry_unknown_outcome:
                    raise
                self.on_call_result(trouble)
                await self.sleep_before_retry(trouble, delay)
                delay = min(delay * 2, self.backoff.max_delay)
            else:
                self.on_call_result(None)
                return answer

    async def sleep_before_retry(self, trouble: ProblemError, delay: float) -> None:
        """Wait before a repeat: `delay` seconds with jitter, or longer if the service asks for it."""
        asked = getattr(trouble, "retry_after", None) or 0.0
        await asyncio.sleep(max(asked, delay * random.uniform(0.5, 1.0)))  # noqa: S311 - jitter

    async def report_stall_and_wait(self, job_id: str, language: str, trouble: ProblemError, delay: float) -> None:
        """Wait before the next try of a transfer (an upload has an empty language), and show its trouble in
        `stalled_transfers`.

        The trouble stays there until `clear_stall`, or until the next try has lasted `STALL_CLEARED_AFTER_SECONDS` seconds.
        """
        self.stalled_transfers[job_id, language] = trouble
        self.transfer_stats.changed = True
        await self.sleep_before_retry(trouble, delay)
        asyncio.get_running_loop().call_later(STALL_CLEARED_AFTER_SECONDS, self.clear_stall, job_id, language, trouble)

    def clear_stall(self, job_id: str, language: str, trouble: ProblemError | None = None) -> None:
        """Remove the trouble of a transfer from `stalled_transfers`; if `trouble` is given, only if it is still that one."""
        if trouble in (None, self.stalled_transfers.get((job_id, language))):
            self.transfer_stats.changed |= self.stalled_transfers.pop((job_id, language), None) is not None

    @staticmethod
    def now() -> float:
        """Returns the runner's time, in seconds since the epoch."""
        return clock.now()
