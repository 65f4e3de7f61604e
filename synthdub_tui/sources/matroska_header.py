"""Reads the header of WebM and Matroska files: elements of EBML (RFC 8794 and RFC 9559)."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from synthdub_tui.sources.bounded_reader import BoundedReader, HeaderContent, TrackKind

MAX_ELEMENTS: Final = 256
"""Most elements of one level that are read."""

MAY_BE_CUT_OFF: Final = "it ends before its content does: it may have been cut off"
NO_TRACKS: Final = "it lists no tracks before its content"

_EBML_MAGIC: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_SCALE, _DURATION, _TRACK, _TYPE = 0x2AD7B1, 0x4489, 0xAE, 0x83

_TRACK_KINDS: Final = {
    1: TrackKind.PICTURE,
    2: TrackKind.SOUND,
    16: TrackKind.OTHER,
    17: TrackKind.OTHER,
    18: TrackKind.OTHER,
    32: TrackKind.OTHER,
}
"""Types of tracks. Logo, subtitles, buttons and control are neither picture nor sound. Type 3 is a mixture of both."""


class _Element(NamedTuple):
    """An element: begin and declared end of its content. Live streams do not know sizes; theirs ends where its parent does."""

    identity: int
    start: int
    end: int
    has_known_size: bool = True


def is_matroska(first_bytes: bytes) -> bool:
    """Whether a file that begins like this is WebM or Matroska."""
    return first_bytes.startswith(_EBML_MAGIC)


def read_header(window: BoundedReader) -> HeaderContent:
    """What the file lists before its content. Raises OSError and `ReadLimitError`."""
    top = _elements(window, 0, window.size)
    segment = next((element for element in top if element.identity == _SEGMENT), None)
    if segment is None:
        return HeaderContent(fault=NO_TRACKS)
    info, tracks = _info_and_tracks(window, segment)
    fault = MAY_BE_CUT_OFF if segment.end > window.size else ""
    seconds = _seconds(window, info) if info else 0.0
    if tracks is None:
        return HeaderContent(seconds, fault=fault or NO_TRACKS)
    media, whole = _media(window, tracks)
    return HeaderContent(seconds, media, whole, fault)


def _info_and_tracks(window: BoundedReader, segment: _Element) -> tuple[_Element | None, _Element | None]:
    """Information and tracks. If the content comes first, it is skipped as long as its size is known."""
    info = tracks = None
    for element in _elements(window, segment.start, min(segment.end, window.size)):
        if element.identity == _INFO:
            info = element
        elif element.identity == _TRACKS:
            tracks = element
        if (info and tracks) or (element.identity == _CLUSTER and (tracks or not element.has_known_size)):
            break
    return info, tracks


def _media(window: BoundedReader, tracks: _Element) -> tuple[frozenset[TrackKind], bool]:
    """The media of the tracks, and whether the list was read to its end."""
    media, end = set(), tracks.start
    for element in _elements(window, tracks.start, min(tracks.end, window.size)):
        end = element.end
        if element.identity == _TRACK:
            kind = _child(window, element, _TYPE)
            media.add(_TRACK_KINDS.get(int.from_bytes(kind, "big"), TrackKind.UNKNOWN) if kind else TrackKind.UNKNOWN)
    return frozenset(media), bool(media) and tracks.has_known_size and end == tracks.end


def _seconds(window: BoundedReader, info: _Element) -> float:
    scale = int.from_bytes(_child(window, info, _SCALE) or b"", "big") or 1_000_000  # nanoseconds per tick
    digits = _child(window, info, _DURATION) or b""
    form = {4: ">f", 8: ">d"}.get(len(digits))
    ticks = struct.unpack(form, digits)[0] if form else 0.0
    seconds = ticks * scale / 1e9
    return round(seconds, 3) if math.isfinite(seconds) and seconds > 0 else 0.0


def _child(window: BoundedReader, parent: _Element, identity: int) -> bytes | None:
    """Content of the first such element, which is a number: at most 8 bytes."""
    for element in _elements(window, parent.start, min(parent.end, window.size)):
        if element.identity == identity:
            return window.read(element.start, min(8, element.end - element.start))
    return None


def _elements(window: BoundedReader, start: int, end: int) -> Iterator[_Element]:
    """Consecutive elements, as long as they are valid."""
    for _ in range(MAX_ELEMENTS):
        if start >= end:
            return
        head = window.read(start, 12)
        name = _width(head, 0)
        width = _width(head, name)
        if not 1 <= name <= 4 or not 1 <= width <= 8 or len(head) < name + width:
            return
        size = int.from_bytes(head[name : name + width], "big") & (1 << 7 * width) - 1
        content = start + name + width
        sized = size != (1 << 7 * width) - 1
        element = _Element(int.from_bytes(head[:name], "big"), content, content + size if sized else end, sized)
        yield element
        start = element.end


def _width(head: bytes, at: int) -> int:
    """Bytes of the number that begins there, by the leading zero bits of its first byte; 0 at the end."""
    return 9 - head[at].bit_length() if at < len(head) else 0
