"""`synthdub run`: dubs without a screen. The work is in `headless_run.py`."""

from __future__ import annotations

import argparse

from synthdub_tui.commands.options import add_json_option, add_work_options, named_paths, resolve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.description = "Dub without a screen. Without PATH: whatever the state directory still has to do."
    add_work_options(parser)
    parser.add_argument("--resume", action="store_true", help="end a pause first; without, a paused batch begins nothing new")
    add_json_option(parser, "one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    from synthdub_tui.commands.headless_run import run_and_exit  # noqa: PLC0415 - not needed for the help

    return run_and_exit(resolve(arguments), named_paths(arguments), vars(arguments))
