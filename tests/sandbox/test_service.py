import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from synthdub_tui.sandbox import Fault, Sandbox, SandboxConfig
from tests.sandbox.conftest import CLIENT_OPTIONS, ApiCaller
from tests.waiting import scale_timeout, wait_for_output


async def test_in_the_callers_own_loop(tmp_path: Path) -> None:
    sandbox = Sandbox(SandboxConfig(), tmp_path)
    await sandbox.start()
    async with httpx.AsyncClient(
        base_url=sandbox.api_url, headers={"Authorization": sandbox.api_key}, **CLIENT_OPTIONS
    ) as http:
        body = {"contentType": "video/mp4", "configuration": {"name": "dubbing"}}
        answers = await asyncio.gather(*(http.post("/v2/assets", json=body) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {201}
    await sandbox.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(sandbox.api_url.rpartition(":")[2]))


async def test_stopping_ends_what_hangs(tmp_path: Path) -> None:
    sandbox = Sandbox(SandboxConfig(faults=(Fault("*", "hang_before"),)), tmp_path)
    await sandbox.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.api_url.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    await asyncio.wait_for(sandbox.stop(), scale_timeout())
    assert await reader.read() == b""
    writer.close()


async def test_storage_takes_the_next_free_port(tmp_path: Path) -> None:
    sandbox = Sandbox(SandboxConfig(), tmp_path)
    port = -1
    while not sandbox.api_url.endswith(f":{port}"):
        with socket.socket() as first, socket.socket() as second, suppress(OSError):  # another process takes one of the ports
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            second.bind(("127.0.0.1", port + 1))
            second.listen()
            first.close()
            await sandbox.start(port)
    assert int(sandbox.s3_url.rpartition(":")[2]) >= port + 2
    await sandbox.stop()


def test_the_journal_counts_what_is_paid_and_holds_no_secret(caller: ApiCaller) -> None:
    asset = caller.create_asset()
    caller.upload(asset)
    answer = caller.post_dubbing(asset["id"], "fr-FR", "de")
    project = answer.json()["createdImportedAsset"]["id"]
    caller.sandbox.advance(200)
    url = caller.look(project)["dubbedAssets"][0]["download"]
    caller.plain_client.get(url)
    caller.post_dubbing(asset["id"], "xx")
    records = caller.sandbox.journal
    assert [(record.endpoint, record.status) for record in records] == [
        ("POST /v2/assets", 201),
        ("S3 PutObject", 200),
        ("POST /v2/dubbing", 202),
        ("GET /v2/dubbing/{id}", 200),
        ("download", 200),
        ("POST /v2/dubbing", 400),
    ]
    assert {record.asset for record in records[:5]} == {asset["id"]}
    assert records[2].billed == records[2].languages == ("fr-FR", "de")
    assert caller.sandbox.billed_dubs() == [(project, "fr-FR"), (project, "de")]
    text = (caller.sandbox.root / "journal.jsonl").read_text()
    assert [json.loads(line)["status"] for line in text.splitlines()] == [record.status for record in records]
    given = asset["uploadCredentials"]
    signature = url.rpartition("=")[2]
    for secret in (given["secretAccessKey"], given["sessionToken"], caller.sandbox.api_key, signature):
        assert secret not in text


def test_a_request_that_breaks_off_is_in_the_journal(caller: ApiCaller) -> None:
    caller.sandbox.inject(Fault("POST /v2/assets", "reset_after"))
    with pytest.raises(httpx.TransportError):
        caller.post_asset()
    assert [(record.status, record.fault) for record in caller.sandbox.journal] == [(201, "reset_after")]


SERVE_PROGRAM = (
    "import asyncio, sys; from synthdub_tui.sandbox import serve_sandbox; asyncio.run(serve_sandbox(None, int(sys.argv[1])))"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE_PROGRAM, "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        greeting = ""
        while "Ctrl+C" not in greeting:
            line = process.stdout.readline()
            assert line, "the sandbox ended before it said how to reach it"
            greeting += line
        urls = re.findall(r"http://127\.0\.0\.1:\d+", greeting)
        assert "sandbox-key" in greeting
        assert f"--api-url {urls[0]} --s3-endpoint-url {urls[1]}" in greeting
        headers = {"Authorization": "sandbox-key"}
        assert httpx.get(f"{urls[0]}/v2/assets/x", headers=headers, **CLIENT_OPTIONS).status_code == 400
        process.send_signal(number)
        _, errors = wait_for_output(process)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()
