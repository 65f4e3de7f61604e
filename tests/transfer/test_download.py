"""Downloads against a server on a real socket: breaks, lies, and what stands on disk afterwards."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import os
import socket
import stat
import zlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.errors import ProblemError
from synthdub_tui.transfer import part_file as part_module
from synthdub_tui.transfer.download import (
    MAX_ENDLESS_RESPONSES,
    DownloadedFile,
    Downloader,
    IsComplete,
    UrlExpiredError,
    completeness_unknown,
    publish,
)
from synthdub_tui.transfer.part_file import WRITE_BLOCK_BYTES, lock_part
from tests.transfer.conftest import until
from tests.transfer.fault_servers import (
    CERTIFICATE,
    FakeSite,
    HangupError,
    RequestHandler,
    ServerRequest,
    always_answer,
    relay_connect,
    running_server,
)

CONTENT = b"".join(number.to_bytes(4, "big") for number in range(900_000))  # 3.4 MiB, no two blocks alike


@pytest.fixture
def site() -> FakeSite:
    return FakeSite(CONTENT)


@pytest.fixture
async def site_url(site: FakeSite) -> AsyncIterator[str]:
    async with running_server(site.handle) as address:
        yield f"{address}/video.mp4?X-Amz-Signature=secretsignature"


@pytest.fixture
async def downloader() -> AsyncIterator[Downloader]:
    made = Downloader(allow_local=True, attempts=3, backoff=0.01, stall_seconds=5)
    yield made
    await made.close()


class PartDownload:
    """One part file, and what its owner keeps about it."""

    def __init__(self, downloader: Downloader, url: str, part: Path) -> None:
        self.downloader = downloader
        self.url = url
        self.part = part
        self.etag = ""
        self.start_totals: list[tuple[str, int | None, int]] = []
        self.progress: list[tuple[int, int | None]] = []

    async def on_start(self, etag: str, total: int | None) -> None:
        self.start_totals.append((etag, total, self.part.stat().st_size))
        self.etag = etag

    async def download(self, max_bytes: int | None = None, is_complete: IsComplete = completeness_unknown) -> DownloadedFile:
        return await self.downloader.download(
            self.url,
            str(self.part),
            etag=self.etag,
            max_bytes=max_bytes,
            is_complete=is_complete,
            on_start=self.on_start,
            on_progress=lambda received, total: self.progress.append((received, total)),
        )

    async def download_error(self, limit: int | None = None) -> tuple[str, str]:
        with pytest.raises(ProblemError) as caught:
            await self.download(limit)
        assert "secret" not in f"{caught.value} {caught.value.__cause__}"
        return caught.value.code, caught.value.detail

    def write_part(self, count: int, etag: str) -> None:
        """As if this much had been fetched before, under this validator."""
        self.part.write_bytes(CONTENT[:count])
        self.etag = etag


@pytest.fixture
def download(downloader: Downloader, site_url: str, tmp_path: Path) -> PartDownload:
    return PartDownload(downloader, site_url, tmp_path / "video.mp4.part")


# -- the straight way ----------------------------------------------------------------------------------------------------


async def test_a_whole_file(site: FakeSite, download: PartDownload) -> None:
    fetched = await download.download()
    assert download.part.read_bytes() == CONTENT
    assert fetched == DownloadedFile(len(CONTENT), '"v1"', download.part.stat().st_mtime_ns)
    assert download.start_totals == [('"v1"', len(CONTENT), 0)]
    assert download.progress[-1] == (len(CONTENT), len(CONTENT))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(download.part.stat().st_mode) == 0o666 & ~umask


async def test_no_credentials_or_referer_are_sent_to_the_storage(
    site: FakeSite, download: PartDownload, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = download.part.parent / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    site.script = [always_answer(302, Location="/other.mp4", Set_Cookie="a=b")]
    await download.download()
    assert len(site.received) == 2
    for request in site.received:
        assert request.headers["accept-encoding"] == "identity"
        assert not {"authorization", "referer"} & request.headers.keys()


async def test_no_address_is_logged(download: PartDownload, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await download.download()
    assert "secretsignature" not in caplog.text


# -- continuing ----------------------------------------------------------------------------------------------------------


async def test_a_part_is_continued(site: FakeSite, download: PartDownload) -> None:
    download.write_part(1_000_000, '"v1"')
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["bytes=1000000-"]
    assert site.received[0].headers["if-range"] == '"v1"'
    assert download.start_totals == []


@pytest.mark.parametrize("etag", ["", 'W/"v1"', '"v1"\r\nX-Evil: 1', "v1"])
async def test_without_a_strong_validator_it_starts_over(site: FakeSite, download: PartDownload, etag: str) -> None:
    download.write_part(1_000_000, etag)
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == [""]


async def test_a_weak_validator_is_not_kept(site: FakeSite, download: PartDownload) -> None:
    site.etag = 'W/"v1"'
    assert (await download.download()).etag == ""
    assert download.start_totals == [("", len(CONTENT), 0)]


async def test_the_file_changed_at_the_storage(site: FakeSite, download: PartDownload) -> None:
    download.write_part(1_000_000, '"v0"')
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert download.start_totals == [('"v1"', len(CONTENT), 0)]  # the old bytes were gone before the new validator was saved


async def test_a_server_without_ranges(site: FakeSite, download: PartDownload) -> None:
    site.supports_ranges = False
    download.write_part(1_000_000, '"v1"')
    await download.download()
    assert download.part.read_bytes() == CONTENT


async def test_a_server_that_ignores_if_range(site: FakeSite, download: PartDownload) -> None:
    async def stubborn(request: ServerRequest) -> None:
        await request.send_answer(206, CONTENT[9:], ETag='"v1"', Content_Range=site.content_range(9))

    download.part.write_bytes(b"old bytes")
    download.etag = '"v0"'
    site.script = [stubborn]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["bytes=9-", ""]


@pytest.mark.parametrize("span", ["bytes 0-{last}/{total}", "bytes 1001-{last}/{total}", "nonsense", "bytes 1000-9/*"])
async def test_another_range_than_asked_for(site: FakeSite, download: PartDownload, span: str) -> None:
    span = span.format(last=len(CONTENT) - 1, total=len(CONTENT))
    site.script = [always_answer(206, CONTENT[1000:], ETag='"v1"', Content_Range=span)]
    download.write_part(1000, '"v1"')
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["bytes=1000-", ""]


async def test_an_unrequested_range_does_not_damage_the_file(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(206, CONTENT[:1000], ETag='"v1"', Content_Range=f"bytes 0-999/{len(CONTENT)}")]
    await download.download()
    assert download.part.read_bytes() == CONTENT


async def test_a_complete_part(site: FakeSite, download: PartDownload) -> None:
    download.write_part(len(CONTENT), '"v1"')
    assert (await download.download()).size == len(CONTENT)
    assert len(site.received) == 1
    assert download.part.read_bytes() == CONTENT
    assert download.progress[-1] == (len(CONTENT), len(CONTENT))


async def test_a_part_longer_than_the_file(site: FakeSite, download: PartDownload) -> None:
    download.part.write_bytes(CONTENT + b"more")
    download.etag = '"v1"'
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == [f"bytes={len(CONTENT) + 4}-", ""]


async def test_any_number_of_breaks_is_overcome_if_each_attempt_progresses(site: FakeSite, download: PartDownload) -> None:
    site.script = [site.break_after(100_000) for _ in range(8)]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == [""] + [f"bytes={count}00000-" for count in range(1, 9)]
    assert len(download.start_totals) == 1


async def test_a_body_that_ends_early(site: FakeSite, download: PartDownload) -> None:
    site.script = [site.break_after(count) for count in (50_000, 0, 0, 0)]
    code, _ = await download.download_error()
    assert code == "download_failed"
    assert download.part.read_bytes() == CONTENT[:50_000]
    await download.download()
    assert download.part.read_bytes() == CONTENT


async def test_a_stalled_server(site: FakeSite, site_url: str, tmp_path: Path) -> None:
    async def stall(request: ServerRequest) -> None:
        await request.send_answer(200, CONTENT[:5000], ETag='"v1"', Content_Length=str(len(CONTENT)))
        await asyncio.Event().wait()

    downloader = Downloader(allow_local=True, attempts=2, backoff=0.01, stall_seconds=0.2)
    download = PartDownload(downloader, site_url, tmp_path / "part")
    site.script = [stall]
    await download.download()
    await downloader.close()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["", "bytes=5000-"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_a_passing_fault(site: FakeSite, download: PartDownload, status: int) -> None:
    site.script = [always_answer(status, b"<html>", Retry_After="0")] * 2
    await download.download()
    assert download.part.read_bytes() == CONTENT


async def test_a_refused_connection_is_reported(downloader: Downloader, tmp_path: Path) -> None:
    download = PartDownload(downloader, "http://127.0.0.1:1/secret", tmp_path / "part")
    assert await download.download_error() == ("download_failed", "Connection refused")


async def test_a_peer_that_does_not_speak_tls(downloader: Downloader, tmp_path: Path) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Plain HTTP here\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        download = PartDownload(downloader, f"https://127.0.0.1:{port}/secret", tmp_path / "part")
        code, detail = await download.download_error()
    assert (code, detail) in [("download_failed", "wrong version number"), ("download_failed", "record layer failure")]


async def test_a_lasting_fault(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(503)] * 9
    assert await download.download_error() == ("download_failed", "HTTP 503")
    assert len(site.received) == 3


# -- answers that are refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_an_expired_url_fails_and_keeps_the_part(site: FakeSite, download: PartDownload, status: int) -> None:
    site.script = [always_answer(status)]
    download.write_part(1000, '"v1"')
    with pytest.raises(UrlExpiredError) as caught:
        await download.download()
    assert (caught.value.code, caught.value.detail) == ("download_failed", f"HTTP {status}")
    assert download.part.read_bytes() == CONTENT[:1000]  # to be continued from a fresh one


def encode_chunks(content: bytes, size: int = 70_000, end: bytes = b"0\r\n\r\n") -> bytes:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


def answer_without_length(status: int, body: bytes, **headers: str) -> RequestHandler:
    """An answer that only the end of the connection ends."""

    async def handle(request: ServerRequest) -> None:
        await request.send_answer(status, body, Content_Length="", **headers)
        raise HangupError

    return handle


def answer_in_chunks(status: int, content: bytes, **headers: str) -> RequestHandler:
    """An answer whose connection stays open."""
    return always_answer(status, encode_chunks(content), Content_Length="", Transfer_Encoding="chunked", **headers)


@pytest.mark.parametrize("size", [1, 5, 4096, 70_000, len(CONTENT)])
@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"000;name=value\r\nTrailer: x\r\n\r\n", b"0\n\n"])
async def test_chunks_have_an_end_though_the_connection_stays(
    site: FakeSite, download: PartDownload, size: int, end: bytes
) -> None:
    content = CONTENT if size > 100 else CONTENT[:3000]
    site.script = [
        always_answer(200, encode_chunks(content, size, end), Transfer_Encoding="chunked", ETag='"v1"', Content_Length="")
    ]
    assert (await download.download()).size == len(content)
    assert download.part.read_bytes() == content
    assert download.start_totals == [('"v1"', None, 0)]


async def test_chunks_go_before_a_length(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(200, b"5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="chunked", ETag='"v1"')]
    await download.download()
    assert download.part.read_bytes() == b"hello"


async def test_chunks_that_are_cut_off_anywhere_are_noticed(downloader: Downloader, tmp_path: Path) -> None:
    """Within a size, too: the "00" of a "00a" is not the last chunk."""
    content = CONTENT[:30]
    body = b"00a\r\n" + content[:10] + b"\r\n" + encode_chunks(content[10:], 10)
    cuts = iter(range(len(body) - len(b"\n\r\n")))  # then the last chunk is there

    async def handle(request: ServerRequest) -> None:
        cut = next(cuts, len(body))
        await request.send_answer(200, body[:cut], Content_Length="", Transfer_Encoding="chunked")
        raise HangupError

    once = Downloader(allow_local=True, attempts=1, stall_seconds=5)
    async with running_server(handle) as url:
        for _ in range(len(body) - 3):
            download = PartDownload(once, url, tmp_path / "part")
            assert await download.download_error() == ("download_failed", "the connection ended early")
        await download.download()
    await once.close()
    assert download.part.read_bytes() == content


@pytest.mark.parametrize("body", [b"5\r\nhello more\r\n0\r\n\r\n", b"-5\r\nhello\r\n", b"zz\r\n", b"\r\n", b"1" * 9000])
async def test_chunks_that_make_no_sense(site: FakeSite, download: PartDownload, body: bytes) -> None:
    site.script = [always_answer(200, body, Content_Length="", Transfer_Encoding="chunked")] * 3
    code, detail = await download.download_error()
    assert code == "download_failed"
    assert "chunk" in detail


async def test_chunks_are_continued_after_a_break(site: FakeSite, download: PartDownload) -> None:
    async def breaking(request: ServerRequest) -> None:
        await request.send_answer(
            200, encode_chunks(CONTENT)[:100_000], Content_Length="", Transfer_Encoding="chunked", ETag='"v1"'
        )
        raise HangupError

    async def rest(request: ServerRequest) -> None:
        start = site.requested_start(request) or 0
        await answer_in_chunks(206, CONTENT[start:], ETag='"v1"', Content_Range=site.content_range(start))(request)

    site.script = [breaking, rest]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert [asked != "" for asked in site.requested_ranges()] == [False, True]


async def test_chunks_of_a_server_without_ranges_start_over(site: FakeSite, download: PartDownload) -> None:
    download.write_part(1000, '"v1"')
    site.script = [answer_in_chunks(200, CONTENT[::-1], ETag='"v2"')]
    await download.download()
    assert download.part.read_bytes() == CONTENT[::-1]
    assert download.start_totals == [('"v2"', None, 0)]


async def test_another_transfer_coding_is_not_taken_for_the_body(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(200, b"5\r\nhello\r\n0\r\n\r\n", Transfer_Encoding="gzip, chunked", ETag='"v1"')]
    assert await download.download_error() == ("download_failed", "the answer has a transfer coding that was not asked for")
    assert download.part.read_bytes() == b""


async def test_without_a_length_the_storage_is_asked_what_comes_after_the_end(site: FakeSite, download: PartDownload) -> None:
    site.script = [answer_without_length(200, CONTENT, ETag='"v1"')]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["", f"bytes={len(CONTENT)}-"]


async def test_without_a_length_a_break_is_noticed_by_what_comes_after_it(site: FakeSite, download: PartDownload) -> None:
    site.script = [answer_without_length(200, CONTENT[:5000], ETag='"v1"')]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["", "bytes=5000-"]


async def test_without_a_length_an_md5_tells_that_it_is_whole(site: FakeSite, download: PartDownload) -> None:
    etag = f'"{hashlib.md5(CONTENT).hexdigest()}"'
    site.script = [answer_without_length(200, CONTENT, ETag=etag)]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert len(site.received) == 1


async def test_without_a_length_the_file_may_tell_that_it_is_whole(site: FakeSite, download: PartDownload) -> None:
    site.script = [answer_without_length(200, CONTENT[:5000]), answer_without_length(200, CONTENT)]
    await download.download(is_complete=lambda path: Path(path).read_bytes() == CONTENT)
    assert download.part.read_bytes() == CONTENT


async def test_where_nothing_tells_the_end_it_fails_after_some_tries(site: FakeSite, download: PartDownload) -> None:
    site.script = [answer_without_length(200, CONTENT)] * 9
    assert await download.download_error() == ("download_endless", "")
    assert len(site.received) == MAX_ENDLESS_RESPONSES


async def test_a_range_without_a_length_says_the_total(site: FakeSite, download: PartDownload) -> None:
    download.write_part(1000, '"v1"')
    site.script = [answer_without_length(206, CONTENT[1000:], ETag='"v1"', Content_Range=site.content_range(1000))]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["bytes=1000-"]


async def test_the_last_answer_of_a_connection(site: FakeSite, download: PartDownload) -> None:
    """The HTTP library gives up its socket with the head; the body is still to come."""

    async def last(request: ServerRequest) -> None:
        await request.send_answer(200, CONTENT, ETag='"v1"', Connection="close")
        raise HangupError

    site.script = [last]
    await download.download()
    assert download.part.read_bytes() == CONTENT


async def test_more_bytes_than_the_total(site: FakeSite, download: PartDownload) -> None:
    download.write_part(1000, '"v1"')
    site.script = [always_answer(206, CONTENT, ETag='"v1"', Content_Range=f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}")]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["bytes=1000-", ""]


FASTEST_COMPRESSION = 1  # of zlib's levels: how well something is packed does not matter here


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(FASTEST_COMPRESSION, wbits=-15)
    return packer.compress(content) + packer.flush()


COMPRESSED_CONTENTS = {
    "gzip": gzip.compress(CONTENT, FASTEST_COMPRESSION),
    "x-gzip": gzip.compress(CONTENT[:1000]) + gzip.compress(CONTENT[1000:], FASTEST_COMPRESSION) + bytes(100),
    "deflate": zlib.compress(CONTENT, FASTEST_COMPRESSION),
    "Deflate": raw_deflate(CONTENT),
}


@pytest.mark.parametrize("coding", COMPRESSED_CONTENTS)
@pytest.mark.parametrize("answer", [always_answer, answer_in_chunks, answer_without_length])
async def test_what_was_compressed_unasked_is_unpacked(
    site: FakeSite, download: PartDownload, coding: str, answer: Any
) -> None:
    site.script = [answer(200, COMPRESSED_CONTENTS[coding], Content_Encoding=coding, ETag='"v1"')]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert download.etag == ""  # such a part cannot be continued: ranges are of what is compressed


@pytest.mark.parametrize("coding", COMPRESSED_CONTENTS)
@pytest.mark.parametrize("answer", [always_answer, answer_in_chunks, answer_without_length])
async def test_what_is_compressed_and_cut_off_is_noticed(
    site: FakeSite, download: PartDownload, coding: str, answer: Any
) -> None:
    cut = COMPRESSED_CONTENTS[coding][: -200 if coding == "x-gzip" else -1]
    site.script = [answer(200, cut, Content_Encoding=coding, ETag='"v1"')]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["", ""]


async def test_a_compressed_part_is_no_continuation(site: FakeSite, download: PartDownload) -> None:
    download.write_part(1000, '"v1"')
    packed = gzip.compress(CONTENT, FASTEST_COMPRESSION)
    site.script = [
        always_answer(206, packed[1000:], Content_Encoding="gzip", ETag='"v1"', Content_Range=site.content_range(1000))
    ]
    await download.download()
    assert download.part.read_bytes() == CONTENT


async def test_what_is_compressed_is_unpacked_up_to_the_limit(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(200, gzip.compress(bytes(10**8), FASTEST_COMPRESSION), Content_Encoding="gzip")]
    assert await download.download_error(limit=1000) == ("download_failed", "the file is larger than 1000 bytes")
    assert download.part.stat().st_size <= 1001


async def test_compressed_and_damaged(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(200, b"no gzip at all", Content_Encoding="gzip")] * 3
    assert await download.download_error() == ("download_failed", "the compressed answer is damaged")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
async def test_compressed_in_a_way_that_cannot_be_undone(site: FakeSite, download: PartDownload, coding: str) -> None:
    site.script = [always_answer(200, b"secrets", Content_Encoding=coding, ETag='"v1"')]
    assert await download.download_error() == ("download_failed", "the answer is compressed in a way that was not asked for")
    assert download.part.read_bytes() == b""


async def test_an_empty_video_is_an_error_but_empty_captions_are_not(site: FakeSite, download: PartDownload) -> None:
    site.content = b""
    assert await download.download_error() == ("download_failed", "the file is empty")
    assert (await download.download(max_bytes=1000)).size == 0


async def test_captions_have_a_limit(site: FakeSite, download: PartDownload) -> None:
    assert await download.download_error(limit=1000) == ("download_failed", "the file is larger than 1000 bytes")
    assert download.part.read_bytes() == b""
    assert (await download.download(max_bytes=len(CONTENT))).size == len(CONTENT)


async def test_an_answer_that_makes_no_sense(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(204, Content_Length="")]
    assert await download.download_error() == ("download_failed", "HTTP 204")


# -- addresses -----------------------------------------------------------------------------------------------------------


async def test_redirects_are_followed_five_times(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(status, Location=f"/{status}") for status in (301, 302, 303, 307, 308)]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    site.script = [always_answer(302, Location="/again")] * 6
    download.etag = ""
    assert await download.download_error() == ("download_failed", "too many redirects")
    assert not site.script


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://example.com/", "//user:pw@127.0.0.1/", "gopher:x"],
)
async def test_where_a_redirect_may_not_lead(site: FakeSite, download: PartDownload, target: str) -> None:
    site.script = [always_answer(302, Location=target)]
    assert (await download.download_error())[0] == "download_address"
    assert len(site.received) == 1


async def test_a_redirect_to_nowhere(site: FakeSite, download: PartDownload) -> None:
    site.script = [always_answer(302)]
    assert await download.download_error() == ("download_failed", "a redirect without a target")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST.", "a.localhost", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::1]"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "[fe80::1]"),
        *("[fd00::1]", "[::ffff:127.0.0.1]", "[::]"),
    ],
)
async def test_a_public_api_does_not_lead_inside(host: str, tmp_path: Path) -> None:
    downloader = Downloader(allow_local=False, attempts=1)
    download = PartDownload(downloader, f"https://{host}/secret", tmp_path / "part")
    assert await download.download_error() == ("download_address", "it is inside this machine or network")
    await downloader.close()


@pytest.mark.parametrize("address", ["http://example.com/secret", "file:///secret", "https://user@example.com/secret"])
async def test_a_public_api_means_https(address: str, tmp_path: Path) -> None:
    downloader = Downloader(allow_local=False, attempts=1)
    assert (await PartDownload(downloader, address, tmp_path / "part").download_error())[0] == "download_address"
    await downloader.close()


@pytest.mark.parametrize("inside", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::1"], ["::ffff:10.0.0.1"]])
async def test_a_public_name_may_not_lead_inside(inside: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _patch_dns(monkeypatch, inside)
    downloader = Downloader(allow_local=False, attempts=1)
    download = PartDownload(downloader, "https://videos.example/secret", tmp_path / "part")
    assert await download.download_error() == ("download_address", "its name leads inside this machine or network")
    await downloader.close()


async def test_the_next_address_is_tried(
    site: FakeSite, downloader: Downloader, site_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _patch_dns(monkeypatch, ["127.0.0.2", "127.0.0.1"])  # nobody listens on the first
    download = PartDownload(downloader, site_url.replace("127.0.0.1", "videos.example"), tmp_path / "part")
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.received[0].headers["host"].startswith("videos.example:")


async def test_a_name_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    downloader = Downloader(allow_local=False, attempts=2, backoff=0.01)
    download = PartDownload(downloader, "https://videos.example/secret", tmp_path / "part")
    assert await download.download_error() == ("download_failed", "the name cannot be resolved")
    await downloader.close()


def _patch_dns(monkeypatch: pytest.MonkeyPatch, addresses: list[str], name: str = "videos.example") -> None:
    genuine = socket.getaddrinfo

    def answer(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
        if host != name:
            return genuine(host, port, *rest, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def test_a_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may stand inside the network, and it alone resolves names."""
    asked: list[str] = []

    async def proxy(request: ServerRequest) -> None:
        asked.append(f"{request.method} {request.target}")
        await request.send_answer(502)

    async with running_server(proxy) as address:
        monkeypatch.setenv("HTTPS_PROXY", address)
        downloader = Downloader(allow_local=False, attempts=1)
        download = PartDownload(downloader, "https://videos.example/secret", tmp_path / "part")
        assert (await download.download_error())[0] == "download_failed"
        await downloader.close()
    assert asked == ["CONNECT videos.example:443"]


# -- TLS -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def secure_url(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with running_server(site.handle, tls=True) as address:
        yield f"{address}/video.mp4?X-Amz-Signature=secretsignature"


async def test_over_tls(site: FakeSite, downloader: Downloader, secure_url: str, tmp_path: Path) -> None:
    site.script = [site.break_after(1_000_000), site.break_after(WRITE_BLOCK_BYTES)]
    download = PartDownload(downloader, secure_url, tmp_path / "part")
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["", "bytes=1000000-", f"bytes={1_000_000 + WRITE_BLOCK_BYTES}-"]


@pytest.mark.parametrize(("name", "right"), [("videos.example", True), ("other.example", False)])
async def test_the_certificate_is_that_of_the_name(
    downloader: Downloader, secure_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, right: bool
) -> None:
    """Though the connection is to an address that was looked up before."""
    _patch_dns(monkeypatch, ["127.0.0.1"], name)
    download = PartDownload(downloader, secure_url.replace("127.0.0.1", name), tmp_path / "part")
    if right:
        await download.download()
    else:
        assert await download.download_error() == ("download_failed", "certificate verify failed")


async def test_an_untrusted_certificate_is_refused(
    downloader: Downloader, secure_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    download = PartDownload(downloader, secure_url, tmp_path / "part")
    assert await download.download_error() == ("download_failed", "certificate verify failed")


async def test_a_cancel_over_tls_keeps_what_came_and_nothing_else(
    site: FakeSite, downloader: Downloader, secure_url: str, tmp_path: Path
) -> None:
    """The reading thread is woken by cutting the connection, beneath which lie bytes that are not those of the file."""
    gone = asyncio.Event()

    async def slow(request: ServerRequest) -> None:
        await request.send_answer(200, CONTENT[:5000], ETag='"v1"', Content_Length=str(len(CONTENT)))
        try:
            await request.reader.read(1)
        finally:
            gone.set()
        raise HangupError

    site.script = [slow]
    download = PartDownload(downloader, secure_url, tmp_path / "part")
    task = asyncio.create_task(download.download())
    await until(lambda: download.progress and download.progress[-1][0] == 5000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert download.part.read_bytes() == CONTENT[:5000]
    await until(gone.is_set)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_through_a_proxy(
    site: FakeSite, downloader: Downloader, secure_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    asked: list[tuple[str, str]] = []

    async def proxy(request: ServerRequest) -> None:
        asked.append((request.target, request.headers["proxy-authorization"]))
        await relay_connect(request)

    async with running_server(proxy, tls=tls) as address:
        monkeypatch.setenv("HTTPS_PROXY", address.replace("//", "//user:p%40ss@"))
        download = PartDownload(downloader, secure_url.replace("127.0.0.1", "videos.example"), tmp_path / "part")
        await download.download()
    assert download.part.read_bytes() == CONTENT
    port = secure_url.split(":")[2].partition("/")[0]
    assert asked == [(f"videos.example:{port}", "Basic dXNlcjpwQHNz")]
    assert "proxy-authorization" not in site.received[0].headers


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1", "http://"])
async def test_a_proxy_that_cannot_be_used(
    downloader: Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    download = PartDownload(downloader, "https://videos.example/secret", tmp_path / "part")
    assert await download.download_error() == ("download_failed", "the proxy is neither an http nor an https one")


# -- the disk ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EIO, "output_unwritable")],
)
async def test_the_disk_refuses(
    site: FakeSite, download: PartDownload, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    genuine = os.pwrite

    def full(fd: int, data: Any, offset: int) -> int:
        if offset >= WRITE_BLOCK_BYTES + 1000:
            raise OSError(number, "words")
        return genuine(fd, data[: WRITE_BLOCK_BYTES + 1000 - offset], offset)

    monkeypatch.setattr(os, "pwrite", full)
    assert await download.download_error() == (code, "words")
    assert download.part.read_bytes() == CONTENT[: WRITE_BLOCK_BYTES + 1000]
    monkeypatch.undo()
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["", f"bytes={WRITE_BLOCK_BYTES + 1000}-"]


async def test_a_part_that_is_not_a_regular_file(download: PartDownload) -> None:
    precious = download.part.with_name("precious")
    precious.write_bytes(b"precious")
    download.part.symlink_to(precious)
    assert (await download.download_error())[0] == "output_unwritable"
    assert precious.read_bytes() == b"precious"
    download.part.unlink()
    download.part.mkdir()
    assert (await download.download_error())[0] == "output_unwritable"
    download.part.rmdir()
    os.mkfifo(download.part)
    assert await download.download_error() == ("output_unwritable", "the part is not a regular file")


async def test_a_folder_that_is_not_there_and_a_name_too_long(download: PartDownload) -> None:
    download.part = download.part.with_name("x" * 300)
    assert await download.download_error() == ("output_unwritable", os.strerror(errno.ENAMETOOLONG))
    download.part = download.part.with_name("missing") / "part"
    assert await download.download_error() == ("output_unwritable", os.strerror(errno.ENOENT))


async def test_a_landing_that_was_interrupted_keeps_the_finished_file(download: PartDownload) -> None:
    final = download.part.with_name("final")
    final.write_bytes(b"finished")
    download.part.hardlink_to(final)
    await download.download()
    assert (final.read_bytes(), download.part.read_bytes()) == (b"finished", CONTENT)


def test_several_that_try_one_name_at_the_same_time_all_learn_that_it_can_be_made(tmp_path: Path) -> None:
    path = str(tmp_path / "clip.dubbed-fr-FR.mp4.part")
    with ThreadPoolExecutor(4) as pool:
        for tried in [pool.submit(part_module.check_part_can_be_created, path) for _ in range(4000)]:
            tried.result()
    assert not os.path.exists(path)


# -- cancelling ----------------------------------------------------------------------------------------------------------


async def test_a_cancel_leaves_a_part_to_continue(site: FakeSite, download: PartDownload) -> None:
    async def slow(request: ServerRequest) -> None:
        await request.send_answer(200, CONTENT[: WRITE_BLOCK_BYTES + 100_000], ETag='"v1"', Content_Length=str(len(CONTENT)))
        await asyncio.Event().wait()

    site.script = [slow]
    task = asyncio.create_task(download.download())
    await until(lambda: download.part.exists() and download.part.stat().st_size >= WRITE_BLOCK_BYTES)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = download.part.read_bytes()
    assert kept == CONTENT[: len(kept)]
    await download.download()
    assert download.part.read_bytes() == CONTENT
    assert site.requested_ranges() == ["", f"bytes={len(kept)}-"]


async def test_a_cancel_waits_for_the_write_under_way(
    site: FakeSite, download: PartDownload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a block could land in a part that somebody else has started anew, or in another file of the same descriptor."""
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    genuine = os.pwrite

    def slow(fd: int, data: Any, offset: int) -> int:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(20)
        return genuine(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slow)
    task = asyncio.create_task(download.download())
    await entered.wait()
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.1)
    assert not done
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert download.part.stat().st_size >= WRITE_BLOCK_BYTES


async def test_a_disk_that_hangs_does_not_hang_a_cancel(download: PartDownload, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    closed: list[int] = []
    genuine = os.close

    def hang(fd: int, data: Any, offset: int) -> int:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(20)
        return len(data)

    monkeypatch.setattr(part_module, "CLOSE_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(os, "pwrite", hang)
    task = asyncio.create_task(download.download())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.setattr(os, "close", lambda fd: (closed.append(fd), genuine(fd))[1])
    leave.set()
    await until(lambda: closed)


# -- landing -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["links", "no links"])
def hard_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On file systems with and without hard links."""
    if request.param == "no links":

        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("hard_links")
def test_landing(tmp_path: Path) -> None:
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_bytes(b"new")
    landed = publish(str(part), str(final), replace=False)
    assert (final.read_bytes(), part.exists()) == (b"new", False)
    assert landed.st_size == 3
    assert landed.st_mtime_ns == final.stat().st_mtime_ns


@pytest.mark.usefixtures("hard_links")
def test_landing_leaves_a_file_of_others_alone(tmp_path: Path) -> None:
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_bytes(b"new")
    final.write_bytes(b"precious")
    assert _publish_part(part, final) == "output_exists"
    assert (final.read_bytes(), part.read_bytes()) == (b"precious", b"new")
    final.unlink()
    final.symlink_to(tmp_path / "elsewhere")
    assert _publish_part(part, final) == "output_exists"
    final.unlink()
    final.mkdir()
    assert _publish_part(part, final) == "output_unwritable"
    assert part.read_bytes() == b"new"


def _publish_part(part: Path, final: Path, *, replace: bool = False) -> str:
    with pytest.raises(ProblemError) as caught:
        publish(str(part), str(final), replace=replace)
    return caught.value.code


@pytest.mark.usefixtures("hard_links")
async def test_only_one_of_many_concurrent_landings_succeeds(tmp_path: Path) -> None:
    parts = [tmp_path / f"part{number}" for number in range(8)]
    for part in parts:
        part.write_text(part.name)
    final = tmp_path / "final"
    outcomes = await asyncio.gather(
        *(asyncio.to_thread(publish, str(part), str(final), replace=False) for part in parts), return_exceptions=True
    )
    (winner,) = [part for part, outcome in zip(parts, outcomes, strict=True) if isinstance(outcome, os.stat_result)]
    assert final.read_text() == winner.name
    assert sorted(tmp_path.iterdir()) == sorted([final, *(part for part in parts if part != winner)])
    assert {getattr(outcome, "code", "") for outcome in outcomes} == {"", "output_exists"}


def test_an_interrupted_landing_is_completed(tmp_path: Path) -> None:
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_bytes(b"new")
    final.hardlink_to(part)
    assert publish(str(part), str(final), replace=False).st_size == 3
    assert (final.read_bytes(), part.exists()) == (b"new", False)


def test_replacing(tmp_path: Path) -> None:
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_bytes(b"new")
    final.write_bytes(b"ours of before")
    publish(str(part), str(final), replace=True)
    assert (final.read_bytes(), part.exists()) == (b"new", False)
    part.write_bytes(b"new")
    final.unlink()
    final.mkdir()
    assert _publish_part(part, final, replace=True) == "output_unwritable"
    assert _publish_part(part, tmp_path / ("x" * 300), replace=True) == "output_unwritable"
    assert _publish_part(part, tmp_path / ("x" * 300)) == "output_unwritable"
    assert part.read_bytes() == b"new"


def test_a_failed_claim_leaves_no_empty_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "no")

    part, final = tmp_path / "part", tmp_path / "final"
    part.write_bytes(b"new")
    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    assert _publish_part(part, final) == "output_unwritable"
    assert (final.exists(), part.read_bytes()) == (False, b"new")


async def test_a_hanging_disk_does_not_hang_the_end(tmp_path: Path) -> None:
    """Threads of asyncio's own pool are joined at the end, however long a disk takes."""
    async with lock_part(str(tmp_path / "x.part")):
        pass
    assert asyncio.get_running_loop()._default_executor is None  # type: ignore[attr-defined]


async def test_closing_says_that_the_volume_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network file systems do, and those in user space: what is wrong is told by what counted on it, not by the closing."""
    genuine = os.close

    def close(handle: int) -> None:
        part = os.readlink(f"/proc/self/fd/{handle}").endswith(".part")
        genuine(handle)
        if part:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(os, "close", close)
    with pytest.raises(ProblemError, match="unplugged"):
        async with lock_part(str(tmp_path / "x.part")):
            raise ProblemError("output_unwritable", "unplugged")
