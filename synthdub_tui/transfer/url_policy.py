"""Checks which URLs a download may use.

A signed URL comes from outside. If the API is public, the URL must be https, and neither it nor a redirect may lead to this
machine or its network. A name is resolved once, and the checked addresses are the ones connected to, so that a name server
cannot answer the check with one address and the connection with another. Behind a proxy only the proxy resolves names; there,
only the URL is checked.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from synthdub_tui.errors import ProblemError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, allow_local: bool) -> Url:
    """Check and parse a URL. Raises ProblemError("download_address"), whose text contains no part of the URL."""
    try:
        parsed = parse_url(url)
    except LocationParseError:
        raise ProblemError("download_address", "it is malformed") from None
    if parsed.scheme != "https" and not (allow_local and parsed.scheme == "http"):
        raise ProblemError("download_address", "it is not https")
    if not parsed.host:
        raise ProblemError("download_address", "it names no host")
    if parsed.auth is not None:
        raise ProblemError("download_address", "it holds a user name or password")
    if not allow_local and is_local_name(host_of(parsed)):
        raise ProblemError("download_address", "it is inside this machine or network")
    return parsed


def check_redirect(url: Url, location: str, *, allow_local: bool) -> Url:
    """The target of a redirect, checked as by `check_url`. Raises ProblemError: download_failed, download_address."""
    if not location:
        raise ProblemError("download_failed", "a redirect without a target")
    try:
        target = urljoin(url.url, location)
    except ValueError:
        raise ProblemError("download_address", "it is malformed") from None
    return check_url(target, allow_local=allow_local)


def host_of(url: Url) -> str:
    """The host's name or address, without the brackets of IPv6."""
    return (url.host or "").strip("[]")


def is_local_name(host: str) -> bool:
    """Whether a host's name alone, without resolving it, shows that it is this machine or in its network."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _parse_address(name)
    return address is not None and not is_public_address(address)


def _parse_address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))  # also 127.1, 0x7f000001, 2130706433
    except OSError:
        return None


def is_public_address(address: Address) -> bool:
    """Whether the address means the same host everywhere: not loopback, private, link-local, reserved or multicast."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    real = mapped or address
    return real.is_global and not real.is_multicast


def resolve_host(host: str, port: int, *, allow_local: bool) -> list[Address]:
    """The addresses of a host, IPv4 first: if IPv6 is broken, trying it first costs a timeout. Blocking.

    Raises OSError, UnicodeError, and ProblemError("download_address") if an address is not public and `allow_local` is not set.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(entry[4][0]) for entry in found)
    addresses = sorted(map(ipaddress.ip_address, texts), key=lambda address: address.version)
    if not allow_local and not all(map(is_public_address, addresses)):
        raise ProblemError("download_address", "its name leads inside this machine or network")
    return addresses
