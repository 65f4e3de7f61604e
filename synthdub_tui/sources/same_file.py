"""Decides whether a file is still the recorded one: one rule for sources, outputs and captions. Pure.

Sizes must be equal. Times may differ: a copy, another protocol or a restored backup may keep a coarser time of the same
content. So two times are compared at the coarser of their resolutions.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from synthdub_tui.jobs.model import Source

TIME_RESOLUTIONS_NS: Final = (2_000_000_000, 1_000_000_000, 10_000_000, 1_000_000, 1_000, 100)
"""Nanoseconds between two times that can be kept, coarsest first: FAT; HFS+, ext3 and most archives; exFAT; systems that
count milliseconds; systems that count microseconds; NTFS and SMB. Anything else keeps nanoseconds."""


class FileStamp(NamedTuple):
    """Size in bytes and modification time in nanoseconds since 1970, as a file system gives them."""

    size: int
    mtime_ns: int


def time_resolution_ns(mtime_ns: int) -> int:
    """The coarsest resolution, in nanoseconds, in which this time can have been kept.

    A fine time may end in zeros by chance. Then a change within that resolution goes unseen. For whole seconds the runner
    therefore waits until the coarsest clock has ticked before it uploads a file.
    """
    return next((step for step in TIME_RESOLUTIONS_NS if mtime_ns % step == 0), 1)


def same_time(one_ns: int, other_ns: int) -> bool:
    """Whether two modification times are equal, or one is the other cut or rounded, up or down, to a coarser resolution.

    Not transitive: 13.0 s equals both 12.0 s and 14.0 s (FAT cuts or rounds up), which do not equal each other. So keep the
    finer of two times. A shift by whole hours, as FAT has with daylight saving, is another time: then contents decide.
    """
    return one_ns == other_ns or abs(one_ns - other_ns) < max(time_resolution_ns(one_ns), time_resolution_ns(other_ns))


def same_version(one: FileStamp, other: FileStamp) -> bool:
    """Whether two looks at a path saw the same content, as far as size and time show."""
    return one.size == other.size and same_time(one.mtime_ns, other.mtime_ns)


def finer_stamp(one: FileStamp, other: FileStamp) -> FileStamp:
    """The stamp with the finer time, of two stamps of the same version; `one` if both are equally fine."""
    return other if time_resolution_ns(other.mtime_ns) < time_resolution_ns(one.mtime_ns) else one


def source_stamp(source: Source) -> FileStamp:
    """The recorded stamp of a source."""
    return FileStamp(source.size, source.mtime_ns)


def refresh_source(source: Source, current: FileStamp) -> Source:
    """The source after a look at its file. The same version keeps its digest, and the finer time. Another one has the new
    size and time, and no digest yet."""
    known = source_stamp(source)
    if same_version(known, current):
        return msgspec.structs.replace(source, mtime_ns=finer_stamp(known, current).mtime_ns)
    return msgspec.structs.replace(source, size=current.size, mtime_ns=current.mtime_ns, digest="")
