"""Starts a runner after the last one ended or died."""

from __future__ import annotations

from synthdub_tui.dashboard.actions.context import ActionContext
from synthdub_tui.ipc.client import LinkState


def start_runner(context: ActionContext) -> None:
    """Start a runner after the last one ended or died."""
    if context.options.read_only:
        context.check_may_act()  # shows why not
    elif context.session.link.state is LinkState.GONE:
        context.status_bar.show_message("Starting the runner…")
        context.session.link.restart()
    else:
        context.status_bar.show_message("The runner is there.")
