"""Which addresses a download may go to (design rule 7), and an HTTP client that keeps to them.

A signed URL comes from outside. From a public API it must be https, and neither it nor a redirect may lead to this machine or
its network. Names are judged by the addresses that are then connected to, so that a name server cannot answer the check with
one address and the connection with another. Behind a proxy only the proxy resolves names; there, just the URL is judged.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore
import httpx

from synthdub_tui import __version__
from synthdub_tui.problems import Trouble
from synthdub_tui.transfer.threads import DaemonPool

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

READ: Final = 1024 * 1024
"""Bytes taken from a connection at once at most; the event loop hands out no more than 256 KiB."""

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for resolving a name, and again for connecting to an address."""


def check_url(url: str | httpx.URL, *, allow_local: bool) -> httpx.URL:
    """The address, parsed. Raises Trouble("download_address"); its words never hold any of the address."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        raise Trouble("download_address", "it is malformed") from None
    if parsed.scheme != "https" and not (allow_local and parsed.scheme == "http"):
        raise Trouble("download_address", "it is not https")
    if not parsed.host:
        raise Trouble("download_address", "it names no host")
    if parsed.userinfo:
        raise Trouble("download_address", "it holds a user name or password")
    if not allow_local and _is_local_name(parsed.host):
        raise Trouble("download_address", "it is inside this machine or network")
    return parsed


def _is_local_name(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _literal(name)
    return address is not None and not is_public(address)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # also 127.1, 0x7f000001, 2130706433
    except OSError:
        return None


def is_public(address: Address) -> bool:
    """Whether anybody on the internet means the same host by it: not loopback, private, link-local, reserved or multicast."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    real = mapped or address
    return real.is_global and not real.is_multicast


async def resolve(pool: DaemonPool, host: str, port: int) -> list[Address]:
    """The addresses of a host, IPv4 first: where IPv6 is broken, trying it first costs a timeout. Raises socket.gaierror."""
    # in our own threads: those of the event loop are joined at its end, however long a name server takes
    found = await asyncio.wrap_future(pool.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
    texts = dict.fromkeys(str(entry[4][0]) for entry in found)
    return sorted(map(ipaddress.ip_address, texts), key=lambda address: address.version)


class WideStream(httpcore.AsyncNetworkStream):
    """A connection that is read in larger pieces than the 64 KiB that httpcore asks for, at less than half the cost."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - of the base class
        """As of the base class, but up to `READ` bytes."""
        return await self._inner.read(max(max_bytes, READ), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - of the base class
        """As of the base class."""
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        """As of the base class."""
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - of the base class
    ) -> httpcore.AsyncNetworkStream:
        """As of the base class."""
        return WideStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """As of the base class."""
        return self._inner.get_extra_info(info)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only, or with `allow_local` to any. Raises Trouble("download_address")."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend, pool: DaemonPool, *, allow_local: bool) -> None:
        self._inner = inner
        self._pool = pool
        self._allow_local = allow_local

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class wants it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As of the base class; the name is resolved here."""
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in await self._addresses(host, port, timeout):
            try:
                stream = await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
                return WideStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def sleep(self, seconds: float) -> None:
        """As of the base class."""
        await self._inner.sleep(seconds)

    async def _addresses(self, host: str, port: int, seconds: float | None) -> list[Address]:
        try:
            async with asyncio.timeout(seconds):
                addresses = await resolve(self._pool, host, port)
        except TimeoutError:
            raise httpcore.ConnectTimeout("resolving the name took too long") from None
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the name cannot be resolved") from None
        if not self._allow_local and not all(map(is_public, addresses)):
            raise Trouble("download_address", "its name leads inside this machine or network")
        return addresses


def guarded_client(pool: DaemonPool, *, allow_local: bool, stall: float) -> httpx.AsyncClient:
    """A client without any credentials, guarded. `stall`: seconds without a byte after which a transfer counts as broken.

    It takes some 20 ms to make. The environment's proxies and CA bundle stay honoured.
    """
    for name in ("httpx", "httpcore"):  # they log whole addresses, whose signatures are secrets
        logging.getLogger(name).setLevel(logging.WARNING)
    client = httpx.AsyncClient(
        timeout=httpx.Timeout(stall, connect=CONNECT_TIMEOUT, pool=None),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=8),
        headers={"Accept-Encoding": "identity", "User-Agent": f"synthdub/{__version__}"},
        follow_redirects=False,
    )
    # httpx has no public way to this that keeps the environment's proxies: a transport of one's own disables them
    transport = client._transport
    if not isinstance(transport, httpx.AsyncHTTPTransport) or not hasattr(transport._pool, "_network_backend"):
        raise RuntimeError("this version of httpx cannot be guarded")
    connections = transport._pool
    connections._network_backend = GuardedBackend(connections._network_backend, pool, allow_local=allow_local)
    return client
