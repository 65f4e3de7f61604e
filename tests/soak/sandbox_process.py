"""The sandbox in a process of its own, which also writes down every paid request that arrives, processed or not.

Its own journal names the languages only of requests that it processed. What we promise is about requests sent, so those that a
fault kept from being processed count too: they stand in `paid_requests.jsonl`. `python -m tests.soak.sandbox_process ROOT`
reads its configuration from `ROOT/config.json`, prints one line of addresses, and answers each line of input with one line of
JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.sandbox.http_server import DisconnectedError, Request, Response
from synthdub_tui.sandbox.journal import Record
from synthdub_tui.sandbox.service import Sandbox
from tests.soak.service_records import PaidRequestRecord, UnfinishedUpload, unfinished_uploads
from tests.waiting import kill_after_timeout, wait_for_output

PAID_ENDPOINTS = ("POST /v2/dubbing", "PUT /v2/dubbing/{id}")

_Handler = Callable[[Request], Awaitable[Response]]


class SandboxProcess:
    """The other side: starts the process, asks it, ends it. May be asked by several threads."""

    def __init__(self, config: SandboxConfig, root: Path) -> None:
        root.mkdir(parents=True)
        (root / "config.json").write_bytes(msgspec.json.encode(config))
        self.root = root
        self.config = config
        self._question_lock = (
            threading.Lock()
        )  # one question and its answer after the other, or threads get each other's answers
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.sandbox_process", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl+C is for the soak, which ends this in order
        )
        self.api_url, self.s3_url = self._read_answer("its addresses")

    @property
    def journal_file(self) -> Path:
        """The sandbox's own record, one request a line."""
        return self.root / "journal.jsonl"

    def paid_requests(self) -> list[PaidRequestRecord]:
        """Every paid request that arrived, oldest first."""
        lines = (self.root / "paid.jsonl").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=PaidRequestRecord) for line in lines]

    def send_command(self, word: str) -> Any:
        """`assets` (id → title), `uploads` (those that are open), `calm` (nothing goes wrong from now on)."""
        assert self._process.stdin is not None
        with self._question_lock:
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()
            return self._read_answer(word)

    def unfinished_uploads(self) -> list[UnfinishedUpload]:
        """The multipart uploads that are open."""
        return msgspec.convert(self.send_command("uploads"), list[UnfinishedUpload])

    def was_abort_refused(self, asset: str) -> bool:
        """Whether an abort was tried with credentials that had expired."""
        aborts = [record for record in self._records() if record.endpoint == "S3 AbortMultipartUpload" and asset in record.path]
        return any(record.status == 400 for record in aborts)

    def asset_created_at(self, asset: str) -> float:
        """When the asset was made, by the runner that then had its credentials."""
        return next(record.time for record in self._records() if record.asset == asset and record.endpoint == "POST /v2/assets")

    def _records(self) -> list[Record]:
        return [msgspec.json.decode(line, type=Record) for line in self.journal_file.read_bytes().splitlines()]

    def close(self) -> None:
        """End it."""
        wait_for_output(self._process)

    def _read_answer(self, what: str) -> Any:
        assert self._process.stdout is not None
        with kill_after_timeout(self._process, f"the sandbox's answer: {what}"):
            line = self._process.stdout.readline()
        assert line, f"the sandbox's process ended before it answered: {what}"
        return json.loads(line)


def _record_paid_requests(sandbox: Sandbox, path: Path) -> None:
    """Let every paid request pass by here before it comes to the gate."""
    gate, file = sandbox._gate, path.open("ab", buffering=0)
    inner = gate.handle

    async def handle(request: Request, endpoint: str, handler: _Handler) -> Response:
        if endpoint not in PAID_ENDPOINTS:
            return await inner(request, endpoint, handler)
        number, body = len(gate.journal.records), await request.body()
        response = Response(0)
        if body is None:
            raise DisconnectedError

        async def again() -> bytes:
            return body

        request.body = again  # type: ignore[method-assign, assignment]
        asked = json.loads(body)
        where = {"project": request.path.rpartition("/")[2]} if request.method == "PUT" else {"asset": asked["sourceAssetId"]}
        try:
            response = await inner(request, endpoint, handler)
        finally:
            # The gate notes a request in the very step in which it answers: the newest record is ours, not that of another.
            records = reversed(gate.journal.records[number:])
            record = next((r for r in records if r.path == request.path and r.endpoint == endpoint), None)
            fault = record.fault if record is not None else ""
            entry = PaidRequestRecord(
                time=time.time(),
                endpoint=endpoint,
                languages=tuple(asked["targetLanguages"]),
                status=response.status if not fault.startswith(("reset", "hang", "truncate")) else 0,
                billed=response.note.billed,
                fault=fault,
                title=asked.get("title") or sandbox.state.projects[where["project"]].title,
            )
            file.write(msgspec.json.encode(entry) + b"\n")
        return response

    gate.handle = handle  # type: ignore[method-assign]


async def _serve(root: Path) -> None:
    config = msgspec.json.decode((root / "config.json").read_bytes(), type=SandboxConfig)
    sandbox = Sandbox(config, root)
    (root / "paid.jsonl").touch()
    _record_paid_requests(sandbox, root / "paid.jsonl")
    await sandbox.start()
    print(json.dumps([sandbox.api_url, sandbox.s3_url]), flush=True)
    while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
        print(msgspec.json.encode(_run_command(sandbox, word)).decode(), flush=True)
    await sandbox.stop()


def _run_command(sandbox: Sandbox, word: str) -> Any:
    if word == "assets":
        return {asset.id: asset.title for asset in sandbox.state.assets.values()}
    if word == "uploads":
        return unfinished_uploads(sandbox)
    if word == "calm":
        sandbox.clear_faults()
        sandbox.state.config = msgspec.structs.replace(sandbox.config, failures=())
        return None
    raise ValueError(word)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
