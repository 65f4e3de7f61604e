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
from synthdub_tui.sources.bounded_reader import BoundedReader, HeaderContent, ReadLimitError, TrackKind
from synthdub_tui.sources.signatures import HEAD_BYTES, describe_other_kind

UNKNOWN_BEGINNING: Final = "it begins as nothing that synthdub knows"
UNREADABLE_HEADER: Final = "its header is too long or damaged"
FOREIGN_TRACKS: Final = "synthdub does not know what its tracks hold"
SOUND_ONLY: Final = "it holds sound, and no picture"
NO_PICTURE: Final = "it holds neither picture nor sound"
NO_TRACK: Final = "its index lists no track"


class FileKind(StrEnum):
    """Verdict of a header on its file."""

    VIDEO = "video"
    NOT_VIDEO = "not_video"  # certain
    UNKNOWN = "unknown"  # unreadable, damaged, or of an unknown kind


class VideoHeader(NamedTuple):
    """Facts about a file from its header."""

    kind: FileKind
    seconds: float = 0.0  # playing time, 0 if the header does not give it
    has_video: bool | None = None  # None if it is not known
    has_audio: bool | None = None
    finding: str = ""  # a clause: what the file is instead of a video, or what is wrong with it

    @property
    def is_silent(self) -> bool:
        """Whether this is certainly a picture without sound."""
        return self.has_video is True and self.has_audio is False


def read_video_header(path: str) -> VideoHeader:
    """Facts from the file's header. Blocking, for a few reads. Raises nothing, whatever the file contains, even if it is
    missing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return VideoHeader(FileKind.UNKNOWN, finding=_describe_error(error))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return VideoHeader(FileKind.UNKNOWN, finding=UNKNOWN_BEGINNING)
        return _classify(BoundedReader(descriptor, status.st_size))
    except ReadLimitError:
        return VideoHeader(FileKind.UNKNOWN, finding=UNREADABLE_HEADER)
    except OSError as error:
        return VideoHeader(FileKind.UNKNOWN, finding=_describe_error(error))
    finally:
        os.close(descriptor)


def is_complete_mp4(path: str) -> bool:
    """Whether an MP4 or QuickTime file certainly ends where it should; false for other files. Raises nothing."""
    try:
        with open(path, "rb") as file:
            window = BoundedReader(file.fileno(), os.fstat(file.fileno()).st_size)
            return mp4_header.is_mp4(window.read(0, HEAD_BYTES)) and mp4_header.is_complete(window)
    except (OSError, ReadLimitError):
        return False


def _describe_error(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return f"it cannot be read: {reason}" if reason else "it cannot be read"


def _classify(window: BoundedReader) -> VideoHeader:
    layout = _layout(window)
    if layout is not None and (layout.track_kinds or layout.is_track_list_complete):
        return _classify_by_tracks(layout)
    other = (
        "it begins as a HEIC or AVIF picture" if layout and mp4_header.is_still_picture(window) else describe_other_kind(window)
    )
    if other:
        return VideoHeader(FileKind.NOT_VIDEO, has_video=False, finding=other)
    return VideoHeader(
        FileKind.UNKNOWN, layout.seconds if layout else 0.0, finding=(layout and layout.fault) or UNKNOWN_BEGINNING
    )


def _layout(window: BoundedReader) -> HeaderContent | None:
    head = window.read(0, HEAD_BYTES)
    if mp4_header.is_mp4(head):
        return mp4_header.read_header(window)
    if matroska_header.is_matroska(head):
        return matroska_header.read_header(window)
    return None


def _classify_by_tracks(layout: HeaderContent) -> VideoHeader:
    """The verdict from the list of tracks. Only a list that was read whole, with nothing unknown, shows that a medium is
    missing."""
    seconds, media, fault = layout.seconds, layout.track_kinds, layout.fault
    certain = layout.is_track_list_complete and TrackKind.UNKNOWN not in media
    sound = True if TrackKind.SOUND in media else False if certain else None
    if TrackKind.PICTURE in media:
        return VideoHeader(FileKind.UNKNOWN if fault else FileKind.VIDEO, seconds, True, sound, fault)
    if certain and (sound or not fault):
        looks = SOUND_ONLY if sound else NO_PICTURE if media else NO_TRACK
        return VideoHeader(FileKind.NOT_VIDEO, seconds, False, sound, looks)
    return VideoHeader(FileKind.UNKNOWN, seconds, None, sound, fault or (UNREADABLE_HEADER if certain else FOREIGN_TRACKS))
