"""`synthdub run` in the foreground, and `synthdub runner`, which dashboards start in the background."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Any

from synthdub_tui.commands.exit_codes import INTERRUPTED
from synthdub_tui.commands.run import ReadKey, run_batch, serve_clients
from synthdub_tui.runner.events import Reporter
from synthdub_tui.settings.resolve import Settings, resolve


def run_demo(settings: Settings, paths: list[str]) -> int:
    """Do all the work in the foreground. Unfinished dubs cannot be resumed later, since the sandbox ends with the demo."""
    return asyncio.run(run_batch(settings, paths, Reporter(as_json=False), lambda: settings.api_key, resumable=False))


def run_and_leave(settings: Settings, paths: list[str], flags: Mapping[str, Any]) -> int:
    """Do all the work as a process of its own. Once an interrupted run has saved, the process exits at once: not even a name
    look-up may delay it."""
    reporter = Reporter(as_json=bool(flags.get("json")))
    with asyncio.Runner() as loop:
        code = loop.run(run_batch(settings, paths, reporter, _key_reader(flags), resume=bool(flags.get("resume"))))
        if code == INTERRUPTED:
            _leave_at_once(code)
    return code


def serve(settings: Settings, flags: Mapping[str, Any]) -> int:
    """Run a runner for dashboards."""
    with asyncio.Runner() as loop:
        code = loop.run(serve_clients(settings, _key_reader(flags)))
        _leave_at_once(code)
    return code


def _leave_at_once(code: int) -> None:
    """Exit without waiting for threads, which may hang in a dead disk or network. Everything is saved by now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _key_reader(flags: Mapping[str, Any]) -> ReadKey:
    """The returned function reads the key again on each call, since the user may have stored one since the start."""
    return lambda: resolve(flags, os.environ).api_key
