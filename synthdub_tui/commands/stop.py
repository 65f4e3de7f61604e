"""`synthdub stop`: the runner saves and ends."""

from __future__ import annotations

import argparse
import os
import time

from synthdub_tui.commands.options import add_state_options, resolve
from synthdub_tui.commands.runner_connection import connect_to_runner
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import StopRequest
from synthdub_tui.settings.model import Settings
from synthdub_tui.store.lock import StateLock
from synthdub_tui.text import make_printable

STOP_TIMEOUT_SECONDS = 60.0
"""Seconds for which `stop` waits until the runner has released the state directory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_state_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return stop(resolve(arguments))


def stop(settings: Settings) -> int:
    """Let the runner save and end. Returns 0, also if there was none."""
    if end_runner(settings):
        print("Stopped; the work resumes at the next start.")
    else:
        print(f"No runner works on {make_printable(settings.state_dir, 4096)}")
    return 0


def end_runner(settings: Settings) -> bool:
    """Let the runner save and end, and wait for its end. Returns whether there was a runner.

    Raises ProblemError("state_busy") if it takes longer than `STOP_TIMEOUT_SECONDS`.
    """
    with connect_to_runner(settings) as control:
        if control is None:
            return False
        control.ask(StopRequest(id=1))
        control.wait_for_end()
    _wait_for_lock(settings)
    return True


def _wait_for_lock(settings: Settings) -> None:
    """Wait for the runner to release the state directory, which it does shortly after it closes its socket."""
    lock = StateLock(os.path.join(settings.state_dir, "lock"))
    deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
    while True:
        try:
            lock.acquire()
        except ProblemError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            lock.release()
            return
