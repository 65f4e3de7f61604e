"""Makes `synthdub_tui/sandbox/clips.json`: encoded sound and pictures that the sandbox multiplexes into its videos.

The sandbox has no encoder at run time, so these few frames are encoded once, here, with PyAV:
`python tests/sandbox/make_clips.py`. A tone's period divides the length of a frame, so that one frame, repeated, is the
whole tone: AAC frames are 1024 samples and Opus frames 960 samples at 48 kHz.
"""

import base64
import json
import math
from array import array
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

SAMPLE_RATE_HZ = 48_000
CLIPS_FILE = Path(__file__).parents[2] / "synthdub_tui" / "sandbox" / "clips.json"


def tone_packets(codec: str, hz: float, size: int, **options: str) -> tuple[list[bytes], bytes]:
    """Packets of a second of a sine, and the encoder's extradata."""
    context = av.CodecContext.create(codec, "w")
    context.sample_rate, context.layout, context.format = SAMPLE_RATE_HZ, "mono", "fltp" if codec == "aac" else "s16"
    context.bit_rate, context.options = 32_000, options
    context.open()
    packets = []
    level = 0.3 if hz else 0.0
    for start in range(0, SAMPLE_RATE_HZ - size, size):
        block = [level * math.sin(2 * math.pi * hz * n / SAMPLE_RATE_HZ) for n in range(start, start + size)]
        frame = AudioFrame(format="fltp" if codec == "aac" else "s16", layout="mono", samples=size)
        raw = array("f", block) if codec == "aac" else array("h", (int(value * 32767) for value in block))
        frame.planes[0].update(raw.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets, bytes(context.extradata or b"")


def encode_tones(codec: str, size: int, steps: list[int], **options: str) -> dict[str, object]:
    silence, extradata = tone_packets(codec, 0, size, **options)
    frames = []
    for step in steps:
        packets, _ = tone_packets(codec, step * SAMPLE_RATE_HZ / size, size, **options)
        frames.append(base64.b64encode(packets[30]).decode())
    return {
        "extradata": base64.b64encode(extradata).decode(),
        "samples": size,
        "silence": base64.b64encode(silence[30]).decode(),
        "tones": frames,
    }


def encode_vp8(width: int, height: int, count: int) -> dict[str, object]:
    """Key frames, one a colour, with a bar that grows: each can be shown without the others."""
    frames = []
    for number in range(count):
        context = av.CodecContext.create("libvpx", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.bit_rate = Fraction(1, 10), 200_000
        context.options = {"deadline": "good", "crf": "30"}
        frame = VideoFrame(width, height, "yuv420p")
        for plane, rows in zip(frame.planes, _picture_planes(width, height, number, count), strict=True):
            plane.update(b"".join(row.ljust(plane.line_size, b"\0") for row in rows))
        frame.pts = 0
        packets = [bytes(p) for p in context.encode(frame)] + [bytes(p) for p in context.encode(None)]
        frames.append(base64.b64encode(packets[0]).decode())
    return {"width": width, "height": height, "frames": frames}


def _picture_planes(width: int, height: int, number: int, count: int) -> list[list[bytes]]:
    """Rows of the three planes."""
    long = 12 + (width - 24) * (number + 1) // count
    bar = b"\x40" * 12 + b"\xeb" * (long - 12) + b"\x40" * (width - long)
    luma = [bar if height - 24 <= y < height - 12 else b"\x40" * width for y in range(height)]
    chroma = [[bytes([value]) * (width // 2)] * (height // 2) for value in (100 + 12 * number, 180 - 12 * number)]
    return [luma, *chroma]


def main() -> None:
    scale = [8, 9, 10, 12, 13, 15, 16, 18]
    clips = {
        "rate": SAMPLE_RATE_HZ,
        "aac": encode_tones("aac", 1024, scale),
        "opus": encode_tones("libopus", 960, scale, application="audio", vbr="on"),
        "vp8": encode_vp8(320, 176, 8),
    }
    CLIPS_FILE.write_text(json.dumps(clips, indent=1) + "\n", encoding="utf-8")
    print(f"{CLIPS_FILE}: {CLIPS_FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
