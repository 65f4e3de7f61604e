"""Creates small real videos: sources, and outputs whose picture, sound and captions show their language.

Nothing is encoded at run time. `h264` writes raw pictures; the sound, and the pictures of WebM, come from `clips.json`, which
tests/sandbox/make_clips.py created.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from synthdub_tui import languages
from synthdub_tui.sandbox import h264, mp4, picture, webm

FRAMES_PER_SECOND: Final = 10
_BLOCK: Final = 64 * 1024
_WORDS: Final = ("welcome", "safety-briefing", "product-tour", "onboarding", "quarterly-update", "release-notes")
_ENDINGS: Final = (".mp4", ".mov", ".webm")


@dataclass(frozen=True)
class MediaContent:
    """Content of any size: a head in memory, then `padding` bytes that are generated when they are read."""

    head: bytes
    padding: int = 0

    @property
    def size(self) -> int:
        return len(self.head) + self.padding

    @property
    def etag(self) -> str:
        """A strong validator: equal only for equal bytes."""
        return f'"{hashlib.sha256(self.head + str(self.padding).encode()).hexdigest()[:32]}"'

    def pieces(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """`length` bytes from `start`, or all from there, in pieces of at most 64 KiB."""
        at, end = start, self.size if length is None else min(self.size, start + length)
        while at < end:
            padded = at - len(self.head)
            piece = self.head[at : min(end, at + _BLOCK)] if padded < 0 else _pad(padded, end - at)
            yield piece
            at += len(piece)


def dubbed_video(source_title: str, language: str, seconds: float, padding: int) -> MediaContent:
    """An MP4 that shows the language and has its own melody; `padding` adds bytes that players skip."""
    head = _dubbed(source_title, language, seconds)
    if padding <= 0:
        return MediaContent(head)
    box = mp4.free(max(padding, 16))
    return MediaContent(head + box, max(padding, 16) - len(box))


def captions(source_title: str, language: str, seconds: float, kind: str) -> bytes:
    """Captions as `srt` or `vtt`; their text contains the language."""
    text = f"“{source_title}” in {languages.language_name(language)} ({language})"
    half = max(1, int(seconds * 500))
    spans = ((0, half, text), (half, 2 * half, "Made by the synthdub sandbox."))
    if kind == "srt":
        cues = (f"{n}\n{_time(a, ',')} --> {_time(b, ',')}\n{line}\n" for n, (a, b, line) in enumerate(spans, 1))
        return "\n".join(cues).encode()
    cues = (f"{_time(a, '.')} --> {_time(b, '.')}\n{line}\n" for a, b, line in spans)
    return ("WEBVTT\n\n" + "\n".join(cues)).encode()


def thumbnail(source_title: str, language: str, kind: str) -> bytes:
    """The picture of a dubbed video as `png` or `gif`."""
    canvas = picture.draw(source_title, language, languages.language_name(language))
    return picture.png(canvas) if kind == "png" else picture.gif(canvas)


def make_sources(folder: Path, count: int) -> list[Path]:
    """Write `count` distinct source videos: MP4, MOV and WebM in turn, 3 to 5 seconds each."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_make_source(folder, number) for number in range(count)]


def _make_source(folder: Path, number: int) -> Path:
    word = _WORDS[number % len(_WORDS)]
    stem = f"{word}-{number // len(_WORDS) + 1:02d}"
    path = folder / f"{stem}{_ENDINGS[number % len(_ENDINGS)]}"
    seconds = 3 + number % 3
    if path.suffix == ".webm":
        path.write_bytes(_webm(stem, number, seconds))
    else:
        canvas = picture.draw(stem, path.suffix[1:].upper(), "source")
        path.write_bytes(_mp4("qt" if path.suffix == ".mov" else "isom", canvas, stem, number, seconds))
    return path


@lru_cache(maxsize=64)
def _dubbed(title: str, language: str, seconds: float) -> bytes:
    canvas = picture.draw(title, language, languages.language_name(language))
    tone = int.from_bytes(hashlib.sha256(language.encode()).digest()[:2], "big")
    return _mp4("isom", canvas, f"{title} ({language})", tone, seconds)


def _mp4(brand: str, canvas: picture.PictureCanvas, title: str, tone: int, seconds: float) -> bytes:
    sps, pps = h264.parameter_sets()
    shown = h264.frames(canvas, max(2, math.ceil(seconds * FRAMES_PER_SECOND)))
    pictures = [len(unit).to_bytes(4, "big") + unit for unit in shown]
    clips = _clips()
    tracks = [
        mp4.Track(
            pictures,
            1000,
            1000 * FRAMES_PER_SECOND,
            mp4.video_entry(sps, pps, picture.WIDTH, picture.HEIGHT),
            picture.WIDTH,
            picture.HEIGHT,
        ),
        mp4.Track(
            _melody(clips.aac, tone, seconds, clips.rate),
            clips.aac.samples,
            clips.rate,
            mp4.audio_entry(clips.aac.extradata, clips.rate),
        ),
    ]
    return mp4.movie(brand, tracks, title)


def _webm(title: str, tone: int, seconds: int) -> bytes:
    clips = _clips()
    steps = seconds * FRAMES_PER_SECOND
    shown = [clips.vp8.frames[at * len(clips.vp8.frames) // steps] for at in range(steps)]
    sound = _melody(clips.opus, tone, seconds, clips.rate)
    return webm.movie(shown, sound, (clips.vp8.width, clips.vp8.height), clips.opus.extradata, title)


class _Tones(msgspec.Struct, frozen=True):
    """Frames of sound with `samples` samples each: silence, and tones that can be repeated."""

    extradata: bytes
    samples: int
    silence: bytes
    tones: list[bytes]


class _Pictures(msgspec.Struct, frozen=True):
    width: int
    height: int
    frames: list[bytes]


class _Clips(msgspec.Struct, frozen=True):
    rate: int
    aac: _Tones
    opus: _Tones
    vp8: _Pictures


@cache
def _clips() -> _Clips:
    text = files(__package__).joinpath("clips.json").read_bytes()
    return msgspec.json.decode(text, type=_Clips)


def _melody(clip: _Tones, tone: int, seconds: float, rate: int) -> list[bytes]:
    """A melody for `tone`: notes of a quarter of a second, each after a short silence. The order of notes depends on `tone`."""
    frames = max(1, math.ceil(seconds * rate / clip.samples))
    long = max(2, rate // 4 // clip.samples)
    notes = [clip.tones[(tone >> 3 * n) % len(clip.tones)] for n in range(5)]
    return [clip.silence if at % long < 2 else notes[at // long % len(notes)] for at in range(frames)]


@cache
def _noise() -> bytes:
    return b"".join(hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(_BLOCK // 32))


def _pad(at: int, most: int) -> bytes:
    """Padding from `at` to the end of its block. A place always has the same bytes; blocks differ."""
    block, offset = divmod(at, _BLOCK)
    data = block.to_bytes(8, "big") + _noise()[8:]
    return data[offset : offset + most]


def _time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"
