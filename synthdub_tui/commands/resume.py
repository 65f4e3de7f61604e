"""`synthdub resume`: lets a paused batch go on."""

from __future__ import annotations

import argparse

from synthdub_tui.commands.options import add_state_options, resolve
from synthdub_tui.commands.pause import pause


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_state_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return pause(resolve(arguments), paused=False)
