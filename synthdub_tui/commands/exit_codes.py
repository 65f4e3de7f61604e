"""The exit code of a run, which scripts rely on. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from synthdub_tui.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, EXIT_WAITING
from synthdub_tui.jobs.model import DubCounts

NOT_ADDED_CODES: Final = frozenset(
    {"path_missing", "path_unreadable", "source_unreadable", "source_empty", "name_invalid", "title_too_long", "state_lost"}
)
"""Codes of problems that keep a named video, or one in a named folder, from being added and so from being dubbed."""

RUN_ANYWAY_CODES: Final = frozenset({"path_unreadable", "source_unreadable", "state_lost"})
"""Codes of `NOT_ADDED_CODES` that are no mistake of the user: the run starts and ends with a summary even without other
videos."""


class RunEnd(Enum):
    """Why a run ended."""

    WORKED = auto()  # nothing was left that could continue automatically
    INTERRUPTED = auto()
    HALTED = auto()  # the service, or the key, stopped all work
    NEVER_BEGAN = auto()  # the same, before anything could be sent


def exit_code(end: RunEnd, counts: DubCounts, *, not_taken: int = 0, unsure: int = 0, gone: int = 0) -> int:
    """Returns the exit code of a run.

    `counts`: of the named videos, or of the whole batch if none was named. `not_taken`: how many named videos could not be
    added. `unsure`: how many need the user's decision. `gone`: how many finished dubs of named videos have lost their files.
    """
    if end is RunEnd.INTERRUPTED:
        return EXIT_INTERRUPTED
    if end is RunEnd.NEVER_BEGAN:
        return EXIT_USAGE
    if end is RunEnd.HALTED or counts.failed or counts.cancelled or counts.unknown or not_taken or gone:
        return EXIT_FAILED
    if counts.done == counts.dubs and not unsure:
        return EXIT_DONE
    return EXIT_WAITING if counts.done + counts.held == counts.dubs else EXIT_FAILED
