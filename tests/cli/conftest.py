"""The command line in a process of its own, as a user has it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.sandbox.service import Sandbox, running_sandbox
from tests.runner.conftest import FAST_SANDBOX
from tests.waiting import block_until as until  # noqa: F401
from tests.waiting import wait_for_output


def _mp4_box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _mp4_track(handler: bytes) -> bytes:
    return _mp4_box(b"trak", _mp4_box(b"mdia", _mp4_box(b"hdlr", bytes(8), handler, bytes(13))))


MP4_HEADER = (
    _mp4_box(b"ftyp", b"isom\0\0\0\0")
    + _mp4_box(b"moov", _mp4_track(b"vide"), _mp4_track(b"soun"))
    + struct.pack(">I4s", 0, b"mdat")
)
"""The header of an MP4 with picture and sound, whose content is all that follows."""


class CommandResult(NamedTuple):
    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """A sandbox, a home, a state directory and a folder of videos."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.home = folder
        self.videos = folder / "videos"
        self.videos.mkdir()
        self.state = folder / "state"
        self._started: list[subprocess.Popen[str]] = []
        own = {name: value for name, value in os.environ.items() if not name.startswith(("SYNTH", "XDG_"))}
        self.environment = own | {
            "HOME": str(folder),
            "SYNTHESIA_API_KEY": sandbox.api_key,
            "SYNTHDUB_API_URL": sandbox.api_url,
            "SYNTHDUB_S3_ENDPOINT_URL": sandbox.s3_url,
            "SYNTHDUB_STATE_DIR": str(self.state),
        }

    def write_video(self, name: str, size: int = 1000) -> Path:
        """A source of that many bytes: a header with picture and sound where there is room for one, and content of its own."""
        path = self.videos / name
        own = hashlib.sha256(os.fsencode(name)).hexdigest().encode()
        header = MP4_HEADER if size > len(MP4_HEADER) else b""
        path.write_bytes((header + own * (size // len(own) + 1))[:size])
        return path

    def start_command(
        self, *words: str, out: int | IO[str] = subprocess.PIPE, **environment: str | None
    ) -> subprocess.Popen[str]:
        merged = {**self.environment, **environment}
        process = subprocess.Popen(
            [sys.executable, "-m", "synthdub_tui", *words, *_no_settle_flags(words)],
            env={name: value for name, value in merged.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",  # what a test prints in another encoding
        )
        self._started.append(process)
        return process

    def kill_started(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            process.kill()
            process.wait()

    def run_command(self, *words: str, out: int | IO[str] = subprocess.PIPE, **environment: str | None) -> CommandResult:
        process = self.start_command(*words, out=out, **environment)
        out, err = wait_for_output(process)
        return CommandResult(process.returncode, out, err)

    def run_batch(self, *words: str, **environment: str | None) -> CommandResult:
        return self.run_command("run", "--poll-interval", "0.1", "--tier", "unlimited", *words, **environment)

    def read_status(self) -> Any:
        return self.run_command("status", "--json").json

    def dub_states(self) -> dict[str, str]:
        return {dub["language"]: dub["state"] for file in self.read_status()["files"] for dub in file["dubs"]}


def _no_settle_flags(words: tuple[str, ...]) -> tuple[str, ...]:
    """The files of a test are complete when they are named, though they were written just now."""
    return ("--settle", "0") if words[:1] in (("run",), ("runner",)) and "--settle" not in words else ()


MakeShell = Callable[..., Shell]


@pytest.fixture
def make_shell(tmp_path: Path) -> Iterator[MakeShell]:
    with ExitStack() as stack:

        def make(**config: Any) -> Shell:
            sandbox = stack.enter_context(running_sandbox(SandboxConfig(**FAST_SANDBOX | config), tmp_path / "sandbox"))
            shell = Shell(sandbox, tmp_path)
            stack.callback(shell.kill_started)
            return shell

        yield make


@pytest.fixture
def shell(make_shell: MakeShell) -> Shell:
    return make_shell()
