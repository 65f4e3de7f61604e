"""Starts a runner in the background, and checks whether one answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from synthdub_tui.errors import EXIT_BUSY, ProblemError
from synthdub_tui.ipc.socket_path import socket_path

if TYPE_CHECKING:
    from pathlib import Path

START_TIMEOUT_SECONDS: Final = 15.0
"""Seconds within which a runner must open its socket; reading 10,000 jobs from a slow disk takes some of them."""


def start_runner(state_dir: str, arguments: list[str], environment: Mapping[str, str]) -> Path:
    """Start a runner that outlives this terminal, wait until it answers and return its socket. Blocking.

    The API key is passed in the environment, never as an argument. Raises ProblemError("runner_gone") with the runner's error
    output, or ProblemError("state_unwritable") if there is no private folder for the socket.
    """
    import subprocess  # noqa: PLC0415 - not needed to look for a runner
    import tempfile  # noqa: PLC0415

    command = [sys.executable, "-X", "utf8", "-m", "synthdub_tui", "runner", "--state-dir", state_dir, *arguments]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=dict(environment),
            cwd="/",
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                errors.seek(0)
                said = errors.read(2000).decode(errors="replace").strip()
                if process.returncode == EXIT_BUSY:
                    return socket_path(state_dir)  # another runner was faster: use that one
                raise ProblemError("runner_gone", said)
            if runner_answers(path := socket_path(state_dir)):  # the path may have changed to outside
                return path
            time.sleep(0.02)
    raise ProblemError("runner_gone", "it did not open its socket in time")


def runner_answers(path: Path) -> bool:
    """Whether a runner listens on the socket. A runner that was killed leaves a socket on which nothing listens."""
    import socket  # noqa: PLC0415 - not needed to look at files

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError:
        return False
    finally:
        connection.close()
    return True
