"""Pauses and resumes the batch."""

from __future__ import annotations

from synthdub_tui.dashboard.actions.context import ActionContext
from synthdub_tui.ipc.protocol import (
    PauseRequest,
    ResumeRequest,
)


async def pause_or_resume(context: ActionContext) -> None:
    """Pause or resume the batch."""
    if not context.check_may_act():
        return
    paused = context.session.batch_status is not None and context.session.batch_status.paused
    context.status_bar.show_message("Going on…" if paused else "Pausing…")
    if await context.send(ResumeRequest() if paused else PauseRequest()) is not None:
        context.status_bar.show_message("Going on." if paused else "Paused: what is under way finishes, nothing new begins.")
