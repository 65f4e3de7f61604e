"""The user's actions on dubs and on the batch: retry, cancel, remove, pause, review, copy. Asks before an action costs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, NamedTuple

from textual import work
from textual.worker import Worker, WorkerFailed

from synthdub_tui import retry_text
from synthdub_tui.dashboard.actions.action_screen import CellKey, to_dub_refs
from synthdub_tui.dashboard.actions.add import AddActions
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.terminal import clipboard
from synthdub_tui.dashboard.ui_state import UiStateStore
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import (
    CancelRequest,
    PauseRequest,
    RemoveRequest,
    ResumeRequest,
    RetryRequest,
    ReviewRequest,
    ShownDub,
)
from synthdub_tui.jobs.model import OPEN_STATES, Dub, DubState, Job, WaitReason
from synthdub_tui.jobs.retry_policy import RetryCost, RetryPolicy, bill_if_cancelled, dub_fingerprint, offered_policy
from synthdub_tui.jobs.transitions import cancellation
from synthdub_tui.problems import Problem, explain
from synthdub_tui.text import make_printable

UNDO_SECONDS: Final = 5.0
"""Seconds in which a cancel can be undone, before the request is sent."""

NOTHING_RETRIED_MESSAGE: Final = "Nothing was retried."

COST_WORDS: Final = {
    RetryCost.PAID_AGAIN: "credits again",
    RetryCost.FIRST_PAYMENT: "credits for the first time",
    RetryCost.FREE: "nothing",
}
"""What dubs that are retried together may cost, in the order in which the question lists them."""


class RetryCandidate(NamedTuple):
    """A dub as it was when the user saw what its retry does and costs."""

    cell: CellKey
    shown_dub: ShownDub
    policy: RetryPolicy


class RetryGroups(NamedTuple):
    """Dubs by the consent that their retry needs."""

    at_once: list[RetryCandidate]  # none
    paid: list[RetryCandidate]  # one question for all
    alone: list[RetryCandidate]  # a decision for each dub


_ACCEPTED: Final = frozenset({DubState.DUBBING, DubState.READY, DubState.DOWNLOADING})


class DubActions(AddActions):
    """All actions on dubs: on the marked ones, else on those under the cursor."""

    def __init__(self, session: Session, ui_state: UiStateStore, options: DashboardOptions) -> None:
        super().__init__(session, ui_state, options)
        self._pending_cancel: tuple[ShownDub, ...] = ()
        self._cancel_timer: asyncio.TimerHandle | None = None
        self._cancel_request: Worker[None] | None = None

    # -- retry -------------------------------------------------------------------------------------------------------

    def action_retry(self) -> None:
        """Retry the targets: free dubs at once, paid ones after a question, those that need a decision one by one."""
        if not self.check_may_act():
            return
        dubs = self.dubs_in(self.target_cells())
        found = self._group_for_retry(dubs)
        if len(dubs) == 1 and dubs[0][1].state is DubState.DONE:
            self._download_again(*dubs[0])
        elif len(dubs) == 1 and found.alone:
            self._decide(found.alone[0])
        elif found.paid:
            self._ask_to_retry(found)
        elif found.at_once:
            self._retry(found)
        else:
            self.status_bar.show_message(
                f"Nothing to retry at once.{_left_out_text(found)}" if found.alone else _nothing_to_retry(dubs)
            )

    def action_retry_failed(self) -> None:
        """Retry every failed dub of the batch, except those that moderation rejected or that would fail again unchanged."""
        if not self.check_may_act():
            return
        batch = self.session.batch
        cells = [(job.id, code) for job in batch.jobs() for code in job.languages_in_state(DubState.FAILED)]
        found = self._group_for_retry(self.dubs_in(cells))
        if found.at_once or found.paid:
            self._ask_to_retry(found)
        else:
            self.status_bar.show_message(f"Nothing to retry in bulk.{_left_out_text(found)}")

    def _group_for_retry(self, dubs: list[tuple[CellKey, Dub]]) -> RetryGroups:
        found = RetryGroups([], [], [])
        for (job_id, language), _ in dubs:
            job = self.session.batch.rows[job_id].job
            means = offered_policy(job, language)
            if means.step is None:
                continue
            kind = found.alone if means.never_in_bulk else found.paid if means.must_ask else found.at_once
            kind.append(RetryCandidate((job_id, language), ShownDub(job_id, language, dub_fingerprint(job, language)), means))
        return found

    def _ask_to_retry(self, found: RetryGroups) -> None:
        lines = [line for cost in COST_WORDS for line in self._cost_lines(found, cost)]
        title, then = f"Retry {_count_text(found)}?", lambda: self._retry(found)
        self.ask_to_confirm(
            title,
            [*lines, *_left_out_lines(found)],
            then,
            danger=bool(found.paid),
            yes="Retry",
            no_message=NOTHING_RETRIED_MESSAGE,
        )

    def _cost_lines(self, found: RetryGroups, cost: RetryCost) -> list[str]:
        meant = [one for one in found.paid + found.at_once if one.policy.cost is cost]
        groups: dict[str, list[CellKey]] = {}
        for one in meant:
            groups.setdefault(retry_text.describe_step(one.policy), []).append(one.cell)
        lines = [
            line for words, group in groups.items() for line in (f"— {words}", *(f"  {x}" for x in self.describe_cells(group)))
        ]
        costs = "costs" if len(meant) == 1 else "cost"
        return [f"{format_count(len(meant), 'dub')} {costs} {COST_WORDS[cost]}:", *lines] if meant else []

    @work(exit_on_error=False, name="retry")
    async def _retry(self, found: RetryGroups) -> None:
        self.status_bar.show_message(f"Retrying {_count_text(found)}…{_left_out_text(found)}")
        count = changed = 0
        for meant, paid in ((found.at_once, False), (found.paid, True)):
            if meant:
                reply = await self.send(RetryRequest(cells=tuple(one.shown_dub for one in meant), paid=paid))
                if reply is None:
                    return
                count += int(reply.result.get("retried", 0))
                changed += len(reply.changed) + int(reply.result.get("needs_paid", 0))
        self.status_bar.show_message(f"{format_count(count, 'dub')} retried.{_changed_text(changed)}{_left_out_text(found)}")

    def _decide(self, meant: RetryCandidate) -> None:
        """Ask about this very dub. If another batch has claimed it, the runner first checks whether the claim still holds."""
        if meant.policy.reason_code == WaitReason.CLAIMED.value:
            self._look_at_claim(meant)
        else:
            self._ask_to_decide(meant)

    @work(exit_on_error=False, name="look at claim")
    async def _look_at_claim(self, meant: RetryCandidate) -> None:
        self.status_bar.show_message("Looking whether another batch still has it…")
        reply = await self.send(RetryRequest(cells=(meant.shown_dub,)))
        if reply is None:
            return
        if reply.result.get("retried", 0):
            self.status_bar.show_message("No other batch has it any more: it goes on.")
        elif reply.changed:
            self.status_bar.show_message(f"Nothing was retried.{_changed_text(len(reply.changed))}")
        else:
            self.status_bar.show_message("Another batch still has it.")
            self._ask_to_decide(meant)

    def _ask_to_decide(self, meant: RetryCandidate) -> None:
        dub = self.session.batch.dub(*meant.cell)
        if dub is None:  # it was removed a moment ago
            return
        problem = _retry_problem(dub, meant.policy)
        held = retry_text.held(dub.hold) + "." if dub.hold is not None and dub.hold.detail else ""
        lines = [*self.describe_cells([meant.cell]), problem.title + ".", *filter(None, (held,)), problem.cause, problem.remedy]
        lines.append(f"Retrying it {retry_text.describe_retry(meant.policy)}.")
        then = lambda: self._retry(RetryGroups([], [meant], []))  # noqa: E731
        self.ask_to_confirm("Retry it all the same?", lines, then, danger=True, yes="Retry", no_message=NOTHING_RETRIED_MESSAGE)

    @work(exit_on_error=False, name="fetch again")
    async def _download_again(self, cell: CellKey, dub: Dub) -> None:
        self.status_bar.show_message("Looking whether its file is still there…")
        reply = await self.send(RetryRequest(cells=self._to_shown_dubs([cell])))
        if reply is not None:
            again = reply.result.get("retried", 0)
            found = "It lacks captions: fetching" if dub.lacks_captions else "Its file is gone: fetching it"
            self.status_bar.show_message(f"{found} again, free." if again else "It is done, and its file is there.")

    def _to_shown_dubs(
        self, cells: list[CellKey], state_mark: Callable[[Job, str], str] = dub_fingerprint
    ) -> tuple[ShownDub, ...]:
        """The cells, each with the `mark` of its present state; cells without a dub are skipped."""
        rows = self.session.batch.rows
        return tuple(
            ShownDub(job, code, state_mark(rows[job].job, code)) for job, code in (cell for cell, _ in self.dubs_in(cells))
        )

    # -- cancel ------------------------------------------------------------------------------------------------------

    def action_cancel(self) -> None:
        """Cancel the targets, after a question and `UNDO_SECONDS` seconds in which this can be undone."""
        if not self.check_may_act():
            return
        self.send_pending_cancel()
        stoppable = OPEN_STATES | {DubState.UNKNOWN}
        cells = [cell for cell, dub in self.dubs_in(self.target_cells()) if dub.state in stoppable]
        if not cells:
            self.status_bar.show_message("Nothing here to cancel: only what is under way or undecided can be.")
            return
        lines = [*self.describe_cells(cells), "What the service already works on may still be billed."]
        shown = self._to_shown_dubs(cells, bill_if_cancelled)
        title, then = f"Cancel {format_count(len(cells), 'dub')}?", lambda: self._schedule_cancel(shown)
        self.ask_to_confirm(title, lines, then, danger=True, yes="Cancel them", no_message="Nothing was cancelled.")

    def _schedule_cancel(self, cells: tuple[ShownDub, ...]) -> None:
        self._pending_cancel = cells
        self._cancel_timer = asyncio.get_running_loop().call_later(UNDO_SECONDS, self.send_pending_cancel)
        undo = self.keymap.key_label("undo")
        self.status_bar.show_message(
            f"{format_count(len(cells), 'dub')} will be cancelled in {UNDO_SECONDS:.0f} s. {undo} takes it back.",
            seconds=UNDO_SECONDS,
        )

    def action_undo(self) -> None:
        """Undo the last cancel if it was not sent yet; else stop the search for files."""
        if not self._pending_cancel and self._running_searches:
            self._send_stop_adding()
            return
        if not self._pending_cancel:
            self.status_bar.show_message("There is nothing to take back.")
            return
        count = len(self._pending_cancel)
        self._clear_pending_cancel()
        self.status_bar.show_message(f"Taken back: {format_count(count, 'dub')} {'goes' if count == 1 else 'go'} on.")

    def send_pending_cancel(self) -> None:
        """Send the cancel that still can be undone: after `UNDO_SECONDS` seconds, before the next cancel, and before
        quitting."""
        cells = self._pending_cancel
        if cells:
            self._clear_pending_cancel()
            self._cancel_request = self._send_cancel(cells)

    async def wait_until_cancel_sent(self) -> None:
        """Wait until the runner has answered the last cancel, or the request failed; failures were shown already."""
        if self._cancel_request is not None:
            with contextlib.suppress(WorkerFailed):
                await self._cancel_request.wait()

    @work(exit_on_error=False, name="send cancel")
    async def _send_cancel(self, cells: tuple[ShownDub, ...]) -> None:
        self.status_bar.show_message(f"Cancelling {format_count(len(cells), 'dub')}…")
        accepted = sum(dub.state in _ACCEPTED for _, dub in self.dubs_in((cell.job, cell.language) for cell in cells))
        reply = await self.send(CancelRequest(cells=cells))
        if reply is not None:
            billed = f" The service had accepted {accepted} of them: they may be billed." if accepted else ""
            count = int(reply.result.get("cancelled", 0))
            self.status_bar.show_message(f"{format_count(count, 'dub')} cancelled.{billed}{_changed_text(len(reply.changed))}")

    def _clear_pending_cancel(self) -> None:
        self._pending_cancel = ()
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()
            self._cancel_timer = None

    # -- remove ------------------------------------------------------------------------------------------------------

    def action_remove(self) -> None:
        """Remove the targets that have ended from the batch. Asks before something paid is forgotten."""
        if not self.check_may_act():
            return
        rows = self.session.batch.rows
        dubs = [
            (cell, dub)
            for cell, dub in self.dubs_in(self.target_cells())
            if cancellation.can_remove(rows[cell[0]].job, cell[1])
        ]
        cells = [cell for cell, _ in dubs]
        if not cells:
            self.status_bar.show_message(
                "Nothing here to remove: only what is done, failed or cancelled can be. Cancel the rest first."
            )
        elif paid := [cell for cell, dub in dubs if cancellation.removal_forgets_paid_work(dub)]:
            self._ask_to_remove_paid(cells, paid)
        else:
            self._remove(self._to_shown_dubs(cells), forget=False)

    def _ask_to_remove_paid(self, cells: list[CellKey], paid: list[CellKey]) -> None:
        lines = [
            *self.describe_cells(paid),
            "They were paid for, and are not on disk. To have them again may cost credits again.",
        ]
        lines += [f"{format_count(len(cells) - len(paid), 'dub')} besides; files stay."] if len(cells) > len(paid) else []
        shown = self._to_shown_dubs(cells)
        title, then = f"Remove {format_count(len(cells), 'dub')}?", lambda: self._remove(shown, forget=True)
        self.ask_to_confirm(title, lines, then, danger=True, yes="Remove", no_message="Nothing was removed.")

    @work(exit_on_error=False, name="remove")
    async def _remove(self, cells: tuple[ShownDub, ...], *, forget: bool) -> None:
        reply = await self.send(RemoveRequest(cells=cells, forget=forget))
        if reply is None:
            return
        under_way, paid = (int(reply.result.get(word, 0)) for word in ("under_way", "paid"))
        left = f" {format_count(under_way, 'dub')} left: under way again." if under_way else ""
        self.status_bar.show_message(
            f"{format_count(int(reply.result.get('removed', 0)), 'dub')} removed; files stay."
            f"{left}{_changed_text(len(reply.changed))}"
        )
        if paid:  # only the runner can see that their outputs are missing
            changed = {(cell.job, cell.language) for cell in reply.changed}
            asked = [(cell.job, cell.language) for cell in cells]
            kept = [cell for cell, _ in self.dubs_in(asked) if cell not in changed]
            self._ask_to_remove_paid(kept, kept)

    # -- the batch as a whole ----------------------------------------------------------------------------------------

    @work(exit_on_error=False, name="pause")
    async def action_pause(self) -> None:
        """Pause or resume the batch."""
        if not self.check_may_act():
            return
        paused = self.session.batch_status is not None and self.session.batch_status.paused
        self.status_bar.show_message("Going on…" if paused else "Pausing…")
        if await self.send(ResumeRequest() if paused else PauseRequest()) is not None:
            self.status_bar.show_message("Going on." if paused else "Paused: what is under way finishes, nothing new begins.")

    def action_start_runner(self) -> None:
        """Start a runner after the last one ended or died."""
        if self.options.read_only:
            self.check_may_act()  # shows why not
        elif self.session.link.state is LinkState.GONE:
            self.status_bar.show_message("Starting the runner…")
            self.session.link.restart()
        else:
            self.status_bar.show_message("The runner is there.")

    @work(exit_on_error=False, name="review")
    async def set_reviewed(self, cells: list[CellKey], reviewed: bool) -> None:
        """Set or remove review marks."""
        if self.check_may_act():
            await self.send(ReviewRequest(cells=to_dub_refs(cells), mark=reviewed))

    def action_copy(self) -> None:
        """Copy the output's path of a finished dub, else the project's id, else the source's path. Shows it too."""
        cursor = self.grid.cursor
        if cursor is None:
            return
        job, dub = self.session.batch.rows[cursor.job].job, self.session.batch.dub(*cursor)
        if dub is not None and dub.output is not None and dub.state is DubState.DONE:
            what, text = "the output's path", clipboard.path_text(dub.output.path)
        elif dub is not None and dub.project:
            what, text = "the project's id", make_printable(dub.project)
        else:
            what, text = "the source's path", clipboard.path_text(job.source.path)
        clipboard.copy_text(self.app, text)
        self.status_bar.show_message(f"Copied {what}, if your terminal allows it: {make_printable(text, 4096)}")


def _retry_problem(dub: Dub, means: RetryPolicy) -> Problem:
    """The problem that speaks against a retry, with the service's message if there is one."""
    detail = ""
    if dub.failure is not None and dub.failure.code == means.reason_code:
        detail = dub.failure.detail
    elif dub.hold is not None and dub.hold.reason.value == means.reason_code:
        detail = dub.hold.detail
    return explain(means.reason_code, detail)


def _count_text(found: RetryGroups) -> str:
    return format_count(len(found.at_once) + len(found.paid), "dub")


def _left_out_lines(found: RetryGroups) -> list[str]:
    return [_left_out_text(found).strip()] if found.alone else []


def _left_out_text(found: RetryGroups) -> str:
    if not found.alone:
        return ""
    why = retry_text.describe_skip_reasons(one.policy for one in found.alone)
    return f" {format_count(len(found.alone), 'dub')} left out ({why}), to be retried one by one."


def _changed_text(number: int) -> str:
    return f" {format_count(number, 'dub')} left alone: changed since you were asked." if number else ""


def _nothing_to_retry(dubs: list[tuple[CellKey, Dub]]) -> str:
    if not dubs:
        return "There is nothing to retry here."
    if all(dub.state in OPEN_STATES for _, dub in dubs):
        return "Nothing to retry: it is under way."
    return "Nothing to retry: only failed, cancelled and undecided dubs can be."
