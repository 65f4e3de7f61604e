"""Sends paid requests. The intent is on disk before a request is sent, and the outcome right after its answer.

A request that may have arrived is never repeated.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from synthdub_tui import languages as codes
from synthdub_tui.errors import SynthdubError
from synthdub_tui.jobs.language_entries import requested_spelling
from synthdub_tui.jobs.model import Job, Source
from synthdub_tui.jobs.moderation import is_moderation_refusal
from synthdub_tui.jobs.transitions import dub_states, source_changes, submission
from synthdub_tui.runner.output_preflight import select_writable_languages
from synthdub_tui.runner.source_preflight import select_acceptable_languages
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import WorkerContext
from synthdub_tui.sources.digest import FileChangedError, compute_digest
from synthdub_tui.sources.same_file import FileStamp, refresh_source, same_version, source_stamp
from synthdub_tui.synthesia.errors import (
    AccountError,
    InvalidApiKeyError,
    NotSentError,
    RequestRejectedError,
    UnknownOutcomeError,
)

_log = logging.getLogger(__name__)


class _WithdrawnError(SynthdubError):
    """The request is no longer wanted, and was not sent."""


class _SourceTouchedError(SynthdubError):
    """Only the time of the source has changed: its content must be read before anything is sent."""


class SubmitActivity:
    """One job's paid request: POST /v2/dubbing, or PUT to `project`."""

    def __init__(self, context: WorkerContext, job_id: str, languages: tuple[str, ...], project: str) -> None:
        self._context = context
        self._id = job_id
        self._languages = languages
        self._project = project
        self._receipt = ""  # id of the receipt of the request in progress

    @property
    def _job(self) -> Job:
        return self._context.live_jobs.jobs[self._id]

    async def run(self) -> None:
        """Send the request, again only after one that certainly never arrived. Ends at once during a pause.

        May be cancelled until the intent is recorded, see `_send_shielded`. Raises InvalidApiKeyError.
        """
        delay = self._context.backoff.initial_delay
        while not self._context.paused:
            try:
                if not await self._all_may_be_paid():
                    return  # not all of them: the worker starts a new request for the rest
                await self._send_shielded()
            except NotSentError as trouble:
                self._context.on_call_result(trouble)
                await self._context.sleep_before_retry(trouble, delay)
                delay = min(delay * 2, self._context.backoff.max_delay)
            except _SourceTouchedError:
                await self._compare()
            except AccountError:
                return  # the dubs stay waiting
            else:
                self._context.on_call_result(None)
                return

    async def _all_may_be_paid(self) -> bool:
        """Whether all of these languages may be paid for. Notes in the job why one may not."""
        if await select_acceptable_languages(self._context, self._id, self._languages) != self._languages:
            return False
        await self._context.payment_history.ensure_digest(self._id)  # before the intent, since it may take minutes
        if not await self._context.payment_history.recover_paid_languages(self._id, self._languages):
            return False
        if not await self._context.cross_batch_claims.claim_dubs(self._id, self._languages):
            return False
        # After the claim, since the batch that held it before may have just finished the output.
        return await select_writable_languages(self._context, self._id, self._languages) == self._languages

    async def _send_shielded(self) -> None:
        """Send the request in a task of its own, so that cancelling this one does not lose the answer to a paid request."""
        task = asyncio.create_task(self._send())
        self._context.paid_request_tasks.add(task)
        task.add_done_callback(self._context.paid_request_tasks.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._job.submission is None:
                task.cancel()  # still waiting for the rate limit: nothing was sent
            raise

    async def _send(self) -> None:
        try:
            async with self._context.account_gate.permit():
                await self._call_naming_file()
        except _WithdrawnError:
            return
        except (NotSentError, InvalidApiKeyError, AccountError):
            try:  # first the receipt, or the next try would mistake it for another process's
                await self._record_refused_in_receipt()
            finally:
                self._settle_unsent()
            raise
        except RequestRejectedError as refusal:
            try:
                await self._record_moderation_refusals(refusal.code, self._refused_languages(refusal) or {"": refusal.detail})
                await self._record_refused_in_receipt()
            finally:
                self._apply_refusal(refusal)
        except (UnknownOutcomeError, asyncio.CancelledError) as trouble:
            if self._job.submission is not None:
                _log.warning("outcome unknown", extra={"job": self._id, "languages": self._languages})
                await self._record_unknown_outcome(trouble.detail if isinstance(trouble, UnknownOutcomeError) else "")
            if isinstance(trouble, asyncio.CancelledError):
                raise
        except Exception:
            if self._job.submission is not None:
                await self._record_unknown_outcome()
            raise
        finally:
            await self._context.live_jobs.wait_until_saved(self._id)

    async def _call_naming_file(self) -> None:
        """Call the service, and add the file's name to a refusal of the account: the credits may suffice for a smaller file."""
        try:
            await self._call()
        except AccountError as refusal:
            if refusal is self._context.account_gate.refusal:  # about another file, before this one was sent
                raise
            raise AccountError(refusal.code, f"{self._job.name}: {refusal.detail}") from refusal

    async def _call(self) -> None:
        options, client = self._job.options, self._context.client
        if self._project:
            answer = await client.add_locales(
                self._project,
                targets=self._languages,
                lipsync=options.lipsync,
                video_duration=options.video_duration,
                visibility=options.visibility,
                before_send=self._record_intent,
            )
            videos = {self._own(info.language): info.video for info in answer.created}
            refused = {self._own(language): words for language, words in answer.refused}
            self._context.account_gate.note_acceptance()
            try:  # first the receipt: once the job has changed, this task is no longer wanted, and is cancelled
                await self._record_moderation_refusals("", refused)
                await self._record_accepted_in_receipt(self._project, refused)
            finally:
                self._context.live_jobs.update(submission.record_locales_added(self._job, videos, refused, self._context.now()))
            return
        asset = self._job.asset
        if asset is None:
            raise dub_states.IllegalTransitionError(f"{self._id} has no asset")
        project = await client.create_dubbing(
            title=options.title,
            asset=asset.id,
            source_language=asset.language if options.source_language == codes.AUTO_DETECT else options.source_language,
            targets=self._languages,
            lipsync=options.lipsync,
            video_duration=options.video_duration,
            visibility=options.visibility,
            before_send=self._record_intent,
        )
        self._context.account_gate.note_acceptance()
        try:
            await self._record_accepted_in_receipt(project)
        finally:
            self._context.live_jobs.update(submission.record_project_created(self._job, project, self._context.now()))

    async def _record_intent(self) -> None:
        """Record job and receipt. The client calls this right before it sends, when rate limit and key allow the request.

        Raises _Withdrawn, _Touched, AccountError or NotSentError if the request must not be sent.
        """
        await self._check_source()
        self._context.account_gate.raise_if_refused()
        job = self._job
        if self._context.paused or not set(self._languages) <= set(job.unsent_languages):
            raise _WithdrawnError  # paused, cancelled or held during the wait for the rate limit
        self._context.live_jobs.update(submission.record_intent(job, self._languages, self._project, self._context.now()))
        await self._context.live_jobs.wait_until_saved(self._id)
        self._receipt = await self._context.payment_history.record_intent(self._id, self._languages, self._project)
        if not self._receipt:
            self._settle_unsent()
            raise _WithdrawnError  # a receipt says that a language was paid for, or refused by moderation, meanwhile

    async def _record_accepted_in_receipt(self, project: str, refused: Iterable[str] = ()) -> None:
        await self._context.payment_history.record_accepted(self._job, self._receipt, project)
        if refused:
            await self._context.payment_history.record_refused(self._job, self._receipt, refused)

    async def _record_unknown_outcome(self, detail: str = "") -> None:
        """Note in receipt and job that the outcome of the request is unknown."""
        try:
            if self._receipt:
                await self._context.payment_history.record_unknown_outcome(self._job, self._receipt)
        finally:
            self._context.live_jobs.update(submission.record_unknown_outcome(self._job, self._context.now(), detail))

    async def _record_refused_in_receipt(self) -> None:
        if self._receipt:
            await self._context.payment_history.record_refused(self._job, self._receipt)
            self._receipt = ""

    async def _check_source(self) -> None:
        """Check that the uploaded version is the one that the user has now, since only that may be paid for.

        Raises _Withdrawn if a new version must be uploaded first, or _Touched. A missing source is accepted: the user may have
        deleted it after the upload.
        """
        now = await in_thread(_stamp_now, self._job.source.path)
        known = self._job.source
        if now is None or same_version(source_stamp(known), now):
            return
        if now.size == known.size and known.digest:
            raise _SourceTouchedError
        self._replace(refresh_source(known, now))
        raise _WithdrawnError

    def _replace(self, source: Source) -> None:
        _log.info("source replaced", extra={"job": self._id})
        self._context.live_jobs.update(source_changes.replace_source(self._job, source))

    async def _compare(self) -> None:
        """Read the source, which may take minutes. Keeps the upload if the content is the same, else replaces the source."""
        known, stop = self._job.source, threading.Event()
        async with self._context.source_read_lock:
            try:
                now = await in_thread(_read, known, stop)
            finally:
                stop.set()
        if self._job.source != known:
            return  # the source was examined elsewhere meanwhile
        if now.digest == known.digest:
            self._context.live_jobs.update(source_changes.update_source_time(self._job, now))
        else:
            self._replace(now)

    def _settle_unsent(self) -> None:
        if self._job.submission is not None:
            self._context.live_jobs.update(submission.record_not_sent(self._job))

    async def _record_moderation_refusals(self, code: str, said: Mapping[str, str]) -> None:
        """Note moderation's refusals in the receipt, for other batches. `said`: language ("" for the whole request) → words."""
        for about, words in said.items():
            if self._receipt and is_moderation_refusal(code, words):
                await self._context.payment_history.record_moderation_refusal(self._job, self._receipt, about, words)

    def _apply_refusal(self, refusal: RequestRejectedError) -> None:
        job = self._job
        if job.submission is None:  # the client refused it before the intent was recorded
            job = submission.record_intent(job, self._languages, self._project, self._context.now())
        named = self._refused_languages(refusal)
        self._context.live_jobs.update(
            submission.record_rejected(job, refusal.code, refusal.detail, named, self._context.now())
        )

    def _refused_languages(self, refusal: RequestRejectedError) -> dict[str, str]:
        """Returns language → words for each language that the service names in a refusal."""
        return {self._own(language): words or refusal.detail for language, words in refusal.languages if language}

    def _own(self, language: str) -> str:
        """Returns the job's spelling of a language in the answer."""
        return requested_spelling(language, self._languages)


def _stamp_now(path: str) -> FileStamp | None:
    """Returns the file's stamp; None if the file is gone or cannot be examined."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileStamp(status.st_size, status.st_mtime_ns)


def _read(source: Source, stop: threading.Event) -> Source:
    """Returns the source with its present time and the digest of its content. Blocking.

    The digest is empty if the source cannot be read or changes meanwhile. A source that is gone is returned as it was.
    """
    now = _stamp_now(source.path)
    if now is None:
        return source
    try:
        digest = compute_digest(source.path, size=now.size, stop=stop.is_set)
    except (OSError, FileChangedError):
        digest = ""
    return replace(source, size=now.size, mtime_ns=now.mtime_ns, digest=digest)
