"""Sets and removes review marks."""

from __future__ import annotations

from synthdub_tui.dashboard.actions.context import ActionContext, CellKey, to_dub_refs
from synthdub_tui.ipc.protocol import (
    ReviewRequest,
)


async def set_reviewed(context: ActionContext, cells: list[CellKey], reviewed: bool) -> None:
    """Set or remove review marks."""
    if context.check_may_act():
        await context.send(ReviewRequest(cells=to_dub_refs(cells), mark=reviewed))
