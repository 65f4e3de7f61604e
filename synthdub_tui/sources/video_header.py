"""Reads a file's header: whether it is a video, how long it plays and whether it has sound; or that it certainly is none.

Nothing is decoded, and no media library is needed. A verdict against a file needs positive evidence: the service may read
formats that this module does not know.
"""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from typing import Final, NamedTuple

from synthdub_tui.sources import matroska_header, mp4_header
from synthdub_tui.sources.bounded_reader import Layout, Medium, Spent, Window
from synthdub_tui.sources.signatures import HEAD, other_than_video

STRANGE: Final = "it begins as nothing that synthdub knows"
TANGLED: Final = "its header is too long or damaged"
FOREIGN_TRACKS: Final = "synthdub does not know what its tracks hold"
SOUND_ONLY: Final = "it holds sound, and no picture"
NO_PICTURE: Final = "it holds neither picture nor sound"
NO_TRACK: Final = "its index lists no track"


class Kind(StrEnum):
    """Verdict of a header on its file."""

    VIDEO = "video"
    NOT_VIDEO = "not_video"  # certain
    UNKNOWN = "unknown"  # unreadable, damaged, or of an unknown kind


class VideoHeader(NamedTuple):
    """Facts about a file from its header."""

    kind: Kind
    seconds: float = 0.0  # playing time, 0 if the header does not give it
    has_video: bool | None = None  # None if it is not known
    has_audio: bool | None = None
    looks: str = ""  # a clause: what the file is instead of a video, or what is wrong with it

    @property
    def silent(self) -> bool:
        """Whether this is certainly a picture without sound."""
        return self.has_video is True and self.has_audio is False


def look_at(path: str) -> VideoHeader:
    """Facts from the file's header. Blocking, for a few reads. Raises nothing, whatever the file contains, even if it is
    missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return VideoHeader(Kind.UNKNOWN, looks=_words(error))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return VideoHeader(Kind.UNKNOWN, looks=STRANGE)
        return _judged(Window(descriptor, status.st_size))
    except Spent:
        return VideoHeader(Kind.UNKNOWN, looks=TANGLED)
    except OSError as error:
        return VideoHeader(Kind.UNKNOWN, looks=_words(error))
    finally:
        os.close(descriptor)


def is_whole(path: str) -> bool:
    """Whether an MP4 or QuickTime file certainly ends where it should; false for other files. Raises nothing."""
    try:
        with open(path, "rb") as file:
            window = Window(file.fileno(), os.fstat(file.fileno()).st_size)
            return mp4_header.known(window.read(0, HEAD)) and mp4_header.is_whole(window)
    except (OSError, Spent):
        return False


def _words(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return f"it cannot be read: {reason}" if reason else "it cannot be read"


def _judged(window: Window) -> VideoHeader:
    layout = _layout(window)
    if layout is not None and (layout.media or layout.whole):
        return _by_tracks(layout)
    other = "it begins as a HEIC or AVIF picture" if layout and mp4_header.is_still(window) else other_than_video(window)
    if other:
        return VideoHeader(Kind.NOT_VIDEO, has_video=False, looks=other)
    return VideoHeader(Kind.UNKNOWN, layout.seconds if layout else 0.0, looks=(layout and layout.fault) or STRANGE)


def _layout(window: Window) -> Layout | None:
    head = window.read(0, HEAD)
    if mp4_header.known(head):
        return mp4_header.read(window)
    if matroska_header.known(head):
        return matroska_header.read(window)
    return None


def _by_tracks(layout: Layout) -> VideoHeader:
    """The verdict from the list of tracks. Only a list that was read whole, with nothing unknown, shows that a medium is
    missing."""
    seconds, media, fault = layout.seconds, layout.media, layout.fault
    certain = layout.whole and Medium.UNSURE not in media
    sound = True if Medium.SOUND in media else False if certain else None
    if Medium.PICTURE in media:
        return VideoHeader(Kind.UNKNOWN if fault else Kind.VIDEO, seconds, True, sound, fault)
    if certain and (sound or not fault):
        looks = SOUND_ONLY if sound else NO_PICTURE if media else NO_TRACK
        return VideoHeader(Kind.NOT_VIDEO, seconds, False, sound, looks)
    return VideoHeader(Kind.UNKNOWN, seconds, None, sound, fault or (TANGLED if certain else FOREIGN_TRACKS))
