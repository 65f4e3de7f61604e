"""Reading the header of a file that may hold anything: so much of it and no more."""

from __future__ import annotations

import os
from enum import Enum, auto
from typing import Final, NamedTuple

READS: Final = 2000
"""Reads of one file, at most: a damaged or hostile one must not keep anybody busy."""

BYTES: Final = 2 * 1024 * 1024
"""Bytes read of one file, at most."""


class Spent(Exception):
    """The file took more reads, or bytes, than a header may take."""


class Window:
    """An open file, read by position within the bounds above. `size` is in bytes."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor
        self._reads = READS
        self._bytes = BYTES

    def read(self, at: int, count: int) -> bytes:
        """Up to `count` bytes from `at` on, fewer at the end of the file. Raises OSError and Spent."""
        count = max(0, min(count, self.size - at))
        self._reads -= 1
        self._bytes -= count
        if self._reads < 0 or self._bytes < 0:
            raise Spent
        return os.pread(self._descriptor, count, at) if count else b""


class Medium(Enum):
    """What a track of a video file is for."""

    PICTURE = auto()
    SOUND = auto()
    OTHER = auto()  # certainly neither: subtitles, time codes, chapters
    UNSURE = auto()  # may be either


class Layout(NamedTuple):
    """What the header of a video file lists."""

    seconds: float = 0.0  # playing time, 0 where the header does not say
    media: frozenset[Medium] = frozenset()
    whole: bool = False  # the list of tracks was read to its end, so that what it does not list is not there
    fault: str = ""  # a clause about what seems wrong with the file
