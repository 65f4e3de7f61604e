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
    PROTOCOL,
    SNAPSHOT_JOBS,
    AddLanguages,
    Bye,
    Cancel,
    Changes,
    Hello,
    Meters,
    Pause,
    Remove,
    Reply,
    Request,
    Resume,
    Retry,
    Review,
    Snapshot,
    Stop,
    Subscribe,
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
    Job,
    Options,
    Output,
    Scope,
    Source,
    Stage,
)
from synthdub_tui.jobs.transitions import cancellation, creation, download, retry

LANGUAGES = "fr-FR es-ES de-DE it-IT ja pt-BR ko nl pl sv-SE da fi cs el hu ro tr uk vi th".replace("sv-SE", "sv").split()


def make_job(number: int, languages: list[str], state: DubState = DubState.WAITING, name: str = "", **facts: object) -> Job:
    """A job whose dubs all have one state."""
    now = time.time()
    path = f"/videos/{name or f'lesson {number:04}.mp4'}"
    source = Source(path, 50_000_000 + number * 1000, 0, "video/mp4")
    dub = make_dub(state, now, path, **facts)
    job = creation.new_job(source, Options(Path(path).stem), languages, now=now + number / 1e6)
    stage = Stage.DUBBING if state in (DubState.DUBBING, DubState.READY, DubState.DOWNLOADING) else Stage.QUEUED
    return replace(job, dubs=dict.fromkeys(languages, dub), stage=stage, asset=Asset(f"asset-{number}", now, True, True))


def make_dub(state: DubState, now: float, path: str = "/videos/a.mp4", code: str = "processing_error", **facts: object) -> Dub:
    """A dub with what belongs to its state."""
    scope = {"processing_error": Scope.LANGUAGE, "download_failed": Scope.DOWNLOAD, "moderation": Scope.PROJECT}
    if state is DubState.FAILED:
        facts = {"failure": Failure(code, scope.get(code, Scope.LANGUAGE), now), **facts}
    if state is DubState.DONE:
        facts = {"output": Output.of(path.replace(".mp4", ".dubbed-fr-FR.mp4"), 40_000_000, 0, seconds=61), **facts}
    if state not in (DubState.WAITING, DubState.UNKNOWN):
        facts = {"project": "project-1", "submitted": now, **facts}
    return Dub(state, now, **facts)  # type: ignore[arg-type]


class FakeRunner:
    """Serves `jobs`; notes every request in `requests`. `answer` may replace the reply to one, `unanswered` kinds get none."""

    def __init__(self, path: Path, jobs: list[Job] | None = None, *, version: str = __version__) -> None:
        self.path = path
        self.jobs = {job.id: job for job in jobs or []}
        self.version = version
        self.meters = Meters(time.time(), busy=True)
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Reply | None] = lambda request: None
        self.unanswered: tuple[type[Request], ...] = ()
        self.foreground = False
        self.updated = __version__  # what the next one is, after a stop
        self.after_stop: Callable[[], None] = lambda: None
        self.starts = 0
        self.uses_stored_key = False
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._subscribed: set[asyncio.StreamWriter] = set()

    # -- as a launcher -----------------------------------------------------------------------------------------------

    async def start(self) -> Path:
        """Listen, if not yet. Also what the dashboard calls as its launcher."""
        self.starts += 1
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._serve, str(self.path), limit=16 * 1024 * 1024)
        return self.path

    def use_stored_key(self) -> None:
        """As what the dashboard calls as its launcher."""
        self.uses_stored_key = True

    async def die(self) -> None:
        """Vanish without a word."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for writer in list(self._clients):
            writer.transport.abort()
        self.path.unlink(missing_ok=True)
        await asyncio.sleep(0)

    @property
    def attached(self) -> int:
        """Dashboards that follow."""
        return len(self._subscribed)

    def asked(self, kind: type[Request]) -> list[Request]:
        """Requests of one kind."""
        return [request for request in self.requests if isinstance(request, kind)]

    # -- what it says ------------------------------------------------------------------------------------------------

    def push(self, *jobs: Job, transfers: list[Transfer] | None = None, meters: Meters | None = None) -> None:
        """Tell all dashboards of changes."""
        self.jobs.update({job.id: job for job in jobs})
        if meters is not None:
            self.meters = meters
        self.say(Changes(jobs=list(jobs), transfers=transfers or [], meters=meters))

    def say(self, message: Changes | Bye | Reply) -> None:
        """Any message, to all that follow."""
        self.say_raw(encode(message))

    def say_raw(self, line: bytes) -> None:
        """Any bytes."""
        for writer in self._subscribed:
            writer.write(line)

    def set_dub(self, job: Job, language: str, dub: Dub) -> Job:
        """Change one dub and tell it."""
        changed = replace(self.jobs[job.id], dubs=self.jobs[job.id].dubs | {language: dub})
        self.push(changed)
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
            writer.write(encode(Welcome(self.version, PROTOCOL, 1, foreground=self.foreground)))
        elif isinstance(request, Subscribe):
            await self._snapshot(writer)
        elif isinstance(request, Stop):
            writer.write(encode(Reply(id=request.id)))
            writer.write(encode(Bye("stopped")))
            await writer.drain()
            self.version = self.updated
            self.after_stop()
            await self.die()
        elif not isinstance(request, self.unanswered):
            answer = self.answer(request)
            writer.write(encode(replace(answer or self._do(request), id=request.id)))

    async def _snapshot(self, writer: asyncio.StreamWriter) -> None:
        jobs = list(self.jobs.values())
        for start in range(0, max(1, len(jobs)), SNAPSHOT_JOBS):
            last = start + SNAPSHOT_JOBS >= len(jobs)
            writer.write(encode(Snapshot(jobs=jobs[start : start + SNAPSHOT_JOBS], last=last, meters=self.meters)))
            await writer.drain()
        self._subscribed.add(writer)

    def _do(self, request: Request) -> Reply:
        now = time.time()
        result: dict[str, int | str] = {}
        if isinstance(request, Retry | Cancel | Review):
            for cell in request.cells:
                job = self.jobs[cell.job]
                if isinstance(request, Retry):
                    job = retry.retried(job, cell.language, now)
                elif isinstance(request, Cancel):
                    job = cancellation.cancelled(job, cell.language, now)
                else:
                    job = download.reviewed(job, cell.language, request.mark)
                self.push(job)
            name = {Retry: "retried", Cancel: "cancelled", Review: "reviewed"}[type(request)]
            result = {name: len(request.cells)}
        elif isinstance(request, Remove):
            for cell in request.cells:
                left = cancellation.removed(self.jobs[cell.job], [cell.language])
                if left is not None:
                    self.push(left)
                else:
                    del self.jobs[cell.job]
                    self.say(Changes(removed=[cell.job]))
            result = {"removed": len(request.cells), "under_way": 0, "paid": 0}
        elif isinstance(request, AddLanguages):
            for job_id in request.jobs:
                self.push(creation.add_targets(self.jobs[job_id], request.languages, now))
        elif isinstance(request, Pause | Resume):
            self.push(meters=replace(self.meters, paused=isinstance(request, Pause)))
        return Reply(id=request.id, result=result)
