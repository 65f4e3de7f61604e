"""The dashboard's side of the runner's socket: connect, follow, send requests, and reconnect after a loss.

`RunnerClient.run` runs as long as the dashboard. It reports through two callbacks: one for states, one for messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    Bye,
    Hello,
    Message,
    Reply,
    Request,
    StopRequest,
    SubscribeRequest,
    Welcome,
    decode_message,
    encode,
)
from synthdub_tui.problems import Problem, explain

CONNECT_TIMEOUT_SECONDS: Final = 3.0
HELLO_TIMEOUT_SECONDS: Final = 10.0
REPLACE_TIMEOUT_SECONDS: Final = 60.0
"""Most seconds in which a runner that is being replaced may finish its requests and end."""

REPLY_TIMEOUT_SECONDS: Final = 30.0

RUNNER_CHECK_INTERVAL_SECONDS: Final = 2.0
"""Seconds between two checks, while there is no runner, whether another program has started one."""

_CHUNK: Final = 256 * 1024


class Launcher(Protocol):
    """Starts the runner if none is running."""

    @property
    def path(self) -> Path:
        """Path of the socket, if a runner listens. Raises `errors.ProblemError` if there can be no socket."""

    async def start(self) -> Path:
        """Start a runner, if none answers, and return the path of its socket. Raises `errors.ProblemError` if none can run."""

    def use_stored_key(self) -> None:
        """The user stored a key: start runners without the flag or variable that takes precedence over it."""


class LinkState(StrEnum):
    """The state of the connection to the runner."""

    STARTING = "starting"  # the runner is being started or connected to
    ATTACHED = "attached"
    REPLACING = "replacing"  # a runner of another version is asked to end
    GONE = "gone"  # no runner; the user decides whether to start one


class RunnerClient:
    """Keeps the connection, matches replies to requests, and reports through `on_message` and `on_link_state`."""

    def __init__(
        self, launcher: Launcher, version: str, on_message: Callable[[Message], None], on_state: Callable[[LinkState], None]
    ) -> None:
        self.state = LinkState.STARTING
        self.problem: Problem | None = None
        self.welcome: Welcome | None = None
        self._launcher = launcher
        self._version = version
        self._on_message = on_message
        self._on_state = on_state
        self._socket: socket.socket | None = None
        self._last_id = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._sending = asyncio.Lock()
        self._restart_requested = asyncio.Event()
        self._is_replacing_runner = False  # the runner was asked to end, so that another one starts

    # -- for the dashboard -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Connect and follow until cancelled. If the runner is lost, wait for `restart`, or for a runner of another program."""
        start = replace_other = True
        while True:
            ended = await self._run_connection(start, replace_other)
            self._is_replacing_runner = False
            if ended == "replaced":
                start, replace_other = True, False  # once: after an upgrade, ours has another version too
            elif ended == "lost" and await self._runner_answers():
                start = replace_other = False
            else:
                self._set_state(LinkState.GONE)
                start = replace_other = await self._wait_for_restart_or_runner()

    def restart(self) -> None:
        """Start a runner again, because the user wants one."""
        self._restart_requested.set()

    def use_stored_key(self) -> None:
        """From now on, start runners without the flag or variable that takes precedence over the stored key."""
        self._launcher.use_stored_key()

    async def replace_runner(self) -> Reply:
        """Make the runner save and end, and start another, which uses the present key and environment."""
        self._is_replacing_runner = True
        reply = await self.ask(StopRequest())
        self._is_replacing_runner = self._is_replacing_runner and not reply.code
        return reply

    async def ask(self, request: Request, timeout: float | None = REPLY_TIMEOUT_SECONDS) -> Reply:  # noqa: ASYNC109 - its end is a reply, not an error
        """Send a request and wait for its reply, at most `timeout` seconds (None: no limit).

        If the connection fails or the time is over, the reply has the code `runner_gone`.
        """
        self._last_id += 1
        number = self._last_id
        if self._socket is None:
            return Reply(id=number, code="runner_gone")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._send(self._socket, replace(request, id=number))
            async with asyncio.timeout(timeout):
                return await future
        except (OSError, TimeoutError) as error:
            return Reply(id=number, code="runner_gone", detail=str(error))
        finally:
            self._waiting.pop(number, None)

    # -- one connection ----------------------------------------------------------------------------------------------

    async def _wait_for_restart_or_runner(self) -> bool:
        """Wait until the user wants a runner (True), or a runner answers that another program started (False)."""
        self._restart_requested.clear()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RUNNER_CHECK_INTERVAL_SECONDS):
                    await self._restart_requested.wait()
                return True
            if await self._runner_answers():
                return False

    async def _run_connection(self, start: bool, replace_other: bool) -> str:
        """Follow one connection to its end. Returns why it ended: replaced, lost, failed, or the runner's reason."""
        if start or self.state is LinkState.ATTACHED:
            self._set_state(LinkState.STARTING)
        try:
            connection = await self._connect(start)
        except ProblemError as trouble:
            self.problem = trouble.problem
            return "failed"
        except OSError as error:
            self.problem = explain("runner_gone", str(error))
            return "failed"
        try:
            return await self._follow(connection, replace_other)
        except ProblemError as trouble:
            self.problem = trouble.problem
            return "failed"
        except (OSError, TimeoutError) as error:
            self.problem = explain("runner_gone", str(error))
            return "lost"
        finally:
            self._socket = None
            connection.close()
            self._fail_waiting()

    async def _connect(self, start: bool) -> socket.socket:
        if not start:
            return await _connected(self._launcher.path)
        path = await self._launcher.start()
        deadline = time.monotonic() + CONNECT_TIMEOUT_SECONDS
        while True:
            try:
                return await _connected(path)
            except (ConnectionRefusedError, FileNotFoundError):  # it is starting, and does not listen yet
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.05)

    async def _follow(self, connection: socket.socket, replace_other: bool) -> str:
        lines = _LineReader(connection)
        await self._send(connection, Hello(version=self._version))
        async with asyncio.timeout(HELLO_TIMEOUT_SECONDS):  # not `wait_for`: in Python 3.11 it may lose a cancellation
            welcome = await self._welcome(lines)
        if replace_other and (welcome.version, welcome.protocol) != (self._version, PROTOCOL_VERSION):
            return await self._replace(connection, lines, welcome)
        if welcome.protocol != PROTOCOL_VERSION:
            raise ProblemError("runner_other", f"version {welcome.version}, this is {self._version}")
        self.welcome, self.problem = welcome, None
        self._socket = connection
        self._set_state(LinkState.ATTACHED)
        self._last_id += 1
        await self._send(connection, SubscribeRequest(id=self._last_id))
        while True:
            message = _decoded(await lines.next())
            if message is None:
                raise ConnectionError("the connection ended")
            if isinstance(message, Bye) and self._is_replacing_runner:
                await self._wait_for_end(lines)
                return "replaced"
            if isinstance(message, Bye):
                self._on_message(message)
                self.problem = _ended_problem(message.reason)
                return message.reason
            self._handle_message(message)
            await asyncio.sleep(0)  # keys and frames come between two messages

    async def _welcome(self, lines: _LineReader) -> Welcome:
        message = _decoded(await lines.next())
        if not isinstance(message, Welcome):
            raise ConnectionError("the runner did not greet")
        return message

    async def _replace(self, connection: socket.socket, lines: _LineReader, welcome: Welcome) -> str:
        """Make a runner of another version save and end. Raises `ProblemError` (state_busy) if it is a `synthdub run`."""
        if welcome.foreground:
            raise ProblemError("state_busy", f"a `synthdub run` of version {welcome.version}, process {welcome.pid}")
        self._set_state(LinkState.REPLACING)
        with contextlib.suppress(ConnectionError):  # it ended before it read the request
            await self._send(connection, StopRequest(id=1))
        await self._wait_for_end(lines)
        return "replaced"

    async def _wait_for_end(self, lines: _LineReader) -> None:
        """Wait until the runner has closed the connection: then its socket and lock are free. Raises TimeoutError."""
        async with asyncio.timeout(REPLACE_TIMEOUT_SECONDS):
            with contextlib.suppress(ConnectionError):  # it was killed
                while await lines.next() is not None:
                    pass

    async def _runner_answers(self) -> bool:
        """Whether a runner listens: the lost one, or one that another program started meanwhile."""
        await asyncio.sleep(0.2)
        try:
            (await self._connect(start=False)).close()
        except (OSError, ProblemError):
            return False
        return True

    def _handle_message(self, message: Message) -> None:
        if isinstance(message, Reply):
            future = self._waiting.get(message.id)
            if future is not None and not future.done():
                future.set_result(message)
        else:
            self._on_message(message)

    async def _send(self, connection: socket.socket, request: Request) -> None:
        async with self._sending:
            await asyncio.get_running_loop().sock_sendall(connection, encode(request))

    def _fail_waiting(self) -> None:
        for number, future in self._waiting.items():
            if not future.done():
                future.set_result(Reply(id=number, code="runner_gone"))

    def _set_state(self, state: LinkState) -> None:
        if state is not self.state:
            self.state = state
            self._on_state(state)


async def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, str(path))
    except BaseException:
        connection.close()
        raise
    return connection


class _LineReader:
    """Reads lines from a socket, only as fast as the caller uses them. Raises ConnectionError after `MAX_LINE_BYTES` bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""  # after the last line

    async def next(self) -> bytes | None:
        """The next line, or None at the end."""
        loop = asyncio.get_running_loop()
        pieces, size, chunk = [], 0, self._rest
        while (end := chunk.find(b"\n")) < 0:
            pieces.append(chunk)
            size += len(chunk)
            if size > MAX_LINE_BYTES:
                raise ConnectionError("a message is too long")
            chunk = await loop.sock_recv(self._connection, _CHUNK)
            if not chunk:
                return None
        self._rest = chunk[end + 1 :]
        return b"".join([*pieces, chunk[:end]])


def _decoded(line: bytes | None) -> Message | None:
    if line is None:
        return None
    with contextlib.suppress(msgspec.DecodeError):
        return decode_message(line)
    raise ConnectionError("the runner sent something that is no message")


def _ended_problem(reason: str) -> Problem:
    words = {"stopped": "It was asked to stop, and saved everything.", "done": "Its work was done."}
    return explain("runner_ended", words.get(reason, reason))
