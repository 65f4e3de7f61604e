"""`synthdub` without a command: opens the dashboard and starts or finds its runner."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from synthdub_tui import __version__
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.run import run_dashboard
from synthdub_tui.errors import ProblemError
from synthdub_tui.files import absolute_path
from synthdub_tui.ipc.client import Launcher
from synthdub_tui.ipc.runner_process import runner_answers, start_runner
from synthdub_tui.ipc.socket_path import socket_path
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.problems import Problem
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.settings.model import Settings

_FLAGS_PASSED_TO_RUNNER: Final = {
    "api_url": "--api-url",
    "s3_endpoint_url": "--s3-endpoint-url",
    "api_key_file": "--api-key-file",
    "config": "--config",
    "poll_interval": "--poll-interval",
    "tier": "--tier",
    "max_uploads": "--max-uploads",
    "max_downloads": "--max-downloads",
    "settle_seconds": "--settle",
}
"""Flags passed on unchanged to the runner in the background."""


class BackgroundRunner:
    """Starts the runner of a state directory if none answers there. The runner outlives the dashboard."""

    def __init__(self, state_dir: str, flags: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self._state_dir = state_dir
        self._arguments = [
            word
            for name, flag in _FLAGS_PASSED_TO_RUNNER.items()
            if flags.get(name) not in (None, "")
            for word in (flag, str(flags[name]))
        ]
        self._environment = dict(environment)
        if flags.get("api_key"):
            self._environment["SYNTHESIA_API_KEY"] = str(flags["api_key"])

    @property
    def path(self) -> Path:
        """Path of the runner's socket, which exists only while a runner works."""
        return socket_path(self._state_dir)

    async def start(self) -> Path:
        """Returns the socket of a runner that answers. Raises ProblemError."""
        return await in_thread(self._start)

    def use_stored_key(self) -> None:
        """From now on, start runners without the flag and the variable that take precedence over the configuration file."""
        self._environment.pop("SYNTHESIA_API_KEY", None)
        if "--api-key-file" in self._arguments:
            place = self._arguments.index("--api-key-file")
            del self._arguments[place : place + 2]

    def _start(self) -> Path:
        return self.path if runner_answers(self.path) else start_runner(self._state_dir, self._arguments, self._environment)


class ExistingRunner:
    """Finds a running runner for a dashboard that only watches. It starts none, since a runner continues the work and pays."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir

    @property
    def path(self) -> Path:
        """Path of the runner's socket, which exists only while a runner works."""
        return socket_path(self._state_dir)

    async def start(self) -> Path:
        """Returns the socket of a runner that answers. Raises ProblemError."""
        if not await in_thread(runner_answers, self.path):
            raise ProblemError("runner_none")
        return self.path

    def use_stored_key(self) -> None:
        """Does nothing, since this class starts no runner."""


def dashboard(settings: Settings, paths: list[str], flags: Mapping[str, Any]) -> int:
    """Show the batch until the user quits. Raises ProblemError if a named path or language is wrong."""
    if paths:
        _check(paths, settings.batch)
    _make_private(settings.state_dir)
    return run_dashboard(Path(settings.state_dir), _runner(settings, flags), options(settings, paths, flags))


def _check(paths: list[str], batch: BatchOptions) -> None:
    from synthdub_tui.runner.input_validation import validate_batch, wrong_paths  # noqa: PLC0415 - the first frame waits for imports

    wrong = wrong_paths(paths)
    for trouble in wrong[1:]:
        print(f"synthdub: {trouble}", file=sys.stderr)
    if wrong:
        raise wrong[0]
    if batch.targets:
        validate_batch(batch)


def _runner(settings: Settings, flags: Mapping[str, Any]) -> Launcher:
    if flags.get("read_only"):
        return ExistingRunner(settings.state_dir)
    return BackgroundRunner(settings.state_dir, flags, os.environ)


def options(settings: Settings, paths: list[str], flags: Mapping[str, Any]) -> DashboardOptions:
    """Returns the dashboard's options from flags and configuration."""
    screen = settings.dashboard
    return DashboardOptions(
        version=__version__,
        read_only=bool(flags.get("read_only")),
        ascii=bool(flags.get("ascii")),
        mouse=screen.mouse and flags.get("mouse") is not False,
        slow_link=bool(flags.get("slow_link")),
        notify=screen.notify,
        keymap=screen.keys,
        play_command=screen.play_command,
        ssh_host=screen.ssh_host,
        check_key=lambda key: _check_key(settings, key),
        check_current_key=(lambda: _check_key(settings, settings.api_key)) if settings.api_key else None,
        key_override=settings.key_override,
        config_path=Path(settings.config_path),
        log_path=Path(settings.state_dir) / "log" / "synthdub.log",
        paths=tuple(absolute_path(path) for path in paths),
        batch=settings.batch,
        warnings=settings.warnings,
    )


async def _check_key(settings: Settings, key: str) -> Problem | None:
    """Ask the service about a key; returns the problem, or None if the key is good."""
    return await in_thread(_check_key_blocking, settings, key)


def _check_key_blocking(settings: Settings, key: str) -> Problem | None:
    """Runs in a thread with its own event loop, since importing the client would block the screen."""
    from synthdub_tui.commands.doctor_checks import check_api_key  # noqa: PLC0415

    try:
        asyncio.run(check_api_key(settings.api_url, key))
    except ProblemError as trouble:
        return trouble.problem
    return None


def _make_private(state_dir: str) -> None:
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
    except OSError as error:
        raise ProblemError("state_unwritable", f"{error.strerror}: {state_dir}") from error
