"""The dashboard's data and connection: batch, meters and link. Without Textual, so that it can be tested alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from synthdub_tui.dashboard.grid_model import GridModel
from synthdub_tui.dashboard.keymap import DEFAULT_KEYMAP, Keymap
from synthdub_tui.dashboard.widgets.summary_bar import Overview
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.client import Launcher, LinkState, RunnerClient
from synthdub_tui.ipc.protocol import BatchStatus, Bye, Changes, Message, Snapshot
from synthdub_tui.jobs.eta import TransferRates
from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.transitions import cancellation
from synthdub_tui.problems import explain

FAILURE_NOTICE_INTERVAL_SECONDS: Final = 60.0
"""Least seconds between two calls of the user because of failed dubs."""


RATES_STALE_AFTER_SECONDS: Final = 3.0
"""Seconds after which reported rates are out of date."""


class Session:
    """Receives the runner's messages. Calls `on_change` after each, `on_attention_needed` with a text when the user is needed,
    and `on_attention_cleared` with the same text when that is over."""

    def __init__(
        self,
        launcher: Launcher,
        version: str,
        *,
        read_only: bool = False,
        keymap: Keymap = DEFAULT_KEYMAP,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.batch = GridModel()
        self.batch_status: BatchStatus | None = None
        self.rates = TransferRates()
        self.read_only = read_only
        self.keymap = keymap
        self.link = RunnerClient(launcher, version, self._handle_message, self._handle_link_state)
        self.on_change: Callable[[], None] = _ignore_change
        self.on_link_state: Callable[[LinkState], None] = _ignore_link_state
        self.on_attention_needed: Callable[[str], None] = _ignore_attention
        self.on_attention_cleared: Callable[[str], None] = _ignore_attention
        self._clock = clock
        self._in_snapshot = False
        self._had_runner = False  # whether a runner was attached since the last loss
        self._last_failure_notice = 0.0
        self._status_received_at = 0.0

    @property
    def is_attached(self) -> bool:
        """Whether a runner is attached."""
        return self.link.state is LinkState.ATTACHED

    @property
    def is_busy(self) -> bool:
        """Whether a runner is attached in which some dub continues without the user."""
        if self.batch.is_loaded:
            return self.is_attached and self.batch.overall.open > 0
        return self.is_attached and self.batch_status is not None and self.batch_status.busy

    def overview(self) -> Overview:
        """The data of the top line."""
        link = self.link
        return Overview(
            self.batch, self._current_batch_status(), self.rates, link.state, link.problem, self.read_only, self.keymap
        )

    def _current_batch_status(self) -> BatchStatus | None:
        """The meters at this moment: the runner is silent while nothing changes, but waits get shorter and rates end."""
        meters, age = self.batch_status, self._clock() - self._status_received_at
        if meters is None or age < RATES_STALE_AFTER_SECONDS:
            return meters
        quota = tuple(replace(meter, wait=max(0.0, meter.wait - age)) for meter in meters.quota)
        return replace(meters, up=0.0, down=0.0, quota=quota)

    def record_transfer_rate(self) -> None:
        """A second passed: record the transfer rate for the sparkline."""
        meters = self._current_batch_status()
        self.rates.add(meters.up + meters.down if meters is not None else 0.0)

    def _handle_link_state(self, state: LinkState) -> None:
        if state is LinkState.ATTACHED:
            self._had_runner = True
        elif state is LinkState.GONE and self._had_runner:
            self._had_runner = False
            self.on_attention_needed(
                explain("runner_ended").title
                + ("." if self.read_only else f". {self.keymap.key_label('start_runner')} starts it again.")
            )
        if state is not LinkState.ATTACHED:
            self._in_snapshot = False
            self._clear_attention(self.batch_status)
            self.batch_status = None
            self.batch.update_transfers(())
        self.on_link_state(state)
        self.on_change()

    def _handle_message(self, message: Message) -> None:
        if isinstance(message, Snapshot):
            self._handle_snapshot(message)
        elif isinstance(message, Changes):
            self._handle_changes(message)
        elif isinstance(message, Bye):
            return
        self.on_change()

    def _handle_snapshot(self, message: Snapshot) -> None:
        if not self._in_snapshot:
            self._in_snapshot = True
            self.batch.begin_snapshot()
        self.batch.update_jobs(message.jobs)
        if message.last:
            self._in_snapshot = False
            self.batch.end_snapshot()
        self._update_batch_status(message.meters)

    def _handle_changes(self, message: Changes) -> None:
        totals = self.batch.overall
        before = totals[DubState.UNKNOWN], totals[DubState.FAILED], totals.open
        late = any(self._is_accepted_late(job) for job in message.jobs)
        self.batch.update_jobs(message.jobs)
        self.batch.remove_jobs(message.removed)
        self.batch.update_transfers(message.transfers)
        if message.meters is not None:
            self._update_batch_status(message.meters)
        self._request_attention_if_needed(*before)
        if late:
            what = explain("cancelled_late")
            self.on_attention_needed(f"A cancel came too late. {what.title}. {what.remedy}")

    def _is_accepted_late(self, job: Job) -> bool:
        """Whether this job shows for the first time that the service accepted a dub that was cancelled."""
        row = self.batch.rows.get(job.id)
        return row is not None and any(
            row.job.dubs[language].state is DubState.CANCELLED
            and cancellation.billing_problem_code(row.job, language)
            != cancellation.billing_problem_code(job, language)
            == "cancelled_late"
            for language in row.job.dubs.keys() & job.dubs.keys()
        )

    def _update_batch_status(self, meters: BatchStatus) -> None:
        before, self.batch_status = self.batch_status, meters
        self._status_received_at = self._clock()
        if before is None:
            return
        if meters.problem != before.problem:
            self._clear_attention(before)
            if meters.problem:
                self.on_attention_needed(_attention_text(meters.problem))

    def _clear_attention(self, before: BatchStatus | None) -> None:
        if before is not None and before.problem:
            self.on_attention_cleared(_attention_text(before.problem))

    def _request_attention_if_needed(self, unknown: int, failed: int, opened: int) -> None:
        """Call the user for the end of the batch, a decision, or a failure, in this order.

        Failures call at most once in `FAILURE_NOTICE_INTERVAL_SECONDS` seconds.
        """
        totals, now = self.batch.overall, self._clock()
        if opened and not totals.open:
            left = totals.trouble + totals.held
            need = f", {left} {'needs' if left == 1 else 'need'} you" if left else ""
            self.on_attention_needed(
                f"The batch has ended: {totals[DubState.DONE]} of {format_count(totals.dubs, 'dub')} done{need}."
            )
        elif totals[DubState.UNKNOWN] > unknown:
            self.on_attention_needed(
                f"A dub needs your decision: it is unknown whether the service accepted it. {self._failed_only_hint}"
            )
        elif totals[DubState.FAILED] > failed and now - self._last_failure_notice > FAILURE_NOTICE_INTERVAL_SECONDS:
            self._last_failure_notice = now
            self.on_attention_needed(f"A dub has failed. {self._failed_only_hint}")

    @property
    def _failed_only_hint(self) -> str:
        return f"{self.keymap.key_label('failed_only')} shows them."


def _attention_text(problem: str) -> str:
    return f"{explain(problem).title}."


def _ignore_change() -> None:
    """The default callback."""


def _ignore_link_state(state: LinkState) -> None:
    del state


def _ignore_attention(words: str) -> None:
    del words
