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
from synthdub_tui.errors import Trouble
from synthdub_tui.transfer.body_decoders import CODINGS, Chunked, Sized, Unpacked
from synthdub_tui.transfer.failures import Broken, reason
from synthdub_tui.transfer.part_file import Read
from synthdub_tui.transfer.url_policy import Address, check_url, host_of, is_local_name, redirected, resolve

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for connecting to an address, and for each step of the TLS handshake."""

REDIRECTS: Final = 5
MOVED: Final = frozenset({301, 302, 303, 307, 308})
PORTS: Final = {"http": 80, "https": 443}
HEADERS: Final = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": f"synthdub/{__version__}"}

EARLY: Final = 64 * 1024
"""Bytes; more than urllib3 reads ahead."""

_NUMBER: Final = re.compile(r"\d{1,18}")

_FAULTS: Final = (HTTPError, http.client.HTTPException, OSError, UnicodeError)
"""Errors of connecting, requesting and reading that the network or the server causes."""


class Answer:
    """The head of an answer and its unread body. It must be closed; any thread may do so at any time."""

    def __init__(self, response: HTTPResponse, connected: Any) -> None:
        self.status = response.status
        self._response = response
        self._socket = connected
        self._line = socket.socket(fileno=os.dup(connected.fileno()))  # beneath TLS; early, as descriptors may run out
        self._lock = threading.Lock()  # held while reading: a descriptor closed meanwhile could be reused for another file
        self._closed = False
        self._early: bytes | None = None
        self.packed = self.header("Content-Encoding").strip().lower() not in ("", "identity")
        """Whether the body is compressed although no compression was requested. Ranges then do not refer to the content."""
        self.length: int | None = None
        """Bytes of the content; None if the answer does not say."""
        self.definite = self.packed
        """Whether the end of the content can be distinguished from a broken connection."""
        self.fault = ""
        """Why the body cannot be read, empty if it can."""
        self._body = self._content(self._sent())

    def header(self, name: str) -> str:
        """The value of a header, "" if it is missing."""
        return str(self._response.headers.get(name, ""))

    def readinto(self, buffer: memoryview) -> int:
        """Read at least one byte of the content; return the number of bytes, 0 at the end. If the answer is not `definite`, its
        end is that of the connection. Raises Broken, also after `close`."""
        with self._lock:
            try:
                count = 0 if self._closed else self._body(buffer)
            except _FAULTS as error:
                raise Broken(reason(error)) from None
            if self._closed:  # perhaps during the read: bytes of a cut stream cannot be trusted
                raise Broken("it was closed")
            return count

    def _sent(self) -> Read:
        """The body as sent, without its transfer coding."""
        length, coding = self.header("Content-Length"), self.header("Transfer-Encoding").strip().lower()
        if coding == "chunked":
            plain = self._response._original_response
            assert plain is not None
            plain.chunked = False  # http.client would mistake a cut within a chunk's size for the end
            self.definite = True
            return Chunked(self._read)
        if coding:
            self.fault = "the answer has a transfer coding that was not asked for"
        elif _NUMBER.fullmatch(length):
            self.definite = True
            self.length = None if self.packed else int(length)
            return Sized(self._read, int(length))
        return self._read

    def _content(self, sent: Read) -> Read:
        coding = self.header("Content-Encoding").strip().lower()
        if not self.packed:
            return sent
        if coding in CODINGS:
            return Unpacked(sent, coding)
        self.fault = "the answer is compressed in a way that was not asked for"
        return sent

    def _read(self, buffer: memoryview) -> int:
        if self._early is None:  # bytes that came with the head; this empties urllib3's buffer
            self._early = self._response.read1(EARLY)
        if not self._early:
            return int(self._socket.recv_into(buffer))
        piece, self._early = self._early[: len(buffer)], self._early[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Close the connection. A read in progress ends."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)  # after its own shutdown, ssl's socket would act as a plain one
        with self._lock:
            self._response.close()
            self._socket.close()
            self._line.close()


class Opener:
    """Sends GET requests to public hosts over TLS, or with `allow_local` to any host. Creating one takes some 20 ms.

    `stall`: seconds without a byte after which a connection counts as broken. Uses the environment's proxies and CA bundle.
    Connections are not kept: one that the server has closed meanwhile would look like a fault.
    """

    def __init__(self, *, allow_local: bool, stall: float) -> None:
        for name in ("urllib3.connection", "urllib3.connectionpool"):  # they log URLs, whose signatures are secret
            logging.getLogger(name).setLevel(logging.ERROR)
        self._context = httpx.create_ssl_context()  # the same certificates as for API calls
        self._allow_local = allow_local
        self._stall = stall

    def get(self, address: str, headers: dict[str, str]) -> Answer:
        """Send a GET, follow at most `REDIRECTS` redirects, and return the first other answer. Each URL is checked.

        Raises Broken, and Trouble: download_address, download_failed.
        """
        url = check_url(address, allow_local=self._allow_local)
        for _ in range(REDIRECTS + 1):
            answer = self._get(url, headers)
            if answer.status not in MOVED:
                return answer
            answer.close()
            url = redirected(url, answer.header("Location"), allow_local=self._allow_local)
        raise Trouble("download_failed", "too many redirects")

    def _get(self, url: Url, headers: dict[str, str]) -> Answer:
        try:
            connection = self._connect(url)
            try:
                return self._ask(connection, url, headers)
            except BaseException:
                connection.close()
                raise
        except _FAULTS as error:
            raise Broken(reason(error)) from None

    def _ask(self, connection: HTTPConnection, url: Url, headers: dict[str, str]) -> Answer:
        connection.timeout = self._stall
        connection.request(
            "GET",
            url.request_uri,
            headers=HEADERS | {"Host": url.netloc or ""} | headers,
            preload_content=False,
            decode_content=False,
        )
        connected = connection.sock  # `getresponse` may drop it from the connection
        return Answer(connection.getresponse(), connected)

    def _connect(self, url: Url) -> HTTPConnection:
        proxy = self._proxy(url)
        if proxy is not None:
            return _connected(self._through(proxy, url))
        failure: Exception = Broken("the name has no address")
        for address in self._addresses(url):
            try:
                return _connected(self._direct(address, url))
            except (NewConnectionError, ConnectTimeoutError) as error:
                failure = error
        raise failure

    def _addresses(self, url: Url) -> list[Address]:
        try:
            return resolve(host_of(url), _port(url), allow_local=self._allow_local)
        except (OSError, UnicodeError):
            raise Broken("the name cannot be resolved") from None

    def _direct(self, address: Address, url: Url) -> HTTPConnection:
        if url.scheme == "http":
            return HTTPConnection(str(address), _port(url), timeout=CONNECT_TIMEOUT)
        return HTTPSConnection(
            str(address), _port(url), timeout=CONNECT_TIMEOUT, ssl_context=self._context, server_hostname=host_of(url)
        )

    def _through(self, proxy: Url, url: Url) -> HTTPConnection:
        """A tunnel through the proxy, which resolves the name."""
        way: dict[str, Any] = {"proxy": proxy, "proxy_config": ProxyConfig(self._context, False, None, None)}
        host, port = host_of(proxy), _port(proxy)
        if url.scheme == "http":
            connection = HTTPConnection(host, port, timeout=CONNECT_TIMEOUT, **way)
        else:
            connection = HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT, ssl_context=self._context, **way)
        headers = make_headers(proxy_basic_auth=unquote(proxy.auth)) if proxy.auth else {}
        connection.set_tunnel(host_of(url), _port(url), headers, scheme=proxy.scheme or "http")
        return connection

    def _proxy(self, url: Url) -> Url | None:
        """The environment's proxy for the URL, if any. Raises Trouble("download_failed") if it is malformed."""
        known = getproxies()
        found = known.get(url.scheme or "") or known.get("all")
        if not found or is_local_name(host_of(url)) or proxy_bypass(url.netloc or ""):
            return None
        try:
            proxy = parse_url(found if "://" in found else f"http://{found}")
        except LocationParseError:
            raise Trouble("download_failed", "the proxy's address is malformed") from None
        if proxy.scheme not in PORTS or not proxy.host:
            raise Trouble("download_failed", "the proxy is neither an http nor an https one")
        return proxy


def _port(url: Url) -> int:
    return url.port or PORTS[url.scheme or ""]


def _connected(connection: HTTPConnection) -> HTTPConnection:
    try:
        connection.connect()
    except BaseException:
        connection.close()
        raise
    return connection
