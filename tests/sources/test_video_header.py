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
from synthdub_tui.sources.video_header import FileKind, VideoHeader, is_complete_mp4, read_video_header
from tests.sources.media_files import make_media


def make_box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def make_large_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


def make_last_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 0, kind) + content


def make_mvhd(scale: int, length: int, version: int = 0) -> bytes:
    form = ">B3xIIII" if version == 0 else ">B3xQQIQ"
    return make_box(b"mvhd", struct.pack(form, version, 0, 0, scale, length) + bytes(80))


def make_trak(handler: bytes) -> bytes:
    return make_box(
        b"trak", make_box(b"tkhd", bytes(84)) + make_box(b"mdia", make_box(b"hdlr", bytes(8) + handler + bytes(13)))
    )


def make_ebml_element(identity: int, content: bytes, *, sized: bool = True) -> bytes:
    name = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    return name + (len(content) | 1 << 56 if sized else 2**57 - 1).to_bytes(8, "big") + content


def make_webm(*parts: bytes, sized: bool = True) -> bytes:
    return make_ebml_element(0x1A45DFA3, b"\x42\x82\x84webm") + make_ebml_element(0x18538067, b"".join(parts), sized=sized)


def make_tracks(*kinds: int) -> bytes:
    return make_ebml_element(
        0x1654AE6B, b"".join(make_ebml_element(0xAE, make_ebml_element(0x83, bytes([kind]))) for kind in kinds)
    )


def make_info(duration: bytes, *, scale: int = 1_000_000) -> bytes:
    return make_ebml_element(
        0x1549A966, make_ebml_element(0x2AD7B1, scale.to_bytes(4, "big")) + make_ebml_element(0x4489, duration)
    )


FTYP = make_box(b"ftyp", b"isom0000")
MOVIE_HEADER = make_mvhd(1000, 12_345)
PICTURE_TRACK, SOUND_TRACK = make_trak(b"vide"), make_trak(b"soun")
MOOV = make_box(b"moov", MOVIE_HEADER + PICTURE_TRACK + SOUND_TRACK)
CONTENT = bytes(5000)
CLUSTER = make_ebml_element(0x1F43B675, CONTENT)


@pytest.fixture
def read_header(tmp_path: Path) -> Callable[[bytes], VideoHeader]:
    def look(content: bytes) -> VideoHeader:
        (tmp_path / "a.mp4").write_bytes(content)
        return read_video_header(str(tmp_path / "a.mp4"))

    return look


ReadHeader = Callable[[bytes], VideoHeader]


# -- how long it plays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (FTYP + make_box(b"moov", MOVIE_HEADER), 12.345),
        (FTYP + make_box(b"mdat", bytes(5000)) + make_box(b"moov", make_box(b"udta", b"x") + MOVIE_HEADER), 12.345),
        (FTYP + make_large_box(b"mdat", bytes(5000)) + make_box(b"moov", MOVIE_HEADER), 12.345),
        (FTYP + make_large_box(b"moov", MOVIE_HEADER), 12.345),
        (FTYP + make_last_box(b"moov", MOVIE_HEADER), 12.345),
        (FTYP + make_box(b"moov", make_mvhd(600, 600 * 7200, version=1)), 7200.0),
        (FTYP + make_box(b"moov", make_mvhd(0, 1000)), 0.0),
        (FTYP + make_box(b"moov", make_mvhd(1000, 2**32 - 1)), 0.0),  # “cannot be determined”
        (FTYP + make_box(b"moov", make_mvhd(1000, 2**64 - 1, version=1)), 0.0),
        (FTYP + make_box(b"moov", make_mvhd(600, 0) + make_box(b"mvex", make_box(b"mehd", struct.pack(">II", 0, 1500)))), 2.5),
        (
            FTYP
            + make_box(b"moov", make_mvhd(600, 0) + make_box(b"mvex", make_box(b"mehd", struct.pack(">IQ", 1 << 24, 1500)))),
            2.5,
        ),
        (FTYP + make_box(b"moov"), 0.0),
        (FTYP + make_box(b"moov", MOVIE_HEADER)[:20], 0.0),
        (FTYP + struct.pack(">I4s", 4, b"mdat") + make_box(b"moov", MOVIE_HEADER), 0.0),
        (FTYP + struct.pack(">I4sQ", 1, b"mdat", 2**63) + make_box(b"moov", MOVIE_HEADER), 0.0),
        (FTYP + make_box(b"free") * 2000 + make_box(b"moov", MOVIE_HEADER), 0.0),
        (make_webm(make_info(struct.pack(">d", 2500.0)), make_tracks(1, 2)), 2.5),
        (
            make_webm(
                make_ebml_element(
                    0x1549A966, make_ebml_element(0x2AD7B1, b"\x98\x96\x80") + make_ebml_element(0x4489, struct.pack(">f", 100))
                ),
                make_tracks(1),
            ),
            1.0,
        ),
        (
            make_webm(
                make_ebml_element(0x1549A966, make_ebml_element(0x4489, struct.pack(">d", float("nan")))), make_tracks(1)
            ),
            0.0,
        ),
        (
            make_webm(
                make_ebml_element(0x1549A966, make_ebml_element(0x4489, struct.pack(">d", float("inf")))), make_tracks(1)
            ),
            0.0,
        ),
        (make_webm(make_ebml_element(0x1549A966, b""), make_tracks(1)), 0.0),
        (b"", 0.0),
        (b"no video at all, but text", 0.0),
    ],
)
def test_seconds(read_header: ReadHeader, content: bytes, expected: float) -> None:
    assert read_header(content).seconds == expected


# -- videos --------------------------------------------------------------------------------------------------------------

REAL_FILES = {
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


@pytest.mark.parametrize("kind", REAL_FILES)
def test_a_real_video_with_sound_is_seen_as_that(tmp_path: Path, kind: str) -> None:
    form, picture, sound, options = REAL_FILES[kind]
    header = read_video_header(str(make_media(tmp_path / "a.mp4", form, picture=picture, sound=sound, **options)))
    assert header._replace(seconds=0.0) == VideoHeader(FileKind.VIDEO, has_video=True, has_audio=True)
    assert header.seconds == pytest.approx(2.0, abs=0.05) or "frag" in str(options) or kind in ("mp4 for DASH", "webm, live")


@pytest.mark.parametrize(("form", "picture"), [("mp4", "mpeg4"), ("mov", "mjpeg"), ("webm", "libvpx"), ("matroska", "mpeg4")])
def test_a_real_video_without_sound_is_silent(tmp_path: Path, form: str, picture: str) -> None:
    header = read_video_header(str(make_media(tmp_path / "a.mp4", form, picture=picture)))
    assert (header.kind, header.is_silent, header.seconds) == (FileKind.VIDEO, True, 2.0)


def test_the_videos_of_the_demo_are_videos_with_sound(tmp_path: Path) -> None:
    for path in make_sources(tmp_path, 6):
        header = read_video_header(str(path))
        assert (header.kind, header.has_audio, header.seconds >= 3) == (FileKind.VIDEO, True, True), path


@pytest.mark.parametrize(
    "content",
    [
        make_box(b"mdat", CONTENT) + MOOV,  # old QuickTime: content first, no ftyp
        MOOV + make_box(b"mdat", CONTENT),
        make_box(b"wide") + make_large_box(b"mdat", CONTENT) + MOOV,
        FTYP + MOOV + make_last_box(b"mdat", CONTENT),
        FTYP + make_box(b"moov", MOVIE_HEADER + PICTURE_TRACK + SOUND_TRACK + bytes(4)),  # QuickTime ends lists by zeros
        FTYP + make_box(b"moov", MOVIE_HEADER + make_trak(b"tmcd") + SOUND_TRACK + PICTURE_TRACK),
        FTYP + MOOV + make_box(b"mdat", CONTENT) + bytes(2_000_000),  # padding
        FTYP + MOOV + b"".join(make_box(b"moof") + make_box(b"mdat", b"x") for _ in range(3000)),
        make_webm(make_tracks(1, 2), CLUSTER),
        make_webm(CLUSTER, CLUSTER, make_tracks(1, 2)),
        make_webm(make_tracks(1, 2), make_ebml_element(0x1F43B675, CONTENT, sized=False), sized=False),
        make_webm(make_ebml_element(0xEC, bytes(900)), make_tracks(17, 2, 1), CLUSTER),
    ],
)
def test_a_video_with_sound_in_any_order(read_header: ReadHeader, content: bytes) -> None:
    header = read_header(content)
    assert (header.kind, header.has_video, header.has_audio, header.finding) == (FileKind.VIDEO, True, True, "")


@pytest.mark.parametrize(
    "content",
    [
        FTYP + make_box(b"moov", MOVIE_HEADER + PICTURE_TRACK + make_trak(b"MPEG")),  # picture and sound in one
        FTYP + make_box(b"moov", MOVIE_HEADER + PICTURE_TRACK + make_box(b"trak")),
        FTYP + make_box(b"moov", MOVIE_HEADER + PICTURE_TRACK + struct.pack(">I4s", 3, b"trak")),
        FTYP + make_box(b"moov", MOVIE_HEADER + PICTURE_TRACK + SOUND_TRACK)[:-100],
        make_webm(make_tracks(1, 3)),
        make_webm(make_tracks(1, 0)),
        make_webm(make_tracks(1))[:-1],
        make_webm(make_tracks(1)[:-1]),
    ],
)
def test_silence_is_claimed_only_where_all_tracks_are_known(read_header: ReadHeader, content: bytes) -> None:
    assert not read_header(content).is_silent


# -- certainly no video --------------------------------------------------------------------------------------------------

SOUND_FORMATS = [
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


@pytest.mark.parametrize(("form", "sound", "options"), SOUND_FORMATS)
def test_plain_sound_is_no_video(tmp_path: Path, form: str, sound: str, options: dict[str, str]) -> None:
    header = read_video_header(str(make_media(tmp_path / "a.mp4", form, sound=sound, **options)))
    assert (header.kind, header.has_video) == (FileKind.NOT_VIDEO, False)
    assert "sound" in header.finding


def _make_zip() -> bytes:
    with closing(io.BytesIO()) as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.mp4", CONTENT)
        return file.getvalue()


def _make_tar() -> bytes:
    with closing(io.BytesIO()) as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.mp4"))
        return file.getvalue()


def _make_sqlite() -> bytes:
    with closing(connect(":memory:")) as database:
        database.execute("create table a (b)")
        return database.serialize()


OTHER_FILES: dict[str, tuple[bytes, str]] = {
    "web page": (b"\r\n<!DOCTYPE HTML>\n<html><head><title>Sign in", "a web page"),
    "web page in Latin-1": (b"<html><title>Anmeldung f\xfcr", "a web page"),
    "web page in UTF-16": ("<html><body>gone".encode("utf-16"), "a web page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a Git LFS pointer"),
    "annex pointer": (b"/annex/objects/SHA256E-s12--00.mp4\n", "a git-annex pointer"),
    "zip": (_make_zip(), "a ZIP archive"),
    "gzip": (gzip.compress(CONTENT), "a gzip archive"),
    "tar": (_make_tar(), "a tar archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + CONTENT, "a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\0" + CONTENT, "a RAR archive"),
    "xz": (b"\xfd7zXZ\0\0\4" + CONTENT, "an xz archive"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
    "heic": (
        make_box(b"ftyp", b"heic0000mif1") + make_box(b"meta", bytes(50)) + make_box(b"mdat", CONTENT),
        "a HEIC or AVIF picture",
    ),
    "bmp": (b"BM" + struct.pack("<I", 5006) + CONTENT, "a BMP picture"),
    "program": (b"\x7fELF\2\1\1" + CONTENT, "a program"),
    "Windows program": (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + CONTENT, "a Windows program"),
    "database": (_make_sqlite(), "an SQLite database"),
    "json": (b'{"error": {"code": 403}}', "a JSON text"),
    "xml": (b'\xef\xbb\xbf<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML text"),
    "srt": (b"1\r\n00:00:00,000 --> 00:00:02,000\r\nGr\xfc\xdfe", "subtitles"),
    "vtt": (b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello", "subtitles"),
    "playlist": (b"#EXTM3U\n#EXT-X-VERSION:3\n", "a playlist"),
    "text": ("Dear colleagues,\n\nthe video is on the other drive – see you.\n".encode(), "a text"),
    "error message": (b"404: Not Found", "a text"),
    "resource fork": (b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(200), "macOS's notes about a file"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_what_is_certainly_no_video_is_named(read_header: ReadHeader, kind: str) -> None:
    content, name = OTHER_FILES[kind]
    assert read_header(content) == VideoHeader(FileKind.NOT_VIDEO, has_video=False, finding=f"it begins as {name}")


@pytest.mark.parametrize(
    ("form", "codec", "name"), [("image2pipe", "png", "PNG"), ("gif", "gif", "GIF"), ("mjpeg", "mjpeg", "JPEG")]
)
def test_a_picture_is_no_video(tmp_path: Path, form: str, codec: str, name: str) -> None:
    header = read_video_header(str(make_media(tmp_path / "a.mp4", form, picture=codec)))
    assert (header.kind, header.finding) == (FileKind.NOT_VIDEO, f"it begins as a {name} picture")


@pytest.mark.parametrize("size", [1, 100, 4096, 5000, 300_000, 50_000_000])
def test_zeros_are_no_video(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.mp4").touch()
    os.truncate(tmp_path / "a.mp4", size)
    header = read_video_header(str(tmp_path / "a.mp4"))
    assert (header.kind, header.finding) == (FileKind.NOT_VIDEO, "it holds nothing but zeros")


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (FTYP + make_box(b"moov"), "its index lists no track"),
        (
            FTYP + make_box(b"moov", MOVIE_HEADER + make_box(b"udta", b"x")) + make_box(b"mdat", CONTENT),
            "its index lists no track",
        ),
        (FTYP + make_box(b"moov", MOVIE_HEADER + SOUND_TRACK) + make_box(b"mdat", CONTENT), "it holds sound, and no picture"),
        (
            (FTYP + make_box(b"moov", MOVIE_HEADER + SOUND_TRACK) + make_box(b"mdat", CONTENT))[:-9],
            "it holds sound, and no picture",
        ),
        (FTYP + make_box(b"moov", MOVIE_HEADER + make_trak(b"text")), "it holds neither picture nor sound"),
        (make_webm(make_tracks(2, 17)), "it holds sound, and no picture"),
        (make_webm(make_tracks(17)), "it holds neither picture nor sound"),
    ],
)
def test_a_video_file_without_picture_is_no_video(read_header: ReadHeader, content: bytes, looks: str) -> None:
    header = read_header(content)
    assert (header.kind, header.has_video, header.finding) == (FileKind.NOT_VIDEO, False, looks)


# -- not certain: it is sent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "picture", "sound"),
    [("mpegts", "mpeg2video", "mp2"), ("avi", "mpeg4", "mp2"), ("flv", "flv", "aac"), ("rm", "rv10", "")],
)
def test_other_videos_under_a_wrong_name_are_not_refused(tmp_path: Path, form: str, picture: str, sound: str) -> None:
    assert read_video_header(str(make_media(tmp_path / "a.mp4", form, picture=picture, sound=sound))).kind is FileKind.UNKNOWN


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
        FTYP + make_box(b"moov", MOVIE_HEADER + make_box(b"cmov", CONTENT)),  # compressed
        FTYP + make_box(b"moov", make_box(b"rmra", CONTENT)),  # refers to another file
        FTYP + make_box(b"moov", MOVIE_HEADER + make_trak(b"MPEG")),
        FTYP + make_box(b"moov", MOVIE_HEADER + make_trak(b"pict")),
        make_box(b"ftyp", b"heic0000") + make_box(b"meta", bytes(50)) + make_box(b"mdat", CONTENT)[:-1],
        make_box(b"styp", b"msdh0000") + make_box(b"moof") + make_box(b"mdat", CONTENT),  # a piece of a stream
        make_webm(CLUSTER),
        make_webm(make_tracks(3)),
        b"\x1a\x45\xdf\xa3" + CONTENT,
    ],
)
def test_what_is_not_certain_is_unknown_and_says_why(read_header: ReadHeader, content: bytes) -> None:
    header = read_header(content)
    assert (header.kind, header.is_silent) == (FileKind.UNKNOWN, False)
    assert header.finding.startswith(("it ", "its ", "synthdub "))


@pytest.mark.parametrize(
    "content",
    [
        (FTYP + make_box(b"mdat", CONTENT) + MOOV)[:3000],
        (FTYP + make_box(b"mdat", CONTENT) + MOOV)[:-1],
        (FTYP + MOOV + make_box(b"mdat", CONTENT))[:-1],
        FTYP,
        make_webm(make_tracks(1, 2), CLUSTER)[:-1],
        FTYP + make_box(b"moov", MOVIE_HEADER)[:-1],
    ],
)
def test_a_file_that_was_cut_off_is_suspected_and_not_refused(read_header: ReadHeader, content: bytes) -> None:
    header = read_header(content)
    assert header.kind is FileKind.UNKNOWN
    assert "cut off" in header.finding


def test_a_silent_video_that_was_cut_off_is_silent_all_the_same(read_header: ReadHeader) -> None:
    assert read_header((FTYP + make_box(b"moov", MOVIE_HEADER + PICTURE_TRACK) + make_box(b"mdat", CONTENT))[:-1]).is_silent


# -- whatever stands there -----------------------------------------------------------------------------------------------


def test_what_cannot_be_opened_is_unknown(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "none.mp4", tmp_path, tmp_path / "pipe.mp4", "a\0b"):
        header = read_video_header(str(path))
        assert (header.kind, header.seconds) == (FileKind.UNKNOWN, 0.0)
        assert header.finding


def test_a_hostile_file_is_given_up_within_bounds(read_header: ReadHeader, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    pread = os.pread

    def counted(descriptor: int, count: int, at: int) -> bytes:
        reads.append(count)
        return pread(descriptor, count, at)

    monkeypatch.setattr(bounded_reader.os, "pread", counted)
    track = make_box(b"trak", make_box(b"free") * 255 + make_box(b"mdia", make_box(b"free") * 300))
    assert read_header(FTYP + make_box(b"moov", MOVIE_HEADER + track * 250)).kind is FileKind.UNKNOWN
    assert len(reads) <= bounded_reader.MAX_READS
    assert sum(reads) <= bounded_reader.MAX_BYTES_READ


@cache
def _make_real_file(folder: str, kind: str) -> bytes:
    form, picture, sound, options = REAL_FILES[kind]
    return make_media(Path(folder) / "real", form, picture=picture, sound=sound, **options).read_bytes()


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    kind=st.sampled_from(sorted(REAL_FILES)),
    damage=st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=8)), max_size=4),
    length=st.integers(0, 6000),
)
def test_damage_anywhere_raises_nothing(
    tmp_path_factory: pytest.TempPathFactory, kind: str, damage: list[tuple[int, bytes]], length: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(_make_real_file(str(folder), kind))
    for place, bits in damage:
        at = place % len(content)
        content[at : at + len(bits)] = bits
    path = folder / "damaged.mp4"
    path.write_bytes(content[: max(1, length)])
    header = read_video_header(str(path))
    assert header.seconds >= 0.0
    assert header.kind in FileKind


@settings(deadline=None, max_examples=300, derandomize=True)
@given(length=st.integers(1, 6000), kind=st.sampled_from(sorted(REAL_FILES)))
def test_a_real_video_that_was_cut_off_anywhere_is_never_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, length: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    path = folder / "cut.mp4"
    path.write_bytes(_make_real_file(str(folder), kind)[:length])
    header = read_video_header(str(path))
    assert header.kind is not FileKind.NOT_VIDEO or header.finding == "it holds nothing but zeros"
    assert not header.is_silent


@settings(deadline=None, max_examples=300, derandomize=True)
@given(content=st.binary(max_size=400), head=st.sampled_from([b"", FTYP, b"\x1a\x45\xdf\xa3", b"OggS", b"\xff\xfb", b"RIFF"]))
def test_any_bytes_raise_nothing(tmp_path_factory: pytest.TempPathFactory, content: bytes, head: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    path.write_bytes(head + content)
    assert read_video_header(str(path)).kind in FileKind


@pytest.mark.parametrize(
    ("content", "whole"),
    [
        (make_box(b"ftyp") + make_box(b"moov", make_mvhd(1, 1)) + make_box(b"mdat", bytes(50)), True),
        (make_box(b"mdat", bytes(50)) + make_large_box(b"moov", make_mvhd(1, 1)) + make_box(b"free"), True),
        (make_box(b"ftyp") + make_box(b"moov", make_mvhd(1, 1)) + make_last_box(b"mdat", bytes(50)), False),
        (make_box(b"ftyp") + make_box(b"moov", make_mvhd(1, 1)), False),
        (make_box(b"moov", make_mvhd(1, 1)) + make_box(b"mdat") + make_box(b"mdat"), False),
        (make_box(b"moov", make_mvhd(1, 1)) + make_box(b"moof") + make_box(b"mdat"), False),
        (make_webm(), False),
        (b"", False),
    ],
)
def test_whole_is_only_what_could_not_go_on(tmp_path: Path, content: bytes, whole: bool) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    assert is_complete_mp4(str(path)) is whole


def test_a_video_that_was_cut_off_anywhere_is_not_whole(tmp_path: Path) -> None:
    content = make_box(b"ftyp") + make_box(b"moov", make_mvhd(1, 1)) + make_box(b"mdat", bytes(50))
    path = tmp_path / "video.mp4"
    for end in range(len(content)):
        path.write_bytes(content[:end])
        assert not is_complete_mp4(str(path))
    assert not is_complete_mp4(str(tmp_path / "gone.mp4"))
