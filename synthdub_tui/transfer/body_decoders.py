"""Readers of an answer's body: by length, in chunks, decompressed.

Each reader wraps another `Read` and is one itself: it returns some bytes, and 0 only at the end. If the end is definite, a
connection that ends earlier raises Broken.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from synthdub_tui.transfer.failures import Broken
from synthdub_tui.transfer.part_file import Read

CUT: Final = "the connection ended early"

LINE: Final = 4096
"""Longest line between chunks, in bytes."""

AT_ONCE: Final = 64 * 1024
"""Bytes per read of chunk lines and compressed data, which go through a buffer of their own."""

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\n", re.DOTALL)
"""The line before a chunk, including its end: "00", cut off from "00a0", must not pass as the last chunk."""

CODINGS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Supported content codings, each with zlib's `wbits`."""


class Sized:
    """A body of `length` bytes."""

    def __init__(self, read: Read, length: int) -> None:
        self._read = read
        self._left = length

    def __call__(self, buffer: memoryview) -> int:
        """Read as `Read` does. Raises Broken."""
        if not self._left:
            return 0
        count = self._read(buffer[: self._left])
        if not count:
            raise Broken(CUT)
        self._left -= count
        return count


class Chunked:
    """A body in chunks (RFC 9112, 7.1). The last chunk, which is empty, ends it even if the connection stays open."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._held = b""  # read ahead for a line, not used yet
        self._left = 0  # bytes of the current chunk
        self._between = b""  # the line end after the previous chunk
        self._over = False

    def __call__(self, buffer: memoryview) -> int:
        """Read as `Read` does. Raises Broken, also if the chunks are malformed."""
        if not self._left and not self._over:
            self._next_chunk()
        if self._over:
            return 0
        count = self._take(buffer[: self._left])
        if not count:
            raise Broken(CUT)
        self._left -= count
        return count

    def _next_chunk(self) -> None:
        if self._between and self._line() not in (b"\r\n", b"\n"):
            raise Broken("a chunk is longer than it says")
        match = _CHUNK.fullmatch(self._line())
        if match is None:
            raise Broken("the chunks of the answer make no sense")
        self._between = b"\r\n"
        self._left = int(match[1], 16)
        self._over = not self._left

    def _take(self, buffer: memoryview) -> int:
        if not self._held:
            return self._read(buffer)
        piece, self._held = self._held[: len(buffer)], self._held[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _line(self) -> bytes:
        room = memoryview(bytearray(AT_ONCE))
        while b"\n" not in self._held[:LINE]:
            if len(self._held) >= LINE:
                raise Broken("the chunks of the answer make no sense")
            if not (count := self._read(room)):
                raise Broken(CUT)
            self._held += bytes(room[:count])
        line, end, self._held = self._held.partition(b"\n")
        return line + end


class Unpacked:
    """The content of a compressed body. Its end is definite; each read decompresses no more than the buffer takes."""

    def __init__(self, read: Read, coding: str) -> None:
        self._read = read
        self._window = CODINGS[coding]
        self._inflate = zlib.decompressobj(self._window)
        self._packed = b""
        self._begun = False
        self._room = memoryview(bytearray(AT_ONCE))

    def __call__(self, buffer: memoryview) -> int:
        """Read as `Read` does. Raises Broken, also if the data cannot be decompressed."""
        while not self._inflate.eof or self._next_member():
            last = not self._packed and not self._fill()
            if data := self._unpack(len(buffer)):
                buffer[: len(data)] = data
                return len(data)
            if last and not self._inflate.eof:
                raise Broken(CUT)
        return 0

    def _fill(self) -> bool:
        count = self._read(self._room)
        self._packed = bytes(self._room[:count])
        return count > 0

    def _next_member(self) -> bool:
        """Start the next of several compressed members, which may be padded with zeros; False if there is none."""
        self._packed = self._inflate.unused_data.lstrip(b"\0")
        while not self._packed and self._fill():
            self._packed = self._packed.lstrip(b"\0")
        if self._packed:
            self._inflate = zlib.decompressobj(self._window)
        return bool(self._packed)

    def _unpack(self, most: int) -> bytes:
        try:
            data = self._inflate.decompress(self._packed, most)
        except zlib.error:
            if self._begun or self._window != zlib.MAX_WBITS:
                raise Broken("the compressed answer is damaged") from None
            self._window = -zlib.MAX_WBITS  # some servers send raw deflate, without zlib's header, as "deflate"
            self._inflate = zlib.decompressobj(self._window)
            return self._unpack(most)
        self._begun = True
        self._packed = self._inflate.unconsumed_tail
        return data
