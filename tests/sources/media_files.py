"""Small real media files, encoded and multiplexed by PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

RATE = 48_000
SECONDS = 2


def media(path: Path, form: str, *, picture: str = "", sound: str = "", **options: str) -> Path:
    """A file of two seconds in the container `form`, with a picture and a sound track in these codings where named."""
    with av.open(str(path), "w", format=form, options=options) as container:
        shown = container.add_stream(picture, rate=10) if picture else None
        heard = container.add_stream(sound, rate=RATE) if sound else None
        if isinstance(shown, VideoStream):
            shown.width, shown.height, shown.pix_fmt = 64, 48, _colours(picture)
        if isinstance(heard, AudioStream):
            heard.layout = "mono"  # type: ignore[assignment]
        for stream, frames in ((shown, _pictures(picture)), (heard, _sounds(heard))):
            if stream is not None:
                for frame in (*frames, None):
                    container.mux(stream.encode(frame))  # type: ignore[attr-defined]
    return path


def _colours(codec: str) -> str:
    return {"png": "rgb24", "gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")


def _pictures(codec: str) -> list[VideoFrame]:
    frames = []
    for number in range(SECONDS * 10 if codec not in ("png", "gif") else 1):
        frame = VideoFrame(64, 48, _colours(codec) if codec else "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([64 + number]) * plane.buffer_size)
        frame.pts, frame.time_base = number, Fraction(1, 10)
        frames.append(frame)
    return frames


def _sounds(stream: object) -> list[AudioFrame]:
    if not isinstance(stream, AudioStream):
        return []
    form, size = stream.format.name, stream.codec_context.frame_size or 1024
    frames = []
    for start in range(0, SECONDS * RATE, size):
        frame = AudioFrame(format=form, layout="mono", samples=size)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        frames.append(frame)
    return frames
