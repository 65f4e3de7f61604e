"""Decides when a source no longer changes: half of a recording, a download or a copy must not be dubbed and paid for.

Pure: `update_quiet_period` applies what a look at the file showed, `remaining_quiet_seconds` says how long the file must still
stay the same. `monotonic_time` is in seconds of this machine's monotonic clock, which no clock change moves; `wall_time` is in
seconds since the epoch.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OPEN_FILE_QUIET_SECONDS: Final = 600.0
"""Seconds without a change after which a file counts as finished although a process has it open for writing. A file whose
last change is older than that needs no closer look."""

NAMED_FILE_QUIET_SECONDS: Final = 1.0
"""Seconds for which a file that the user named must not change."""

COARSE_TIME_SECONDS: Final = 2.0
"""Seconds of the coarsest times that file systems keep: those of FAT."""

_NANOSECONDS_PER_SECOND: Final = 1_000_000_000


class ChangeStamp(NamedTuple):
    """Facts that change with a file's content: bytes, both times in nanoseconds, and the inode that has the name."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int = 0


class FileObservation(NamedTuple):
    """Result of one look at a file."""

    stamp: ChangeStamp
    is_open_for_writing: bool  # a process has it open for writing
    monotonic_time: float
    wall_time: float


class QuietPeriod(NamedTuple):
    """Since when, on the clock of `monotonic_time`, a file matches its stamp."""

    stamp: ChangeStamp
    since: float


def may_be_changing(mtime_ns: int, ctime_ns: int, wall: float, settle_seconds: float) -> bool:
    """Whether a file may still be being written, as far as its times show. If so, it needs a closer look."""
    limit = (
        max(settle_seconds, OPEN_FILE_QUIET_SECONDS)
        if settle_seconds
        else COARSE_TIME_SECONDS * _has_coarse_times(mtime_ns, ctime_ns)
    )
    return _age(mtime_ns, ctime_ns, wall) < limit


def update_quiet_period(before: QuietPeriod | None, observation: FileObservation, *, named: bool) -> QuietPeriod:
    """The state of a file after a look. `before` is the state before it, None at the first look."""
    if before is not None:
        return before if before.stamp == observation.stamp else QuietPeriod(observation.stamp, observation.monotonic_time)
    age = _age(observation.stamp.mtime_ns, observation.stamp.ctime_ns, observation.wall_time)
    if named and age < OPEN_FILE_QUIET_SECONDS:
        age = 0.0  # two own looks show more than times that another computer's clock may have set
    return QuietPeriod(observation.stamp, observation.monotonic_time - age)


def remaining_quiet_seconds(quiet: QuietPeriod, observation: FileObservation, settle_seconds: float, *, named: bool) -> float:
    """Seconds for which the file must still stay the same; 0 if it has done so. `settle_seconds` is the user's setting, 0 for
    off."""
    needed = min(settle_seconds, NAMED_FILE_QUIET_SECONDS) if named else settle_seconds
    if settle_seconds and observation.is_open_for_writing:
        needed = max(needed, OPEN_FILE_QUIET_SECONDS)
    if _has_coarse_times(observation.stamp.mtime_ns, observation.stamp.ctime_ns):
        needed = max(needed, COARSE_TIME_SECONDS)
    return max(0.0, quiet.since + needed - observation.monotonic_time)


def _age(mtime_ns: int, ctime_ns: int, wall: float) -> float:
    """Seconds since the later of the two times; a time in the future is not old.

    A program that copies a file sets the modification time back to the original's, but cannot set the change time.
    """
    return max(0.0, wall - max(mtime_ns, ctime_ns) / _NANOSECONDS_PER_SECOND)


def _has_coarse_times(mtime_ns: int, ctime_ns: int) -> bool:
    """Whether the file system keeps whole seconds, or two: its times do not show what else is written within the same ones."""
    return mtime_ns % _NANOSECONDS_PER_SECOND == 0 and ctime_ns % _NANOSECONDS_PER_SECOND == 0
