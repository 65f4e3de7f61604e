"""The five calls to the service. Each is sent once; the runner decides what to repeat.

The class of an error says what is known about the request, see `errors.py`; `answers.py` derives it from an answer. If no
status arrives, a write counts as not sent only if httpx failed before it had a connection (`ConnectError`, `ConnectTimeout`,
`PoolTimeout`, `ProxyError`, `UnsupportedProtocol`); every other failure of a write is `Unclear`.

Writes never reuse a connection, because the server may close an idle one while a request is on its way. httpcore (1.0) checks
an idle socket for a close before it reuses it, which leaves that race open. After a failed write it hides the error and
reports the result of reading ("Server disconnected without sending a response"), the same as for a request that did arrive.
On a new connection only real failures are ambiguous. Reads are free, so they keep connections alive.

Each request carries the key in a header, and goes to the base URL's origin only: no redirects, no netrc. No error, repr or log
line contains the key. Proxies of the environment are used, except for a base URL on this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import httpx

from synthdub_tui import __version__
from synthdub_tui.errors import Trouble

from . import schema
from .errors import BadAnswer, KeyRejected, NotSent, Refused, Unavailable, Unclear
from .outcomes import Answer, judged, lost, rejects_key, untaken
from .rate_gate import Endpoint, Priority, Quota
from .retry_after import DEFAULT_WAIT, asked_wait
from .schema import AssetCreated, AssetInfo, LocalesAdded, ProjectInfo

__all__ = ["BeforeSend", "CallRecord", "Client", "KeyRejected", "NotSent", "Refused", "Timeouts", "Unavailable", "Unclear"]

BODY_LIMIT: Final = 4 * 1024 * 1024
"""Largest answer in bytes, after decompression. 158 languages with five signed URLs each take about 1.5 MB."""

BeforeSend = Callable[[], Awaitable[None]]

_KEY = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)

_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

Read = TypeVar("Read")


@dataclass(frozen=True)
class Timeouts:
    """Seconds. `read` and `write` limit each step of a read or write; the totals limit the whole call, also a trickling one."""

    connect: float = 10.0
    read: float = 30.0
    write: float = 60.0
    read_total: float = 120.0
    write_total: float = 180.0


@dataclass(frozen=True)
class CallRecord:
    """A finished call, for logs and displays. `status` is 0 if none arrived; `size` is the request body's, in bytes."""

    endpoint: Endpoint
    status: int
    seconds: float
    size: int


@dataclass(frozen=True)
class _Call:
    endpoint: Endpoint
    method: str
    path: str
    body: bytes = b""
    before_send: BeforeSend | None = None


class Client:
    """The service with one key. Calls go one at a time until an answer proves the key good.

    A wrong key therefore takes one request, no matter how many jobs wait. After a rejection every call raises KeyRejected
    without being sent, until `reset_key`. Raises Trouble("url_invalid") for a base URL that is neither https nor on this
    machine, or has a user name, a query or a fragment.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        quota: Quota,
        *,
        on_call: Callable[[CallRecord], None] | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._base = _checked_base(base_url)
        self._quota = quota
        self._on_call = on_call
        self._timeouts = timeouts or Timeouts()
        self._first_call = asyncio.Lock()
        self._key_settled = asyncio.Event()
        self._reader, self._writer = _http_clients(self._base, self._timeouts)
        self.reset_key(key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._base}>"

    @property
    def has_key(self) -> bool:
        """Whether a key is set, good or not."""
        return bool(self._key)

    def reset_key(self, key: str) -> None:
        """Uses another key from the next call on. Whether that key is good is not yet known."""
        self._key = key.strip()
        self._key_good = False
        self._rejection: tuple[str, str] | None = None
        self._key_settled.clear()
        if not self._key:
            self._rejection = ("no_key", "")
        elif not _KEY.fullmatch(self._key):
            self._rejection = ("key_rejected", "it holds characters that no key has")

    async def close(self) -> None:
        """Closes all connections."""
        await self._reader.aclose()
        await self._writer.aclose()

    # -- the calls -----------------------------------------------------------------------------------------------------
    # Reads raise KeyRejected, Refused or Unavailable; writes KeyRejected, AccountRefused, Refused, NotSent or Unclear.

    async def create_asset(self, *, title: str, content_type: str, size: int) -> AssetCreated:
        """POST /v2/assets: creates an asset, to which `size` bytes can be uploaded. Free; may be repeated after Unclear."""
        body = schema.asset_request(title=title, content_type=content_type, size=size)
        call = _Call(Endpoint.CREATE_ASSET, "POST", "/v2/assets", body)
        answer = await self._exchange(call, Priority.SUBMISSION)
        return _understood(call, answer, schema.read_asset_created)

    async def get_asset(self, asset: str, *, priority: Priority = Priority.SUBMISSION) -> AssetInfo:
        """GET /v2/assets/{id}."""
        call = _Call(Endpoint.GET_ASSET, "GET", _path("/v2/assets", asset))
        return _understood(call, await self._exchange(call, priority), schema.read_asset)

    async def create_dubbing(
        self,
        *,
        title: str,
        asset: str,
        source_language: str,
        targets: Sequence[str],
        lipsync: bool,
        video_duration: str,
        visibility: str,
        before_send: BeforeSend | None = None,
    ) -> str:
        """POST /v2/dubbing: uses credits. Returns the project's id.

        `before_send` is awaited right before the request is sent, once key and quota allow it, so that the caller can record
        the intent. If it raises, the error is passed on and nothing is sent.
        """
        body = schema.dubbing_request(
            title=title,
            asset=asset,
            source_language=source_language,
            targets=targets,
            lipsync=lipsync,
            video_duration=video_duration,
            visibility=visibility,
        )
        call = _Call(Endpoint.CREATE_DUBBING, "POST", "/v2/dubbing", body, before_send)
        answer = await self._exchange(call, Priority.SUBMISSION)
        return _understood(call, answer, schema.read_project_id)

    async def get_project(self, project: str, *, priority: Priority = Priority.POLL) -> ProjectInfo:
        """GET /v2/dubbing/{id}. Always asks for all languages, because guide and reference disagree on how to filter."""
        call = _Call(Endpoint.GET_DUBBING, "GET", _path("/v2/dubbing", project))
        return _understood(call, await self._exchange(call, priority), schema.read_project)

    async def add_locales(
        self,
        project: str,
        *,
        targets: Sequence[str],
        lipsync: bool,
        video_duration: str,
        visibility: str,
        before_send: BeforeSend | None = None,
    ) -> LocalesAdded:
        """PUT /v2/dubbing/{id}: uses credits for each language new to the project. `before_send`: see `create_dubbing`."""
        body = schema.locales_request(targets=targets, lipsync=lipsync, video_duration=video_duration, visibility=visibility)
        call = _Call(Endpoint.ADD_LOCALES, "PUT", _path("/v2/dubbing", project), body, before_send)
        answer = await self._exchange(call, Priority.SUBMISSION)
        if answer.status == 204:
            return LocalesAdded(nothing_new=True)
        return _understood(call, answer, schema.read_locales_added)

    # -- gates ---------------------------------------------------------------------------------------------------------

    async def _exchange(self, call: _Call, priority: Priority) -> Answer:
        """Sends a call once key and quota allow it. Returns a 2xx answer; raises for any other."""
        while not self._key_good:
            async with self._first_call:
                self._check_key()
                if not self._key_good and (at := self._quota.try_acquire(call.endpoint)) is not None:
                    return await self._ask(call, at)
            if not self._key_good:
                # No slot is free. Leave the lock to calls of other endpoints until there is a slot or the key is settled.
                # (Not asyncio.wait_for: before Python 3.12 it loses a cancellation that coincides with the event.)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.05, self._quota.next_free(call.endpoint))):
                        await self._key_settled.wait()
        at = await self._quota.acquire(call.endpoint, priority)
        self._check_key()
        return await self._ask(call, at)

    def _check_key(self) -> None:
        if self._rejection is not None:
            raise KeyRejected(*self._rejection)

    def _note_key(self, answer: Answer) -> None:
        """Marks the key as good if the answer proves it. A rate limit, or an answer that may be a proxy's, proves nothing."""
        unproven = answer.status >= 500 or 300 <= answer.status < 400 or answer.status in {403, 407, 408, 425, 429}
        if not unproven and not answer.html:
            self._key_good = True
            self._key_settled.set()

    def _reject_key(self, detail: str) -> None:
        """Marks the key as bad and fails all waiting calls."""
        self._rejection = ("key_rejected", detail)
        self._key_good = False
        self._key_settled.set()
        self._quota.dismiss(lambda: KeyRejected("key_rejected", detail))

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _ask(self, call: _Call, at: float) -> Answer:
        """Sends a call in the slot taken at `at`. Returns a 2xx answer; raises for any other."""
        if call.before_send is not None:
            try:
                await call.before_send()
            except BaseException:  # a request that is not sent uses no slot
                self._quota.never_arrived(call.endpoint, at)
                raise
            self._check_key()  # meanwhile another call may have found the key to be bad
        key = self._key
        answer = await self._send(call, key, at)
        said = schema.read_error(b"" if answer.ok else answer.body.replace(key.encode(), b"***"))
        if key == self._key:  # if it was replaced meanwhile, the answer says nothing about the new key
            if rejects_key(call.endpoint, answer, said):
                self._reject_key(said.words)
            else:
                self._note_key(answer)
        if answer.ok:
            return answer
        if answer.status == 429:
            self._quota.pause(call.endpoint, asked_wait(answer.headers) or DEFAULT_WAIT)
        raise judged(call.endpoint, answer, said)

    async def _send(self, call: _Call, key: str, at: float) -> Answer:
        """Sends one request and returns its answer. Raises NotSent, Unclear or Unavailable if no status arrived."""
        write = call.endpoint.write
        client = self._writer if write else self._reader
        headers = {"Authorization": key} | ({"Content-Type": "application/json"} if call.body else {})
        request = client.build_request(call.method, self._base + call.path, headers=headers, content=call.body or None)
        started, status = time.perf_counter(), 0
        try:
            async with asyncio.timeout(self._timeouts.write_total if write else self._timeouts.read_total):
                response = await client.send(request, stream=True)
                status = response.status_code
                try:
                    return await _received(response)
                finally:
                    await response.aclose()
        except _NEVER_SENT as error:
            self._quota.never_arrived(call.endpoint, at)
            raise untaken(call.endpoint, "service_unreachable", _said(error)) from error
        except (httpx.HTTPError, OSError) as error:  # asyncio's TimeoutError is an OSError
            raise lost(call.endpoint, "service_unreachable", _said(error)) from error
        finally:
            if self._on_call is not None:
                self._on_call(CallRecord(call.endpoint, status, time.perf_counter() - started, len(call.body)))


# -- answers -----------------------------------------------------------------------------------------------------------


def _understood(call: _Call, answer: Answer, read: Callable[[object], Read]) -> Read:
    """Returns the content of a 2xx answer. If it cannot be read, raises Unavailable for a read and Unclear for a write."""
    if answer.broken is not None:
        raise lost(call.endpoint, *answer.broken)
    try:
        return read(schema.decode(answer.body))
    except BadAnswer as error:
        raise lost(call.endpoint, "service_down" if answer.html else error.code, error.detail) from error


def _said(error: Exception) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "no answer in time"
    return schema.words(str(error)) or type(error).__name__


# -- bytes -------------------------------------------------------------------------------------------------------------


async def _received(response: httpx.Response) -> Answer:
    """Reads the whole answer. If its body is cut off or unusable, status and headers still count."""
    try:
        return Answer(response.status_code, response.headers, await _body(response))
    except BadAnswer as error:
        broken = (error.code, error.detail)
    except (httpx.HTTPError, OSError) as error:
        broken = ("service_unreachable", _said(error))
    return Answer(response.status_code, response.headers, broken=broken)


async def _body(response: httpx.Response) -> bytes:
    """Returns the decompressed body. Raises BadAnswer if it exceeds `BODY_LIMIT` or does not match its encoding.

    httpx would decompress a whole chunk at once, a thousandfold in the worst case; here the limit holds during decompression.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "x-gzip", "deflate"}:
        raise BadAnswer(f"content encoding {schema.words(encoding)}")
    unpacker = None if encoding in {"identity", ""} else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk if unpacker is None else _unpacked(unpacker, chunk, BODY_LIMIT + 1 - len(body))
        if len(body) > BODY_LIMIT:
            raise BadAnswer(f"longer than {BODY_LIMIT} bytes")
    if unpacker is not None and body and not unpacker.eof:
        raise BadAnswer("compressed body breaks off")
    return bytes(body)


def _unpacked(unpacker: zlib._Decompress, chunk: bytes, limit: int) -> bytes:
    try:
        return unpacker.decompress(chunk, limit)
    except zlib.error as error:
        raise BadAnswer("compressed body is damaged") from error


# -- addresses and connections -----------------------------------------------------------------------------------------


def _path(folder: str, identifier: str) -> str:
    """Returns the path of a resource. A valid id needs no percent-encoding; an invalid one raises Refused."""
    if not schema.is_id(identifier):
        raise Refused("request_refused", f"not an id: {schema.words(identifier)}")
    return f"{folder}/{identifier}"


def _checked_base(base_url: str) -> str:
    """Returns the base URL without a slash at its end. Raises Trouble("url_invalid"), whose detail never has a password."""
    try:
        url = httpx.URL(base_url.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise Trouble("url_invalid", "it cannot be read") from error
    if url.userinfo or url.query or url.fragment:
        raise Trouble("url_invalid", "user name, password, query and fragment have no place in it")
    if not url.host or not (url.scheme == "https" or (url.scheme == "http" and _here(url.host))):
        raise Trouble("url_invalid", schema.words(str(url)))
    return str(url).rstrip("/")


def _here(host: str) -> bool:
    """Whether a host is this machine, so that plain HTTP does not reveal the key."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _http_clients(base: str, timeouts: Timeouts) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
    """Returns a client for reads and one for writes, which opens a connection for each call (see the module's docstring)."""
    # Loading certificates takes 15 to 50 ms, so both share a context. Plain HTTP needs none: an empty context trusts no one.
    context = httpx.create_ssl_context() if base.startswith("https") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    common = {"Accept": "application/json", "User-Agent": f"synthdub-tui/{__version__}"}

    def client(headers: dict[str, str], read: float, limits: httpx.Limits) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers=common | headers,
            timeout=httpx.Timeout(read, connect=timeouts.connect, pool=None),
            limits=limits,
            verify=context,
            trust_env=not _here(httpx.URL(base).host),
            follow_redirects=False,
        )

    reader = client({"Accept-Encoding": "gzip"}, timeouts.read, httpx.Limits(max_keepalive_connections=8, keepalive_expiry=20))
    closing = {"Accept-Encoding": "identity", "Connection": "close"}
    return reader, client(closing, timeouts.write, httpx.Limits(max_keepalive_connections=0))
