"""Downloads one language: video and captions. Each file gets its final name only when it is complete."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.language_entries import alive, entries_of
from synthdub_tui.jobs.model import Dub, DubState, Failure, Job, Output, Part, Scope
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.transitions import download, dub_states
from synthdub_tui.runner.output_preflight import CAPTIONS, captions_of_ours, check_writable, is_ours, landed, taken_only
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import Workshop
from synthdub_tui.sources import video_header
from synthdub_tui.synthesia.errors import KeyRejected, Refused, Unavailable
from synthdub_tui.synthesia.schema import LanguageInfo, ProjectInfo
from synthdub_tui.transfer.daemon_executor import detached
from synthdub_tui.transfer.download import Fetched, UrlExpired
from synthdub_tui.transfer.part_file import complete_landing, disk_trouble, holding, land, remove_part

_log = logging.getLogger(__name__)

T = TypeVar("T")

Find = Callable[[ProjectInfo | None], Awaitable[str]]
"""Returns the URL from an answer of the service, or from a fresh answer if there is None or the URL is not in it."""

CAPTIONS_LIMIT: Final = 16 * 1024 * 1024
"""Largest captions file in bytes; hours of speech need some hundred kilobytes."""

_OF_THE_DISK: Final = frozenset({"disk_full", "output_unwritable", "output_exists", "output_unmounted"})
_LASTING: Final = _OF_THE_DISK | {"download_address", "download_endless"}
"""Codes of troubles that an immediate retry cannot fix."""


class Fetch:
    """Downloads one language of a job."""

    def __init__(self, shop: Workshop, job_id: str, language: str) -> None:
        self._shop = shop
        self._id = job_id
        self._language = language
        job = shop.ledger.jobs[job_id]
        self._final = output_path(job.source.path, language, job.outputs)
        self._part = f"{self._final}.part"
        self._project = job.dubs[language].project

    @property
    def _job(self) -> Job:
        return self._shop.ledger.jobs[self._id]

    @property
    def _dub(self) -> Dub:
        return self._job.dubs[self._language]

    async def run(self) -> None:
        """Ends with the dub done or failed. An interrupted download leaves a part file to continue; a cancelled dub leaves
        nothing. Raises KeyRejected."""
        try:
            async with self._shop.downloads:
                await self._fetch_all()
        except asyncio.CancelledError:
            await self._put_away()
            raise
        except KeyRejected:
            raise
        except Trouble as trouble:
            self._fail(trouble)
        except OSError as error:  # from the output's volume, at any step: network errors are Troubles by now
            self._fail(disk_trouble(error))
        except Exception:
            self._fail(Trouble("internal"))
            raise
        finally:
            self._shop.outlasted(self._id, self._language)
            self._shop.meters.ended(self._id, self._language)

    async def _fetch_all(self) -> None:
        if output := await self._shop.paid_before.output_of(self._job, self._language):
            return await self._note_done(output)
        await in_thread(check_writable, self._job, self._language)
        if not await in_thread(self._landed):
            await self._video()
        captions, lacking = await self._captions() if self._job.captions else ((), None)
        status = await in_thread(os.lstat, self._final)
        header = await in_thread(video_header.look_at, self._final)
        output = Output.of(self._final, status.st_size, status.st_mtime_ns, captions, seconds=header.seconds)
        await self._shop.paid_before.note_output(self._job, self._language, output)
        await self._note_done(output, lacking)

    async def _note_done(self, output: Output, lacking: Failure | None = None) -> None:
        self._shop.ledger.put(download.downloaded(self._job, self._language, output, self._shop.now(), lacking=lacking))
        await self._shop.ledger.saved(self._id)

    # -- the video -----------------------------------------------------------------------------------------------------

    async def _video(self) -> None:
        async with holding(self._part):
            await self._fetch_and_land()

    async def _fetch_and_land(self) -> None:
        fetched = await self._complete_part()
        if fetched is None:
            fetched = await self._in_rounds(self._video_address, self._fetch_video)
        replace = await in_thread(is_ours, self._dub, self._final)
        self._shop.ledger.put(download.landing(self._job, self._language, fetched.size, fetched.mtime_ns))
        await self._shop.ledger.saved(self._id)  # from here on, a file of that size and time is recognised as ours
        await in_thread(land, self._part, self._final, replace=replace)

    def _landed(self) -> bool:
        """Whether the last run gave the part file its final name but did not note it. Then also removes the part file, which
        may remain as a second link."""
        try:
            over = landed(self._dub, os.lstat(self._final))
        except FileNotFoundError:
            return False
        if over:
            complete_landing(self._part, self._final)
        return over

    async def _complete_part(self) -> Fetched | None:
        """Returns the part file of an earlier run if it is complete and lacks only its final name; else None."""
        part = self._dub.part
        if part is None or not part.mtime_ns:
            return None
        try:
            status = await in_thread(os.lstat, self._part)
        except FileNotFoundError:
            return None
        return Fetched(part.size, part.etag, part.mtime_ns) if landed(self._dub, status) else None

    async def _in_rounds(self, find: Find, fetch: Callable[[str], Awaitable[T]]) -> T:
        """Call `fetch` with a URL from `find`, up to `download_rounds` times. A URL that expired in the first round is replaced
        at once; every other failure is followed by a pause. Raises the last Trouble, or at once one of `_LASTING`."""
        patience = self._shop.patience
        delay = patience.back_off
        info = self._shop.poller.latest(self._project)
        for attempt in range(patience.download_rounds):
            address = await find(info)
            try:
                return await fetch(address)
            except UrlExpired as expired:
                trouble: Trouble = expired
            except Trouble as caught:
                trouble = caught
                if trouble.code in _LASTING:
                    raise
            _log.info("download again", extra={"job": self._id, "language": self._language, "code": trouble.code})
            if attempt or not isinstance(trouble, UrlExpired):
                await self._shop.outlast(self._id, self._language, trouble, delay)
                delay = min(delay * 2, patience.back_off_limit)
            info = None
        raise trouble

    async def _video_address(self, info: ProjectInfo | None) -> str:
        return await self._address(info, lambda found: found.download)

    async def _fetch_video(self, address: str) -> Fetched:
        before = self._dub.part or Part(0)
        self._shop.ledger.put(download.download_started(self._job, self._language, before, self._shop.now()))
        return await self._shop.downloader.fetch(
            address,
            self._part,
            etag=before.etag,
            whole=video_header.is_whole,
            on_start=self._note_start,
            progress=lambda done, total: self._shop.meters.moved(self._id, self._language, done, total or 0),
        )

    async def _note_start(self, etag: str, total: int | None) -> None:
        part = Part(total or 0, etag)
        self._shop.ledger.put(download.download_started(self._job, self._language, part, self._shop.now()))
        await self._shop.ledger.saved(self._id)

    # -- captions ------------------------------------------------------------------------------------------------------

    async def _captions(self) -> tuple[tuple[str, ...], Failure | None]:
        """Download the captions. Returns the paths of those that were saved, and the failure if one was not, which does not
        fail the dub. Raises KeyRejected."""
        saved: list[str] = []
        lacking = None
        for ending in CAPTIONS:
            path = output_path(self._job.source.path, self._language, self._job.outputs, ending)
            try:
                if await self._caption(path, ending):
                    saved.append(path)
            except KeyRejected:
                raise
            except Trouble as trouble:
                lacking = self._lacking(trouble)
            except OSError as error:  # from the output's volume
                lacking = self._lacking(disk_trouble(error))
        return tuple(saved), lacking

    def _lacking(self, trouble: Trouble) -> Failure:
        code = trouble.code if trouble.code in _OF_THE_DISK else "captions_failed"
        _log.info("no captions", extra={"job": self._id, "language": self._language, "code": trouble.code})
        return Failure(code, Scope.DOWNLOAD, self._shop.now(), trouble.detail)

    async def _caption(self, path: str, ending: str) -> bool:
        """Download one captions file. Returns False if the service offers none."""

        async def find(info: ProjectInfo | None) -> str:
            return await self._address(info, lambda found: str(getattr(found, ending)), needed=False)

        if not await find(self._shop.poller.latest(self._project)):
            return False
        part = f"{path}.part"
        async with holding(part):
            offered = False
            try:
                offered = await self._in_rounds(find, functools.partial(self._fetch_caption, part))
            finally:
                if not offered:
                    _remove(part)  # too small to be worth continuing
            if offered:
                await self._land_caption(part, path)
        return offered

    async def _fetch_caption(self, part: str, address: str) -> bool:
        if not address:
            return False
        await self._shop.downloader.fetch(address, part, limit=CAPTIONS_LIMIT)
        return True

    async def _land_caption(self, part: str, path: str) -> None:
        """Give captions their final name, after noting their time so that a later run recognises them as ours.

        A file with the same content counts as ours and is not overwritten.
        """
        same = await in_thread(_same_content, part, path)
        ours = await in_thread(captions_of_ours, self._job, self._language)
        time = (await in_thread(os.lstat, path if same else part)).st_mtime_ns
        self._shop.ledger.put(download.captions_landing(self._job, self._language, tuple(sorted({*ours.values(), time}))))
        await self._shop.ledger.saved(self._id)
        if same:
            await in_thread(complete_landing, part, path)
        else:
            await in_thread(land, part, path, replace=path in ours or await in_thread(_is_empty, path))

    # -- shared --------------------------------------------------------------------------------------------------------

    async def _address(self, info: ProjectInfo | None, pick: Callable[[LanguageInfo], str], *, needed: bool = True) -> str:
        """Returns a signed URL from `info` or from a fresh answer; "" if there is none and it is not `needed`.

        The service may withdraw a completion. Then asks again, up to `download_rounds` times: other downloads need the slot,
        and reads are limited. Raises Trouble("download_failed" | "project_not_found").
        """
        patience = self._shop.patience
        delay = patience.back_off * 2
        for _ in range(patience.download_rounds):
            if info is None:
                info = await self._ask()
            entry = alive(entries_of(info.languages, self._language, self._job.dubs), self._dub.video)
            address = pick(entry) if entry is not None else ""
            if address or (entry is not None and not needed):
                return address
            info = None
            await asyncio.sleep(delay)
            delay = min(delay * 2, patience.back_off_limit)
        raise Trouble("download_failed", "the service gives no address for it any more")

    async def _ask(self) -> ProjectInfo:
        delay = self._shop.patience.back_off
        while True:
            try:
                return await self._shop.poller.fresh(self._project)
            except Unavailable as trouble:
                await self._shop.pause_after(trouble, delay)
                delay = min(delay * 2, self._shop.patience.back_off_limit)
            except Refused as refusal:
                raise Trouble("project_not_found", refusal.detail) from refusal

    def _fail(self, trouble: Trouble) -> None:
        job = dub_states.failed(
            self._job, self._language, trouble.code, trouble.detail, Scope.DOWNLOAD, self._shop.now()
        )  # fmt: skip
        self._shop.ledger.put(job)

    async def _put_away(self) -> None:
        """Remove the part files of a cancelled dub. A download that is only interrupted keeps them."""
        if self._dub.state is DubState.CANCELLED:
            await detached(in_thread(remove_parts, self._job, self._language))


def clean_up(before: Job, job: Job) -> None:
    """Remove the part files of dubs that this change cancelled. A download in progress holds its part file and removes it
    itself."""
    for language, dub in job.dubs.items():
        old = before.dubs.get(language)
        if dub.state is DubState.CANCELLED and old is not None and old.part is not None:
            remove_parts(job, language)


def remove_leftovers(job: Job, languages: Iterable[str]) -> None:
    """Remove what downloads of dubs left that are taken out of the batch. A kill may have come between the cancel of one and
    its tidying up."""
    for language in languages:
        dub = job.dubs[language]
        if dub.part is not None or dub.state is DubState.CANCELLED:
            remove_parts(job, language)


def remove_parts(job: Job, language: str) -> None:
    """Remove a dub's part files, except those that a download holds."""
    for ending in ("mp4", *CAPTIONS):
        remove_part(f"{output_path(job.source.path, language, job.outputs, ending)}.part")


def _remove(path: str) -> None:
    """Remove a file if possible: one that stays only takes space and must not fail the dub."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def _is_empty(path: str) -> bool:
    return os.path.lexists(path) and taken_only(os.lstat(path))


def _same_content(left: str, right: str) -> bool:
    if os.path.islink(right) or not os.path.isfile(right) or os.path.getsize(left) != os.path.getsize(right):
        return False
    with open(left, "rb") as one, open(right, "rb") as other:
        return one.read() == other.read()
