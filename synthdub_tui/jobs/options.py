"""The batch options: what is to be done with added files."""

from __future__ import annotations

import msgspec


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be done with added files: the batch options. `title` is a prefix, `output_dir` absolute or empty."""

    targets: tuple[str, ...] = ()
    source_language: str = "en"
    title: str = ""
    recursive: bool = True
    exclude: tuple[str, ...] = ()  # patterns of names and paths below a named folder that are left out
    include_hidden: bool = False  # take names that begin with a dot; reserved folders never
    follow_links: bool = False  # look into folders that links lead to
    force_new: bool = False
    agreed: bool = False  # the user agreed to pay for what may have been paid for already
    output_dir: str = ""
    lipsync: bool = False
    video_duration: str = "adaptive"
    visibility: str = "private"
    captions: bool = True
