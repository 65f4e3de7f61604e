"""A small HTTP/1.1 server over real sockets that answers as told, or breaks as told."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import h11


@dataclass
class ReceivedRequest:
    """A request that arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> object:
        return json.loads(self.body)


@dataclass
class ScriptedReply:
    """What to do with a request. `cut_after_bytes` closes after that many bytes of the body; `fault` does something worse."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    announced_length: int | None = None  # a Content-Length other than the true one
    cut_after_bytes: int | None = None
    fault: str = ""  # "reset": no answer but an RST; "hang": no answer at all; "reset_body": an RST within the body

    def head_bytes(self) -> bytes:
        length = len(self.body) if self.announced_length is None else self.announced_length
        headers = {"Content-Type": "application/json", "Content-Length": str(length)} | self.headers
        lines = [f"HTTP/1.1 {self.status} Because", *(f"{name}: {value}" for name, value in headers.items() if value)]
        return "\r\n".join([*lines, "", ""]).encode()


def json_reply(status: int, value: object = None, **headers: str) -> ScriptedReply:
    """A JSON answer; header names with `_` for `-`."""
    body = b"" if value is None else json.dumps(value).encode()
    return ScriptedReply(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


def html_reply(status: int, **headers: str) -> ScriptedReply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return ScriptedReply(status, b"<html><body>Something</body></html>", {"Content-Type": "text/html"} | named)


class FaultServer:
    """Use as an async context manager. `script` decides about each request; `on_accept`: "", "reset" or "reset_in_request"."""

    def __init__(
        self, script: Callable[[ReceivedRequest], ScriptedReply] = lambda seen: json_reply(200, {}), on_accept: str = ""
    ) -> None:
        self.script = script
        self.on_accept = on_accept
        self.received: list[ReceivedRequest] = []
        self.connection_count = 0
        self.active_requests = 0
        self.max_active_requests = 0
        self.may_answer: asyncio.Event | None = None  # requests wait for it before they are answered
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FaultServer:
        self._server = await asyncio.start_server(self._serve_connection, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connection_count += 1
        number = self.connection_count
        try:
            if self.on_accept == "reset":
                reset_connection(writer)
                return
            while await self._serve_one(reader, writer, number):
                pass
        except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            pass  # the other side went, or does not speak HTTP (a TLS hello), or the test ended
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        connection = h11.Connection(h11.SERVER)
        head: h11.Request | None = None
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                head = event
                if self.on_accept == "reset_in_request":
                    reset_connection(writer)
                    return False
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                break
        if head is None:
            return False
        headers = {name.decode(): value.decode() for name, value in head.headers}
        seen = ReceivedRequest(head.method.decode(), head.target.decode(), headers, body, number)
        self.received.append(seen)
        self.active_requests += 1
        self.max_active_requests = max(self.max_active_requests, self.active_requests)
        try:
            if self.may_answer is not None:
                await self.may_answer.wait()
            return await self._send_reply(self.script(seen), writer) and headers.get("connection") != "close"
        finally:
            self.active_requests -= 1

    async def _send_reply(self, reply: ScriptedReply, writer: asyncio.StreamWriter) -> bool:
        if reply.fault == "reset":
            reset_connection(writer)
            return False
        if reply.fault == "hang":
            await self._stop.wait()
            return False
        body = reply.body if reply.cut_after_bytes is None else reply.body[: reply.cut_after_bytes]
        writer.write(reply.head_bytes() + body)
        await writer.drain()
        if reply.fault == "reset_body":
            reset_connection(writer)
            return False
        if reply.fault == "hang_body":
            await self._stop.wait()
        return reply.cut_after_bytes is None


def reset_connection(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with an RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
