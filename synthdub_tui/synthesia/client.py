"""The five calls to the service. Each is sent once; the runner decides what to repeat.

The class of an error says what is known about the request, see `errors.py`; `outcomes.py` derives it from an answer. If no
status arrives, a write counts as not sent only if httpx failed before it had a connection (`ConnectError`, `ConnectTimeout`,
`PoolTimeout`, `ProxyError`, `UnsupportedProtocol`); every other failure of a write is `UnknownOutcomeError`.

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
from synthdub_tui.errors import ProblemError

from . import schema
from .errors import (
    BadResponseError,
    InvalidApiKeyError,
    NotSentError,
    RequestRejectedError,
    ServiceUnavailableError,
    UnknownOutcomeError,
)
from .outcomes import ApiResponse, error_from_response, error_of_unknown_effect, error_without_effect, rejects_key
from .rate_gate import Endpoint, Priority, RateGate
from .retry_after import DEFAULT_WAIT_SECONDS, requested_wait
from .schema import AssetCreated, AssetInfo, LocalesAdded, ProjectInfo

__all__ = [
    "BeforeSend",
    "CallRecord",
    "InvalidApiKeyError",
    "NotSentError",
    "RequestRejectedError",
    "ServiceUnavailableError",
    "SynthesiaClient",
    "Timeouts",
    "UnknownOutcomeError",
]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""Largest answer in bytes, after decompression. 158 languages with five signed URLs each take about 1.5 MB."""

BeforeSend = Callable[[], Awaitable[None]]

_KEY = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)

_NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)

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


class SynthesiaClient:
    """The service with one key. Calls go one at a time until an answer proves the key good.

    A wrong key therefore takes one request, no matter how many jobs wait. After a rejection every call raises
    InvalidApiKeyError without being sent, until `set_key`. Raises ProblemError("url_invalid") for a base URL that is neither
    https nor on this machine, or has a user name, a query or a fragment.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        rate_gate: RateGate,
        *,
        on_call: Callable[[CallRecord], None] | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._base = _check_base_url(base_url)
        self._rate_gate = rate_gate
        self._on_call = on_call
        self._timeouts = timeouts or Timeouts()
        self._first_call = asyncio.Lock()
        self._key_settled = asyncio.Event()
        self._reader, self._writer = _http_clients(self._base, self._timeouts)
        self.set_key(key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._base}>"

    @property
    def has_key(self) -> bool:
        """Whether a key is set, good or not."""
        return bool(self._key)

    def set_key(self, key: str) -> None:
        """Uses another key from the next call on. Whether that key is good is not yet known."""
        self._key = key.strip()
        self._is_key_proven = False
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
    # Reads raise InvalidApiKeyError, RequestRejectedError or ServiceUnavailableError; writes InvalidApiKeyError, AccountError,
    # RequestRejectedError, NotSentError or UnknownOutcomeError.

    async def create_asset(self, *, title: str, content_type: str, size: int) -> AssetCreated:
        """POST /v2/assets: creates an asset, to which `size` bytes can be uploaded. Free; may be repeated after Unclear."""
        body = schema.encode_asset_request(title=title, content_type=content_type, size=size)
        call = _Call(Endpoint.CREATE_ASSET, "POST", "/v2/assets", body)
        answer = await self._send_when_allowed(call, Priority.SUBMISSION)
        return _parse_response(call, answer, schema.read_asset_created)

    async def get_asset(self, asset: str, *, priority: Priority = Priority.SUBMISSION) -> AssetInfo:
        """GET /v2/assets/{id}."""
        call = _Call(Endpoint.GET_ASSET, "GET", _path("/v2/assets", asset))
        return _parse_response(call, await self._send_when_allowed(call, priority), schema.read_asset)

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
        body = schema.encode_dubbing_request(
            title=title,
            asset=asset,
            source_language=source_language,
            targets=targets,
            lipsync=lipsync,
            video_duration=video_duration,
            visibility=visibility,
        )
        call = _Call(Endpoint.CREATE_DUBBING, "POST", "/v2/dubbing", body, before_send)
        answer = await self._send_when_allowed(call, Priority.SUBMISSION)
        return _parse_response(call, answer, schema.read_project_id)

    async def get_project(self, project: str, *, priority: Priority = Priority.POLL) -> ProjectInfo:
        """GET /v2/dubbing/{id}. Always asks for all languages, because guide and reference disagree on how to filter."""
        call = _Call(Endpoint.GET_DUBBING, "GET", _path("/v2/dubbing", project))
        return _parse_response(call, await self._send_when_allowed(call, priority), schema.read_project)

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
        body = schema.encode_locales_request(
            targets=targets, lipsync=lipsync, video_duration=video_duration, visibility=visibility
        )
        call = _Call(Endpoint.ADD_LOCALES, "PUT", _path("/v2/dubbing", project), body, before_send)
        answer = await self._send_when_allowed(call, Priority.SUBMISSION)
        if answer.status == 204:
            return LocalesAdded(nothing_new=True)
        return _parse_response(call, answer, schema.read_locales_added)

    # -- gates ---------------------------------------------------------------------------------------------------------

    async def _send_when_allowed(self, call: _Call, priority: Priority) -> ApiResponse:
        """Sends a call once key and quota allow it. Returns a 2xx answer; raises for any other."""
        while not self._is_key_proven:
            async with self._first_call:
                self._check_key()
                if not self._is_key_proven and (at := self._rate_gate.try_acquire(call.endpoint)) is not None:
                    return await self._send_in_slot(call, at)
            if not self._is_key_proven:
                # No slot is free. Leave the lock to calls of other endpoints until there is a slot or the key is settled.
                # (Not asyncio.wait_for: before Python 3.12 it loses a cancellation that coincides with the event.)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.05, self._rate_gate.seconds_until_free(call.endpoint))):
                        await self._key_settled.wait()
        at = await self._rate_gate.acquire(call.endpoint, priority)
        self._check_key()
        return await self._send_in_slot(call, at)

    def _check_key(self) -> None:
        if self._rejection is not None:
            raise InvalidApiKeyError(*self._rejection)

    def _update_key_state(self, answer: ApiResponse) -> None:
        """Marks the key as good if the answer proves it. A rate limit, or an answer that may be a proxy's, proves nothing."""
        unproven = answer.status >= 500 or 300 <= answer.status < 400 or answer.status in {403, 407, 408, 425, 429}
        if not unproven and not answer.is_html:
            self._is_key_proven = True
            self._key_settled.set()

    def _reject_key(self, detail: str) -> None:
        """Marks the key as bad and fails all waiting calls."""
        self._rejection = ("key_rejected", detail)
        self._is_key_proven = False
        self._key_settled.set()
        self._rate_gate.fail_waiting_calls(lambda: InvalidApiKeyError("key_rejected", detail))

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send_in_slot(self, call: _Call, at: float) -> ApiResponse:
        """Sends a call in the slot taken at `at`. Returns a 2xx answer; raises for any other."""
        if call.before_send is not None:
            try:
                await call.before_send()
            except BaseException:  # a request that is not sent uses no slot
                self._rate_gate.undo_arrival(call.endpoint, at)
                raise
            self._check_key()  # meanwhile another call may have found the key to be bad
        key = self._key
        answer = await self._send(call, key, at)
        said = schema.read_error(b"" if answer.is_success else answer.body.replace(key.encode(), b"***"))
        if key == self._key:  # if it was replaced meanwhile, the answer says nothing about the new key
            if rejects_key(call.endpoint, answer, said):
                self._reject_key(said.message)
            else:
                self._update_key_state(answer)
        if answer.is_success:
            return answer
        if answer.status == 429:
            self._rate_gate.pause(call.endpoint, requested_wait(answer.headers) or DEFAULT_WAIT_SECONDS)
        raise error_from_response(call.endpoint, answer, said)

    async def _send(self, call: _Call, key: str, at: float) -> ApiResponse:
        """Sends one request and returns its answer. Raises NotSentError, UnknownOutcomeError or ServiceUnavailableError if no
        status arrived."""
        write = call.endpoint.is_write
        client = self._writer if write else self._reader
        headers = {"Authorization": key} | ({"Content-Type": "application/json"} if call.body else {})
        request = client.build_request(call.method, self._base + call.path, headers=headers, content=call.body or None)
        started, status = time.perf_counter(), 0
        try:
            async with asyncio.timeout(self._timeouts.write_total if write else self._timeouts.read_total):
                response = await client.send(request, stream=True)
                status = response.status_code
                try:
                    return await _read_response(response)
                finally:
                    await response.aclose()
        except _NOT_SENT_ERRORS as error:
            self._rate_gate.undo_arrival(call.endpoint, at)
            raise error_without_effect(call.endpoint, "service_unreachable", _describe_error(error)) from error
        except (httpx.HTTPError, OSError) as error:  # asyncio's TimeoutError is an OSError
            raise error_of_unknown_effect(call.endpoint, "service_unreachable", _describe_error(error)) from error
        finally:
            if self._on_call is not None:
                self._on_call(CallRecord(call.endpoint, status, time.perf_counter() - started, len(call.body)))


# -- answers -----------------------------------------------------------------------------------------------------------


def _parse_response(call: _Call, answer: ApiResponse, parse: Callable[[object], Read]) -> Read:
    """Returns the content of a 2xx answer. If it cannot be read, raises ServiceUnavailableError for a read and
    UnknownOutcomeError for a write."""
    if answer.body_error is not None:
        raise error_of_unknown_effect(call.endpoint, *answer.body_error)
    try:
        return parse(schema.decode(answer.body))
    except BadResponseError as error:
        raise error_of_unknown_effect(call.endpoint, "service_down" if answer.is_html else error.code, error.detail) from error


def _describe_error(error: Exception) -> str:
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "no answer in time"
    return schema.clean_message(str(error)) or type(error).__name__


# -- bytes -------------------------------------------------------------------------------------------------------------


async def _read_response(response: httpx.Response) -> ApiResponse:
    """Reads the whole answer. If its body is cut off or unusable, status and headers still count."""
    try:
        return ApiResponse(response.status_code, response.headers, await _body(response))
    except BadResponseError as error:
        broken = (error.code, error.detail)
    except (httpx.HTTPError, OSError) as error:
        broken = ("service_unreachable", _describe_error(error))
    return ApiResponse(response.status_code, response.headers, body_error=broken)


async def _body(response: httpx.Response) -> bytes:
    """Returns the decompressed body. Raises BadResponseError if it exceeds `MAX_BODY_BYTES` or does not match its encoding.

    httpx would decompress a whole chunk at once, a thousandfold in the worst case; here the limit holds during decompression.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "", "gzip", "x-gzip", "deflate"}:
        raise BadResponseError(f"content encoding {schema.clean_message(encoding)}")
    unpacker = None if encoding in {"identity", ""} else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk if unpacker is None else _decompress(unpacker, chunk, MAX_BODY_BYTES + 1 - len(body))
        if len(body) > MAX_BODY_BYTES:
            raise BadResponseError(f"longer than {MAX_BODY_BYTES} bytes")
    if unpacker is not None and body and not unpacker.eof:
        raise BadResponseError("compressed body breaks off")
    return bytes(body)


def _decompress(unpacker: zlib._Decompress, chunk: bytes, limit: int) -> bytes:
    try:
        return unpacker.decompress(chunk, limit)
    except zlib.error as error:
        raise BadResponseError("compressed body is damaged") from error


# -- addresses and connections -----------------------------------------------------------------------------------------


def _path(folder: str, identifier: str) -> str:
    """Returns the path of a resource. A valid id needs no percent-encoding; an invalid one raises RequestRejectedError."""
    if not schema.is_id(identifier):
        raise RequestRejectedError("request_refused", f"not an id: {schema.clean_message(identifier)}")
    return f"{folder}/{identifier}"


def _check_base_url(base_url: str) -> str:
    """Returns the base URL without a slash at its end. Raises ProblemError("url_invalid"), whose detail never has a
    password."""
    try:
        url = httpx.URL(base_url.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise ProblemError("url_invalid", "it cannot be read") from error
    if url.userinfo or url.query or url.fragment:
        raise ProblemError("url_invalid", "user name, password, query and fragment have no place in it")
    if not url.host or not (url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.host))):
        raise ProblemError("url_invalid", schema.clean_message(str(url)))
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
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
            trust_env=not _is_loopback(httpx.URL(base).host),
            follow_redirects=False,
        )

    reader = client({"Accept-Encoding": "gzip"}, timeouts.read, httpx.Limits(max_keepalive_connections=8, keepalive_expiry=20))
    closing = {"Accept-Encoding": "identity", "Connection": "close"}
    return reader, client(closing, timeouts.write, httpx.Limits(max_keepalive_connections=0))
