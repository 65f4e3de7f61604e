"""Delivers a source to the service: creates the asset, uploads the file and waits until the service can dub it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import cast

from synthdub_tui import languages
from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.model import Job, Source
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions import source_changes, submission, upload
from synthdub_tui.runner.output_preflight import ready_to_write
from synthdub_tui.runner.source_preflight import warn_if_unreadable, worth_sending
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import Workshop
from synthdub_tui.sources.same_file import Stamp, same_version, seen_as, stamp_of
from synthdub_tui.sources.settle import suspect
from synthdub_tui.synthesia.errors import AccountRefused, Refused
from synthdub_tui.synthesia.schema import AssetCreated, AssetInfo, AssetStatus
from synthdub_tui.transfer.upload import Unconfirmed, UploadTarget

_log = logging.getLogger(__name__)

_AGAIN = frozenset({"credentials_expired", "upload_denied"})
"""Upload troubles that a new asset may fix, since it comes with new credentials."""


class Delivery:
    """Takes one job to a ready asset. Nothing here costs credits, so every step may be repeated."""

    def __init__(self, shop: Workshop, job_id: str) -> None:
        self._shop = shop
        self._id = job_id

    @property
    def _job(self) -> Job:
        return self._shop.ledger.jobs[self._id]

    async def run(self) -> None:
        """Ends when the asset is ready, when the waiting dubs have failed, or when a pause or the account forbids to start.

        Raises Trouble("key_rejected" | "no_key").
        """
        try:
            while self._job.unsent and not (self._job.asset and self._job.asset.ready):
                if self._shop.paused and self._job.asset is None:
                    return
                await self._step()
        except AccountRefused as refusal:
            self._shop.account.refuse(refusal)
        except Trouble as trouble:
            if trouble.code in ("key_rejected", "no_key"):
                raise
            self._fail(trouble)
        except Exception:
            self._fail(Trouble("internal"))
            raise
        finally:
            self._shop.ledger.put(upload.queued_again(self._job))

    async def _step(self) -> None:
        asset = self._job.asset
        if asset is None:
            await self._deliver()
        elif not asset.uploaded:
            await self._check_interrupted()
        else:
            await self._await_ready()

    def _fail(self, trouble: Trouble) -> None:
        self._shop.ledger.put(source_changes.source_failed(self._job, trouble.code, trouble.detail, self._shop.now()))

    # -- a new asset ---------------------------------------------------------------------------------------------------

    async def _deliver(self) -> None:
        """Create the asset and upload within one upload slot, since its credentials are short-lived."""
        async with self._shop.uploads.turn(self._job.source.size):
            self._shop.account.check()
            if not await self._adopt_source() or not await worth_sending(self._shop, self._id):
                return
            await self._shop.paid_before.clear(self._id, self._job.unsent)
            if not self._job.unsent or not (ready := await ready_to_write(self._shop, self._id)):
                return
            await self._shop.shared_claims.take(self._id, ready)
            if not self._job.unsent:
                return
            if not self._job.uploads:
                await warn_if_unreadable(self._shop, self._id)
            self._shop.ledger.put(upload.preparing(self._job))
            created = await self._create_asset()
            self._shop.ledger.put(upload.asset_created(self._job, created.id, self._shop.now()))
            await self._shop.ledger.saved(self._id)
            await self._upload(created)

    async def _adopt_source(self) -> bool:
        """Adopt the present version of the source, since nothing was uploaded yet.

        Returns False if a new version may still be written; the job then waits until the file is complete. Raises
        Trouble("source_missing" | "source_unreadable" | "source_empty").
        """
        status = await in_thread(_look_at, self._job.source)
        job, now = self._job, Stamp(status.st_size, status.st_mtime_ns)
        changed = not same_version(stamp_of(job.source), now)
        if changed and suspect(status.st_mtime_ns, status.st_ctime_ns, self._shop.now(), self._shop.settle):
            self._shop.ledger.put(source_changes.unsettled(job))
            return False
        self._shop.ledger.put(adopted(job, now))
        return True

    async def _create_asset(self) -> AssetCreated:
        job = self._job
        title, kind, size = job.options.title, job.source.content_type, job.source.size
        call = self._shop.reach(
            lambda: self._shop.client.create_asset(title=title, content_type=kind, size=size), unclear_too=True
        )
        return cast(AssetCreated, await call)

    async def _upload(self, created: AssetCreated) -> None:
        source, keys = self._job.source, created.credentials
        target = UploadTarget(
            keys.access_key_id, keys.secret_access_key, keys.session_token, keys.bucket, keys.key
        )  # fmt: skip
        try:
            digest = await self._send(source, target)
        except Trouble as trouble:
            await self._upload_again(trouble)
        else:
            self._shop.ledger.put(upload.asset_uploaded(self._job, digest))
            await self._shop.ledger.saved(self._id)
        finally:
            self._shop.outlasted(self._id, "")
            self._shop.meters.ended(self._id, "")

    async def _send(self, source: Source, target: UploadTarget) -> str:
        """Upload the source and return the digest of its content. Waits for storage that is unavailable for some minutes, since
        the credentials last longer."""
        patience = self._shop.patience
        left, delay = patience.upload_rounds, patience.upload_pause
        while True:
            left -= 1
            try:
                return await self._shop.uploader.upload(
                    source, target, lambda sent: self._shop.meters.moved(self._id, "", sent, source.size)
                )
            except Trouble as trouble:
                if trouble.code != "upload_failed" or left <= 0:
                    raise
                await self._shop.outlast(self._id, "", trouble, delay)
                if isinstance(trouble, Unconfirmed) and await self._arrived():
                    return trouble.digest
                delay = min(delay * 2, patience.back_off_limit)

    async def _upload_again(self, trouble: Trouble) -> None:
        changed = trouble.code == "source_changed" and self._shop.settle > 0  # during the upload: still being written
        if not (changed or trouble.code in _AGAIN) or self._job.uploads >= submission.UPLOAD_LIMIT:
            raise trouble
        _log.info("upload again", extra={"job": self._id, "code": trouble.code})
        dropped = upload.asset_dropped(self._job)
        self._shop.ledger.put(source_changes.unsettled(dropped) if changed else dropped)
        if trouble.code != "credentials_expired":
            await asyncio.sleep(self._shop.patience.upload_pause)

    # -- an asset that is there ----------------------------------------------------------------------------------------

    async def _check_interrupted(self) -> None:
        """The last run ended during the upload: ask the service whether the whole file arrived."""
        if await self._arrived():
            self._shop.ledger.put(upload.asset_uploaded(self._job))
        else:
            self._shop.ledger.put(upload.asset_dropped(self._job))

    async def _arrived(self) -> bool:
        """Whether the service has received the whole file."""
        info = await self._look()
        return info is not None and info.status in (AssetStatus.PROCESSING, AssetStatus.READY)

    async def _await_ready(self) -> None:
        """Ask until the service has processed the file. After `asset_limit` seconds treat it as ready, whatever its status.

        Raises Trouble with the code of the asset's error, "asset_not_uploaded" or "language_unknown".
        """
        patience = self._shop.patience
        started, wait = time.monotonic(), patience.asset_first
        while True:
            info = await self._look()
            waited = time.monotonic() - started
            if info is None:
                raise Trouble("asset_not_uploaded", "the service does not know the asset any more")
            if info.status is AssetStatus.READY or self._good_enough(info) or waited > patience.asset_limit:
                self._shop.ledger.put(upload.asset_ready(self._job, self._source_language(info)))
                return
            if info.status is AssetStatus.ERROR:
                raise Trouble(_asset_code(info.error_code), info.error_code)
            if info.status is AssetStatus.AWAITING_UPLOAD and waited > patience.asset_unseen:
                raise Trouble("asset_not_uploaded")
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, patience.asset_longest)

    def _good_enough(self, info: AssetInfo) -> bool:
        """Whether the asset is usable despite its error: the service could not detect the language, but the user named it."""
        named = self._job.options.source_language != languages.AUTO
        return named and info.status is AssetStatus.ERROR and info.error_code == "language_detect"

    def _source_language(self, info: AssetInfo) -> str:
        """Returns the detected language in the service's spelling, or "". Raises Trouble("language_unknown") if there is none
        but the source language is `auto`."""
        found = languages.canonical(info.language, languages.INPUT) if info.language else None
        if self._job.options.source_language == languages.AUTO and not found:
            raise Trouble("language_unknown", info.language)
        return found or ""

    async def _look(self) -> AssetInfo | None:
        """Returns the asset as the service reports it; None if the service refuses the request."""
        asset = self._job.asset
        if asset is None:
            return None
        try:
            return cast(AssetInfo, await self._shop.reach(lambda: self._shop.client.get_asset(asset.id)))
        except Refused as refusal:
            _log.info("asset refused", extra={"job": self._id, "status": refusal.status})
            return None


def adopted(job: Job, now: Stamp) -> Job:
    """Returns the job with its source as it is now: either another version, or the same one with a more precise time."""
    source = seen_as(job.source, now)
    if same_version(stamp_of(job.source), now):
        return source_changes.source_adopted(job, source)
    return source_changes.source_replaced(job, source)


def _look_at(source: Source) -> os.stat_result:
    """Returns the file's status. Raises Trouble("source_missing" | "source_unreadable" | "source_empty")."""
    try:
        status = os.stat(source.path)
    except FileNotFoundError as error:
        raise Trouble("source_missing", source.path) from error
    except OSError as error:
        raise Trouble("source_unreadable", error.strerror or "") from error
    if status.st_size == 0:
        raise Trouble("source_empty", source.path)
    return status


def _asset_code(code: str) -> str:
    return code if code in ("asset_upload", "language_detect", MODERATION) else "asset_unknown_error"
