"""Small HTTP servers on real sockets whose faults the tests choose: S3-like storage, and a site of signed URLs."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@dataclass
class ServerRequest:
    """One request; the body is still to be read from `reader`."""

    method: str
    target: str
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        parsed = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[0] for name, values in parsed.items()}

    async def send_continue(self) -> None:
        """What a client that sent `Expect: 100-continue` waits for."""
        if self.headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self.writer.drain()

    async def read_chunks(self, pause: float = 0.0) -> AsyncIterator[bytes]:
        """The body as it comes; over TLS, S3's clients send one of unknown length, see `decode_aws_chunks`."""
        if self.headers.get("transfer-encoding") == "chunked":
            while length := int(await self.reader.readline(), 16):
                yield await self.reader.readexactly(length)
                await self.reader.readline()
            await self.reader.readline()
            return
        left = int(self.headers.get("content-length", "0"))
        while left:
            data = await self.reader.read(min(left, 65536))
            if not data:
                raise ConnectionError("the client went away")
            left -= len(data)
            yield data
            await asyncio.sleep(pause)

    async def send_answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Headers with `_` for `-`. Content-Length is added unless it is given as ""."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Content-Length", str(len(body)))
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in named.items() if value)]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()


RequestHandler = Callable[[ServerRequest], Awaitable[None]]


class HangupError(Exception):
    """Raised by a handler to close the connection there and then."""


@asynccontextmanager
async def running_server(handle: RequestHandler, *, tls: bool = False) -> AsyncIterator[str]:
    """Serve requests with `handle` on a free port; the address is `http://127.0.0.1:PORT`, or `https` with `tls`."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            while await _serve_one(reader, writer, handle):
                pass
        except (HangupError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            connections.discard(task)
            writer.transport.abort() if task.cancelling() else writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=_tls_context() if tls else None)
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tuple(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


CERTIFICATE = Path(__file__).parents[1] / "data" / "localhost.pem"
"""With its key; of 127.0.0.1, localhost and videos.example. To be trusted through SSL_CERT_FILE."""


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: RequestHandler) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    await handle(ServerRequest(method, target, headers, reader, writer))
    return True


def decode_aws_chunks(body: bytes) -> list[bytes]:
    """The chunks in a body of the encoding `aws-chunked`, without the trailer that follows the last, which is empty."""
    chunks = []
    while True:
        length, _, body = body.partition(b"\r\n")
        if not int(length, 16):
            return chunks
        chunks.append(body[: int(length, 16)])
        body = body[int(length, 16) + 2 :]


def s3_error_body(code: str, extra: str = "") -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>words</Message>{extra}</Error>'.encode()


@dataclass
class FakeBucket:
    """S3-like storage that keeps digests, not bytes. `fault` may answer a request itself (True) or leave it (False)."""

    objects: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, dict[int, str]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of the parts by the key's path, also of parts that were sent again."""
    aborted_uploads: list[str] = field(default_factory=list)
    received: list[ServerRequest] = field(default_factory=list)
    fault: Callable[[ServerRequest], Awaitable[bool]] | None = None
    read_pause_seconds: float = 0.0
    """Seconds between two reads of 64 KiB."""
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    def operations(self) -> list[str]:
        return [s3_operation(request) for request in self.received]

    async def handle(self, request: ServerRequest) -> None:
        self.received.append(request)
        if self.fault is not None and await self.fault(request):
            return
        await getattr(self, s3_operation(request))(request)

    async def put(self, request: ServerRequest) -> None:
        self.objects[request.path] = await self._digest(request)
        await request.send_answer(200, ETag='"e"')

    async def create(self, request: ServerRequest) -> None:
        upload = f"u{next(self._ids)}"
        self.uploads[upload] = {}
        bucket, _, key = request.path[1:].partition("/")
        body = (
            f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{key}</Key>"
            f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        )
        await request.send_answer(200, body.encode())

    async def part(self, request: ServerRequest) -> None:
        digest = await self._digest(request)
        self.uploads[request.query["uploadId"]][int(request.query["partNumber"])] = digest
        await request.send_answer(200, ETag=f'"{digest}"')

    async def complete(self, request: ServerRequest) -> None:
        async for _ in request.read_chunks():
            pass
        parts = self.uploads.pop(request.query["uploadId"])
        self.objects[request.path] = ",".join(parts[number] for number in sorted(parts))
        await request.send_answer(200, b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")

    async def abort(self, request: ServerRequest) -> None:
        del self.uploads[request.query["uploadId"]]
        self.aborted_uploads.append(request.query["uploadId"])
        await request.send_answer(204, Content_Length="")

    async def head(self, request: ServerRequest) -> None:
        if request.path in self.objects:
            await request.send_answer(200, Content_Length=str(self.sizes[request.path]))
        else:
            await request.send_answer(404, Content_Length="")

    async def _digest(self, request: ServerRequest) -> str:
        digest = hashlib.sha256()
        await request.send_continue()
        async for data in request.read_chunks(self.read_pause_seconds):
            digest.update(data)
            self.sizes[request.path] = self.sizes.get(request.path, 0) + len(data)
        return digest.hexdigest()


def s3_operation(request: ServerRequest) -> str:
    query = request.query
    match request.method:
        case "PUT":
            return "part" if "partNumber" in query else "put"
        case "POST":
            return "create" if "uploads" in query else "complete"
        case "DELETE":
            return "abort"
    return "head"


@dataclass
class FakeSite:
    """One file under a signed URL. `script` holds handlers for the first requests; the rest is served properly."""

    content: bytes
    etag: str = '"v1"'
    supports_ranges: bool = True
    script: list[RequestHandler] = field(default_factory=list)
    received: list[ServerRequest] = field(default_factory=list)

    async def handle(self, request: ServerRequest) -> None:
        self.received.append(request)
        await (self.script.pop(0) if self.script else self.serve)(request)

    async def serve(self, request: ServerRequest) -> None:
        start = self.requested_start(request)
        if start is None:
            await request.send_answer(200, self.content, ETag=self.etag)
        elif start >= len(self.content):
            await request.send_answer(416, Content_Range=f"bytes */{len(self.content)}")
        else:
            await request.send_answer(206, self.content[start:], ETag=self.etag, Content_Range=self.content_range(start))

    def requested_start(self, request: ServerRequest) -> int | None:
        """Where the range starts, as a server must see it: none if the validator is another one."""
        asked = request.headers.get("range", "")
        if not self.supports_ranges or not asked or request.headers.get("if-range", self.etag) != self.etag:
            return None
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def content_range(self, start: int) -> str:
        return f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"

    def requested_ranges(self) -> list[str]:
        """The Range header of each request so far, "" for none."""
        return [request.headers.get("range", "") for request in self.received]

    def break_after(self, count: int) -> RequestHandler:
        """Send the right headers and `count` bytes of what was asked for, then break the connection."""

        async def handle(request: ServerRequest) -> None:
            start = self.requested_start(request) or 0
            status, extra = (206, {"Content_Range": self.content_range(start)}) if start else (200, {})
            body = self.content[start:]
            await request.send_answer(status, body[:count], ETag=self.etag, Content_Length=str(len(body)), **extra)
            raise HangupError

        return handle


def always_answer(status: int, body: bytes = b"", **headers: str) -> RequestHandler:
    """A handler that always gives this answer."""

    async def handle(request: ServerRequest) -> None:
        await request.send_answer(status, body, **headers)

    return handle


async def relay_connect(request: ServerRequest) -> None:
    """A handler that is a proxy: connects, whatever the name, to that port of this machine."""
    port = int(request.target.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request.writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    try:
        await asyncio.gather(_copy_stream(request.reader, writer), _copy_stream(reader, request.writer))
    finally:
        writer.close()
    raise HangupError


async def _copy_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
