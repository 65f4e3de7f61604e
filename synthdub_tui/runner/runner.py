"""The runner: holds the state directory, starts a worker for each job with something to do, and carries out requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import BatchStatus as MetersMessage
from synthdub_tui.ipc.protocol import DubRef, RateLimitUsage, ShownDub
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import SCHEMA_VERSION, Job, Source, Stage
from synthdub_tui.jobs.reconcile import Upload, needed_activities
from synthdub_tui.jobs.transitions import cancellation, creation, holds, restart, source_changes
from synthdub_tui.runner import add_videos, adopt_project, clock, request_handlers
from synthdub_tui.runner.account_gate import AccountGate
from synthdub_tui.runner.activities.download import remove_cancelled_parts, remove_leftovers
from synthdub_tui.runner.backoff import Backoff
from synthdub_tui.runner.comparison_queue import Comparison, ComparisonQueue
from synthdub_tui.runner.duration_model import DurationModel
from synthdub_tui.runner.input_validation import validate_batch
from synthdub_tui.runner.live_jobs import LiveJobs
from synthdub_tui.runner.output_presence import is_gone
from synthdub_tui.runner.poll_schedule import PollSchedule, affordable_poll_rate
from synthdub_tui.runner.poller import Poller
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.thumbnail_cache import ThumbnailCache
from synthdub_tui.runner.transfer_stats import TransferStats
from synthdub_tui.runner.unsettled_sources import UnsettledSources
from synthdub_tui.runner.upload_queue import UploadQueue, UploadSlots
from synthdub_tui.runner.worker import Worker
from synthdub_tui.runner.worker_context import WorkerContext
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import is_local_url
from synthdub_tui.sources import relocation
from synthdub_tui.sources.add_file import AddedFile, AddEffect, FileToCompare, MovedFile, add_file, find_job, recorded_stamps
from synthdub_tui.sources.digest import FileChangedError
from synthdub_tui.sources.job_index import JobIndex
from synthdub_tui.sources.scan import FoundVideo, SkippedPath, find_rejected_paths, find_sources
from synthdub_tui.sources.skip_rules import SkipRules
from synthdub_tui.sources.skipped_summary import SkippedSummary
from synthdub_tui.store.job_store import SKIPPED_DOCUMENT, DamagedFile, JobStore
from synthdub_tui.store.lock import StateLock
from synthdub_tui.store.receipts import account_id, receipts_for
from synthdub_tui.synthesia.client import CallRecord, SynthesiaClient
from synthdub_tui.synthesia.errors import AccountError, InvalidApiKeyError, RequestRejectedError
from synthdub_tui.synthesia.rate_gate import TIERS, Endpoint, RateGate, RateLimit, RateTier
from synthdub_tui.transfer.download import Downloader
from synthdub_tui.transfer.upload import Uploader

_log = logging.getLogger(__name__)

UPLOAD_ABORT_SECONDS: Final = 1.2
"""Seconds that a cancelled upload has to report this to the storage, also when the program ends (within three seconds)."""


MAX_SAVE_WAIT_SECONDS: Final = 5.0
"""Seconds for which a request waits for the disk before it is answered."""

MAX_CHUNK_FILES: Final = 200
MAX_CHUNK_SECONDS: Final = 0.1
"""Number of found files, and seconds, after which these files are added while the scan continues."""

MAX_COMPARISON_READS: Final = 3
"""Times that a file is read for comparison before it counts as still being written."""

MAX_UNSAVED_CHUNKS: Final = 5
"""Pieces that may be added before they are on disk."""


class Runner:
    """Does the work of one state directory. Call `open` and `start` first, `stop` last. `idle` is set when nothing is left."""

    def __init__(self, settings: Settings, *, backoff: Backoff | None = None) -> None:
        self.settings = settings
        self.store = JobStore(settings.state_dir)
        self._lock = StateLock(self.store.path("lock"))
        self.live_jobs = LiveJobs(
            self.store, self._on_write_result, check_ownership=self._lock.check_still_valid, on_flushed=self._check_idle
        )
        self.quota = RateGate(_tier(settings))
        self.client = SynthesiaClient(settings.api_url, settings.api_key, self.quota, on_call=self._note_call)
        self.transfer_stats = TransferStats()
        self.halted = asyncio.Event()  # nothing continues until the user acts, see `service_error`
        self.idle = asyncio.Event()  # nothing is left that can continue automatically, and everything is on disk
        self.service_error: ProblemError | None = None
        self.on_warning: Callable[[Job, ProblemError], None] | None = None  # set by `synthdub run`
        self.has_reached_service = False  # whether the service has answered at least once
        self.started_at = clock.now()
        self._busy_since = 0.0
        self.skipped_summary = SkippedSummary()  # in the last scan
        self._disk_trouble: ProblemError | None = None
        self._durations = DurationModel()
        schedule = PollSchedule(settings.poll_interval, self._durations, self._poll_rate)
        self._poller = Poller(self.client, schedule, self._on_call_result)
        self._context = self._make_worker_context(backoff or Backoff())
        self._unsettled_sources = UnsettledSources(self.live_jobs, settings.settle_seconds)
        self.thumbnails = ThumbnailCache(
            settings.state_dir,
            self.live_jobs,
            self.client,
            self._context.downloader,
            latest=self._poller.latest,
            check_ownership=self._lock.check_still_valid,
        )
        self.job_index = JobIndex(self.live_jobs.jobs)
        self._comparison_queue = ComparisonQueue(self._decide, self._on_comparison_hold_change)
        self._context.files_in_comparison = self._comparison_queue.files_holding
        self._lost_job_ids: frozenset[str] = frozenset()  # ids of jobs whose files were damaged
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._upload_queue: UploadQueue[str] = UploadQueue()  # jobs that only wait for an upload
        self._jobs_with_upload_slot: set[str] = set()  # jobs from the line whose upload has its turn
        self._scans: set[asyncio.Task[None]] = set()
        self._noting: set[asyncio.Task[None]] = set()  # tasks that write receipts of adopted dubs
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def _make_worker_context(self, backoff: Backoff) -> WorkerContext:
        settings = self.settings
        return WorkerContext(
            live_jobs=self.live_jobs,
            client=self.client,
            account_gate=AccountGate(self._on_account_refused),
            poller=self._poller,
            uploader=Uploader(
                settings.s3_endpoint_url or None, grace_seconds=UPLOAD_ABORT_SECONDS, backoff=backoff.initial_delay
            ),
            downloader=Downloader(allow_local=is_local_url(settings.api_url), backoff=backoff.initial_delay),
            transfer_stats=self.transfer_stats,
            backoff=backoff,
            upload_slots=UploadSlots(settings.max_uploads),
            download_slots=asyncio.Semaphore(settings.max_downloads),
            on_call_result=self._on_call_result,
            on_warning=self._note_warning,
            settle_seconds=settings.settle_seconds,
            receipts=receipts_for(settings),
            state_dir=settings.state_dir,
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    def open(self) -> list[DamagedFile]:
        """Lock the state directory and load it. Returns its damaged files. Blocking.

        Raises ProblemError("state_busy" | "state_unwritable" | "state_newer").
        """
        try:
            os.makedirs(self.store.folder, mode=0o700, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise ProblemError("state_unwritable", f"{error.strerror}: {self.store.folder}") from error
        try:
            self.store.open()
            if self._context.receipts.open(self.store.folder):
                _log.warning("receipts in the state directory", extra={"folder": self.settings.data_dir})
            loaded = self.store.load()
            self._lost_job_ids = self.store.damaged_job_ids()
        except ProblemError:
            self._lock.release()
            raise
        self.live_jobs.load(loaded.jobs)
        self.job_index.note_all(loaded.jobs)
        self.live_jobs.add_listener(self.job_index.update)
        for job in loaded.jobs:
            self._context.output_claims.claim_all(job)
        self.quota.restore(self.store.read_document("quota"))
        self._durations.load(self.store.read_document("durations"))
        self._context.paused = self.store.is_paused()
        self._context.cross_batch_claims.batch_id = self.store.batch_id()
        return loaded.damaged

    def start(self) -> None:
        """Start the work: the poller, the other background tasks, and the workers."""
        self.live_jobs.add_listener(self._on_change, self._on_removed)
        lasting = (
            self._poller.run(),
            self._unsettled_sources.run(),
            self._save_quota_periodically(),
            self._save_durations_periodically(),
            self.live_jobs.write_cache(),
        )
        self._tasks = [asyncio.create_task(work) for work in lasting]
        now = clock.now()
        for job in list(self.live_jobs.jobs.values()):
            self.live_jobs.update(holds.release_claimed_dubs(restart.resume_job(job, now)))
            self._unsettled_sources.track(self.live_jobs.jobs[job.id])
            self._ensure_worker(job.id)
        self._check_idle()

    async def stop(self) -> bool:
        """Save and end within some seconds, whatever the network does. Returns whether everything was saved."""
        self._stopping = True
        self._upload_queue.clear()
        self.stop_adding()
        await self._comparison_queue.close()
        self.thumbnails.close()
        tasks = [task for _, task in self._workers.values()] + self._tasks
        critical = set(self._context.paid_request_tasks)
        for task in tasks:
            task.cancel()
        if tasks or critical:
            # Wait a moment for answers to paid requests: a dub without its answer becomes unknown.
            await asyncio.wait([*tasks, *critical], timeout=self._context.backoff.stop_timeout)
        for task in critical:
            task.cancel()
        if critical:
            await asyncio.wait(critical, timeout=0.5)
        await asyncio.gather(
            self._save_quota(), self._save_durations(), self._context.uploader.close(), self._context.downloader.close()
        )
        await self._context.cross_batch_claims.close()
        saved = await self.live_jobs.close(timeout=0.5)
        self.quota.close()
        await self.client.close()
        self._lock.release()
        return saved

    # -- commands ------------------------------------------------------------------------------------------------------

    async def add(self, paths: Iterable[str], batch: BatchOptions) -> add_videos.AddResult:
        """Add files and folders piece by piece as they are found; adds nothing if a named path is wrong.

        Raises ProblemError("no_targets" | "unknown_language" | "state_unwritable").
        """
        batch, named = validate_batch(batch), list(paths)
        added = add_videos.AddResult()
        self._add_found_files(await in_thread(find_rejected_paths, named), batch, added, {})
        if added.path_problems:
            return added
        jobs = await in_thread(recorded_stamps, list(self.live_jobs.jobs.values()), batch)
        found = find_sources(
            named, recursive=batch.recursive, rules=SkipRules.from_options(batch), jobs=jobs, force_new=batch.force_new
        )
        scanning = asyncio.create_task(self._add_in_chunks(found, batch, added))
        self._scans.add(scanning)
        try:
            await asyncio.wait({scanning})
        finally:
            scanning.cancel()
            self._scans.discard(scanning)
        added.stopped = scanning.cancelled()
        if not added.stopped:
            scanning.result()
        await self._save_skipped_summary(added.skipped_summary)
        return added

    @property
    def adding(self) -> bool:
        """Whether a scan is in progress."""
        return bool(self._scans)

    def stop_adding(self) -> None:
        """Stop scanning and comparing. Files found so far stay in the batch."""
        for scanning in self._scans:
            scanning.cancel()
        self._comparison_queue.cancel_all()

    async def wait_for_comparisons(self, added: add_videos.AddResult) -> None:
        """Wait until the comparisons of `added` have ended."""
        await self._comparison_queue.wait_until_decided(added)

    async def relocate(self, old: str, new: str) -> int:
        """Note that the file or folder `old` is now `new`. Returns how many videos moved."""
        moved = []
        for job, path in relocation.find_moved_jobs(self.job_index, old, new):
            with contextlib.suppress(ProblemError):  # `synthdub relocate` finds out which were left, and why
                source = await in_thread(relocation.read_source_at, job, path)
                folder = await in_thread(relocation.folder_after_move, job.outputs, old, new)
                await self._move(job.id, source, folder)
                moved.append(job.id)
        for job_id in moved:
            await self.live_jobs.wait_until_saved(job_id)
        return len(moved)

    async def add_languages(self, jobs: Iterable[str], languages: Iterable[str]) -> int:
        """Add languages to jobs. Returns how many dubs are new. Raises ProblemError("no_targets" | "unknown_language")."""
        targets = validate_batch(BatchOptions(targets=tuple(languages))).targets
        before = sum(len(job.dubs) for job in self.live_jobs.jobs.values())
        for job_id in jobs:
            if job_id in self.live_jobs.jobs:
                self._claim_and_update(creation.add_targets(self.live_jobs.jobs[job_id], targets, clock.now()))
        return sum(len(job.dubs) for job in self.live_jobs.jobs.values()) - before

    def retry(self, cells: Iterable[ShownDub], *, allow_paid: bool) -> request_handlers.RetryResult:
        """Retry the dubs that are unchanged since the user saw them. `allow_paid`: the user agreed to the cost of each."""
        self._retry_refused_account()
        return request_handlers.retry(self.live_jobs.jobs, cells, allow_paid, clock.now(), self.live_jobs.update, is_gone)

    def cancel(self, cells: Iterable[ShownDub]) -> tuple[int, list[DubRef]]:
        """Cancel dubs. Returns how many, and the dubs skipped because they would leave another bill than the user saw."""
        return request_handlers.cancel(self.live_jobs.jobs, cells, clock.now(), self.live_jobs.update)

    async def wait_until_saved(self, cells: Iterable[ShownDub]) -> None:
        """Wait until changes of these dubs are on disk, at most `MAX_SAVE_WAIT_SECONDS`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MAX_SAVE_WAIT_SECONDS):
                for job_id in dict.fromkeys(cell.job for cell in cells):
                    await self.live_jobs.wait_until_saved(job_id)

    async def remove(self, cells: Iterable[ShownDub], *, allow_forgetting: bool) -> request_handlers.RemoveResult:
        """Remove dubs that have ended from the batch; files stay. `allow_forgetting`: also if something paid is forgotten.

        Waits until this is on disk, at most `MAX_SAVE_WAIT_SECONDS`.
        """
        cells = list(cells)
        await self._wait_for_cancelled_activities(cells)
        removed = request_handlers.remove(self.live_jobs.jobs, cells, allow_forgetting, self._remove_dubs, is_gone)
        await self.wait_until_saved(cells)
        return removed

    async def _wait_for_cancelled_activities(self, cells: Iterable[ShownDub]) -> None:
        """Wait for activities that were just cancelled: while they clean up, they read their job."""
        for job_id in dict.fromkeys(cell.job for cell in cells):
            if job_id in self._workers:
                await self._workers[job_id][0].wait_for_cancelled_activities()

    def _remove_dubs(self, job: Job, languages: Sequence[str]) -> None:
        remove_leftovers(job, languages)
        self._context.output_claims.release(job, languages)
        left = cancellation.remove_dubs(job, languages)
        if left is None:
            self.live_jobs.remove(job.id)
        else:
            self.live_jobs.update(left)

    async def adopt(self, cell: DubRef, project: str) -> None:
        """Follow a dub in the project that the user named, and wait until this is on disk. Only reads from the service.

        If the service does not answer or does not have the dub there, or the dub is in progress, raises ProblemError and
        changes nothing.
        """
        adopt_project.check_adoptable(self.live_jobs.jobs, cell)
        seen = await adopt_project.get_project(self.client, project)
        job = adopt_project.with_adopted_dub(self.live_jobs.jobs, cell, project, seen, clock.now())
        await self._context.cross_batch_claims.take_adopted(job, cell.language)
        try:
            self._claim_and_update(adopt_project.with_adopted_dub(self.live_jobs.jobs, cell, project, seen, clock.now()))
        except ProblemError:
            self._context.cross_batch_claims.give_back(job, cell.language)
            raise
        job = self.live_jobs.jobs[cell.job]
        await self.wait_until_saved([ShownDub(cell.job, cell.language)])
        noting = asyncio.create_task(
            in_thread(
                adopt_project.write_receipt, self._context.receipts, job, cell.language, self.settings.state_dir, clock.now()
            )
        )
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)
        await asyncio.wait({noting}, timeout=MAX_SAVE_WAIT_SECONDS)  # it may take longer to read a large source

    def review(self, cells: Iterable[DubRef], *, reviewed: bool) -> int:
        """Set or remove review marks. Returns how many dubs have an output to mark."""
        return request_handlers.review(self.live_jobs.jobs, cells, reviewed, self.live_jobs.update)

    @property
    def account_refusal(self) -> ProblemError | None:
        """Why the service refuses new dubs of this account, which only the user can fix. Paid dubs continue."""
        return self._context.account_gate.refusal

    def _retry_refused_account(self) -> None:
        if self.account_refusal is not None:
            self._context.account_gate.forget_refusal()
            self._resume_held_work()

    def _resume_held_work(self) -> None:
        """Start activities that a pause or the account had forbidden."""
        self.transfer_stats.changed = True
        for worker, _ in self._workers.values():
            worker.wake()
        self._ensure_workers()

    def _hold_back_new_work(self) -> None:
        """Let activities in progress finish, and start no more that a pause or the account forbids."""
        self.transfer_stats.changed = True
        self._upload_queue.clear()
        for job_id, (worker, _) in self._workers.items():
            if job_id in self.live_jobs.jobs:  # else the job was removed, and its worker is ending
                worker.cancel_queued_activities()
        self._check_idle()

    @property
    def paused(self) -> bool:
        """Whether the batch is paused, so that nothing new starts."""
        return self._context.paused

    @property
    def has_paused_work(self) -> bool:
        """Whether the batch is paused and something would continue after the pause."""
        return self.paused and any(job.can_continue for job in self.live_jobs.jobs.values())

    async def pause(self, paused: bool) -> None:
        """Pause or resume the batch. This is kept across restarts. Raises OSError if it cannot be saved."""
        self._context.paused = paused
        if paused:
            self._hold_back_new_work()
        else:
            self._context.account_gate.forget_refusal()
            self._resume_held_work()
        content = {"schema": SCHEMA_VERSION, **self.store.read_document("batch"), "paused": paused}
        await self.live_jobs.write_document("batch", content)
        self.transfer_stats.changed = True

    async def switch_api_key(self, key: str) -> None:
        """Use this API key from now on, and ask the service whether it accepts the key. Raises ProblemError."""
        self.client.set_key(key)
        self._context.payment_history.use_account(account_id(self.settings.api_url, key))
        with contextlib.suppress(RequestRejectedError):  # as expected, it does not know that asset: the key is good
            await self.client.get_asset("00000000-0000-4000-8000-000000000000")
        self.service_error = None
        self.halted.clear()
        self.transfer_stats.changed = True
        self._retry_refused_account()
        self._ensure_workers()

    @property
    def unsettled(self) -> list[Job]:
        """Jobs that wait until their source is complete; empty while anything else is in progress."""
        if self._workers or self._upload_queue or self._scans or self._comparison_queue.busy:
            return []
        return [self.live_jobs.jobs[job_id] for job_id in self._unsettled_sources]

    def batch_status(self) -> MetersMessage:
        """Returns the state of the batch as a whole, for clients."""
        up, down = self.transfer_stats.rates()
        waiting = self.halted.is_set() or not self.idle.is_set()  # else a trouble of the service stops nothing
        trouble = (
            self._disk_trouble
            or (self.service_error if waiting else None)
            or self._missing_key_error()
            or self.account_refusal
            or self._storage_trouble()
        )
        return MetersMessage(
            now=clock.now(),
            paused=self.paused or self.account_refusal is not None,
            problem=trouble.code if trouble else "",
            detail=trouble.detail if trouble else "",
            up=round(up),
            down=round(down),
            busy=not self.idle.is_set(),
            since=self._busy_since,
            quota=tuple(self._rate_limit_usages()),
            comparing=self._comparison_queue.progress,
        )

    def _missing_key_error(self) -> ProblemError | None:
        """Returns the trouble if there is no API key. It is reported even before there is work."""
        return None if self.client.has_key else ProblemError("no_key")

    # -- adding --------------------------------------------------------------------------------------------------------

    async def _add_in_chunks(
        self, found: Iterator[FoundVideo | SkippedPath], batch: BatchOptions, added: add_videos.AddResult
    ) -> None:
        """Add files as they are found, never more than `MAX_UNSAVED_CHUNKS` pieces ahead of the disk, to save memory."""
        unsaved: deque[list[str]] = deque()
        missing: dict[int, dict[str, str]] = {}
        while piece := await in_thread(self._next_chunk, found):
            sources = [item for item in piece if isinstance(item, FoundVideo)]
            await self._wait_for_submissions([job.id for item in sources if (job := find_job(self.job_index, item, batch))])
            await self._find_missing(sources, batch, missing)
            later = self._add_found_files(piece, batch, added, missing)
            self._note_named(sources, batch)
            add_videos.add_languages_to_same_file(self.job_index, piece, batch, clock.now(), self._claim_and_update, added)
            if added.path_problems:  # a named path disappeared during the scan
                return
            for item, outcome in later:
                await self._add_deferred(item, outcome, batch, added)
            unsaved.append([job.id for item in sources if (job := find_job(self.job_index, item, batch))])
            if len(unsaved) > MAX_UNSAVED_CHUNKS:
                for job_id in unsaved.popleft():
                    await self.live_jobs.wait_until_saved(job_id)

    async def _save_skipped_summary(self, left_out: SkippedSummary) -> None:
        """Save what the scan skipped, for `status`, which reads only the state directory. A failure to save is ignored."""
        self.skipped_summary = left_out
        with contextlib.suppress(OSError):
            await self.live_jobs.write_document(SKIPPED_DOCUMENT, {"schema": SCHEMA_VERSION, **left_out.to_document()})

    def _next_chunk(self, found: Iterator[FoundVideo | SkippedPath]) -> list[FoundVideo | SkippedPath]:
        """Returns what the scan finds next. Skips copies of our outputs, under any name. Blocking."""
        return [self._skip_own_output(item) if isinstance(item, FoundVideo) else item for item in _read_chunk(found)]

    def _skip_own_output(self, item: FoundVideo) -> FoundVideo | SkippedPath:
        try:
            own = self._context.payment_history.is_own_output(item.path, item.size)
        except OSError:  # the upload reports why it cannot be read
            return item
        return SkippedPath(item.path, "own_output") if own else item

    def _add_found_files(
        self,
        items: Iterable[FoundVideo | SkippedPath],
        batch: BatchOptions,
        added: add_videos.AddResult,
        missing: dict[int, dict[str, str]],
    ) -> list[tuple[FoundVideo, MovedFile | FileToCompare]]:
        return add_videos.add_found_files(
            self.job_index,
            items,
            batch,
            clock.now(),
            self._claim_and_update,
            added,
            lost_job_ids=self._lost_job_ids,
            missing=missing,
            settle_seconds=self.settings.settle_seconds,
        )

    def _note_named(self, found: Iterable[FoundVideo], batch: BatchOptions) -> None:
        named = [item for item in found if item.named]
        self._unsettled_sources.note_named([job.id for item in named if (job := find_job(self.job_index, item, batch))])

    async def _find_missing(self, found: Iterable[FoundVideo], batch: BatchOptions, missing: dict[int, dict[str, str]]) -> None:
        """Note in `missing` (size → job id → path) the jobs whose file is gone and has the size of a new file.

        Looks for each size once per `add`.
        """
        sizes = {item.size for item in found if item.size not in missing and find_job(self.job_index, item, batch) is None}
        jobs = [job for size in sizes for job in self.job_index.find_by_size(size)]
        missing.update((size, {}) for size in sizes)
        for job in await in_thread(_gone_of, jobs) if jobs else ():
            missing[job.source.size][job.id] = job.source.path

    async def _add_deferred(
        self, found: FoundVideo, outcome: MovedFile | FileToCompare, batch: BatchOptions, added: add_videos.AddResult
    ) -> None:
        if isinstance(outcome, FileToCompare):
            self._comparison_queue.add(Comparison(found, outcome.jobs, batch, added))
            return
        await self._move(outcome.job.id, outcome.source, outcome.outputs)
        again = add_file(self.job_index, found, batch, clock.now())
        if isinstance(again, AddedFile):
            added.effects[again.effect if again.effect is AddEffect.NEW else AddEffect.MOVED] += 1
            self._claim_and_update(again.job)

    async def _decide(self, comparison: Comparison) -> None:
        """Compare the file as it is now. Reads it again if it changes meanwhile, `MAX_COMPARISON_READS` times in all.

        Raises DigestCancelledError, or ProblemError, such as "source_changing", "source_missing" or "source_unreadable".
        """
        batch, added = comparison.batch, comparison.added
        for _ in range(MAX_COMPARISON_READS):
            found = await in_thread(_with_current_stat, comparison.found)
            missing: dict[int, dict[str, str]] = {}
            await self._find_missing([found], batch, missing)
            outcome = add_file(self.job_index, found, batch, clock.now(), missing=missing)
            if isinstance(outcome, FileToCompare):
                try:
                    digest = await self._comparison_queue.digest(found)
                except FileChangedError:
                    continue
                except OSError as error:
                    raise ProblemError("source_unreadable", f"{found.path}: {error.strerror}") from error
                added.compared += 1
                await self._wait_for_submissions(outcome.jobs)
                outcome = add_file(self.job_index, found, batch, clock.now(), missing=missing, digest=digest)
            if isinstance(outcome, MovedFile | FileToCompare):
                await self._add_deferred(found, outcome, batch, added)
            else:
                outcome = add_videos.mark_unsettled_if_recent(outcome, found, clock.now(), self.settings.settle_seconds)
                add_videos.apply_decision(added, outcome, self._claim_and_update)
                self._note_named([found], batch)
            return
        raise ProblemError("source_changing", comparison.found.path)

    async def _move(self, job_id: str, source: Source, folder: str) -> None:
        """Note the job's new source, and the outputs that moved with it.

        First waits until the job has no activity with files and no paid request in progress. Raises
        ProblemError("state_unwritable").
        """
        with self._comparison_queue.hold_job(job_id, source.path):
            if job_id in self._workers:
                await self._workers[job_id][0].wait_for_unwanted_activities()
            await self._wait_for_submissions([job_id])
            outputs = await in_thread(relocation.find_moved_outputs, self.live_jobs.jobs[job_id], source, folder)
            if job_id in self.live_jobs.jobs:  # the job may have been removed meanwhile
                self._claim_and_update(
                    source_changes.relocate_source(self.live_jobs.jobs[job_id], source, folder, outputs, clock.now())
                )

    def _on_comparison_hold_change(self, job_id: str) -> None:
        """Called when a file starts or stops keeping this job waiting for a comparison."""
        self.transfer_stats.changed = True
        if self._comparison_queue.files_holding(job_id):
            self._upload_queue.discard(job_id)
            self._release_upload_slot(job_id)
        if job_id in self._workers:
            self._workers[job_id][0].wake()
        elif self._tasks and job_id in self.live_jobs.jobs:  # else `start` employs it
            self._ensure_worker(job_id)
        self._check_idle()

    async def _wait_for_submissions(self, jobs: Sequence[str]) -> None:
        """Wait until the jobs have no paid request in progress, at most about a minute: only then may a job start again.

        Raises ProblemError("state_unwritable") if the disk accepts no writes, since the request waits for its intent to be
        saved.
        """
        while under_way := [
            job for job in map(self.live_jobs.jobs.get, jobs) if job is not None and job.submission is not None
        ]:
            if self._disk_trouble is not None:
                raise self._disk_trouble
            if self._context.paid_request_tasks:
                await asyncio.wait(self._context.paid_request_tasks, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            else:  # left by a runner that was killed; `start` has not resumed the jobs yet
                for job in under_way:
                    self.live_jobs.update(restart.resume_job(job, clock.now()))

    # -- workers -------------------------------------------------------------------------------------------------------

    def _claim_and_update(self, job: Job) -> None:
        """Claim the job's outputs, since the first job to claim an output writes it, and put the job."""
        self._context.output_claims.claim_all(job)
        self.live_jobs.update(job)

    def _on_change(self, before: Job | None, job: Job) -> None:
        if before is not None:
            self._context.cross_batch_claims.release_ended(before, job)
            remove_cancelled_parts(before, job)
            for project in before.projects.keys() - job.projects.keys():
                self._poller.forget(project)
        self._unsettled_sources.track(job)
        entry = self._workers.get(job.id)
        if entry is not None:
            entry[0].wake()
            if job.id in self._jobs_with_upload_slot and not _needs_upload(job):
                self._release_upload_slot(job.id)
        else:
            self._ensure_worker(job.id)
        self._check_idle()

    def _on_removed(self, job: Job) -> None:
        for project in {*job.projects, *(dub.project for dub in job.dubs.values())}:
            self._poller.forget(project)
        self._upload_queue.discard(job.id)
        entry = self._workers.get(job.id)
        if entry is not None:
            entry[1].cancel()
        self._check_idle()

    def _ensure_workers(self) -> None:
        for job_id in self.live_jobs.jobs:
            self._ensure_worker(job_id)
        self._check_idle()

    def _ensure_worker(self, job_id: str) -> None:
        """Start a worker for a job that has something to do, or put it into the line if it only waits for an upload."""
        if self._stopping or self.halted.is_set() or job_id in self._workers or job_id not in self.live_jobs.jobs:
            return
        job = self.live_jobs.jobs[job_id]
        wanted = self._context.startable_activities(job)
        if job.asset is None and len(wanted) == 1 and isinstance(wanted[0], Upload):
            self._upload_queue.add(job_id, job.source.size)
            asyncio.get_running_loop().call_soon(
                self._start_queued_uploads
            )  # later, so that jobs added together are ordered together
            return
        self._upload_queue.discard(job_id)
        if wanted:
            self._start_worker(job_id)

    def _start_queued_uploads(self) -> None:
        """Start workers for as many jobs of the line as can upload: each of thousands of workers would cost kilobytes."""
        while len(self._jobs_with_upload_slot) < self._context.upload_slots.slots and (job_id := self._upload_queue.pop()):
            self._jobs_with_upload_slot.add(job_id)
            self._start_worker(job_id)

    def _start_worker(self, job_id: str) -> None:
        worker = Worker(self._context, job_id)
        task = asyncio.create_task(worker.run(), name=f"worker {job_id}")
        self._workers[job_id] = (worker, task)
        task.add_done_callback(lambda done: self._on_worker_done(job_id, done))

    def _release_upload_slot(self, job_id: str) -> None:
        """Give the turn of the job's upload, which has ended for whatever reason, to the next job."""
        if job_id in self._jobs_with_upload_slot:
            self._jobs_with_upload_slot.discard(job_id)
            self._start_queued_uploads()

    def _on_worker_done(self, job_id: str, task: asyncio.Task[None]) -> None:
        del self._workers[job_id]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, InvalidApiKeyError):
            self._halt(error)
        elif error is not None:
            _log.error("worker failed", exc_info=error, extra={"job": job_id})
        else:
            self._ensure_worker(job_id)
        self._release_upload_slot(job_id)
        self._check_idle()

    def _halt(self, trouble: ProblemError) -> None:
        """End all workers, because nothing can continue until the user acts. The batch stays as it is."""
        if self.halted.is_set():
            return
        self.service_error = trouble
        self.halted.set()
        self.transfer_stats.changed = True
        _log.error("halted", extra={"code": trouble.code})
        self._upload_queue.clear()
        for _, task in list(self._workers.values()):
            task.cancel()

    def _check_idle(self) -> None:
        if (
            self._workers
            or self._upload_queue
            or self._unsettled_sources
            or self.live_jobs.has_unsaved_changes
            or self._comparison_queue.busy
        ):
            self._busy_since = self._busy_since or clock.now()
            self.idle.clear()
        else:
            self._busy_since = 0.0
            self.idle.set()

    # -- notices -------------------------------------------------------------------------------------------------------

    def _on_call_result(self, trouble: ProblemError | None) -> None:
        if trouble is None:
            self.has_reached_service = True
        if isinstance(trouble, InvalidApiKeyError):
            self._halt(trouble)
        elif not self.halted.is_set() and (trouble and trouble.code) != (self.service_error and self.service_error.code):
            self.service_error = trouble
            self.transfer_stats.changed = True
            if trouble is not None:
                _log.warning("service trouble", extra={"code": trouble.code, "detail": trouble.detail})

    def _note_warning(self, job: Job, trouble: ProblemError) -> None:
        _log.warning("source", extra={"job": job.id, "code": trouble.code, "detail": trouble.detail})
        if self.on_warning is not None:
            self.on_warning(job, trouble)

    def _on_account_refused(self, refusal: AccountError) -> None:
        _log.error("account refused", extra={"detail": refusal.detail})
        self._hold_back_new_work()

    def _storage_trouble(self) -> ProblemError | None:
        """Returns the storage trouble of a transfer that waits for its next try, if there is one."""
        held_up = next(iter(self._context.stalled_transfers.values()), None)
        return ProblemError("storage_trouble", held_up.detail) if held_up else None

    def _on_write_result(self, error: OSError | None) -> None:
        trouble = ProblemError("state_unwritable", f"{error.strerror}: {self.store.folder}") if error else None
        if (trouble is None) != (self._disk_trouble is None):
            self._disk_trouble = trouble
            self.transfer_stats.changed = True

    @staticmethod
    def _note_call(record: CallRecord) -> None:
        _log.info(
            "call",
            extra={"endpoint": record.endpoint.value, "status": record.status, "seconds": round(record.seconds, 3)},
        )

    def _rate_limit_usages(self) -> Iterable[RateLimitUsage]:
        for endpoint, use in self.quota.usage().items():
            windows = use.windows
            yield RateLimitUsage(
                endpoint.value,
                tuple(window.used for window in windows),
                tuple((window.limit, window.seconds) for window in windows),
                round(use.next_call_in, 1),
            )

    async def _save_quota_periodically(self) -> None:
        """Save the counters of calls every second. A runner that is killed loses the calls of its last second."""
        while True:
            await asyncio.sleep(1.0)
            if self.quota.has_unsaved_changes:
                await self._save_quota()

    async def _save_quota(self) -> None:
        try:
            await self.live_jobs.write_document("quota", self.quota.snapshot())
        except OSError as error:
            self.quota.has_unsaved_changes = True  # try again
            self._on_write_result(error)
        else:
            self._on_write_result(None)

    async def _save_durations_periodically(self) -> None:
        """Save the model of dubbing times every minute. It only helps to poll in time, so losing a minute does no harm."""
        while True:
            await asyncio.sleep(60.0)
            await self._save_durations()

    async def _save_durations(self) -> None:
        if self._durations.changed:
            with contextlib.suppress(OSError):
                await self.live_jobs.write_document("durations", self._durations.dump())

    def _poll_rate(self, in_flight: int) -> float:
        """Returns how many polls per second the rate limit affords.

        The work is taken to last as long as it takes to submit its projects and 40 more. A batch that does not need the whole
        day may use the day's reads sooner.
        """
        waiting = sum(job.stage not in (Stage.DUBBING, Stage.ENDED) for job in self.live_jobs.jobs.values())
        horizon = (in_flight + waiting + 40) * self.quota.sustainable_interval(Endpoint.CREATE_DUBBING)
        return affordable_poll_rate(self.quota.usage()[Endpoint.GET_DUBBING].windows, max(horizon, 1.0))


def _gone_of(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if is_gone(job.source.path)]


def _with_current_stat(found: FoundVideo) -> FoundVideo:
    """Returns the file with its present size and time. Raises ProblemError("source_missing" | "source_unreadable")."""
    try:
        status = os.stat(found.path)
    except FileNotFoundError as error:
        raise ProblemError("source_missing", found.path) from error
    except OSError as error:
        raise ProblemError("source_unreadable", f"{found.path}: {error.strerror}") from error
    return found._replace(size=status.st_size, mtime_ns=status.st_mtime_ns)


def _read_chunk(found: Iterator[FoundVideo | SkippedPath]) -> list[FoundVideo | SkippedPath]:
    """Returns the items found within `MAX_CHUNK_SECONDS`: at least one, at most `MAX_CHUNK_FILES`; empty at the end of the
    scan."""
    piece = []
    until = time.monotonic() + MAX_CHUNK_SECONDS
    for item in found:
        piece.append(item)
        if len(piece) == MAX_CHUNK_FILES or time.monotonic() > until:
            break
    return piece


def _needs_upload(job: Job) -> bool:
    """Whether the job's source must still be uploaded: it is neither uploaded, nor cancelled, nor failed."""
    there = job.asset is not None and job.asset.uploaded
    return not there and any(isinstance(activity, Upload) for activity in needed_activities(job))


def _tier(settings: Settings) -> RateTier:
    custom = settings.quota
    if custom.writes or custom.reads:
        return RateTier(
            "custom", tuple(RateLimit(*limit) for limit in custom.writes), tuple(RateLimit(*limit) for limit in custom.reads)
        )
    return TIERS[settings.tier]
