"""Writes VP8 pictures and Opus sound into WebM files (a Matroska profile; RFC 9559)."""

from __future__ import annotations

import struct


def movie(pictures: list[bytes], sounds: list[bytes], size: tuple[int, int], opus_head: bytes, title: str) -> bytes:
    """A whole file: pictures of 100 ms and sounds of 20 ms each, in clusters of one second."""
    head = _element(
        0x1A45DFA3,
        *(_number(identity, value) for identity, value in ((0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8))),
        _element(0x4282, b"webm"),
        *(_number(identity, value) for identity, value in ((0x4287, 4), (0x4285, 2))),
    )
    info = _element(
        0x1549A966,
        _number(0x2AD7B1, 1_000_000),  # nanoseconds per tick
        _element(0x4489, struct.pack(">d", len(pictures) * 100.0)),
        _element(0x7BA9, title.encode()),
        _element(0x4D80, b"synthdub sandbox"),
        _element(0x5741, b"synthdub sandbox"),
    )
    tracks = _element(0x1654AE6B, _video_track(size), _audio_track(opus_head))
    frames = [(at * 100, 1, data) for at, data in enumerate(pictures)]
    frames += [(at * 20, 2, data) for at, data in enumerate(sounds)]
    return head + _element(0x18538067, info, tracks, *_clusters(sorted(frames)))


def _video_track(size: tuple[int, int]) -> bytes:
    picture = _element(0xE0, _number(0xB0, size[0]), _number(0xBA, size[1]))
    return _element(0xAE, _number(0xD7, 1), _number(0x73C5, 1), _number(0x83, 1), _element(0x86, b"V_VP8"), picture)


def _audio_track(opus_head: bytes) -> bytes:
    sound = _element(0xE1, _element(0xB5, struct.pack(">d", 48_000.0)), _number(0x9F, 1))
    delay = struct.unpack_from("<H", opus_head, 10)[0] * 1_000_000_000 // 48_000  # pre-skip of RFC 7845
    return _element(
        0xAE,
        *(_number(0xD7, 2), _number(0x73C5, 2), _number(0x83, 2)),
        _element(0x86, b"A_OPUS"),
        _element(0x63A2, opus_head),
        *(_number(0x56AA, delay), _number(0x56BB, 80_000_000)),
        sound,
    )


def _clusters(frames: list[tuple[int, int, bytes]]) -> list[bytes]:
    clusters: dict[int, list[bytes]] = {}
    for at, track, data in frames:
        block = bytes([0x80 | track]) + struct.pack(">hB", at % 1000, 0x80) + data
        clusters.setdefault(at // 1000, []).append(_element(0xA3, block))
    return [_element(0x1F43B675, _number(0xE7, second * 1000), *blocks) for second, blocks in clusters.items()]


def _element(identity: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    name = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    return name + (len(body) | 1 << 56).to_bytes(8, "big") + body


def _number(identity: int, value: int) -> bytes:
    return _element(identity, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))
