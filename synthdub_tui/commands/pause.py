"""`synthdub pause` and `synthdub resume`."""

from __future__ import annotations

import argparse
import time

from synthdub_tui.commands.offline_batch import OfflineBatch
from synthdub_tui.commands.options import add_state_options, resolve
from synthdub_tui.commands.runner_connection import connect_to_runner
from synthdub_tui.ipc.protocol import PauseRequest, ResumeRequest
from synthdub_tui.settings.model import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_state_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return pause(resolve(arguments), paused=True)


def pause(settings: Settings, *, paused: bool) -> int:
    """Pause the batch, so that nothing new starts, or resume it."""
    with connect_to_runner(settings) as control:
        if control is not None:
            control.ask(PauseRequest(id=1) if paused else ResumeRequest(id=1))
        else:
            with OfflineBatch(settings, time.time()) as direct:
                direct.store.write_document("batch", direct.store.read_document("batch") | {"paused": paused})
    goes_on = "Resumed." if control is not None else "Resumed; `synthdub run` goes on."
    print("Paused: what is under way finishes, nothing new begins." if paused else goes_on)
    return 0
