"""Checks whether finished files are still on disk. Commands import it, so it must import fast."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from synthdub_tui.jobs.model import DubState, Job, Output
from synthdub_tui.sources.same_file import FileStamp, same_version

PRESENT: Final = "yes"
GONE: Final = "moved or deleted"
CHANGED: Final = "changed"


def is_gone(path: str) -> bool:
    """Whether there is nothing at the path, not even a dangling link."""
    return not os.path.lexists(path)


def check_presence(output: Output) -> str:
    """Returns `PRESENT`, `GONE` or `CHANGED` for the output's file."""
    try:
        found = os.stat(output.path)
    except OSError:
        return GONE
    same = same_version(FileStamp(output.size, output.mtime_ns), FileStamp(found.st_size, found.st_mtime_ns))
    return PRESENT if same else CHANGED


class OutputMismatch(NamedTuple):
    """A finished dub whose output is gone or changed."""

    job: Job
    language: str
    path: str
    presence: str  # `GONE` or `CHANGED`


def find_output_mismatches(jobs: Iterable[Job]) -> list[OutputMismatch]:
    """Returns the finished dubs whose outputs are gone or changed. Reads the status of every output."""
    return [
        OutputMismatch(job, language, dub.output.path, how)
        for job in jobs
        for language, dub in job.dubs.items()
        if dub.state is DubState.DONE and dub.output is not None and (how := check_presence(dub.output)) != PRESENT
    ]
