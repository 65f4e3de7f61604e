"""Command line of the recorder; the package's docstring says what it is for."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import tests.behaviour_snapshot as package
from tests.behaviour_snapshot.comparison import compare_with
from tests.behaviour_snapshot.recorder import record_snapshot


def main() -> int:
    """Exit code 1 where two trees differ."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.behaviour_snapshot",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="where to write; must not exist yet")
    parser.add_argument("--against", metavar="GITREF", help="record that reference and this tree, and print the difference")
    parser.add_argument("--only", action="append", metavar="SCENE", help="commands, batch, socket or pictures; may be repeated")
    arguments = parser.parse_args()
    only = tuple(arguments.only or ())
    if arguments.against:
        folder = arguments.folder or Path(tempfile.mkdtemp(prefix="behaviour-snapshot-"))
        return compare_with(arguments.against, folder, only)
    if not arguments.folder:
        parser.error("FOLDER or --against is needed")
    record_snapshot(arguments.folder, only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
