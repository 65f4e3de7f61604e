"""When a source has come to rest: half of a recording, a download or a copy must not be dubbed, and paid for.

Pure: `heed` takes in what a look at the file showed, `remaining` says how long it must still stay as it is. Seconds `now` are
those of this machine's monotonic clock, which no clock change moves; seconds `wall` are since the epoch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OPEN_LIMIT: Final = 600.0
"""Seconds without a change after which a file is taken although a process has it open for writing. A file whose last change is
older than that is taken without a closer look."""

NAMED: Final = 1.0
"""Seconds for which a file that the user named must not change."""

COARSE: Final = 2.0
"""Seconds of the coarsest times that file systems keep, those of FAT."""

_SECOND: Final = 1_000_000_000


class Stamp(NamedTuple):
    """What changes with a file's content: bytes, both times in nanoseconds, and which file has the name."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int = 0


class Look(NamedTuple):
    """What one look at a file showed."""

    stamp: Stamp
    written: bool  # a process has it open for writing
    now: float
    wall: float


class Quiet(NamedTuple):
    """Since when (`now`) a file is as its stamp says."""

    stamp: Stamp
    since: float


def suspect(mtime_ns: int, ctime_ns: int, wall: float, seconds: float) -> bool:
    """Whether a file may still be written, as far as its times tell: then it needs a closer look."""
    limit = max(seconds, OPEN_LIMIT) if seconds else COARSE * _coarse(mtime_ns, ctime_ns)
    return _age(mtime_ns, ctime_ns, wall) < limit


def heed(before: Quiet | None, look: Look, *, named: bool) -> Quiet:
    """What is known after a look. `before`: what was known of this file, None at the first look."""
    if before is not None:
        return before if before.stamp == look.stamp else Quiet(look.stamp, look.now)
    age = _age(look.stamp.mtime_ns, look.stamp.ctime_ns, look.wall)
    if named and age < OPEN_LIMIT:
        age = 0.0  # two looks of our own tell more than times that another computer's clock may have set
    return Quiet(look.stamp, look.now - age)


def remaining(quiet: Quiet, look: Look, seconds: float, *, named: bool) -> float:
    """Seconds for which the file must still stay as it is; 0 once it rests. `seconds`: the user's setting, 0 for off."""
    needed = min(seconds, NAMED) if named else seconds
    if seconds and look.written:
        needed = max(needed, OPEN_LIMIT)
    if _coarse(look.stamp.mtime_ns, look.stamp.ctime_ns):
        needed = max(needed, COARSE)
    return max(0.0, quiet.since + needed - look.now)


def _age(mtime_ns: int, ctime_ns: int, wall: float) -> float:
    """Seconds since the later of the two times; a time in the future is not old. The program that copies a file sets the first
    back to that of its original, but cannot set the second."""
    return max(0.0, wall - max(mtime_ns, ctime_ns) / _SECOND)


def _coarse(mtime_ns: int, ctime_ns: int) -> bool:
    """Whether the file system keeps whole seconds, or two: its times do not show what else is written in the same ones."""
    return mtime_ns % _SECOND == 0 and ctime_ns % _SECOND == 0
