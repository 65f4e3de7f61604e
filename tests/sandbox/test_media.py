"""The videos are real: PyAV decodes all of them, and they differ."""

import io
from pathlib import Path
from typing import Any

import av
import pytest

from synthdub_tui import languages
from synthdub_tui.sandbox import dubbed_video, make_sources, media

EXPECTED_FORMATS = {".mp4": ("mov", "h264", "aac"), ".mov": ("mov", "h264", "aac"), ".webm": ("matroska", "vp8", "opus")}


def decode_media(source: Any) -> tuple[float, list[bytes], list[bytes]]:
    """Seconds, pictures and sounds; raises on anything a decoder does not like."""
    with av.open(source) as container:
        for stream in container.streams:
            stream.codec_context.options = {"err_detect": "explode"}
        pictures: list[bytes] = []
        sounds: list[bytes] = []
        for frame in container.decode():
            target = pictures if isinstance(frame, av.VideoFrame) else sounds
            target.append(bytes(frame.planes[0]))
        assert container.duration is not None
        return container.duration / 1_000_000, pictures, sounds


def test_sources(tmp_path: Path) -> None:
    paths = make_sources(tmp_path / "sources", 9)
    assert [path.suffix for path in paths] == [".mp4", ".mov", ".webm"] * 3
    assert len({path.stem for path in paths}) == 9
    assert len({path.read_bytes() for path in paths}) == 9
    for path in paths:
        with av.open(str(path)) as container:
            kind, video, audio = EXPECTED_FORMATS[path.suffix]
            assert kind in container.format.name
            assert container.streams.video[0].codec_context.name == video
            assert container.streams.audio[0].codec_context.name in (audio, f"lib{audio}")
            assert container.metadata["title"] == path.stem
        seconds, pictures, sounds = decode_media(str(path))
        assert 3 <= seconds <= 5.1
        assert len(pictures) == round(seconds * 10)
        assert any(any(sound) for sound in sounds)


def test_many_sources_have_distinct_names(tmp_path: Path) -> None:
    assert len({path.stem for path in make_sources(tmp_path, 40)}) == 40


def test_brands(tmp_path: Path) -> None:
    mp4, mov, webm = (path.read_bytes() for path in make_sources(tmp_path, 3))
    assert (mp4[4:12], mov[4:12], webm[:4]) == (b"ftypisom", b"ftypqt  ", b"\x1aE\xdf\xa3")


def test_dubs_differ_per_language_in_picture_and_sound() -> None:
    seen = {}
    for language in ("fr-FR", "fr-CA", "de", "zh-CN"):
        content = dubbed_video("intro", language, 2.0, 0)
        seconds, pictures, sounds = decode_media(io.BytesIO(b"".join(content.pieces())))
        assert 2 <= seconds < 2.1
        assert len(pictures) == 20
        seen[language] = (pictures[0], b"".join(sounds))
    assert len({picture for picture, _ in seen.values()}) == 4
    assert len({sound for _, sound in seen.values()}) == 4


def test_the_bar_grows() -> None:
    _, pictures, _ = decode_media(io.BytesIO(dubbed_video("intro", "de", 3.0, 0).head))
    assert len(set(pictures)) >= 20


@pytest.mark.parametrize("title", ["", "a" * 256, "日本語 ✓", "<&>\x1b[31m"])
def test_any_title(title: str) -> None:
    _, pictures, _ = decode_media(io.BytesIO(dubbed_video(title, "fr-FR", 1.0, 0).head))
    assert len(pictures) == 10


def test_every_language_can_be_shown() -> None:
    videos = {dubbed_video("intro", language, 0.2, 0).head for language in languages.OUTPUT_CODES}
    assert len(videos) == len(languages.OUTPUT_CODES)


def test_no_video_is_empty() -> None:
    _, pictures, sounds = decode_media(io.BytesIO(dubbed_video("intro", "de", 0.0, 0).head))
    assert pictures
    assert sounds


@pytest.mark.parametrize("padding", [1, 16, 17, 65_536, 200_001])
def test_padding_is_passed_over_and_the_same_from_any_place(padding: int) -> None:
    content = dubbed_video("intro", "de", 1.0, padding)
    whole = b"".join(content.pieces())
    assert len(whole) == content.size == len(dubbed_video("intro", "de", 1.0, 0).head) + max(16, padding)
    for start, length in ((0, 10), (len(content.head) - 5, 10), (content.size - 7, 7), (content.size // 2, 1000)):
        assert b"".join(content.pieces(start, length)) == whole[start : start + length]
    assert len(decode_media(io.BytesIO(whole))[1]) == 10


def test_padding_takes_no_memory() -> None:
    content = dubbed_video("intro", "de", 1.0, 50 * 1024**3)
    assert len(next(content.pieces(40 * 1024**3, 100))) == 100
    assert content.size > 50 * 1024**3


def test_padding_differs_from_place_to_place() -> None:
    content = dubbed_video("intro", "de", 1.0, 1_000_000)
    blocks = {b"".join(content.pieces(len(content.head) + 16 + n * 65_536, 65_536)) for n in range(15)}
    assert len(blocks) == 15


def test_the_clips_are_small() -> None:
    assert (Path(media.__file__).parent / "clips.json").stat().st_size < 200_000
