"""`synthdub doctor`: checks everything that dubbing needs. The checks are in `doctor_checks.py`."""

from __future__ import annotations

import argparse

from synthdub_tui.commands.options import add_settings_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_settings_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    from synthdub_tui.commands.doctor_checks import doctor  # noqa: PLC0415 - not needed for the help

    return doctor(vars(arguments))
