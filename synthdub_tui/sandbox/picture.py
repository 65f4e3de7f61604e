"""Draws text into small pictures, and writes them as PNG and GIF, without a library."""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 320
HEIGHT: Final = 176

_FONT: Final = {
    glyph: bytes.fromhex(columns)
    for glyph, columns in (
        line.split()
        for line in """
        - 0808080808|. 0060600000|, 0050300000|_ 4040404040|( 001c224100|) 0041221c00|& 3649552250|/ 2010080402|: 0036360000
        0 3e5149453e|1 00427f4000|2 4261514946|3 2141454b31|4 1814127f10|5 2745454539|6 3c4a494930|7 0171090503
        8 3649494936|9 064949291e|A 7e1111117e|B 7f49494936|C 3e41414122|D 7f4141221c|E 7f49494941|F 7f09090901
        G 3e4149497a|H 7f0808087f|I 00417f4100|J 2040413f01|K 7f08142241|L 7f40404040|M 7f020c027f|N 7f0408107f
        O 3e4141413e|P 7f09090906|Q 3e4151215e|R 7f09192946|S 4649494931|T 01017f0101|U 3f4040403f|V 1f2040201f
        W 3f4038403f|X 6314081463|Y 0708700807|Z 6151494543|a 2054545478|b 7f48444438|c 3844444420|d 384444487f
        e 3854545418|f 087e090102|g 0c5252523e|h 7f08040478|i 00447d4000|j 2040443d00|k 7f10284400|l 00417f4000
        m 7c04180478|n 7c08040478|o 3844444438|p 7c14141408|q 081414187c|r 7c08040408|s 4854545420|t 043f444020
        u 3c4040207c|v 1c2040201c|w 3c4030403c|x 4428102844|y 0c5050503c|z 4464544c44
        """.replace("|", "\n")
        .strip()
        .splitlines()
    )
}
"""Columns of 5×7 glyphs from left to right, lowest bit on top: the usual font of small displays."""


@dataclass(frozen=True)
class PictureCanvas:
    """Rows of 0 (ground) and 1 (ink), and the colour of the ink as Cb and Cr."""

    rows: list[bytearray]
    cb: int
    cr: int

    def write(self, text: str, x: int, y: int, scale: int) -> None:
        """Draw text in one line. Columns that do not fit are cut off; unknown characters stay blank."""
        for place, glyph in enumerate(text):
            for column, bits in enumerate(_FONT.get(glyph, b"")):
                left = x + (place * 6 + column) * scale
                if left + scale <= WIDTH:
                    self._column(left, y, bits, scale)

    def _column(self, left: int, y: int, bits: int, scale: int) -> None:
        for row in range(7 * scale):
            if bits >> (row // scale) & 1:
                self.rows[y + row][left : left + scale] = b"\1" * scale


def draw(title: str, language: str, name: str) -> PictureCanvas:
    """The picture of a dubbed video: the language code large, its name and the title below, in the language's colour."""
    hue = hashlib.sha256(language.encode()).digest()
    canvas = PictureCanvas([bytearray(WIDTH) for _ in range(HEIGHT)], 64 + hue[0] // 2, 64 + hue[1] // 2)
    canvas.write(language, 16, 32, 8)
    canvas.write(name, 16, 96, 2)
    canvas.write(title, 16, 128, 2)
    return canvas


def png(canvas: PictureCanvas) -> bytes:
    """The picture as PNG: white on grey, one bit per pixel."""
    raw = b"".join(b"\0" + _packed(row) for row in canvas.rows)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 1, 3, 0, 0, 0)
    palette = b"\x60\x60\x60\xff\xff\xff"
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(name, data) for name, data in chunks)


def gif(canvas: PictureCanvas) -> bytes:
    """The picture as GIF, without compression: codes of three bits, with a clear code before they would grow."""
    bits = _Codes()
    for row in canvas.rows:
        for start in range(0, WIDTH, 2):
            bits.add(4)  # clear
            bits.add(row[start])
            bits.add(row[start + 1])
    bits.add(5)  # end
    data = bits.bytes()
    blocks = b"".join(bytes([len(data[n : n + 255])]) + data[n : n + 255] for n in range(0, len(data), 255))
    screen = struct.pack("<HHBBB", WIDTH, HEIGHT, 0x80, 0, 0) + b"\x60\x60\x60\xff\xff\xff"
    image = b"," + struct.pack("<HHHHB", 0, 0, WIDTH, HEIGHT, 0)
    return b"GIF89a" + screen + image + b"\2" + blocks + b"\0;"


def _packed(row: bytearray) -> bytes:
    return bytes(sum(row[start + bit] << (7 - bit) for bit in range(8)) for start in range(0, WIDTH, 8))


def _png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


class _Codes:
    """A string of three-bit codes, lowest bits first."""

    def __init__(self) -> None:
        self._bits = 0
        self._count = 0
        self._out = bytearray()

    def add(self, code: int) -> None:
        self._bits |= code << self._count
        self._count += 3
        while self._count >= 8:
            self._out.append(self._bits & 0xFF)
            self._bits >>= 8
            self._count -= 8

    def bytes(self) -> bytes:
        return bytes(self._out) + bytes([self._bits])
