"""Reports an unexpected exception of the dashboard: the traceback goes to a file, without values of variables."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Final

from synthdub_tui.problems import explain
from synthdub_tui.text import printable

FILE: Final = "dashboard-crash.txt"
"""Written next to the runner's log; contains the last crash only."""


def words(error: BaseException, folder: Path | None) -> str:
    """The text for the user. Writes the traceback to `folder`; if that fails, the text contains it."""
    trace = "".join(traceback.format_exception(error))
    lines = [f"synthdub: {explain('internal').title}, and the dashboard had to close."]
    kept = _kept(trace, folder) if folder is not None else ""
    lines += [f"The traceback is in {kept}"] if kept else trace.splitlines()
    lines.append("The runner is not touched by this: `synthdub` opens the dashboard again.")
    return "\n".join(printable(line, 4096) for line in lines)


def _kept(trace: str, folder: Path) -> str:
    """Path of the written file; empty if it could not be written."""
    path = folder / FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="backslashreplace", opener=_private) as file:
            file.write(trace)
    except OSError:
        return ""
    return str(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
