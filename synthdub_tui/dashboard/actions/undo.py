"""Undoes the last cancel if it was not sent yet; else stops the search for files."""

from __future__ import annotations

from synthdub_tui.dashboard.actions.add import AddAction
from synthdub_tui.dashboard.actions.cancel import CancelAction
from synthdub_tui.dashboard.actions.context import ActionContext
from synthdub_tui.humanize import format_count


def undo(context: ActionContext, cancel: CancelAction, add: AddAction) -> None:
    """Take back what the user did last and what can still be taken back."""
    if count := cancel.take_back():
        context.status_bar.show_message(f"Taken back: {format_count(count, 'dub')} {'goes' if count == 1 else 'go'} on.")
    elif not add.stop_searches():
        context.status_bar.show_message("There is nothing to take back.")
