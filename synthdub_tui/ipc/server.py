"""Serves the control socket, to which dashboards and commands of the same user attach. A stalled client blocks nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from synthdub_tui import __version__
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc import protocol as p
from synthdub_tui.ipc.socket_path import mark_socket_outside, socket_in_state_dir, socket_in_temp_dir
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import Job
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.model import SecretText

_log = logging.getLogger(__name__)

CHANGES_INTERVAL_SECONDS: Final = 0.2
"""Seconds between two `Changes` messages."""

MAX_CLIENT_BACKLOG_BYTES: Final = 1024 * 1024
"""Unread bytes of a client above which it gets no changes until it has read them."""

MAX_CLIENTS: Final = 64
"""Most clients at the same time: each takes a file descriptor, and the work must not run out of them."""

NO_SOCKET_ERRNOS: Final = frozenset({errno.EPERM, errno.EIO, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""Error numbers of bind() on file systems without sockets (FAT, network and user-space ones). They have no other cause here:
the name was freed before, and a folder that cannot be written gives another error."""

MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""Longest request in bytes: enough to add some ten thousand paths."""


class RunnerServer:
    """Serves one runner. `on_stop` is called when a client asks the runner to end; `read_key` reads the present API key."""

    def __init__(
        self, runner: Runner, *, on_stop: Callable[[], None], read_key: Callable[[], str], foreground: bool = False
    ) -> None:
        self._runner = runner
        self._on_stop = on_stop
        self._read_key = read_key
        self._foreground = foreground
        self._state_dir = runner.settings.state_dir
        self._path = ""
        self._clients: set[_Client] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._bound: os.stat_result | None = None
        self._ticker: asyncio.Task[None] | None = None
        self.last_client_left_at = runner.started_at  # when the last client left; before, when the runner was created

    @property
    def clients(self) -> int:
        """The number of attached clients."""
        return len(self._clients)

    async def start(self) -> None:
        """Open the socket. Replaces an existing one: since this runner holds the lock, an earlier runner left it behind.

        Raises ProblemError("state_unwritable").
        """
        try:
            await self._open()
        except OSError as error:
            raise ProblemError("state_unwritable", f"{error.strerror}: {self._path}") from error
        self._runner.live_jobs.add_listener(self._on_change, self._on_removed)
        self._ticker = asyncio.create_task(self._tick())

    async def _open(self) -> None:
        """Open the socket in the state directory, or outside if its path is too long or its file system has no sockets."""
        if inside := socket_in_state_dir(self._state_dir):
            try:
                return await self._listen(inside)
            except OSError as error:
                if error.errno not in NO_SOCKET_ERRNOS:
                    raise
                mark_socket_outside(self._state_dir)
        return await self._listen(socket_in_temp_dir(self._state_dir))

    async def _listen(self, path: str) -> None:
        self._path = path
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        mask = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=MAX_REQUEST_BYTES)
        finally:
            os.umask(mask)
        self._bound = os.lstat(path)

    async def close(self, reason: str) -> None:
        """Send `Bye` with the reason to all clients, and remove the socket."""
        if self._ticker is not None:
            self._ticker.cancel()
        for client in list(self._clients):
            client.send(p.Bye(reason=reason))
            client.close()
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):  # already removed, or its volume is gone
                if self._bound is not None and os.path.samestat(self._bound, os.lstat(self._path)):
                    os.unlink(self._path)  # else it is another runner's, in a replaced directory

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _is_own(writer.get_extra_info("socket")) or len(self._clients) >= MAX_CLIENTS:
            writer.close()
            return
        client = _Client(writer)
        self._clients.add(client)
        try:
            while line := await reader.readline():
                await self._take(client, line)
            self._clients.discard(client)
            if client.pending:  # the client sends no more, but may still read
                await asyncio.wait(client.pending)
        except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
            _log.info("client dropped", extra={"reason": type(error).__name__})
        finally:
            self._clients.discard(client)
            self.last_client_left_at = self._runner.batch_status().now
            client.close()

    async def _take(self, client: _Client, line: bytes) -> None:
        request = p.decode_request(line)
        if isinstance(request, p.Hello):
            client.send(self._welcome())
        elif (
            isinstance(request, p.ThumbnailRequest | p.AddRequest | p.RemoveRequest | p.AdoptRequest | p.RelocateRequest)
            and len(self._tasks) < MAX_CLIENTS
        ):
            task = asyncio.create_task(self._reply_later(client, request))
            for tasks in (self._tasks, client.pending):
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        else:
            await self._reply(client, request)

    async def _reply_later(self, client: _Client, request: p.Request) -> None:
        """Reply to a request that takes long, in a task of its own, since the client's next request may be urgent."""
        with contextlib.suppress(OSError):  # the client may have gone
            await self._reply(client, request)

    async def _reply(self, client: _Client, request: p.Request) -> None:
        try:
            reply = await self._answer(client, request)
        except ProblemError as trouble:
            reply = p.Reply(id=request.id, code=trouble.code, detail=trouble.detail)
        except OSError as error:
            reply = p.Reply(id=request.id, code="state_unwritable", detail=error.strerror or "")
        except Exception:  # noqa: BLE001 - one client's request must not affect the others
            _log.exception("request failed")
            reply = p.Reply(id=request.id, code="internal")
        if client.dirty and client.ready:
            self._send_changes(client, client.transfers, None)  # before the reply, so that its reader knows what it changed
        client.send(reply)
        if isinstance(request, p.StopRequest):
            self._on_stop()
        await client.drain()  # a client that does not read delays only itself, and memory stays bounded

    def _welcome(self) -> p.Welcome:
        return p.Welcome(
            version=__version__,
            protocol=p.PROTOCOL_VERSION,
            pid=os.getpid(),
            foreground=self._foreground,
        )

    async def _answer(self, client: _Client, request: p.Request) -> p.Reply:
        runner = self._runner
        result: dict[str, int | str] = {}
        match request:
            case p.RetryRequest() | p.CancelRequest() | p.RemoveRequest():
                return await self._answer_about_dubs(request)
            case p.SubscribeRequest():
                await self._subscribe(client)
            case p.ReviewRequest(cells=cells, mark=mark):
                result["reviewed"] = runner.review(cells, reviewed=mark)
            case p.PauseRequest() | p.ResumeRequest():
                await runner.pause(isinstance(request, p.PauseRequest))
            case p.CheckKeyRequest():
                await runner.switch_api_key(SecretText(self._read_key()))
            case p.ThumbnailRequest(cell=cell):
                path = await runner.thumbnails.path(cell.job, cell.language)
                result = {"path": path} if path else {}
            case p.AddRequest() | p.AddLanguagesRequest() | p.RelocateRequest():
                result = await self._answer_about_files(request)
            case p.AdoptRequest(cell=cell, project=project):
                await runner.adopt(cell, project)
            case p.StopAddingRequest():
                runner.stop_adding()
            case _:
                pass  # Status and Stop have no result
        return p.Reply(id=request.id, result=result, meters=runner.batch_status())

    async def _answer_about_dubs(self, request: p.RetryRequest | p.CancelRequest | p.RemoveRequest) -> p.Reply:
        runner = self._runner
        match request:
            case p.RetryRequest(cells=cells, paid=paid):
                retried, needs_paid, changed = runner.retry(cells, allow_paid=paid)
                result = {"retried": retried, "needs_paid": needs_paid}
            case p.CancelRequest(cells=cells):
                cancelled, left = runner.cancel(cells)
                result, changed = {"cancelled": cancelled}, tuple(left)
            case p.RemoveRequest(cells=cells, forget=forget):
                removed = await runner.remove(cells, allow_forgetting=forget)
                result = {"removed": removed.count, "under_way": len(removed.under_way), "paid": len(removed.paid)}
                changed = tuple(removed.changed)
        await runner.wait_until_saved(cells)  # the client may read the files next
        return p.Reply(id=request.id, result={**result}, changed=changed, meters=runner.batch_status())

    async def _answer_about_files(
        self, request: p.AddRequest | p.AddLanguagesRequest | p.RelocateRequest
    ) -> dict[str, int | str]:
        match request:
            case p.AddRequest(paths=paths, batch=batch):
                return await self._add(paths, batch)
            case p.AddLanguagesRequest(jobs=jobs, languages=languages):
                return {"dubs": await self._runner.add_languages(jobs, languages)}
            case p.RelocateRequest(old=old, new=new):
                return {"moved": await self._runner.relocate(old, new)}

    async def _add(self, paths: Iterable[str], batch: BatchOptions) -> dict[str, int | str]:
        added = await self._runner.add(paths, batch)
        await self._runner.wait_for_comparisons(added)
        troubles = added.path_problems + added.problems
        result: dict[str, int | str] = {effect.value: count for effect, count in added.effects.items()}
        result |= {"skipped": added.skipped, "compared": added.compared, "problems": len(troubles)}
        if words := added.skipped_summary.describe():
            result["left_out"] = words
        if added.stopped:
            result["stopped"] = 1
        if troubles:
            result |= {"problem": troubles[0].code, "problem_detail": troubles[0].detail}
        return result

    # -- changes -------------------------------------------------------------------------------------------------------

    async def _subscribe(self, client: _Client) -> None:
        """Send the snapshot in parts, each with the newest versions. Jobs that change after their part follow at the end."""
        jobs = self._runner.live_jobs.jobs
        names = list(jobs)
        meters = self._runner.batch_status()
        client.subscribed, client.in_snapshot = True, True
        for start in range(0, max(len(names), 1), p.SNAPSHOT_JOBS):
            piece = [jobs[name] for name in names[start : start + p.SNAPSHOT_JOBS] if name in jobs]
            client.send(p.Snapshot(jobs=piece, last=start + p.SNAPSHOT_JOBS >= len(names), meters=meters))
            await client.drain()
        client.in_snapshot = False

    def _on_change(self, _before: Job | None, job: Job) -> None:
        for client in self._clients:
            if client.subscribed:
                client.dirty[job.id] = None

    def _on_removed(self, job: Job) -> None:
        self._on_change(job, job)

    async def _tick(self) -> None:
        """Send changes every `CHANGES_INTERVAL_SECONDS` seconds. Rates are sent during transfers, and once more when they
        stop."""
        moving = False
        while True:
            await asyncio.sleep(CHANGES_INTERVAL_SECONDS)
            runner = self._runner
            transfers = runner.transfer_stats.transfers()
            meters = (
                runner.batch_status()
                if transfers or moving or runner.transfer_stats.changed or not runner.idle.is_set()
                else None
            )
            moving, runner.transfer_stats.changed = bool(transfers), False
            for client in self._clients:
                if client.subscribed and client.ready:
                    self._send_changes(client, transfers, meters)

    def _send_changes(self, client: _Client, transfers: list[p.Transfer], meters: p.BatchStatus | None) -> None:
        """Send the client's changes since the last message. Meters that differ only in time and waits are no change."""
        known = self._runner.live_jobs.jobs
        jobs = [known[job_id] for job_id in client.dirty if job_id in known]
        removed = [job_id for job_id in client.dirty if job_id not in known]
        client.dirty.clear()
        news = None if meters is None else _without_time(meters)
        if not jobs and not removed and transfers == client.transfers and (news is None or news == client.meters):
            return
        client.transfers, client.meters = transfers, news or client.meters
        for start in range(0, max(len(jobs), 1), p.SNAPSHOT_JOBS):
            client.send(
                p.Changes(jobs=jobs[start : start + p.SNAPSHOT_JOBS], removed=removed, transfers=transfers, meters=meters)
            )
            removed = []


class _Client:
    """One attached dashboard or command."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.subscribed = False
        self.in_snapshot = False
        self.dirty: dict[str, None] = {}
        self.transfers: list[p.Transfer] = []
        self.meters: p.BatchStatus | None = None
        self.pending: set[asyncio.Task[None]] = set()  # replies that take long

    @property
    def ready(self) -> bool:
        """Whether the client keeps up. A slow client gets the newest state later, without the steps in between."""
        return not self.in_snapshot and self._writer.transport.get_write_buffer_size() < MAX_CLIENT_BACKLOG_BYTES

    def send(self, message: p.Message) -> None:
        if not self._writer.is_closing():
            self._writer.write(p.encode(message))

    async def drain(self) -> None:
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


def _without_time(meters: p.BatchStatus) -> p.BatchStatus:
    quota = tuple(p.RateLimitUsage(use.endpoint, use.used, use.limits, float(use.wait > 0)) for use in meters.quota)
    return msgspec.structs.replace(meters, now=0.0, quota=quota)


def _is_own(connection: socket.socket) -> bool:
    """Whether the peer is the same user, or root (SO_PEERCRED). Outside Linux only the socket's mode protects it."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (os.getuid(), 0)
