"""Before a paid request: was this content paid for in this language already, or refused by moderation, by whichever batch?

Where a receipt says so, nothing is sent. The finished file, or else the project at the service, is taken up, which is free;
where neither is there any more, the dub is held (`already_paid`) until the user decides. `--force-new` and a retry that the
user agreed to pay for go past all of this. What moderation refused fails before it is sent, whatever its options; only consent
to that very dub goes past that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from synthdub_tui.jobs import changes
from synthdub_tui.jobs.model import NEVER, PAID, Dub, DubState, Hold, Job, Output, ProjectSeen, Scope, SeenState, WaitsFor
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.problems import Trouble
from synthdub_tui.runner.outputs import is_ours, make_folder
from synthdub_tui.runner.seen import seen_of
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.sources.digest import FileChangedError, digest_of, fingerprint
from synthdub_tui.sources.same_file import same_time
from synthdub_tui.store.receipts import Content, Receipt, Receipts, SavedOutput
from synthdub_tui.synthesia.errors import NotSent, Refused
from synthdub_tui.synthesia.quota import Priority
from synthdub_tui.synthesia.schema import ProjectInfo

if TYPE_CHECKING:
    from synthdub_tui.runner.workshop import Workshop

_log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS: Final = 2.0
"""Between two looks at a request that another process is just sending."""


class PaidBefore:
    """Receipts of the account, and what follows from them for a job."""

    def __init__(self, shop: Workshop, receipts: Receipts, state_dir: str) -> None:
        self._shop = shop
        self._receipts = receipts
        self._state_dir = state_dir

    def use_account(self, account: str) -> None:
        """Another key is in use from now on."""
        self._receipts.account = account

    # -- before a request ----------------------------------------------------------------------------------------------

    async def clear(self, job_id: str, languages: Iterable[str]) -> bool:
        """Look for these waiting languages in the projects that were asked for them, and in the receipts. Whether all of them
        are still to be paid for; the others were taken up, held or failed. Raises Trouble where the source cannot be read,
        KeyRejected, or OSError for the receipts."""
        await self._look_in_projects(job_id, [each for each in languages if _was_sent(self._job(job_id).dubs[each])])
        known: bool = await in_thread(self._receipts.any_of_size, self._job(job_id).source.size)
        if known:
            await self.know_digest(job_id)
            for language in languages:
                await self._look(job_id, language)
                await self._bar_moderated(job_id, language)
        return set(languages) <= set(self._job(job_id).unsent)

    async def intend(self, job_id: str, languages: tuple[str, ...], project: str) -> str:
        """Record a paid request before it is sent; its id. Empty where another process paid for one of its languages since
        `clear`. Raises Trouble("state_unwritable") where it cannot be recorded."""
        job = self._job(job_id)
        try:
            return await in_thread(
                self._receipts.intend,
                _content(job),
                languages,
                at=self._shop.now(),
                project=project,
                state_dir=self._state_dir,
                file=job.source.path,
                unless_paid={language: _agreed_at(job.dubs[language]) for language in languages},
                unless_moderated=[language for language in languages if MODERATION not in job.dubs[language].agreed],
            )
        except OSError as error:
            raise NotSent("state_unwritable", f"{error.strerror}: {error.filename or 'receipts'}") from error

    # -- after a request -----------------------------------------------------------------------------------------------
    # A line that cannot be written leaves the receipt as it is, which says "may have been paid": the safe side.

    async def note_accepted(self, job: Job, receipt: str, project: str) -> None:
        """The service accepted the request as, or into, that project."""
        await self._note(self._receipts.accepted, job.source.size, receipt, project)

    async def note_unclear(self, job: Job, receipt: str) -> None:
        """The answer to the request was lost."""
        await self._note(self._receipts.unclear, job.source.size, receipt)

    async def note_refused(self, job: Job, receipt: str, languages: Iterable[str] = ()) -> None:
        """It was not accepted, or not for these languages: nothing was billed."""
        await self._note(self._receipts.refused, job.source.size, receipt, tuple(languages))

    async def note_verdict(self, job: Job, receipt: str, about: str, words: str) -> None:
        """Moderation refused the request: the language `about`, or where that is empty the content as a whole."""
        await self._note(self._receipts.moderated, job.source.size, receipt, about, words)

    async def note_failures(self, before: Job, job: Job, project: str) -> None:
        """Languages that the service ended without a video since `before`."""
        for language, dub in job.dubs.items():
            failure = dub.failure
            if dub is before.dubs.get(language) or dub.state is not DubState.FAILED or failure is None:
                continue
            if dub.project == project and failure.scope in (Scope.LANGUAGE, Scope.PROJECT):
                if (failure.code, failure.scope) == (MODERATION, Scope.PROJECT):
                    await self._note(self._receipts.moderated_in, job.source.size, project, failure.detail)
                await self._note(self._receipts.failed, job.source.size, project, language, failure.code)
        for refusal in job.refused[len(before.refused) :]:
            await self._note_end(job.source.size, project, refusal.language, MODERATION, whole=not refusal.language)

    async def output_of(self, job: Job, language: str) -> Output | None:
        """The finished file of the dub's project, where another batch has saved it already under this very name."""
        return await in_thread(self._output_of, job, language)

    def _output_of(self, job: Job, language: str) -> Output | None:
        path = output_path(job.source.path, language, job.outputs)
        if not os.path.lexists(path) or is_ours(job.dubs[language], path):
            return None
        for receipt in self._receipts.find(_content(job)):
            saved = receipt.outputs.get(language)
            if saved is not None and receipt.project == job.dubs[language].project and (output := _output_at(path, saved)):
                return output
        return None

    def own_output(self, path: str, size: int) -> bool:
        """Whether a file is a copy of what we downloaded, whatever its name: never an input. Blocking. Raises OSError."""
        return self._receipts.is_ours(size, lambda: fingerprint(path))

    async def note_output(self, job: Job, language: str, output: Output) -> None:
        """A finished file is on disk."""
        times = changes.captions_ns(job.dubs[language])
        await self._note(self._save_output, _content(job), job.dubs[language].project, language, output.with_captions(times))

    def _save_output(self, content: Content, project: str, language: str, output: Output) -> None:
        saved = SavedOutput(
            id="",
            language=language,
            path=output.path,
            size=output.size,
            mtime_ns=output.mtime_ns,
            fingerprint=fingerprint(output.path),
            seconds=output.seconds,
            captions=output.captions,
            captions_ns=output.captions_ns,
        )
        self._receipts.saved(content, project, saved)

    async def _note(self, write: object, *arguments: object) -> None:
        try:
            await in_thread(write, *arguments)  # type: ignore[arg-type]
        except OSError as error:
            _log.warning("receipt not written", extra={"reason": error.strerror})

    # -- what was sent before, and is to be paid again -----------------------------------------------------------------

    async def _look_in_projects(self, job_id: str, languages: list[str]) -> None:
        """Ask each project once, also for several languages. As long as the service does not answer, nothing goes on."""
        for project, asked in (await self._projects_of(job_id, languages)).items():
            if not set(asked) & set(self._job(job_id).unsent):
                continue
            try:
                seen = await self._ask(project)
            except Refused as refusal:
                self._look_refused(job_id, asked, refusal)
                continue
            if seen is None:
                continue
            for language in asked:
                if code := changes.ended_as(seen, language):
                    size, whole = self._job(job_id).source.size, seen.state is SeenState.ERROR
                    await self._note_end(size, project, language, code, whole=whole)
                if language in self._job(job_id).unsent:
                    self._put(changes.looked(self._job(job_id), language, project, seen, self._shop.now()))

    async def _projects_of(self, job_id: str, languages: list[str]) -> dict[str, list[str]]:
        """Projects that may have a dub of these languages: its own, then those of receipts, unless the user went past these."""
        if not languages:
            return {}
        job = self._job(job_id)
        receipts = await in_thread(self._receipts.find, _content(job))
        projects: dict[str, list[str]] = {}
        for language in languages:
            dub = job.dubs[language]
            past = WaitsFor.ALREADY_PAID.value in dub.agreed
            known = [each.project for each in receipts if not past and each.was_for(language)]
            for project in dict.fromkeys(filter(None, (dub.project, *known))):
                projects.setdefault(project, []).append(language)
        return projects

    def _look_refused(self, job_id: str, languages: list[str], refusal: Refused) -> None:
        """An answer that tells nothing about the project is no reason to pay: the dubs wait for the user's next retry."""
        for language in languages:
            if language in self._job(job_id).unsent:
                now = self._shop.now()
                self._put(changes.failed(self._job(job_id), language, refusal.code, refusal.detail, Scope.SUBMISSION, now))

    async def recall(self, job_id: str, languages: Iterable[str]) -> None:
        """Of a request whose answer the job lost, the newest receipt may know the project: that is free to follow."""
        for language in languages:
            receipts = await in_thread(self._receipts.find, _content(self._job(job_id)))
            newest = next((each for each in receipts if each.was_for(language)), None)
            dub = self._job(job_id).dubs.get(language)
            if dub is not None and dub.state is DubState.UNKNOWN:
                project = newest.project if newest is not None else ""
                self._put(changes.recalled(self._job(job_id), language, project, self._shop.now()))

    # -- one language --------------------------------------------------------------------------------------------------

    async def _look(self, job_id: str, language: str) -> None:
        try:
            await in_thread(make_folder, self._job(job_id))
            if not await self._shop.claims.holds(self._job(job_id), language):
                return  # another job writes that file: this one fails before it is paid
        except Trouble:
            return  # the same
        while language in self._job(job_id).unsent:
            job = self._job(job_id)
            receipts = await in_thread(self._receipts.find, _content(job))
            agreed, now = _agreed_at(job.dubs[language]), self._shop.now()
            standing = [each for each in receipts if each.sent_since(agreed, now) and each.stands_for(language)]
            if not standing:
                return
            try:
                if await self._recovered(job_id, language, standing) or await self._taken_up(job_id, language, standing):
                    return
            except Refused as refusal:
                return self._look_refused(job_id, [language], refusal)
            if any(self._under_way(each) for each in standing):
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            elif all(each.stands_for(language) for each in standing):
                self._hold(job_id, language, standing[0])

    async def _bar_moderated(self, job_id: str, language: str) -> None:
        """Let the job know what moderation said of its content to another one, before which nothing goes out."""
        job = self._job(job_id)
        dub = job.dubs.get(language)
        if dub is None or dub.state is not DubState.WAITING or MODERATION in dub.agreed:
            return
        verdict = await in_thread(self._receipts.verdict, _content(job), language)
        if verdict is not None and self._job(job_id).source is job.source:
            about = "" if verdict.whole else language
            self._put(changes.moderated(self._job(job_id), about, verdict.words, self._shop.now()))

    async def _recovered(self, job_id: str, language: str, standing: list[Receipt]) -> bool:
        """Whether the finished file stands where it belongs."""
        job = self._job(job_id)
        path = output_path(job.source.path, language, job.outputs)
        for receipt in standing:
            saved = receipt.outputs.get(language)
            if saved is None or not (output := await in_thread(_output_at, path, saved)):
                continue
            if language in self._job(job_id).unsent:
                now, at = self._shop.now(), receipt.request.at
                self._put(changes.recovered(self._job(job_id), language, output, receipt.project, at, now))
            return True
        return False

    async def _taken_up(self, job_id: str, language: str, standing: list[Receipt]) -> bool:
        """Whether a project of these receipts has the language, going on or complete. Failures are noted in the receipts."""
        for receipt in standing:
            if not receipt.project:
                continue
            seen = await self._ask(receipt.project)
            if seen is not None and (code := changes.ended_as(seen, language)):
                await self._note_ended(self._job(job_id).source.size, receipt, language, code, seen)
            elif seen is not None or self._age(receipt) < self._shop.patience.new_project:
                if language in self._job(job_id).unsent:
                    now, at = self._shop.now(), receipt.request.at
                    self._put(changes.taken_up(self._job(job_id), language, receipt.project, at, now))
                return True
        return False

    async def _note_ended(self, size: int, receipt: Receipt, language: str, code: str, seen: ProjectSeen) -> None:
        """On disk where that can be written, and in any case for this process."""
        whole = seen.state is SeenState.ERROR
        await self._note_end(size, receipt.project, language, code, whole=whole)
        receipt.failed[language] = code
        if code == MODERATION:
            receipt.verdicts["" if whole else language] = ""

    async def _note_end(self, size: int, project: str, language: str, code: str, *, whole: bool) -> None:
        """In the receipts, that a project ended the language without a video, alone or as a whole."""
        if code == MODERATION and whole:
            await self._note(self._receipts.moderated_in, size, project, "")
        await self._note(self._receipts.failed, size, project, language, code)

    async def _ask(self, project: str) -> ProjectSeen | None:
        """The project as it is now; None where the service does not know it. Raises Refused for what tells neither."""
        client = self._shop.client
        try:
            found = await self._shop.reach(lambda: client.get_project(project, priority=Priority.USER))
            return seen_of(cast(ProjectInfo, found))
        except Refused as refusal:
            if refusal.code != "project_not_found":
                raise
            return None

    def _hold(self, job_id: str, language: str, receipt: Receipt) -> None:
        request = receipt.request
        detail = f"{request.file} in {request.state_dir}" + (f", project {receipt.project}" if receipt.project else "")
        hold = Hold(WaitsFor.ALREADY_PAID, request.at, detail)
        if language in self._job(job_id).unsent:
            self._put(changes.held(self._job(job_id), language, hold, receipt.project))

    def _under_way(self, receipt: Receipt) -> bool:
        """Whether its answer may still come, to this process or another one."""
        return not receipt.project and not receipt.unclear and self._age(receipt) < self._shop.patience.paid_answer

    def _age(self, receipt: Receipt) -> float:
        """Seconds since it was sent. One from the future comes of a clock that was put back, and counts as old."""
        age = self._shop.now() - receipt.request.at
        return age if age >= 0 else math.inf

    # -- shared --------------------------------------------------------------------------------------------------------

    async def know_digest(self, job_id: str) -> None:
        """Read the source whole where its content is not known: after it was uploaded by a runner that was killed, or before
        it is uploaded, where a source of its size was paid for."""
        source = self._job(job_id).source
        if source.digest:
            return
        try:
            digest = await in_thread(digest_of, source.path, size=source.size)
        except (OSError, FileChangedError) as error:  # uploaded, and deleted or changed since: what was sent cannot be told
            _log.info("content not known", extra={"job": job_id, "reason": str(error)})
            return
        job = self._job(job_id)
        if job.source is source:
            self._put(changes.digest_known(job, digest))

    def _job(self, job_id: str) -> Job:
        return self._shop.ledger.jobs[job_id]

    def _put(self, job: Job) -> None:
        self._shop.ledger.put(job)


def _content(job: Job) -> Content:
    return Content.of(job.source.size, job.source.digest, job.options)


def _was_sent(dub: Dub) -> bool:
    """Whether some project may have the dub already."""
    return bool(dub.project) or dub.next_rung in PAID


def _agreed_at(dub: Dub) -> float:
    """When the user said that this dub may be paid for, whatever was paid before; NEVER where he did not. What was paid later,
    he does not know of: an older copy of the state may hold a consent that was used since."""
    return dub.since if dub.next_rung in PAID or WaitsFor.ALREADY_PAID.value in dub.agreed else NEVER


def _output_at(path: str, saved: SavedOutput) -> Output | None:
    """The finished file with its captions, as far as they stand there as they were saved."""
    try:
        status = os.lstat(path)
        if status.st_size != saved.size or fingerprint(path) != saved.fingerprint:
            return None
    except OSError:
        return None
    folder = os.path.dirname(path)
    places = [os.path.join(folder, os.path.basename(caption)) for caption in saved.captions]
    there = [(place, time) for place in places if (time := _time(place))]
    ours = [time for _, time in there if any(same_time(time, known) for known in saved.captions_ns)]
    return Output.of(
        path, status.st_size, status.st_mtime_ns, [place for place, _ in there], seconds=saved.seconds, captions_ns=ours
    )


def _time(path: str) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0
