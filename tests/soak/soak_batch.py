"""A batch on a sandbox, and the processes that work on it: started, killed, asked."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from tests.soak.sandbox_process import SandboxProcess
from tests.waiting import block_until

REPO_ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "synthdub_tui")


class SoakBatch:
    """A folder of videos and a state directory."""

    def __init__(self, service: SandboxProcess, folder: Path) -> None:
        self.service = service
        self.videos = folder / "videos"
        self.videos.mkdir(parents=True)
        self.state = folder / "state"
        own = {name: value for name, value in os.environ.items() if not name.startswith(("SYNTH", "XDG_"))}
        self.environment = own | {
            "HOME": str(folder),
            "SYNTHESIA_API_KEY": service.config.api_key,
            "SYNTHDUB_API_URL": service.api_url,
            "SYNTHDUB_S3_ENDPOINT_URL": service.s3_url,
            "SYNTHDUB_STATE_DIR": str(self.state),
            "SYNTHDUB_CONFIG": os.devnull,
            "TERM": "xterm-256color",
        }

    def write_video(self, name: str, size: int) -> Path:
        """A source; the sandbox does not look into it."""
        path = self.videos / name
        path.write_bytes((name.encode() * (size // len(name) + 1))[:size])
        return path

    def start_command(self, *words: str) -> subprocess.Popen[bytes]:
        """A command that nobody listens to."""
        return subprocess.Popen(
            [*COMMAND, *words],
            env=self.environment,
            cwd=REPO_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run_command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        return subprocess.run(
            [*COMMAND, *words],
            env=self.environment,
            cwd=REPO_ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def runner_pid(self) -> int | None:
        """Process id of the runner that answers on the socket."""
        try:
            control = BlockingRunnerClient.connect(str(self.state))
        except ProblemError:
            return None
        if control is None:
            return None
        control.close()
        return control.welcome.pid

    def background_runner_pids(self) -> list[int]:
        """Background runners of this state directory, those that have not opened their socket yet included."""
        wanted = ["-m", "synthdub_tui", "runner", "--state-dir", str(self.state)]
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_text(errors="replace").split("\0")
            except OSError:
                continue
            start = words.index("-m") if "-m" in words else 0  # after the interpreter's own options
            if words[start : start + len(wanted)] == wanted and not _is_gone(int(folder.name)):
                found.append(int(folder.name))
        return found


class DashboardTerminal:
    """The dashboard in a pseudo-terminal; only the last of its output is kept."""

    def __init__(self, world: SoakBatch, *words: str) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            env=world.environment,
            cwd=REPO_ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.output = b""
        self._reader_thread = threading.Thread(target=self._read, daemon=True)
        self._reader_thread.start()

    def type_keys(self, keys: str) -> None:
        """Type on its keyboard."""
        os.write(self._master, keys.encode())

    def close(self) -> None:
        """After the dashboard has ended."""
        self._reader_thread.join(5)
        os.close(self._master)

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self.output = (self.output + data)[-20_000:]
        except OSError:
            return  # the other end is closed


def kill_process(pid: int) -> None:
    """SIGKILL to a process of this soak; returns when it is gone, so that its lock is free."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    block_until(lambda: _is_gone(pid), f"process {pid} to be gone after SIGKILL")


def becomes_true(condition: Callable[[], object], seconds: float, step: float = 0.005) -> bool:
    """Whether it came to pass in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def _is_gone(pid: int) -> bool:
    """Dead with all its threads: until the last one is, files and locks are still open. Who waits for it does not matter."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True
