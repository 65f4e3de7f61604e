"""Checks before a paid request whether any batch has already paid for this content in this language, or met moderation.

If a receipt says that it was paid, nothing is sent. The job then uses the finished file, or else follows the project, which is
free. If neither exists any more, the dub is held (`already_paid`) until the user decides. `--force-new` and a retry with the
user's consent skip this check.

If moderation refused the content, the dub fails before it is sent, regardless of its options. Only consent to that very dub
skips this check.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, cast

from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import (
    NEVER,
    PAID_STEPS,
    Dub,
    DubState,
    FailureScope,
    Hold,
    Job,
    ObservedProject,
    ObservedStatus,
    Output,
    WaitReason,
)
from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.transitions import adoption, download, dub_states, holds, observation, source_changes
from synthdub_tui.runner.output_preflight import is_own_output, prepare_output_folder
from synthdub_tui.runner.project_observation import to_project_seen
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.sources.digest import FileChangedError, compute_digest, compute_fingerprint
from synthdub_tui.sources.same_file import same_time
from synthdub_tui.store.receipts import PaidContent, Receipt, Receipts, SavedOutput
from synthdub_tui.synthesia.errors import NotSentError, RequestRejectedError
from synthdub_tui.synthesia.rate_gate import Priority
from synthdub_tui.synthesia.schema import ProjectInfo

if TYPE_CHECKING:
    from synthdub_tui.runner.worker_context import WorkerContext

_log = logging.getLogger(__name__)

RECEIPT_POLL_SECONDS: Final = 2.0
"""Seconds between two looks at the receipt of a request that may still be answered."""


class PaymentHistory:
    """Reads and writes the account's receipts, and applies them to jobs."""

    def __init__(self, context: WorkerContext, receipts: Receipts, state_dir: str) -> None:
        self._context = context
        self._receipts = receipts
        self._state_dir = state_dir

    def use_account(self, account: str) -> None:
        """From now on, use the receipts of this account, since the API key changed."""
        self._receipts.account = account

    # -- before a request ----------------------------------------------------------------------------------------------

    async def recover_paid_languages(self, job_id: str, languages: Iterable[str]) -> bool:
        """Look for these waiting languages in the projects that may contain them, and in the receipts.

        Returns whether all of them must still be paid for; the others are followed, done, held or failed now. A source that
        cannot be read has no receipts. Raises InvalidApiKeyError, or OSError for the receipts.
        """
        await self._search_projects(job_id, [each for each in languages if _was_sent(self._job(job_id).dubs[each])])
        known: bool = await in_thread(self._receipts.has_size, self._job(job_id).source.size)
        if known:
            await self.ensure_digest(job_id)
            for language in languages:
                await self._search_receipts(job_id, language)
                await self._fail_moderated(job_id, language)
        return set(languages) <= set(self._job(job_id).unsent_languages)

    async def record_intent(self, job_id: str, languages: tuple[str, ...], project: str) -> str:
        """Record a paid request before it is sent, and return the id of its receipt.

        Returns "" if another process has paid for one of the languages since `recover_paid_languages`, or moderation has
        refused one without the user's consent to send it again. Raises NotSentError("state_unwritable") if the request cannot
        be recorded.
        """
        job = self._job(job_id)
        try:
            return await in_thread(
                self._receipts.record_intent,
                _content(job),
                languages,
                at=self._context.now(),
                project=project,
                state_dir=self._state_dir,
                file=job.source.path,
                unless_paid={language: _agreed_at(job.dubs[language]) for language in languages},
                unless_moderated=[language for language in languages if MODERATION not in job.dubs[language].agreed],
            )
        except OSError as error:
            raise NotSentError("state_unwritable", f"{error.strerror}: {error.filename or 'receipts'}") from error

    # -- after a request -----------------------------------------------------------------------------------------------
    # If a line cannot be written, the receipt still says "may have been paid", which is the safe side.

    async def record_accepted(self, job: Job, receipt: str, project: str) -> None:
        """Note that the service accepted the request as a new `project`, or into an existing one."""
        await self._write_receipt(self._receipts.record_accepted, job.source.size, receipt, project)

    async def record_unknown_outcome(self, job: Job, receipt: str) -> None:
        """Note that the answer to the request was lost."""
        await self._write_receipt(self._receipts.record_unknown_outcome, job.source.size, receipt)

    async def record_refused(self, job: Job, receipt: str, languages: Iterable[str] = ()) -> None:
        """Note that the service refused the request, or only these languages, so that nothing was billed for them."""
        await self._write_receipt(self._receipts.record_rejected, job.source.size, receipt, tuple(languages))

    async def record_moderation_refusal(self, job: Job, receipt: str, about: str, words: str) -> None:
        """Note that moderation refused the language `about` of the request, or the content as a whole if that is empty."""
        await self._write_receipt(self._receipts.record_moderated, job.source.size, receipt, about, words)

    async def record_failures(self, before: Job, job: Job, project: str) -> None:
        """Note which languages of the project have ended without a video since `before`, and what moderation has refused."""
        for language, dub in job.dubs.items():
            failure = dub.failure
            if dub is before.dubs.get(language) or dub.state is not DubState.FAILED or failure is None:
                continue
            if dub.project == project and failure.scope in (FailureScope.LANGUAGE, FailureScope.PROJECT):
                if (failure.code, failure.scope) == (MODERATION, FailureScope.PROJECT):
                    await self._write_receipt(self._receipts.record_project_moderated, job.source.size, project, failure.detail)
                await self._write_receipt(self._receipts.record_failed, job.source.size, project, language, failure.code)
        for refusal in job.refused[len(before.refused) :]:
            await self._note_end(job.source.size, project, refusal.language, MODERATION, whole=not refusal.language)

    async def find_saved_output(self, job: Job, language: str) -> Output | None:
        """Returns the finished output of the dub's project if another batch has already saved it under the same path."""
        return await in_thread(self._output_of, job, language)

    def _output_of(self, job: Job, language: str) -> Output | None:
        path = output_path(job.source.path, language, job.outputs)
        if not os.path.lexists(path) or is_own_output(job.dubs[language], path):
            return None
        for receipt in self._receipts.find(_content(job)):
            saved = receipt.outputs.get(language)
            if (
                saved is not None
                and receipt.project == job.dubs[language].project
                and (output := _match_saved_output(path, saved))
            ):
                return output
        return None

    def is_own_output(self, path: str, size: int) -> bool:
        """Whether a file is a copy of an output that synthdub downloaded, under any name; it is never an input.

        Blocking. Raises OSError.
        """
        return self._receipts.is_own_output(size, lambda: compute_fingerprint(path))

    async def record_output(self, job: Job, language: str, output: Output) -> None:
        """Note in the receipt that a finished file is on disk."""
        times = download.own_captions_ns(job.dubs[language])
        await self._write_receipt(
            self._save_output, _content(job), job.dubs[language].project, language, output.with_caption_times(times)
        )

    def _save_output(self, content: PaidContent, project: str, language: str, output: Output) -> None:
        saved = SavedOutput(
            id="",
            language=language,
            path=output.path,
            size=output.size,
            mtime_ns=output.mtime_ns,
            fingerprint=compute_fingerprint(output.path),
            seconds=output.seconds,
            captions=output.captions,
            captions_ns=output.captions_ns,
        )
        self._receipts.record_saved(content, project, saved)

    async def _write_receipt(self, write: object, *arguments: object) -> None:
        try:
            await in_thread(write, *arguments)  # type: ignore[arg-type]
        except OSError as error:
            _log.warning("receipt not written", extra={"reason": error.strerror})

    # -- what was sent before, and is to be paid again -----------------------------------------------------------------

    async def _search_projects(self, job_id: str, languages: list[str]) -> None:
        """Ask each project once for all its languages. Waits as long as the service does not answer."""
        for project, asked in (await self._projects_of(job_id, languages)).items():
            if not set(asked) & set(self._job(job_id).unsent_languages):
                continue
            try:
                seen = await self._get_project(project)
            except RequestRejectedError as refusal:
                self._fail_refused(job_id, asked, refusal)
                continue
            if seen is None:
                continue
            for language in asked:
                if code := observation.failure_code_in_project(seen, language):
                    size, whole = self._job(job_id).source.size, seen.state is ObservedStatus.ERROR
                    await self._note_end(size, project, language, code, whole=whole)
                if language in self._job(job_id).unsent_languages:
                    self._put(
                        observation.apply_project_to_waiting_dub(
                            self._job(job_id), language, project, seen, self._context.now()
                        )
                    )

    async def _projects_of(self, job_id: str, languages: list[str]) -> dict[str, list[str]]:
        """Returns project → languages that it may contain: the dub's own project, then those of receipts, unless the user
        agreed to pay again."""
        if not languages:
            return {}
        job = self._job(job_id)
        receipts = await in_thread(self._receipts.find, _content(job))
        projects: dict[str, list[str]] = {}
        for language in languages:
            dub = job.dubs[language]
            past = WaitReason.ALREADY_PAID.value in dub.agreed
            known = [each.project for each in receipts if not past and each.may_be_accepted_for(language)]
            for project in dict.fromkeys(filter(None, (dub.project, *known))):
                projects.setdefault(project, []).append(language)
        return projects

    def _fail_refused(self, job_id: str, languages: list[str], refusal: RequestRejectedError) -> None:
        """Fail the dubs, because a refusal that says nothing about the project is no reason to pay. The user may retry."""
        for language in languages:
            if language in self._job(job_id).unsent_languages:
                now = self._context.now()
                self._put(
                    dub_states.fail_dub(self._job(job_id), language, refusal.code, refusal.detail, FailureScope.SUBMISSION, now)
                )

    async def recall_lost_answers(self, job_id: str, languages: Iterable[str]) -> None:
        """Follow the project in the newest receipt of a request whose answer the job lost; this is free."""
        for language in languages:
            receipts = await in_thread(self._receipts.find, _content(self._job(job_id)))
            newest = next((each for each in receipts if each.may_be_accepted_for(language)), None)
            dub = self._job(job_id).dubs.get(language)
            if dub is not None and dub.state is DubState.UNKNOWN:
                project = newest.project if newest is not None else ""
                self._put(adoption.resolve_from_receipts(self._job(job_id), language, project, self._context.now()))

    # -- one language --------------------------------------------------------------------------------------------------

    async def _search_receipts(self, job_id: str, language: str) -> None:
        try:
            await in_thread(prepare_output_folder, self._job(job_id))
            if not await self._context.output_claims.may_write(self._job(job_id), language):
                return  # another job writes that file; `select_writable_languages` fails this dub before it is paid
        except ProblemError:
            return  # the same
        while language in self._job(job_id).unsent_languages:
            job = self._job(job_id)
            receipts = await in_thread(self._receipts.find, _content(job))
            agreed, now = _agreed_at(job.dubs[language]), self._context.now()
            standing = [each for each in receipts if each.sent_since(agreed, now) and each.may_be_paid_for(language)]
            if not standing:
                return
            try:
                if await self._use_saved_output(job_id, language, standing) or await self._follow_existing_project(
                    job_id, language, standing
                ):
                    return
            except RequestRejectedError as refusal:
                return self._fail_refused(job_id, [language], refusal)
            if any(self._may_still_be_answered(each) for each in standing):
                await asyncio.sleep(RECEIPT_POLL_SECONDS)
            elif all(each.may_be_paid_for(language) for each in standing):
                self._hold(job_id, language, standing[0])

    async def _fail_moderated(self, job_id: str, language: str) -> None:
        """Apply a refusal by moderation that a receipt has for this content, so that nothing is sent."""
        job = self._job(job_id)
        dub = job.dubs.get(language)
        if dub is None or dub.state is not DubState.WAITING or MODERATION in dub.agreed:
            return
        verdict = await in_thread(self._receipts.find_verdict, _content(job), language)
        if verdict is not None and self._job(job_id).source is job.source:
            about = "" if verdict.is_whole_video else language
            self._put(dub_states.record_moderation(self._job(job_id), about, verdict.message, self._context.now()))

    async def _use_saved_output(self, job_id: str, language: str, standing: list[Receipt]) -> bool:
        """Use the finished file of a receipt if it is in the right place. Returns whether it is."""
        job = self._job(job_id)
        path = output_path(job.source.path, language, job.outputs)
        for receipt in standing:
            saved = receipt.outputs.get(language)
            if saved is None or not (output := await in_thread(_match_saved_output, path, saved)):
                continue
            if language in self._job(job_id).unsent_languages:
                now, at = self._context.now(), receipt.request.at
                self._put(adoption.recover_output(self._job(job_id), language, output, receipt.project, at, now))
            return True
        return False

    async def _follow_existing_project(self, job_id: str, language: str, standing: list[Receipt]) -> bool:
        """Follow the first project of these receipts that has the language in progress or complete.

        Returns whether there is one. Notes in the receipts if the language failed in a project.
        """
        for receipt in standing:
            if not receipt.project:
                continue
            seen = await self._get_project(receipt.project)
            if seen is not None and (code := observation.failure_code_in_project(seen, language)):
                await self._note_ended(self._job(job_id).source.size, receipt, language, code, seen)
            elif seen is not None or self._age(receipt) < self._context.backoff.new_project_grace:
                if language in self._job(job_id).unsent_languages:
                    now, at = self._context.now(), receipt.request.at
                    self._put(adoption.follow_existing_project(self._job(job_id), language, receipt.project, at, now))
                return True
        return False

    async def _note_ended(self, size: int, receipt: Receipt, language: str, code: str, seen: ObservedProject) -> None:
        """Note the end of a language on disk if possible, and in any case in `receipt` for this process."""
        whole = seen.state is ObservedStatus.ERROR
        await self._note_end(size, receipt.project, language, code, whole=whole)
        receipt.failure_codes[language] = code
        if code == MODERATION:
            receipt.moderation_messages["" if whole else language] = ""

    async def _note_end(self, size: int, project: str, language: str, code: str, *, whole: bool) -> None:
        """Note in the receipts that a project ended the language without a video. `whole`: the project as a whole failed."""
        if code == MODERATION and whole:
            await self._write_receipt(self._receipts.record_project_moderated, size, project, "")
        await self._write_receipt(self._receipts.record_failed, size, project, language, code)

    async def _get_project(self, project: str) -> ObservedProject | None:
        """Returns the project as it is now; None if the service does not know it. Raises any other RequestRejectedError."""
        client = self._context.client
        try:
            found = await self._context.retry_until_answered(lambda: client.get_project(project, priority=Priority.USER))
            return to_project_seen(cast(ProjectInfo, found))
        except RequestRejectedError as refusal:
            if refusal.code != "project_not_found":
                raise
            return None

    def _hold(self, job_id: str, language: str, receipt: Receipt) -> None:
        request = receipt.request
        detail = f"{request.file} in {request.state_dir}" + (f", project {receipt.project}" if receipt.project else "")
        hold = Hold(WaitReason.ALREADY_PAID, request.at, detail)
        if language in self._job(job_id).unsent_languages:
            self._put(holds.hold_dub(self._job(job_id), language, hold, receipt.project))

    def _may_still_be_answered(self, receipt: Receipt) -> bool:
        """Whether the answer to its request may still arrive, in this process or another one."""
        return (
            not receipt.project
            and not receipt.has_unknown_outcome
            and self._age(receipt) < self._context.backoff.paid_answer_timeout
        )

    def _age(self, receipt: Receipt) -> float:
        """Returns the seconds since the request was sent. One from the future, after a clock was put back, counts as old."""
        age = self._context.now() - receipt.request.at
        return age if age >= 0 else math.inf

    # -- shared --------------------------------------------------------------------------------------------------------

    async def ensure_digest(self, job_id: str) -> None:
        """Read the whole source if its content is not known.

        That is so if a runner was killed after the upload, or before the upload if a source of this size was paid for.
        """
        source = self._job(job_id).source
        if source.digest:
            return
        try:
            digest = await in_thread(compute_digest, source.path, size=source.size)
        except (OSError, FileChangedError) as error:  # deleted or changed since the upload: its content is unknown
            _log.info("content not known", extra={"job": job_id, "reason": str(error)})
            return
        job = self._job(job_id)
        if job.source is source:
            self._put(source_changes.record_digest(job, digest))

    def _job(self, job_id: str) -> Job:
        return self._context.live_jobs.jobs[job_id]

    def _put(self, job: Job) -> None:
        self._context.live_jobs.update(job)


def _content(job: Job) -> PaidContent:
    return PaidContent.from_options(job.source.size, job.source.digest, job.options)


def _was_sent(dub: Dub) -> bool:
    """Whether a project may contain the dub already."""
    return bool(dub.project) or dub.next_rung in PAID_STEPS


def _agreed_at(dub: Dub) -> float:
    """Returns when the user agreed to pay for this dub regardless of earlier payments; NEVER if the user did not.

    The consent does not cover later payments: in an older copy of the state, the consent may have been used already.
    """
    return dub.since if dub.next_rung in PAID_STEPS or WaitReason.ALREADY_PAID.value in dub.agreed else NEVER


def _match_saved_output(path: str, saved: SavedOutput) -> Output | None:
    """Returns the output at `path` if its content is the saved one, with those captions that exist; else None."""
    try:
        status = os.lstat(path)
        if status.st_size != saved.size or compute_fingerprint(path) != saved.fingerprint:
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
