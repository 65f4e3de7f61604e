"""The paid calls. The intent is on disk before a request goes out, the answer right after; in between nothing is repeated."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from synthdub_tui import languages as codes
from synthdub_tui.jobs import changes
from synthdub_tui.jobs.listing import own_spelling
from synthdub_tui.jobs.model import Job, Source
from synthdub_tui.jobs.moderation import is_moderation
from synthdub_tui.runner.header_check import worth_sending
from synthdub_tui.runner.outputs import ready_to_write
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.runner.workshop import Workshop
from synthdub_tui.sources.digest import FileChangedError, digest_of
from synthdub_tui.sources.same_file import Stamp, same_version, seen_as, stamp_of
from synthdub_tui.synthesia.errors import AccountRefused, KeyRejected, NotSent, Refused, Unclear

_log = logging.getLogger(__name__)


class _Withdrawn(Exception):
    """The request is not wanted any more, and was not sent."""


class _Touched(Exception):
    """Only the time of the source is another: before anything is sent, its content has to be read."""


class Submission:
    """One job's paid request: POST /v2/dubbing, or PUT to `project`."""

    def __init__(self, shop: Workshop, job_id: str, languages: tuple[str, ...], project: str) -> None:
        self._shop = shop
        self._id = job_id
        self._languages = languages
        self._project = project
        self._receipt = ""  # of the request under way

    @property
    def _job(self) -> Job:
        return self._shop.ledger.jobs[self._id]

    async def run(self) -> None:
        """Repeats only what certainly never arrived. May be cancelled until the intent is recorded, see `_send`."""
        delay = self._shop.patience.back_off
        while not self._shop.paused:
            try:
                if not await self._may_be_paid():
                    return  # not all of them: the plan now asks for the others
                await self._request()
            except NotSent as trouble:
                self._shop.on_trouble(trouble)
                await self._shop.pause_after(trouble, delay)
                delay = min(delay * 2, self._shop.patience.back_off_limit)
            except _Touched:
                await self._compare()
            except AccountRefused:
                return  # the dubs wait on
            else:
                self._shop.on_trouble(None)
                return

    async def _may_be_paid(self) -> bool:
        """Whether nothing speaks against paying for all of these languages; where something does, it is noted in the job."""
        if await worth_sending(self._shop, self._id, self._languages) != self._languages:
            return False
        await self._shop.paid_before.know_digest(self._id)  # now: it may take minutes, and the intent must not wait
        if not await self._shop.paid_before.clear(self._id, self._languages):
            return False
        if not await self._shop.shared_claims.take(self._id, self._languages):
            return False
        # Only now, since whoever held the claim until a moment ago has just finished the output.
        return await ready_to_write(self._shop, self._id, self._languages) == self._languages

    async def _request(self) -> None:
        """The request in a task of its own: cancelling this worker must not cut a paid request off from its answer."""
        task = asyncio.create_task(self._send())
        self._shop.critical.add(task)
        task.add_done_callback(self._shop.critical.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._job.submission is None:
                task.cancel()  # still waiting for the quota: nothing was sent
            raise

    async def _send(self) -> None:
        try:
            async with self._shop.account.turn():
                await self._asked_for()
        except _Withdrawn:
            return
        except (NotSent, KeyRejected, AccountRefused):
            try:  # first the receipt, or the next try would take its own for somebody else's
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
        """A refusal that holds for all names the file: another one may still be small enough for what credits are left."""
        try:
            await self._call()
        except AccountRefused as refusal:
            if refusal is self._shop.account.refusal:  # of another file, before this one was sent
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
            try:  # first the receipt: once the job has moved on, this task is not wanted any more, and cancelled
                await self._note_verdicts("", refused)
                await self._note_accepted(self._project, refused)
            finally:
                self._shop.ledger.put(changes.added(self._job, videos, refused, self._shop.now()))
            return
        asset = self._job.asset
        if asset is None:
            raise changes.IllegalMove(f"{self._id} has no asset")
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
            self._shop.ledger.put(changes.created(self._job, project, self._shop.now()))

    async def _record_intent(self) -> None:
        """Called by the client when quota and key allow the request, right before it is sent."""
        await self._check_source()
        self._shop.account.check()
        job = self._job
        if self._shop.paused or not set(self._languages) <= set(job.unsent):
            raise _Withdrawn  # paused, cancelled or held while the quota made it wait
        self._shop.ledger.put(changes.intend(job, self._languages, self._project, self._shop.now()))
        await self._shop.ledger.saved(self._id)
        self._receipt = await self._shop.paid_before.intend(self._id, self._languages, self._project)
        if not self._receipt:
            self._settle_unsent()
            raise _Withdrawn  # another process paid for one of them just now

    async def _note_accepted(self, project: str, refused: Iterable[str] = ()) -> None:
        await self._shop.paid_before.note_accepted(self._job, self._receipt, project)
        if refused:
            await self._shop.paid_before.note_refused(self._job, self._receipt, refused)

    async def _unclear(self, detail: str = "") -> None:
        """Nobody knows what became of the request."""
        try:
            if self._receipt:
                await self._shop.paid_before.note_unclear(self._job, self._receipt)
        finally:
            self._shop.ledger.put(changes.unclear(self._job, self._shop.now(), detail))

    async def _note_refused(self) -> None:
        if self._receipt:
            await self._shop.paid_before.note_refused(self._job, self._receipt)
            self._receipt = ""

    async def _check_source(self) -> None:
        """What is paid for is what the user has now. Raises _Withdrawn where that is to be uploaded first, or _Touched.

        A source that is gone may have been deleted because it was uploaded.
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
        self._shop.ledger.put(changes.source_replaced(self._job, source))

    async def _compare(self) -> None:
        """Read the source, which may take minutes, and go on with it or with what was uploaded."""
        known, stop = self._job.source, threading.Event()
        async with self._shop.reading:
            try:
                now = await in_thread(_read, known, stop)
            finally:
                stop.set()
        if self._job.source != known:
            return  # somebody else looked at it meanwhile
        if now.digest == known.digest:
            self._shop.ledger.put(changes.source_adopted(self._job, now))
        else:
            self._replace(now)

    def _settle_unsent(self) -> None:
        if self._job.submission is not None:
            self._shop.ledger.put(changes.not_sent(self._job))

    async def _note_verdicts(self, code: str, said: Mapping[str, str]) -> None:
        """Let other batches know what moderation refused. `said`: language, or empty for all of the request → words."""
        for about, words in said.items():
            if self._receipt and is_moderation(code, words):
                await self._shop.paid_before.note_verdict(self._job, self._receipt, about, words)

    def _refused(self, refusal: Refused) -> None:
        job = self._job
        if job.submission is None:  # found wrong by the client before the intent was recorded
            job = changes.intend(job, self._languages, self._project, self._shop.now())
        named = self._named(refusal)
        self._shop.ledger.put(changes.refused(job, refusal.code, refusal.detail, named, self._shop.now()))

    def _named(self, refusal: Refused) -> dict[str, str]:
        """The words about each language that the service names."""
        return {self._own(language): words or refusal.detail for language, words in refusal.languages if language}

    def _own(self, language: str) -> str:
        """The spelling under which the job knows a language of the answer."""
        return own_spelling(language, self._languages)


def _stamp_now(path: str) -> Stamp | None:
    """None where there is no such file any more, or nobody can tell."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)


def _read(source: Source, stop: threading.Event) -> Source:
    """The source with its present time and the digest of its content; that one is empty if it cannot be read or is just being
    written, and what was known of the source if it is gone."""
    now = _stamp_now(source.path)
    if now is None:
        return source
    try:
        digest = digest_of(source.path, size=now.size, stop=stop.is_set)
    except (OSError, FileChangedError):
        digest = ""
    return replace(source, size=now.size, mtime_ns=now.mtime_ns, digest=digest)
