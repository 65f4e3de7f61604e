"""Uploads against a server on a real socket: what arrives, what an error becomes, what a cancel leaves."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.model import Source
from synthdub_tui.sources.digest import RANGE, digest_of
from synthdub_tui.transfer import upload
from synthdub_tui.transfer.upload import MIB, PART, PIECE, Unconfirmed, Uploader, UploadTarget, part_size
from tests.transfer.conftest import OBJECT, TARGET, digests, make_source, source_of, until
from tests.transfer.fault_servers import (
    CERTIFICATE,
    Bucket,
    Handler,
    Hangup,
    Request,
    operation,
    s3_error,
    saying,
    serving,
    unwrapped,
)

Storage = tuple[Bucket, str]


def ignore(_: int) -> None:
    """Progress that nobody looks at."""


async def test_a_small_file_arrives_in_one_request(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mp4", 3 * MIB + 7)
    await uploader.upload(source, TARGET, ignore)
    assert bucket[0].objects == {OBJECT: digests(tmp_path / "a.mp4")}
    (request,) = bucket[0].seen
    assert request.headers["content-type"] == "video/mp4"
    assert request.headers["x-amz-security-token"] == TARGET.session_token
    assert f"Credential={TARGET.access_key_id}/" in request.headers["authorization"]
    assert "/eu-west-1/s3/" in request.headers["authorization"]
    assert "x-amz-checksum-crc32" in request.headers


async def test_a_large_file_arrives_in_parts(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mp4", 2 * PART + 5 * MIB + 1)
    threads: set[int] = set()
    values: list[int] = []

    def progress(sent: int) -> None:
        threads.add(threading.get_ident())
        values.append(sent)

    await uploader.upload(source, TARGET, progress)
    assert bucket[0].objects == {OBJECT: digests(tmp_path / "a.mp4", PART)}
    assert bucket[0].operations().count("part") == 3
    assert bucket[0].uploads == {}
    assert threads == {threading.get_ident()}
    assert values[-1] == source.size
    assert len(values) < 1000  # some 9,000 blocks of 8 KiB


@pytest.mark.parametrize(("size", "requests"), [(8 * MIB - 1, ["put"]), (8 * MIB, ["create", "part", "complete"])])
async def test_parts_are_made_from_8_mib(
    bucket: Storage, uploader: Uploader, tmp_path: Path, size: int, requests: list[str]
) -> None:
    await uploader.upload(make_source(tmp_path / "a.mp4", size), TARGET, ignore)
    assert bucket[0].operations() == requests


async def test_several_at_once(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    sources = [make_source(tmp_path / f"{number}.mp4", (number + 1) * 5 * MIB) for number in range(4)]
    keys = [f"{number}.mp4" for number in range(4)]
    await asyncio.gather(*(uploader.upload(source, _target(key), ignore) for source, key in zip(sources, keys, strict=True)))
    assert bucket[0].objects == {f"/bucket/{key}": digests(tmp_path / key, PART) for key in keys}


def _target(key: str) -> UploadTarget:
    return UploadTarget(TARGET.access_key_id, TARGET.secret_access_key, TARGET.session_token, TARGET.bucket, key)


async def test_over_tls_it_arrives_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 wants pieces of at least 8 KiB there, but for the last:
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html"""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    source = make_source(tmp_path / "a.mp4", 3 * MIB + 7)
    pieces: list[bytes] = []

    async def take(request: Request) -> None:
        assert request.headers["content-encoding"] == "aws-chunked"
        assert request.headers["x-amz-decoded-content-length"] == str(source.size)
        await request.go_ahead()
        pieces[:] = unwrapped(b"".join([data async for data in request.chunks()]))
        await request.answer(200, ETag='"e"')

    async with serving(take, tls=True) as url:
        uploader = Uploader(url, connect_timeout=5, read_timeout=5, attempts=1)
        assert await uploader.upload(source, TARGET, ignore) == digest(source)
        await uploader.close()
    assert b"".join(pieces) == Path(source.path).read_bytes()
    assert {len(piece) for piece in pieces[:-1]} == {PIECE}


@pytest.mark.parametrize("size", [5 * MIB, 9 * MIB])
async def test_a_source_is_read_in_pieces(
    bucket: Storage, uploader: Uploader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Larger blocks would stay with the process for good."""
    lengths: list[int] = []
    read = upload._Checked.read

    def noted(self: upload._Checked, amount: int) -> bytes:
        data = read(self, amount)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(upload._Checked, "read", noted)
    await uploader.upload(make_source(tmp_path / "a.mp4", size), TARGET, ignore)
    assert bucket[0].objects == {OBJECT: digests(tmp_path / "a.mp4")}
    assert max(lengths) == PIECE


def digest(source: Source) -> str:
    return digest_of(source.path, size=source.size)


@pytest.mark.parametrize("size", [5 * MIB, PART, 2 * PART + 5 * MIB + 3], ids=["one request", "one part", "three parts"])
async def test_an_upload_gives_the_digest_of_the_file(bucket: Storage, uploader: Uploader, tmp_path: Path, size: int) -> None:
    source = make_source(tmp_path / "a.mp4", size)
    assert await uploader.upload(source, TARGET, ignore) == digest(source)


@pytest.mark.parametrize("size", [5 * MIB, PART + MIB], ids=["one request", "two parts"])
async def test_what_is_sent_again_gives_the_same_digest(bucket: Storage, uploader: Uploader, tmp_path: Path, size: int) -> None:
    """The first try of each request breaks in the middle of its body, and the next reads from the beginning."""
    broken: set[str] = set()

    async def fault(request: Request) -> bool:
        if operation(request) not in ("put", "part") or request.target in broken:
            return False
        broken.add(request.target)
        await request.go_ahead()
        await request.reader.readexactly(MIB)
        raise Hangup

    bucket[0].fault = fault
    source = make_source(tmp_path / "a.mp4", size)
    assert await uploader.upload(source, TARGET, ignore) == digest(source)
    assert len(broken) == -(-size // PART)


@pytest.mark.parametrize("step", [100, 1_000_000, 1_000_000_000, 2_000_000_000])
async def test_a_clock_that_became_coarser_is_no_change(bucket: Storage, uploader: Uploader, tmp_path: Path, step: int) -> None:
    source = make_source(tmp_path / "a.mp4", MIB)
    os.utime(source.path, ns=(0, source.mtime_ns // step * step))
    assert await uploader.upload(source, TARGET, ignore) == digest(source)


def test_a_target_shows_no_secret() -> None:
    shown = repr(TARGET)
    assert TARGET.key in shown
    assert not [secret for secret in _secrets() if secret in shown]


def _secrets() -> tuple[str, ...]:
    return TARGET.access_key_id, TARGET.secret_access_key, TARGET.session_token


# -- errors of the storage -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (400, "ExpiredToken", "credentials_expired"),
        (403, "RequestExpired", "credentials_expired"),
        (400, "AuthorizationHeaderMalformed", "upload_region"),
        (301, "PermanentRedirect", "upload_region"),
        (403, "AccessDenied", "upload_denied"),
        (403, "InvalidAccessKeyId", "upload_denied"),
        (403, "SignatureDoesNotMatch", "upload_denied"),
        (403, "RequestTimeTooSkewed", "upload_denied"),
        (503, "SlowDown", "upload_failed"),
        (500, "InternalError", "upload_failed"),
        (400, "RequestTimeout", "upload_failed"),
        (404, "NoSuchUpload", "upload_failed"),
    ],
)
async def test_an_error_of_the_storage_is_named(
    bucket: Storage, uploader: Uploader, tmp_path: Path, status: int, said: str, code: str
) -> None:
    async def fault(request: Request) -> bool:
        await request.go_ahead()
        async for _ in request.chunks():
            pass
        await request.answer(status, s3_error(said, f"<Token-0>{TARGET.session_token}</Token-0>"))
        return True

    bucket[0].fault = fault
    with pytest.raises(Trouble) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", MIB), TARGET, ignore)
    assert (caught.value.code, caught.value.detail) == (code, f"{said}, HTTP {status}")
    assert bucket[0].objects == {}


async def test_words_that_are_not_a_code_stay_out(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    bucket[0].fault = _answering(saying(403, s3_error(f"no {TARGET.session_token}")))
    with pytest.raises(Trouble) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", MIB), TARGET, ignore)
    assert (caught.value.code, caught.value.detail) == ("upload_denied", "HTTP 403")


def _answering(handler: Any) -> Any:
    async def fault(request: Request) -> bool:
        await request.go_ahead()
        async for _ in request.chunks():
            pass
        await handler(request)
        return True

    return fault


@pytest.mark.parametrize("first", ["slow down", "hang up"])
async def test_a_passing_fault_is_overcome(bucket: Storage, uploader: Uploader, tmp_path: Path, first: str) -> None:
    faults = iter([True, True])

    async def fault(request: Request) -> bool:
        if operation(request) != "part" or not next(faults, False):
            return False
        if first == "hang up":
            await request.go_ahead()
            await request.reader.readexactly(100_000)
            raise Hangup
        await _answering(saying(503, s3_error("SlowDown")))(request)
        return True

    bucket[0].fault = fault
    await uploader.upload(make_source(tmp_path / "a.mp4", 9 * MIB), TARGET, ignore)
    assert bucket[0].objects == {OBJECT: digests(tmp_path / "a.mp4")}
    assert bucket[0].operations().count("part") == 3


def _losing(storage: Bucket, then: Handler, look: Handler | None = None) -> Any:
    """Parts are put together, but the answer to it is lost, and `then` answers whoever asks again."""

    async def fault(request: Request) -> bool:
        if operation(request) == "head" and look is not None:
            await look(request)
            return True
        if operation(request) != "complete":
            return False
        if storage.objects:
            return bool(await _answering(then)(request))
        await storage.complete(replace(request, writer=Nowhere()))  # type: ignore[arg-type]
        raise Hangup

    return fault


class Nowhere:
    """Where an answer is lost."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


GONE = saying(404, s3_error("NoSuchUpload"))


@pytest.mark.parametrize("then", [GONE, saying(500, b"<html>"), saying(503, s3_error("SlowDown"))])
async def test_a_lost_answer_to_the_last_request_is_found_out(
    bucket: Storage, uploader: Uploader, tmp_path: Path, then: Handler
) -> None:
    storage = bucket[0]
    storage.fault = _losing(storage, then)
    source = make_source(tmp_path / "a.mp4", PART + MIB)
    assert await uploader.upload(source, TARGET, ignore) == digest_of(source.path, size=source.size)
    assert storage.operations().count("part") == 2
    assert storage.operations().count("head") == 1


@pytest.mark.parametrize(
    "look", [saying(403, Content_Length=""), saying(404, Content_Length=""), saying(200, Content_Length="5")]
)
async def test_where_nobody_may_look_it_is_said_that_all_was_sent(
    bucket: Storage, uploader: Uploader, tmp_path: Path, look: Handler
) -> None:
    storage = bucket[0]
    storage.fault = _losing(storage, GONE, look)
    source = make_source(tmp_path / "a.mp4", PART + MIB)
    with pytest.raises(Unconfirmed) as caught:
        await uploader.upload(source, TARGET, ignore)
    assert (caught.value.code, caught.value.digest) == ("upload_failed", digest_of(source.path, size=source.size))


async def test_what_failed_before_the_last_request_is_not_looked_for(
    bucket: Storage, uploader: Uploader, tmp_path: Path
) -> None:
    async def fault(request: Request) -> bool:
        return operation(request) == "part" and bool(await _answering(saying(503))(request))

    bucket[0].fault = fault
    with pytest.raises(Trouble) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", PART + MIB), TARGET, ignore)
    assert not isinstance(caught.value, Unconfirmed)
    assert "head" not in bucket[0].operations()


async def test_a_failed_part_leaves_no_multipart_upload(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    denials = iter([503, 503])

    async def fault(request: Request) -> bool:
        if operation(request) == "part":
            return bool(await _answering(saying(403, s3_error("AccessDenied")))(request))
        if operation(request) == "abort" and (status := next(denials, None)):
            await request.answer(status, s3_error("SlowDown"))
            return True
        return False

    bucket[0].fault = fault
    with pytest.raises(Trouble) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", PART + MIB), TARGET, ignore)
    assert caught.value.code == "upload_denied"
    assert (bucket[0].uploads, bucket[0].ended) == ({}, ["u0"])


async def test_nobody_listens(tmp_path: Path) -> None:
    uploader = Uploader("http://127.0.0.1:1", connect_timeout=1, attempts=2, backoff=0.01)
    with pytest.raises(Trouble) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", MIB), TARGET, ignore)
    await uploader.close()
    assert (caught.value.code, caught.value.detail) == ("upload_failed", "Connection refused")


async def test_the_bucket_says_where_it_is(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    async def fault(request: Request) -> bool:
        if "/eu-west-1/" not in request.headers["authorization"]:
            return False
        body = s3_error("AuthorizationHeaderMalformed", "<Region>eu-north-1</Region>")
        return bool(await _answering(saying(400, body))(request))

    bucket[0].fault = fault
    await uploader.upload(make_source(tmp_path / "a.mp4", MIB), TARGET, ignore)
    assert bucket[0].objects == {OBJECT: digests(tmp_path / "a.mp4")}
    assert "/eu-north-1/s3/" in bucket[0].seen[-1].headers["authorization"]


async def test_an_error_in_the_callback_ends_the_upload(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    def progress(_: int) -> None:
        raise LookupError

    bucket[0].pause = 0.02
    with pytest.raises(LookupError):
        await uploader.upload(make_source(tmp_path / "a.mp4", PART), TARGET, progress)
    assert (bucket[0].objects, bucket[0].uploads) == ({}, {})


async def test_no_secret_is_logged(
    bucket: Storage, uploader: Uploader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await uploader.upload(make_source(tmp_path / "a.mp4", MIB), TARGET, ignore)
    assert not [secret for secret in _secrets() if secret in caplog.text]


# -- the source changes --------------------------------------------------------------------------------------------------


async def _fails(uploader: Uploader, source: Source) -> tuple[str, str]:
    with pytest.raises(Trouble) as caught:
        await uploader.upload(source, TARGET, ignore)
    return caught.value.code, caught.value.detail


async def test_a_source_that_is_not_the_one_added(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    source = make_source(path, MIB)
    os.utime(path, ns=(0, source.mtime_ns + 2_000_000_000))
    assert await _fails(uploader, source) == ("source_changed", "its modification time is another")
    path.write_bytes(b"short")
    assert await _fails(uploader, source) == ("source_changed", f"{MIB} bytes became 5")
    path.write_bytes(b"")
    assert (await _fails(uploader, source_of(path)))[0] == "source_empty"
    path.unlink()
    assert (await _fails(uploader, source))[0] == "source_missing"
    os.mkfifo(path)
    assert await _fails(uploader, source) == ("source_unreadable", "not a regular file")
    assert bucket[0].seen == []


async def test_a_source_that_may_not_be_read(uploader: Uploader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path / "a.mp4", MIB)
    genuine = os.open

    def deny(path: Any, *rest: Any, **named: Any) -> int:
        if path == source.path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return genuine(path, *rest, **named)

    monkeypatch.setattr(os, "open", deny)
    assert await _fails(uploader, source) == ("source_unreadable", "Permission denied")


@pytest.mark.parametrize("when", ["part", "complete"])
@pytest.mark.parametrize(("change", "code"), [("grows", "source_changed"), ("vanishes", "source_missing")])
async def test_a_source_that_changes_meanwhile(
    bucket: Storage, uploader: Uploader, tmp_path: Path, when: str, change: str, code: str
) -> None:
    path = tmp_path / "a.mp4"
    source = make_source(path, 9 * MIB)

    async def fault(request: Request) -> bool:
        if operation(request) == when and path.exists():
            if change == "grows":
                with path.open("ab") as file:
                    file.write(b"more")
            else:
                path.unlink()
        return False

    bucket[0].fault = fault
    assert (await _fails(uploader, source))[0] == code
    assert bucket[0].uploads == {}


async def test_a_source_that_shrinks_in_the_middle_of_a_part(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    """The server would wait for the promised rest; the upload must end by itself, and long before a timeout."""
    path = tmp_path / "a.mp4"
    source = make_source(path, PART)

    async def fault(request: Request) -> bool:
        if operation(request) == "part":
            await request.go_ahead()
            os.truncate(path, MIB)
        return False

    bucket[0].fault = fault
    assert (await _fails(uploader, source))[0] == "source_changed"
    await until(lambda: bucket[0].ended)
    assert bucket[0].objects == {}


async def test_a_source_replaced_between_two_parts(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    path, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    source = make_source(path, 9 * PART)
    make_source(other, 9 * PART)
    os.utime(other, ns=(0, 0))
    bucket[0].pause = 0.001

    async def fault(request: Request) -> bool:
        if operation(request) == "part" and other.exists():
            other.replace(path)
        return False

    bucket[0].fault = fault
    assert (await _fails(uploader, source))[0] == "source_changed"
    assert (bucket[0].objects, bucket[0].uploads) == ({}, {})
    assert bucket[0].operations().count("part") < 9


# -- cancelling ----------------------------------------------------------------------------------------------------------


async def test_a_cancel_leaves_no_multipart_upload(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    bucket[0].pause = 0.01
    sent = [0]
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", 3 * PART), TARGET, sent.append))
    await until(lambda: sent[-1] > MIB)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bucket[0].uploads, bucket[0].ended, bucket[0].objects) == ({}, ["u0"], {})


async def test_a_cancel_of_a_small_upload(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    bucket[0].pause = 0.05
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", 7 * MIB), TARGET, ignore))
    await until(lambda: bucket[0].seen)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bucket[0].objects == {}


async def test_a_cancel_while_the_multipart_upload_is_being_made(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    """Its answer comes after the cancel; its id must not get lost."""
    cancelled = asyncio.Event()

    async def fault(request: Request) -> bool:
        if operation(request) == "create":
            await cancelled.wait()
        return False

    bucket[0].fault = fault
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", 2 * PART), TARGET, ignore))
    await until(lambda: bucket[0].seen)
    task.cancel()
    await asyncio.sleep(0)
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bucket[0].uploads, bucket[0].ended) == ({}, ["u0"])


async def test_a_cancel_interrupts_a_pause_between_attempts(bucket: Storage, tmp_path: Path) -> None:
    uploader = Uploader(bucket[1], backoff=1000)
    bucket[0].fault = _answering(saying(503, s3_error("SlowDown")))
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", MIB), TARGET, ignore))
    await until(lambda: bucket[0].seen)
    workers = [thread for thread in threading.enumerate() if thread.name.startswith(("upload", "transfer"))]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await uploader.close()
    await until(lambda: not any(thread.is_alive() for thread in workers))


async def test_a_stalled_peer_does_not_hold_up_a_cancel(bucket: Storage, tmp_path: Path) -> None:
    uploader = Uploader(bucket[1], connect_timeout=4, read_timeout=4, grace=0.2, backoff=0.01)

    async def fault(request: Request) -> bool:
        if operation(request) == "part":
            await request.go_ahead()
            await asyncio.Event().wait()
        return False

    bucket[0].fault = fault
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", PART), TARGET, ignore))
    await until(lambda: "part" in bucket[0].operations())
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 3.9  # less than the timeout of the stalled socket
    await until(lambda: bucket[0].ended)  # and the abort goes on behind
    await uploader.close()


async def test_close_cancels_what_is_under_way(bucket: Storage, uploader: Uploader, tmp_path: Path) -> None:
    bucket[0].pause = 0.01
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", PART), TARGET, ignore))
    await until(lambda: "part" in bucket[0].operations())
    await uploader.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bucket[0].uploads, bucket[0].ended) == ({}, ["u0"])


EXITING = """
import asyncio, os, sys
from synthdub_tui.jobs.model import Source
from synthdub_tui.transfer.upload import Uploader, UploadTarget

async def main(url, path):
    now = os.stat(path)
    uploader = Uploader(url, grace=0.5)
    source = Source(path, now.st_size, now.st_mtime_ns, "video/mp4")
    task = asyncio.create_task(uploader.upload(source, UploadTarget("a", "b", "c", "bucket", "key"), lambda sent: None))
    await asyncio.to_thread(sys.stdin.readline)
    task.cancel()
    await asyncio.wait({task})
    await uploader.close()

asyncio.run(main(*sys.argv[1:]))
print("ended", flush=True)
"""


async def test_a_stalled_peer_does_not_hold_up_the_end_of_the_process(bucket: Storage, tmp_path: Path) -> None:
    async def fault(request: Request) -> bool:
        if operation(request) == "part":
            await request.go_ahead()
            await asyncio.Event().wait()
        return False

    bucket[0].fault = fault
    source = make_source(tmp_path / "a.mp4", PART)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", EXITING, bucket[1], source.path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    await until(lambda: "part" in bucket[0].operations())
    said, _ = await asyncio.wait_for(process.communicate(b"go\n"), 14)  # the timeouts are 15 and 60 s
    assert (said, process.returncode) == (b"ended\n", 0)


# -- arithmetic and imports ----------------------------------------------------------------------------------------------


@given(st.integers(1, 50 * 1000**4))
@example(10_000 * PART)
@example(10_000 * PART + 1)
@example(100 * 1024**3)
def test_no_file_has_too_many_parts(size: int) -> None:
    part = part_size(size)
    assert -(-size // part) <= 10_000
    assert part % RANGE == 0, "or there would be no digest"
    assert part == PART if size <= 10_000 * PART else part > PART
    assert part <= 5 * 1024**3  # what S3 takes at most


def test_importing_the_room_is_cheap() -> None:
    code = (
        "import sys, synthdub_tui.transfer.upload, synthdub_tui.transfer.download\n"
        "print({'botocore', 'boto3', 's3transfer', 'httpx', 'urllib3', 'ssl'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("set()", "{'ssl'}")  # asyncio brings ssl
