"""What a user does to a batch, as changes of its jobs: retry, cancel, remove, review.

Calls no service. Commands therefore also use it directly on the store while no runner works.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from synthdub_tui.ipc.protocol import DubRef, ShownDub
from synthdub_tui.jobs.model import OPEN_STATES, Dub, DubState, Job, WaitReason
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.retry_policy import (
    RetryCost,
    RetryPolicy,
    bill_if_cancelled,
    dub_fingerprint,
    may_retry_automatically,
    policy_for,
    unclaimed,
)
from synthdub_tui.jobs.transitions import cancellation, download, holds
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.runner import clock
from synthdub_tui.runner.output_presence import PRESENT, check_presence
from synthdub_tui.sources.same_file import FileStamp, same_version, source_stamp
from synthdub_tui.store.claim_files import is_claimed

UpdateJob = Callable[[Job], None]
RemoveDubs = Callable[[Job, Sequence[str]], None]

MAX_CAPTIONS_RETRIES: Final = 3
"""Tries after which a new start no longer looks automatically for the missing captions of a finished dub."""


class RetryResult(NamedTuple):
    """The result of a retry."""

    retried: int = 0
    needs_paid: int = 0  # skipped: they may cost credits, and the user did not agree
    changed: tuple[DubRef, ...] = ()  # skipped: they changed since the user saw them


def retry(
    jobs: Mapping[str, Job],
    cells: Iterable[ShownDub],
    allow_paid: bool,
    now: float,
    update_job: UpdateJob,
    gone: Callable[[str], bool],
) -> RetryResult:
    """Retry the dubs that are unchanged since the user saw them.

    Dubs that need the user's consent are retried only with `paid`, and only if their `mark` says what the user saw. Otherwise
    they are looked for at the service if that may find them, which is free. `gone`: whether a path has no file.
    """
    retried = needs_paid = 0
    changed = []
    for cell in dict.fromkeys(cells):
        if not _as_shown(jobs, cell, dub_fingerprint):
            changed.append(DubRef(cell.job, cell.language))
        elif (found := find_retry_policy(jobs[cell.job], cell.language, gone)).must_ask and not (
            allow_paid and cell.state_mark
        ):
            if retry_module.can_check_for_free(jobs[cell.job].dubs[cell.language]):
                update_job(retry_module.check_again(jobs[cell.job], cell.language, now))
            needs_paid += 1
        elif found.step is not None:
            update_job(_again(jobs[cell.job], cell.language, found, now))
            retried += 1
    return RetryResult(retried, needs_paid, tuple(changed))


def find_retry_policy(job: Job, language: str, gone: Callable[[str], bool]) -> RetryPolicy:
    """Returns what a retry of the dub means. Reads the status of files if they decide."""
    dub = job.dubs[language]
    if dub.state is DubState.DONE and not _incomplete(dub, gone):
        return RetryPolicy()
    found = policy_for(job, language)
    if found.reason_code == WaitReason.CLAIMED.value and not is_claimed(
        output_path(job.source.path, language, job.outputs), clock.now()
    ):
        return unclaimed(job, language)
    return policy_for(job, language, source_edited=_edited(job)) if found.cost is RetryCost.USELESS else found


def _again(job: Job, language: str, means: RetryPolicy, now: float) -> Job:
    """Returns the job with the dub retried. If the claim that held it is gone, the user has not agreed to ignore a new one."""
    hold = job.dubs[language].hold
    claimed_no_more = hold is not None and hold.reason is WaitReason.CLAIMED and not means.reason_code
    return holds.release_hold(job, language) if claimed_no_more else retry_module.retry_dub(job, language, now)


def _incomplete(dub: Dub, gone: Callable[[str], bool]) -> bool:
    """Whether a finished dub has something to download again: its file is gone, or captions are missing.

    Captions count only if the video is unchanged: one that the user changed could no longer be recognised as ours.
    """
    output = dub.output
    return output is not None and (gone(output.path) or (dub.lacks_captions and check_presence(output) == PRESENT))


def _edited(job: Job) -> bool:
    """Whether the source exists and is another version than the job knows."""
    try:
        status = os.stat(job.source.path)
    except OSError:
        return False
    return not same_version(source_stamp(job.source), FileStamp(status.st_size, status.st_mtime_ns))


@dataclass
class RetryPlan:
    """The dubs that a user selected, by what a retry of them requires."""

    without_asking: list[DubRef] = field(default_factory=list)
    needs_consent: list[DubRef] = field(default_factory=list)
    only_if_named: list[DubRef] = field(default_factory=list)  # retried only if the user names each of them


def plan_retries(
    jobs: Mapping[str, Job], named: Iterable[DubRef], bulk: Iterable[DubRef], gone: Callable[[str], bool]
) -> RetryPlan:
    """Sort the dubs that the user `named` one by one or selected in `bulk`. Leaves out dubs that cannot be retried."""
    chosen, one_by_one = RetryPlan(), frozenset(named)
    for cell in dict.fromkeys((*named, *bulk)):
        found = find_retry_policy(jobs[cell.job], cell.language, gone)
        if found.never_in_bulk and cell not in one_by_one:
            chosen.only_if_named.append(cell)
        elif found.must_ask:
            chosen.needs_consent.append(cell)
        elif found.step is not None:
            chosen.without_asking.append(cell)
    return chosen


def to_shown_dubs(jobs: Mapping[str, Job], cells: Iterable[DubRef]) -> tuple[ShownDub, ...]:
    """Returns the dubs, each marked with its present `dub_fingerprint`."""
    return tuple(ShownDub(cell.job, cell.language, dub_fingerprint(jobs[cell.job], cell.language)) for cell in cells)


def _as_shown(jobs: Mapping[str, Job], cell: ShownDub, mark: Callable[[Job, str], str]) -> bool:
    job = jobs.get(cell.job)
    return job is not None and cell.language in job.dubs and cell.state_mark in ("", mark(job, cell.language))


def cancel(jobs: Mapping[str, Job], cells: Iterable[ShownDub], now: float, update_job: UpdateJob) -> tuple[int, list[DubRef]]:
    """Cancel dubs. Returns how many, and the dubs skipped because cancelling would leave another bill than the user saw."""
    count, changed = 0, []
    for cell in dict.fromkeys(cells):
        if cell.job not in jobs or cell.language not in jobs[cell.job].dubs:
            continue
        job = jobs[cell.job]
        if job.dubs[cell.language].state not in OPEN_STATES | {DubState.UNKNOWN}:
            continue
        if _as_shown(jobs, cell, bill_if_cancelled):
            update_job(cancellation.cancel_dub(job, cell.language, now))
            count += 1
        else:
            changed.append(DubRef(cell.job, cell.language))
    return count, changed


@dataclass
class RemoveResult:
    """The result of removing dubs: how many were removed, and which were skipped."""

    count: int = 0
    under_way: list[DubRef] = field(default_factory=list)  # or of unknown outcome: the user must cancel them first
    paid: list[DubRef] = field(default_factory=list)  # removing them would forget something paid, and the user did not agree
    changed: list[DubRef] = field(default_factory=list)  # they changed since the user saw them


def remove(
    jobs: Mapping[str, Job],
    cells: Iterable[ShownDub],
    allow_forgetting: bool,
    remove_dubs: RemoveDubs,
    gone: Callable[[str], bool],
) -> RemoveResult:
    """Remove dubs that have ended from the batch; those that `removal_forgets_payment` names only with `allow_forgetting`.

    `remove_dubs` is called with each job and the languages to remove. `gone`: whether a path has no file.
    """
    outcome = RemoveResult()
    by_job: dict[str, list[str]] = {}
    for shown in dict.fromkeys(cells):
        cell = DubRef(shown.job, shown.language)
        if not _as_shown(jobs, shown, dub_fingerprint):
            outcome.changed.append(cell)
        elif not cancellation.can_remove(jobs[cell.job], cell.language):
            outcome.under_way.append(cell)
        elif removal_forgets_payment(jobs[cell.job].dubs[cell.language], gone) and not allow_forgetting:
            outcome.paid.append(cell)
        else:
            by_job.setdefault(cell.job, []).append(cell.language)
    for job_id, languages in by_job.items():
        remove_dubs(jobs[job_id], languages)
        outcome.count += len(languages)
    return outcome


def removal_forgets_payment(dub: Dub, gone: Callable[[str], bool]) -> bool:
    """Whether removing the dub forgets something paid that is not on disk. This includes a finished output that is `gone`."""
    lost = dub.state is DubState.DONE and dub.output is not None and gone(dub.output.path)
    return lost or cancellation.removal_forgets_paid_work(dub)


def review(jobs: Mapping[str, Job], cells: Iterable[DubRef], reviewed: bool, update_job: UpdateJob) -> int:
    """Set or remove review marks. Returns how many dubs have an output to mark."""
    count = 0
    for job_id, language in _expand(jobs, cells):
        if jobs[job_id].dubs[language].output is not None:
            update_job(download.set_reviewed(jobs[job_id], language, reviewed))
            count += 1
    return count


def find_failed_dubs(jobs: Mapping[str, Job]) -> list[DubRef]:
    """Returns all failed dubs."""
    return [DubRef(job.id, language) for job in jobs.values() for language in job.languages_in_state(DubState.FAILED)]


def find_free_retries(jobs: Mapping[str, Job]) -> tuple[ShownDub, ...]:
    """Returns the dubs that a new start may retry automatically: failed dubs that `may_retry_automatically` names, and finished
    dubs that lack captions, until `MAX_CAPTIONS_RETRIES`."""
    failed = [
        cell
        for cell in find_failed_dubs(jobs)
        if may_retry_automatically(jobs[cell.job], cell.language, _policy_without_file_check(jobs, cell))
    ]
    done = ((job, language) for job in jobs.values() for language in job.languages_in_state(DubState.DONE))
    captions = [DubRef(job.id, language) for job, language in done if _looks_for_captions(job.dubs[language])]
    return to_shown_dubs(jobs, failed + captions)


def _looks_for_captions(dub: Dub) -> bool:
    return dub.lacks_captions and dub.captions_tries < MAX_CAPTIONS_RETRIES


def _policy_without_file_check(jobs: Mapping[str, Job], cell: DubRef) -> RetryPolicy:
    return find_retry_policy(jobs[cell.job], cell.language, _never)


def _never(_path: str) -> bool:
    return False


def _expand(jobs: Mapping[str, Job], cells: Iterable[DubRef]) -> Iterable[tuple[str, str]]:
    """Returns job and language of each named dub that exists, each once."""
    named = ((cell.job, lang) for cell in cells if cell.job in jobs for lang in _languages(jobs[cell.job], cell))
    return dict.fromkeys(named)


def _languages(job: Job, cell: DubRef) -> Iterable[str]:
    if not cell.language:
        return tuple(job.dubs)
    return (cell.language,) if cell.language in job.dubs else ()
