"""Writes H.264 (constrained baseline) without an encoder: raw macroblocks for ink, prediction for the rest.

The first frame is an IDR frame. Each later frame skips all macroblocks but one, so that a bar grows. Clause numbers refer to
ITU-T H.264 (08/2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from synthdub_tui.sandbox.picture import HEIGHT, WIDTH, PictureCanvas

_COLUMNS: Final = WIDTH // 16
_ROWS: Final = HEIGHT // 16
_GROUND: Final = 128  # result of DC prediction without neighbours, 8.3.3.3
_INK: Final = 200
_BAR_ROW: Final = _ROWS - 1
_COEFF_TOKEN_NONE: Final = ((2, 0b1, 1), (4, 0b11, 2), (8, 0b1111, 4), (99, 0b000011, 6))  # below nC: code; table 9-5


class _Bits:
    """A string of bits, highest first."""

    def __init__(self) -> None:
        self._done = bytearray()
        self._value = 0
        self._count = 0

    def u(self, value: int, width: int) -> None:
        """Append `value` with a fixed width in bits."""
        self._value = self._value << width | value
        self._count += width
        while self._count >= 8:
            self._count -= 8
            self._done.append(self._value >> self._count & 0xFF)
        self._value &= (1 << self._count) - 1

    def ue(self, value: int) -> None:
        """Append `value` as an Exp-Golomb code, 9.1."""
        width = (value + 1).bit_length()
        self.u(value + 1, 2 * width - 1)

    def align(self) -> None:
        if self._count:
            self.u(0, 8 - self._count)

    def raw(self, data: bytes) -> None:
        assert self._count == 0
        self._done += data

    def end(self) -> bytes:
        """Append the trailing bits, 7.3.2.11, and return all bytes."""
        self.u(1, 1)
        self.align()
        return bytes(self._done)


def parameter_sets() -> tuple[bytes, bytes]:
    """Sequence and picture parameter set as NAL units."""
    sps = _Bits()
    for value, width in ((66, 8), (0xC0, 8), (30, 8)):  # baseline, constrained, level 3
        sps.u(value, width)
    for value in (0, 0, 2, 1):  # id, frame_num of 4 bits, output in coding order, one reference
        sps.ue(value)
    sps.u(0, 1)
    sps.ue(_COLUMNS - 1)
    sps.ue(_ROWS - 1)
    sps.u(0b1100, 4)  # frames only, direct 8×8, no cropping, no VUI
    pps = _Bits()
    pps.ue(0)
    pps.ue(0)
    pps.u(0b00, 2)  # CAVLC
    for value in (0, 0, 0):  # one slice group, one reference in either list
        pps.ue(value)
    pps.u(0b000, 3)  # no weighting
    for value in (0, 0, 0):  # quantisers and chroma offset: no residual is ever coded
        pps.ue(value)
    pps.u(0b100, 3)  # deblocking is controlled in slices
    return _nal(0x67, sps.end()), _nal(0x68, pps.end())


def frames(canvas: PictureCanvas, count: int) -> Iterator[bytes]:
    """`count` frames, each as one NAL unit."""
    yield _nal(0x65, _key_frame(canvas))
    for number in range(1, count):
        yield _nal(0x41, _bar_frame(canvas, number, number * _COLUMNS // count))


def _nal(header: int, payload: bytes) -> bytes:
    """A NAL unit with emulation prevention, 7.4.1."""
    out = bytearray([header])
    zeros = 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def _slice_header(bits: _Bits, kind: int, number: int) -> None:
    """Write a slice header, 7.3.3, for the parameter sets above."""
    for value in (0, kind, 0):
        bits.ue(value)
    bits.u(number % 16, 4)
    if kind == 7:
        bits.ue(0)  # idr_pic_id
        bits.u(0b00, 2)  # dec_ref_pic_marking
    else:
        bits.u(0b000, 3)  # default number and order of references, sliding window
    bits.ue(0)  # slice_qp_delta
    bits.ue(1)  # no deblocking


def _key_frame(canvas: PictureCanvas) -> bytes:
    bits = _Bits()
    _slice_header(bits, 7, 0)
    raw: list[list[bool]] = []
    for row in range(_ROWS):
        raw.append([])
        for column in range(_COLUMNS):
            above = raw[row - 1][column] if row else None
            left = raw[row][column - 1] if column else None
            inked = any(any(line[column * 16 : column * 16 + 16]) for line in canvas.rows[row * 16 : row * 16 + 16])
            flat = not inked and (above is not True or left is not True)
            if flat:
                _flat_block(bits, above, left)
            else:
                _raw_block(bits, 25, _samples(canvas, row, column))
            raw[row].append(not flat)
    return bits.end()


def _flat_block(bits: _Bits, above: bool | None, left: bool | None) -> None:
    """Write a block that is predicted from a flat neighbour, or from none. True: raw neighbour; None: no neighbour."""
    if above is None and left is None:
        luma, chroma = 2, 0  # DC
    elif above is False:
        luma, chroma = 0, 2  # vertical
    elif left is False:
        luma, chroma = 1, 1  # horizontal
    else:
        raise AssertionError("no flat neighbour to predict from")
    bits.ue(1 + luma)  # I_16x16 without coefficients, table 7-11
    bits.ue(chroma)
    bits.ue(0)  # mb_qp_delta
    counts = [16 if neighbour else 0 for neighbour in (above, left) if neighbour is not None]  # nC, 9.2.1
    context = (sum(counts) + 1) // 2 if len(counts) == 2 else sum(counts)
    code, width = next((code, width) for limit, code, width in _COEFF_TOKEN_NONE if context < limit)
    bits.u(code, width)


def _raw_block(bits: _Bits, kind: int, samples: bytes) -> None:
    bits.ue(kind)  # I_PCM
    bits.align()
    bits.raw(samples)


def _samples(canvas: PictureCanvas, row: int, column: int) -> bytes:
    """Luma and chroma of one macroblock. A chroma sample has ink if any of its 2×2 luma samples has."""
    lines = [line[column * 16 : column * 16 + 16] for line in canvas.rows[row * 16 : row * 16 + 16]]
    ground, ink = bytes([_GROUND]), bytes([_INK])
    luma = b"".join(bytes(line).replace(b"\0", ground).replace(b"\1", ink) for line in lines)
    mask = [any(lines[y + b][x + a] for a in (0, 1) for b in (0, 1)) for y in range(0, 16, 2) for x in range(0, 16, 2)]
    planes = (bytes(colour if inked else _GROUND for inked in mask) for colour in (canvas.cb, canvas.cr))
    return luma + b"".join(planes)


def _bar_frame(canvas: PictureCanvas, number: int, column: int) -> bytes:
    bits = _Bits()
    _slice_header(bits, 5, number)
    before = _BAR_ROW * _COLUMNS + column
    bits.ue(before)  # mb_skip_run
    _raw_block(bits, 30, bytes([_INK]) * 256 + bytes([canvas.cb]) * 64 + bytes([canvas.cr]) * 64)
    after = _COLUMNS * _ROWS - before - 1
    if after:
        bits.ue(after)
    return bits.end()
