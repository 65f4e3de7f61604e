"""`synthdub`: the dashboard. It is opened in `dashboard_start.py`."""

from __future__ import annotations

import argparse

from synthdub_tui.commands.options import add_work_options, named_paths, resolve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_work_options(parser)
    screen = parser.add_argument_group("screen options")
    screen.add_argument("--read-only", action="store_true", help="watch, change nothing")
    screen.add_argument("--slow-link", action="store_true", help="paint less often, for a poor connection")
    screen.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    screen.add_argument("--no-mouse", dest="mouse", action="store_false", help="leave the mouse to the terminal")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    from synthdub_tui.commands.dashboard_start import dashboard  # noqa: PLC0415 - not needed for the help

    return dashboard(resolve(arguments), named_paths(arguments), vars(arguments))
