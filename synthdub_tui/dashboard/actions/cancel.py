"""Cancels dubs, after a question and some seconds in which the cancel can be undone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from textual.worker import Worker, WorkerFailed

from synthdub_tui.dashboard.actions.context import ActionContext, changed_text
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.protocol import (
    CancelRequest,
    ShownDub,
)
from synthdub_tui.jobs.model import OPEN_STATES, DubState
from synthdub_tui.jobs.retry_policy import bill_if_cancelled

UNDO_SECONDS: Final = 5.0
"""Seconds in which a cancel can be undone, before the request is sent."""

_ACCEPTED: Final = frozenset({DubState.DUBBING, DubState.READY, DubState.DOWNLOADING})


class CancelAction:
    """Cancels the marked dubs, else those under the cursor."""

    def __init__(self, context: ActionContext) -> None:
        self._context = context
        self._pending_cancel: tuple[ShownDub, ...] = ()
        self._cancel_timer: asyncio.TimerHandle | None = None
        self._cancel_request: Worker[None] | None = None

    def cancel(self) -> None:
        """Cancel the targets, after a question and `UNDO_SECONDS` seconds in which this can be undone."""
        if not self._context.check_may_act():
            return
        self.send_pending_cancel()
        stoppable = OPEN_STATES | {DubState.UNKNOWN}
        cells = [cell for cell, dub in self._context.dubs_in(self._context.target_cells()) if dub.state in stoppable]
        if not cells:
            self._context.status_bar.show_message("Nothing here to cancel: only what is under way or undecided can be.")
            return
        lines = [*self._context.describe_cells(cells), "What the service already works on may still be billed."]
        shown = self._context.to_shown_dubs(cells, bill_if_cancelled)
        title, then = f"Cancel {format_count(len(cells), 'dub')}?", lambda: self._schedule_cancel(shown)
        self._context.ask_to_confirm(title, lines, then, danger=True, yes="Cancel them", no_message="Nothing was cancelled.")

    def _schedule_cancel(self, cells: tuple[ShownDub, ...]) -> None:
        self._pending_cancel = cells
        self._cancel_timer = asyncio.get_running_loop().call_later(UNDO_SECONDS, self.send_pending_cancel)
        undo = self._context.keymap.key_label("undo")
        self._context.status_bar.show_message(
            f"{format_count(len(cells), 'dub')} will be cancelled in {UNDO_SECONDS:.0f} s. {undo} takes it back.",
            seconds=UNDO_SECONDS,
        )

    def send_pending_cancel(self) -> None:
        """Send the cancel that still can be undone: after `UNDO_SECONDS` seconds, before the next cancel, and before
        quitting."""
        cells = self._pending_cancel
        if cells:
            self._clear_pending_cancel()
            self._cancel_request = self._context.start(self._send_cancel(cells), "send cancel")

    async def wait_until_cancel_sent(self) -> None:
        """Wait until the runner has answered the last cancel, or the request failed; failures were shown already."""
        if self._cancel_request is not None:
            with contextlib.suppress(WorkerFailed):
                await self._cancel_request.wait()

    async def _send_cancel(self, cells: tuple[ShownDub, ...]) -> None:
        self._context.status_bar.show_message(f"Cancelling {format_count(len(cells), 'dub')}…")
        accepted = sum(dub.state in _ACCEPTED for _, dub in self._context.dubs_in((cell.job, cell.language) for cell in cells))
        reply = await self._context.send(CancelRequest(cells=cells))
        if reply is not None:
            billed = f" The service had accepted {accepted} of them: they may be billed." if accepted else ""
            count = int(reply.result.get("cancelled", 0))
            self._context.status_bar.show_message(
                f"{format_count(count, 'dub')} cancelled.{billed}{changed_text(len(reply.changed))}"
            )

    def _clear_pending_cancel(self) -> None:
        self._pending_cancel = ()
        if self._cancel_timer is not None:
            self._cancel_timer.cancel()
            self._cancel_timer = None

    def take_back(self) -> int:
        """Undo the cancel that was not sent yet. Returns how many dubs go on, 0 if there was none."""
        count = len(self._pending_cancel)
        if count:
            self._clear_pending_cancel()
        return count
