"""Pictures of dubbed videos for dashboards that can show them. Each is downloaded on request and kept in a bounded folder.

Their URLs are signed and short-lived (API reference, GET /v2/dubbing/{id}), so they stay here: a dashboard gets the path of a
file. The work does not need pictures, so any error only means that there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import struct
from collections.abc import Callable
from typing import Any, Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.language_entries import entries_of, usable_entry
from synthdub_tui.jobs.model import Dub
from synthdub_tui.runner import clock
from synthdub_tui.runner.live_jobs import LiveJobs
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.synthesia.client import SynthesiaClient
from synthdub_tui.synthesia.rate_gate import Priority
from synthdub_tui.synthesia.schema import ProjectInfo
from synthdub_tui.transfer.download import Downloader, UrlExpiredError

_log = logging.getLogger(__name__)

FOLDER: Final = "thumbnails"
PART: Final = "fetching.part"

MAX_PICTURE_BYTES: Final = 2 * 1024 * 1024
"""Largest picture in bytes."""

MAX_CACHE_BYTES: Final = 32 * 1024 * 1024
"""Largest total of the kept pictures in bytes. The least recently used are deleted first."""

MAX_SIDE_PIXELS: Final = 2560
"""Longest side of a picture in pixels: a larger one is no thumbnail, and expensive to decode."""

FETCH_TIMEOUT_SECONDS: Final = 25.0
"""Seconds within which a picture must be found and downloaded. A dashboard does not wait longer."""

UNAVAILABLE_SECONDS: Final = 600.0
"""Seconds for which an unavailable picture is not requested again, since a request costs a read."""

MAX_WAITING_REQUESTS: Final = 8
"""Requests that may wait while another is answered; further ones get no picture."""


class ThumbnailCache:
    """The pictures of one state directory. `latest` returns the last answer about a project, or None. `check_ownership` raises
    OSError if the directory is no longer ours."""

    def __init__(
        self,
        state_dir: str,
        live_jobs: LiveJobs,
        client: SynthesiaClient,
        downloader: Downloader,
        *,
        latest: Callable[[str], ProjectInfo | None],
        check_ownership: Callable[[], None],
    ) -> None:
        self._folder = os.path.join(state_dir, FOLDER)
        self._live_jobs = live_jobs
        self._client = client
        self._downloader = downloader
        self._latest = latest
        self._check_ownership = check_ownership
        self._turn = asyncio.Lock()
        self._request_tasks: set[asyncio.Task[Any] | None] = set()
        self._none_until: dict[str, float] = {}

    async def path(self, job: str, language: str) -> str:
        """Returns the path of the picture of a dubbed video; empty if none is available now."""
        known = self._live_jobs.jobs.get(job)
        dub = known.dubs.get(language) if known is not None else None
        if dub is None or dub.output is None or not dub.project or len(self._request_tasks) > MAX_WAITING_REQUESTS:
            return ""
        asker = asyncio.current_task()
        self._request_tasks.add(asker)
        try:
            async with self._turn:
                return await self._find_or_download(dub, language)
        finally:
            self._request_tasks.discard(asker)

    def close(self) -> None:
        """Cancel all requests, because the runner ends."""
        for asker in self._request_tasks:
            if asker is not None:
                asker.cancel()

    async def _find_or_download(self, dub: Dub, language: str) -> str:
        path = os.path.join(self._folder, _name(dub, language))
        if await in_thread(_is_kept, path):
            return path
        if clock.now() < self._none_until.get(path, 0.0):
            return ""
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS):
                if await self._download(dub.project, language, path):
                    return path
        except (ProblemError, OSError) as error:  # asyncio's TimeoutError is an OSError
            code = error.code if isinstance(error, ProblemError) else type(error).__name__
            _log.info("no thumbnail", extra={"project": dub.project, "language": language, "code": code})
        self._note_none(path)
        return ""

    async def _download(self, project: str, language: str, path: str) -> bool:
        """Download the picture from the known URL, or from a fresh one if that has expired. Returns whether there is one."""
        await in_thread(self._ready)
        known = self._latest(project)
        address = _address(known, language) if known is not None else ""
        if address:
            with contextlib.suppress(UrlExpiredError):
                return await self._from(address, path)
        address = _address(await self._client.get_project(project, priority=Priority.POLL), language)
        return bool(address) and await self._from(address, path)

    async def _from(self, address: str, path: str) -> bool:
        part = os.path.join(self._folder, PART)
        await self._downloader.download(address, part, max_bytes=MAX_PICTURE_BYTES)
        return await in_thread(_keep, part, path)

    def _ready(self) -> None:
        self._check_ownership()
        if not os.path.isdir(self._folder):
            os.mkdir(self._folder, 0o700)

    def _note_none(self, path: str) -> None:
        now = clock.now()
        self._none_until = {name: until for name, until in self._none_until.items() if until > now}
        self._none_until[path] = now + UNAVAILABLE_SECONDS


def is_picture(head: bytes) -> bool:
    """Whether bytes start like a PNG or JPEG of a thumbnail's size. Nothing else is kept or passed to a decoder."""
    size = _png_size(head) or _jpeg_size(head)
    return size is not None and all(1 <= side <= MAX_SIDE_PIXELS for side in size)


def _png_size(head: bytes) -> tuple[int, int] | None:
    """Returns width and height from the first chunk (PNG specification, 5.2 and 11.2.1); None if no PNG."""
    if head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR" or len(head) < 24:
        return None
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Returns width and height from the frame header, after other segments (ITU-T T.81, B.1 and B.2.2); None if no JPEG."""
    if head[:3] != b"\xff\xd8\xff":
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + length
    return None


def _name(dub: Dub, language: str) -> str:
    """Returns a file name for a dubbed video, also if the service gives no id. It is a hash, since ids from outside must not
    form paths."""
    return hashlib.sha256(f"{dub.project}\0{dub.video}\0{language}".encode()).hexdigest()[:32]


def _address(info: ProjectInfo, language: str) -> str:
    entry = usable_entry(entries_of(info.languages, language, (language,)), "")
    return entry.image if entry is not None else ""


def _is_kept(path: str) -> bool:
    try:
        os.utime(path)  # mark as recently used
    except FileNotFoundError:
        return False
    return True


def _keep(part: str, path: str) -> bool:
    """Give a downloaded picture its name, and delete old ones beyond `MAX_CACHE_BYTES`. If it is no picture, deletes it,
    returns False."""
    with open(part, "rb") as file:
        good = is_picture(file.read(MAX_PICTURE_BYTES))
    if not good:
        os.unlink(part)
        return False
    os.chmod(part, 0o600)
    os.replace(part, path)
    _make_room(os.path.dirname(path))
    return True


def _make_room(folder: str) -> None:
    with os.scandir(folder) as entries:
        kept = sorted(((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path) for entry in entries), reverse=True)
    total = 0
    for _, size, path in kept:
        total += size
        if total > MAX_CACHE_BYTES:
            os.unlink(path)
