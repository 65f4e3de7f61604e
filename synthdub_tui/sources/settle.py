"""Decides when a source no longer changes: half of a recording, a download or a copy must not be dubbed and paid for.

Pure: `heed` applies what a look at the file showed, `remaining` says how long the file must still stay the same. `now` is in
seconds of this machine's monotonic clock, which no clock change moves; `wall` is in seconds since the epoch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OPEN_LIMIT: Final = 600.0
"""Seconds without a change after which a file counts as finished although a process has it open for writing. A file whose
last change is older than that needs no closer look."""

NAMED: Final = 1.0
"""Seconds for which a file that the user named must not change."""

COARSE: Final = 2.0
"""Seconds of the coarsest times that file systems keep: those of FAT."""

_SECOND: Final = 1_000_000_000


class Stamp(NamedTuple):
    """Facts that change with a file's content: bytes, both times in nanoseconds, and the inode that has the name."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int = 0


class Look(NamedTuple):
    """Result of one look at a file."""

    stamp: Stamp
    written: bool  # a process has it open for writing
    now: float
    wall: float


class Quiet(NamedTuple):
    """Since when, on the clock of `now`, a file matches its stamp."""

    stamp: Stamp
    since: float


def suspect(mtime_ns: int, ctime_ns: int, wall: float, seconds: float) -> bool:
    """Whether a file may still be being written, as far as its times show. If so, it needs a closer look."""
    limit = max(seconds, OPEN_LIMIT) if seconds else COARSE * _coarse(mtime_ns, ctime_ns)
    return _age(mtime_ns, ctime_ns, wall) < limit


def heed(before: Quiet | None, look: Look, *, named: bool) -> Quiet:
    """The state of a file after a look. `before` is the state before it, None at the first look."""
    if before is not None:
        return before if before.stamp == look.stamp else Quiet(look.stamp, look.now)
    age = _age(look.stamp.mtime_ns, look.stamp.ctime_ns, look.wall)
    if named and age < OPEN_LIMIT:
        age = 0.0  # two own looks show more than times that another computer's clock may have set
    return Quiet(look.stamp, look.now - age)


def remaining(quiet: Quiet, look: Look, seconds: float, *, named: bool) -> float:
    """Seconds for which the file must still stay the same; 0 if it has done so. `seconds` is the user's setting, 0 for off."""
    needed = min(seconds, NAMED) if named else seconds
    if seconds and look.written:
        needed = max(needed, OPEN_LIMIT)
    if _coarse(look.stamp.mtime_ns, look.stamp.ctime_ns):
        needed = max(needed, COARSE)
    return max(0.0, quiet.since + needed - look.now)


def _age(mtime_ns: int, ctime_ns: int, wall: float) -> float:
    """Seconds since the later of the two times; a time in the future is not old.

    A program that copies a file sets the modification time back to the original's, but cannot set the change time.
    """
    return max(0.0, wall - max(mtime_ns, ctime_ns) / _SECOND)


def _coarse(mtime_ns: int, ctime_ns: int) -> bool:
    """Whether the file system keeps whole seconds, or two: its times do not show what else is written within the same ones."""
    return mtime_ns % _SECOND == 0 and ctime_ns % _SECOND == 0
