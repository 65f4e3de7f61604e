"""The dashboard's data and connection: batch, meters and link. Without Textual, so that it can be tested alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from synthdub_tui.dashboard.grid_model import Batch
from synthdub_tui.dashboard.keymap import DEFAULT, Keymap
from synthdub_tui.dashboard.widgets.summary_bar import Overview
from synthdub_tui.humanize import many
from synthdub_tui.ipc.client import Launcher, Link, LinkState
from synthdub_tui.ipc.protocol import Bye, Changes, Message, Meters, Snapshot
from synthdub_tui.jobs.eta import Rates
from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.transitions import cancellation
from synthdub_tui.problems import explain

FAILURES_APART: Final = 60.0
"""Least seconds between two calls of the user because of failed dubs."""


STALE: Final = 3.0
"""Seconds after which reported rates are out of date."""


class Session:
    """Receives the runner's messages. Calls `on_change` after each, `on_call` with a text when the user is needed, and
    `on_over` with the same text when that is over."""

    def __init__(
        self,
        launcher: Launcher,
        version: str,
        *,
        read_only: bool = False,
        keymap: Keymap = DEFAULT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.batch = Batch()
        self.meters: Meters | None = None
        self.rates = Rates()
        self.read_only = read_only
        self.keymap = keymap
        self.link = Link(launcher, version, self._message, self._state)
        self.on_change: Callable[[], None] = _nothing
        self.on_state: Callable[[LinkState], None] = _nothing_with_state
        self.on_call: Callable[[str], None] = _nothing_with_words
        self.on_over: Callable[[str], None] = _nothing_with_words
        self._clock = clock
        self._in_snapshot = False
        self._followed = False  # whether a runner was attached since the last loss
        self._called_at = 0.0
        self._metered_at = 0.0

    @property
    def attached(self) -> bool:
        """Whether a runner is attached."""
        return self.link.state is LinkState.ATTACHED

    @property
    def busy(self) -> bool:
        """Whether a runner is attached in which some dub continues without the user."""
        if self.batch.loaded:
            return self.attached and self.batch.overall.open > 0
        return self.attached and self.meters is not None and self.meters.busy

    def overview(self) -> Overview:
        """The data of the top line."""
        link = self.link
        return Overview(self.batch, self._current(), self.rates, link.state, link.problem, self.read_only, self.keymap)

    def _current(self) -> Meters | None:
        """The meters at this moment: the runner is silent while nothing changes, but waits get shorter and rates end."""
        meters, age = self.meters, self._clock() - self._metered_at
        if meters is None or age < STALE:
            return meters
        quota = tuple(replace(meter, wait=max(0.0, meter.wait - age)) for meter in meters.quota)
        return replace(meters, up=0.0, down=0.0, quota=quota)

    def sample(self) -> None:
        """A second passed: record the transfer rate for the sparkline."""
        meters = self._current()
        self.rates.add(meters.up + meters.down if meters is not None else 0.0)

    def _state(self, state: LinkState) -> None:
        if state is LinkState.ATTACHED:
            self._followed = True
        elif state is LinkState.GONE and self._followed:
            self._followed = False
            self.on_call(
                explain("runner_ended").title
                + ("." if self.read_only else f". {self.keymap.shown('start_runner')} starts it again.")
            )
        if state is not LinkState.ATTACHED:
            self._in_snapshot = False
            self._over(self.meters)
            self.meters = None
            self.batch.move(())
        self.on_state(state)
        self.on_change()

    def _message(self, message: Message) -> None:
        if isinstance(message, Snapshot):
            self._snapshot(message)
        elif isinstance(message, Changes):
            self._changes(message)
        elif isinstance(message, Bye):
            return
        self.on_change()

    def _snapshot(self, message: Snapshot) -> None:
        if not self._in_snapshot:
            self._in_snapshot = True
            self.batch.begin()
        self.batch.put(message.jobs)
        if message.last:
            self._in_snapshot = False
            self.batch.end()
        self._metered(message.meters)

    def _changes(self, message: Changes) -> None:
        totals = self.batch.overall
        before = totals[DubState.UNKNOWN], totals[DubState.FAILED], totals.open
        late = any(self._accepted_late(job) for job in message.jobs)
        self.batch.put(message.jobs)
        self.batch.remove(message.removed)
        self.batch.move(message.transfers)
        if message.meters is not None:
            self._metered(message.meters)
        self._call_if_needed(*before)
        if late:
            what = explain("cancelled_late")
            self.on_call(f"A cancel came too late. {what.title}. {what.remedy}")

    def _accepted_late(self, job: Job) -> bool:
        """Whether this job shows for the first time that the service accepted a dub that was cancelled."""
        row = self.batch.rows.get(job.id)
        return row is not None and any(
            row.job.dubs[language].state is DubState.CANCELLED
            and cancellation.billed_all_the_same(row.job, language)
            != cancellation.billed_all_the_same(job, language)
            == "cancelled_late"
            for language in row.job.dubs.keys() & job.dubs.keys()
        )

    def _metered(self, meters: Meters) -> None:
        before, self.meters = self.meters, meters
        self._metered_at = self._clock()
        if before is None:
            return
        if meters.problem != before.problem:
            self._over(before)
            if meters.problem:
                self.on_call(_called(meters.problem))

    def _over(self, before: Meters | None) -> None:
        if before is not None and before.problem:
            self.on_over(_called(before.problem))

    def _call_if_needed(self, unknown: int, failed: int, opened: int) -> None:
        """Call the user for the end of the batch, a decision, or a failure, in this order.

        Failures call at most once in `FAILURES_APART` seconds.
        """
        totals, now = self.batch.overall, self._clock()
        if opened and not totals.open:
            left = totals.trouble + totals.held
            need = f", {left} {'needs' if left == 1 else 'need'} you" if left else ""
            self.on_call(f"The batch has ended: {totals[DubState.DONE]} of {many(totals.dubs, 'dub')} done{need}.")
        elif totals[DubState.UNKNOWN] > unknown:
            self.on_call(f"A dub needs your decision: it is unknown whether the service accepted it. {self._finds}")
        elif totals[DubState.FAILED] > failed and now - self._called_at > FAILURES_APART:
            self._called_at = now
            self.on_call(f"A dub has failed. {self._finds}")

    @property
    def _finds(self) -> str:
        return f"{self.keymap.shown('failed_only')} shows them."


def _called(problem: str) -> str:
    return f"{explain(problem).title}."


def _nothing() -> None:
    """The default callback."""


def _nothing_with_state(state: LinkState) -> None:
    del state


def _nothing_with_words(words: str) -> None:
    del words
