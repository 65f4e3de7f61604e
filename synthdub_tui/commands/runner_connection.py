"""The connection of a command to the runner, for the time of the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from synthdub_tui.ipc.blocking_client import Control
from synthdub_tui.settings.model import Settings


@contextlib.contextmanager
def _connected(settings: Settings) -> Iterator[Control | None]:
    """Connects to the runner and closes the connection at the end; None if no runner works."""
    control = Control.connect(settings.state_dir)
    if control is None:
        yield None
        return
    with contextlib.closing(control):
        yield control
