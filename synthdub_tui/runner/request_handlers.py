"""What a user does to a batch, as changes of its jobs: add, retry, cancel, remove, review.

Calls no service. Commands therefore also use it directly on the store while no runner works.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from synthdub_tui.ipc.protocol import Cell, Shown
from synthdub_tui.jobs.model import OPEN, Dub, DubState, Job, WaitsFor
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.retry_policy import Cost, RetryPolicy, bill, fingerprint, mends_itself, policy, unclaimed
from synthdub_tui.jobs.transitions import cancellation, download, holds
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.runner import clock
from synthdub_tui.runner.output_presence import THERE, present
from synthdub_tui.sources.same_file import Stamp, same_version, stamp_of
from synthdub_tui.store.claim_files import is_claimed

Put = Callable[[Job], None]
Take = Callable[[Job, Sequence[str]], None]

CAPTIONS_TRIES: Final = 3
"""Tries after which a new start no longer looks automatically for the missing captions of a finished dub."""


class Retried(NamedTuple):
    """The result of a retry."""

    retried: int = 0
    needs_paid: int = 0  # skipped: they may cost credits, and the user did not agree
    changed: tuple[Cell, ...] = ()  # skipped: they changed since the user saw them


def retry(
    jobs: Mapping[str, Job], cells: Iterable[Shown], paid: bool, now: float, put: Put, gone: Callable[[str], bool]
) -> Retried:
    """Retry the dubs that are unchanged since the user saw them.

    Dubs that need the user's consent are retried only with `paid`, and only if their `mark` says what the user saw. Otherwise
    they are looked for at the service if that may find them, which is free. `gone`: whether a path has no file.
    """
    retried = needs_paid = 0
    changed = []
    for cell in dict.fromkeys(cells):
        if not _as_shown(jobs, cell, fingerprint):
            changed.append(Cell(cell.job, cell.language))
        elif (found := policy_of(jobs[cell.job], cell.language, gone)).must_ask and not (paid and cell.mark):
            if retry_module.can_look_for(jobs[cell.job].dubs[cell.language]):
                put(retry_module.looked_for(jobs[cell.job], cell.language, now))
            needs_paid += 1
        elif found.step is not None:
            put(_again(jobs[cell.job], cell.language, found, now))
            retried += 1
    return Retried(retried, needs_paid, tuple(changed))


def policy_of(job: Job, language: str, gone: Callable[[str], bool]) -> RetryPolicy:
    """Returns what a retry of the dub means. Reads the status of files if they decide."""
    dub = job.dubs[language]
    if dub.state is DubState.DONE and not _incomplete(dub, gone):
        return RetryPolicy()
    found = policy(job, language)
    if found.why == WaitsFor.CLAIMED.value and not is_claimed(output_path(job.source.path, language, job.outputs), clock.now()):
        return unclaimed(job, language)
    return policy(job, language, edited=_edited(job)) if found.cost is Cost.USELESS else found


def _again(job: Job, language: str, means: RetryPolicy, now: float) -> Job:
    """Returns the job with the dub retried. If the claim that held it is gone, the user has not agreed to ignore a new one."""
    hold = job.dubs[language].hold
    claimed_no_more = hold is not None and hold.reason is WaitsFor.CLAIMED and not means.why
    return holds.hold_released(job, language) if claimed_no_more else retry_module.retried(job, language, now)


def _incomplete(dub: Dub, gone: Callable[[str], bool]) -> bool:
    """Whether a finished dub has something to download again: its file is gone, or captions are missing.

    Captions count only if the video is unchanged: one that the user changed could no longer be recognised as ours.
    """
    output = dub.output
    return output is not None and (gone(output.path) or (dub.lacks_captions and present(output) == THERE))


def _edited(job: Job) -> bool:
    """Whether the source exists and is another version than the job knows."""
    try:
        status = os.stat(job.source.path)
    except OSError:
        return False
    return not same_version(stamp_of(job.source), Stamp(status.st_size, status.st_mtime_ns))


@dataclass
class Chosen:
    """The dubs that a user selected, by what a retry of them requires."""

    at_once: list[Cell] = field(default_factory=list)
    to_ask: list[Cell] = field(default_factory=list)
    left_out: list[Cell] = field(default_factory=list)  # retried only if the user names each of them


def choose(jobs: Mapping[str, Job], named: Iterable[Cell], bulk: Iterable[Cell], gone: Callable[[str], bool]) -> Chosen:
    """Sort the dubs that the user `named` one by one or selected in `bulk`. Leaves out dubs that cannot be retried."""
    chosen, one_by_one = Chosen(), frozenset(named)
    for cell in dict.fromkeys((*named, *bulk)):
        found = policy_of(jobs[cell.job], cell.language, gone)
        if found.alone and cell not in one_by_one:
            chosen.left_out.append(cell)
        elif found.must_ask:
            chosen.to_ask.append(cell)
        elif found.step is not None:
            chosen.at_once.append(cell)
    return chosen


def as_shown(jobs: Mapping[str, Job], cells: Iterable[Cell]) -> tuple[Shown, ...]:
    """Returns the dubs, each marked with its present `fingerprint`."""
    return tuple(Shown(cell.job, cell.language, fingerprint(jobs[cell.job], cell.language)) for cell in cells)


def _as_shown(jobs: Mapping[str, Job], cell: Shown, mark: Callable[[Job, str], str]) -> bool:
    job = jobs.get(cell.job)
    return job is not None and cell.language in job.dubs and cell.mark in ("", mark(job, cell.language))


def cancel(jobs: Mapping[str, Job], cells: Iterable[Shown], now: float, put: Put) -> tuple[int, list[Cell]]:
    """Cancel dubs. Returns how many, and the dubs skipped because cancelling would leave another bill than the user saw."""
    count, changed = 0, []
    for cell in dict.fromkeys(cells):
        if cell.job not in jobs or cell.language not in jobs[cell.job].dubs:
            continue
        job = jobs[cell.job]
        if job.dubs[cell.language].state not in OPEN | {DubState.UNKNOWN}:
            continue
        if _as_shown(jobs, cell, bill):
            put(cancellation.cancelled(job, cell.language, now))
            count += 1
        else:
            changed.append(Cell(cell.job, cell.language))
    return count, changed


@dataclass
class Removed:
    """The result of removing dubs: how many were removed, and which were skipped."""

    count: int = 0
    under_way: list[Cell] = field(default_factory=list)  # or of unknown outcome: the user must cancel them first
    paid: list[Cell] = field(default_factory=list)  # removing them would forget something paid, and the user did not agree
    changed: list[Cell] = field(default_factory=list)  # they changed since the user saw them


def remove(jobs: Mapping[str, Job], cells: Iterable[Shown], forget: bool, take: Take, gone: Callable[[str], bool]) -> Removed:
    """Remove dubs that have ended from the batch; those that `forgets` names only with `forget`.

    `take` is called with each job and the languages to remove. `gone`: whether a path has no file.
    """
    outcome = Removed()
    by_job: dict[str, list[str]] = {}
    for shown in dict.fromkeys(cells):
        cell = Cell(shown.job, shown.language)
        if not _as_shown(jobs, shown, fingerprint):
            outcome.changed.append(cell)
        elif not cancellation.removable(jobs[cell.job], cell.language):
            outcome.under_way.append(cell)
        elif forgets(jobs[cell.job].dubs[cell.language], gone) and not forget:
            outcome.paid.append(cell)
        else:
            by_job.setdefault(cell.job, []).append(cell.language)
    for job_id, languages in by_job.items():
        take(jobs[job_id], languages)
        outcome.count += len(languages)
    return outcome


def forgets(dub: Dub, gone: Callable[[str], bool]) -> bool:
    """Whether removing the dub forgets something paid that is not on disk. This includes a finished output that is `gone`."""
    lost = dub.state is DubState.DONE and dub.output is not None and gone(dub.output.path)
    return lost or cancellation.forgets_paid(dub)


def review(jobs: Mapping[str, Job], cells: Iterable[Cell], mark: bool, put: Put) -> int:
    """Set or remove review marks. Returns how many dubs have an output to mark."""
    count = 0
    for job_id, language in _expand(jobs, cells):
        if jobs[job_id].dubs[language].output is not None:
            put(download.reviewed(jobs[job_id], language, mark))
            count += 1
    return count


def failed_cells(jobs: Mapping[str, Job]) -> list[Cell]:
    """Returns all failed dubs."""
    return [Cell(job.id, language) for job in jobs.values() for language in job.in_state(DubState.FAILED)]


def free_cells(jobs: Mapping[str, Job]) -> tuple[Shown, ...]:
    """Returns the dubs that a new start may retry automatically: failed dubs that `mends_itself` names, and finished dubs that
    lack captions, until `CAPTIONS_TRIES`."""
    failed = [cell for cell in failed_cells(jobs) if mends_itself(jobs[cell.job], cell.language, _means(jobs, cell))]
    done = ((job, language) for job in jobs.values() for language in job.in_state(DubState.DONE))
    captions = [Cell(job.id, language) for job, language in done if _looks_for_captions(job.dubs[language])]
    return as_shown(jobs, failed + captions)


def _looks_for_captions(dub: Dub) -> bool:
    return dub.lacks_captions and dub.captions_tries < CAPTIONS_TRIES


def _means(jobs: Mapping[str, Job], cell: Cell) -> RetryPolicy:
    return policy_of(jobs[cell.job], cell.language, _never)


def _never(_path: str) -> bool:
    return False


def _expand(jobs: Mapping[str, Job], cells: Iterable[Cell]) -> Iterable[tuple[str, str]]:
    """Returns job and language of each named dub that exists, each once."""
    named = ((cell.job, lang) for cell in cells if cell.job in jobs for lang in _languages(jobs[cell.job], cell))
    return dict.fromkeys(named)


def _languages(job: Job, cell: Cell) -> Iterable[str]:
    if not cell.language:
        return tuple(job.dubs)
    return (cell.language,) if cell.language in job.dubs else ()
