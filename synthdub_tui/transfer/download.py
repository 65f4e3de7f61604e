"""Outputs from signed URLs: continued after a break, of exactly the promised length, never with the API key.

The bytes go to a part file; `land` gives it the final name. httpx is imported on first use.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from synthdub_tui.problems import Trouble
from synthdub_tui.transfer.part import PartFile, land
from synthdub_tui.transfer.reasons import reason
from synthdub_tui.transfer.threads import DaemonPool

if TYPE_CHECKING:
    import httpx

__all__ = ["Downloader", "Fetched", "UrlExpired", "land"]

OnStart = Callable[[str, int | None], Awaitable[None]]
Progress = Callable[[int, int | None], None]

BLOCK: Final = 1024 * 1024
"""Bytes per write."""

TICK: Final = 0.1
"""Seconds between two reports of progress."""

REDIRECTS: Final = 5
LONGEST_PAUSE: Final = 30.0
"""Seconds between two attempts at most, also if the storage asks for more."""

THREADS: Final = 16
EXPIRED: Final = frozenset({400, 401, 403, 404, 410})
MOVED: Final = frozenset({301, 302, 303, 307, 308})
AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]*"')
_RANGE: Final = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")
_NO_RANGE: Final = re.compile(r"bytes \*/(\d{1,18})")
_NUMBER: Final = re.compile(r"\d{1,18}")


@dataclass(frozen=True)
class Fetched:
    """A complete part file: its size in bytes, its validator, and its modification time as it stands on disk."""

    size: int
    etag: str
    mtime_ns: int


class UrlExpired(Trouble):
    """The storage refuses the signed URL: the same one will not do, a fresh one may."""

    def __init__(self, status: int) -> None:
        super().__init__("download_failed", f"HTTP {status}")


class _Broken(Exception):
    """An attempt failed in a way that another may not. The words are shown to the user; `pause`: seconds asked for."""

    def __init__(self, words: str, pause: float = 0.0) -> None:
        super().__init__(words)
        self.pause = pause


class Downloader:
    """Downloads outputs. One for all of a process; `close` it at the end.

    `allow_local`: the API's own host is local, so its URLs may be, and may be plain http. `stall`: seconds without a byte after
    which an attempt counts as broken. `attempts`: how often in a row one may break without a byte gained. `backoff`: seconds of
    the first pause, doubled each time.
    """

    def __init__(self, *, allow_local: bool, stall: float = 30.0, attempts: int = 6, backoff: float = 1.0) -> None:
        self._allow_local = allow_local
        self._stall = stall
        self._attempts = attempts
        self._backoff = backoff
        self._pool = DaemonPool(THREADS, "download")
        self._making = asyncio.Lock()
        self._client: httpx.AsyncClient | None = None

    async def fetch(
        self,
        url: str,
        part: str,
        *,
        etag: str,
        limit: int | None = None,
        on_start: OnStart,
        progress: Progress,
    ) -> Fetched:
        """Download `url` to `part`, continuing what is there if `etag` is the strong validator that it was fetched under.

        `on_start(etag, total)` is awaited before bytes of a file that `etag` does not describe are written, with the part empty
        on disk: save the validator there ("" if there is no strong one: such a part cannot be continued).
        `progress(received, total)` comes about ten times a second, and at the end. With a `limit` in bytes (captions) a
        longer answer is refused; without one (videos) an empty one is.
        A cancel leaves a part that can be continued.

        Raises Trouble: UrlExpired, download_failed, download_address, disk_full, output_unwritable.
        """
        client = await self._ready()
        file = await PartFile.open(part, self._pool)
        try:
            job = _Fetch(client, url, file, etag, limit, on_start, progress, self._allow_local)
            await self._persist(job)
            now = await file.finish()
        finally:
            await file.close()
        if now.st_size != job.total:
            raise Trouble("download_failed", "the part file was changed by another program")
        return Fetched(now.st_size, job.etag, now.st_mtime_ns)

    async def close(self) -> None:
        """Close the connections. Downloads under way are to be cancelled before."""
        if self._client is not None:
            await self._client.aclose()
        self._pool.shutdown(wait=False)

    async def _ready(self) -> httpx.AsyncClient:
        async with self._making:
            if self._client is None:
                self._client = await asyncio.wrap_future(self._pool.submit(self._make))
            return self._client

    def _make(self) -> httpx.AsyncClient:
        from synthdub_tui.transfer.guard import guarded_client  # noqa: PLC0415

        return guarded_client(self._pool, allow_local=self._allow_local, stall=self._stall)

    async def _persist(self, job: _Fetch) -> None:
        """Attempt until it is complete. Attempts that gain ground do not count: a poor line may break any number of times."""
        failures, furthest = 0, job.file.size
        while True:
            try:
                await job.attempt()
                return
            except _Broken as error:
                failures = 1 if job.file.size > furthest else failures + 1
                furthest = max(furthest, job.file.size)
                if failures >= self._attempts:
                    raise Trouble("download_failed", str(error)) from None
                pause = self._backoff * 2 ** (failures - 1) * random.uniform(0.5, 1.0)  # noqa: S311
                await asyncio.sleep(min(LONGEST_PAUSE, max(pause, error.pause)))


class _Fetch:
    """One download, over as many attempts as it takes."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        url: str,
        file: PartFile,
        etag: str,
        limit: int | None,
        on_start: OnStart,
        progress: Progress,
        allow_local: bool,
    ) -> None:
        self._client = client
        self._url = url
        self.file = file
        self.etag = _strong(etag)  # what the part was fetched under; "" if it cannot be continued
        self._announced: str | None = self.etag or None
        self._limit = limit
        self._on_start = on_start
        self._progress = progress
        self._allow_local = allow_local
        self._reported = 0.0
        self.total = 0

    async def attempt(self) -> None:
        """Fetch what is missing. Raises _Broken where another attempt may get further, and Trouble where none will."""
        import httpx  # noqa: PLC0415

        offset = self.file.size if self.etag else 0
        headers = {"Range": f"bytes={offset}-", "If-Range": self.etag} if offset else {}
        try:
            response = await self._get(headers)
            async with contextlib.aclosing(response):
                if not await self._prepare(response, offset):
                    return
                await self._receive(response)
        except httpx.TransportError as error:
            raise _Broken(reason(error)) from None

    async def _get(self, headers: dict[str, str]) -> httpx.Response:
        """The first answer that is not a redirect; each address on the way is checked."""
        import httpx  # noqa: PLC0415

        from synthdub_tui.transfer.guard import check_url  # noqa: PLC0415

        url = check_url(self._url, allow_local=self._allow_local)
        for _ in range(REDIRECTS + 1):
            request = self._client.build_request("GET", url, headers=headers)
            try:
                response = await self._client.send(request, stream=True)
            except httpx.InvalidURL:  # httpx looks at where a redirect leads even if it does not follow
                raise Trouble("download_address", "it is malformed") from None
            if response.status_code not in MOVED:
                return response
            await response.aclose()
            url = check_url(_join(url, response.headers.get("Location", "")), allow_local=self._allow_local)
        raise Trouble("download_failed", "too many redirects")

    async def _prepare(self, response: httpx.Response, offset: int) -> bool:
        """Make the part ready for the body, as the headers say; False if there is nothing left to receive."""
        status = response.status_code
        if status == 416 and offset:
            return await self._check_end(response, offset)
        if status in EXPIRED:
            raise UrlExpired(status)
        if status in AGAIN:
            raise _Broken(f"HTTP {status}", _wanted_pause(response))
        if status not in {200, 206}:
            raise Trouble("download_failed", f"HTTP {status}")
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
            raise Trouble("download_failed", "the answer is compressed, which was not asked for")
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise _Broken("a web page came instead of the file")
        if status == 206:
            await self._continue(response, offset)
        else:
            await self._begin(response)
        return True

    async def _check_end(self, response: httpx.Response, offset: int) -> bool:
        """There is nothing from `offset` on: the part is complete, or not a part of this file."""
        match = _NO_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != offset:
            raise self._start_over("the part does not fit the file")
        self._accept(offset)
        self._report(final=True)
        return False

    async def _continue(self, response: httpx.Response, offset: int) -> None:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not offset or match is None or int(match[1]) != offset:
            raise self._start_over("the storage sent another range than asked for")
        if _strong(response.headers.get("ETag", self.etag)) != self.etag:
            raise self._start_over("the file changed at the storage")
        self._accept(int(match[2]))

    async def _begin(self, response: httpx.Response) -> None:
        length = response.headers.get("Content-Length", "")
        if not _NUMBER.fullmatch(length):
            raise Trouble("download_failed", "the storage did not say how long the file is")
        self._accept(int(length))
        self.etag = _strong(response.headers.get("ETag", ""))
        await self.file.clear()
        if self.etag != self._announced:
            await self._on_start(self.etag, self.total)
            self._announced = self.etag

    def _accept(self, total: int) -> None:
        if self._limit is None and not total:
            raise Trouble("download_failed", "the file is empty")
        if self._limit is not None and total > self._limit:
            raise Trouble("download_failed", f"the file is larger than {self._limit} bytes")
        self.total = total

    def _start_over(self, words: str) -> _Broken:
        self.etag = ""
        return _Broken(words)

    async def _receive(self, response: httpx.Response) -> None:
        """Write the body to the end of the part. What arrived before a break is kept."""
        import httpx  # noqa: PLC0415

        block = _Block()
        try:
            async for data in response.aiter_raw():
                block.add(data)
                if self.file.size + block.size > self.total:
                    raise self._start_over("the storage sent more than it said")
                if block.size >= BLOCK:
                    await self._flush(block)
        except httpx.TransportError:
            await self._flush(block)
            raise
        await self._flush(block, final=True)
        if self.file.size < self.total:
            raise _Broken("the connection ended early")

    async def _flush(self, block: _Block, *, final: bool = False) -> None:
        await self.file.write(block.take())
        self._report(final=final)

    def _report(self, *, final: bool = False) -> None:
        now = time.monotonic()
        if final or now - self._reported >= TICK:
            self._reported = now
            self._progress(self.file.size, self.total)


class _Block:
    """Pieces of a body on their way to one write; joined there, not here, to copy them but once."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        self._pieces.append(data)
        self.size += len(data)

    def take(self) -> list[bytes]:
        """The pieces, leaving none."""
        taken, self._pieces, self.size = self._pieces, [], 0
        return taken


def _strong(etag: str) -> str:
    """The validator if it is a strong one (RFC 9110, 8.8.3), else "". It comes from outside and goes into a header."""
    return etag if _STRONG.fullmatch(etag) else ""


def _join(url: httpx.URL, location: str) -> httpx.URL:
    import httpx  # noqa: PLC0415

    if not location:
        raise Trouble("download_failed", "a redirect without a target")
    try:
        return url.join(location)
    except httpx.InvalidURL:
        raise Trouble("download_address", "it is malformed") from None


def _wanted_pause(response: httpx.Response) -> float:
    """Seconds of Retry-After; a date there is left to our own back-off."""
    wanted = response.headers.get("Retry-After", "")
    return float(wanted) if _NUMBER.fullmatch(wanted) else 0.0
