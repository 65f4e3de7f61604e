"""Downloads one language: video and captions. Each file gets its final name only when it is complete."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.language_entries import entries_of, usable_entry
from synthdub_tui.jobs.model import Dub, DubState, Failure, FailureScope, Job, Output, PartRecord
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.transitions import download, dub_states
from synthdub_tui.runner.output_preflight import (
    CAPTION_EXTENSIONS,
    check_writable,
    find_own_captions,
    is_complete_part,
    is_own_output,
    is_reserved_name,
)
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import WorkerContext
from synthdub_tui.sources import video_header
from synthdub_tui.synthesia.errors import InvalidApiKeyError, RequestRejectedError, ServiceUnavailableError
from synthdub_tui.synthesia.schema import LanguageInfo, ProjectInfo
from synthdub_tui.transfer.daemon_executor import await_detached
from synthdub_tui.transfer.download import DownloadedFile, UrlExpiredError
from synthdub_tui.transfer.part_file import complete_publishing, disk_error, lock_part, publish, remove_part

_log = logging.getLogger(__name__)

T = TypeVar("T")

FindUrl = Callable[[ProjectInfo | None], Awaitable[str]]
"""Returns the URL from an answer of the service, or from a fresh answer if there is None or the URL is not in it."""

MAX_CAPTIONS_BYTES: Final = 16 * 1024 * 1024
"""Largest captions file in bytes; hours of speech need some hundred kilobytes."""

_DISK_PROBLEM_CODES: Final = frozenset({"disk_full", "output_unwritable", "output_exists", "output_unmounted"})
_PERMANENT_PROBLEM_CODES: Final = _DISK_PROBLEM_CODES | {"download_address", "download_endless"}
"""Codes of troubles that an immediate retry cannot fix."""


class DownloadActivity:
    """Downloads one language of a job."""

    def __init__(self, context: WorkerContext, job_id: str, language: str) -> None:
        self._context = context
        self._id = job_id
        self._language = language
        job = context.live_jobs.jobs[job_id]
        self._final = output_path(job.source.path, language, job.outputs)
        self._part = f"{self._final}.part"
        self._project = job.dubs[language].project

    @property
    def _job(self) -> Job:
        return self._context.live_jobs.jobs[self._id]

    @property
    def _dub(self) -> Dub:
        return self._job.dubs[self._language]

    async def run(self) -> None:
        """Ends with the dub done or failed. An interrupted download leaves a part file to continue; a cancelled dub leaves
        nothing. Raises InvalidApiKeyError."""
        try:
            async with self._context.download_slots:
                await self._fetch_all()
        except asyncio.CancelledError:
            await self._remove_parts_if_cancelled()
            raise
        except InvalidApiKeyError:
            raise
        except ProblemError as trouble:
            self._fail(trouble)
        except OSError as error:  # from the output's volume, at any step: network errors are Troubles by now
            self._fail(disk_error(error))
        except Exception:
            self._fail(ProblemError("internal"))
            raise
        finally:
            self._context.clear_stall(self._id, self._language)
            self._context.transfer_stats.note_end(self._id, self._language)

    async def _fetch_all(self) -> None:
        if output := await self._context.payment_history.find_saved_output(self._job, self._language):
            return await self._note_done(output)
        await in_thread(check_writable, self._job, self._language)
        if not await in_thread(self._finish_interrupted_publish):
            await self._video()
        captions, lacking = await self._captions() if self._job.captions else ((), None)
        status = await in_thread(os.lstat, self._final)
        header = await in_thread(video_header.read_video_header, self._final)
        output = Output.of(self._final, status.st_size, status.st_mtime_ns, captions, seconds=header.seconds)
        await self._context.payment_history.record_output(self._job, self._language, output)
        await self._note_done(output, lacking)

    async def _note_done(self, output: Output, lacking: Failure | None = None) -> None:
        self._context.live_jobs.update(
            download.finish_download(self._job, self._language, output, self._context.now(), captions_failure=lacking)
        )
        await self._context.live_jobs.wait_until_saved(self._id)

    # -- the video -----------------------------------------------------------------------------------------------------

    async def _video(self) -> None:
        async with lock_part(self._part):
            await self._download_and_publish()

    async def _download_and_publish(self) -> None:
        fetched = await self._complete_part()
        if fetched is None:
            fetched = await self._retry_with_fresh_urls(self._video_address, self._fetch_video)
        replace = await in_thread(is_own_output, self._dub, self._final)
        self._context.live_jobs.update(download.record_publishing(self._job, self._language, fetched.size, fetched.mtime_ns))
        await self._context.live_jobs.wait_until_saved(
            self._id
        )  # from here on, a file of that size and time is recognised as ours
        await in_thread(publish, self._part, self._final, replace=replace)

    def _finish_interrupted_publish(self) -> bool:
        """Whether the last run gave the part file its final name but did not note it. Then also removes the part file, which
        may remain as a second link."""
        try:
            over = is_complete_part(self._dub, os.lstat(self._final))
        except FileNotFoundError:
            return False
        if over:
            complete_publishing(self._part, self._final)
        return over

    async def _complete_part(self) -> DownloadedFile | None:
        """Returns the part file of an earlier run if it is complete and lacks only its final name; else None."""
        part = self._dub.part
        if part is None or not part.mtime_ns:
            return None
        try:
            status = await in_thread(os.lstat, self._part)
        except FileNotFoundError:
            return None
        return DownloadedFile(part.size, part.etag, part.mtime_ns) if is_complete_part(self._dub, status) else None

    async def _retry_with_fresh_urls(self, find: FindUrl, fetch: Callable[[str], Awaitable[T]]) -> T:
        """Call `download` with a URL from `find`, up to `max_download_attempts` times. A URL that expired in the first round is
        replaced at once; every other failure is followed by a pause. Raises the last ProblemError, or at once one of
        `_PERMANENT_PROBLEM_CODES`."""
        patience = self._context.backoff
        delay = patience.initial_delay
        info = self._context.poller.latest(self._project)
        for attempt in range(patience.max_download_attempts):
            address = await find(info)
            try:
                return await fetch(address)
            except UrlExpiredError as expired:
                trouble: ProblemError = expired
            except ProblemError as caught:
                trouble = caught
                if trouble.code in _PERMANENT_PROBLEM_CODES:
                    raise
            _log.info("download again", extra={"job": self._id, "language": self._language, "code": trouble.code})
            if attempt or not isinstance(trouble, UrlExpiredError):
                await self._context.report_stall_and_wait(self._id, self._language, trouble, delay)
                delay = min(delay * 2, patience.max_delay)
            info = None
        raise trouble

    async def _video_address(self, info: ProjectInfo | None) -> str:
        return await self._find_url(info, lambda found: found.download)

    async def _fetch_video(self, address: str) -> DownloadedFile:
        before = self._dub.part or PartRecord(0)
        self._context.live_jobs.update(download.start_download(self._job, self._language, before, self._context.now()))
        return await self._context.downloader.download(
            address,
            self._part,
            etag=before.etag,
            is_complete=video_header.is_complete_mp4,
            on_start=self._note_start,
            on_progress=lambda done, total: self._context.transfer_stats.note_progress(
                self._id, self._language, done, total or 0
            ),
        )

    async def _note_start(self, etag: str, total: int | None) -> None:
        part = PartRecord(total or 0, etag)
        self._context.live_jobs.update(download.start_download(self._job, self._language, part, self._context.now()))
        await self._context.live_jobs.wait_until_saved(self._id)

    # -- captions ------------------------------------------------------------------------------------------------------

    async def _captions(self) -> tuple[tuple[str, ...], Failure | None]:
        """Download the captions. Returns the paths of those that were saved, and the failure if one was not, which does not
        fail the dub. Raises InvalidApiKeyError."""
        saved: list[str] = []
        lacking = None
        for ending in CAPTION_EXTENSIONS:
            path = output_path(self._job.source.path, self._language, self._job.outputs, ending)
            try:
                if await self._caption(path, ending):
                    saved.append(path)
            except InvalidApiKeyError:
                raise
            except ProblemError as trouble:
                lacking = self._captions_failure(trouble)
            except OSError as error:  # from the output's volume
                lacking = self._captions_failure(disk_error(error))
        return tuple(saved), lacking

    def _captions_failure(self, trouble: ProblemError) -> Failure:
        code = trouble.code if trouble.code in _DISK_PROBLEM_CODES else "captions_failed"
        _log.info("no captions", extra={"job": self._id, "language": self._language, "code": trouble.code})
        return Failure(code, FailureScope.DOWNLOAD, self._context.now(), trouble.detail)

    async def _caption(self, path: str, ending: str) -> bool:
        """Download one captions file. Returns False if the service offers none."""

        async def find(info: ProjectInfo | None) -> str:
            return await self._find_url(info, lambda found: str(getattr(found, ending)), needed=False)

        if not await find(self._context.poller.latest(self._project)):
            return False
        part = f"{path}.part"
        async with lock_part(part):
            offered = False
            try:
                offered = await self._retry_with_fresh_urls(find, functools.partial(self._fetch_caption, part))
            finally:
                if not offered:
                    _remove(part)  # too small to be worth continuing
            if offered:
                await self._publish_caption(part, path)
        return offered

    async def _fetch_caption(self, part: str, address: str) -> bool:
        if not address:
            return False
        await self._context.downloader.download(address, part, max_bytes=MAX_CAPTIONS_BYTES)
        return True

    async def _publish_caption(self, part: str, path: str) -> None:
        """Give captions their final name, after noting their time so that a later run recognises them as ours.

        A file with the same content counts as ours and is not overwritten.
        """
        same = await in_thread(_same_content, part, path)
        ours = await in_thread(find_own_captions, self._job, self._language)
        time = (await in_thread(os.lstat, path if same else part)).st_mtime_ns
        self._context.live_jobs.update(
            download.record_captions_publishing(self._job, self._language, tuple(sorted({*ours.values(), time})))
        )
        await self._context.live_jobs.wait_until_saved(self._id)
        if same:
            await in_thread(complete_publishing, part, path)
        else:
            await in_thread(publish, part, path, replace=path in ours or await in_thread(_is_empty, path))

    # -- shared --------------------------------------------------------------------------------------------------------

    async def _find_url(self, info: ProjectInfo | None, pick: Callable[[LanguageInfo], str], *, needed: bool = True) -> str:
        """Returns a signed URL from `info` or from a fresh answer; "" if there is none and it is not `needed`.

        The service may withdraw a completion. Then asks again, up to `max_download_attempts` times: other downloads need the
        slot, and reads are limited. Raises ProblemError("download_failed" | "project_not_found").
        """
        patience = self._context.backoff
        delay = patience.initial_delay * 2
        for _ in range(patience.max_download_attempts):
            if info is None:
                info = await self._get_fresh_project()
            entry = usable_entry(entries_of(info.languages, self._language, self._job.dubs), self._dub.video)
            address = pick(entry) if entry is not None else ""
            if address or (entry is not None and not needed):
                return address
            info = None
            await asyncio.sleep(delay)
            delay = min(delay * 2, patience.max_delay)
        raise ProblemError("download_failed", "the service gives no address for it any more")

    async def _get_fresh_project(self) -> ProjectInfo:
        delay = self._context.backoff.initial_delay
        while True:
            try:
                return await self._context.poller.get_fresh_project(self._project)
            except ServiceUnavailableError as trouble:
                await self._context.sleep_before_retry(trouble, delay)
                delay = min(delay * 2, self._context.backoff.max_delay)
            except RequestRejectedError as refusal:
                raise ProblemError("project_not_found", refusal.detail) from refusal

    def _fail(self, trouble: ProblemError) -> None:
        job = dub_states.fail_dub(
            self._job, self._language, trouble.code, trouble.detail, FailureScope.DOWNLOAD, self._context.now()
        )  # fmt: skip
        self._context.live_jobs.update(job)

    async def _remove_parts_if_cancelled(self) -> None:
        """Remove the part files of a cancelled dub. A download that is only interrupted keeps them."""
        if self._dub.state is DubState.CANCELLED:
            await await_detached(in_thread(remove_parts, self._job, self._language))


def remove_cancelled_parts(before: Job, job: Job) -> None:
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
    for ending in ("mp4", *CAPTION_EXTENSIONS):
        remove_part(f"{output_path(job.source.path, language, job.outputs, ending)}.part")


def _remove(path: str) -> None:
    """Remove a file if possible: one that stays only takes space and must not fail the dub."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def _is_empty(path: str) -> bool:
    return os.path.lexists(path) and is_reserved_name(os.lstat(path))


def _same_content(left: str, right: str) -> bool:
    if os.path.islink(right) or not os.path.isfile(right) or os.path.getsize(left) != os.path.getsize(right):
        return False
    with open(left, "rb") as one, open(right, "rb") as other:
        return one.read() == other.read()
