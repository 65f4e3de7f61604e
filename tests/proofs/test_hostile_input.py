"""Names, words and answers from outside that want to steer the terminal, a path, an address or the memory."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import re
import signal
import socket
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthdub_tui.errors import ProblemError
from synthdub_tui.runner import runner as runner_module
from synthdub_tui.sandbox.config import Fault, SimulatedFailure
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.store.codec import decode_job
from tests.cli.conftest import CommandResult, MakeShell, Shell, until
from tests.jobs.factories import jobs_in_every_state
from tests.proofs.sandbox_scene import running_batch
from tests.waiting import wait_for_output

TERMINAL_ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m"
BIDI_CONTROLS = "\u202egpj\u2066x\u2069"
HOSTILE_TEXT = f"{TERMINAL_ESCAPES}{BIDI_CONTROLS}\x9b31m\x7f\r\n\t[bold red]x[/] ../../../tmp/x <b>&amp;</b> \u2028\ufeff\x00"

HOSTILE_NAMES = (
    TERMINAL_ESCAPES,
    BIDI_CONTROLS,
    "line\nbreak\rreturn",
    "\x9b31mC1",
    "del\x7f tab\t",
    "[bold red]markup[@click=quit()]",
    "{0} %s ${HOME} `id` $(id)",
    "..x..",
    "--targets",
    "\u2028\u2029\ufeff\u200b",
    "a" * 220,
    "e\u0301\u0301\u0301zalgo",
    '"quoted" \\back\\slash',
)


def hostile_characters(text: str, *, json_too: bool = False) -> set[str]:
    """Characters that steer a terminal or turn text around."""
    return {char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


def assert_clean(said: CommandResult) -> None:
    assert hostile_characters(said.out) | hostile_characters(said.err) == set(), said
    assert "Traceback" not in said.err


def run(shell: Shell, *words: str) -> CommandResult:
    said = shell.run_batch(*words)
    assert_clean(said)
    return said


# -- names and words -------------------------------------------------------------------------------------------------------


def test_hostile_file_names_and_service_messages(make_shell: MakeShell) -> None:
    """Through every command that prints: nothing but printable characters, and no file where none belongs."""
    shell = make_shell(failures=(SimulatedFailure(code=HOSTILE_TEXT, languages=("es-ES",)),))
    before = {path for path in shell.home.rglob("*") if "sandbox" not in path.parts}
    for name in HOSTILE_NAMES:
        shell.write_video(f"{name}.mp4")
    (shell.videos / os.fsdecode(b"\xff\xfe\x1b[31m.mp4")).write_bytes(b"v")
    refused = json.dumps({"error": HOSTILE_TEXT, "context": HOSTILE_TEXT})
    shell.sandbox.inject(
        Fault("POST /v2/dubbing", "status", status=400, body=refused, content_type="application/json", count=1)
    )
    text = run(shell, str(shell.videos), "--targets", "fr-FR,es-ES", "--include-hidden")
    assert text.exit_code == 1
    assert text.out.count("  done  ") == len(HOSTILE_NAMES) - 1  # one was refused
    assert_clean(shell.run_command("retry", "failed", "--yes"))
    said = run(shell, "--json")
    events = [json.loads(line) for line in said.out.splitlines()]
    assert {Path(event["file"]).stem for event in events if "file" in event} <= set(HOSTILE_NAMES)
    for words in (
        ("status",),
        ("outputs",),
        ("retry", "failed"),
        ("retry", str(shell.videos / f"{TERMINAL_ESCAPES}.mp4")),
        ("cancel", HOSTILE_TEXT[:-1]),
    ):
        assert_clean(shell.run_command(*words))
    assert_clean(shell.run_command("status", "--json"))
    rows = [json.loads(line) for line in shell.run_command("outputs", "--json").out.splitlines()]
    assert {Path(row["file"]).stem for row in rows} == set(HOSTILE_NAMES)
    assert all(Path(row["path"]).parent == shell.videos for row in rows)

    ours = {f"{name}.dubbed-fr-FR.{ending}" for name in HOSTILE_NAMES for ending in ("mp4", "srt", "vtt")}
    sources = {f"{name}.mp4" for name in HOSTILE_NAMES} | {os.fsdecode(b"\xff\xfe\x1b[31m.mp4")}
    assert {path.name for path in shell.videos.iterdir()} == ours | sources
    receipts = shell.home / ".local" / "share" / "synthdub-tui" / "receipts"
    known = (shell.home / "sandbox", shell.videos, shell.state, receipts)
    others = {path for path in shell.home.rglob("*") if not any(path.is_relative_to(folder) for folder in known)}
    assert others <= before | set(receipts.parents)
    assert all(re.fullmatch("[0-9a-f]{2}.jsonl", path.name) for path in receipts.iterdir())
    state = {path.relative_to(shell.state).parts[0] for path in shell.state.rglob("*")}
    assert state <= {"batch.toml", "durations.toml", "jobs", "left-out.toml", "lock", "log", "quota.toml"}
    for path in shell.state.rglob("*"):
        assert hostile_characters(path.name) == set()
    log = (shell.state / "log" / "synthdub.log").read_text()
    assert not {char for char in log if unicodedata.category(char) == "Cc" and char != "\n"}


@pytest.mark.parametrize(
    "words",
    [
        ("run", f"--{TERMINAL_ESCAPES}"),
        ("status", f"-{TERMINAL_ESCAPES}{BIDI_CONTROLS}"),
        ("run", f"{HOSTILE_TEXT[:-1]}.mp4", "--targets", HOSTILE_TEXT[:-1]),
    ],
)
def test_hostile_command_line_arguments(shell: Shell, words: tuple[str, ...]) -> None:
    """`*` brings file names in as options."""
    said = shell.run_command(*words)
    assert_clean(said)
    assert said.exit_code == 2


def test_a_state_directory_with_a_hostile_name(shell: Shell) -> None:
    shell.environment["SYNTHDUB_STATE_DIR"] = str(shell.home / f"{TERMINAL_ESCAPES}\x9b")
    run(shell, str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    for words in (("status",), ("status", "--json"), ("outputs",), ("retry", "failed"), ("stop",), ("doctor",)):
        assert_clean(shell.run_command(*words))


async def test_service_answers_cannot_change_a_path(tmp_path: Path) -> None:
    """Languages, ids and titles of the service are in no path; what nobody asked for is passed over."""
    listed = {
        "dubbedAssets.*.id": "../../evil",
        "dubbedAssets.*.title": "../../evil",
        "dubbedAssets.*.description": HOSTILE_TEXT,
    }
    steering = Fault("GET /v2/dubbing/{id}", "change", set={**listed, "id": "../evil", "title": HOSTILE_TEXT})
    async with running_batch(tmp_path, faults=(steering,)) as stage:
        await stage.add_videos(stage.write_video(), targets=("fr-FR",))
        await stage.wait_until_idle()
        assert stage.dub_states() == {"fr-FR": "done"}
        stems = {path.name for path in stage.videos.iterdir()}
        assert stems == {"intro.mp4", *(f"intro.dubbed-fr-FR.{ending}" for ending in ("mp4", "srt", "vtt"))}
        assert {path.name for path in tmp_path.iterdir()} == {"videos", "state", "data", "sandbox"}


# -- addresses -------------------------------------------------------------------------------------------------------------

INTERNAL_URLS = (
    "https://127.0.0.1/x",
    "https://localhost/x",
    "https://[::1]:8443/x",
    "https://169.254.169.254/latest/meta-data",
    "https://[fe80::1]/x",
    "https://[::ffff:169.254.169.254]/x",
    "https://10.1.2.3/x",
    "https://2130706433/x",
    "http://203.0.113.7/x",
    "https://user:secret@203.0.113.7/x",
)


async def test_internal_urls_from_a_public_service_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox plays a public service here, so that its own addresses on this machine are among the forbidden ones."""
    monkeypatch.setattr(runner_module, "is_local_url", lambda url: False)
    connected: list[Any] = []
    genuine = socket.socket.connect
    async with running_batch(tmp_path) as stage:
        own = {int(url.rpartition(":")[2]) for url in (stage.sandbox.api_url, stage.sandbox.s3_url)}

        def connect(self: socket.socket, address: Any) -> None:
            if address[1] not in own:
                connected.append(address)
            genuine(self, address)

        monkeypatch.setattr(socket.socket, "connect", connect)
        for number, address in enumerate(("", *INTERNAL_URLS)):
            stage.sandbox.clear_faults()
            if address:
                fault = Fault("GET /v2/dubbing/{id}", "change", set={"dubbedAssets.*.download": address})
                stage.sandbox.inject(fault)
            await stage.add_videos(stage.write_video(f"{number}.mp4"), targets=("fr-FR",))
            await stage.wait_until_idle()
        ends = {job.dubs["fr-FR"].failure and job.dubs["fr-FR"].failure.code for job in stage.jobs}
        assert ends == {"download_address"}
        assert len(stage.jobs) == len(INTERNAL_URLS) + 1
        assert stage.count_calls("download") == 0
        assert connected == []
        assert not list(stage.videos.glob("*.dubbed-*.mp4"))


# -- size ------------------------------------------------------------------------------------------------------------------


class EndlessServer:
    """Answers every request with a body that never ends, as long as somebody reads it."""

    def __init__(self, head: bytes, piece: bytes) -> None:
        self.head, self.chunk = head, piece
        self.sent_bytes_by_connection: list[int] = []
        self.storage = False  # plays the storage, not the API
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        for number in itertools.count():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.sent_bytes_by_connection.append(0)
            threading.Thread(target=self._send_endlessly, args=(connection, number), daemon=True).start()

    def _send_endlessly(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(self.head)
            while self.sent_bytes_by_connection[number] < 1_000_000_000:
                connection.sendall(self.chunk)
                self.sent_bytes_by_connection[number] += len(self.chunk)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["json", "gzip", "headers", "error", "storage"])
def endless_server(request: pytest.FixtureRequest) -> Iterator[EndlessServer]:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%s"
    made = {
        "json": lambda: EndlessServer(head % (b"201 Created", b"Content-Length: 1000000000\r\n\r\n"), b'["' + b"x" * 65536),
        "gzip": lambda: EndlessServer(
            head % (b"201 Created", b"Content-Encoding: gzip\r\n\r\n"), gzip.compress(b" " * 50_000_000)
        ),
        "headers": lambda: EndlessServer(b"HTTP/1.1 200 OK\r\n", b"X-More: " + b"x" * 60_000 + b"\r\n"),
        "error": lambda: EndlessServer(head % (b"500 Oops", b"\r\n"), b"<html>" * 10_000),
        "storage": lambda: EndlessServer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"<x>" + b"x" * 65536),
    }[request.param]()
    made.storage = request.param == "storage"
    yield made
    made.close()


def test_an_endless_response_does_not_fill_memory(shell: Shell, endless_server: EndlessServer) -> None:
    where = "--s3-endpoint-url" if endless_server.storage else "--api-url"
    process = shell.start_command("run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR", where, endless_server.url)
    until(lambda: len(endless_server.sent_bytes_by_connection) >= 2)  # it gave the first one up, and tries again
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    process.send_signal(signal.SIGTERM)
    out, err = wait_for_output(process)
    assert process.returncode == 130
    assert_clean(CommandResult(130, out, err))
    assert peak < 200_000, f"{peak} kB"
    assert max(endless_server.sent_bytes_by_connection) < 40_000_000  # most of it in the buffers of the kernel


# -- files -----------------------------------------------------------------------------------------------------------------

_leaves = st.one_of(
    st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.sampled_from([HOSTILE_TEXT, "fr-FR", "waiting"])
)
_values = st.recursive(
    _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_malformed_state_files(data: st.DataObject) -> None:
    """A good file with one value replaced by anything, or dropped: a job, or an error that sets the file aside."""
    content = msgspec.to_builtins(data.draw(st.sampled_from(list(jobs_in_every_state().values()))))
    node: Any = content
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(_values)
    with contextlib.suppress(ValueError, RecursionError, ProblemError):
        decode_job(tomli_w.dumps(content))


_keys = "api_url tier max_uploads poll_interval batch quota dashboard api_key state_dir x".split()
_configurations = st.binary(max_size=200) | st.dictionaries(st.sampled_from(_keys), _values, max_size=4)


@settings(max_examples=150, deadline=None)
@given(_configurations)
def test_malformed_configuration_files(tmp_path_factory: pytest.TempPathFactory, content: bytes | dict[str, Any]) -> None:
    """Settings, or one line that says what is wrong; and that line steers no terminal."""
    path = tmp_path_factory.getbasetemp() / "any.toml"
    with contextlib.suppress(UnicodeEncodeError):
        path.write_bytes(content if isinstance(content, bytes) else tomli_w.dumps(content).encode())
    try:
        resolve_settings({"config": str(path)}, {})
    except ProblemError as trouble:
        assert hostile_characters(str(trouble)) == set()
