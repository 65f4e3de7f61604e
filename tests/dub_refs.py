"""Dubs as requests name them, in tests that look at the batch when they ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from synthdub_tui.ipc.protocol import DubRef, ShownDub
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.retry_policy import dub_fingerprint


def shown_dubs(jobs: Mapping[str, Job], cells: Iterable[DubRef]) -> list[ShownDub]:
    """Single dubs with the state that they are in; a cell without a language means all of its job."""
    return [
        ShownDub(one.job, one.language, dub_fingerprint(jobs[one.job], one.language)) for one in shown_in_any_state(jobs, cells)
    ]


def shown_in_any_state(jobs: Mapping[str, Job], cells: Iterable[DubRef]) -> list[ShownDub]:
    """Single dubs, in whatever state; a cell without a language means all of its job."""
    return [ShownDub(cell.job, lang) for cell in cells for lang in jobs[cell.job].dubs if cell.language in ("", lang)]
