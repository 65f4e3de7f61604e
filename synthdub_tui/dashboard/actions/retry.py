"""The user's actions on dubs and on the batch: retry, cancel, remove, pause, review, copy. Asks before an action costs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, NamedTuple

from textual import work
from textual.worker import Worker, WorkerFailed

from synthdub_tui import retry_text
from synthdub_tui.dashboard.actions.action_screen import CellKey, as_cells
from synthdub_tui.dashboard.actions.add import Adding
from synthdub_tui.dashboard.options import Options
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.terminal import clipboard
from synthdub_tui.dashboard.ui_state import Memory
from synthdub_tui.humanize import many
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import Cancel, Pause, Remove, Resume, Retry, Review, Shown
from synthdub_tui.jobs.model import OPEN, Dub, DubState, Job, WaitsFor
from synthdub_tui.jobs.retry_policy import Cost, RetryPolicy, bill, fingerprint, offered
from synthdub_tui.jobs.transitions import cancellation
from synthdub_tui.problems import Problem, explain
from synthdub_tui.text import printable

UNDO: Final = 5.0
"""Seconds in which a cancel can be undone, before the request is sent."""

NOTHING: Final = "Nothing was retried."

COSTS_ASKED: Final = {Cost.AGAIN: "credits again", Cost.FIRST: "credits for the first time", Cost.FREE: "nothing"}
"""What dubs that are retried together may cost, in the order in which the question lists them."""


class Meant(NamedTuple):
    """A dub as it was when the user saw what its retry does and costs."""

    cell: CellKey
    shown: Shown
    policy: RetryPolicy


class Sorted(NamedTuple):
    """Dubs by the consent that their retry needs."""

    at_once: list[Meant]  # none
    paid: list[Meant]  # one question for all
    alone: list[Meant]  # a decision for each dub


_ACCEPTED: Final = frozenset({DubState.DUBBING, DubState.READY, DubState.DOWNLOADING})


class Deeds(Adding):
    """All actions on dubs: on the marked ones, else on those under the cursor."""

    def __init__(self, session: Session, memory: Memory, options: Options) -> None:
        super().__init__(session, memory, options)
        self._cancelling: tuple[Shown, ...] = ()
        self._cancel_timer: asyncio.TimerHandle | None = None
        self._cancel_request: Worker[None] | None = None

    # -- retry -------------------------------------------------------------------------------------------------------

    def action_retry(self) -> None:
        """Retry the targets: free dubs at once, paid ones after a question, those that need a decision one by one."""
        if not self.allowed():
            return
        dubs = self.dubs(self.targets())
        found = self._sorted(dubs)
        if len(dubs) == 1 and dubs[0][1].state is DubState.DONE:
            self._fetch_again(*dubs[0])
        elif len(dubs) == 1 and found.alone:
            self._decide(found.alone[0])
        elif found.paid:
            self._ask_to_retry(found)
        elif found.at_once:
            self._retry(found)
        else:
            self.status.say(f"Nothing to retry at once.{_left_out(found)}" if found.alone else _nothing_to_retry(dubs))

    def action_retry_failed(self) -> None:
        """Retry every failed dub of the batch, except those that moderation rejected or that would fail again unchanged."""
        if not self.allowed():
            return
        batch = self.session.batch
        cells = [(job.id, code) for job in batch.jobs() for code in job.in_state(DubState.FAILED)]
        found = self._sorted(self.dubs(cells))
        if found.at_once or found.paid:
            self._ask_to_retry(found)
        else:
            self.status.say(f"Nothing to retry in bulk.{_left_out(found)}")

    def _sorted(self, dubs: list[tuple[CellKey, Dub]]) -> Sorted:
        found = Sorted([], [], [])
        for (job_id, language), _ in dubs:
            job = self.session.batch.rows[job_id].job
            means = offered(job, language)
            if means.step is None:
                continue
            kind = found.alone if means.alone else found.paid if means.must_ask else found.at_once
            kind.append(Meant((job_id, language), Shown(job_id, language, fingerprint(job, language)), means))
        return found

    def _ask_to_retry(self, found: Sorted) -> None:
        lines = [line for cost in COSTS_ASKED for line in self._cost_lines(found, cost)]
        title, then = f"Retry {_count(found)}?", lambda: self._retry(found)
        self.ask(title, [*lines, *_note(found)], then, danger=bool(found.paid), yes="Retry", otherwise=NOTHING)

    def _cost_lines(self, found: Sorted, cost: Cost) -> list[str]:
        meant = [one for one in found.paid + found.at_once if one.policy.cost is cost]
        groups: dict[str, list[CellKey]] = {}
        for one in meant:
            groups.setdefault(retry_text.step(one.policy), []).append(one.cell)
        lines = [line for words, group in groups.items() for line in (f"— {words}", *(f"  {x}" for x in self.lines(group)))]
        costs = "costs" if len(meant) == 1 else "cost"
        return [f"{many(len(meant), 'dub')} {costs} {COSTS_ASKED[cost]}:", *lines] if meant else []

    @work(exit_on_error=False, name="retry")
    async def _retry(self, found: Sorted) -> None:
        self.status.say(f"Retrying {_count(found)}…{_left_out(found)}")
        count = changed = 0
        for meant, paid in ((found.at_once, False), (found.paid, True)):
            if meant:
                reply = await self.send(Retry(cells=tuple(one.shown for one in meant), paid=paid))
                if reply is None:
                    return
                count += int(reply.result.get("retried", 0))
                changed += len(reply.changed) + int(reply.result.get("needs_paid", 0))
        self.status.say(f"{many(count, 'dub')} retried.{_changed(changed)}{_left_out(found)}")

    def _decide(self, meant: Meant) -> None:
        """Ask about this very dub. If another batch has claimed it, the runner first checks whether the claim still holds."""
        if meant.policy.why == WaitsFor.CLAIMED.value:
            self._look_at_claim(meant)
        else:
            self._ask_to_decide(meant)

    @work(exit_on_error=False, name="look at claim")
    async def _look_at_claim(self, meant: Meant) -> None:
        self.status.say("Looking whether another batch still has it…")
        reply = await self.send(Retry(cells=(meant.shown,)))
        if reply is None:
            return
        if reply.result.get("retried", 0):
            self.status.say("No other batch has it any more: it goes on.")
        elif reply.changed:
            self.status.say(f"Nothing was retried.{_changed(len(reply.changed))}")
        else:
            self.status.say("Another batch still has it.")
            self._ask_to_decide(meant)

    def _ask_to_decide(self, meant: Meant) -> None:
        dub = self.session.batch.dub(*meant.cell)
        if dub is None:  # it was removed a moment ago
            return
        problem = _why(dub, meant.policy)
        held = retry_text.held(dub.hold) + "." if dub.hold is not None and dub.hold.detail else ""
        lines = [*self.lines([meant.cell]), problem.title + ".", *filter(None, (held,)), problem.cause, problem.remedy]
        lines.append(f"Retrying it {retry_text.sentence(meant.policy)}.")
        then = lambda: self._retry(Sorted([], [meant], []))  # noqa: E731
        self.ask("Retry it all the same?", lines, then, danger=True, yes="Retry", otherwise=NOTHING)

    @work(exit_on_error=False, name="fetch again")
    async def _fetch_again(self, cell: CellKey, dub: Dub) -> None:
        self.status.say("Looking whether its file is still there…")
        reply = await self.send(Retry(cells=self._shown([cell])))
        if reply is not None:
            again = reply.result.get("retried", 0)
            found = "It lacks captions: fetching" if dub.lacks_captions else "Its file is gone: fetching it"
            self.status.say(f"{found} again, free." if again else "It is done, and its file is there.")

    def _shown(self, cells: list[CellKey], mark: Callable[[Job, str], str] = fingerprint) -> tuple[Shown, ...]:
        """The cells, each with the `mark` of its present state; cells without a dub are skipped."""
        rows = self.session.batch.rows
        return tuple(Shown(job, code, mark(rows[job].job, code)) for job, code in (cell for cell, _ in self.dubs(cells)))

    # -- cancel ------------------------------------------------------------------------------------------------------

    def action_cancel(self) -> None:
        """Cancel the targets, after a question and `UNDO` seconds in which this can be undone."""
        if not self.allowed():
            return
        self.send_cancel()
        stoppable = OPEN | {DubState.UNKNOWN}
        cells = [cell for cell, dub in self.dubs(self.targets()) if dub.state in stoppable]
        if not cells:
            self.status.say("Nothing here to cancel: only what is under way or undecided can be.")
            return
        lines = [*self.lines(cells), "What the service already works on may still be billed."]
        shown = self._shown(cells, bill)
        title, then = f"Cancel {many(len(cells), 'dub')}?", lambda: self._cancel_soon(shown)
        self.ask(title, lines, then, danger=True, yes="Cancel them", otherwise="Nothing was cancelled.")

    def _cancel_soon(self, cells: tuple[Shown, ...]) -> None:
        self._cancelling = cells
        self._cancel_timer = asyncio.get_running_loop().call_later(UNDO, self.send_cancel)
        undo = self.keymap.shown("undo")
        self.status.say(f"{many(len(cells), 'dub')} will be cancelled in {UNDO:.0f} s. {undo} takes it back.", keep=UNDO)

    def action_undo(self) -> None:
        """Undo the last cancel if it was not sent yet; else stop the search for files."""
        if not self._cancelling and self._searches:
            self._stop_searches()
            return
        if not self._cancelling:
            self.status.say("There is nothing to take back.")
            return
        count = len(self._cancelling)
        self._forget_cancel()
        self.status.say(f"Taken back: {many(count, 'dub')} {'goes' if count == 1 else 'go'} on.")

    def send_cancel(self) -> None:
        """Send the cancel that still can be undone: after `UNDO` seconds, before the next cancel, and before quitting."""
        cells = self._cancelling
        if cells:
            self._forget_cancel()
            self._cancel_request = self._cancel(cells)

    async def cancel_sent(self) -> None:
        """Wait until the runner has answered the last cancel, or the request failed; failures were shown already."""
        if self._cancel_request is not None:
            with contextlib.suppress(WorkerFailed):
                await self._cancel_request.wait()

    @work(exit_on_error=False, name="send cancel")
    async def _cancel(self, cells: tuple[Shown, ...]) -> None:
        self.status.say(f"Cancelling {many(len(cells), 'dub')}…")
        accepted = sum(dub.state in _ACCEPTED for _, dub in self.dubs((cell.job, cell.language) for cell in cells))
        reply = await self.send(Cancel(cells=cells))
        if reply is not None:
            billed = f" The service had accepted {accepted} of them: they may be billed." if accepted else ""
            count = int(reply.result.get("cancelled", 0))
            self.status.say(f"{many(count, 'dub')} cancelled.{billed}{_changed(len(reply.changed))}")

    def _forget_cancel(self) -> None:
        self._cancelling = ()
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()
            self._cancel_timer = None

    # -- remove ------------------------------------------------------------------------------------------------------

    def action_remove(self) -> None:
        """Remove the targets that have ended from the batch. Asks before something paid is forgotten."""
        if not self.allowed():
            return
        rows = self.session.batch.rows
        dubs = [(cell, dub) for cell, dub in self.dubs(self.targets()) if cancellation.removable(rows[cell[0]].job, cell[1])]
        cells = [cell for cell, _ in dubs]
        if not cells:
            self.status.say("Nothing here to remove: only what is done, failed or cancelled can be. Cancel the rest first.")
        elif paid := [cell for cell, dub in dubs if cancellation.forgets_paid(dub)]:
            self._ask_to_forget(cells, paid)
        else:
            self._remove(self._shown(cells), forget=False)

    def _ask_to_forget(self, cells: list[CellKey], paid: list[CellKey]) -> None:
        lines = [*self.lines(paid), "They were paid for, and are not on disk. To have them again may cost credits again."]
        lines += [f"{many(len(cells) - len(paid), 'dub')} besides; files stay."] if len(cells) > len(paid) else []
        shown = self._shown(cells)
        title, then = f"Remove {many(len(cells), 'dub')}?", lambda: self._remove(shown, forget=True)
        self.ask(title, lines, then, danger=True, yes="Remove", otherwise="Nothing was removed.")

    @work(exit_on_error=False, name="remove")
    async def _remove(self, cells: tuple[Shown, ...], *, forget: bool) -> None:
        reply = await self.send(Remove(cells=cells, forget=forget))
        if reply is None:
            return
        under_way, paid = (int(reply.result.get(word, 0)) for word in ("under_way", "paid"))
        left = f" {many(under_way, 'dub')} left: under way again." if under_way else ""
        self.status.say(
            f"{many(int(reply.result.get('removed', 0)), 'dub')} removed; files stay.{left}{_changed(len(reply.changed))}"
        )
        if paid:  # only the runner can see that their outputs are missing
            changed = {(cell.job, cell.language) for cell in reply.changed}
            asked = [(cell.job, cell.language) for cell in cells]
            kept = [cell for cell, _ in self.dubs(asked) if cell not in changed]
            self._ask_to_forget(kept, kept)

    # -- the batch as a whole ----------------------------------------------------------------------------------------

    @work(exit_on_error=False, name="pause")
    async def action_pause(self) -> None:
        """Pause or resume the batch."""
        if not self.allowed():
            return
        paused = self.session.meters is not None and self.session.meters.paused
        self.status.say("Going on…" if paused else "Pausing…")
        if await self.send(Resume() if paused else Pause()) is not None:
            self.status.say("Going on." if paused else "Paused: what is under way finishes, nothing new begins.")

    def action_start_runner(self) -> None:
        """Start a runner after the last one ended or died."""
        if self.options.read_only:
            self.allowed()  # shows why not
        elif self.session.link.state is LinkState.GONE:
            self.status.say("Starting the runner…")
            self.session.link.restart()
        else:
            self.status.say("The runner is there.")

    @work(exit_on_error=False, name="review")
    async def review(self, cells: list[CellKey], mark: bool) -> None:
        """Set or remove review marks."""
        if self.allowed():
            await self.send(Review(cells=as_cells(cells), mark=mark))

    def action_copy(self) -> None:
        """Copy the output's path of a finished dub, else the project's id, else the source's path. Shows it too."""
        cursor = self.grid.cursor
        if cursor is None:
            return
        job, dub = self.session.batch.rows[cursor.job].job, self.session.batch.dub(*cursor)
        if dub is not None and dub.output is not None and dub.state is DubState.DONE:
            what, text = "the output's path", clipboard.path_text(dub.output.path)
        elif dub is not None and dub.project:
            what, text = "the project's id", printable(dub.project)
        else:
            what, text = "the source's path", clipboard.path_text(job.source.path)
        clipboard.copy(self.app, text)
        self.status.say(f"Copied {what}, if your terminal allows it: {printable(text, 4096)}")


def _why(dub: Dub, means: RetryPolicy) -> Problem:
    """The problem that speaks against a retry, with the service's message if there is one."""
    detail = ""
    if dub.failure is not None and dub.failure.code == means.why:
        detail = dub.failure.detail
    elif dub.hold is not None and dub.hold.reason.value == means.why:
        detail = dub.hold.detail
    return explain(means.why, detail)


def _count(found: Sorted) -> str:
    return many(len(found.at_once) + len(found.paid), "dub")


def _note(found: Sorted) -> list[str]:
    return [_left_out(found).strip()] if found.alone else []


def _left_out(found: Sorted) -> str:
    if not found.alone:
        return ""
    why = retry_text.reasons(one.policy for one in found.alone)
    return f" {many(len(found.alone), 'dub')} left out ({why}), to be retried one by one."


def _changed(number: int) -> str:
    return f" {many(number, 'dub')} left alone: changed since you were asked." if number else ""


def _nothing_to_retry(dubs: list[tuple[CellKey, Dub]]) -> str:
    if not dubs:
        return "There is nothing to retry here."
    if all(dub.state in OPEN for _, dub in dubs):
        return "Nothing to retry: it is under way."
    return "Nothing to retry: only failed, cancelled and undecided dubs can be."
