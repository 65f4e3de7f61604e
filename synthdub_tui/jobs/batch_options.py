"""The batch options: what to do with added files."""

from __future__ import annotations

import msgspec


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The batch options: what to do with added files. `title` is a prefix, `output_dir` is absolute or empty."""

    targets: tuple[str, ...] = ()
    source_language: str = "en"
    title: str = ""
    recursive: bool = True
    exclude: tuple[str, ...] = ()  # patterns of names and paths below a named folder to skip
    include_hidden: bool = False  # include names that begin with a dot, but never reserved folders
    follow_links: bool = False  # look into folders that links lead to
    force_new: bool = False
    agreed: bool = False  # the user agreed to pay for dubs that may have been paid for already
    output_dir: str = ""
    lipsync: bool = False
    video_duration: str = "adaptive"
    visibility: str = "private"
    captions: bool = True
