"""Recognises files that are not videos by their first bytes. A file that matches nothing here may still be a video."""

from __future__ import annotations

import codecs
import re
from typing import Final

from synthdub_tui.sources.bounded_reader import BoundedReader

HEAD_BYTES: Final = 4096
"""Bytes that are looked at, at the beginning of a file."""

_PREFIXES: Final = {
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "a ZIP archive",
    b"PK\x07\x08": "a ZIP archive",
    b"\x1f\x8b\x08": "a gzip archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"%PDF-": "a PDF",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF87a": "a GIF picture",
    b"GIF89a": "a GIF picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"8BPS": "a Photoshop picture",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL picture",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000 picture",
    b"ID3": "an MP3 sound file",
    b"fLaC": "a FLAC sound file",
    b"#!AMR": "an AMR sound file",
    b"caff": "a CAF sound file",
    b".snd": "an AU sound file",
    b"riff\x2e\x91\xcf\x11": "a Wave64 sound file",
    b"MThd": "a MIDI file",
    b"\x7fELF": "a program",
    b"\xfe\xed\xfa\xce": "a program",
    b"\xfe\xed\xfa\xcf": "a program",
    b"\xce\xfa\xed\xfe": "a program",
    b"\xcf\xfa\xed\xfe": "a program",
    b"\xca\xfe\xba\xbe": "a program",
    b"SQLite format 3\x00": "an SQLite database",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document",
    b"\x00\x05\x16\x07": "macOS's notes about a file",
    b"\x00\x05\x16\x00": "macOS's notes about a file",
    b"bplist00": "a property list of macOS",
    b"L\x00\x00\x00\x01\x14\x02\x00": "a Windows shortcut",
    b"d8:announce": "a torrent",
    b"version https://git-lfs": "a Git LFS pointer",
    b"/annex/objects/": "a git-annex pointer",
    b"WEBVTT": "subtitles",
    b"[Script Info]": "subtitles",
    b"#EXTM3U": "a playlist",
    b"[InternetShortcut]": "an internet shortcut",
}
"""First bytes → kind of file. No video begins so: none of them can be a first box of MP4 or a first element of Matroska."""

_CONTAINER_FORMS: Final = {
    (b"RIFF", b"WAVE"): "a WAV sound file",
    (b"RF64", b"WAVE"): "a WAV sound file",
    (b"RIFF", b"WEBP"): "a WebP picture",
    (b"FORM", b"AIFF"): "an AIFF sound file",
    (b"FORM", b"AIFC"): "an AIFF sound file",
}
"""Containers that name their content in bytes 8 to 12. AVI, which is a video, has the same form."""

_HTML_START: Final = re.compile(rb"<(?:!doctype\s+html|html|head|body|script|title|meta)\b", re.IGNORECASE)
_CUES: Final = re.compile(rb"\d+[ \t]*\r?\n\d\d:\d\d:\d\d[,.]\d{3} -->")
_ERROR_TEXT: Final = re.compile(r"(?:\d{3}:? |error\b|(?:not found|access denied|forbidden|unauthorized)\W*$)", re.IGNORECASE)
_OGG_SOUND: Final = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")

_MP3_BIT_RATES: Final = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
)
"""Bit rates of MP3 in kbit/s (ISO/IEC 11172-3, 13818-3)."""

_MIN_SOUND_FRAMES: Final = 3
"""Frames in a row that identify raw sound: two bytes alone may be chance."""


def describe_other_kind(window: BoundedReader) -> str:
    """What the file certainly is instead of a video, as a clause; empty if that is not certain.

    Raises OSError and `ReadLimitError`.
    """
    head = window.read(0, HEAD_BYTES)
    if not head.strip(b"\0"):
        return "it holds nothing but zeros" if _is_zero(window) else ""
    name = _prefix(head) or _form(head) or _sound(head) or _program(window, head) or _text(head)
    return f"it begins as {name}" if name else ""


def _is_zero(window: BoundedReader) -> bool:
    """Whether the file contains only zeros: all of a small one is read, pieces of a large one."""
    step = max(HEAD_BYTES, window.size // 64)
    places = [*range(0, window.size, step), max(0, window.size - HEAD_BYTES)]
    return not any(window.read(at, HEAD_BYTES).strip(b"\0") for at in places)


def _prefix(head: bytes) -> str:
    return next((name for prefix, name in _PREFIXES.items() if head.startswith(prefix)), "")


def _form(head: bytes) -> str:
    if head[257:262] == b"ustar":
        return "a tar archive"
    if re.match(rb"BZh[1-9]1AY&SY", head):
        return "a bzip2 archive"
    return _CONTAINER_FORMS.get((head[:4], head[8:12]), "")


def _program(window: BoundedReader, head: bytes) -> str:
    """A Windows program or a BMP picture, by both of its marks: two letters alone may be chance."""
    if head[:2] == b"MZ" and window.read(int.from_bytes(head[60:64], "little"), 4) == b"PE\0\0":
        return "a Windows program"
    if head[:2] == b"BM" and int.from_bytes(head[2:6], "little") == window.size:
        return "a BMP picture"
    return ""


# -- sound ---------------------------------------------------------------------------------------------------------------


def _sound(head: bytes) -> str:
    if head.startswith(b"OggS"):
        return "an Ogg sound file" if _ogg_sound(head) else ""
    for length, name in ((_mp3_frame, "an MP3 sound file"), (_aac_frame, "an AAC sound file")):
        at = 0
        for _ in range(_MIN_SOUND_FRAMES):
            step = length(head[at : at + 8])
            if not step:
                break
            at += step
        else:
            return name
    return ""


def _ogg_sound(head: bytes) -> bool:
    """Whether all streams that the file begins are known to be sound: an Ogg file may contain pictures, too."""
    at, heard = 0, False
    while head[at : at + 4] == b"OggS" and len(head) > at + 27:
        segments = head[at + 27 : at + 27 + head[at + 26]]
        content = at + 27 + len(segments)
        if not head[at + 5] & 2:  # not the beginning of a stream: all have begun
            return heard
        if not head.startswith(_OGG_SOUND, content):
            return False
        heard, at = True, content + sum(segments)
    return False


def _mp3_frame(head: bytes) -> int:
    """Bytes of the MP3 frame that begins like this; 0 if it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, rate, pace = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate in (0, 15) or pace == 3:
        return 0
    hertz = (44100, 48000, 32000)[pace] >> {3: 0, 2: 1, 0: 2}[version]
    return (144_000 if version == 3 else 72_000) * _MP3_BIT_RATES[version == 3][rate] // hertz + (head[2] >> 1 & 1)


def _aac_frame(head: bytes) -> int:
    """Bytes of the AAC frame (ADTS) that begins like this; 0 if it is none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


# -- text ----------------------------------------------------------------------------------------------------------------


def _text(head: bytes) -> str:
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if _HTML_START.match(start):
        return "a web page"
    if start.startswith((b"<?xml", b"<svg")):
        return "an XML text"
    if start.startswith(b"WEBVTT") or _CUES.match(start):
        return "subtitles"
    words = _decoded(head)
    if not words:
        return ""
    if words.startswith(("{", "[")):
        return "a JSON text"
    if words.startswith("<"):
        return "a web page" if _HTML_START.match(words.encode()) else "an XML text"
    return "a text" if "\n" in words or _ERROR_TEXT.match(words) else ""


def _decoded(head: bytes) -> str:
    """The head as text, without leading white space; empty if it is not text. No video begins with so much text."""
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        words = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return ""
    plain = words.translate({ord(space): " " for space in "\t\n\r\f"})
    return words.lstrip() if plain.isprintable() else ""
