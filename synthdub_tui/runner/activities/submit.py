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
from synthdub_tui.jobs.language_entries import own_spelling
from synthdub_tui.jobs.model import Job, Source
from synthdub_tui.jobs.moderation import is_moderation
from synthdub_tui.jobs.transitions import dub_states, source_changes, submission
from synthdub_tui.runner.output_preflight import ready_to_write
from synthdub_tui.runner.source_preflight import worth_sending
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.worker_context import Workshop
from synthdub_tui.sources.digest import FileChangedError, digest_of
from synthdub_tui.sources.same_file import Stamp, same_version, seen_as, stamp_of
from synthdub_tui.synthesia.errors import AccountRefused, KeyRejected, NotSent, Refused, Unclear

_log = logging.getLogger(__name__)


class _Withdrawn(Exception):
    """The request is no longer wanted, and was not sent."""


class _Touched(Exception):
    """Only the time of the source has changed: its content must be read before anything is sent."""


class Submission:
    """One job's paid request: POST /v2/dubbing, or PUT to `project`."""

    def __init__(self, shop: Workshop, job_id: str, languages: tuple[str, ...], project: str) -> None:
        self._shop = shop
        self._id = job_id
        self._languages = languages
        self._project = project
        self._receipt = ""  # id of the receipt of the request in progress

    @property
    def _job(self) -> Job:
        return self._shop.ledger.jobs[self._id]

    async def run(self) -> None:
        """Send the request, again only after one that certainly never arrived. Ends at once during a pause.

        May be cancelled until the intent is recorded, see `_request`. Raises KeyRejected.
        """
        delay = self._shop.patience.back_off
        while not self._shop.paused:
            try:
                if not await self._may_be_paid():
                    return  # not all of them: the worker starts a new request for the rest
                await self._request()
            except NotSent as trouble:
                self._shop.on_trouble(trouble)
                await self._shop.pause_after(trouble, delay)
                delay = min(delay * 2, self._shop.patience.back_off_limit)
            except _Touched:
                await self._compare()
            except AccountRefused:
                return  # the dubs stay waiting
            else:
                self._shop.on_trouble(None)
                return

    async def _may_be_paid(self) -> bool:
        """Whether all of these languages may be paid for. Notes in the job why one may not."""
        if await worth_sending(self._shop, self._id, self._languages) != self._languages:
            return False
        await self._shop.paid_before.know_digest(self._id)  # before the intent, since it may take minutes
        if not await self._shop.paid_before.clear(self._id, self._languages):
            return False
        if not await self._shop.shared_claims.take(self._id, self._languages):
            return False
        # After the claim, since the batch that held it before may have just finished the output.
        return await ready_to_write(self._shop, self._id, self._languages) == self._languages

    async def _request(self) -> None:
        """Send the request in a task of its own, so that cancelling this one does not lose the answer to a paid request."""
        task = asyncio.create_task(self._send())
        self._shop.critical.add(task)
        task.add_done_callback(self._shop.critical.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._job.submission is None:
                task.cancel()  # still waiting for the rate limit: nothing was sent
            raise

    async def _send(self) -> None:
        try:
            async with self._shop.account.turn():
                await self._asked_for()
        except _Withdrawn:
            return
        except (NotSent, KeyRejected, AccountRefused):
            try:  # first the receipt, or the next try would mistake it for another process's
                await self._note_refused()
            finally:
                self._settle_unsent()
            raise
        except Refused as refusal:
            try:
                await self._note_verdicts(refusal.code, self._named(refusal) or {"": refusal.detail})
                await self._note_refused()
            finally:
                self._refused(refusal)
        except (Unclear, asyncio.CancelledError) as trouble:
            if self._job.submission is not None:
                _log.warning("outcome unknown", extra={"job": self._id, "languages": self._languages})
                await self._unclear(trouble.detail if isinstance(trouble, Unclear) else "")
            if isinstance(trouble, asyncio.CancelledError):
                raise
        except Exception:
            if self._job.submission is not None:
                await self._unclear()
            raise
        finally:
            await self._shop.ledger.saved(self._id)

    async def _asked_for(self) -> None:
        """Call the service, and add the file's name to a refusal of the account: the credits may suffice for a smaller file."""
        try:
            await self._call()
        except AccountRefused as refusal:
            if refusal is self._shop.account.refusal:  # about another file, before this one was sent
                raise
            raise AccountRefused(refusal.code, f"{self._job.name}: {refusal.detail}") from refusal

    async def _call(self) -> None:
        options, client = self._job.options, self._shop.client
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
            self._shop.account.accept()
            try:  # first the receipt: once the job has changed, this task is no longer wanted, and is cancelled
                await self._note_verdicts("", refused)
                await self._note_accepted(self._project, refused)
            finally:
                self._shop.ledger.put(submission.added(self._job, videos, refused, self._shop.now()))
            return
        asset = self._job.asset
        if asset is None:
            raise dub_states.IllegalMove(f"{self._id} has no asset")
        project = await client.create_dubbing(
            title=options.title,
            asset=asset.id,
            source_language=asset.language if options.source_language == codes.AUTO else options.source_language,
            targets=self._languages,
            lipsync=options.lipsync,
            video_duration=options.video_duration,
            visibility=options.visibility,
            before_send=self._record_intent,
        )
        self._shop.account.accept()
        try:
            await self._note_accepted(project)
        finally:
            self._shop.ledger.put(submission.created(self._job, project, self._shop.now()))

    async def _record_intent(self) -> None:
        """Record job and receipt. The client calls this right before it sends, when rate limit and key allow the request.

        Raises _Withdrawn, _Touched, AccountRefused or NotSent if the request must not be sent.
        """
        await self._check_source()
        self._shop.account.check()
        job = self._job
        if self._shop.paused or not set(self._languages) <= set(job.unsent):
            raise _Withdrawn  # paused, cancelled or held during the wait for the rate limit
        self._shop.ledger.put(submission.intend(job, self._languages, self._project, self._shop.now()))
        await self._shop.ledger.saved(self._id)
        self._receipt = await self._shop.paid_before.intend(self._id, self._languages, self._project)
        if not self._receipt:
            self._settle_unsent()
            raise _Withdrawn  # a receipt says that a language was paid for, or refused by moderation, meanwhile

    async def _note_accepted(self, project: str, refused: Iterable[str] = ()) -> None:
        await self._shop.paid_before.note_accepted(self._job, self._receipt, project)
        if refused:
            await self._shop.paid_before.note_refused(self._job, self._receipt, refused)

    async def _unclear(self, detail: str = "") -> None:
        """Note in receipt and job that the outcome of the request is unknown."""
        try:
            if self._receipt:
                await self._shop.paid_before.note_unclear(self._job, self._receipt)
        finally:
            self._shop.ledger.put(submission.unclear(self._job, self._shop.now(), detail))

    async def _note_refused(self) -> None:
        if self._receipt:
            await self._shop.paid_before.note_refused(self._job, self._receipt)
            self._receipt = ""

    async def _check_source(self) -> None:
        """Check that the uploaded version is the one that the user has now, since only that may be paid for.

        Raises _Withdrawn if a new version must be uploaded first, or _Touched. A missing source is accepted: the user may have
        deleted it after the upload.
        """
        now = await in_thread(_stamp_now, self._job.source.path)
        known = self._job.source
        if now is None or same_version(stamp_of(known), now):
            return
        if now.size == known.size and known.digest:
            raise _Touched
        self._replace(seen_as(known, now))
        raise _Withdrawn

    def _replace(self, source: Source) -> None:
        _log.info("source replaced", extra={"job": self._id})
        self._shop.ledger.put(source_changes.source_replaced(self._job, source))

    async def _compare(self) -> None:
        """Read the source, which may take minutes. Keeps the upload if the content is the same, else replaces the source."""
        known, stop = self._job.source, threading.Event()
        async with self._shop.reading:
            try:
                now = await in_thread(_read, known, stop)
            finally:
                stop.set()
        if self._job.source != known:
            return  # the source was examined elsewhere meanwhile
        if now.digest == known.digest:
            self._shop.ledger.put(source_changes.source_adopted(self._job, now))
        else:
            self._replace(now)

    def _settle_unsent(self) -> None:
        if self._job.submission is not None:
            self._shop.ledger.put(submission.not_sent(self._job))

    async def _note_verdicts(self, code: str, said: Mapping[str, str]) -> None:
        """Note moderation's refusals in the receipt, for other batches. `said`: language ("" for the whole request) → words."""
        for about, words in said.items():
            if self._receipt and is_moderation(code, words):
                await self._shop.paid_before.note_verdict(self._job, self._receipt, about, words)

    def _refused(self, refusal: Refused) -> None:
        job = self._job
        if job.submission is None:  # the client refused it before the intent was recorded
            job = submission.intend(job, self._languages, self._project, self._shop.now())
        named = self._named(refusal)
        self._shop.ledger.put(submission.refused(job, refusal.code, refusal.detail, named, self._shop.now()))

    def _named(self, refusal: Refused) -> dict[str, str]:
        """Returns language → words for each language that the service names in a refusal."""
        return {self._own(language): words or refusal.detail for language, words in refusal.languages if language}

    def _own(self, language: str) -> str:
        """Returns the job's spelling of a language in the answer."""
        return own_spelling(language, self._languages)


def _stamp_now(path: str) -> Stamp | None:
    """Returns the file's stamp; None if the file is gone or cannot be examined."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def _read(source: Source, stop: threading.Event) -> Source:
    """Returns the source with its present time and the digest of its content. Blocking.

    The digest is empty if the source cannot be read or changes meanwhile. A source that is gone is returned as it was.
    """
    now = _stamp_now(source.path)
    if now is None:
        return source
    try:
        digest = digest_of(source.path, size=now.size, stop=stop.is_set)
    except (OSError, FileChangedError):
        digest = ""
    return replace(source, size=now.size, mtime_ns=now.mtime_ns, digest=digest)
