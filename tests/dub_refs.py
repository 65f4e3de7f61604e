"""Dubs as requests name them, in tests that look at the batch when they ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from synthdub_tui.ipc.protocol import Cell, Shown
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.retry_policy import fingerprint


def seen(jobs: Mapping[str, Job], cells: Iterable[Cell]) -> list[Shown]:
    """Single dubs with the state that they are in; a cell without a language means all of its job."""
    return [Shown(one.job, one.language, fingerprint(jobs[one.job], one.language)) for one in unmarked(jobs, cells)]


def unmarked(jobs: Mapping[str, Job], cells: Iterable[Cell]) -> list[Shown]:
    """Single dubs, in whatever state; a cell without a language means all of its job."""
    return [Shown(cell.job, lang) for cell in cells for lang in jobs[cell.job].dubs if cell.language in ("", lang)]
