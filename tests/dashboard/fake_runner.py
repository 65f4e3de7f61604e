"""A runner for tests of the dashboard: speaks the protocol over a real Unix socket, and does only what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from synthdub_tui import __version__
from synthdub_tui.ipc.protocol import (
    PROTOCOL_VERSION,
    SNAPSHOT_JOBS,
    AddLanguagesRequest,
    BatchStatus,
    Bye,
    CancelRequest,
    Changes,
    Hello,
    PauseRequest,
    RemoveRequest,
    Reply,
    Request,
    ResumeRequest,
    RetryRequest,
    ReviewRequest,
    Snapshot,
    StopRequest,
    SubscribeRequest,
    Transfer,
    Welcome,
    decode_request,
    encode,
)
from synthdub_tui.jobs.model import (
    Asset,
    Dub,
    DubState,
    Failure,
    FailureScope,
    Job,
    JobOptions,
    Output,
    Source,
    Stage,
)
from synthdub_tui.jobs.transitions import cancellation, creation, download, retry

TWENTY_LANGUAGES = "fr-FR es-ES de-DE it-IT ja pt-BR ko nl pl sv-SE da fi cs el hu ro tr uk vi th".replace(
    "sv-SE", "sv"
).split()


def make_job(number: int, languages: list[str], state: DubState = DubState.WAITING, name: str = "", **facts: object) -> Job:
    """A job whose dubs all have one state."""
    now = time.time()
    path = f"/videos/{name or f'lesson {number:04}.mp4'}"
    source = Source(path, 50_000_000 + number * 1000, 0, "video/mp4")
    dub = make_dub(state, now, path, **facts)
    job = creation.new_job(source, JobOptions(Path(path).stem), languages, now=now + number / 1e6)
    stage = Stage.DUBBING if state in (DubState.DUBBING, DubState.READY, DubState.DOWNLOADING) else Stage.QUEUED
    return replace(job, dubs=dict.fromkeys(languages, dub), stage=stage, asset=Asset(f"asset-{number}", now, True, True))


def make_dub(state: DubState, now: float, path: str = "/videos/a.mp4", code: str = "processing_error", **facts: object) -> Dub:
    """A dub with what belongs to its state."""
    scope = {
        "processing_error": FailureScope.LANGUAGE,
        "download_failed": FailureScope.DOWNLOAD,
        "moderation": FailureScope.PROJECT,
    }
    if state is DubState.FAILED:
        facts = {"failure": Failure(code, scope.get(code, FailureScope.LANGUAGE), now), **facts}
    if state is DubState.DONE:
        facts = {"output": Output.of(path.replace(".mp4", ".dubbed-fr-FR.mp4"), 40_000_000, 0, seconds=61), **facts}
    if state not in (DubState.WAITING, DubState.UNKNOWN):
        facts = {"project": "project-1", "submitted": now, **facts}
    return Dub(state, now, **facts)  # type: ignore[arg-type]


class FakeRunner:
    """Serves `jobs`; notes every request in `requests`. `reply_override` may replace the reply to one, `unanswered_requests`
    kinds get none."""

    def __init__(self, path: Path, jobs: list[Job] | None = None, *, version: str = __version__) -> None:
        self.path = path
        self.jobs = {job.id: job for job in jobs or []}
        self.version = version
        self.batch_status = BatchStatus(time.time(), busy=True)
        self.requests: list[Request] = []
        self.reply_override: Callable[[Request], Reply | None] = lambda request: None
        self.unanswered_requests: tuple[type[Request], ...] = ()
        self.is_foreground = False
        self.next_version = __version__  # what the next one is, after a stop
        self.after_stop: Callable[[], None] = lambda: None
        self.start_count = 0
        self.is_told_to_use_stored_key = False
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._subscribed: set[asyncio.StreamWriter] = set()

    # -- as a launcher -----------------------------------------------------------------------------------------------

    async def start(self) -> Path:
        """Listen, if not yet. Also what the dashboard calls as its launcher."""
        self.start_count += 1
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._serve, str(self.path), limit=16 * 1024 * 1024)
        return self.path

    def use_stored_key(self) -> None:
        """As what the dashboard calls as its launcher."""
        self.is_told_to_use_stored_key = True

    async def disconnect(self) -> None:
        """Vanish without a word."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in list(self._clients):
            writer.transport.abort()
        self.path.unlink(missing_ok=True)
        await asyncio.sleep(0)

    @property
    def subscriber_count(self) -> int:
        """Dashboards that follow."""
        return len(self._subscribed)

    def requests_of(self, kind: type[Request]) -> list[Request]:
        """Requests of one kind."""
        return [request for request in self.requests if isinstance(request, kind)]

    # -- what it says ------------------------------------------------------------------------------------------------

    def push_changes(self, *jobs: Job, transfers: list[Transfer] | None = None, meters: BatchStatus | None = None) -> None:
        """Tell all dashboards of changes."""
        self.jobs.update({job.id: job for job in jobs})
        if meters is not None:
            self.batch_status = meters
        self.send_message(Changes(jobs=list(jobs), transfers=transfers or [], meters=meters))

    def send_message(self, message: Changes | Bye | Reply) -> None:
        """Any message, to all that follow."""
        self.send_bytes(encode(message))

    def send_bytes(self, line: bytes) -> None:
        """Any bytes."""
        for writer in self._subscribed:
            writer.write(line)

    def set_dub(self, job: Job, language: str, dub: Dub) -> Job:
        """Change one dub and tell it."""
        changed = replace(self.jobs[job.id], dubs=self.jobs[job.id].dubs | {language: dub})
        self.push_changes(changed)
        return changed

    # -- connections -------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                request = decode_request(line)
                self.requests.append(request)
                await self._handle(request, writer)
        self._clients.discard(writer)
        self._subscribed.discard(writer)
        writer.close()

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if isinstance(request, Hello):
            writer.write(encode(Welcome(self.version, PROTOCOL_VERSION, 1, foreground=self.is_foreground)))
        elif isinstance(request, SubscribeRequest):
            await self._send_snapshot(writer)
        elif isinstance(request, StopRequest):
            writer.write(encode(Reply(id=request.id)))
            writer.write(encode(Bye("stopped")))
            await writer.drain()
            self.version = self.next_version
            self.after_stop()
            await self.disconnect()
        elif not isinstance(request, self.unanswered_requests):
            answer = self.reply_override(request)
            writer.write(encode(replace(answer or self._apply_request(request), id=request.id)))

    async def _send_snapshot(self, writer: asyncio.StreamWriter) -> None:
        jobs = list(self.jobs.values())
        for start in range(0, max(1, len(jobs)), SNAPSHOT_JOBS):
            last = start + SNAPSHOT_JOBS >= len(jobs)
            writer.write(encode(Snapshot(jobs=jobs[start : start + SNAPSHOT_JOBS], last=last, meters=self.batch_status)))
            await writer.drain()
        self._subscribed.add(writer)

    def _apply_request(self, request: Request) -> Reply:
        now = time.time()
        result: dict[str, int | str] = {}
        if isinstance(request, RetryRequest | CancelRequest | ReviewRequest):
            for cell in request.cells:
                job = self.jobs[cell.job]
                if isinstance(request, RetryRequest):
                    job = retry.retry_dub(job, cell.language, now)
                elif isinstance(request, CancelRequest):
                    job = cancellation.cancel_dub(job, cell.language, now)
                else:
                    job = download.set_reviewed(job, cell.language, request.mark)
                self.push_changes(job)
            name = {RetryRequest: "retried", CancelRequest: "cancelled", ReviewRequest: "reviewed"}[type(request)]
            result = {name: len(request.cells)}
        elif isinstance(request, RemoveRequest):
            for cell in request.cells:
                left = cancellation.remove_dubs(self.jobs[cell.job], [cell.language])
                if left is not None:
                    self.push_changes(left)
                else:
                    del self.jobs[cell.job]
                    self.send_message(Changes(removed=[cell.job]))
            result = {"removed": len(request.cells), "under_way": 0, "paid": 0}
        elif isinstance(request, AddLanguagesRequest):
            for job_id in request.jobs:
                self.push_changes(creation.add_targets(self.jobs[job_id], request.languages, now))
        elif isinstance(request, PauseRequest | ResumeRequest):
            self.push_changes(meters=replace(self.batch_status, paused=isinstance(request, PauseRequest)))
        return Reply(id=request.id, result=result)
