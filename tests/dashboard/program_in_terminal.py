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

from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from synthdub_tui.ipc.protocol import StopRequest
from synthdub_tui.sandbox import Sandbox, SandboxConfig, make_sources
from tests.dashboard.pseudo_terminal import REPO_ROOT, PseudoTerminal


@dataclass
class UserHome:
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
            "PYTHONPATH": str(REPO_ROOT),
            "SYNTHESIA_API_KEY": key,
            "SYNTHDUB_API_URL": self.sandbox.api_url,
            "SYNTHDUB_S3_ENDPOINT_URL": self.sandbox.s3_url,
            "SYNTHDUB_STATE_DIR": str(self.state),
            "SYNTHDUB_CONFIG": str(self.config),
        }

    def open_terminal(self, *words: str, key: str = "", program: str = "") -> PseudoTerminal:
        """`synthdub` in a new terminal, or a program that is like it."""
        python = (sys.executable, "-c", program) if program else (sys.executable, "-m", "synthdub_tui")
        command = (*python, "--settle", "0", "--poll-interval", "0.1", "--tier", "unlimited", *words)
        return PseudoTerminal(command, (160, 40), cwd=self.videos, **self.environment(key))

    async def run_command(self, *words: str) -> None:
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

    def output_names(self) -> list[str]:
        """Finished videos."""
        return sorted(path.name for path in self.videos.glob("*.dubbed-*.mp4"))

    def kill_runner(self) -> None:
        """As a crash would."""
        control = BlockingRunnerClient.connect(str(self.state))
        assert control is not None
        os.kill(control.welcome.pid, signal.SIGKILL)
        control.wait_for_end()
        control.close()

    async def stop_runner(self) -> None:
        """Stop the runner, if one works, and wait for its end."""
        control = await asyncio.to_thread(BlockingRunnerClient.connect, str(self.state))
        if control is not None:
            await asyncio.to_thread(control.ask, StopRequest(id=1))
            await asyncio.to_thread(control.wait_for_end)


@asynccontextmanager
async def user_home(folder: Path, config: SandboxConfig, files: int) -> AsyncIterator[UserHome]:
    """Everything but an open dashboard."""
    sandbox = Sandbox(config, folder / "service")
    await sandbox.start()
    found = UserHome(folder, sandbox)
    found.videos.mkdir()
    found.config.touch(0o600)
    await asyncio.to_thread(make_sources, found.videos, files)
    try:
        yield found
    finally:
        with contextlib.suppress(FileNotFoundError):
            await found.stop_runner()
        await sandbox.stop()
