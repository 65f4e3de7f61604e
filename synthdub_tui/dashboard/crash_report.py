"""Reports an unexpected exception of the dashboard: the traceback goes to a file, without values of variables."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Final

from synthdub_tui.problems import explain
from synthdub_tui.text import make_printable

CRASH_FILE_NAME: Final = "dashboard-crash.txt"
"""Written next to the runner's log; contains the last crash only."""


def write_crash_report(error: BaseException, folder: Path | None) -> str:
    """The text for the user. Writes the traceback to `folder`; if that fails, the text contains it."""
    trace = "".join(traceback.format_exception(error))
    lines = [f"synthdub: {explain('internal').title}, and the dashboard had to close."]
    kept = _write_traceback(trace, folder) if folder is not None else ""
    lines += [f"The traceback is in {kept}"] if kept else trace.splitlines()
    lines.append("The runner is not touched by this: `synthdub` opens the dashboard again.")
    return "\n".join(make_printable(line, 4096) for line in lines)


def _write_traceback(trace: str, folder: Path) -> str:
    """Path of the written file; empty if it could not be written."""
    path = folder / CRASH_FILE_NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="backslashreplace", opener=_open_private) as file:
            file.write(trace)
    except OSError:
        return ""
    return str(path)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
