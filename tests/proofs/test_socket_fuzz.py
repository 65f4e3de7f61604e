"""A malicious peer on the control socket: the work goes on, the others are served, and it costs bounded memory."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from synthdub_tui.ipc.protocol import StatusRequest
from synthdub_tui.ipc.server import MAX_CLIENTS, MAX_REQUEST_BYTES
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.sandbox.service import running_sandbox
from tests.cli.conftest import Shell, until
from tests.runner.conftest import FAST_SANDBOX
from tests.waiting import wait_for_output


@pytest.fixture(scope="module")
def running_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, Popen[str]]]:
    """A run that goes on until its sandbox's clock is moved. All tests of this file attack the same one."""
    folder = tmp_path_factory.mktemp("work")
    with running_sandbox(
        SandboxConfig(**FAST_SANDBOX | {"dubbing_seconds": (36000.0, 36000.0)}), folder / "sandbox"
    ) as sandbox:
        shell = Shell(sandbox, folder)
        process = shell.start_command(
            "run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR", "--poll-interval", "0.2"
        )
        until(lambda: shell.state.exists() and set(shell.dub_states().values()) == {"dubbing"})
        yield shell, process
        assert process.poll() is None, process.communicate()
        sandbox.advance(36000.0)
        out, err = wait_for_output(process)
        assert (process.returncode, err) == (0, ""), (out, err)
        assert len(sandbox.billed_dubs()) == 1


@pytest.fixture
def shell(running_command: tuple[Shell, Popen[str]]) -> Shell:
    return running_command[0]


def connect_socket(shell: Shell) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    while True:
        try:
            connection.connect(str(shell.state / "runner.sock"))
        except BlockingIOError:  # more are waiting than the kernel lets wait
            time.sleep(0.01)
        else:
            return connection


def still_serves(shell: Shell) -> bool:
    """Whether the others are served; told, never raised."""
    try:
        control = BlockingRunnerClient.connect(str(shell.state))
        assert control is not None
        served = control.ask(StatusRequest(id=5)).id == 5
        control.close()
    except Exception:
        return False
    return served


def resident_megabytes(process: Popen[str], what: str = "VmRSS") -> int:
    """Megabytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(what)) // 1000


def send_and_read(shell: Shell, data: bytes) -> bytes:
    """Say that, and hear what comes until the other side has nothing more to say."""
    heard = b""
    with connect_socket(shell) as connection, contextlib.suppress(OSError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            heard += data
    return heard


_words = st.sampled_from(
    ["hello", "subscribe", "status", "retry", "cancel", "review", "check_key", "add", "add_languages", "x", ""]
)
_junk_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
_fields = st.sampled_from(["id", "cells", "paid", "mark", "paths", "batch", "jobs", "languages", "version", "protocol"])
_requests = st.builds(
    lambda do, rest: {"do": do} | rest, _words | _junk_values, st.dictionaries(_fields, _junk_values, max_size=4)
)
_cells = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=3)
_valid_requests = st.one_of(
    st.builds(lambda cells, paid: {"do": "retry", "id": 1, "cells": cells, "paid": paid}, _cells, st.booleans()),
    st.builds(lambda cells: {"do": "cancel", "id": 1, "cells": cells}, _cells),
    st.builds(lambda paths, codes: {"do": "add", "id": 1, "paths": paths, "batch": {"targets": codes}},
              st.lists(st.text(max_size=30), max_size=3), st.lists(st.text(max_size=5), max_size=2)),
    st.builds(lambda jobs, codes: {"do": "add_languages", "id": 1, "jobs": jobs, "languages": codes},
              st.lists(st.text(max_size=5)), st.lists(st.sampled_from(["fr-FR", "xx", ""]))),
)  # fmt: skip
_lines = st.one_of(
    st.binary(max_size=200), st.builds(lambda value: json.dumps(value).encode(), _requests | _valid_requests | _junk_values)
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(_lines, min_size=1, max_size=5), ending=st.sampled_from([b"\n", b"", b"\r\n", b"\n\n"]))
def test_malformed_requests_do_not_stop_the_runner(shell: Shell, lines: list[bytes], ending: bytes) -> None:
    """Garbage, half messages, wrong types, requests about things that are not there."""
    for line in send_and_read(shell, b"\n".join(lines) + ending).splitlines():
        assert json.loads(line)["is"] in ("reply", "welcome", "snapshot", "changes")
    assert still_serves(shell)
    assert set(dub_states_over_socket(shell)) == {"dubbing"}


def dub_states_over_socket(shell: Shell) -> list[str]:
    """From the socket: starting a command for each example would take minutes."""
    heard = b""
    with connect_socket(shell) as connection:
        connection.sendall(b'{"do":"subscribe","id":1}\n')
        while b'"is":"reply"' not in heard:
            heard += connection.recv(65536)
    snapshot = next(message for line in heard.splitlines() if (message := json.loads(line))["is"] == "snapshot")
    return [dub["state"] for job in snapshot["jobs"] for dub in job["dubs"].values()]


@pytest.mark.parametrize(
    "line",
    [
        b"x" * (MAX_REQUEST_BYTES + 100_000),
        b"x" * (MAX_REQUEST_BYTES + 100_000) + b"\n",
        b"[" * 1_000_000 + b"\n",
        b'{"do":"retry","cells":' + b"[" * 1_000_000 + b"\n",
        b'{"do":"add","id":1,"paths":["' + b"a" * 3_000_000 + b'"],"batch":{"targets":["fr-FR"]}}\n',
        b'{"do":"add","id":1,"paths":["/a\\u0000b","/\\ud800"],"batch":{"targets":["fr-FR"]}}\n',
        b'{"do":"add","id":1,"paths":["/nowhere\\u0000"],"batch":{"targets":["fr-FR"]}}\n',
        b'{"do":"status","id":' + b"9" * 1000 + b"}\n",
        b'{"do":"status","id":1}\n' * 5000,
        b"\0" * 100_000,
    ],
    ids=range(10),
)
def test_huge_and_unusual_lines(running_command: tuple[Shell, Popen[str]], line: bytes) -> None:
    shell, process = running_command
    send_and_read(shell, line)
    assert still_serves(shell)
    assert resident_megabytes(process, "VmHWM") < 250


def test_a_path_without_a_file_gets_an_answer(shell: Shell) -> None:
    (reply,) = send_and_read(shell, b'{"do":"add","id":9,"paths":["/a\\u0000b"],"batch":{"targets":["fr-FR"]}}\n').splitlines()
    assert json.loads(reply)["id"] == 9
    assert json.loads(reply)["result"]["problem"] == "path_missing"


MUCH_DATA_BYTES = 16_000_000
"""Bytes of requests, far above what fits into buffers."""


def test_a_client_that_never_reads_does_not_grow_memory(running_command: tuple[Shell, Popen[str]]) -> None:
    """It comes to wait for itself: what it is not told yet is not kept in memory without bound."""
    shell, process = running_command
    before = resident_megabytes(process)
    with connect_socket(shell) as connection:
        connection.settimeout(3.0)
        asked = 0
        with contextlib.suppress(TimeoutError):
            while asked < MUCH_DATA_BYTES:
                connection.sendall(b'{"do":"status","id":1}\n' * 1000)
                asked += 23_000
        assert asked < MUCH_DATA_BYTES, "it was let ask without end"
        assert still_serves(shell)
        assert resident_megabytes(process) - before < 30
    assert still_serves(shell)


def test_thousands_of_connections(running_command: tuple[Shell, Popen[str]]) -> None:
    """Opened and dropped, and many held: the runner keeps descriptors for its work, and serves again when they are gone."""
    shell, process = running_command
    for number in range(3000):
        with connect_socket(shell) as connection:
            if number % 3 == 0:
                connection.sendall(b'{"do":"subscribe","id":1}\n'[: number % 30])
    until(lambda: still_serves(shell))
    held = [connect_socket(shell) for _ in range(MAX_CLIENTS * 4)]
    for connection in held:
        with contextlib.suppress(OSError):
            connection.sendall(b'{"do":"subscribe","id":1}\n')
    until(lambda: count_descriptors(process) < MAX_CLIENTS + 60)
    for connection in held:
        connection.close()
    until(lambda: still_serves(shell))
    until(lambda: count_descriptors(process) < 60)


def count_descriptors(process: Popen[str]) -> int:
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
