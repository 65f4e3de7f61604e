"""Decodes bodies of `Content-Encoding: aws-chunked` in constant memory, and checks the signatures of chunks and trailer.

Source: "Transferring Payload in Multiple Chunks" in the S3 API reference.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Final

from synthdub_tui.sandbox.s3_errors import S3Error

_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_LINE: Final = 16 * 1024


class Decoder:
    """Decodes the pieces of a body given to `feed`; after the last piece `done` is true and `trailers` is complete.

    `sign` signs a string with the request's key; None for unsigned chunks. The request's `timestamp`, `scope` and `signature`
    start the chain of chunk signatures.
    """

    def __init__(self, sign: Callable[[str], str] | None, timestamp: str, scope: str, signature: str) -> None:
        self._sign = sign
        self._prefix = f"{timestamp}\n{scope}\n"
        self._previous = signature
        self._held = bytearray()
        self._left = 0  # bytes of the current chunk still to come
        self._hash = hashlib.sha256()
        self._expected = ""
        self._state = self._size_line
        self._trailer_lines: list[str] = []
        self.trailers: dict[str, str] = {}
        self.done = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode the next bytes of the body. Raises S3Error if the form or a signature is wrong."""
        self._held += data
        while not self.done:
            piece = self._state()
            if piece is None:
                return
            if piece:
                yield piece

    def _line(self) -> str | None:
        end = self._held.find(b"\r\n")
        if end < 0:
            if len(self._held) > _LINE:
                raise _malformed()
            return None
        line = self._held[:end].decode("latin-1")
        del self._held[: end + 2]
        return line

    def _size_line(self) -> bytes | None:
        line = self._line()
        if line is None:
            return None
        size, _, extension = line.partition(";")
        try:
            self._left = int(size, 16)
        except ValueError as error:
            raise _malformed() from error
        self._expected = extension.removeprefix("chunk-signature=")
        self._hash = hashlib.sha256()
        if self._left == 0:
            self._check_chunk()
            self._state = self._trailer_line
        else:
            self._state = self._data
        return b""

    def _data(self) -> bytes | None:
        if not self._held:
            return None
        piece = bytes(self._held[: self._left])
        del self._held[: len(piece)]
        self._left -= len(piece)
        if self._sign is not None:
            self._hash.update(piece)
        if self._left == 0:
            self._check_chunk()
            self._state = self._data_end
        return piece

    def _data_end(self) -> bytes | None:
        line = self._line()
        if line is None:
            return None
        if line:
            raise _malformed()
        self._state = self._size_line
        return b""

    def _trailer_line(self) -> bytes | None:
        line = self._line()
        if line is None:
            return None
        if line == "":
            self.done = True
            return b""
        name, _, value = line.partition(":")
        if name.lower() == "x-amz-trailer-signature":
            text = "".join(f"{each}\n" for each in self._trailer_lines)
            digest = hashlib.sha256(text.encode()).hexdigest()
            self._check("AWS4-HMAC-SHA256-TRAILER", digest, value.strip())
        else:
            self.trailers[name.lower()] = value.strip()
            self._trailer_lines.append(f"{name.lower()}:{value.strip()}")
        return b""

    def _check_chunk(self) -> None:
        self._check("AWS4-HMAC-SHA256-PAYLOAD", f"{_EMPTY}\n{self._hash.hexdigest()}", self._expected)

    def _check(self, algorithm: str, digests: str, theirs: str) -> None:
        if self._sign is None:
            return
        ours = self._sign(f"{algorithm}\n{self._prefix}{self._previous}\n{digests}")
        if not hmac.compare_digest(ours, theirs):
            raise S3Error("SignatureDoesNotMatch", "A chunk's signature does not match the signature you provided.")
        self._previous = ours


def _malformed() -> S3Error:
    return S3Error("IncompleteBody", "The request body terminated unexpectedly")
