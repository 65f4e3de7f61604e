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

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import Source
from synthdub_tui.sources.digest import DIGEST_RANGE_BYTES, compute_digest
from synthdub_tui.transfer import upload
from synthdub_tui.transfer.upload import (
    MIB,
    MIN_PART_BYTES,
    READ_CHUNK_BYTES,
    UnconfirmedUploadError,
    Uploader,
    UploadTarget,
    part_size,
)
from tests.transfer.conftest import OBJECT_PATH, UPLOAD_TARGET, make_source, part_digests, source_of, until
from tests.transfer.fault_servers import (
    CERTIFICATE,
    FakeBucket,
    HangupError,
    RequestHandler,
    ServerRequest,
    always_answer,
    decode_aws_chunks,
    running_server,
    s3_error_body,
    s3_operation,
)

BucketAndUrl = tuple[FakeBucket, str]


def ignore_progress(_: int) -> None:
    """Progress that nobody looks at."""


async def test_a_small_file_arrives_in_one_request(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mp4", 3 * MIB + 7)
    await uploader.upload(source, UPLOAD_TARGET, ignore_progress)
    assert bucket_and_url[0].objects == {OBJECT_PATH: part_digests(tmp_path / "a.mp4")}
    (request,) = bucket_and_url[0].received
    assert request.headers["content-type"] == "video/mp4"
    assert request.headers["x-amz-security-token"] == UPLOAD_TARGET.session_token
    assert f"Credential={UPLOAD_TARGET.access_key_id}/" in request.headers["authorization"]
    assert "/eu-west-1/s3/" in request.headers["authorization"]
    assert "x-amz-checksum-crc32" in request.headers


async def test_a_large_file_arrives_in_parts(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    source = make_source(tmp_path / "a.mp4", 2 * MIN_PART_BYTES + 5 * MIB + 1)
    threads: set[int] = set()
    values: list[int] = []

    def progress(sent: int) -> None:
        threads.add(threading.get_ident())
        values.append(sent)

    await uploader.upload(source, UPLOAD_TARGET, progress)
    assert bucket_and_url[0].objects == {OBJECT_PATH: part_digests(tmp_path / "a.mp4", MIN_PART_BYTES)}
    assert bucket_and_url[0].operations().count("part") == 3
    assert bucket_and_url[0].uploads == {}
    assert threads == {threading.get_ident()}
    assert values[-1] == source.size
    assert len(values) < 1000  # some 9,000 blocks of 8 KiB


@pytest.mark.parametrize(("size", "requests"), [(8 * MIB - 1, ["put"]), (8 * MIB, ["create", "part", "complete"])])
async def test_parts_are_made_from_8_mib(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, size: int, requests: list[str]
) -> None:
    await uploader.upload(make_source(tmp_path / "a.mp4", size), UPLOAD_TARGET, ignore_progress)
    assert bucket_and_url[0].operations() == requests


async def test_several_at_once(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    sources = [make_source(tmp_path / f"{number}.mp4", (number + 1) * 5 * MIB) for number in range(4)]
    keys = [f"{number}.mp4" for number in range(4)]
    await asyncio.gather(
        *(uploader.upload(source, _target(key), ignore_progress) for source, key in zip(sources, keys, strict=True))
    )
    assert bucket_and_url[0].objects == {f"/bucket/{key}": part_digests(tmp_path / key, MIN_PART_BYTES) for key in keys}


def _target(key: str) -> UploadTarget:
    return UploadTarget(
        UPLOAD_TARGET.access_key_id, UPLOAD_TARGET.secret_access_key, UPLOAD_TARGET.session_token, UPLOAD_TARGET.bucket, key
    )


async def test_over_tls_it_arrives_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 wants pieces of at least 8 KiB there, but for the last:
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html"""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    source = make_source(tmp_path / "a.mp4", 3 * MIB + 7)
    pieces: list[bytes] = []

    async def take(request: ServerRequest) -> None:
        assert request.headers["content-encoding"] == "aws-chunked"
        assert request.headers["x-amz-decoded-content-length"] == str(source.size)
        await request.send_continue()
        pieces[:] = decode_aws_chunks(b"".join([data async for data in request.read_chunks()]))
        await request.send_answer(200, ETag='"e"')

    async with running_server(take, tls=True) as url:
        uploader = Uploader(url, connect_timeout=5, read_timeout=5, attempts=1)
        assert await uploader.upload(source, UPLOAD_TARGET, ignore_progress) == source_digest(source)
        await uploader.close()
    assert b"".join(pieces) == Path(source.path).read_bytes()
    assert {len(piece) for piece in pieces[:-1]} == {READ_CHUNK_BYTES}


@pytest.mark.parametrize("size", [5 * MIB, 9 * MIB])
async def test_a_source_is_read_in_pieces(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Larger blocks would stay with the process for good."""
    lengths: list[int] = []
    read = upload._CheckedSource.read

    def noted(self: upload._CheckedSource, amount: int) -> bytes:
        data = read(self, amount)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(upload._CheckedSource, "read", noted)
    await uploader.upload(make_source(tmp_path / "a.mp4", size), UPLOAD_TARGET, ignore_progress)
    assert bucket_and_url[0].objects == {OBJECT_PATH: part_digests(tmp_path / "a.mp4")}
    assert max(lengths) == READ_CHUNK_BYTES


def source_digest(source: Source) -> str:
    return compute_digest(source.path, size=source.size)


@pytest.mark.parametrize(
    "size", [5 * MIB, MIN_PART_BYTES, 2 * MIN_PART_BYTES + 5 * MIB + 3], ids=["one request", "one part", "three parts"]
)
async def test_an_upload_gives_the_digest_of_the_file(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, size: int
) -> None:
    source = make_source(tmp_path / "a.mp4", size)
    assert await uploader.upload(source, UPLOAD_TARGET, ignore_progress) == source_digest(source)


@pytest.mark.parametrize("size", [5 * MIB, MIN_PART_BYTES + MIB], ids=["one request", "two parts"])
async def test_what_is_sent_again_gives_the_same_digest(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, size: int
) -> None:
    """The first try of each request breaks in the middle of its body, and the next reads from the beginning."""
    broken: set[str] = set()

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) not in ("put", "part") or request.target in broken:
            return False
        broken.add(request.target)
        await request.send_continue()
        await request.reader.readexactly(MIB)
        raise HangupError

    bucket_and_url[0].fault = fault
    source = make_source(tmp_path / "a.mp4", size)
    assert await uploader.upload(source, UPLOAD_TARGET, ignore_progress) == source_digest(source)
    assert len(broken) == -(-size // MIN_PART_BYTES)


@pytest.mark.parametrize("step", [100, 1_000_000, 1_000_000_000, 2_000_000_000])
async def test_a_clock_that_became_coarser_is_no_change(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, step: int
) -> None:
    source = make_source(tmp_path / "a.mp4", MIB)
    os.utime(source.path, ns=(0, source.mtime_ns // step * step))
    assert await uploader.upload(source, UPLOAD_TARGET, ignore_progress) == source_digest(source)


def test_a_target_shows_no_secret() -> None:
    shown = repr(UPLOAD_TARGET)
    assert UPLOAD_TARGET.key in shown
    assert not [secret for secret in _secret_texts() if secret in shown]


def _secret_texts() -> tuple[str, ...]:
    return UPLOAD_TARGET.access_key_id, UPLOAD_TARGET.secret_access_key, UPLOAD_TARGET.session_token


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
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, status: int, said: str, code: str
) -> None:
    async def fault(request: ServerRequest) -> bool:
        await request.send_continue()
        async for _ in request.read_chunks():
            pass
        await request.send_answer(status, s3_error_body(said, f"<Token-0>{UPLOAD_TARGET.session_token}</Token-0>"))
        return True

    bucket_and_url[0].fault = fault
    with pytest.raises(ProblemError) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", MIB), UPLOAD_TARGET, ignore_progress)
    assert (caught.value.code, caught.value.detail) == (code, f"{said}, HTTP {status}")
    assert bucket_and_url[0].objects == {}


async def test_words_that_are_not_a_code_stay_out(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    bucket_and_url[0].fault = _answer_everything(always_answer(403, s3_error_body(f"no {UPLOAD_TARGET.session_token}")))
    with pytest.raises(ProblemError) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", MIB), UPLOAD_TARGET, ignore_progress)
    assert (caught.value.code, caught.value.detail) == ("upload_denied", "HTTP 403")


def _answer_everything(handler: Any) -> Any:
    async def fault(request: ServerRequest) -> bool:
        await request.send_continue()
        async for _ in request.read_chunks():
            pass
        await handler(request)
        return True

    return fault


@pytest.mark.parametrize("first", ["slow down", "hang up"])
async def test_a_passing_fault_is_overcome(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, first: str
) -> None:
    faults = iter([True, True])

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) != "part" or not next(faults, False):
            return False
        if first == "hang up":
            await request.send_continue()
            await request.reader.readexactly(100_000)
            raise HangupError
        await _answer_everything(always_answer(503, s3_error_body("SlowDown")))(request)
        return True

    bucket_and_url[0].fault = fault
    await uploader.upload(make_source(tmp_path / "a.mp4", 9 * MIB), UPLOAD_TARGET, ignore_progress)
    assert bucket_and_url[0].objects == {OBJECT_PATH: part_digests(tmp_path / "a.mp4")}
    assert bucket_and_url[0].operations().count("part") == 3


def _lose_complete_answer(storage: FakeBucket, then: RequestHandler, look: RequestHandler | None = None) -> Any:
    """Parts are put together, but the answer to it is lost, and `then` answers whoever asks again."""

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) == "head" and look is not None:
            await look(request)
            return True
        if s3_operation(request) != "complete":
            return False
        if storage.objects:
            return bool(await _answer_everything(then)(request))
        await storage.complete(replace(request, writer=DiscardingWriter()))  # type: ignore[arg-type]
        raise HangupError

    return fault


class DiscardingWriter:
    """Where an answer is lost."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


NO_SUCH_UPLOAD = always_answer(404, s3_error_body("NoSuchUpload"))


@pytest.mark.parametrize("then", [NO_SUCH_UPLOAD, always_answer(500, b"<html>"), always_answer(503, s3_error_body("SlowDown"))])
async def test_a_lost_answer_to_the_last_request_is_found_out(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, then: RequestHandler
) -> None:
    storage = bucket_and_url[0]
    storage.fault = _lose_complete_answer(storage, then)
    source = make_source(tmp_path / "a.mp4", MIN_PART_BYTES + MIB)
    assert await uploader.upload(source, UPLOAD_TARGET, ignore_progress) == compute_digest(source.path, size=source.size)
    assert storage.operations().count("part") == 2
    assert storage.operations().count("head") == 1


@pytest.mark.parametrize(
    "look",
    [always_answer(403, Content_Length=""), always_answer(404, Content_Length=""), always_answer(200, Content_Length="5")],
)
async def test_an_upload_that_cannot_be_checked_reports_that_all_was_sent(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, look: RequestHandler
) -> None:
    storage = bucket_and_url[0]
    storage.fault = _lose_complete_answer(storage, NO_SUCH_UPLOAD, look)
    source = make_source(tmp_path / "a.mp4", MIN_PART_BYTES + MIB)
    with pytest.raises(UnconfirmedUploadError) as caught:
        await uploader.upload(source, UPLOAD_TARGET, ignore_progress)
    assert (caught.value.code, caught.value.digest) == ("upload_failed", compute_digest(source.path, size=source.size))


async def test_what_failed_before_the_last_request_is_not_looked_for(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path
) -> None:
    async def fault(request: ServerRequest) -> bool:
        return s3_operation(request) == "part" and bool(await _answer_everything(always_answer(503))(request))

    bucket_and_url[0].fault = fault
    with pytest.raises(ProblemError) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", MIN_PART_BYTES + MIB), UPLOAD_TARGET, ignore_progress)
    assert not isinstance(caught.value, UnconfirmedUploadError)
    assert "head" not in bucket_and_url[0].operations()


async def test_a_failed_part_leaves_no_multipart_upload(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path
) -> None:
    denials = iter([503, 503])

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) == "part":
            return bool(await _answer_everything(always_answer(403, s3_error_body("AccessDenied")))(request))
        if s3_operation(request) == "abort" and (status := next(denials, None)):
            await request.send_answer(status, s3_error_body("SlowDown"))
            return True
        return False

    bucket_and_url[0].fault = fault
    with pytest.raises(ProblemError) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", MIN_PART_BYTES + MIB), UPLOAD_TARGET, ignore_progress)
    assert caught.value.code == "upload_denied"
    assert (bucket_and_url[0].uploads, bucket_and_url[0].aborted_uploads) == ({}, ["u0"])


async def test_a_refused_connection_is_reported(tmp_path: Path) -> None:
    uploader = Uploader("http://127.0.0.1:1", connect_timeout=1, attempts=2, backoff=0.01)
    with pytest.raises(ProblemError) as caught:
        await uploader.upload(make_source(tmp_path / "a.mp4", MIB), UPLOAD_TARGET, ignore_progress)
    await uploader.close()
    assert (caught.value.code, caught.value.detail) == ("upload_failed", "Connection refused")


async def test_the_bucket_says_where_it_is(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    async def fault(request: ServerRequest) -> bool:
        if "/eu-west-1/" not in request.headers["authorization"]:
            return False
        body = s3_error_body("AuthorizationHeaderMalformed", "<Region>eu-north-1</Region>")
        return bool(await _answer_everything(always_answer(400, body))(request))

    bucket_and_url[0].fault = fault
    await uploader.upload(make_source(tmp_path / "a.mp4", MIB), UPLOAD_TARGET, ignore_progress)
    assert bucket_and_url[0].objects == {OBJECT_PATH: part_digests(tmp_path / "a.mp4")}
    assert "/eu-north-1/s3/" in bucket_and_url[0].received[-1].headers["authorization"]


async def test_an_error_in_the_callback_ends_the_upload(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path
) -> None:
    def progress(_: int) -> None:
        raise LookupError

    bucket_and_url[0].read_pause_seconds = 0.02
    with pytest.raises(LookupError):
        await uploader.upload(make_source(tmp_path / "a.mp4", MIN_PART_BYTES), UPLOAD_TARGET, progress)
    assert (bucket_and_url[0].objects, bucket_and_url[0].uploads) == ({}, {})


async def test_no_secret_is_logged(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await uploader.upload(make_source(tmp_path / "a.mp4", MIB), UPLOAD_TARGET, ignore_progress)
    assert not [secret for secret in _secret_texts() if secret in caplog.text]


# -- the source changes --------------------------------------------------------------------------------------------------


async def _upload_error(uploader: Uploader, source: Source) -> tuple[str, str]:
    with pytest.raises(ProblemError) as caught:
        await uploader.upload(source, UPLOAD_TARGET, ignore_progress)
    return caught.value.code, caught.value.detail


async def test_a_source_that_is_not_the_one_added(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    source = make_source(path, MIB)
    os.utime(path, ns=(0, source.mtime_ns + 2_000_000_000))
    assert await _upload_error(uploader, source) == ("source_changed", "its modification time is another")
    path.write_bytes(b"short")
    assert await _upload_error(uploader, source) == ("source_changed", f"{MIB} bytes became 5")
    path.write_bytes(b"")
    assert (await _upload_error(uploader, source_of(path)))[0] == "source_empty"
    path.unlink()
    assert (await _upload_error(uploader, source))[0] == "source_missing"
    os.mkfifo(path)
    assert await _upload_error(uploader, source) == ("source_unreadable", "not a regular file")
    assert bucket_and_url[0].received == []


async def test_a_source_that_may_not_be_read(uploader: Uploader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_source(tmp_path / "a.mp4", MIB)
    genuine = os.open

    def deny(path: Any, *rest: Any, **named: Any) -> int:
        if path == source.path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return genuine(path, *rest, **named)

    monkeypatch.setattr(os, "open", deny)
    assert await _upload_error(uploader, source) == ("source_unreadable", "Permission denied")


@pytest.mark.parametrize("when", ["part", "complete"])
@pytest.mark.parametrize(("change", "code"), [("grows", "source_changed"), ("vanishes", "source_missing")])
async def test_a_source_that_changes_meanwhile(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path, when: str, change: str, code: str
) -> None:
    path = tmp_path / "a.mp4"
    source = make_source(path, 9 * MIB)

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) == when and path.exists():
            if change == "grows":
                with path.open("ab") as file:
                    file.write(b"more")
            else:
                path.unlink()
        return False

    bucket_and_url[0].fault = fault
    assert (await _upload_error(uploader, source))[0] == code
    assert bucket_and_url[0].uploads == {}


async def test_a_source_that_shrinks_in_the_middle_of_a_part(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path
) -> None:
    """The server would wait for the promised rest; the upload must end by itself, and long before a timeout."""
    path = tmp_path / "a.mp4"
    source = make_source(path, MIN_PART_BYTES)

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) == "part":
            await request.send_continue()
            os.truncate(path, MIB)
        return False

    bucket_and_url[0].fault = fault
    assert (await _upload_error(uploader, source))[0] == "source_changed"
    await until(lambda: bucket_and_url[0].aborted_uploads)
    assert bucket_and_url[0].objects == {}


async def test_a_source_replaced_between_two_parts(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    path, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    source = make_source(path, 9 * MIN_PART_BYTES)
    make_source(other, 9 * MIN_PART_BYTES)
    os.utime(other, ns=(0, 0))
    bucket_and_url[0].read_pause_seconds = 0.001

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) == "part" and other.exists():
            other.replace(path)
        return False

    bucket_and_url[0].fault = fault
    assert (await _upload_error(uploader, source))[0] == "source_changed"
    assert (bucket_and_url[0].objects, bucket_and_url[0].uploads) == ({}, {})
    assert bucket_and_url[0].operations().count("part") < 9


# -- cancelling ----------------------------------------------------------------------------------------------------------


async def test_a_cancel_leaves_no_multipart_upload(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    bucket_and_url[0].read_pause_seconds = 0.01
    sent = [0]
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", 3 * MIN_PART_BYTES), UPLOAD_TARGET, sent.append))
    await until(lambda: sent[-1] > MIB)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bucket_and_url[0].uploads, bucket_and_url[0].aborted_uploads, bucket_and_url[0].objects) == ({}, ["u0"], {})


async def test_a_cancel_of_a_small_upload(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    bucket_and_url[0].read_pause_seconds = 0.05
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", 7 * MIB), UPLOAD_TARGET, ignore_progress))
    await until(lambda: bucket_and_url[0].received)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bucket_and_url[0].objects == {}


async def test_a_cancel_while_the_multipart_upload_is_being_made(
    bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path
) -> None:
    """Its answer comes after the cancel; its id must not get lost."""
    cancelled = asyncio.Event()

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) == "create":
            await cancelled.wait()
        return False

    bucket_and_url[0].fault = fault
    task = asyncio.create_task(
        uploader.upload(make_source(tmp_path / "a.mp4", 2 * MIN_PART_BYTES), UPLOAD_TARGET, ignore_progress)
    )
    await until(lambda: bucket_and_url[0].received)
    task.cancel()
    await asyncio.sleep(0)
    cancelled.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bucket_and_url[0].uploads, bucket_and_url[0].aborted_uploads) == ({}, ["u0"])


async def test_a_cancel_interrupts_a_pause_between_attempts(bucket_and_url: BucketAndUrl, tmp_path: Path) -> None:
    uploader = Uploader(bucket_and_url[1], backoff=1000)
    bucket_and_url[0].fault = _answer_everything(always_answer(503, s3_error_body("SlowDown")))
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", MIB), UPLOAD_TARGET, ignore_progress))
    await until(lambda: bucket_and_url[0].received)
    workers = [thread for thread in threading.enumerate() if thread.name.startswith(("upload", "transfer"))]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await uploader.close()
    await until(lambda: not any(thread.is_alive() for thread in workers))


async def test_a_stalled_peer_does_not_hold_up_a_cancel(bucket_and_url: BucketAndUrl, tmp_path: Path) -> None:
    uploader = Uploader(bucket_and_url[1], connect_timeout=4, read_timeout=4, grace_seconds=0.2, backoff=0.01)

    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) == "part":
            await request.send_continue()
            await asyncio.Event().wait()
        return False

    bucket_and_url[0].fault = fault
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", MIN_PART_BYTES), UPLOAD_TARGET, ignore_progress))
    await until(lambda: "part" in bucket_and_url[0].operations())
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 3.9  # less than the timeout of the stalled socket
    await until(lambda: bucket_and_url[0].aborted_uploads)  # and the abort goes on behind
    await uploader.close()


async def test_close_cancels_what_is_under_way(bucket_and_url: BucketAndUrl, uploader: Uploader, tmp_path: Path) -> None:
    bucket_and_url[0].read_pause_seconds = 0.01
    task = asyncio.create_task(uploader.upload(make_source(tmp_path / "a.mp4", MIN_PART_BYTES), UPLOAD_TARGET, ignore_progress))
    await until(lambda: "part" in bucket_and_url[0].operations())
    await uploader.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bucket_and_url[0].uploads, bucket_and_url[0].aborted_uploads) == ({}, ["u0"])


EXIT_DURING_UPLOAD_PROGRAM = """
import asyncio, os, sys
from synthdub_tui.jobs.model import Source
from synthdub_tui.transfer.upload import Uploader, UploadTarget

async def main(url, path):
    now = os.stat(path)
    uploader = Uploader(url, grace_seconds=0.5)
    source = Source(path, now.st_size, now.st_mtime_ns, "video/mp4")
    task = asyncio.create_task(uploader.upload(source, UploadTarget("a", "b", "c", "bucket", "key"), lambda sent: None))
    await asyncio.to_thread(sys.stdin.readline)
    task.cancel()
    await asyncio.wait({task})
    await uploader.close()

asyncio.run(main(*sys.argv[1:]))
print("ended", flush=True)
"""


async def test_a_stalled_peer_does_not_hold_up_the_end_of_the_process(bucket_and_url: BucketAndUrl, tmp_path: Path) -> None:
    async def fault(request: ServerRequest) -> bool:
        if s3_operation(request) == "part":
            await request.send_continue()
            await asyncio.Event().wait()
        return False

    bucket_and_url[0].fault = fault
    source = make_source(tmp_path / "a.mp4", MIN_PART_BYTES)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", EXIT_DURING_UPLOAD_PROGRAM, bucket_and_url[1], source.path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    await until(lambda: "part" in bucket_and_url[0].operations())
    said, _ = await asyncio.wait_for(process.communicate(b"go\n"), 14)  # the timeouts are 15 and 60 s
    assert (said, process.returncode) == (b"ended\n", 0)


# -- arithmetic and imports ----------------------------------------------------------------------------------------------


@given(st.integers(1, 50 * 1000**4))
@example(10_000 * MIN_PART_BYTES)
@example(10_000 * MIN_PART_BYTES + 1)
@example(100 * 1024**3)
def test_no_file_has_too_many_parts(size: int) -> None:
    part = part_size(size)
    assert -(-size // part) <= 10_000
    assert part % DIGEST_RANGE_BYTES == 0, "or there would be no digest"
    assert part == MIN_PART_BYTES if size <= 10_000 * MIN_PART_BYTES else part > MIN_PART_BYTES
    assert part <= 5 * 1024**3  # what S3 takes at most


def test_importing_the_room_is_cheap() -> None:
    code = (
        "import sys, synthdub_tui.transfer.upload, synthdub_tui.transfer.download\n"
        "print({'botocore', 'boto3', 's3transfer', 'httpx', 'urllib3', 'ssl'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("set()", "{'ssl'}")  # asyncio brings ssl
