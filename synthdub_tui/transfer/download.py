"""Downloads outputs from signed URLs: continues after a break, checks the announced length, never sends the API key.

One thread per download writes to a part file; `publish` then gives it the final name. The HTTP code is imported on first use.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.transfer.body_decoders import CONNECTION_CUT
from synthdub_tui.transfer.daemon_executor import DaemonThreadPool, await_detached
from synthdub_tui.transfer.failures import AttemptFailedError
from synthdub_tui.transfer.part_file import PartFile, publish

if TYPE_CHECKING:
    from synthdub_tui.transfer.http_stream import HttpGetter, StreamingResponse

__all__ = ["DownloadedFile", "Downloader", "UrlExpiredError", "ignore_progress", "ignore_start", "publish"]

OnStart = Callable[[str, int | None], Awaitable[None]]
Progress = Callable[[int, int | None], None]
IsComplete = Callable[[str], bool]

MAX_RETRY_PAUSE_SECONDS: Final = 30.0
"""Longest pause between two attempts in seconds, even if the storage asks for more."""

MAX_DOWNLOAD_THREADS: Final = 64
"""Downloads at once, including cancelled ones that still wait for an answer; further ones wait for a thread."""

MAX_FILE_BYTES: Final = 2**62
"""Bytes; larger than any file."""

MAX_ENDLESS_RESPONSES: Final = 3
"""Answers without a definite end after which a download gives up."""

EXPIRED_URL_STATUSES: Final = frozenset({400, 401, 403, 404, 410})
RETRY_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]*"')
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_MD5: Final = re.compile(r'"([0-9A-Fa-f]{32})"')
_NO_RANGE: Final = re.compile(r"bytes \*/(\d{1,18})")
_NUMBER: Final = re.compile(r"\d{1,18}")


@dataclass(frozen=True)
class DownloadedFile:
    """A complete part file: its size in bytes, its validator, and its modification time on disk."""

    size: int
    etag: str
    mtime_ns: int


class UrlExpiredError(ProblemError):
    """The storage refuses the signed URL. Repeating the same URL does not help; a new one may."""

    def __init__(self, status: int) -> None:
        super().__init__("download_failed", f"HTTP {status}")


async def ignore_start(etag: str, total: int | None) -> None:
    """`on_start` for files too small to be continued."""


def completeness_unknown(path: str) -> bool:
    """`is_complete` for files whose content does not show whether they are complete."""
    return False


def ignore_progress(received: int, total: int | None) -> None:
    """`progress` for files too small to show progress."""


class Downloader:
    """Downloads outputs. A process needs one; `close` it at the end.

    `allow_local`: URLs may be local or plain http, because the API's own host is local. `stall_seconds`: seconds without a byte
    after which an attempt counts as broken. `attempts`: attempts in a row that may break without gaining a byte. `backoff`:
    seconds of the first pause, doubled each time.
    """

    def __init__(self, *, allow_local: bool, stall_seconds: float = 30.0, attempts: int = 6, backoff: float = 1.0) -> None:
        self._allow_local = allow_local
        self._stall_seconds = stall_seconds
        self._attempts = attempts
        self._backoff = backoff
        self._pool = DaemonThreadPool(MAX_DOWNLOAD_THREADS, "download")
        self._getter_lock = asyncio.Lock()
        self._getter: HttpGetter | None = None

    async def download(
        self,
        url: str,
        part: str,
        *,
        etag: str = "",
        max_bytes: int | None = None,
        is_complete: IsComplete = completeness_unknown,
        on_start: OnStart = ignore_start,
        on_progress: Progress = ignore_progress,
    ) -> DownloadedFile:
        """Download `url` to `part`. Continues an existing part if `etag` is the strong validator of its bytes.

        `on_start(etag, total)` is awaited when the storage sends a file that `etag` does not describe. The part is then empty
        on disk; the callback saves the new validator ("" if it is not strong: such a part cannot be continued).
        `progress(received, total)` is called up to ten times a second, and at the end.
        With `max_bytes` (captions) a longer answer is refused; without one (videos) an empty answer is.
        `whole(path)` is called in a thread if the storage does not show the end; it says by the content whether the file is
        complete. A cancel leaves a part that can be continued.

        Raises ProblemError: UrlExpiredError, download_failed, download_endless, download_address, disk_full, output_unwritable.
        """
        opener = await self._ready_getter()
        file = await PartFile.open(part, self._pool)
        try:
            job = _Fetch(
                opener,
                self._pool,
                url,
                file,
                etag,
                max_bytes,
                lambda etag: _has_md5(part, etag) or is_complete(part),
                on_start,
                on_progress,
            )
            await self._download_with_retries(job)
            now = await file.sync()
        finally:
            await file.close()
        if now.st_size != file.size:
            raise ProblemError("download_failed", "the part file was changed by another program")
        return DownloadedFile(now.st_size, job.etag, now.st_mtime_ns)

    async def close(self) -> None:
        """End the threads, without waiting. Cancel downloads in progress first."""
        self._pool.shutdown(wait=False)

    async def _ready_getter(self) -> HttpGetter:
        async with self._getter_lock:
            if self._getter is None:
                self._getter = await asyncio.wrap_future(self._pool.submit(self._make_getter))
            return self._getter

    def _make_getter(self) -> HttpGetter:
        from synthdub_tui.transfer.http_stream import HttpGetter  # noqa: PLC0415

        return HttpGetter(allow_local=self._allow_local, stall_seconds=self._stall_seconds)

    async def _download_with_retries(self, job: _Fetch) -> None:
        """Attempt until the file is complete. An attempt that gains bytes restarts the count: a poor line may break often."""
        failures, furthest = 0, job.file.size
        while True:
            try:
                await job.attempt()
                return
            except AttemptFailedError as error:
                failures = 1 if job.file.size > furthest else failures + 1
                furthest = max(furthest, job.file.size)
                if failures >= self._attempts:
                    raise ProblemError("download_failed", str(error)) from None
                pause = self._backoff * 2 ** (failures - 1) * random.uniform(0.5, 1.0)  # noqa: S311
                await asyncio.sleep(min(MAX_RETRY_PAUSE_SECONDS, max(pause, error.retry_after_seconds)))


class _Fetch:
    """One download, over all its attempts."""

    def __init__(
        self,
        getter: HttpGetter,
        pool: DaemonThreadPool,
        url: str,
        file: PartFile,
        etag: str,
        max_bytes: int | None,
        is_complete: Callable[[str], bool],
        on_start: OnStart,
        on_progress: Progress,
    ) -> None:
        self._getter = getter
        self._pool = pool
        self._url = url
        self.file = file
        self.etag = _strong_etag(etag)  # validator of the part; "" if it cannot be continued
        self._announced_etag: str | None = self.etag or None
        self._max_bytes = max_bytes
        self._is_complete = is_complete
        self._on_start = on_start
        self._progress = on_progress
        self._reported = -1
        self._endless_responses = 0  # answers that may have ended early
        self.total: int | None = 0  # bytes; None if unknown before the end

    async def attempt(self) -> None:
        """Download the missing bytes. Raises Broken if another attempt may get further, and ProblemError if none will."""
        offset = self.file.size if self.etag else 0
        headers = {"Range": f"bytes={offset}-", "If-Range": self.etag} if offset else {}
        with contextlib.closing(await self._get(headers)) as answer:
            if await self._prepare(answer, offset):
                await self._receive(answer)
        self._report()

    async def _get(self, headers: dict[str, str]) -> StreamingResponse:
        asking = self._pool.submit(self._getter.get, self._url, headers)
        try:
            return await await_detached(asyncio.wrap_future(asking))
        except asyncio.CancelledError:
            asking.add_done_callback(_close_answer)
            raise

    async def _prepare(self, answer: StreamingResponse, offset: int) -> bool:
        """Prepare the part for the body, according to the headers; False if nothing is left to receive."""
        status = answer.status
        if status == 416 and offset:
            self._check_end(answer, offset)
            return False
        if status in EXPIRED_URL_STATUSES:
            raise UrlExpiredError(status)
        if status in RETRY_STATUSES:
            raise AttemptFailedError(f"HTTP {status}", _requested_pause(answer))
        if status not in {200, 206}:
            raise ProblemError("download_failed", f"HTTP {status}")
        if answer.body_fault:
            raise ProblemError("download_failed", answer.body_fault)
        if answer.header("Content-Type").lower().startswith("text/html"):
            raise AttemptFailedError("a web page came instead of the file")
        if status == 206:
            self._continue(answer, offset)
        else:
            await self._restart_part(answer)
        return True

    def _check_end(self, answer: StreamingResponse, offset: int) -> None:
        """Handle a 416. The file has no bytes from `offset` on: the part is complete, or belongs to another file."""
        match = _NO_RANGE.fullmatch(answer.header("Content-Range"))
        if match is None or int(match[1]) != offset:
            raise self._restart_error("the part does not fit the file")
        self._accept_size(offset)

    def _continue(self, answer: StreamingResponse, offset: int) -> None:
        match = _RANGE.fullmatch(answer.header("Content-Range"))
        if not offset or answer.is_compressed or match is None or int(match[1]) != offset:
            raise self._restart_error("the storage sent another range than asked for")
        if _strong_etag(answer.header("ETag") or self.etag) != self.etag:
            raise self._restart_error("the file changed at the storage")
        total = int(match[3])
        if int(match[2]) != total - 1 or answer.content_length not in (None, total - offset):
            raise self._restart_error("the storage sent more or less than it said")
        self._accept_size(total)

    async def _restart_part(self, answer: StreamingResponse) -> None:
        self.total = answer.content_length
        if answer.content_length is not None:
            self._accept_size(answer.content_length)
        self.etag = "" if answer.is_compressed else _strong_etag(answer.header("ETag"))
        await self.file.truncate()
        if self.etag != self._announced_etag:
            await self._on_start(self.etag, self.total)
            self._announced_etag = self.etag

    def _accept_size(self, total: int) -> None:
        if self._max_bytes is None and not total:
            raise ProblemError("download_failed", "the file is empty")
        if self._max_bytes is not None and total > self._max_bytes:
            raise ProblemError("download_failed", f"the file is larger than {self._max_bytes} bytes")
        self.total = total

    def _restart_error(self, words: str) -> AttemptFailedError:
        self.etag = ""
        return AttemptFailedError(words)

    async def _receive(self, answer: StreamingResponse) -> None:
        """Append the body to the part. Bytes that arrived before a break are kept."""
        await self.file.append_from(answer.readinto, self._end_offset() - self.file.size, self._report)
        if self.total is not None:
            if self.file.size < self.total:
                raise AttemptFailedError(CONNECTION_CUT)
            return
        self._accept_size(self.file.size)
        if not answer.has_definite_end:
            looking = self._pool.submit(self._is_complete, answer.header("ETag"))
            if not await asyncio.wrap_future(looking):
                self._count_endless_response()

    def _end_offset(self) -> int:
        """Size at which to stop reading: one byte past the limit shows that the file is too large."""
        if self.total is not None:
            return self.total
        return self._max_bytes + 1 if self._max_bytes is not None else MAX_FILE_BYTES

    def _count_endless_response(self) -> None:
        """Give up after `MAX_ENDLESS_RESPONSES` such answers. Until then, if the part has a validator, the next attempt asks
        for the bytes after its end, so that the storage can confirm that there are none."""
        self._endless_responses += 1
        if self._endless_responses >= MAX_ENDLESS_RESPONSES:
            raise ProblemError("download_endless")
        raise AttemptFailedError("nothing tells whether the file is complete")

    def _report(self) -> None:
        if self.file.size != self._reported:
            self._reported = self.file.size
            self._progress(self.file.size, self.total)


def _strong_etag(etag: str) -> str:
    """The validator if it is strong (RFC 9110, 8.8.3), else "". It comes from a server and goes into a header."""
    return etag if _STRONG.fullmatch(etag) else ""


def _has_md5(path: str, etag: str) -> bool:
    """Whether the ETag is the MD5 of the file, as it is at S3 for objects uploaded in one piece."""
    match = _MD5.fullmatch(etag)
    if match is None:
        return False
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == match[1].lower()
    except OSError:
        return False


def _close_answer(asking: Future[StreamingResponse]) -> None:
    if not asking.cancelled() and asking.exception() is None:
        asking.result().close()


def _requested_pause(answer: StreamingResponse) -> float:
    """Seconds of Retry-After; 0 for a date, so that the back-off decides."""
    wanted = answer.header("Retry-After")
    return float(wanted) if _NUMBER.fullmatch(wanted) else 0.0
