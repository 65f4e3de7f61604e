"""Delivers a source to the service: creates the asset, uploads the file and waits until the service can dub it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import cast

from synthdub_tui import languages
from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import Job, Source
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions import source_changes, submission, upload
from synthdub_tui.runner.output_preflight import select_writable_languages
from synthdub_tui.runner.source_preflight import select_acceptable_languages, warn_if_header_unreadable
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import WorkerContext
from synthdub_tui.sources.same_file import FileStamp, refresh_source, same_version, source_stamp
from synthdub_tui.sources.settle import may_be_changing
from synthdub_tui.synthesia.errors import AccountError, RequestRejectedError
from synthdub_tui.synthesia.schema import AssetCreated, AssetInfo, AssetStatus
from synthdub_tui.transfer.upload import UnconfirmedUploadError, UploadTarget

_log = logging.getLogger(__name__)

_CODES_FIXED_BY_NEW_ASSET = frozenset({"credentials_expired", "upload_denied"})
"""Upload troubles that a new asset may fix, since it comes with new credentials."""


class UploadActivity:
    """Takes one job to a ready asset. Nothing here costs credits, so every step may be repeated."""

    def __init__(self, context: WorkerContext, job_id: str) -> None:
        self._context = context
        self._id = job_id

    @property
    def _job(self) -> Job:
        return self._context.live_jobs.jobs[self._id]

    async def run(self) -> None:
        """Ends when the asset is ready, when the waiting dubs have failed, or when a pause or the account forbids to start.

        Raises ProblemError("key_rejected" | "no_key").
        """
        try:
            while self._job.unsent_languages and not (self._job.asset and self._job.asset.ready):
                if self._context.paused and self._job.asset is None:
                    return
                await self._step()
        except AccountError as refusal:
            self._context.account_gate.note_refusal(refusal)
        except ProblemError as trouble:
            if trouble.code in ("key_rejected", "no_key"):
                raise
            self._fail(trouble)
        except Exception:
            self._fail(ProblemError("internal"))
            raise
        finally:
            self._context.live_jobs.update(upload.requeue_upload(self._job))

    async def _step(self) -> None:
        asset = self._job.asset
        if asset is None:
            await self._create_and_upload()
        elif not asset.uploaded:
            await self._check_interrupted()
        else:
            await self._await_ready()

    def _fail(self, trouble: ProblemError) -> None:
        self._context.live_jobs.update(
            source_changes.fail_unsent_dubs(self._job, trouble.code, trouble.detail, self._context.now())
        )

    # -- a new asset ---------------------------------------------------------------------------------------------------

    async def _create_and_upload(self) -> None:
        """Create the asset and upload within one upload slot, since its credentials are short-lived."""
        async with self._context.upload_slots.hold_slot(self._job.source.size):
            self._context.account_gate.raise_if_refused()
            if not await self._use_current_source() or not await select_acceptable_languages(self._context, self._id):
                return
            await self._context.payment_history.recover_paid_languages(self._id, self._job.unsent_languages)
            if not self._job.unsent_languages or not (ready := await select_writable_languages(self._context, self._id)):
                return
            await self._context.cross_batch_claims.claim_dubs(self._id, ready)
            if not self._job.unsent_languages:
                return
            if not self._job.uploads:
                await warn_if_header_unreadable(self._context, self._id)
            self._context.live_jobs.update(upload.start_preparing(self._job))
            created = await self._create_asset()
            self._context.live_jobs.update(upload.record_asset_created(self._job, created.id, self._context.now()))
            await self._context.live_jobs.wait_until_saved(self._id)
            await self._upload(created)

    async def _use_current_source(self) -> bool:
        """Adopt the present version of the source, since nothing was uploaded yet.

        Returns False if a new version may still be written; the job then waits until the file is complete. Raises
        ProblemError("source_missing" | "source_unreadable" | "source_empty").
        """
        status = await in_thread(_stat_source, self._job.source)
        job, now = self._job, FileStamp(status.st_size, status.st_mtime_ns)
        changed = not same_version(source_stamp(job.source), now)
        if changed and may_be_changing(
            status.st_mtime_ns, status.st_ctime_ns, self._context.now(), self._context.settle_seconds
        ):
            self._context.live_jobs.update(source_changes.mark_unsettled(job))
            return False
        self._context.live_jobs.update(with_current_source(job, now))
        return True

    async def _create_asset(self) -> AssetCreated:
        job = self._job
        title, kind, size = job.options.title, job.source.content_type, job.source.size
        call = self._context.retry_until_answered(
            lambda: self._context.client.create_asset(title=title, content_type=kind, size=size), retry_unknown_outcome=True
        )
        return cast(AssetCreated, await call)

    async def _upload(self, created: AssetCreated) -> None:
        source, keys = self._job.source, created.credentials
        target = UploadTarget(
            keys.access_key_id, keys.secret_access_key, keys.session_token, keys.bucket, keys.key
        )  # fmt: skip
        try:
            digest = await self._upload_with_retries(source, target)
        except ProblemError as trouble:
            await self._drop_asset_or_raise(trouble)
        else:
            self._context.live_jobs.update(upload.record_asset_uploaded(self._job, digest))
            await self._context.live_jobs.wait_until_saved(self._id)
        finally:
            self._context.clear_stall(self._id, "")
            self._context.transfer_stats.note_end(self._id, "")

    async def _upload_with_retries(self, source: Source, target: UploadTarget) -> str:
        """Upload the source and return the digest of its content. Waits for storage that is unavailable for some minutes, since
        the credentials last longer."""
        patience = self._context.backoff
        left, delay = patience.max_upload_attempts, patience.upload_retry_delay
        while True:
            left -= 1
            try:
                return await self._context.uploader.upload(
                    source, target, lambda sent: self._context.transfer_stats.note_progress(self._id, "", sent, source.size)
                )
            except ProblemError as trouble:
                if trouble.code != "upload_failed" or left <= 0:
                    raise
                await self._context.report_stall_and_wait(self._id, "", trouble, delay)
                if isinstance(trouble, UnconfirmedUploadError) and await self._arrived():
                    return trouble.digest
                delay = min(delay * 2, patience.max_delay)

    async def _drop_asset_or_raise(self, trouble: ProblemError) -> None:
        changed = (
            trouble.code == "source_changed" and self._context.settle_seconds > 0
        )  # during the upload: still being written
        if not (changed or trouble.code in _CODES_FIXED_BY_NEW_ASSET) or self._job.uploads >= submission.MAX_UPLOAD_ATTEMPTS:
            raise trouble
        _log.info("upload again", extra={"job": self._id, "code": trouble.code})
        dropped = upload.drop_asset(self._job)
        self._context.live_jobs.update(source_changes.mark_unsettled(dropped) if changed else dropped)
        if trouble.code != "credentials_expired":
            await asyncio.sleep(self._context.backoff.upload_retry_delay)

    # -- an asset that is there ----------------------------------------------------------------------------------------

    async def _check_interrupted(self) -> None:
        """The last run ended during the upload: ask the service whether the whole file arrived."""
        if await self._arrived():
            self._context.live_jobs.update(upload.record_asset_uploaded(self._job))
        else:
            self._context.live_jobs.update(upload.drop_asset(self._job))

    async def _arrived(self) -> bool:
        """Whether the service has received the whole file."""
        info = await self._get_asset()
        return info is not None and info.status in (AssetStatus.PROCESSING, AssetStatus.READY)

    async def _await_ready(self) -> None:
        """Ask until the service has processed the file. After `asset_ready_timeout` seconds treat it as ready, whatever its
        status.

        Raises ProblemError with the code of the asset's error, "asset_not_uploaded" or "language_unknown".
        """
        patience = self._context.backoff
        started, wait = time.monotonic(), patience.asset_poll_initial_delay
        while True:
            info = await self._get_asset()
            waited = time.monotonic() - started
            if info is None:
                raise ProblemError("asset_not_uploaded", "the service does not know the asset any more")
            if info.status is AssetStatus.READY or self._is_usable(info) or waited > patience.asset_ready_timeout:
                self._context.live_jobs.update(upload.record_asset_ready(self._job, self._source_language(info)))
                return
            if info.status is AssetStatus.ERROR:
                raise ProblemError(_asset_code(info.error_code), info.error_code)
            if info.status is AssetStatus.AWAITING_UPLOAD and waited > patience.asset_unseen_timeout:
                raise ProblemError("asset_not_uploaded")
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, patience.asset_poll_max_delay)

    def _is_usable(self, info: AssetInfo) -> bool:
        """Whether the asset is usable despite its error: the service could not detect the language, but the user named it."""
        named = self._job.options.source_language != languages.AUTO_DETECT
        return named and info.status is AssetStatus.ERROR and info.error_code == "language_detect"

    def _source_language(self, info: AssetInfo) -> str:
        """Returns the detected language in the service's spelling, or "". Raises ProblemError("language_unknown") if there is
        none but the source language is `auto`."""
        found = languages.canonical_code(info.language, languages.INPUT_CODES) if info.language else None
        if self._job.options.source_language == languages.AUTO_DETECT and not found:
            raise ProblemError("language_unknown", info.language)
        return found or ""

    async def _get_asset(self) -> AssetInfo | None:
        """Returns the asset as the service reports it; None if the service refuses the request."""
        asset = self._job.asset
        if asset is None:
            return None
        try:
            return cast(AssetInfo, await self._context.retry_until_answered(lambda: self._context.client.get_asset(asset.id)))
        except RequestRejectedError as refusal:
            _log.info("asset refused", extra={"job": self._id, "status": refusal.status})
            return None


def with_current_source(job: Job, now: FileStamp) -> Job:
    """Returns the job with its source as it is now: either another version, or the same one with a more precise time."""
    source = refresh_source(job.source, now)
    if same_version(source_stamp(job.source), now):
        return source_changes.update_source_time(job, source)
    return source_changes.replace_source(job, source)


def _stat_source(source: Source) -> os.stat_result:
    """Returns the file's status. Raises ProblemError("source_missing" | "source_unreadable" | "source_empty")."""
    try:
        status = os.stat(source.path)
    except FileNotFoundError as error:
        raise ProblemError("source_missing", source.path) from error
    except OSError as error:
        raise ProblemError("source_unreadable", error.strerror or "") from error
    if status.st_size == 0:
        raise ProblemError("source_empty", source.path)
    return status


def _asset_code(code: str) -> str:
    return code if code in ("asset_upload", "language_detect", MODERATION) else "asset_unknown_error"
