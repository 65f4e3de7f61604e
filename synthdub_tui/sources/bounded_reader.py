"""Reads the header of a file that may contain anything, within bounds."""

from __future__ import annotations

import os
from enum import Enum, auto
from typing import Final, NamedTuple

from synthdub_tui.errors import SynthdubError

MAX_READS: Final = 2000
"""Most reads of one file: a damaged or hostile one must not keep the program busy."""

MAX_BYTES_READ: Final = 2 * 1024 * 1024
"""Most bytes read of one file."""


class ReadLimitError(SynthdubError):
    """The file took more reads, or bytes, than a header may take."""


class BoundedReader:
    """An open file, read by position within these bounds. `size` is in bytes."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor
        self._reads = MAX_READS
        self._bytes = MAX_BYTES_READ

    def read(self, at: int, count: int) -> bytes:
        """Up to `count` bytes from `at` on, fewer at the end of the file. Raises OSError and `ReadLimitError`."""
        count = max(0, min(count, self.size - at))
        self._reads -= 1
        self._bytes -= count
        if self._reads < 0 or self._bytes < 0:
            raise ReadLimitError
        return os.pread(self._descriptor, count, at) if count else b""


class TrackKind(Enum):
    """What a track of a video file is for."""

    PICTURE = auto()
    SOUND = auto()
    OTHER = auto()  # certainly neither: subtitles, time codes, chapters
    UNKNOWN = auto()  # may be either


class HeaderContent(NamedTuple):
    """What the header of a video file lists."""

    seconds: float = 0.0  # playing time, 0 if the header does not give it
    track_kinds: frozenset[TrackKind] = frozenset()
    is_track_list_complete: bool = False  # the list of tracks was read to its end: a track that it does not list does not exist
    fault: str = ""  # a clause about an apparent fault of the file
