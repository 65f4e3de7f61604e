"""Where the body of an answer ends, and what it says once it is unpacked: lengths, chunks, compression.

Each of these reads from what is beneath it as `Read` does: some bytes, and 0 only at the end. One that has a definite end
raises Broken where the connection ended before.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

from synthdub_tui.transfer.part import Read
from synthdub_tui.transfer.reasons import Broken

CUT: Final = "the connection ended early"

LINE: Final = 4096
"""Bytes of a line between chunks, at most."""

AT_ONCE: Final = 64 * 1024
"""Bytes read at once where they are not what is asked for yet."""

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?\n", re.DOTALL)
"""The line before a chunk, with its end: "00" of a "00a0" that was cut off is not the last chunk."""

CODINGS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Ways of compression that can be undone, each with its `wbits` of zlib."""


class Sized:
    """A body of so many bytes."""

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
    """A body in chunks (RFC 9112, 7.1): the last, which is empty, ends it, whether or not the connection stays open."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._held = b""  # read for its lines, and not used yet
        self._left = 0  # of the present chunk
        self._between = b""  # what ends the chunk before
        self._over = False

    def __call__(self, buffer: memoryview) -> int:
        """Read as `Read` does. Raises Broken, also where the chunks make no sense."""
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
    """The content of a compressed body. Its own end is definite; what is unpacked takes no more memory than the buffer."""

    def __init__(self, read: Read, coding: str) -> None:
        self._read = read
        self._window = CODINGS[coding]
        self._inflate = zlib.decompressobj(self._window)
        self._packed = b""
        self._begun = False
        self._room = memoryview(bytearray(AT_ONCE))

    def __call__(self, buffer: memoryview) -> int:
        """Read as `Read` does. Raises Broken, also where it cannot be unpacked."""
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
        """A file may consist of several that were compressed apart; zeros may fill it up."""
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
            self._window = -zlib.MAX_WBITS  # some servers mean the bare format by "deflate"
            self._inflate = zlib.decompressobj(self._window)
            return self._unpack(most)
        self._begun = True
        self._packed = self._inflate.unconsumed_tail
        return data
