"""What the C library does with memory that a runner gives back, in a process that works for weeks."""

from __future__ import annotations

import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8
"""glibc's malloc.h"""


def share_one_arena() -> None:
    """Let all threads allocate from one place. To be called before there are any.

    glibc gives threads arenas of their own, eight for each core, so that they need not wait for each other, and each keeps what
    was free in it when it was fullest. A runner makes new threads for each upload, so it grew for as long as there were arenas
    that had not come to that. Threads of Python take turns as it is, and gain nothing by it. Other C libraries have no such
    setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
