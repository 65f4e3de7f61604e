"""Reads the header of MP4 and QuickTime files: boxes, or atoms, of ISO/IEC 14496-12 and Apple's older format."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from synthdub_tui.sources.bounded_reader import BoundedReader, HeaderContent, TrackKind

MAX_BOXES: Final = 256
"""Most boxes of one level that are read."""

NO_INDEX: Final = "it has no index: it may have been cut off"
MAY_BE_CUT_OFF: Final = "it ends before its content does: it may have been cut off"

_FIRST_BOXES: Final = frozenset(
    {b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"PICT", b"uuid", b"sidx", b"junk"}
)
"""First boxes of such a file. Old QuickTime files have no `ftyp`, and may begin with their content."""

_STILL_PICTURE_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif"})
"""Brands of still pictures in the same format."""

_TRACK_KINDS: Final = {b"vide": TrackKind.PICTURE, b"soun": TrackKind.SOUND} | dict.fromkeys(
    (b"text", b"sbtl", b"subt", b"subp", b"clcp", b"tmcd", b"meta", b"hint", b"odsm", b"sdsm"), TrackKind.OTHER
)
"""Handlers of tracks. Any other may show pictures: QuickTime has handlers for MPEG-1, for panoramas and for sprites."""

_BOXES_WITHOUT_TRACKS: Final = frozenset({b"mvhd", b"mvex", b"iods", b"udta", b"meta", b"free", b"skip", b"wide", b"uuid"})
"""Boxes of an index without tracks. QuickTime may also compress the index, or refer to another file in it."""


class _Box(NamedTuple):
    """A box: begin and declared end of its content."""

    name: bytes
    start: int
    end: int


def is_mp4(first_bytes: bytes) -> bool:
    """Whether a file that begins like this is MP4 or QuickTime."""
    return first_bytes[4:8] in _FIRST_BOXES


def is_still_picture(window: BoundedReader) -> bool:
    """Whether the file is a still picture (HEIC, AVIF): with such a brand, complete, and without an index of tracks."""
    if window.read(8, 4) not in _STILL_PICTURE_BRANDS:
        return False
    boxes = list(_boxes(window, 0, window.size))
    names = {box.name for box in boxes}
    return boxes[-1].end == window.size and b"meta" in names and b"moov" not in names


def is_complete(window: BoundedReader) -> bool:
    """Whether the file certainly ends where it should: after one index and one content. Raises OSError and `Spent`.

    Content in fragments is never certain: others could have followed.
    """
    boxes = list(_boxes(window, 0, window.size, endless=False))
    names = [box.name for box in boxes]
    once = names.count(b"moov") == names.count(b"mdat") == 1 and b"moof" not in names
    return once and boxes[-1].end == window.size


def read_header(window: BoundedReader) -> HeaderContent:
    """What the file's index lists. Raises OSError and `Spent`."""
    index = content = None
    for box in _boxes(window, 0, window.size):
        if box.name == b"moov":
            index = box
        elif box.name in (b"mdat", b"moof"):
            content = content or box
        if index and content:
            break
    if index is None:
        return HeaderContent(fault=NO_INDEX)
    cut = any(box.end > window.size for box in (index, content) if box)
    layout = _read_index(window, index)
    return layout._replace(fault=MAY_BE_CUT_OFF) if cut else layout


def _read_index(window: BoundedReader, index: _Box) -> HeaderContent:
    boxes = list(_boxes(window, index.start, min(index.end, window.size)))
    tracks = [_medium(window, box) for box in boxes if box.name == b"trak"]
    whole = _fills_parent(boxes, index) and index.end <= window.size
    if not tracks:
        whole = whole and all(box.name in _BOXES_WITHOUT_TRACKS for box in boxes)
    return HeaderContent(_seconds(window, boxes), frozenset(tracks), whole)


def _fills_parent(boxes: list[_Box], parent: _Box) -> bool:
    """Whether the boxes fill their parent. QuickTime may end a list with four zero bytes."""
    end = boxes[-1].end if boxes else parent.start
    return parent.end - 8 < end <= parent.end


def _medium(window: BoundedReader, track: _Box) -> TrackKind:
    media = _child(window, track, b"mdia")
    handler = media and _child(window, media, b"hdlr")
    return _TRACK_KINDS.get(window.read(handler.start + 8, 4), TrackKind.UNKNOWN) if handler else TrackKind.UNKNOWN


def _child(window: BoundedReader, parent: _Box, name: bytes) -> _Box | None:
    children = _boxes(window, parent.start, min(parent.end, window.size))
    return next((box for box in children if box.name == name), None)


def _boxes(window: BoundedReader, start: int, end: int, *, endless: bool = True) -> Iterator[_Box]:
    """Consecutive boxes, as long as they are valid. `endless` includes a box without a size, which extends to the end."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        head = window.read(start, 16)
        if len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        content = 8
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
            content = 16
        if endless:
            size = size or end - start
        if size < content:
            return
        yield _Box(name, start + content, start + size)
        start += size


def _seconds(window: BoundedReader, index: list[_Box]) -> float:
    """Playing time in seconds from the movie's header, or from the fragments' header if the movie's says 0."""
    found = {box.name: box for box in index}
    if b"mvhd" not in found:
        return 0.0
    scale, length = _duration(window.read(found[b"mvhd"].start, 32))
    fragments = _child(window, found[b"mvex"], b"mehd") if not length and b"mvex" in found else None
    if fragments is not None:
        length = _number(window.read(fragments.start, 12), 4)
    return round(length / scale, 3) if scale else 0.0


def _duration(header: bytes) -> tuple[int, int]:
    """Ticks per second, and ticks in total; these are 0 if all bits are set, which means unknown."""
    at = 20 if header[:1] == b"\1" else 12
    scale = int.from_bytes(header[at : at + 4], "big") if len(header) >= at + 4 else 0
    return scale, _number(header, at + 4)


def _number(header: bytes, at: int) -> int:
    """A number of 8 bytes in version 1 of a box, of 4 in version 0; 0 if it is missing or unknown."""
    width = 8 if header[:1] == b"\1" else 4
    digits = header[at : at + width]
    return int.from_bytes(digits, "big") if len(digits) == width and digits != b"\xff" * width else 0
