"""Writes the body of an upload to a file in constant memory, and checks it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from synthdub_tui.sandbox.awschunked import Decoder
from synthdub_tui.sandbox.checksums import CHECKSUMS, Checksum
from synthdub_tui.sandbox.http_server import Request
from synthdub_tui.sandbox.s3_errors import S3Error
from synthdub_tui.sandbox.sigv4 import Signed

MAX_BODY_BYTES: Final = 5 * 1024**3
_PREFIX: Final = "x-amz-checksum-"
_DECLARATIONS: Final = (_PREFIX + "algorithm", _PREFIX + "type", _PREFIX + "mode")


@dataclass(frozen=True)
class ReceivedBody:
    """A body on disk. `checksums` contains the verified ones by header name, in base64."""

    size: int
    md5: str  # hexadecimal
    checksums: dict[str, str]


async def receive(request: Request, signed: Signed, path: Path) -> ReceivedBody:
    """Write the body to `path`. If it does not match the headers, removes the file and raises S3Error."""
    body = _Body(request, signed)
    received: ReceivedBody | None = None
    try:
        with _open(path) as file:
            async for data in body.pieces():
                file.write(data)
        received = body.check_complete()
    finally:
        if received is None:
            _discard(path)
    return received


def _discard(path: Path) -> None:
    path.unlink(missing_ok=True)


def _open(path: Path) -> BinaryIO:
    return path.open("wb")


class _Body:
    """One body: its encoding, and the sums computed while it arrives."""

    def __init__(self, request: Request, signed: Signed) -> None:
        self._request = request
        headers = request.headers
        self._payload = headers.get("x-amz-content-sha256", "")
        self._decoder = _decoder(self._payload, signed)
        self._announced = _announced_size(request, self._decoder is not None)
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._trailer = headers.get("x-amz-trailer", "").lower() if self._decoder else ""
        self._given = {n: v for n, v in headers.items() if n.startswith(_PREFIX) and n not in _DECLARATIONS}
        names = {*self._given, *([self._trailer] if self._trailer else [])}
        self._checksums: dict[str, Checksum] = {name: _checksum(name) for name in names}

    async def pieces(self) -> AsyncIterator[bytes]:
        async for raw in self._request.chunks():
            for data in self._decoder.feed(raw) if self._decoder else (raw,):
                self._pass(data)
                yield data

    def _pass(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_BODY_BYTES:
            raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
        self._md5.update(data)
        if self._decoder is None:
            self._sha256.update(data)
        for checksum in self._checksums.values():
            checksum.update(data)

    def check_complete(self) -> ReceivedBody:
        if (self._decoder and not self._decoder.done) or self._size != self._announced:
            raise S3Error("IncompleteBody", "You did not provide the number of bytes specified")
        if len(self._payload) == 64 and not hmac.compare_digest(self._sha256.hexdigest(), self._payload):
            raise S3Error("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match.")
        self._check_md5()
        found = {n: base64.b64encode(c.digest()).decode() for n, c in self._checksums.items()}
        expected = dict(self._given)
        if self._trailer and self._decoder:
            expected[self._trailer] = self._decoder.trailers.get(self._trailer, "")
        for name, value in expected.items():
            if value != found[name]:
                kind = name.removeprefix(_PREFIX).upper()
                raise S3Error("BadDigest", f"The {kind} you specified did not match the calculated checksum.")
        return ReceivedBody(self._size, self._md5.hexdigest(), found)

    def _check_md5(self) -> None:
        given = self._request.headers.get("content-md5")
        if given is None:
            return
        try:
            digest = base64.b64decode(given, validate=True)
        except binascii.Error as error:
            raise S3Error("InvalidDigest", "The Content-MD5 you specified is not valid.") from error
        if digest != self._md5.digest():
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")


def _decoder(payload: str, signed: Signed) -> Decoder | None:
    if payload == "UNSIGNED-PAYLOAD" or len(payload) == 64:
        return None
    if payload == "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
        return Decoder(None, "", "", "")
    if payload in ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"):
        return Decoder(signed.sign, signed.timestamp, signed.scope, signed.signature)
    raise S3Error("InvalidRequest", "Missing or unsupported x-amz-content-sha256.")


def _announced_size(request: Request, streaming: bool) -> int:
    text = request.headers.get("x-amz-decoded-content-length" if streaming else "content-length")
    if text is None or not text.isdecimal():
        raise S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.")
    return int(text)


def _checksum(name: str) -> Checksum:
    make = CHECKSUMS.get(name.removeprefix(_PREFIX))
    if make is None:
        raise S3Error("InvalidRequest", f"The algorithm of {name} is not supported.")
    return make()
