"""Writes encoded pictures and sound into MP4 and QuickTime files (ISO 14496-12, -14 and -15)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_MATRIX: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@dataclass(frozen=True)
class Track:
    """One track: samples of `step` ticks each, `rate` ticks per second. `entry` describes the codec; width 0 means sound."""

    samples: list[bytes]
    step: int
    rate: int
    entry: bytes
    width: int = 0
    height: int = 0

    @property
    def ticks(self) -> int:
        return self.step * len(self.samples)


def video_entry(sps: bytes, pps: bytes, width: int, height: int) -> bytes:
    """Sample entry of H.264."""
    config = b"\1" + sps[1:4] + b"\xff\xe1" + struct.pack(">H", len(sps)) + sps + b"\1" + struct.pack(">H", len(pps)) + pps
    head = struct.pack(">6xH16xHHIIIH32sHh", 1, width, height, 0x480000, 0x480000, 0, 1, b"", 24, -1)
    return _box("avc1", head, _box("avcC", config))


def audio_entry(config: bytes, rate: int) -> bytes:
    """Sample entry of AAC, one channel."""
    specific = _descriptor(5, config)
    decoder = _descriptor(4, struct.pack(">BBHBII", 0x40, 0x15, 0, 0, 64000, 64000), specific)
    stream = _descriptor(3, struct.pack(">HB", 2, 0), decoder, _descriptor(6, b"\2"))
    head = struct.pack(">6xH8xHHHHI", 1, 1, 16, 0, 0, rate << 16)
    return _box("mp4a", head, _full_box("esds", 0, stream))


def movie(brand: str, tracks: list[Track], title: str) -> bytes:
    """A whole file. The index comes first, so that it plays while it is downloaded."""
    kind = _box("ftyp", brand.ljust(4).encode(), struct.pack(">I", 512), *_compatible(brand))
    data_at = len(kind) + len(_index(tracks, title, 0)) + 8
    media = b"".join(sample for track in tracks for sample in track.samples)
    return kind + _index(tracks, title, data_at) + _box("mdat", media)


def free(size: int) -> bytes:
    """The head of a box that players skip. `size` is that of the whole box in bytes, at least 16."""
    return struct.pack(">I4sQ", 1, b"free", size)


def _compatible(brand: str) -> list[bytes]:
    return [b"qt  "] if brand == "qt" else [b"isom", b"iso2", b"avc1", b"mp41"]


def _box(name: str, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + name.encode("latin-1") + body


def _full_box(name: str, flags: int, *parts: bytes) -> bytes:
    return _box(name, struct.pack(">I", flags), *parts)


def _descriptor(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([tag, len(body)]) + body


def _index(tracks: list[Track], title: str, data_at: int) -> bytes:
    length = max(track.ticks * 1000 // track.rate for track in tracks)
    head = struct.pack(">IIIIIH10x36s24xI", 0, 0, 1000, length, 0x10000, 0x100, _MATRIX, len(tracks) + 1)
    boxes = [_full_box("mvhd", 0, head)]
    for number, track in enumerate(tracks):
        boxes.append(_track(number + 1, track, length, data_at))
        data_at += sum(len(sample) for sample in track.samples)
    return _box("moov", *boxes, _tags(title))


def _track(number: int, track: Track, length: int, data_at: int) -> bytes:
    picture = track.width > 0
    head = struct.pack(
        ">IIIII8xHHHH36sII",
        *(0, 0, number, 0, length),
        *(0, 0, 0 if picture else 0x100, 0),
        _MATRIX,
        track.width << 16,
        track.height << 16,
    )
    kind, name = (b"vide", b"Picture\0") if picture else (b"soun", b"Sound\0")
    media_head = _full_box("vmhd", 1, bytes(8)) if picture else _full_box("smhd", 0, bytes(4))
    reference = _box("dinf", _full_box("dref", 0, struct.pack(">I", 1), _full_box("url ", 1)))
    media = _box(
        "mdia",
        _full_box("mdhd", 0, struct.pack(">IIIIHH", 0, 0, track.rate, track.ticks, 0x55C4, 0)),
        _full_box("hdlr", 0, bytes(4), kind, bytes(12), name),
        _box("minf", media_head, reference, _table(track, data_at)),
    )
    return _box("trak", _full_box("tkhd", 3, head), media)


def _table(track: Track, data_at: int) -> bytes:
    """The sample table; all samples of a track are in one chunk."""
    count = len(track.samples)
    sizes = struct.pack(f">II{count}I", 0, count, *(len(sample) for sample in track.samples))
    boxes = [
        _full_box("stsd", 0, struct.pack(">I", 1), track.entry),
        _full_box("stts", 0, struct.pack(">III", 1, count, track.step)),
        _full_box("stsc", 0, struct.pack(">IIII", 1, 1, count, 1)),
        _full_box("stsz", 0, sizes),
        _full_box("stco", 0, struct.pack(">II", 1, data_at)),
    ]
    if track.width:
        boxes.append(_full_box("stss", 0, struct.pack(">II", 1, 1)))  # only the first picture is a key frame
    return _box("stbl", *boxes)


def _tags(title: str) -> bytes:
    """The title, in the box that players read."""
    value = _box("data", struct.pack(">II", 1, 0), title.encode())
    handler = _full_box("hdlr", 0, bytes(4), b"mdir", b"appl", bytes(9))
    return _box("udta", _full_box("meta", 0, handler, _box("ilst", _box("\xa9nam", value))))
