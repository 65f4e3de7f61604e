"""Opens the dashboard in this terminal. Imports Textual only if the terminal can show a dashboard."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from synthdub_tui.errors import EXIT_USAGE

if TYPE_CHECKING:
    from synthdub_tui.dashboard.options import DashboardOptions
    from synthdub_tui.ipc.client import Launcher

TEXTUAL_FPS, SLOW_LINK_TEXTUAL_FPS = 240, 4
"""Frames per second of Textual. Its timer may wait two periods, and stops while nothing changes; we pace the output."""


def run_dashboard(
    state_dir: Path, launcher: Launcher, options: DashboardOptions, *, on_hangup: Callable[[], object] | None = None
) -> int:
    """Show the batch until the user leaves. Returns the exit code: 0, 2 if this terminal cannot show it, 130 after a signal.

    If the terminal is lost, this does not return: the process ends, after it called `on_hangup`, which must not block.
    """
    refused = terminal_problem(os.environ)
    if refused:
        print(refused, file=sys.stderr)
        return EXIT_USAGE
    if needs_ascii(os.environ):
        options = replace(options, ascii=True)
    gc.disable()  # until the first frame: imports leave no garbage, and collecting takes a tenth of the start
    settings = {"TEXTUAL_FPS": str(SLOW_LINK_TEXTUAL_FPS if options.slow_link else TEXTUAL_FPS), "TEXTUAL_ANIMATIONS": "none"}
    added = [name for name, value in settings.items() if os.environ.setdefault(name, value) is value]
    from synthdub_tui.dashboard.app import SynthdubApp  # noqa: PLC0415 - Textual reads the environment when it is imported

    for name in added:
        del os.environ[name]
    from synthdub_tui.dashboard.terminal.ascii_output import use_ascii_output  # noqa: PLC0415
    from synthdub_tui.dashboard.terminal.signals import hangup_tasks, install_signal_handlers  # noqa: PLC0415
    from synthdub_tui.dashboard.ui_state import UiStateStore  # noqa: PLC0415

    if options.ascii:
        use_ascii_output()
    memory = UiStateStore(state_dir)
    app = SynthdubApp(launcher, memory, options)
    hangup_tasks.append(memory.save)
    if on_hangup is not None:
        hangup_tasks.append(on_hangup)
    install_signal_handlers(app, sys.stdin.fileno())
    code = app.run(mouse=options.mouse)
    memory.save_in_background().join(timeout=1)
    print(app.exit_summary)
    return app.return_code or 0 if code is None else code


def terminal_problem(environ: Mapping[str, str]) -> str:
    """Why this terminal cannot show the dashboard, and what to do; empty if it can."""
    otherwise = "Use `synthdub run` instead, or `synthdub status` to look."
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return f"synthdub: the dashboard needs a terminal for input and error output. {otherwise}"
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        return f"synthdub: the terminal (TERM={environ.get('TERM', '')}) cannot draw a dashboard. {otherwise}"
    return ""


def needs_ascii(environ: Mapping[str, str]) -> bool:
    """Whether the locale says that the terminal cannot show Unicode."""
    import locale  # noqa: PLC0415 - costs start-up time

    named = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if named in ("C", "POSIX"):
        return True
    return "utf" not in locale.getencoding().lower()
