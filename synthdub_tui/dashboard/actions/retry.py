"""Retries dubs: free ones at once, paid ones after a question, and those that need a decision one by one."""

from __future__ import annotations

from typing import Final, NamedTuple

from synthdub_tui import retry_text
from synthdub_tui.dashboard.actions.context import ActionContext, CellKey, changed_text
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.protocol import (
    RetryRequest,
    ShownDub,
)
from synthdub_tui.jobs.model import OPEN_STATES, Dub, DubState, WaitReason
from synthdub_tui.jobs.retry_policy import RetryCost, RetryPolicy, dub_fingerprint, offered_policy
from synthdub_tui.problems import Problem, explain

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


class RetryAction:
    """Retries the marked dubs, else those under the cursor; or all that failed."""

    def __init__(self, context: ActionContext) -> None:
        self._context = context

    def retry(self) -> None:
        """Retry the targets: free dubs at once, paid ones after a question, those that need a decision one by one."""
        if not self._context.check_may_act():
            return
        dubs = self._context.dubs_in(self._context.target_cells())
        found = self._group_for_retry(dubs)
        if len(dubs) == 1 and dubs[0][1].state is DubState.DONE:
            self._context.start(self._download_again(*dubs[0]), "fetch again")
        elif len(dubs) == 1 and found.alone:
            self._decide(found.alone[0])
        elif found.paid:
            self._ask_to_retry(found)
        elif found.at_once:
            self._context.start(self._retry(found), "retry")
        else:
            self._context.status_bar.show_message(
                f"Nothing to retry at once.{_left_out_text(found)}" if found.alone else _nothing_to_retry(dubs)
            )

    def retry_failed(self) -> None:
        """Retry every failed dub of the batch, except those that moderation rejected or that would fail again unchanged."""
        if not self._context.check_may_act():
            return
        batch = self._context.session.batch
        cells = [(job.id, code) for job in batch.jobs() for code in job.languages_in_state(DubState.FAILED)]
        found = self._group_for_retry(self._context.dubs_in(cells))
        if found.at_once or found.paid:
            self._ask_to_retry(found)
        else:
            self._context.status_bar.show_message(f"Nothing to retry in bulk.{_left_out_text(found)}")

    def _group_for_retry(self, dubs: list[tuple[CellKey, Dub]]) -> RetryGroups:
        found = RetryGroups([], [], [])
        for (job_id, language), _ in dubs:
            job = self._context.session.batch.rows[job_id].job
            means = offered_policy(job, language)
            if means.step is None:
                continue
            kind = found.alone if means.never_in_bulk else found.paid if means.must_ask else found.at_once
            kind.append(RetryCandidate((job_id, language), ShownDub(job_id, language, dub_fingerprint(job, language)), means))
        return found

    def _ask_to_retry(self, found: RetryGroups) -> None:
        lines = [line for cost in COST_WORDS for line in self._cost_lines(found, cost)]
        title, then = f"Retry {_count_text(found)}?", lambda: self._context.start(self._retry(found), "retry")
        self._context.ask_to_confirm(
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
            line
            for words, group in groups.items()
            for line in (f"— {words}", *(f"  {x}" for x in self._context.describe_cells(group)))
        ]
        costs = "costs" if len(meant) == 1 else "cost"
        return [f"{format_count(len(meant), 'dub')} {costs} {COST_WORDS[cost]}:", *lines] if meant else []

    async def _retry(self, found: RetryGroups) -> None:
        self._context.status_bar.show_message(f"Retrying {_count_text(found)}…{_left_out_text(found)}")
        count = changed = 0
        for meant, paid in ((found.at_once, False), (found.paid, True)):
            if meant:
                reply = await self._context.send(RetryRequest(cells=tuple(one.shown_dub for one in meant), paid=paid))
                if reply is None:
                    return
                count += int(reply.result.get("retried", 0))
                changed += len(reply.changed) + int(reply.result.get("needs_paid", 0))
        self._context.status_bar.show_message(
            f"{format_count(count, 'dub')} retried.{changed_text(changed)}{_left_out_text(found)}"
        )

    def _decide(self, meant: RetryCandidate) -> None:
        """Ask about this very dub. If another batch has claimed it, the runner first checks whether the claim still holds."""
        if meant.policy.reason_code == WaitReason.CLAIMED.value:
            self._context.start(self._look_at_claim(meant), "look at claim")
        else:
            self._ask_to_decide(meant)

    async def _look_at_claim(self, meant: RetryCandidate) -> None:
        self._context.status_bar.show_message("Looking whether another batch still has it…")
        reply = await self._context.send(RetryRequest(cells=(meant.shown_dub,)))
        if reply is None:
            return
        if reply.result.get("retried", 0):
            self._context.status_bar.show_message("No other batch has it any more: it goes on.")
        elif reply.changed:
            self._context.status_bar.show_message(f"Nothing was retried.{changed_text(len(reply.changed))}")
        else:
            self._context.status_bar.show_message("Another batch still has it.")
            self._ask_to_decide(meant)

    def _ask_to_decide(self, meant: RetryCandidate) -> None:
        dub = self._context.session.batch.dub(*meant.cell)
        if dub is None:  # it was removed a moment ago
            return
        problem = _retry_problem(dub, meant.policy)
        held = retry_text.held(dub.hold) + "." if dub.hold is not None and dub.hold.detail else ""
        lines = [
            *self._context.describe_cells([meant.cell]),
            problem.title + ".",
            *filter(None, (held,)),
            problem.cause,
            problem.remedy,
        ]
        lines.append(f"Retrying it {retry_text.describe_retry(meant.policy)}.")
        then = lambda: self._context.start(self._retry(RetryGroups([], [meant], [])), "retry")  # noqa: E731
        self._context.ask_to_confirm(
            "Retry it all the same?", lines, then, danger=True, yes="Retry", no_message=NOTHING_RETRIED_MESSAGE
        )

    async def _download_again(self, cell: CellKey, dub: Dub) -> None:
        self._context.status_bar.show_message("Looking whether its file is still there…")
        reply = await self._context.send(RetryRequest(cells=self._context.to_shown_dubs([cell])))
        if reply is not None:
            again = reply.result.get("retried", 0)
            found = "It lacks captions: fetching" if dub.lacks_captions else "Its file is gone: fetching it"
            self._context.status_bar.show_message(f"{found} again, free." if again else "It is done, and its file is there.")


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


def _nothing_to_retry(dubs: list[tuple[CellKey, Dub]]) -> str:
    if not dubs:
        return "There is nothing to retry here."
    if all(dub.state in OPEN_STATES for _, dub in dubs):
        return "Nothing to retry: it is under way."
    return "Nothing to retry: only failed, cancelled and undecided dubs can be."
