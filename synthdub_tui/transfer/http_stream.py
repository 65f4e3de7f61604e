"""HTTP answers of a storage, whose bodies are read straight from the socket into a buffer.

urllib3, which uploads use too, connects (also through proxies), handles TLS and reads the head. Each further step between
socket and disk costs processor time: over TLS httpx needs four times as much. All calls block, so they belong in threads.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import socket
import threading
from typing import Any, Final
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpx
from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection, ProxyConfig
from urllib3.exceptions import ConnectTimeoutError, HTTPError, LocationParseError, NewConnectionError
from urllib3.util import Url, make_headers, parse_url

from synthdub_tui import __version__
from synthdub_tui.errors import ProblemError
from synthdub_tui.transfer.body_decoders import ZLIB_WINDOW_BITS, ChunkedBody, DecompressedBody, FixedLengthBody
from synthdub_tui.transfer.failures import AttemptFailedError, describe_cause
from synthdub_tui.transfer.part_file import ReadInto
from synthdub_tui.transfer.url_policy import Address, check_redirect, check_url, host_of, is_local_name, resolve_host

CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""Seconds for connecting to an address, and for each step of the TLS handshake."""

MAX_REDIRECTS: Final = 5
REDIRECT_STATUSES: Final = frozenset({301, 302, 303, 307, 308})
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
HEADERS: Final = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": f"synthdub/{__version__}"}

READ_AHEAD_BYTES: Final = 64 * 1024
"""Bytes; more than urllib3 reads ahead."""

_NUMBER: Final = re.compile(r"\d{1,18}")

_NETWORK_ERRORS: Final = (HTTPError, http.client.HTTPException, OSError, UnicodeError)
"""Errors of connecting, requesting and reading that the network or the server causes."""


class StreamingResponse:
    """The head of an answer and its unread body. It must be closed; any thread may do so at any time."""

    def __init__(self, response: HTTPResponse, connected: Any) -> None:
        self.status = response.status
        self._response = response
        self._socket = connected
        self._raw_socket = socket.socket(fileno=os.dup(connected.fileno()))  # beneath TLS; early, as descriptors may run out
        self._lock = threading.Lock()  # held while reading: a descriptor closed meanwhile could be reused for another file
        self._closed = False
        self._read_ahead: bytes | None = None
        self.is_compressed = self.header("Content-Encoding").strip().lower() not in ("", "identity")
        """Whether the body is compressed although no compression was requested. Ranges then do not refer to the content."""
        self.content_length: int | None = None
        """Bytes of the content; None if the answer does not say."""
        self.has_definite_end = self.is_compressed
        """Whether the end of the content can be distinguished from a broken connection."""
        self.body_fault = ""
        """Why the body cannot be read, empty if it can."""
        self._body = self._decoded_body(self._sent_body())

    def header(self, name: str) -> str:
        """The value of a header, "" if it is missing."""
        return str(self._response.headers.get(name, ""))

    def readinto(self, buffer: memoryview) -> int:
        """Read at least one byte of the content; return the number of bytes, 0 at the end. If the answer is not
        `has_definite_end`, its end is that of the connection. Raises Broken, also after `close`."""
        with self._lock:
            try:
                count = 0 if self._closed else self._body(buffer)
            except _NETWORK_ERRORS as error:
                raise AttemptFailedError(describe_cause(error)) from None
            if self._closed:  # perhaps during the read: bytes of a cut stream cannot be trusted
                raise AttemptFailedError("it was closed")
            return count

    def _sent_body(self) -> ReadInto:
        """The body as sent, without its transfer coding."""
        length, coding = self.header("Content-Length"), self.header("Transfer-Encoding").strip().lower()
        if coding == "chunked":
            plain = self._response._original_response
            assert plain is not None
            plain.chunked = False  # http.client would mistake a cut within a chunk's size for the end
            self.has_definite_end = True
            return ChunkedBody(self._read)
        if coding:
            self.body_fault = "the answer has a transfer coding that was not asked for"
        elif _NUMBER.fullmatch(length):
            self.has_definite_end = True
            self.content_length = None if self.is_compressed else int(length)
            return FixedLengthBody(self._read, int(length))
        return self._read

    def _decoded_body(self, sent: ReadInto) -> ReadInto:
        coding = self.header("Content-Encoding").strip().lower()
        if not self.is_compressed:
            return sent
        if coding in ZLIB_WINDOW_BITS:
            return DecompressedBody(sent, coding)
        self.body_fault = "the answer is compressed in a way that was not asked for"
        return sent

    def _read(self, buffer: memoryview) -> int:
        if self._read_ahead is None:  # bytes that came with the head; this empties urllib3's buffer
            self._read_ahead = self._response.read1(READ_AHEAD_BYTES)
        if not self._read_ahead:
            return int(self._socket.recv_into(buffer))
        piece, self._read_ahead = self._read_ahead[: len(buffer)], self._read_ahead[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Close the connection. A read in progress ends."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._raw_socket.shutdown(socket.SHUT_RDWR)  # after its own shutdown, ssl's socket would act as a plain one
        with self._lock:
            self._response.close()
            self._socket.close()
            self._raw_socket.close()


class HttpGetter:
    """Sends GET requests to public hosts over TLS, or with `allow_local` to any host. Creating one takes some 20 ms.

    `stall_seconds`: seconds without a byte after which a connection counts as broken. Uses the environment's proxies and CA
    bundle. Connections are not kept: one that the server has closed meanwhile would look like a fault.
    """

    def __init__(self, *, allow_local: bool, stall_seconds: float) -> None:
        for name in ("urllib3.connection", "urllib3.connectionpool"):  # they log URLs, whose signatures are secret
            logging.getLogger(name).setLevel(logging.ERROR)
        self._context = httpx.create_ssl_context()  # the same certificates as for API calls
        self._allow_local = allow_local
        self._stall_seconds = stall_seconds

    def get(self, address: str, headers: dict[str, str]) -> StreamingResponse:
        """Send a GET, follow at most `MAX_REDIRECTS` redirects, and return the first other answer. Each URL is checked.

        Raises Broken, and ProblemError: download_address, download_failed.
        """
        url = check_url(address, allow_local=self._allow_local)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get(url, headers)
            if answer.status not in REDIRECT_STATUSES:
                return answer
            answer.close()
            url = check_redirect(url, answer.header("Location"), allow_local=self._allow_local)
        raise ProblemError("download_failed", "too many redirects")

    def _get(self, url: Url, headers: dict[str, str]) -> StreamingResponse:
        try:
            connection = self._connect(url)
            try:
                return self._request(connection, url, headers)
            except BaseException:
                connection.close()
                raise
        except _NETWORK_ERRORS as error:
            raise AttemptFailedError(describe_cause(error)) from None

    def _request(self, connection: HTTPConnection, url: Url, headers: dict[str, str]) -> StreamingResponse:
        connection.timeout = self._stall_seconds
        connection.request(
            "GET",
            url.request_uri,
            headers=HEADERS | {"Host": url.netloc or ""} | headers,
            preload_content=False,
            decode_content=False,
        )
        connected = connection.sock  # `getresponse` may drop it from the connection
        return StreamingResponse(connection.getresponse(), connected)

    def _connect(self, url: Url) -> HTTPConnection:
        proxy = self._proxy(url)
        if proxy is not None:
            return _open_connection(self._tunnel(proxy, url))
        failure: Exception = AttemptFailedError("the name has no address")
        for address in self._addresses(url):
            try:
                return _open_connection(self._direct_connection(address, url))
            except (NewConnectionError, ConnectTimeoutError) as error:
                failure = error
        raise failure

    def _addresses(self, url: Url) -> list[Address]:
        try:
            return resolve_host(host_of(url), _port(url), allow_local=self._allow_local)
        except (OSError, UnicodeError):
            raise AttemptFailedError("the name cannot be resolved") from None

    def _direct_connection(self, address: Address, url: Url) -> HTTPConnection:
        if url.scheme == "http":
            return HTTPConnection(str(address), _port(url), timeout=CONNECT_TIMEOUT_SECONDS)
        return HTTPSConnection(
            str(address), _port(url), timeout=CONNECT_TIMEOUT_SECONDS, ssl_context=self._context, server_hostname=host_of(url)
        )

    def _tunnel(self, proxy: Url, url: Url) -> HTTPConnection:
        """A tunnel through the proxy, which resolves the name."""
        way: dict[str, Any] = {"proxy": proxy, "proxy_config": ProxyConfig(self._context, False, None, None)}
        host, port = host_of(proxy), _port(proxy)
        if url.scheme == "http":
            connection = HTTPConnection(host, port, timeout=CONNECT_TIMEOUT_SECONDS, **way)
        else:
            connection = HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT_SECONDS, ssl_context=self._context, **way)
        headers = make_headers(proxy_basic_auth=unquote(proxy.auth)) if proxy.auth else {}
        connection.set_tunnel(host_of(url), _port(url), headers, scheme=proxy.scheme or "http")
        return connection

    def _proxy(self, url: Url) -> Url | None:
        """The environment's proxy for the URL, if any. Raises ProblemError("download_failed") if it is malformed."""
        known = getproxies()
        found = known.get(url.scheme or "") or known.get("all")
        if not found or is_local_name(host_of(url)) or proxy_bypass(url.netloc or ""):
            return None
        try:
            proxy = parse_url(found if "://" in found else f"http://{found}")
        except LocationParseError:
            raise ProblemError("download_failed", "the proxy's address is malformed") from None
        if proxy.scheme not in DEFAULT_PORTS or not proxy.host:
            raise ProblemError("download_failed", "the proxy is neither an http nor an https one")
        return proxy


def _port(url: Url) -> int:
    return url.port or DEFAULT_PORTS[url.scheme or ""]


def _open_connection(connection: HTTPConnection) -> HTTPConnection:
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    return connection
