"""Keeps the memory of a runner that works for weeks from growing, by a setting of the C library's allocator."""

from __future__ import annotations

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8
"""Number of the option in glibc's malloc.h."""


def share_one_arena() -> None:
    """Let all threads allocate from one arena. Call this before any thread starts.

    glibc creates up to eight arenas per core, so that threads need not wait for each other. Each arena keeps the memory of its
    fullest moment. A runner starts new threads for each upload, so it grew until every arena had reached that moment. Python's
    threads take turns anyway and gain nothing from more arenas. Other C libraries have no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
