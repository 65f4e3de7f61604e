"""Adds the videos that scanning found to the batch, and counts what came of them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.transitions import creation, source_changes
from synthdub_tui.runner.input_validation import problem_of_skipped
from synthdub_tui.runner.request_handlers import UpdateJob
from synthdub_tui.sources.add_file import (
    AddedFile,
    AddEffect,
    FileToCompare,
    MissingFiles,
    MovedFile,
    PossiblyPaidFile,
    RejectedFile,
    add_file,
    find_job_at,
)
from synthdub_tui.sources.job_index import JobIndex
from synthdub_tui.sources.scan import FoundVideo, SkippedPath
from synthdub_tui.sources.settle import may_be_changing
from synthdub_tui.sources.skip_rules import SKIP_REASON_CODES, SkipReason
from synthdub_tui.sources.skipped_summary import SkippedSummary

Decided = AddedFile | RejectedFile | PossiblyPaidFile


@dataclass
class AddResult:
    """The result of adding files and folders."""

    effects: dict[AddEffect, int] = field(default_factory=lambda: dict.fromkeys(AddEffect, 0))
    named: set[str] = field(default_factory=set)  # paths of the videos that are in the batch now
    skipped_summary: SkippedSummary = field(default_factory=SkippedSummary)
    problems: list[ProblemError] = field(default_factory=list)  # with the path as detail
    path_problems: list[ProblemError] = field(default_factory=list)  # the same, about paths that the user named
    undecided: int = 0  # videos, each with a trouble, that cost nothing until the user decides
    comparing: int = 0  # videos whose content must still be compared
    compared: int = 0
    stopped: bool = False  # by the user, before every file was examined

    @property
    def skipped(self) -> int:
        """How many files in folders were skipped, as no videos or as outputs of synthdub."""
        return self.skipped_summary.count_for(SkipReason.NOT_A_VIDEO, SkipReason.OWN_OUTPUT)

    @property
    def videos(self) -> int:
        """How many sources are in the batch now, or wait for the user's decision or a comparison of content."""
        return sum(self.effects.values()) + self.undecided + self.comparing


def add_found_files(
    known: JobIndex,
    items: Iterable[FoundVideo | SkippedPath],
    batch: BatchOptions,
    now: float,
    update_job: UpdateJob,
    added: AddResult,
    *,
    lost_job_ids: Container[str] = (),
    missing: MissingFiles | None = None,
    settle_seconds: float = 0.0,
) -> list[tuple[FoundVideo, MovedFile | FileToCompare]]:
    """Add the found files to the batch: all of them, or none if a path that the user named is wrong.

    Notes the result in `added`. Returns the files that take longer: known files in a new place, and files whose content
    decides. `lost_job_ids`: ids of jobs whose state is lost; their dubs are paid for again only with `force_new`. `missing`:
    jobs whose file is gone; each is used for one moved file only. `settle_seconds`: seconds for which a source must not have
    changed.
    """
    found = []
    for item in items:
        if isinstance(item, SkippedPath):
            _note_skipped(added, item)
        else:
            found.append(item)
    later: list[tuple[FoundVideo, MovedFile | FileToCompare]] = []
    for item in found if not added.path_problems else ():
        outcome = add_file(known, item, batch, now, missing=missing)
        if (
            isinstance(outcome, AddedFile)
            and outcome.effect is AddEffect.NEW
            and outcome.job.id in lost_job_ids
            and not batch.force_new
        ):
            added.problems.append(ProblemError("state_lost", outcome.job.source.path))
        elif isinstance(outcome, MovedFile | FileToCompare):
            later.append((item, outcome))
            if isinstance(outcome, MovedFile) and missing is not None:
                del missing[outcome.job.source.size][outcome.job.id]
        else:
            apply_decision(added, mark_unsettled_if_recent(outcome, item, now, settle_seconds), update_job)
            if isinstance(outcome, AddedFile) and batch.force_new:
                _note_refused(added, outcome.job, batch.targets)
    return later


def _note_refused(added: AddResult, job: Job, targets: Iterable[str]) -> None:
    """Note the languages that `force_new` does not dub again because moderation refused them."""
    refused = [language for language in targets if job.refusal_for(language)]
    if refused:
        added.problems.append(ProblemError("left_refused", f"{job.source.path}: {', '.join(refused)}"))


def apply_decision(added: AddResult, outcome: Decided, update_job: UpdateJob) -> None:
    """Apply the decision about a file: save its job with `update_job`, and count it in `added`."""
    match outcome:
        case AddedFile(job, effect):
            added.effects[effect] += 1
            added.named.add(job.source.path)
            update_job(job)
        case RejectedFile(path, code, detail):
            added.problems.append(ProblemError(code, f"{path}: {detail}"))
        case PossiblyPaidFile(path, code):
            added.undecided += 1
            added.named.add(path)
            added.problems.append(ProblemError(code, path))


def mark_unsettled_if_recent(outcome: Decided, found: FoundVideo, now: float, seconds: float) -> Decided:
    """Returns the decision, with the job marked as unsettled if its new version may still be written."""
    if not isinstance(outcome, AddedFile) or outcome.job.asset is not None:
        return outcome
    if not may_be_changing(found.mtime_ns, found.ctime_ns, now, seconds):
        return outcome
    return outcome._replace(job=source_changes.mark_unsettled(outcome.job))


def add_languages_to_same_file(
    known: JobIndex,
    items: Iterable[FoundVideo | SkippedPath],
    batch: BatchOptions,
    now: float,
    update_job: UpdateJob,
    added: AddResult,
) -> None:
    """Add the batch's languages to the existing job of a file that was found under another name."""
    for item in items:
        if not isinstance(item, SkippedPath) or item.code != SkipReason.SAME_FILE:
            continue
        added.named.add(item.detail)
        job = find_job_at(known, item.detail, batch)
        if job is not None and not job.dubs.keys() >= set(batch.targets):
            added.effects[AddEffect.EXTENDED] += 1
            update_job(creation.add_targets(job, batch.targets, now))


def _note_skipped(added: AddResult, item: SkippedPath) -> None:
    trouble = problem_of_skipped(item)
    if item.named:
        added.path_problems.append(trouble)
    elif item.code in SKIP_REASON_CODES:
        added.skipped_summary.add(item)
    else:
        added.problems.append(trouble)
