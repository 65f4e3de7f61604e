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

from synthdub_tui.errors import Trouble
from synthdub_tui.ipc.protocol import Cell, QuotaMeter, Shown
from synthdub_tui.ipc.protocol import Meters as MetersMessage
from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.jobs.model import SCHEMA, Job, Source, Stage
from synthdub_tui.jobs.reconcile import Deliver, activities
from synthdub_tui.jobs.transitions import cancellation, creation, holds, restart, source_changes
from synthdub_tui.runner import add_videos, adopt_project, clock, request_handlers
from synthdub_tui.runner.account_gate import Account
from synthdub_tui.runner.activities.download import clean_up, remove_leftovers
from synthdub_tui.runner.backoff import Patience
from synthdub_tui.runner.comparison_queue import Comparison, Comparisons
from synthdub_tui.runner.duration_model import Durations
from synthdub_tui.runner.input_validation import checked
from synthdub_tui.runner.live_jobs import Ledger
from synthdub_tui.runner.output_presence import gone
from synthdub_tui.runner.poll_schedule import Schedule, affordable
from synthdub_tui.runner.poller import Poller
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.thumbnail_cache import Thumbnails
from synthdub_tui.runner.transfer_stats import Meters
from synthdub_tui.runner.unsettled_sources import Rest
from synthdub_tui.runner.upload_queue import Line, Turns
from synthdub_tui.runner.worker import Worker
from synthdub_tui.runner.worker_context import Workshop
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import is_local
from synthdub_tui.sources import relocation
from synthdub_tui.sources.add_file import Admitted, Effect, Moved, Undecided, admit, job_of, stamps
from synthdub_tui.sources.digest import FileChangedError
from synthdub_tui.sources.job_index import Known
from synthdub_tui.sources.scan import Found, Skipped, refused, scan
from synthdub_tui.sources.skip_rules import Rules
from synthdub_tui.sources.skipped_summary import LeftOut
from synthdub_tui.store.job_store import LEFT_OUT, Damaged, Store
from synthdub_tui.store.lock import Lock
from synthdub_tui.store.receipts import account_of, receipts_of
from synthdub_tui.synthesia.client import CallRecord, Client
from synthdub_tui.synthesia.errors import AccountRefused, KeyRejected, Refused
from synthdub_tui.synthesia.rate_gate import TIERS, Endpoint, Limit, Quota, Tier
from synthdub_tui.transfer.download import Downloader
from synthdub_tui.transfer.upload import Uploader

_log = logging.getLogger(__name__)

ABORT_SECONDS: Final = 1.2
"""Seconds that a cancelled upload has to report this to the storage, also when the program ends (within three seconds)."""


SAVE_SECONDS: Final = 5.0
"""Seconds for which a request waits for the disk before it is answered."""

PIECE: Final = 200
PIECE_SECONDS: Final = 0.1
"""Number of found files, and seconds, after which these files are added while the scan continues."""

READINGS: Final = 3
"""Times that a file is read for comparison before it counts as still being written."""

PIECES_AHEAD: Final = 5
"""Pieces that may be added before they are on disk."""


class Runner:
    """Does the work of one state directory. Call `open` and `start` first, `stop` last. `idle` is set when nothing is left."""

    def __init__(self, settings: Settings, *, patience: Patience | None = None) -> None:
        self.settings = settings
        self.store = Store(settings.state_dir)
        self._lock = Lock(self.store.path("lock"))
        self.ledger = Ledger(self.store, self._note_disk, guard=self._lock.check, on_rest=self._check_idle)
        self.quota = Quota(_tier(settings))
        self.client = Client(settings.api_url, settings.api_key, self.quota, on_call=self._note_call)
        self.meters = Meters()
        self.halted = asyncio.Event()  # nothing continues until the user acts, see `trouble`
        self.idle = asyncio.Event()  # nothing is left that can continue automatically, and everything is on disk
        self.trouble: Trouble | None = None
        self.tell_warning: Callable[[Job, Trouble], None] | None = None  # set by `synthdub run`
        self.reached = False  # whether the service has answered at least once
        self.started = clock.now()
        self._busy_since = 0.0
        self.left_out = LeftOut()  # in the last scan
        self._disk_trouble: Trouble | None = None
        self._durations = Durations()
        schedule = Schedule(settings.poll_interval, self._durations, self._poll_rate)
        self._poller = Poller(self.client, schedule, self._note_trouble)
        self._shop = self._make_workshop(patience or Patience())
        self._rest = Rest(self.ledger, settings.settle_seconds)
        self.thumbnails = Thumbnails(
            settings.state_dir,
            self.ledger,
            self.client,
            self._shop.downloader,
            latest=self._poller.latest,
            guard=self._lock.check,
        )
        self.known = Known(self.ledger.jobs)
        self._comparisons = Comparisons(self._decide, self._look_at_waiting)
        self._shop.comparing = self._comparisons.files
        self._lost: frozenset[str] = frozenset()  # ids of jobs whose files were damaged
        self._workers: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        self._line: Line[str] = Line()  # jobs that only wait for an upload
        self._delivering: set[str] = set()  # jobs from the line whose upload has its turn
        self._scans: set[asyncio.Task[None]] = set()
        self._noting: set[asyncio.Task[None]] = set()  # tasks that write receipts of adopted dubs
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def _make_workshop(self, patience: Patience) -> Workshop:
        settings = self.settings
        return Workshop(
            ledger=self.ledger,
            client=self.client,
            account=Account(self._note_refusal),
            poller=self._poller,
            uploader=Uploader(settings.s3_endpoint_url or None, grace=ABORT_SECONDS, backoff=patience.back_off),
            downloader=Downloader(allow_local=is_local(settings.api_url), backoff=patience.back_off),
            meters=self.meters,
            patience=patience,
            uploads=Turns(settings.max_uploads),
            downloads=asyncio.Semaphore(settings.max_downloads),
            on_trouble=self._note_trouble,
            on_warning=self._note_warning,
            settle=settings.settle_seconds,
            receipts=receipts_of(settings),
            state_dir=settings.state_dir,
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    def open(self) -> list[Damaged]:
        """Lock the state directory and load it. Returns its damaged files. Blocking.

        Raises Trouble("state_busy" | "state_unwritable" | "state_newer").
        """
        try:
            os.makedirs(self.store.folder, mode=0o700, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise Trouble("state_unwritable", f"{error.strerror}: {self.store.folder}") from error
        try:
            self.store.open()
            if self._shop.receipts.open(self.store.folder):
                _log.warning("receipts in the state directory", extra={"folder": self.settings.data_dir})
            loaded = self.store.load()
            self._lost = self.store.set_aside()
        except Trouble:
            self._lock.release()
            raise
        self.ledger.load(loaded.jobs)
        self.known.note_all(loaded.jobs)
        self.ledger.listen(self.known.note)
        for job in loaded.jobs:
            self._shop.claims.ask_all(job)
        self.quota.restore(self.store.read_document("quota"))
        self._durations.load(self.store.read_document("durations"))
        self._shop.paused = self.store.paused()
        self._shop.shared_claims.batch = self.store.identity()
        return loaded.damaged

    def start(self) -> None:
        """Start the work: the poller, the other background tasks, and the workers."""
        self.ledger.listen(self._on_change, self._on_removed)
        lasting = (
            self._poller.run(),
            self._rest.run(),
            self._keep_quota(),
            self._keep_durations(),
            self.ledger.write_cache(),
        )
        self._tasks = [asyncio.create_task(work) for work in lasting]
        now = clock.now()
        for job in list(self.ledger.jobs.values()):
            self.ledger.put(holds.claims_forgotten(restart.resumed(job, now)))
            self._rest.note(self.ledger.jobs[job.id])
            self._employ(job.id)
        self._check_idle()

    async def stop(self) -> bool:
        """Save and end within some seconds, whatever the network does. Returns whether everything was saved."""
        self._stopping = True
        self._line.clear()
        self.stop_adding()
        await self._comparisons.close()
        self.thumbnails.close()
        tasks = [task for _, task in self._workers.values()] + self._tasks
        critical = set(self._shop.critical)
        for task in tasks:
            task.cancel()
        if tasks or critical:
            # Wait a moment for answers to paid requests: a dub without its answer becomes unknown.
            await asyncio.wait([*tasks, *critical], timeout=self._shop.patience.stop)
        for task in critical:
            task.cancel()
        if critical:
            await asyncio.wait(critical, timeout=0.5)
        await asyncio.gather(
            self._save_quota(), self._save_durations(), self._shop.uploader.close(), self._shop.downloader.close()
        )
        await self._shop.shared_claims.close()
        saved = await self.ledger.close(patience=0.5)
        self.quota.close()
        await self.client.close()
        self._lock.release()
        return saved

    # -- commands ------------------------------------------------------------------------------------------------------

    async def add(self, paths: Iterable[str], batch: Batch) -> add_videos.Added:
        """Add files and folders piece by piece as they are found; adds nothing if a named path is wrong.

        Raises Trouble("no_targets" | "unknown_language" | "state_unwritable").
        """
        batch, named = checked(batch), list(paths)
        added = add_videos.Added()
        self._take_in(await in_thread(refused, named), batch, added, {})
        if added.refused:
            return added
        jobs = await in_thread(stamps, list(self.ledger.jobs.values()), batch)
        found = scan(named, recursive=batch.recursive, rules=Rules.of(batch), jobs=jobs, force_new=batch.force_new)
        scanning = asyncio.create_task(self._take_in_pieces(found, batch, added))
        self._scans.add(scanning)
        try:
            await asyncio.wait({scanning})
        finally:
            scanning.cancel()
            self._scans.discard(scanning)
        added.stopped = scanning.cancelled()
        if not added.stopped:
            scanning.result()
        await self._keep_left_out(added.left_out)
        return added

    @property
    def adding(self) -> bool:
        """Whether a scan is in progress."""
        return bool(self._scans)

    def stop_adding(self) -> None:
        """Stop scanning and comparing. Files found so far stay in the batch."""
        for scanning in self._scans:
            scanning.cancel()
        self._comparisons.give_up()

    async def compared(self, added: add_videos.Added) -> None:
        """Wait until the comparisons of `added` have ended."""
        await self._comparisons.finished(added)

    async def relocate(self, old: str, new: str) -> int:
        """Note that the file or folder `old` is now `new`. Returns how many videos moved."""
        moved = []
        for job, path in relocation.moves(self.known, old, new):
            with contextlib.suppress(Trouble):  # `synthdub relocate` finds out which were left, and why
                source = await in_thread(relocation.source_at, job, path)
                folder = await in_thread(relocation.moved_folder, job.outputs, old, new)
                await self._move(job.id, source, folder)
                moved.append(job.id)
        for job_id in moved:
            await self.ledger.saved(job_id)
        return len(moved)

    async def add_languages(self, jobs: Iterable[str], languages: Iterable[str]) -> int:
        """Add languages to jobs. Returns how many dubs are new. Raises Trouble("no_targets" | "unknown_language")."""
        targets = checked(Batch(targets=tuple(languages))).targets
        before = sum(len(job.dubs) for job in self.ledger.jobs.values())
        for job_id in jobs:
            if job_id in self.ledger.jobs:
                self._put_claimed(creation.add_targets(self.ledger.jobs[job_id], targets, clock.now()))
        return sum(len(job.dubs) for job in self.ledger.jobs.values()) - before

    def retry(self, cells: Iterable[Shown], *, paid: bool) -> request_handlers.Retried:
        """Retry the dubs that are unchanged since the user saw them. `paid`: the user agreed to the cost of each."""
        self._trust_account()
        return request_handlers.retry(self.ledger.jobs, cells, paid, clock.now(), self.ledger.put, gone)

    def cancel(self, cells: Iterable[Shown]) -> tuple[int, list[Cell]]:
        """Cancel dubs. Returns how many, and the dubs skipped because they would leave another bill than the user saw."""
        return request_handlers.cancel(self.ledger.jobs, cells, clock.now(), self.ledger.put)

    async def saved(self, cells: Iterable[Shown]) -> None:
        """Wait until changes of these dubs are on disk, at most `SAVE_SECONDS`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAVE_SECONDS):
                for job_id in dict.fromkeys(cell.job for cell in cells):
                    await self.ledger.saved(job_id)

    async def remove(self, cells: Iterable[Shown], *, forget: bool) -> request_handlers.Removed:
        """Remove dubs that have ended from the batch; files stay. `forget`: also those whose removal forgets something paid.

        Waits until this is on disk, at most `SAVE_SECONDS`.
        """
        cells = list(cells)
        await self._let_go(cells)
        removed = request_handlers.remove(self.ledger.jobs, cells, forget, self._take_out, gone)
        await self.saved(cells)
        return removed

    async def _let_go(self, cells: Iterable[Shown]) -> None:
        """Wait for activities that were just cancelled: while they clean up, they read their job."""
        for job_id in dict.fromkeys(cell.job for cell in cells):
            if job_id in self._workers:
                await self._workers[job_id][0].put_away()

    def _take_out(self, job: Job, languages: Sequence[str]) -> None:
        remove_leftovers(job, languages)
        self._shop.claims.give_up(job, languages)
        left = cancellation.removed(job, languages)
        if left is None:
            self.ledger.remove(job.id)
        else:
            self.ledger.put(left)

    async def adopt(self, cell: Cell, project: str) -> None:
        """Follow a dub in the project that the user named, and wait until this is on disk. Only reads from the service.

        If the service does not answer or does not have the dub there, or the dub is in progress, raises Trouble and changes
        nothing.
        """
        adopt_project.check(self.ledger.jobs, cell)
        seen = await adopt_project.look(self.client, project)
        job = adopt_project.adopted(self.ledger.jobs, cell, project, seen, clock.now())
        await self._shop.shared_claims.take_adopted(job, cell.language)
        try:
            self._put_claimed(adopt_project.adopted(self.ledger.jobs, cell, project, seen, clock.now()))
        except Trouble:
            self._shop.shared_claims.give_back(job, cell.language)
            raise
        job = self.ledger.jobs[cell.job]
        await self.saved([Shown(cell.job, cell.language)])
        noting = asyncio.create_task(
            in_thread(adopt_project.note, self._shop.receipts, job, cell.language, self.settings.state_dir, clock.now())
        )
        self._noting.add(noting)
        noting.add_done_callback(self._noting.discard)
        await asyncio.wait({noting}, timeout=SAVE_SECONDS)  # it may take longer to read a large source

    def review(self, cells: Iterable[Cell], *, mark: bool) -> int:
        """Set or remove review marks. Returns how many dubs have an output to mark."""
        return request_handlers.review(self.ledger.jobs, cells, mark, self.ledger.put)

    @property
    def refusal(self) -> Trouble | None:
        """Why the service refuses new dubs of this account, which only the user can fix. Paid dubs continue."""
        return self._shop.account.refusal

    def _trust_account(self) -> None:
        if self.refusal is not None:
            self._shop.account.trust()
            self._go_on()

    def _go_on(self) -> None:
        """Start activities that a pause or the account had forbidden."""
        self.meters.changed = True
        for worker, _ in self._workers.values():
            worker.look_again()
        self._employ_all()

    def _hold_back(self) -> None:
        """Let activities in progress finish, and start no more that a pause or the account forbids."""
        self.meters.changed = True
        self._line.clear()
        for job_id, (worker, _) in self._workers.items():
            if job_id in self.ledger.jobs:  # else the job was removed, and its worker is ending
                worker.hold_back()
        self._check_idle()

    @property
    def paused(self) -> bool:
        """Whether the batch is paused, so that nothing new starts."""
        return self._shop.paused

    @property
    def paused_midway(self) -> bool:
        """Whether the batch is paused and something would continue after the pause."""
        return self.paused and any(job.can_go_on for job in self.ledger.jobs.values())

    async def pause(self, paused: bool) -> None:
        """Pause or resume the batch. This is kept across restarts. Raises OSError if it cannot be saved."""
        self._shop.paused = paused
        if paused:
            self._hold_back()
        else:
            self._shop.account.trust()
            self._go_on()
        content = {"schema": SCHEMA, **self.store.read_document("batch"), "paused": paused}
        await self.ledger.write_document("batch", content)
        self.meters.changed = True

    async def check_key(self, key: str) -> None:
        """Use this API key from now on, and ask the service whether it accepts the key. Raises Trouble."""
        self.client.reset_key(key)
        self._shop.paid_before.use_account(account_of(self.settings.api_url, key))
        with contextlib.suppress(Refused):  # as expected, it does not know that asset: the key is good
            await self.client.get_asset("00000000-0000-4000-8000-000000000000")
        self.trouble = None
        self.halted.clear()
        self.meters.changed = True
        self._trust_account()
        self._employ_all()

    @property
    def unsettled(self) -> list[Job]:
        """Jobs that wait until their source is complete; empty while anything else is in progress."""
        if self._workers or self._line or self._scans or self._comparisons.busy:
            return []
        return [self.ledger.jobs[job_id] for job_id in self._rest]

    def overview(self) -> MetersMessage:
        """Returns the state of the batch as a whole, for clients."""
        up, down = self.meters.rates()
        waiting = self.halted.is_set() or not self.idle.is_set()  # else a trouble of the service stops nothing
        trouble = (
            self._disk_trouble
            or (self.trouble if waiting else None)
            or self._keyless()
            or self.refusal
            or self._storage_trouble()
        )
        return MetersMessage(
            now=clock.now(),
            paused=self.paused or self.refusal is not None,
            problem=trouble.code if trouble else "",
            detail=trouble.detail if trouble else "",
            up=round(up),
            down=round(down),
            busy=not self.idle.is_set(),
            since=self._busy_since,
            quota=tuple(self._quota_meters()),
            comparing=self._comparisons.progress,
        )

    def _keyless(self) -> Trouble | None:
        """Returns the trouble if there is no API key. It is reported even before there is work."""
        return None if self.client.has_key else Trouble("no_key")

    # -- adding --------------------------------------------------------------------------------------------------------

    async def _take_in_pieces(self, found: Iterator[Found | Skipped], batch: Batch, added: add_videos.Added) -> None:
        """Add files as they are found, never more than `PIECES_AHEAD` pieces ahead of the disk, to save memory."""
        unsaved: deque[list[str]] = deque()
        missing: dict[int, dict[str, str]] = {}
        while piece := await in_thread(self._next_piece, found):
            sources = [item for item in piece if isinstance(item, Found)]
            await self._settle_submissions([job.id for item in sources if (job := job_of(self.known, item, batch))])
            await self._find_missing(sources, batch, missing)
            later = self._take_in(piece, batch, added, missing)
            self._note_named(sources, batch)
            add_videos.add_languages_of_other_names(self.known, piece, batch, clock.now(), self._put_claimed, added)
            if added.refused:  # a named path disappeared during the scan
                return
            for item, outcome in later:
                await self._take_later(item, outcome, batch, added)
            unsaved.append([job.id for item in sources if (job := job_of(self.known, item, batch))])
            if len(unsaved) > PIECES_AHEAD:
                for job_id in unsaved.popleft():
                    await self.ledger.saved(job_id)

    async def _keep_left_out(self, left_out: LeftOut) -> None:
        """Save what the scan skipped, for `status`, which reads only the state directory. A failure to save is ignored."""
        self.left_out = left_out
        with contextlib.suppress(OSError):
            await self.ledger.write_document(LEFT_OUT, {"schema": SCHEMA, **left_out.content()})

    def _next_piece(self, found: Iterator[Found | Skipped]) -> list[Found | Skipped]:
        """Returns what the scan finds next. Skips copies of our outputs, under any name. Blocking."""
        return [self._unless_own(item) if isinstance(item, Found) else item for item in _piece(found)]

    def _unless_own(self, item: Found) -> Found | Skipped:
        try:
            own = self._shop.paid_before.own_output(item.path, item.size)
        except OSError:  # the upload reports why it cannot be read
            return item
        return Skipped(item.path, "own_output") if own else item

    def _take_in(
        self, items: Iterable[Found | Skipped], batch: Batch, added: add_videos.Added, missing: dict[int, dict[str, str]]
    ) -> list[tuple[Found, Moved | Undecided]]:
        return add_videos.take_in(
            self.known,
            items,
            batch,
            clock.now(),
            self._put_claimed,
            added,
            lost=self._lost,
            missing=missing,
            settle=self.settings.settle_seconds,
        )

    def _note_named(self, found: Iterable[Found], batch: Batch) -> None:
        named = [item for item in found if item.named]
        self._rest.note_named([job.id for item in named if (job := job_of(self.known, item, batch))])

    async def _find_missing(self, found: Iterable[Found], batch: Batch, missing: dict[int, dict[str, str]]) -> None:
        """Note in `missing` (size → job id → path) the jobs whose file is gone and has the size of a new file.

        Looks for each size once per `add`.
        """
        sizes = {item.size for item in found if item.size not in missing and job_of(self.known, item, batch) is None}
        jobs = [job for size in sizes for job in self.known.of_size(size)]
        missing.update((size, {}) for size in sizes)
        for job in await in_thread(_gone_of, jobs) if jobs else ():
            missing[job.source.size][job.id] = job.source.path

    async def _take_later(self, found: Found, outcome: Moved | Undecided, batch: Batch, added: add_videos.Added) -> None:
        if isinstance(outcome, Undecided):
            self._comparisons.add(Comparison(found, outcome.jobs, batch, added))
            return
        await self._move(outcome.job.id, outcome.source, outcome.outputs)
        again = admit(self.known, found, batch, clock.now())
        if isinstance(again, Admitted):
            added.effects[again.effect if again.effect is Effect.NEW else Effect.MOVED] += 1
            self._put_claimed(again.job)

    async def _decide(self, comparison: Comparison) -> None:
        """Compare the file as it is now. Reads it again if it changes meanwhile, `READINGS` times in all.

        Raises StoppedError, or Trouble, such as "source_changing", "source_missing" or "source_unreadable".
        """
        batch, added = comparison.batch, comparison.added
        for _ in range(READINGS):
            found = await in_thread(_as_it_is, comparison.found)
            missing: dict[int, dict[str, str]] = {}
            await self._find_missing([found], batch, missing)
            outcome = admit(self.known, found, batch, clock.now(), missing=missing)
            if isinstance(outcome, Undecided):
                try:
                    digest = await self._comparisons.digest(found)
                except FileChangedError:
                    continue
                except OSError as error:
                    raise Trouble("source_unreadable", f"{found.path}: {error.strerror}") from error
                added.compared += 1
                await self._settle_submissions(outcome.jobs)
                outcome = admit(self.known, found, batch, clock.now(), missing=missing, digest=digest)
            if isinstance(outcome, Moved | Undecided):
                await self._take_later(found, outcome, batch, added)
            else:
                outcome = add_videos.settled(outcome, found, clock.now(), self.settings.settle_seconds)
                add_videos.note_outcome(added, outcome, self._put_claimed)
                self._note_named([found], batch)
            return
        raise Trouble("source_changing", comparison.found.path)

    async def _move(self, job_id: str, source: Source, folder: str) -> None:
        """Note the job's new source, and the outputs that moved with it.

        First waits until the job has no activity with files and no paid request in progress. Raises
        Trouble("state_unwritable").
        """
        with self._comparisons.holding(job_id, source.path):
            if job_id in self._workers:
                await self._workers[job_id][0].quiet()
            await self._settle_submissions([job_id])
            outputs = await in_thread(relocation.outputs_at, self.ledger.jobs[job_id], source, folder)
            if job_id in self.ledger.jobs:  # the job may have been removed meanwhile
                self._put_claimed(source_changes.relocated(self.ledger.jobs[job_id], source, folder, outputs, clock.now()))

    def _look_at_waiting(self, job_id: str) -> None:
        """Called when a file starts or stops keeping this job waiting for a comparison."""
        self.meters.changed = True
        if self._comparisons.files(job_id):
            self._line.discard(job_id)
            self._delivered(job_id)
        if job_id in self._workers:
            self._workers[job_id][0].look_again()
        elif self._tasks and job_id in self.ledger.jobs:  # else `start` employs it
            self._employ(job_id)
        self._check_idle()

    async def _settle_submissions(self, jobs: Sequence[str]) -> None:
        """Wait until the jobs have no paid request in progress, at most about a minute: only then may a job start again.

        Raises Trouble("state_unwritable") if the disk accepts no writes, since the request waits for its intent to be saved.
        """
        while under_way := [job for job in map(self.ledger.jobs.get, jobs) if job is not None and job.submission is not None]:
            if self._disk_trouble is not None:
                raise self._disk_trouble
            if self._shop.critical:
                await asyncio.wait(self._shop.critical, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            else:  # left by a runner that was killed; `start` has not resumed the jobs yet
                for job in under_way:
                    self.ledger.put(restart.resumed(job, clock.now()))

    # -- workers -------------------------------------------------------------------------------------------------------

    def _put_claimed(self, job: Job) -> None:
        """Claim the job's outputs, since the first job to claim an output writes it, and put the job."""
        self._shop.claims.ask_all(job)
        self.ledger.put(job)

    def _on_change(self, before: Job | None, job: Job) -> None:
        if before is not None:
            self._shop.shared_claims.note(before, job)
            clean_up(before, job)
            for project in before.projects.keys() - job.projects.keys():
                self._poller.forget(project)
        self._rest.note(job)
        entry = self._workers.get(job.id)
        if entry is not None:
            entry[0].look_again()
            if job.id in self._delivering and not _uploading(job):
                self._delivered(job.id)
        else:
            self._employ(job.id)
        self._check_idle()

    def _on_removed(self, job: Job) -> None:
        for project in {*job.projects, *(dub.project for dub in job.dubs.values())}:
            self._poller.forget(project)
        self._line.discard(job.id)
        entry = self._workers.get(job.id)
        if entry is not None:
            entry[1].cancel()
        self._check_idle()

    def _employ_all(self) -> None:
        for job_id in self.ledger.jobs:
            self._employ(job_id)
        self._check_idle()

    def _employ(self, job_id: str) -> None:
        """Start a worker for a job that has something to do, or put it into the line if it only waits for an upload."""
        if self._stopping or self.halted.is_set() or job_id in self._workers or job_id not in self.ledger.jobs:
            return
        job = self.ledger.jobs[job_id]
        wanted = self._shop.wanted(job)
        if job.asset is None and len(wanted) == 1 and isinstance(wanted[0], Deliver):
            self._line.add(job_id, job.source.size)
            asyncio.get_running_loop().call_soon(self._call_up)  # later, so that jobs added together are ordered together
            return
        self._line.discard(job_id)
        if wanted:
            self._hire(job_id)

    def _call_up(self) -> None:
        """Start workers for as many jobs of the line as can upload: each of thousands of workers would cost kilobytes."""
        while len(self._delivering) < self._shop.uploads.slots and (job_id := self._line.pop()):
            self._delivering.add(job_id)
            self._hire(job_id)

    def _hire(self, job_id: str) -> None:
        worker = Worker(self._shop, job_id)
        task = asyncio.create_task(worker.run(), name=f"worker {job_id}")
        self._workers[job_id] = (worker, task)
        task.add_done_callback(lambda done: self._dismiss(job_id, done))

    def _delivered(self, job_id: str) -> None:
        """Give the turn of the job's upload, which has ended for whatever reason, to the next job."""
        if job_id in self._delivering:
            self._delivering.discard(job_id)
            self._call_up()

    def _dismiss(self, job_id: str, task: asyncio.Task[None]) -> None:
        del self._workers[job_id]
        error = None if task.cancelled() else task.exception()
        if isinstance(error, KeyRejected):
            self._halt(error)
        elif error is not None:
            _log.error("worker failed", exc_info=error, extra={"job": job_id})
        else:
            self._employ(job_id)
        self._delivered(job_id)
        self._check_idle()

    def _halt(self, trouble: Trouble) -> None:
        """End all workers, because nothing can continue until the user acts. The batch stays as it is."""
        if self.halted.is_set():
            return
        self.trouble = trouble
        self.halted.set()
        self.meters.changed = True
        _log.error("halted", extra={"code": trouble.code})
        self._line.clear()
        for _, task in list(self._workers.values()):
            task.cancel()

    def _check_idle(self) -> None:
        if self._workers or self._line or self._rest or self.ledger.saving or self._comparisons.busy:
            self._busy_since = self._busy_since or clock.now()
            self.idle.clear()
        else:
            self._busy_since = 0.0
            self.idle.set()

    # -- notices -------------------------------------------------------------------------------------------------------

    def _note_trouble(self, trouble: Trouble | None) -> None:
        if trouble is None:
            self.reached = True
        if isinstance(trouble, KeyRejected):
            self._halt(trouble)
        elif not self.halted.is_set() and (trouble and trouble.code) != (self.trouble and self.trouble.code):
            self.trouble = trouble
            self.meters.changed = True
            if trouble is not None:
                _log.warning("service trouble", extra={"code": trouble.code, "detail": trouble.detail})

    def _note_warning(self, job: Job, trouble: Trouble) -> None:
        _log.warning("source", extra={"job": job.id, "code": trouble.code, "detail": trouble.detail})
        if self.tell_warning is not None:
            self.tell_warning(job, trouble)

    def _note_refusal(self, refusal: AccountRefused) -> None:
        _log.error("account refused", extra={"detail": refusal.detail})
        self._hold_back()

    def _storage_trouble(self) -> Trouble | None:
        """Returns the storage trouble of a transfer that waits for its next try, if there is one."""
        held_up = next(iter(self._shop.held_up.values()), None)
        return Trouble("storage_trouble", held_up.detail) if held_up else None

    def _note_disk(self, error: OSError | None) -> None:
        trouble = Trouble("state_unwritable", f"{error.strerror}: {self.store.folder}") if error else None
        if (trouble is None) != (self._disk_trouble is None):
            self._disk_trouble = trouble
            self.meters.changed = True

    @staticmethod
    def _note_call(record: CallRecord) -> None:
        _log.info(
            "call",
            extra={"endpoint": record.endpoint.value, "status": record.status, "seconds": round(record.seconds, 3)},
        )

    def _quota_meters(self) -> Iterable[QuotaMeter]:
        for endpoint, use in self.quota.usage().items():
            windows = use.windows
            yield QuotaMeter(
                endpoint.value,
                tuple(window.used for window in windows),
                tuple((window.limit, window.seconds) for window in windows),
                round(use.next_in, 1),
            )

    async def _keep_quota(self) -> None:
        """Save the counters of calls every second. A runner that is killed loses the calls of its last second."""
        while True:
            await asyncio.sleep(1.0)
            if self.quota.changed:
                await self._save_quota()

    async def _save_quota(self) -> None:
        try:
            await self.ledger.write_document("quota", self.quota.snapshot())
        except OSError as error:
            self.quota.changed = True  # try again
            self._note_disk(error)
        else:
            self._note_disk(None)

    async def _keep_durations(self) -> None:
        """Save the model of dubbing times every minute. It only helps to poll in time, so losing a minute does no harm."""
        while True:
            await asyncio.sleep(60.0)
            await self._save_durations()

    async def _save_durations(self) -> None:
        if self._durations.changed:
            with contextlib.suppress(OSError):
                await self.ledger.write_document("durations", self._durations.dump())

    def _poll_rate(self, in_flight: int) -> float:
        """Returns how many polls per second the rate limit affords.

        The work is taken to last as long as it takes to submit its projects and 40 more. A batch that does not need the whole
        day may use the day's reads sooner.
        """
        waiting = sum(job.stage not in (Stage.DUBBING, Stage.ENDED) for job in self.ledger.jobs.values())
        horizon = (in_flight + waiting + 40) * self.quota.pace(Endpoint.CREATE_DUBBING)
        return affordable(self.quota.usage()[Endpoint.GET_DUBBING].windows, max(horizon, 1.0))


def _gone_of(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if gone(job.source.path)]


def _as_it_is(found: Found) -> Found:
    """Returns the file with its present size and time. Raises Trouble("source_missing" | "source_unreadable")."""
    try:
        status = os.stat(found.path)
    except FileNotFoundError as error:
        raise Trouble("source_missing", found.path) from error
    except OSError as error:
        raise Trouble("source_unreadable", f"{found.path}: {error.strerror}") from error
    return found._replace(size=status.st_size, mtime_ns=status.st_mtime_ns)


def _piece(found: Iterator[Found | Skipped]) -> list[Found | Skipped]:
    """Returns the items found within `PIECE_SECONDS`: at least one, at most `PIECE`; empty at the end of the scan."""
    piece = []
    until = time.monotonic() + PIECE_SECONDS
    for item in found:
        piece.append(item)
        if len(piece) == PIECE or time.monotonic() > until:
            break
    return piece


def _uploading(job: Job) -> bool:
    """Whether the job's source must still be uploaded: it is neither uploaded, nor cancelled, nor failed."""
    there = job.asset is not None and job.asset.uploaded
    return not there and any(isinstance(activity, Deliver) for activity in activities(job))


def _tier(settings: Settings) -> Tier:
    custom = settings.quota
    if custom.writes or custom.reads:
        return Tier("custom", tuple(Limit(*limit) for limit in custom.writes), tuple(Limit(*limit) for limit in custom.reads))
    return TIERS[settings.tier]
