"""The batch options: what is to be done with added files."""

from __future__ import annotations

import msgspec


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be done with added files: the batch options. `title` is a prefix, `output_dir` absolute or empty."""

    targets: tuple[str, ...] = ()
    source_language: str = "en"
    title: str = ""
    recursive: bool = True
    force_new: bool = False
    output_dir: str = ""
    lipsync: bool = False
    video_duration: str = "adaptive"
    visibility: str = "private"
    captions: bool = True
