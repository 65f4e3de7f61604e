"""Readers of an answer's body: by length, in chunks, decompressed.

Each reader wraps another `Read` and is one itself: it returns some bytes, and 0 only at the end. If the end is definite, a
connection that ends earlier raises Broken.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from synthdub_tui.transfer.failures import AttemptFailedError
from synthdub_tui.transfer.part_file import ReadInto

CONNECTION_CUT: Final = "the connection ended early"

MAX_CHUNK_LINE_BYTES: Final = 4096
"""Longest line between chunks, in bytes."""

READ_BUFFER_BYTES: Final = 64 * 1024
"""Bytes per read of chunk lines and compressed data, which go through a buffer of their own."""

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\n", re.DOTALL)
"""The line before a chunk, including its end: "00", cut off from "00a0", must not pass as the last chunk."""

ZLIB_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Supported content codings, each with zlib's `wbits`."""


class FixedLengthBody:
    """A body of `length` bytes."""

    def __init__(self, read: ReadInto, length: int) -> None:
        self._read = read
        self._left = length

    def __call__(self, buffer: memoryview) -> int:
        """Read as `Read` does. Raises Broken."""
        if not self._left:
            return 0
        count = self._read(buffer[: self._left])
        if not count:
            raise AttemptFailedError(CONNECTION_CUT)
        self._left -= count
        return count


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1). The last chunk, which is empty, ends it even if the connection stays open."""

    def __init__(self, read: ReadInto) -> None:
        self._read = read
        self._read_ahead = b""  # read ahead for a line, not used yet
        self._left = 0  # bytes of the current chunk
        self._pending_line_end = b""  # the line end after the previous chunk
        self._has_ended = False

    def __call__(self, buffer: memoryview) -> int:
        """Read as `Read` does. Raises Broken, also if the chunks are malformed."""
        if not self._left and not self._has_ended:
            self._next_chunk()
        if self._has_ended:
            return 0
        count = self._take(buffer[: self._left])
        if not count:
            raise AttemptFailedError(CONNECTION_CUT)
        self._left -= count
        return count

    def _next_chunk(self) -> None:
        if self._pending_line_end and self._read_line() not in (b"\r\n", b"\n"):
            raise AttemptFailedError("a chunk is longer than it says")
        match = _CHUNK.fullmatch(self._read_line())
        if match is None:
            raise AttemptFailedError("the chunks of the answer make no sense")
        self._pending_line_end = b"\r\n"
        self._left = int(match[1], 16)
        self._has_ended = not self._left

    def _take(self, buffer: memoryview) -> int:
        if not self._read_ahead:
            return self._read(buffer)
        piece, self._read_ahead = self._read_ahead[: len(buffer)], self._read_ahead[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _read_line(self) -> bytes:
        room = memoryview(bytearray(READ_BUFFER_BYTES))
        while b"\n" not in self._read_ahead[:MAX_CHUNK_LINE_BYTES]:
            if len(self._read_ahead) >= MAX_CHUNK_LINE_BYTES:
                raise AttemptFailedError("the chunks of the answer make no sense")
            if not (count := self._read(room)):
                raise AttemptFailedError(CONNECTION_CUT)
            self._read_ahead += bytes(room[:count])
        line, end, self._read_ahead = self._read_ahead.partition(b"\n")
        return line + end


class DecompressedBody:
    """The content of a compressed body. Its end is definite; each read decompresses no more than the buffer takes."""

    def __init__(self, read: ReadInto, coding: str) -> None:
        self._read = read
        self._window = ZLIB_WINDOW_BITS[coding]
        self._inflate = zlib.decompressobj(self._window)
        self._compressed = b""
        self._has_begun = False
        self._buffer = memoryview(bytearray(READ_BUFFER_BYTES))

    def __call__(self, buffer: memoryview) -> int:
        """Read as `Read` does. Raises Broken, also if the data cannot be decompressed."""
        while not self._inflate.eof or self._next_member():
            last = not self._compressed and not self._fill()
            if data := self._unpack(len(buffer)):
                buffer[: len(data)] = data
                return len(data)
            if last and not self._inflate.eof:
                raise AttemptFailedError(CONNECTION_CUT)
        return 0

    def _fill(self) -> bool:
        count = self._read(self._buffer)
        self._compressed = bytes(self._buffer[:count])
        return count > 0

    def _next_member(self) -> bool:
        """Start the next of several compressed members, which may be padded with zeros; False if there is none."""
        self._compressed = self._inflate.unused_data.lstrip(b"\0")
        while not self._compressed and self._fill():
            self._compressed = self._compressed.lstrip(b"\0")
        if self._compressed:
            self._inflate = zlib.decompressobj(self._window)
        return bool(self._compressed)

    def _unpack(self, most: int) -> bytes:
        try:
            data = self._inflate.decompress(self._compressed, most)
        except zlib.error:
            if self._has_begun or self._window != zlib.MAX_WBITS:
                raise AttemptFailedError("the compressed answer is damaged") from None
            self._window = -zlib.MAX_WBITS  # some servers send raw deflate, without zlib's header, as "deflate"
            self._inflate = zlib.decompressobj(self._window)
            return self._unpack(most)
        self._has_begun = True
        self._compressed = self._inflate.unconsumed_tail
        return data
