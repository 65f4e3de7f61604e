"""What a file is by its header: real files of many kinds, made ones, and damaged ones."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from sqlite3 import connect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthdub_tui.sandbox.media import make_sources
from synthdub_tui.sources import bounded_reader
from synthdub_tui.sources.video_header import Kind, VideoHeader, is_whole, look_at
from tests.sources.media_files import media


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def large_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


def last_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 0, kind) + content


def mvhd(scale: int, length: int, version: int = 0) -> bytes:
    form = ">B3xIIII" if version == 0 else ">B3xQQIQ"
    return box(b"mvhd", struct.pack(form, version, 0, 0, scale, length) + bytes(80))


def trak(handler: bytes) -> bytes:
    return box(b"trak", box(b"tkhd", bytes(84)) + box(b"mdia", box(b"hdlr", bytes(8) + handler + bytes(13))))


def element(identity: int, content: bytes, *, sized: bool = True) -> bytes:
    name = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    return name + (len(content) | 1 << 56 if sized else 2**57 - 1).to_bytes(8, "big") + content


def webm(*parts: bytes, sized: bool = True) -> bytes:
    return element(0x1A45DFA3, b"\x42\x82\x84webm") + element(0x18538067, b"".join(parts), sized=sized)


def tracks(*kinds: int) -> bytes:
    return element(0x1654AE6B, b"".join(element(0xAE, element(0x83, bytes([kind]))) for kind in kinds))


def info(duration: bytes, *, scale: int = 1_000_000) -> bytes:
    return element(0x1549A966, element(0x2AD7B1, scale.to_bytes(4, "big")) + element(0x4489, duration))


FTYP = box(b"ftyp", b"isom0000")
MOVIE = mvhd(1000, 12_345)
PICTURE, SOUND = trak(b"vide"), trak(b"soun")
MOOV = box(b"moov", MOVIE + PICTURE + SOUND)
CONTENT = bytes(5000)
CLUSTER = element(0x1F43B675, CONTENT)


@pytest.fixture
def seen(tmp_path: Path) -> Callable[[bytes], VideoHeader]:
    def look(content: bytes) -> VideoHeader:
        (tmp_path / "a.mp4").write_bytes(content)
        return look_at(str(tmp_path / "a.mp4"))

    return look


Seen = Callable[[bytes], VideoHeader]


# -- how long it plays ---------------------------------------------------------------------------------------------------


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
        (FTYP + box(b"moov", mvhd(600, 0) + box(b"mvex", box(b"mehd", struct.pack(">II", 0, 1500)))), 2.5),
        (FTYP + box(b"moov", mvhd(600, 0) + box(b"mvex", box(b"mehd", struct.pack(">IQ", 1 << 24, 1500)))), 2.5),
        (FTYP + box(b"moov"), 0.0),
        (FTYP + box(b"moov", MOVIE)[:20], 0.0),
        (FTYP + struct.pack(">I4s", 4, b"mdat") + box(b"moov", MOVIE), 0.0),
        (FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**63) + box(b"moov", MOVIE), 0.0),
        (FTYP + box(b"free") * 2000 + box(b"moov", MOVIE), 0.0),
        (webm(info(struct.pack(">d", 2500.0)), tracks(1, 2)), 2.5),
        (
            webm(element(0x1549A966, element(0x2AD7B1, b"\x98\x96\x80") + element(0x4489, struct.pack(">f", 100))), tracks(1)),
            1.0,
        ),
        (webm(element(0x1549A966, element(0x4489, struct.pack(">d", float("nan")))), tracks(1)), 0.0),
        (webm(element(0x1549A966, element(0x4489, struct.pack(">d", float("inf")))), tracks(1)), 0.0),
        (webm(element(0x1549A966, b""), tracks(1)), 0.0),
        (b"", 0.0),
        (b"no video at all, but text", 0.0),
    ],
)
def test_seconds(seen: Seen, content: bytes, expected: float) -> None:
    assert seen(content).seconds == expected


# -- videos --------------------------------------------------------------------------------------------------------------

REAL = {
    "mp4, index last": ("mp4", "mpeg4", "aac", {}),
    "mp4, index first": ("mp4", "mpeg4", "aac", {"movflags": "faststart"}),
    "mp4 in fragments": ("mp4", "mpeg4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    "mp4 for DASH": ("mp4", "mpeg4", "aac", {"movflags": "dash"}),
    "mov": ("mov", "mpeg4", "pcm_s16le", {}),
    "3gp": ("3gp", "mpeg4", "aac", {}),
    "webm": ("webm", "libvpx", "libopus", {}),
    "webm, live": ("webm", "libvpx", "libopus", {"live": "1"}),
    "matroska": ("matroska", "mpeg4", "aac", {}),
}


@pytest.mark.parametrize("kind", REAL)
def test_a_real_video_with_sound_is_seen_as_that(tmp_path: Path, kind: str) -> None:
    form, picture, sound, options = REAL[kind]
    header = look_at(str(media(tmp_path / "a.mp4", form, picture=picture, sound=sound, **options)))
    assert header._replace(seconds=0.0) == VideoHeader(Kind.VIDEO, has_video=True, has_audio=True)
    assert header.seconds == pytest.approx(2.0, abs=0.05) or "frag" in str(options) or kind in ("mp4 for DASH", "webm, live")


@pytest.mark.parametrize(("form", "picture"), [("mp4", "mpeg4"), ("mov", "mjpeg"), ("webm", "libvpx"), ("matroska", "mpeg4")])
def test_a_real_video_without_sound_is_silent(tmp_path: Path, form: str, picture: str) -> None:
    header = look_at(str(media(tmp_path / "a.mp4", form, picture=picture)))
    assert (header.kind, header.silent, header.seconds) == (Kind.VIDEO, True, 2.0)


def test_the_videos_of_the_demo_are_videos_with_sound(tmp_path: Path) -> None:
    for path in make_sources(tmp_path, 6):
        header = look_at(str(path))
        assert (header.kind, header.has_audio, header.seconds >= 3) == (Kind.VIDEO, True, True), path


@pytest.mark.parametrize(
    "content",
    [
        box(b"mdat", CONTENT) + MOOV,  # old QuickTime: content first, no ftyp
        MOOV + box(b"mdat", CONTENT),
        box(b"wide") + large_box(b"mdat", CONTENT) + MOOV,
        FTYP + MOOV + last_box(b"mdat", CONTENT),
        FTYP + box(b"moov", MOVIE + PICTURE + SOUND + bytes(4)),  # QuickTime ends lists by zeros
        FTYP + box(b"moov", MOVIE + trak(b"tmcd") + SOUND + PICTURE),
        FTYP + MOOV + box(b"mdat", CONTENT) + bytes(2_000_000),  # padding
        FTYP + MOOV + b"".join(box(b"moof") + box(b"mdat", b"x") for _ in range(3000)),
        webm(tracks(1, 2), CLUSTER),
        webm(CLUSTER, CLUSTER, tracks(1, 2)),
        webm(tracks(1, 2), element(0x1F43B675, CONTENT, sized=False), sized=False),
        webm(element(0xEC, bytes(900)), tracks(17, 2, 1), CLUSTER),
    ],
)
def test_a_video_with_sound_in_any_order(seen: Seen, content: bytes) -> None:
    header = seen(content)
    assert (header.kind, header.has_video, header.has_audio, header.looks) == (Kind.VIDEO, True, True, "")


@pytest.mark.parametrize(
    "content",
    [
        FTYP + box(b"moov", MOVIE + PICTURE + trak(b"MPEG")),  # picture and sound in one
        FTYP + box(b"moov", MOVIE + PICTURE + box(b"trak")),
        FTYP + box(b"moov", MOVIE + PICTURE + struct.pack(">I4s", 3, b"trak")),
        FTYP + box(b"moov", MOVIE + PICTURE + SOUND)[:-100],
        webm(tracks(1, 3)),
        webm(tracks(1, 0)),
        webm(tracks(1))[:-1],
        webm(tracks(1)[:-1]),
    ],
)
def test_silence_is_claimed_only_where_all_tracks_are_known(seen: Seen, content: bytes) -> None:
    assert not seen(content).silent


# -- certainly no video --------------------------------------------------------------------------------------------------

SOUNDS = [
    ("mp4", "aac", {}),
    ("ipod", "aac", {}),
    ("mov", "pcm_s16le", {}),
    ("webm", "libopus", {}),
    ("mp3", "libmp3lame", {}),
    ("mp3", "libmp3lame", {"id3v2_version": "0", "write_xing": "0"}),
    ("adts", "aac", {}),
    ("wav", "pcm_s16le", {}),
    ("flac", "flac", {}),
    ("ogg", "libopus", {}),
    ("ogg", "flac", {}),
    ("aiff", "pcm_s16be", {}),
    ("caf", "pcm_s16le", {}),
    ("w64", "pcm_s16le", {}),
    ("au", "pcm_s16be", {}),
]


@pytest.mark.parametrize(("form", "sound", "options"), SOUNDS)
def test_plain_sound_is_no_video(tmp_path: Path, form: str, sound: str, options: dict[str, str]) -> None:
    header = look_at(str(media(tmp_path / "a.mp4", form, sound=sound, **options)))
    assert (header.kind, header.has_video) == (Kind.NOT_VIDEO, False)
    assert "sound" in header.looks


def _zip() -> bytes:
    with closing(io.BytesIO()) as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.mp4", CONTENT)
        return file.getvalue()


def _tar() -> bytes:
    with closing(io.BytesIO()) as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.mp4"))
        return file.getvalue()


def _sqlite() -> bytes:
    with closing(connect(":memory:")) as database:
        database.execute("create table a (b)")
        return database.serialize()


OTHERS: dict[str, tuple[bytes, str]] = {
    "web page": (b"\r\n<!DOCTYPE HTML>\n<html><head><title>Sign in", "a web page"),
    "web page in Latin-1": (b"<html><title>Anmeldung f\xfcr", "a web page"),
    "web page in UTF-16": ("<html><body>gone".encode("utf-16"), "a web page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a Git LFS pointer"),
    "annex pointer": (b"/annex/objects/SHA256E-s12--00.mp4\n", "a git-annex pointer"),
    "zip": (_zip(), "a ZIP archive"),
    "gzip": (gzip.compress(CONTENT), "a gzip archive"),
    "tar": (_tar(), "a tar archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + CONTENT, "a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\0" + CONTENT, "a RAR archive"),
    "xz": (b"\xfd7zXZ\0\0\4" + CONTENT, "an xz archive"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
    "heic": (box(b"ftyp", b"heic0000mif1") + box(b"meta", bytes(50)) + box(b"mdat", CONTENT), "a HEIC or AVIF picture"),
    "bmp": (b"BM" + struct.pack("<I", 5006) + CONTENT, "a BMP picture"),
    "program": (b"\x7fELF\2\1\1" + CONTENT, "a program"),
    "Windows program": (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + CONTENT, "a Windows program"),
    "database": (_sqlite(), "an SQLite database"),
    "json": (b'{"error": {"code": 403}}', "a JSON text"),
    "xml": (b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML text"),
    "srt": (b"1\r\n00:00:00,000 --> 00:00:02,000\r\nGr\xfc\xdfe", "subtitles"),
    "vtt": (b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello", "subtitles"),
    "playlist": (b"#EXTM3U\n#EXT-X-VERSION:3\n", "a playlist"),
    "text": ("Dear colleagues,\n\nthe video is on the other drive – see you.\n".encode(), "a text"),
    "error message": (b"404: Not Found", "a text"),
    "resource fork": (b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(200), "macOS's notes about a file"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_certainly_no_video_is_named(seen: Seen, kind: str) -> None:
    content, name = OTHERS[kind]
    assert seen(content) == VideoHeader(Kind.NOT_VIDEO, has_video=False, looks=f"it begins as {name}")


@pytest.mark.parametrize(
    ("form", "codec", "name"), [("image2pipe", "png", "PNG"), ("gif", "gif", "GIF"), ("mjpeg", "mjpeg", "JPEG")]
)
def test_a_picture_is_no_video(tmp_path: Path, form: str, codec: str, name: str) -> None:
    header = look_at(str(media(tmp_path / "a.mp4", form, picture=codec)))
    assert (header.kind, header.looks) == (Kind.NOT_VIDEO, f"it begins as a {name} picture")


@pytest.mark.parametrize("size", [1, 100, 4096, 5000, 300_000, 50_000_000])
def test_zeros_are_no_video(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.mp4").touch()
    os.truncate(tmp_path / "a.mp4", size)
    header = look_at(str(tmp_path / "a.mp4"))
    assert (header.kind, header.looks) == (Kind.NOT_VIDEO, "it holds nothing but zeros")


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (FTYP + box(b"moov"), "its index lists no track"),
        (FTYP + box(b"moov", MOVIE + box(b"udta", b"x")) + box(b"mdat", CONTENT), "its index lists no track"),
        (FTYP + box(b"moov", MOVIE + SOUND) + box(b"mdat", CONTENT), "it holds sound, and no picture"),
        ((FTYP + box(b"moov", MOVIE + SOUND) + box(b"mdat", CONTENT))[:-9], "it holds sound, and no picture"),
        (FTYP + box(b"moov", MOVIE + trak(b"text")), "it holds neither picture nor sound"),
        (webm(tracks(2, 17)), "it holds sound, and no picture"),
        (webm(tracks(17)), "it holds neither picture nor sound"),
    ],
)
def test_a_video_file_without_picture_is_no_video(seen: Seen, content: bytes, looks: str) -> None:
    header = seen(content)
    assert (header.kind, header.has_video, header.looks) == (Kind.NOT_VIDEO, False, looks)


# -- not certain: it is sent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "picture", "sound"),
    [("mpegts", "mpeg2video", "mp2"), ("avi", "mpeg4", "mp2"), ("flv", "flv", "aac"), ("rm", "rv10", "")],
)
def test_other_videos_under_a_wrong_name_are_not_refused(tmp_path: Path, form: str, picture: str, sound: str) -> None:
    assert look_at(str(media(tmp_path / "a.mp4", form, picture=picture, sound=sound))).kind is Kind.UNKNOWN


@pytest.mark.parametrize(
    "content",
    [
        b"v",
        b"intro.mp4" * 500,
        b"\0rubbish",
        bytes(5000) + b"x" + bytes(5000),  # a download in pieces
        b"\xff\xfb\x90\x00" + CONTENT,  # one frame of sound alone
        b"MZ" + b"x" * 500,
        b"BM" + b"x" * 500,
        b"OggS\0\2" + bytes(20) + b"\1\x1e\x80theora" + CONTENT,
        b"RIFF0000AVI LIST" + CONTENT,
        b"\x47" + bytes(187) + b"\x47" + bytes(187),
        FTYP + box(b"moov", MOVIE + box(b"cmov", CONTENT)),  # compressed
        FTYP + box(b"moov", box(b"rmra", CONTENT)),  # refers to another file
        FTYP + box(b"moov", MOVIE + trak(b"MPEG")),
        FTYP + box(b"moov", MOVIE + trak(b"pict")),
        box(b"ftyp", b"heic0000") + box(b"meta", bytes(50)) + box(b"mdat", CONTENT)[:-1],
        box(b"styp", b"msdh0000") + box(b"moof") + box(b"mdat", CONTENT),  # a piece of a stream
        webm(CLUSTER),
        webm(tracks(3)),
        b"\x1a\x45\xdf\xa3" + CONTENT,
    ],
)
def test_what_is_not_certain_is_unknown_and_says_why(seen: Seen, content: bytes) -> None:
    header = seen(content)
    assert (header.kind, header.silent) == (Kind.UNKNOWN, False)
    assert header.looks.startswith(("it ", "its ", "synthdub "))


@pytest.mark.parametrize(
    "content",
    [
        (FTYP + box(b"mdat", CONTENT) + MOOV)[:3000],
        (FTYP + box(b"mdat", CONTENT) + MOOV)[:-1],
        (FTYP + MOOV + box(b"mdat", CONTENT))[:-1],
        FTYP,
        webm(tracks(1, 2), CLUSTER)[:-1],
        FTYP + box(b"moov", MOVIE)[:-1],
    ],
)
def test_a_file_that_was_cut_off_is_suspected_and_not_refused(seen: Seen, content: bytes) -> None:
    header = seen(content)
    assert header.kind is Kind.UNKNOWN
    assert "cut off" in header.looks


def test_a_silent_video_that_was_cut_off_is_silent_all_the_same(seen: Seen) -> None:
    assert seen((FTYP + box(b"moov", MOVIE + PICTURE) + box(b"mdat", CONTENT))[:-1]).silent


# -- whatever stands there -----------------------------------------------------------------------------------------------


def test_what_cannot_be_opened_is_unknown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "none.mp4", tmp_path, tmp_path / "pipe.mp4", "a\0b"):
        header = look_at(str(path))
        assert (header.kind, header.seconds) == (Kind.UNKNOWN, 0.0)
        assert header.looks


def test_a_hostile_file_is_given_up_within_bounds(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    pread = os.pread

    def counted(descriptor: int, count: int, at: int) -> bytes:
        reads.append(count)
        return pread(descriptor, count, at)

    monkeypatch.setattr(bounded_reader.os, "pread", counted)
    track = box(b"trak", box(b"free") * 255 + box(b"mdia", box(b"free") * 300))
    assert seen(FTYP + box(b"moov", MOVIE + track * 250)).kind is Kind.UNKNOWN
    assert len(reads) <= bounded_reader.READS
    assert sum(reads) <= bounded_reader.BYTES


@cache
def _real(folder: str, kind: str) -> bytes:
    form, picture, sound, options = REAL[kind]
    return media(Path(folder) / "real", form, picture=picture, sound=sound, **options).read_bytes()


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    kind=st.sampled_from(sorted(REAL)),
    damage=st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=8)), max_size=4),
    length=st.integers(0, 6000),
)
def test_damage_anywhere_raises_nothing(
    tmp_path_factory: pytest.TempPathFactory, kind: str, damage: list[tuple[int, bytes]], length: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(_real(str(folder), kind))
    for place, bits in damage:
        at = place % len(content)
        content[at : at + len(bits)] = bits
    path = folder / "damaged.mp4"
    path.write_bytes(content[: max(1, length)])
    header = look_at(str(path))
    assert header.seconds >= 0.0
    assert header.kind in Kind


@settings(deadline=None, max_examples=300, derandomize=True)
@given(length=st.integers(1, 6000), kind=st.sampled_from(sorted(REAL)))
def test_a_real_video_that_was_cut_off_anywhere_is_never_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, length: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "cut.mp4"
    path.write_bytes(_real(str(folder), kind)[:length])
    header = look_at(str(path))
    assert header.kind is not Kind.NOT_VIDEO or header.looks == "it holds nothing but zeros"
    assert not header.silent


@settings(deadline=None, max_examples=300, derandomize=True)
@given(content=st.binary(max_size=400), head=st.sampled_from([b"", FTYP, b"\x1a\x45\xdf\xa3", b"OggS", b"\xff\xfb", b"RIFF"]))
def test_any_bytes_raise_nothing(tmp_path_factory: pytest.TempPathFactory, content: bytes, head: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    path.write_bytes(head + content)
    assert look_at(str(path)).kind in Kind


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (box(b"ftyp") + box(b"moov", mvhd(1, 1)) + box(b"mdat", bytes(50)), True),
        (box(b"mdat", bytes(50)) + large_box(b"moov", mvhd(1, 1)) + box(b"free"), True),
        (box(b"ftyp") + box(b"moov", mvhd(1, 1)) + last_box(b"mdat", bytes(50)), False),
        (box(b"ftyp") + box(b"moov", mvhd(1, 1)), False),
        (box(b"moov", mvhd(1, 1)) + box(b"mdat") + box(b"mdat"), False),
        (box(b"moov", mvhd(1, 1)) + box(b"moof") + box(b"mdat"), False),
        (webm(), False),
        (b"", False),
    ],
)
def test_whole_is_only_what_could_not_go_on(tmp_path: Path, content: bytes, whole: bool) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    assert is_whole(str(path)) is whole


def test_a_video_that_was_cut_off_anywhere_is_not_whole(tmp_path: Path) -> None:
    content = box(b"ftyp") + box(b"moov", mvhd(1, 1)) + box(b"mdat", bytes(50))
    path = tmp_path / "video.mp4"
    for end in range(len(content)):
        path.write_bytes(content[:end])
        assert not is_whole(str(path))
    assert not is_whole(str(tmp_path / "gone.mp4"))
