"""The user gives a dub up, or takes it out of the batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from synthdub_tui.jobs.failure_codes import SUBMISSION_UNKNOWN
from synthdub_tui.jobs.model import OPEN_STATES, Dub, DubState, Failure, FailureScope, Job
from synthdub_tui.jobs.transitions.download import part_of_output, published_part
from synthdub_tui.jobs.transitions.dub_states import IllegalTransitionError, change_state, update_stage
from synthdub_tui.jobs.transitions.submission import has_unknown_outcome

_REMOVABLE: Final = frozenset({DubState.DONE, DubState.FAILED, DubState.CANCELLED})


def can_remove(job: Job, language: str) -> bool:
    """Whether the dub has ended, and no paid request for it is waiting for its answer."""
    sent = job.submission is not None and language in job.submission.languages
    return job.dubs[language].state in _REMOVABLE and not sent


def removal_forgets_paid_work(dub: Dub) -> bool:
    """Whether removing the dub forgets work that was, or may have been, paid for and is not on disk."""
    return dub.state is not DubState.DONE and bool(dub.project or dub.submitted or has_unknown_outcome(dub))


def remove_dubs(job: Job, languages: Iterable[str]) -> Job | None:
    """The job without these dubs; None if none is left. Their files are not touched.

    Raises `IllegalTransitionError` if a dub is not `can_remove`.
    """
    gone = set(languages)
    if not all(can_remove(job, language) for language in gone):
        raise IllegalTransitionError(f"{job.id}: only dubs that have ended can be removed")
    left = {language: dub for language, dub in job.dubs.items() if language not in gone}
    return update_stage(replace(job, dubs=left)) if left else None


def cancel_dub(job: Job, language: str, now: float) -> Job:
    """Cancel a dub for the user. The service may continue, and bill. A dub that has ended stays as it is.

    If its outcome was unknown, it stays so for a later retry, which may pay twice. A dub that only downloads captions is done
    again.
    """
    dub = job.dubs[language]
    if dub.state not in OPEN_STATES and dub.state is not DubState.UNKNOWN:
        return job
    if _downloads_only_captions(dub):
        lacking = Failure("captions_failed", FailureScope.DOWNLOAD, now, "fetching them was cancelled")
        return update_stage(change_state(job, language, DubState.DONE, now, part=None, failure=lacking))
    failure = dub.failure if dub.state is DubState.UNKNOWN else None
    return update_stage(
        change_state(job, language, DubState.CANCELLED, now, part=None, landed=published_part(dub), failure=failure)
    )


def billing_problem_code(job: Job, language: str) -> str:
    """Code of the problem that a cancelled dub may be billed; empty if it was refused, or never sent."""
    dub = job.dubs[language]
    if dub.state is not DubState.CANCELLED:
        return ""
    if job.submission is not None and language in job.submission.languages:
        return "cancelled_under_way"
    if dub.failure is not None:
        return dub.failure.code if dub.failure.code == SUBMISSION_UNKNOWN else ""
    return "cancelled_late" if dub.project and dub.next_rung is None else ""


def _downloads_only_captions(dub: Dub) -> bool:
    """Whether a done dub is in progress only for its captions: its output is recorded as the part that got the final name."""
    return dub.state in OPEN_STATES and dub.output is not None and dub.part == part_of_output(dub.output)
