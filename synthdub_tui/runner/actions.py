"""What a user does to a batch, as changes of its jobs: add, retry, cancel, remove, review. Needs no service, so it also
works on the store directly while no runner works."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from synthdub_tui.jobs import changes
from synthdub_tui.jobs.model import OPEN, PAID, Dub, DubState, Job, Rung
from synthdub_tui.jobs.options import Batch
from synthdub_tui.problems import Trouble
from synthdub_tui.runner.checks import trouble_with
from synthdub_tui.runner.present import THERE, present
from synthdub_tui.runner.protocol import Cell
from synthdub_tui.sources.intake import Admitted, Effect, Missing, Moved, Rejected, Undecided, Unsure, admit, job_at
from synthdub_tui.sources.known import Known
from synthdub_tui.sources.left_out import LeftOut
from synthdub_tui.sources.same_file import Stamp, same_version, stamp_of
from synthdub_tui.sources.scan import Found, Skipped
from synthdub_tui.sources.settle import suspect
from synthdub_tui.sources.skip_rules import LEFT_OUT, Why

Put = Callable[[Job], None]
Decided = Admitted | Rejected | Unsure
Take = Callable[[Job, Sequence[str]], None]

CAPTIONS_TRIES: Final = 3
"""Times that captions are looked for by themselves, each with a start of its own."""

_BY_CONTENT: Final = frozenset({"not_a_video", changes.NO_AUDIO})
"""Failures that come again as long as the file is the same."""


_THIS_SIDE: Final = frozenset(
    {
        *("source_missing", "source_unreadable", "source_changed", "source_changing", "source_empty", *_BY_CONTENT),
        *("output_exists", "output_claimed", "output_unwritable", "output_unmounted", "name_too_long", "name_refused"),
        *("disk_full", "upload_failed", "upload_denied", "upload_region", "credentials_expired", "storage_trouble"),
        *("asset_not_uploaded", "internal"),
    }
)
"""Failures for a reason on this side, before anything paid was sent; the reason may be gone with the next start."""


@dataclass
class Added:
    """What naming files and folders came to."""

    effects: dict[Effect, int] = field(default_factory=lambda: dict.fromkeys(Effect, 0))
    named: set[str] = field(default_factory=set)  # paths of the videos that are in the batch now
    left_out: LeftOut = field(default_factory=LeftOut)
    troubles: list[Trouble] = field(default_factory=list)  # with the path as detail
    refused: list[Trouble] = field(default_factory=list)  # about paths that the user named
    unsure: int = 0  # videos, each with a trouble, that the user has to decide about before they cost
    comparing: int = 0  # videos whose content is still to be compared
    compared: int = 0
    stopped: bool = False  # by the user, before all was looked at

    @property
    def skipped(self) -> int:
        """Files in folders that are no videos, or outputs of ours."""
        return self.left_out.number(Why.OTHER, Why.OWN_OUTPUT)

    @property
    def videos(self) -> int:
        """Sources that are in the batch now, or whose content tells whether they are."""
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
    """Add what was found to the batch: all of it, or nothing where a path that the user named is wrong. What it came to is
    noted in `added`.

    Returns the files that take longer: known ones at a new place, and those whose content decides. `lost` are ids of jobs whose
    state is not known any more: what they paid for is paid again only where the user says so (`force_new`). `missing` are jobs
    whose file is gone: each is taken once. `settle`: seconds for which a source must not have changed.
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
    """Say what was not begun anew, since moderation refused it."""
    refused = [language for language in targets if job.refusal(language)]
    if refused:
        added.troubles.append(Trouble("left_refused", f"{job.source.path}: {', '.join(refused)}"))


def note_outcome(added: Added, outcome: Decided, put: Put) -> None:
    """Take in what was decided about a file."""
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
    """As it is, or marked as a new version that may still be written."""
    if not isinstance(outcome, Admitted) or outcome.job.asset is not None:
        return outcome
    if not suspect(found.mtime_ns, found.ctime_ns, now, seconds):
        return outcome
    return outcome._replace(job=changes.unsettled(outcome.job))


def add_languages_of_other_names(
    known: Known, items: Iterable[Found | Skipped], batch: Batch, now: float, put: Put, added: Added
) -> None:
    """A file that was found under another name than its job has gets its languages there."""
    for item in items:
        if not isinstance(item, Skipped) or item.code != Why.SAME_FILE:
            continue
        added.named.add(item.detail)
        job = job_at(known, item.detail, batch)
        if job is not None and not job.dubs.keys() >= set(batch.targets):
            added.effects[Effect.EXTENDED] += 1
            put(changes.add_targets(job, batch.targets, now))


def retry(
    jobs: Mapping[str, Job], cells: Iterable[Cell], paid: bool, now: float, put: Put, gone: Callable[[str], bool]
) -> tuple[int, int]:
    """Retry dubs: (retried, held back since they may cost and `paid` was not said). `gone`: whether a path has no file.

    What fails again as it is (no video, no sound) is retried only where the dub itself is named, not its file."""
    retried = held = 0
    named = dict.fromkeys(cells)
    for job_id, language in _expand(jobs, named):
        job = jobs[job_id]
        dub = job.dubs[language]
        if Cell(job_id, language) not in named and fails_again(job, dub):
            continue
        if dub.state is DubState.DONE and not _incomplete(dub, gone):
            continue
        rung = changes.rung(dub)
        if rung is None:
            continue
        if needs_consent(job, language) and not paid:
            if changes.can_look_for(dub):
                put(changes.looked_for(job, language, now))
            held += 1
            continue
        put(changes.retried(job, language, now))
        retried += 1
    return retried, held


def _incomplete(dub: Dub, gone: Callable[[str], bool]) -> bool:
    """Whether something of a finished dub can be fetched again: its file is gone, or it lacks captions and the file is as it
    was (with one that the user changed, nothing would tell any more that it is ours)."""
    output = dub.output
    return output is not None and (gone(output.path) or (dub.lacks_captions and present(output) == THERE))


def cancel(jobs: Mapping[str, Job], cells: Iterable[Cell], now: float, put: Put) -> int:
    """Give dubs up; how many."""
    count = 0
    for job_id, language in _expand(jobs, cells):
        if jobs[job_id].dubs[language].state in OPEN | {DubState.UNKNOWN}:
            put(changes.cancelled(jobs[job_id], language, now))
            count += 1
    return count


@dataclass
class Removed:
    """What removing dubs came to: how many were, and which were left."""

    count: int = 0
    under_way: list[Cell] = field(default_factory=list)  # or of unknown outcome: to be cancelled first
    paid: list[Cell] = field(default_factory=list)  # something paid would be forgotten, and the user did not agree


def remove(jobs: Mapping[str, Job], cells: Iterable[Cell], forget: bool, take: Take, gone: Callable[[str], bool]) -> Removed:
    """Take dubs that have ended out of the batch, but with `forget` alone those that `forgets` names. `take` is given each job
    with the languages that it loses. `gone`: whether a path has no file."""
    outcome = Removed()
    by_job: dict[str, list[str]] = {}
    for job_id, language in _expand(jobs, cells):
        job = jobs[job_id]
        if not changes.removable(job, language):
            outcome.under_way.append(Cell(job_id, language))
        elif forgets(job.dubs[language], gone) and not forget:
            outcome.paid.append(Cell(job_id, language))
        else:
            by_job.setdefault(job_id, []).append(language)
    for job_id, languages in by_job.items():
        take(jobs[job_id], languages)
        outcome.count += len(languages)
    return outcome


def forgets(dub: Dub, gone: Callable[[str], bool]) -> bool:
    """Whether removing the dub forgets something paid that is not on disk, also because the output is `gone`."""
    lost = dub.state is DubState.DONE and dub.output is not None and gone(dub.output.path)
    return lost or changes.forgets_paid(dub)


def review(jobs: Mapping[str, Job], cells: Iterable[Cell], mark: bool, put: Put) -> int:
    """Set or take back review marks; how many."""
    count = 0
    for job_id, language in _expand(jobs, cells):
        if jobs[job_id].dubs[language].output is not None:
            put(changes.reviewed(jobs[job_id], language, mark))
            count += 1
    return count


def failed_cells(jobs: Mapping[str, Job]) -> list[Cell]:
    """All failed dubs but those that are never retried in bulk: what moderation refused, and what fails again as it is."""
    return [Cell(job.id, language) for job, language in _failed(jobs) if not _one_by_one(job, language)]


def left_out(jobs: Mapping[str, Job]) -> list[Cell]:
    """Failed dubs that are retried only where the user names that very dub."""
    return [Cell(job.id, language) for job, language in _failed(jobs) if _one_by_one(job, language)]


def _failed(jobs: Mapping[str, Job]) -> Iterable[tuple[Job, str]]:
    return ((job, language) for job in jobs.values() for language in job.in_state(DubState.FAILED))


def _one_by_one(job: Job, language: str) -> bool:
    return changes.must_not_be_sent(job, language) or fails_again(job, job.dubs[language])


def fails_again(job: Job, dub: Dub) -> bool:
    """Whether the dub failed for what its file holds, and the file is still the same. Looks at the file."""
    if dub.failure is None or dub.failure.code not in _BY_CONTENT:
        return False
    try:
        status = os.stat(job.source.path)
    except OSError:
        return True
    return same_version(stamp_of(job.source), Stamp(status.st_size, status.st_mtime_ns))


def free_cells(jobs: Mapping[str, Job]) -> list[Cell]:
    """What a new start may take up by itself: failed dubs of which only the download failed, which a look may find, or of which
    nothing was sent for a reason on this side; and, some times, finished ones that lack captions. What the service refused it
    would refuse again, so that is sent again only by the user's retry."""
    failed = [cell for cell in failed_cells(jobs) if _mends_itself(jobs[cell.job].dubs[cell.language])]
    done = ((job, language) for job in jobs.values() for language in job.in_state(DubState.DONE))
    return failed + [Cell(job.id, language) for job, language in done if _looks_for_captions(job.dubs[language])]


def _mends_itself(dub: Dub) -> bool:
    step = changes.rung(dub)
    unsent = dub.failure is not None and dub.failure.code in _THIS_SIDE
    return step is Rung.DOWNLOAD or changes.can_look_for(dub) or (step is Rung.SUBMIT and unsent)


def _looks_for_captions(dub: Dub) -> bool:
    return dub.lacks_captions and dub.captions_tries < CAPTIONS_TRIES


def needs_consent(job: Job, language: str) -> bool:
    """Whether retrying this dub may spend credits again, or endanger the account."""
    return changes.must_not_be_sent(job, language) or changes.rung(job.dubs[language]) in PAID


def _expand(jobs: Mapping[str, Job], cells: Iterable[Cell]) -> Iterable[tuple[str, str]]:
    """Job and language of each named dub that exists, each once."""
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
