"""How a run ended, as the exit code that scripts go by. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from synthdub_tui.jobs.model import Counts

DONE, FAILED, USAGE, BUSY, WAITS, INTERRUPTED = 0, 1, 2, 3, 5, 130
"""Exit codes, see the README."""

NOT_TAKEN: Final = frozenset(
    {"path_missing", "path_unreadable", "source_unreadable", "source_empty", "name_invalid", "title_too_long", "state_lost"}
)
"""Problems of a named video, or of one below a named folder, that leave it without the dubs that were asked for."""

WORTH_A_RUN: Final = frozenset({"path_unreadable", "source_unreadable", "state_lost"})
"""Those of them that end a run with a summary, also where nothing else was found: the user made no mistake."""


class End(Enum):
    """Why a run ended."""

    WORKED = auto()  # nothing was left that could go on by itself
    INTERRUPTED = auto()
    HALTED = auto()  # the service, or the key, stopped all work
    NEVER_BEGAN = auto()  # the same, before anything could be sent


def exit_code(end: End, counts: Counts, *, not_taken: int = 0, unsure: int = 0, gone: int = 0) -> int:
    """The exit code of a run. `counts`: of the videos that were named, or of the whole batch where none was; `not_taken`: named
    videos that could not be taken in; `unsure`: those that the user has to decide about; `gone`: finished dubs of named videos
    whose files are not there any more."""
    if end is End.INTERRUPTED:
        return INTERRUPTED
    if end is End.NEVER_BEGAN:
        return USAGE
    if end is End.HALTED or counts.failed or counts.cancelled or counts.unknown or not_taken or gone:
        return FAILED
    if counts.done == counts.dubs and not unsure:
        return DONE
    return WAITS if counts.done + counts.held == counts.dubs else FAILED
