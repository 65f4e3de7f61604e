"""The options of the dashboard, made by the command line from flags and configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.problems import Problem


class DashboardOptions(msgspec.Struct, frozen=True):
    """Everything that the dashboard gets from outside, except the runner."""

    version: str
    read_only: bool = False
    ascii: bool = False
    mouse: bool = True
    slow_link: bool = False
    notify: bool = False  # OSC 9 notifications, in addition to the bell
    keymap: Mapping[str, str] = {}
    play_command: str = ""
    ssh_host: str = ""  # for `scp` commands, if the address of the connection is not the right one
    check_key: Callable[[str], Awaitable[Problem | None]] | None = None  # asks the service about a key
    check_current_key: Callable[[], Awaitable[Problem | None]] | None = None  # the same for the key of this process
    key_override: str = ""  # the flag or variable of that key, if it takes precedence over a stored one
    config_path: Path | None = None  # where a key may be stored
    log_path: Path | None = None
    paths: tuple[str, ...] = ()  # to add at the start, with `batch`
    batch: BatchOptions = BatchOptions()
    demo: bool = False  # the runner and the simulated service end with the dashboard
    warnings: tuple[str, ...] = ()  # about settings, for the user
