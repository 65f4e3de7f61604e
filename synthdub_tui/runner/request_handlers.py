"""What a user does to a batch, as changes of its jobs: add, retry, cancel, remove, review.

Calls no service. Commands therefore also use it directly on the store while no runner works.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from synthdub_tui.ipc.protocol import Cell, Shown
from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.jobs.model import OPEN, Dub, DubState, Job, WaitsFor
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.retry_policy import Cost, RetryPolicy, bill, fingerprint, mends_itself, policy, unclaimed
from synthdub_tui.jobs.transitions import dub_states
from synthdub_tui.problems import Trouble
from synthdub_tui.runner import clock
from synthdub_tui.runner.input_validation import trouble_with
from synthdub_tui.runner.output_presence import THERE, present
from synthdub_tui.sources.add_file import Admitted, Effect, Missing, Moved, Rejected, Undecided, Unsure, admit, job_at
from synthdub_tui.sources.job_index import Known
from synthdub_tui.sources.same_file import Stamp, same_version, stamp_of
from synthdub_tui.sources.scan import Found, Skipped
from synthdub_tui.sources.settle import suspect
from synthdub_tui.sources.skip_rules import LEFT_OUT, Why
from synthdub_tui.sources.skipped_summary import LeftOut
from synthdub_tui.store.claim_files import is_claimed

Put = Callable[[Job], None]
Decided = Admitted | Rejected | Unsure
Take = Callable[[Job, Sequence[str]], None]

CAPTIONS_TRIES: Final = 3
"""Tries after which a new start no longer looks automatically for the missing captions of a finished dub."""


@dataclass
class Added:
    """The result of adding files and folders."""

    effects: dict[Effect, int] = field(default_factory=lambda: dict.fromkeys(Effect, 0))
    named: set[str] = field(default_factory=set)  # paths of the videos that are in the batch now
    left_out: LeftOut = field(default_factory=LeftOut)
    troubles: list[Trouble] = field(default_factory=list)  # with the path as detail
    refused: list[Trouble] = field(default_factory=list)  # the same, about paths that the user named
    unsure: int = 0  # videos, each with a trouble, that cost nothing until the user decides
    comparing: int = 0  # videos whose content must still be compared
    compared: int = 0
    stopped: bool = False  # by the user, before every file was examined

    @property
    def skipped(self) -> int:
        """How many files in folders were skipped, as no videos or as outputs of synthdub."""
        return self.left_out.number(Why.OTHER, Why.OWN_OUTPUT)

    @property
    def videos(self) -> int:
        """How many sources are in the batch now, or wait for the user's decision or a comparison of content."""
        return sum(self.effects.values()) + self.unsure + self.comparing


def take_in(
    known: Known,
    items: Iterable[Found | Skipped],
    batch: Batch,
    now: float,
    put: Put,
    added: Added,
    *,
    lost: Container[str] = (),
    missing: Missing | None = None,
    settle: float = 0.0,
) -> list[tuple[Found, Moved | Undecided]]:
    """Add the found files to the batch: all of them, or none if a path that the user named is wrong.

    Notes the result in `added`. Returns the files that take longer: known files in a new place, and files whose content
    decides. `lost`: ids of jobs whose state is lost; their dubs are paid for again only with `force_new`. `missing`: jobs whose
    file is gone; each is used for one moved file only. `settle`: seconds for which a source must not have changed.
    """
    found = []
    for item in items:
        if isinstance(item, Skipped):
            _note_skipped(added, item)
        else:
            found.append(item)
    later: list[tuple[Found, Moved | Undecided]] = []
    for item in found if not added.refused else ():
        outcome = admit(known, item, batch, now, missing=missing)
        if isinstance(outcome, Admitted) and outcome.effect is Effect.NEW and outcome.job.id in lost and not batch.force_new:
            added.troubles.append(Trouble("state_lost", outcome.job.source.path))
        elif isinstance(outcome, Moved | Undecided):
            later.append((item, outcome))
            if isinstance(outcome, Moved) and missing is not None:
                del missing[outcome.job.source.size][outcome.job.id]
        else:
            note_outcome(added, settled(outcome, item, now, settle), put)
            if isinstance(outcome, Admitted) and batch.force_new:
                _note_refused(added, outcome.job, batch.targets)
    return later


def _note_refused(added: Added, job: Job, targets: Iterable[str]) -> None:
    """Note the languages that `force_new` does not dub again because moderation refused them."""
    refused = [language for language in targets if job.refusal(language)]
    if refused:
        added.troubles.append(Trouble("left_refused", f"{job.source.path}: {', '.join(refused)}"))


def note_outcome(added: Added, outcome: Decided, put: Put) -> None:
    """Apply the decision about a file: save its job with `put`, and count it in `added`."""
    match outcome:
        case Admitted(job, effect):
            added.effects[effect] += 1
            added.named.add(job.source.path)
            put(job)
        case Rejected(path, code, detail):
            added.troubles.append(Trouble(code, f"{path}: {detail}"))
        case Unsure(path, code):
            added.unsure += 1
            added.named.add(path)
            added.troubles.append(Trouble(code, path))


def settled(outcome: Decided, found: Found, now: float, seconds: float) -> Decided:
    """Returns the decision, with the job marked as unsettled if its new version may still be written."""
    if not isinstance(outcome, Admitted) or outcome.job.asset is not None:
        return outcome
    if not suspect(found.mtime_ns, found.ctime_ns, now, seconds):
        return outcome
    return outcome._replace(job=dub_states.unsettled(outcome.job))


def add_languages_of_other_names(
    known: Known, items: Iterable[Found | Skipped], batch: Batch, now: float, put: Put, added: Added
) -> None:
    """Add the batch's languages to the existing job of a file that was found under another name."""
    for item in items:
        if not isinstance(item, Skipped) or item.code != Why.SAME_FILE:
            continue
        added.named.add(item.detail)
        job = job_at(known, item.detail, batch)
        if job is not None and not job.dubs.keys() >= set(batch.targets):
            added.effects[Effect.EXTENDED] += 1
            put(dub_states.add_targets(job, batch.targets, now))


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
            if dub_states.can_look_for(jobs[cell.job].dubs[cell.language]):
                put(dub_states.looked_for(jobs[cell.job], cell.language, now))
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
    return dub_states.hold_released(job, language) if claimed_no_more else dub_states.retried(job, language, now)


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
            put(dub_states.cancelled(job, cell.language, now))
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
        elif not dub_states.removable(jobs[cell.job], cell.language):
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
    return lost or dub_states.forgets_paid(dub)


def review(jobs: Mapping[str, Job], cells: Iterable[Cell], mark: bool, put: Put) -> int:
    """Set or remove review marks. Returns how many dubs have an output to mark."""
    count = 0
    for job_id, language in _expand(jobs, cells):
        if jobs[job_id].dubs[language].output is not None:
            put(dub_states.reviewed(jobs[job_id], language, mark))
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


def _note_skipped(added: Added, item: Skipped) -> None:
    trouble = trouble_with(item)
    if item.named:
        added.refused.append(trouble)
    elif item.code in LEFT_OUT:
        added.left_out.note(item)
    else:
        added.troubles.append(trouble)
