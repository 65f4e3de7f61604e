"""Removes dubs that have ended from the batch. Asks before something paid is forgotten."""

from __future__ import annotations

from synthdub_tui.dashboard.actions.context import ActionContext, CellKey, changed_text
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.protocol import (
    RemoveRequest,
    ShownDub,
)
from synthdub_tui.jobs.transitions import cancellation


class RemoveAction:
    """Removes the marked dubs, else those under the cursor."""

    def __init__(self, context: ActionContext) -> None:
        self._context = context

    def remove(self) -> None:
        """Remove the targets that have ended from the batch. Asks before something paid is forgotten."""
        if not self._context.check_may_act():
            return
        rows = self._context.session.batch.rows
        dubs = [
            (cell, dub)
            for cell, dub in self._context.dubs_in(self._context.target_cells())
            if cancellation.can_remove(rows[cell[0]].job, cell[1])
        ]
        cells = [cell for cell, _ in dubs]
        if not cells:
            self._context.status_bar.show_message(
                "Nothing here to remove: only what is done, failed or cancelled can be. Cancel the rest first."
            )
        elif paid := [cell for cell, dub in dubs if cancellation.removal_forgets_paid_work(dub)]:
            self._ask_to_remove_paid(cells, paid)
        else:
            self._context.start(self._remove(self._context.to_shown_dubs(cells), forget=False), "remove")

    def _ask_to_remove_paid(self, cells: list[CellKey], paid: list[CellKey]) -> None:
        lines = [
            *self._context.describe_cells(paid),
            "They were paid for, and are not on disk. To have them again may cost credits again.",
        ]
        lines += [f"{format_count(len(cells) - len(paid), 'dub')} besides; files stay."] if len(cells) > len(paid) else []
        shown = self._context.to_shown_dubs(cells)
        title, then = (
            f"Remove {format_count(len(cells), 'dub')}?",
            lambda: self._context.start(self._remove(shown, forget=True), "remove"),
        )
        self._context.ask_to_confirm(title, lines, then, danger=True, yes="Remove", no_message="Nothing was removed.")

    async def _remove(self, cells: tuple[ShownDub, ...], *, forget: bool) -> None:
        reply = await self._context.send(RemoveRequest(cells=cells, forget=forget))
        if reply is None:
            return
        under_way, paid = (int(reply.result.get(word, 0)) for word in ("under_way", "paid"))
        left = f" {format_count(under_way, 'dub')} left: under way again." if under_way else ""
        self._context.status_bar.show_message(
            f"{format_count(int(reply.result.get('removed', 0)), 'dub')} removed; files stay."
            f"{left}{changed_text(len(reply.changed))}"
        )
        if paid:  # only the runner can see that their outputs are missing
            changed = {(cell.job, cell.language) for cell in reply.changed}
            asked = [(cell.job, cell.language) for cell in cells]
            kept = [cell for cell, _ in self._context.dubs_in(asked) if cell not in changed]
            self._ask_to_remove_paid(kept, kept)
