"""The key, upload credentials and signed addresses: after a run with faults of every kind they are where they belong alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.ipc.socket_path import socket_path
from synthdub_tui.sandbox.config import ENDPOINTS, Fault
from tests.cli.conftest import MakeShell, Shell, until
from tests.dashboard.pseudo_terminal import PseudoTerminal
from tests.proofs.sandbox_scene import running_batch
from tests.proofs.test_network_table import s3_error_body
from tests.waiting import wait_for_exit

API_KEY = "k3y-9f1c5d27-never-to-be-seen"
SIGNATURE_PATTERN = re.compile(rb"X-Amz-(Signature|Credential|Security-Token)|AWS4-HMAC", re.IGNORECASE)


class RedirectTarget:
    """Another host, to which redirects lead: it keeps all that it is sent."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        heard = self.received

        class Handler(BaseHTTPRequestHandler):
            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                heard.append(f"{self.command} {self.path}\n{self.headers}".encode() + body)
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _take  # noqa: N815 - http.server calls them by these names

            def log_message(self, *_: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def redirect_target() -> Iterator[RedirectTarget]:
    made = RedirectTarget()
    yield made
    made.close()


class SocketRecorder:
    """Subscribes to a runner and records every byte that it says."""

    def __init__(self, path: Path) -> None:
        self.received = b""
        self._connection = socket.socket(socket.AF_UNIX)
        until(lambda: path.exists() and self._connected(path))
        self._connection.sendall(b'{"do":"hello","version":"0.1.0"}\n{"do":"subscribe","id":1}\n')
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def send_request(self, request: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(request).encode() + b"\n")

    def close_and_read(self) -> bytes:
        self._thread.join(30)
        self._connection.close()
        return self.received

    def _connected(self, path: Path) -> bool:
        try:
            self._connection.connect(str(path))
        except OSError:
            return False
        return True

    def _listen(self) -> None:
        while data := self._connection.recv(65536):
            self.received += data


def leaky_faults(catcher: RedirectTarget) -> Iterator[Fault]:
    """Each endpoint breaks in several ways, one after the other; the words of the service repeat what they were sent.

    Between two faults all is well, so that the waits after them stay short.
    """
    moved = {"Location": f"{catcher.url}/stolen?X-Amz-Signature=deadbeef"}
    for endpoint in ENDPOINTS:
        if endpoint.startswith(("POST /v2/dubbing", "PUT", "thumbnail")):
            continue  # these end in unknown dubs, see below
        yield Fault(endpoint, "reset_after", nth=(1,))
        yield Fault(endpoint, "truncate", nth=(3,), after_bytes=20)
        yield Fault(endpoint, "status", nth=(5,), status=500, body=f"<html>{API_KEY}</html>")
        if not endpoint.startswith(("POST", "S3")):
            yield Fault(endpoint, "status", nth=(7,), status=307, headers=moved)
    yield Fault("S3 PutObject", "status", nth=(7,), status=307, headers=moved)
    echo = json.dumps({"error": f"bad request by {API_KEY}", "context": "see https://x.example/a?X-Amz-Signature=deadbeef"})
    yield Fault("POST /v2/dubbing", "status", nth=(1,), status=400, body=echo, content_type="application/json")
    yield Fault("POST /v2/dubbing", "status", nth=(2,), status=307, headers=moved)
    yield Fault("POST /v2/dubbing", "reset_after", nth=(3,))
    yield Fault(
        "S3 PutObject", "status", nth=(9,), status=403, body=s3_error_body(f"No {API_KEY}"), content_type="application/xml"
    )


def test_a_run_with_faults_writes_no_secret_anywhere(make_shell: MakeShell, redirect_target: RedirectTarget) -> None:
    shell = make_shell(api_key=API_KEY, faults=tuple(leaky_faults(redirect_target)), tier="none")
    for number in range(5):
        shell.write_video(f"{number}.mp4", 2000 if number else 9_000_000)
    process = shell.start_command(
        "run", str(shell.videos), "--targets", "fr-FR,es-ES", "--poll-interval", "0.1", "--tier", "unlimited"
    )
    lines: set[bytes] = set()
    listener = SocketRecorder(socket_path(str(shell.state)))
    listener.send_request({"do": "check_key", "id": 2})
    listener.send_request({"do": "status", "id": 3})
    while not lines or process.poll() is None:
        lines |= command_lines()
        with contextlib.suppress(subprocess.TimeoutExpired):
            out, err = process.communicate(timeout=0.5)
            break
    assert process.returncode == 1, err
    said = {"stdout": out.encode(), "stderr": err.encode(), "socket": listener.close_and_read()}
    for words in (("status",), ("status", "--json"), ("outputs", "--json"), ("retry", "failed"), ("doctor",)):
        told = shell.run_command(*words)
        said[" ".join(words)] = (told.out + told.err).encode()
    said |= {str(path): path.read_bytes() for path in shell.state.rglob("*") if path.is_file()}
    said |= {"command lines": b"\n".join(lines), "another host": b"\n".join(redirect_target.received)}

    secrets = [API_KEY.encode()]
    for asset in shell.sandbox.state.assets.values():
        secrets += [asset.grant.secret.encode(), asset.grant.token.encode(), asset.grant.access_key.encode()]
    assert len(secrets) > 3 * 5
    signatures = {
        where for where, what in said.items() if SIGNATURE_PATTERN.search(what.replace(b"X-Amz-Signature=deadbeef", b""))
    }
    assert signatures == set()
    assert {(where, secret) for where, what in said.items() for secret in secrets if secret in what} == set()

    # The test can fail: there was something to see everywhere, and the faults struck.
    assert len(said["socket"]) > 5000
    assert b"synthdub_tui" in said["command lines"]
    assert redirect_target.received
    assert b'"call"' in said[str(shell.state / "log" / "synthdub.log")]
    struck = {record.endpoint for record in shell.sandbox.journal if record.fault}
    assert struck >= {"POST /v2/assets", "GET /v2/assets/{id}", "POST /v2/dubbing", "GET /v2/dubbing/{id}", "download"}
    assert_private(shell)


def assert_private(shell: Shell) -> None:
    """Only the owner can read any of it."""
    for path in (shell.state, *shell.state.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def command_lines() -> set[bytes]:
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            try:
                found.add(Path(entry.path, "cmdline").read_bytes())
            except OSError:
                continue
    return {line for line in found if b"synthdub" in line}


def test_a_rejected_key_is_not_repeated(shell: Shell) -> None:
    """The service's refusal quotes the key."""
    body = json.dumps({"error": f"unknown key {API_KEY}"})
    shell.sandbox.inject(Fault("*", "status", status=401, body=body, content_type="application/json"))
    said = shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR", SYNTHESIA_API_KEY=API_KEY)
    assert said.exit_code == 2
    everything = said.out + said.err + "".join(path.read_text() for path in shell.state.rglob("*") if path.is_file())
    assert API_KEY not in everything
    assert "unknown key ***" in everything


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o600])
def test_a_key_that_others_can_read_gets_a_warning(shell: Shell, mode: int) -> None:
    config = shell.home / "config.toml"
    config.write_text(f'api_key = "{shell.sandbox.api_key}"\n')
    config.chmod(mode)
    for words, told in (("status", "err"), ("doctor", "out")):
        said = shell.run_command(words, "--config", str(config), SYNTHESIA_API_KEY=None)
        assert ("can be read by others" in getattr(said, told)) is (mode != 0o600)
        assert shell.sandbox.api_key not in said.out + said.err


def test_a_key_as_argument_gets_a_warning_and_is_not_stored(shell: Shell) -> None:
    said = shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR", "--api-key", shell.sandbox.api_key)
    assert said.exit_code == 0
    assert "--api-key" in said.err
    files = b"".join(path.read_bytes() for path in shell.state.rglob("*") if path.is_file())
    assert shell.sandbox.api_key not in said.out + said.err + files.decode()


def test_files_and_socket_are_private_under_a_wide_umask(make_shell: MakeShell) -> None:
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    before = os.umask(0)
    try:
        process = shell.start_command(
            "run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR", "--poll-interval", "0.1"
        )
    finally:
        os.umask(before)
    until(lambda: shell.state.exists() and shell.read_status()["runner"] == process.pid)
    assert stat.S_IMODE((shell.state / "runner.sock").stat().st_mode) == 0o600
    assert_private(shell)
    process.terminate()
    assert wait_for_exit(process) == 130
    process.communicate()
    assert_private(shell)


STRANGER_PROGRAM = """
import os, socket, sys
os.setgroups([])
os.setuid(int(sys.argv[1]))
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(20)
connection.connect("runner.sock")
try:
    connection.sendall(b'{"do":"hello","version":"","protocol":0}\\n{"do":"subscribe","id":1}\\n')
    print(connection.recv(65536))
except OSError:
    print(b"")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(("user", "served"), [(65534, False), (0, True)])
async def test_another_user_is_not_served(tmp_path: Path, user: int, served: bool) -> None:
    """Also where the socket's mode was widened: the kernel says who asks."""
    async with running_batch(tmp_path) as stage:
        server = RunnerServer(stage.runner, on_stop=lambda: None, read_key=lambda: "")
        await server.start()
        try:
            (tmp_path / "state").chmod(0o711)
            (tmp_path / "state" / "runner.sock").chmod(0o666)
            command = [sys.executable, "-c", STRANGER_PROGRAM, str(user)]
            asking = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path / "state", capture_output=True, check=True)
        finally:
            await server.close("done")
        assert (b"welcome" in asking.stdout) is served
        assert served or asking.stdout == b"b''\n"


def core_limit(process: int) -> str:
    lines = Path(f"/proc/{process}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max core file size")).split()[4]


@pytest.mark.skipif(not os.path.exists("/proc/self/limits"), reason="limits are read from /proc")
def test_no_core_is_dumped(make_shell: MakeShell) -> None:
    """Where dumps are wanted (`ulimit -c unlimited`), a program that crashes leaves none: the key would be in it. The limit of
    one byte is the only one at which Linux does not hand the dump to a program either (core(5), core_pattern with a pipe)."""
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    shell.write_video("intro.mp4")
    command = f"ulimit -c unlimited; exec {sys.executable} -m synthdub_tui run intro.mp4 --targets fr-FR"
    environment = shell.environment | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(["sh", "-c", command], env=environment, cwd=shell.videos, stdout=subprocess.DEVNULL)
    try:
        until(lambda: shell.state.exists() and shell.read_status()["runner"] == process.pid)
        assert core_limit(process.pid) == "1"
        process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGABRT
    assert not os.WCOREDUMP(status)


async def test_no_core_is_dumped_by_the_dashboard(make_shell: MakeShell) -> None:
    """Nor by the runner that it starts."""
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    command = (
        f"ulimit -c unlimited; exec {sys.executable} -m synthdub_tui {shell.write_video('intro.mp4')} --targets fr-FR --yes"
    )
    terminal = PseudoTerminal(("sh", "-c", command), **shell.environment)
    try:
        shown = lambda: f"a runner; the dashboard shows\n{terminal.screen}"  # noqa: E731
        await asyncio.to_thread(until, lambda: shell.state.exists() and shell.read_status()["runner"], shown)
        assert core_limit(shell.read_status()["runner"]) == core_limit(terminal.process.pid) == "1"
        terminal.process.send_signal(signal.SIGABRT)
        _, status = await asyncio.to_thread(os.waitpid, terminal.process.pid, 0)
        terminal.process.returncode = os.waitstatus_to_exitcode(status)
        assert terminal.process.returncode == -signal.SIGABRT
        assert not os.WCOREDUMP(status)
    finally:
        shell.run_command("stop")
        terminal.kill()
