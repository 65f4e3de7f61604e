"""`synthdub runner`, which dashboards start in the background: serves them until there is nothing left to do."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any, Final

from synthdub_tui.commands.options import add_settings_options, resolve
from synthdub_tui.commands.process_end import StopSignal, exit_immediately
from synthdub_tui.errors import EXIT_DONE
from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.runner import clock, log_file
from synthdub_tui.runner.malloc_arenas import share_one_arena
from synthdub_tui.runner.runner import Runner
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import KeyReader, make_key_reader

IDLE_EXIT_SECONDS: Final = 30.0
"""Seconds after which a background runner ends if it has nothing to do and no client is attached."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_settings_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return serve(resolve(arguments), vars(arguments))


def serve(settings: Settings, flags: Mapping[str, Any]) -> int:
    """Run a runner for dashboards."""
    with asyncio.Runner() as loop:
        code = loop.run(serve_clients(settings, make_key_reader(flags)))
        exit_immediately(code)
    return code


async def serve_clients(settings: Settings, read_key: KeyReader) -> int:
    """Run a runner for dashboards, until it has nothing to do and no client is attached for `IDLE_EXIT_SECONDS`, or is stopped.

    Returns the exit code. Raises ProblemError("state_busy" | "state_unwritable" | "state_newer"), or OSError for the log.
    """
    share_one_arena()
    runner = Runner(settings)
    await in_thread(runner.open)
    log = log_file.start(settings.state_dir)
    stop = StopSignal()
    server = RunnerServer(runner, on_stop=stop.request, read_key=read_key)
    try:
        await server.start()
        runner.start()
        while not stop.requested:
            lonely = not server.clients and not runner.adding and clock.now() - server.last_client_left_at > IDLE_EXIT_SECONDS
            if lonely and not runner.has_paused_work and (runner.idle.is_set() or runner.halted.is_set()):
                break
            await stop.wait(1.0)
    finally:
        await runner.stop()
        await server.close("stopped")
        log_file.end(log)
    return EXIT_DONE
