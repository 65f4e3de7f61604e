"""How long an MP4 plays, read from its header."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthdub_tui.sources.video_header import seconds


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def large_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


def last_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 0, kind) + content


def mvhd(scale: int, length: int, version: int = 0) -> bytes:
    form = ">B3xIIII" if version == 0 else ">B3xQQIQ"
    return box(b"mvhd", struct.pack(form, version, 0, 0, scale, length) + bytes(80))


FTYP = box(b"ftyp", b"isom0000")
MOVIE = mvhd(1000, 12_345)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (FTYP + box(b"moov", MOVIE), 12.345),
        (FTYP + box(b"mdat", bytes(5000)) + box(b"moov", box(b"udta", b"x") + MOVIE), 12.345),
        (FTYP + large_box(b"mdat", bytes(5000)) + box(b"moov", MOVIE), 12.345),
        (FTYP + large_box(b"moov", MOVIE), 12.345),
        (FTYP + last_box(b"moov", MOVIE), 12.345),
        (FTYP + box(b"moov", mvhd(600, 600 * 7200, version=1)), 7200.0),
        (FTYP + box(b"moov", mvhd(0, 1000)), 0.0),
        (FTYP + box(b"moov", mvhd(1000, 2**32 - 1)), 0.0),  # “cannot be determined”
        (FTYP + box(b"moov", mvhd(1000, 2**64 - 1, version=1)), 0.0),
        (FTYP + box(b"moov"), 0.0),
        (FTYP + box(b"moov", MOVIE)[:20], 0.0),
        (FTYP + struct.pack(">I4s", 4, b"mdat") + box(b"moov", MOVIE), 0.0),
        (FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**63) + box(b"moov", MOVIE), 0.0),
        (FTYP + box(b"free") * 2000 + box(b"moov", MOVIE), 0.0),
        (b"", 0.0),
        (b"\x00" * 64, 0.0),
        (b"no video at all, but text", 0.0),
    ],
)
def test_seconds(tmp_path: Path, content: bytes, expected: float) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert seconds(str(tmp_path / "a.mp4")) == expected


def test_no_file(tmp_path: Path) -> None:
    assert seconds(str(tmp_path / "none.mp4")) == 0.0
    assert seconds(str(tmp_path)) == 0.0


@settings(deadline=None, max_examples=80, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 200), bits=st.binary(min_size=1, max_size=8))
def test_damage_anywhere_raises_nothing(tmp_path: Path, at: int, bits: bytes) -> None:
    whole = FTYP + large_box(b"mdat", bytes(40)) + box(b"moov", MOVIE)
    (tmp_path / "a.mp4").write_bytes(whole[:at] + bits + whole[at + len(bits) :])
    assert seconds(str(tmp_path / "a.mp4")) >= 0.0
