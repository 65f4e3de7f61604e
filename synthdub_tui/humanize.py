"""Numbers in words for people, the same in commands and dashboard."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86400


def format_count(number: int, one: str, more: str = "") -> str:
    """`1 file`, `2 files`, `0 files`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def format_size(count: float) -> str:
    """Returns bytes as text with an SI unit, such as "1.5 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def format_duration(seconds: float) -> str:
    """Returns seconds as text, such as "2 min 05 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def format_rough_duration(seconds: float) -> str:
    """A predicted duration, rounded to its accuracy."""
    if seconds < 90:
        return f"{max(10, round(seconds / 10) * 10)} s"
    if seconds < 5400:
        minutes = seconds / 60
        return f"{round(minutes)} min" if minutes < 10 else f"{round(minutes / 5) * 5} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36000 else f"{round(seconds / 3600)} h"


def format_age(seconds: float) -> str:
    """An age in its largest unit: `4 min ago`. A negative age (the clock was set back) counts as now."""
    if seconds < MINUTE:
        return "now"
    if seconds < HOUR:
        return f"{int(seconds / MINUTE)} min ago"
    if seconds < 2 * DAY:
        return f"{int(seconds / HOUR)} h ago"
    return f"{int(seconds / DAY)} d ago"
