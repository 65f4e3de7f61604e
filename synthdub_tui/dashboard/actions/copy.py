"""Copies a path or an id to the clipboard."""

from __future__ import annotations

from synthdub_tui.dashboard.actions.context import ActionContext
from synthdub_tui.dashboard.terminal import clipboard
from synthdub_tui.jobs.model import DubState
from synthdub_tui.text import make_printable


def copy(context: ActionContext) -> None:
    """Copy the output's path of a finished dub, else the project's id, else the source's path. Shows it too."""
    cursor = context.grid.cursor
    if cursor is None:
        return
    job, dub = context.session.batch.rows[cursor.job].job, context.session.batch.dub(*cursor)
    if dub is not None and dub.output is not None and dub.state is DubState.DONE:
        what, text = "the output's path", clipboard.path_text(dub.output.path)
    elif dub is not None and dub.project:
        what, text = "the project's id", make_printable(dub.project)
    else:
        what, text = "the source's path", clipboard.path_text(job.source.path)
    clipboard.copy_text(context.app, text)
    context.status_bar.show_message(f"Copied {what}, if your terminal allows it: {make_printable(text, 4096)}")
