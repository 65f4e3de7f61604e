"""The server itself, over raw sockets: what clients may send, and how they may leave."""

import socket
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.sandbox.conftest import ApiCaller
from tests.waiting import block_until as until


def open_connection(caller: ApiCaller, storage: bool = False) -> socket.socket:
    url = caller.sandbox.s3_url if storage else caller.sandbox.api_url
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)


def read_all(raw: socket.socket) -> bytes:
    data = b""
    while piece := raw.recv(65536):
        data += piece
    return data


def read_response(raw: socket.socket) -> bytes:
    """One answer that has a Content-Length."""
    data = b""
    while True:
        data += raw.recv(65536)
        head, end, body = data.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return data


REQUEST_HEAD = b"POST /v2/assets HTTP/1.1\r\nHost: x\r\nAuthorization: sandbox-key\r\n"
REQUEST_BODY = b'{"contentType":"video/mp4","configuration":{"name":"dubbing"}}'


def test_one_connection_for_many_requests(caller: ApiCaller) -> None:
    with open_connection(caller) as raw:
        for _ in range(3):
            raw.sendall(REQUEST_HEAD + b"Content-Length: %d\r\n\r\n" % len(REQUEST_BODY) + REQUEST_BODY)
            assert read_response(raw).startswith(b"HTTP/1.1 201 Created\r\n")


def test_requests_sent_at_once(caller: ApiCaller) -> None:
    with open_connection(caller) as raw:
        one = REQUEST_HEAD + b"Content-Length: %d\r\n\r\n" % len(REQUEST_BODY) + REQUEST_BODY
        raw.sendall(one + one.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1))
        assert read_all(raw).count(b"HTTP/1.1 201 Created") == 2


def test_chunked_body(caller: ApiCaller) -> None:
    with open_connection(caller) as raw:
        raw.sendall(REQUEST_HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for at in range(0, len(REQUEST_BODY), 10):
            piece = REQUEST_BODY[at : at + 10]
            raw.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
        raw.sendall(b"0\r\n\r\n")
        assert read_all(raw).startswith(b"HTTP/1.1 201")


def test_expect_continue(caller: ApiCaller) -> None:
    with open_connection(caller) as raw:
        raw.sendall(REQUEST_HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(REQUEST_BODY))
        assert raw.recv(65536).startswith(b"HTTP/1.1 100")
        raw.sendall(REQUEST_BODY)
        assert raw.recv(65536).startswith(b"HTTP/1.1 201")


def test_refusal_instead_of_continue(caller: ApiCaller) -> None:
    with open_connection(caller) as raw:
        head = REQUEST_HEAD.replace(b"sandbox-key", b"wrong")
        raw.sendall(head + b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        answer = read_all(raw)
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"connection: close" in answer.lower()


def test_an_early_refusal_reaches_a_client_that_is_still_sending(caller: ApiCaller) -> None:
    with open_connection(caller) as raw:
        head = REQUEST_HEAD.replace(b"sandbox-key", b"wrong")
        raw.sendall(head + b"Content-Length: 20000000\r\n\r\n")
        for _ in range(200):
            raw.sendall(bytes(100_000))
        assert read_all(raw).startswith(b"HTTP/1.1 403")


def test_a_request_that_is_too_large(caller: ApiCaller) -> None:
    assert caller.api_client.post("/v2/assets", content=bytes(2_000_000)).status_code == 413


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00", b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage(caller: ApiCaller, garbage: bytes) -> None:
    with open_connection(caller) as raw:
        raw.sendall(garbage)
        raw.shutdown(socket.SHUT_WR)
        assert read_all(raw)[:12] in (b"HTTP/1.1 400", b"")
    assert caller.post_asset().status_code == 201


def test_clients_that_leave(caller: ApiCaller, caplog: pytest.LogCaptureFixture) -> None:
    """In the head, in the body, and without reading: nothing is said about it, and the server goes on."""
    whole = REQUEST_HEAD + b"Content-Length: %d\r\n\r\n" % len(REQUEST_BODY) + REQUEST_BODY
    for end in (0, 20, len(REQUEST_HEAD) + 25, len(whole) - 3, len(whole)):
        with open_connection(caller) as raw:
            raw.sendall(whole[:end])
    until(lambda: [r.fault for r in caller.sandbox.journal].count("disconnected") == 2)
    assert caller.post_asset().status_code == 201
    assert caplog.records == []


def test_a_failure_of_the_sandbox_is_reported(caller: ApiCaller, caplog: pytest.LogCaptureFixture) -> None:
    caller.sandbox.state.projects = None  # type: ignore[assignment]
    assert caller.api_client.get("/v2/dubbing/00000000-0000-0000-0000-000000000000").status_code == 500
    assert "the sandbox failed on GET /v2/dubbing/" in caplog.text


def test_an_upload_that_breaks_off_leaves_no_file(caller: ApiCaller) -> None:
    """The head is one that the signer made; the connection ends in the middle of the body."""
    asset = caller.create_asset()
    given = asset["uploadCredentials"]
    url = f"{caller.sandbox.s3_url}/{given['bucket']}/{given['key']}"
    request = AWSRequest("PUT", url, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    credentials = Credentials(given["accessKeyId"], given["secretAccessKey"], given["sessionToken"])
    UnsignedBody(credentials, "s3", "eu-west-1").add_auth(request)
    lines = [f"PUT {urlsplit(url).path} HTTP/1.1", f"Host: {urlsplit(url).netloc}", "Content-Length: 1000000"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    incoming = caller.sandbox.root / "incoming"
    with open_connection(caller, storage=True) as raw:
        raw.sendall("\r\n".join([*lines, "", ""]).encode() + bytes(300_000))
        until(lambda: [path.stat().st_size > 0 for path in incoming.iterdir()] == [True])
    until(lambda: not list(incoming.iterdir()))
    record = caller.sandbox.journal[-1]
    assert (record.status, record.fault, record.bytes_in) == (0, "disconnected", 300_000)
    assert caller.api_client.get(f"/v2/assets/{asset['id']}").json()["status"] == "awaiting_upload"


class UnsignedBody(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"
