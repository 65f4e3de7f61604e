"""A small HTTP/1.1 server on h11: keep-alive, chunked bodies, Expect: 100-continue, bodies streamed in constant memory.

It can also misbehave on purpose, see `ResponseDelivery`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from synthdub_tui.errors import SynthdubError
from synthdub_tui.sandbox.clock import Throttle

READ_BYTES: Final = 64 * 1024
_LINGER_BYTES: Final = 64 * 1024 * 1024
_LINGER_SECONDS: Final = 5.0
_FLUSH_SECONDS: Final = 0.05

_logger = logging.getLogger(__name__)


class DisconnectedError(SynthdubError):
    """The client closed the connection before the request was complete."""


class Stream(Protocol):
    """A body too large for memory: its size and its pieces."""

    @property
    def size(self) -> int: ...

    def pieces(self) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class ResponseDelivery:
    """How an answer is sent. The default has no fault."""

    wait: float = 0.0  # seconds before the answer
    reset_at: int | None = None  # RST after this number of bytes of the body; -1: before the head
    close_at: int | None = None  # clean close after this number of bytes of the body
    with_length: bool = True  # else the end of the connection ends the body
    chunked: bool = False  # in chunks instead of with a length
    rate: float | None = None  # bytes/s of this answer


@dataclass(frozen=True)
class Note:
    """The journal's details of a request: the objects that it concerned, and the billed languages."""

    asset: str = ""
    project: str = ""
    languages: tuple[str, ...] = ()
    billed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Response:
    """An answer. `body` is sent with its Content-Length, unless `delivery` says otherwise."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Stream = b""
    note: Note = Note()
    delivery: ResponseDelivery = field(default=ResponseDelivery())

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.size

    def pieces(self) -> Iterator[bytes]:
        """The body piece by piece."""
        if isinstance(self.body, bytes):
            return iter((self.body,) if self.body else ())
        return self.body.pieces()

    def with_delivery(self, delivery: ResponseDelivery) -> Response:
        return replace(self, delivery=delivery)


class Request:
    """A request. Its body is read only on demand."""

    def __init__(self, head: h11.Request, connection: _Connection) -> None:
        self.method = head.method.decode("ascii")
        self.target = head.target.decode("ascii")
        parts = urlsplit(self.target)
        self.path = unquote(parts.path)
        self.raw_path = parts.path
        self.query = parse_qsl(parts.query, keep_blank_values=True)
        self.headers: dict[str, str] = {}
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        self.received = 0
        self._connection = connection

    def argument(self, name: str) -> str | None:
        """First value of a query parameter."""
        return next((value for key, value in self.query if key == name), None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, piece by piece as it arrives. Raises DisconnectedError if it is cut off."""
        async for data in self._connection.body():
            self.received += len(data)
            yield data

    async def body(self, limit: int = 1024 * 1024) -> bytes | None:
        """The whole body, or None if it exceeds `limit` bytes. Raises DisconnectedError."""
        held = bytearray()
        async for data in self.chunks():
            held += data
            if len(held) > limit:
                return None
        return bytes(held)

    async def wait_until_closed(self, seconds: float) -> None:
        """Wait until the client has closed the connection, at most `seconds`."""
        await self._connection.wait_until_closed(seconds)


Handler = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Listens on 127.0.0.1 and answers with `handler`. `up` and `down` limit the bytes per second of all connections."""

    def __init__(self, handler: Handler, up: Throttle, down: Throttle) -> None:
        self._handler = handler
        self._up, self._down = up, down
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self, port: int) -> None:
        """Listen on `port`; 0 is any free one. Raises OSError if the port is taken."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=4 * READ_BYTES, backlog=512)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve_connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(reader, writer, self._up, self._down)
        try:
            while await connection.exchange(self._handler):
                pass
        except (DisconnectedError, OSError):
            pass  # clients may close the connection at any time; that is no error of the server
        except Exception:
            _logger.exception("the sandbox could not send an answer")
        finally:
            writer.close()


async def _answer(handler: Handler, request: Request) -> Response:
    """The handler's answer. If the handler has a bug, the answer is 500 and the log contains the traceback."""
    try:
        return await handler(request)
    except (DisconnectedError, OSError, h11.RemoteProtocolError):
        raise
    except Exception:
        _logger.exception("the sandbox failed on %s %s", request.method, request.path)
        return Response(HTTPStatus.INTERNAL_SERVER_ERROR)


class _Connection:
    """One connection: h11's state machine on asyncio streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: Throttle, down: Throttle) -> None:
        self._reader, self._writer = reader, writer
        self._up, self._down = up, down
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=READ_BYTES)

    async def exchange(self, handler: Handler) -> bool:
        """Handle one request and its answer. Returns False if the connection has ended."""
        try:
            head = await self._event()
            if not isinstance(head, h11.Request):
                return False
            response = await _answer(handler, Request(head, self))
        except h11.RemoteProtocolError as error:
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                refusal = Response(error.error_status_hint, (("Connection", "close"),), str(error).encode())
                await self._send(refusal, b"GET")
            return False
        self._skip_received_body()
        if not await self._deliver(response, head.method):
            return False
        if self._http.their_state is not h11.DONE or self._http.our_state is not h11.DONE:
            await self._wait_for_client()
            return False
        self._http.start_next_cycle()
        return True

    async def body(self) -> AsyncIterator[bytes]:
        if self._http.they_are_waiting_for_100_continue:
            await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
        while self._http.their_state is h11.SEND_BODY:
            try:
                event = await self._event()
            except h11.RemoteProtocolError as error:
                raise DisconnectedError(str(error)) from error
            if isinstance(event, h11.Data):
                await self._up.wait_for(len(event.data))
                yield bytes(event.data)

    async def wait_until_closed(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(None if math.isinf(seconds) else seconds):
                while await self._reader.read(READ_BYTES):
                    pass

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event) or event is h11.PAUSED:
                return event
            self._http.receive_data(await self._reader.read(READ_BYTES))

    def _skip_received_body(self) -> None:
        """Drop the received part of an unread body, and read the end of a request without a body."""
        while self._http.their_state is h11.SEND_BODY:
            if self._http.they_are_waiting_for_100_continue or self._http.next_event() is h11.NEED_DATA:
                return

    async def _deliver(self, response: Response, method: bytes) -> bool:
        """Send the answer according to its `delivery`. Returns False if the connection cannot be used after that."""
        how = response.delivery
        if how.wait:
            await self.wait_until_closed(how.wait)
        if how.reset_at is not None and how.reset_at < 0:
            self._reset()
            return False
        if how.reset_at is not None:
            self._writer.transport.set_write_buffer_limits(0)
        await self._send(response, method)
        if how.reset_at is not None:
            await asyncio.sleep(_FLUSH_SECONDS)  # RST drops bytes that the system has not sent yet
            self._reset()
        return how.reset_at is None and how.close_at is None and how.with_length

    async def _send(self, response: Response, method: bytes) -> None:
        how = response.delivery
        cut = how.reset_at if how.reset_at is not None else how.close_at
        await self._write(self._head(response))
        if method != b"HEAD" and response.status != HTTPStatus.NO_CONTENT:
            pace = Throttle(how.rate)
            for piece in _cut_pieces(response.pieces(), cut, READ_BYTES if how.rate is None else max(1, int(how.rate / 10))):
                await self._down.wait_for(len(piece))
                await pace.wait_for(len(piece))
                await self._write(self._http.send(h11.Data(data=piece)) if how.with_length else piece)
        if cut is None and how.with_length:
            await self._write(self._http.send(h11.EndOfMessage()))

    def _head(self, response: Response) -> bytes | None:
        headers = list(response.headers)
        if not response.delivery.with_length:
            # h11 would send a body without length in chunks, so that a client could tell the end from a broken connection.
            lines = [f"HTTP/1.1 {response.status} OK", *(f"{k}: {v}" for k, v in headers), "Connection: close", "", ""]
            return "\r\n".join(lines).encode("latin-1")
        has_length = response.delivery.chunked or any(name == "Content-Length" for name, _ in headers)
        if response.status != HTTPStatus.NO_CONTENT and not has_length:
            headers.append(("Content-Length", str(response.size)))
        if self._http.their_state is not h11.DONE:
            headers.append(("Connection", "close"))
        reason = HTTPStatus(response.status).phrase if response.status in _STATUSES else "Unknown"
        return self._http.send(h11.Response(status_code=response.status, headers=headers, reason=reason.encode()))

    async def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)
            await self._writer.drain()

    async def _wait_for_client(self) -> None:
        """Let a client that is still sending read the answer: after an immediate close its bytes would cause an RST."""
        if self._writer.can_write_eof():
            self._writer.write_eof()

        left = _LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while left > 0 and (data := await self._reader.read(READ_BYTES)):
                    left -= len(data)

    def _reset(self) -> None:
        """Close with RST instead of FIN."""
        raw: socket.socket | None = self._writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


_STATUSES: Final = frozenset(status.value for status in HTTPStatus)


def _cut_pieces(pieces: Iterator[bytes], end: int | None, step: int) -> Iterator[bytes]:
    """The bytes in pieces of at most `step` bytes, up to `end` bytes in total."""
    left = end
    for piece in pieces:
        for start in range(0, len(piece), step):
            part = piece[start : start + step]
            if left is not None:
                part = part[:left]
                left -= len(part)
            if part:
                yield part
            if left == 0:
                return
