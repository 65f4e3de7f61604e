"""The whole program in a pseudo-terminal: command line, dashboard, background runner, and the sandbox for a service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from synthdub_tui.ipc.blocking_client import Control
from synthdub_tui.ipc.protocol import Stop
from synthdub_tui.sandbox import Sandbox, SandboxConfig, make_sources
from tests.dashboard.pseudo_terminal import ROOT, Terminal


@dataclass
class Place:
    """A user's home, videos and state, and the service."""

    folder: Path
    sandbox: Sandbox

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def videos(self) -> Path:
        return self.folder / "videos"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def environment(self, key: str) -> dict[str, str]:
        """The variables that lead the program to this place."""
        return {
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "SYNTHESIA_API_KEY": key,
            "SYNTHDUB_API_URL": self.sandbox.api_url,
            "SYNTHDUB_S3_ENDPOINT_URL": self.sandbox.s3_url,
            "SYNTHDUB_STATE_DIR": str(self.state),
            "SYNTHDUB_CONFIG": str(self.config),
        }

    def open(self, *words: str, key: str = "", program: str = "") -> Terminal:
        """`synthdub` in a new terminal, or a program that is like it."""
        python = (sys.executable, "-c", program) if program else (sys.executable, "-m", "synthdub_tui")
        command = (*python, "--settle", "0", "--poll-interval", "0.1", "--tier", "unlimited", *words)
        return Terminal(command, (160, 40), cwd=self.videos, **self.environment(key))

    async def call(self, *words: str) -> None:
        """Run a command in another shell. Raises AssertionError if it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "synthdub_tui",
            *words,
            cwd=self.videos,
            env={**os.environ, **self.environment(self.sandbox.api_key)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
        assert process.returncode == 0, err.decode()

    def outputs(self) -> list[str]:
        """Finished videos."""
        return sorted(path.name for path in self.videos.glob("*.dubbed-*.mp4"))

    def kill_runner(self) -> None:
        """As a crash would."""
        control = Control.connect(str(self.state))
        assert control is not None
        os.kill(control.welcome.pid, signal.SIGKILL)
        control.wait_for_end()
        control.close()

    async def runner_ends(self) -> None:
        """Stop the runner, if one works, and wait for its end."""
        control = await asyncio.to_thread(Control.connect, str(self.state))
        if control is not None:
            await asyncio.to_thread(control.ask, Stop(id=1))
            await asyncio.to_thread(control.wait_for_end)


@asynccontextmanager
async def place(folder: Path, config: SandboxConfig, files: int) -> AsyncIterator[Place]:
    """Everything but an open dashboard."""
    sandbox = Sandbox(config, folder / "service")
    await sandbox.start()
    found = Place(folder, sandbox)
    found.videos.mkdir()
    found.config.touch(0o600)
    await asyncio.to_thread(make_sources, found.videos, files)
    try:
        yield found
    finally:
        with contextlib.suppress(FileNotFoundError):
            await found.runner_ends()
        await sandbox.stop()
