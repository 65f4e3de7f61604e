"""The connection of a command to the runner, for the time of the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from synthdub_tui.settings.model import Settings


@contextlib.contextmanager
def connect_to_runner(settings: Settings) -> Iterator[BlockingRunnerClient | None]:
    """Connects to the runner and closes the connection at the end; None if no runner works."""
    control = BlockingRunnerClient.connect(settings.state_dir)
    if control is None:
        yield None
        return
    with contextlib.closing(control):
        yield control
