"""`synthdub demo`: everything against the built-in sandbox. The work is in `demo_batch.py`."""

from __future__ import annotations

import argparse

from synthdub_tui.commands.options import split_codes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.description = "All of it against the built-in sandbox, in a temporary state directory. No key needed."
    parser.add_argument("--files", type=int, default=6, metavar="N", help="videos to make and dub (default: 6)")
    parser.add_argument("--targets", type=split_codes, action="extend", metavar="CODES", help="default: fr-FR,es-ES,de-DE")
    parser.add_argument("--headless", action="store_true", help="no dashboard: run, and print the summary")
    parser.add_argument("--folder", metavar="DIR", help="keep videos and outputs here (default: a temporary folder, kept too)")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    from synthdub_tui.commands.demo_batch import demo  # noqa: PLC0415 - not needed for the help

    return demo(arguments.files, getattr(arguments, "targets", []), "headless" in arguments, getattr(arguments, "folder", ""))
