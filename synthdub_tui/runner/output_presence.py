"""Checks whether finished files are still on disk. Commands import it, so it must import fast."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from synthdub_tui.jobs.model import DubState, Job, Output
from synthdub_tui.sources.same_file import Stamp, same_version

THERE: Final = "yes"
GONE: Final = "moved or deleted"
CHANGED: Final = "changed"


def gone(path: str) -> bool:
    """Whether there is nothing at the path, not even a dangling link."""
    return not os.path.lexists(path)


def present(output: Output) -> str:
    """Returns `THERE`, `GONE` or `CHANGED` for the output's file."""
    try:
        found = os.stat(output.path)
    except OSError:
        return GONE
    same = same_version(Stamp(output.size, output.mtime_ns), Stamp(found.st_size, found.st_mtime_ns))
    return THERE if same else CHANGED


class Missed(NamedTuple):
    """A finished dub whose output is gone or changed."""

    job: Job
    language: str
    path: str
    how: str  # `GONE` or `CHANGED`


def missed(jobs: Iterable[Job]) -> list[Missed]:
    """Returns the finished dubs whose outputs are gone or changed. Reads the status of every output."""
    return [
        Missed(job, language, dub.output.path, how)
        for job in jobs
        for language, dub in job.dubs.items()
        if dub.state is DubState.DONE and dub.output is not None and (how := present(dub.output)) != THERE
    ]
