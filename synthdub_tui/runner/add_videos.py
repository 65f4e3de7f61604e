"""Adds the videos that scanning found to the batch, and counts what came of them."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.transitions import creation, source_changes
from synthdub_tui.runner.input_validation import trouble_with
from synthdub_tui.runner.request_handlers import Put
from synthdub_tui.sources.add_file import Admitted, Effect, Missing, Moved, Rejected, Undecided, Unsure, admit, job_at
from synthdub_tui.sources.job_index import Known
from synthdub_tui.sources.scan import Found, Skipped
from synthdub_tui.sources.settle import suspect
from synthdub_tui.sources.skip_rules import LEFT_OUT, Why
from synthdub_tui.sources.skipped_summary import LeftOut

Decided = Admitted | Rejected | Unsure


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
    return outcome._replace(job=source_changes.unsettled(outcome.job))


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
            put(creation.add_targets(job, batch.targets, now))


def _note_skipped(added: Added, item: Skipped) -> None:
    trouble = trouble_with(item)
    if item.named:
        added.refused.append(trouble)
    elif item.code in LEFT_OUT:
        added.left_out.note(item)
    else:
        added.troubles.append(trouble)
