"""The product as processes: its commands in an environment of their own, and the stand-in service that they talk to."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

REPO_ROOT: Final = Path(__file__).parents[2]
"""The checkout whose product is driven."""

MAX_COMMAND_SECONDS: Final = 240.0
"""The longest that a command may take, on a machine that is busy with other work."""

SOURCE_MTIME_SECONDS: Final = 1_500_000_000
"""Modification time of every source, in seconds: long before the recording, so that it stays as it is."""

API_KEY: Final = "sandbox-key"


class RecordedResult(NamedTuple):
    """What a command came to."""

    arguments: tuple[str, ...]
    exit_code: int
    out: str
    err: str


def command_line(words: Sequence[str]) -> list[str]:
    """The command line of a process of the product."""
    return [sys.executable, "-m", "synthdub_tui", *words]


class SnapshotHome:
    """A user's home below `root`: videos, state, receipts, and an environment that holds nothing of this machine's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.videos = root / "videos"
        self.state = root / "state"
        self.data = root / "data"
        self.videos.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(REPO_ROOT),
            "PYTHONHASHSEED": "0",
            "HOME": str(root),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "COLUMNS": "100",
            "TERM": "dumb",
            "SYNTHDUB_STATE_DIR": str(self.state),
            "SYNTHDUB_DATA_DIR": str(self.data),
        }

    def use_service(self, api_url: str, storage_url: str) -> None:
        """Let all commands talk to that service."""
        self.environment |= {
            "SYNTHESIA_API_KEY": API_KEY,
            "SYNTHDUB_API_URL": api_url,
            "SYNTHDUB_S3_ENDPOINT_URL": storage_url,
        }

    def environment_of_batch(self, name: str) -> dict[str, str]:
        """The environment of a second batch of the same user."""
        return {"SYNTHDUB_STATE_DIR": str(self.root / name)}

    def write_video(self, name: str, size: int = 1000) -> Path:
        """A source of that many bytes: a header with picture and sound, and content of its own."""
        path = self.videos / name
        own = hashlib.sha256(os.fsencode(name)).hexdigest().encode()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((_MP4_HEADER + own * size)[:size])
        os.utime(path, (SOURCE_MTIME_SECONDS, SOURCE_MTIME_SECONDS))
        return path

    def start_command(self, *words: str, environment: Mapping[str, str] | None = None, **pipes: Any) -> subprocess.Popen[str]:
        """A command that goes on while others are given."""
        return subprocess.Popen(
            command_line(words),
            cwd=self.root,
            env=self.environment | dict(environment or {}),
            text=True,
            errors="backslashreplace",
            **({"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes),
        )

    def run_command(self, *words: str, environment: Mapping[str, str] | None = None) -> RecordedResult:
        """A command to its end."""
        process = self.start_command(*words, environment=environment)
        try:
            out, err = process.communicate(timeout=MAX_COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"no end within {MAX_COMMAND_SECONDS:.0f} s: {words}\n{out}\n{err}") from None
        return RecordedResult(words, process.returncode, out, err)

    def answer_prompt(self, reply: str, *words: str) -> RecordedResult:
        """A command at a terminal, which asks a question that ends in `] ` and gets the reply. Python asks on stderr."""
        ours, theirs = pty.openpty()
        settings = termios.tcgetattr(theirs)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        process = self.start_command(*words, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # Linux says so when the last process has left the terminal
            while read := os.read(ours, 65536):
                shown += read
                if shown.endswith(b"] "):
                    os.write(ours, f"{reply}\n".encode())
        code = process.wait(MAX_COMMAND_SECONDS)
        os.close(ours)
        return RecordedResult(words, code, shown.decode().replace("\r\n", "\n"), "")

    def read_status(self) -> dict[str, Any]:
        """What `status --json` says."""
        return dict(json.loads(self.run_command("status", "--json").out))

    def read_job(self, video: Path) -> str:
        """What the state file of a video says; empty where there is none yet."""
        files = self.state.glob(f"jobs/{video.stem}-{'[0-9a-f]' * 12}.toml")
        return next((path.read_text("utf-8") for path in files), "")

    def count_running_dubs(self, video: Path) -> int:
        """How many dubs of a video the service has shown to be in progress."""
        return self.read_job(video).count("\nvideo = ")


class SandboxAddress(NamedTuple):
    """The sandbox, and what it says about itself."""

    api_url: str
    storage_url: str
    journal: Path

    def read_requests(self) -> list[dict[str, Any]]:
        """All requests so far, oldest first."""
        return [json.loads(line) for line in self.journal.read_text("utf-8").splitlines()]


@contextmanager
def running_sandbox(home: SnapshotHome, config: str) -> Iterator[SandboxAddress]:
    """The stand-in service in a process of its own."""
    path = home.root / "sandbox.toml"
    path.write_text(config, "utf-8")
    process = home.start_command("sandbox", "--config", str(path), stderr=None)
    assert process.stdout is not None
    try:
        said = dict(process.stdout.readline().split(maxsplit=1) for _ in range(4))
        yield SandboxAddress(said["API"].strip(), said["Storage"].strip(), Path(said["Journal"].strip()))
    finally:
        process.terminate()
        process.communicate()


class RecordingProxy:
    """A port in front of the API's that keeps what clients send."""

    def __init__(self, api_url: str) -> None:
        self._target = int(api_url.rpartition(":")[2])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._received: list[bytearray] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients come."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def requests(self) -> Iterator[str]:
        """Each request with its headers and body."""
        for sent in list(self._received):
            rest = bytes(sent)
            while rest:
                head, _, rest = rest.partition(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                yield (head.replace(b"\r\n", b"\n") + b"\n\n" + rest[:length]).decode()
                rest = rest[length:]

    def close(self) -> None:
        """Accept nothing more."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                service = socket.create_connection(("127.0.0.1", self._target))
                kept = bytearray()
                self._received.append(kept)
                threading.Thread(target=_forward, args=(client, service, kept.extend), daemon=True).start()
                threading.Thread(target=_forward, args=(service, client, lambda _: None), daemon=True).start()


def _forward(source: socket.socket, target: socket.socket, keep: Callable[[bytes], None]) -> None:
    with suppress(OSError):  # either side may break the connection
        while data := source.recv(65536):
            keep(data)
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def block_until_true(condition: Callable[[], Any], what: str) -> None:
    """Look again and again. Raises AssertionError when it takes too long."""
    deadline = time.monotonic() + MAX_COMMAND_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for: {what}")
        time.sleep(0.1)


def require_product_of_this_tree() -> None:
    """Another checkout may be installed. Raises AssertionError where commands would run that one."""
    command = [sys.executable, "-c", "import synthdub_tui; print(synthdub_tui.__path__[0])"]
    environment = os.environ | {"PYTHONPATH": str(REPO_ROOT)}
    found = subprocess.run(command, cwd="/", env=environment, check=True, capture_output=True, text=True).stdout.strip()
    assert Path(found).parent == REPO_ROOT, f"{found} would be recorded instead of {REPO_ROOT}"


def copy_file(source: Path, target: Path) -> None:
    """With its times."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _mp4_box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _mp4_track(handler: bytes) -> bytes:
    return _mp4_box(b"trak", _mp4_box(b"mdia", _mp4_box(b"hdlr", bytes(8), handler, bytes(13))))


_MP4_HEADER: Final = (
    _mp4_box(b"ftyp", b"isom\0\0\0\0")
    + _mp4_box(b"moov", _mp4_track(b"vide"), _mp4_track(b"soun"))
    + struct.pack(">I4s", 0, b"mdat")
)
"""Of an MP4 with picture and sound, whose content is all that follows."""
