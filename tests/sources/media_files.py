"""Small real media files, encoded and multiplexed by PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

SAMPLE_RATE_HZ = 48_000
MEDIA_SECONDS = 2


def make_media(path: Path, form: str, *, picture: str = "", sound: str = "", **options: str) -> Path:
    """A file of two seconds in the container `form`, with a picture and a sound track in these codings where named."""
    with av.open(str(path), "w", format=form, options=options) as container:
        shown = container.add_stream(picture, rate=10) if picture else None
        heard = container.add_stream(sound, rate=SAMPLE_RATE_HZ) if sound else None
        if isinstance(shown, VideoStream):
            shown.width, shown.height, shown.pix_fmt = 64, 48, _pixel_format(picture)
        if isinstance(heard, AudioStream):
            heard.layout = "mono"  # type: ignore[assignment]
        for stream, frames in ((shown, _video_frames(picture)), (heard, _audio_frames(heard))):
            if stream is not None:
                for frame in (*frames, None):
                    container.mux(stream.encode(frame))  # type: ignore[attr-defined]
    return path


def _pixel_format(codec: str) -> str:
    return {"png": "rgb24", "gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")


def _video_frames(codec: str) -> list[VideoFrame]:
    frames = []
    for number in range(MEDIA_SECONDS * 10 if codec not in ("png", "gif") else 1):
        frame = VideoFrame(64, 48, _pixel_format(codec) if codec else "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([64 + number]) * plane.buffer_size)
        frame.pts, frame.time_base = number, Fraction(1, 10)
        frames.append(frame)
    return frames


def _audio_frames(stream: object) -> list[AudioFrame]:
    if not isinstance(stream, AudioStream):
        return []
    form, size = stream.format.name, stream.codec_context.frame_size or 1024
    frames = []
    for start in range(0, MEDIA_SECONDS * SAMPLE_RATE_HZ, size):
        frame = AudioFrame(format=form, layout="mono", samples=size)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
        frames.append(frame)
    return frames
