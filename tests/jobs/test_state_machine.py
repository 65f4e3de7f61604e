"""A batch under any order of events: what the user does, what the service says, downloads, and crashes between any two of them.

The machine keeps its own books of what was sent and answered, and of what the user agreed to pay; after each step they are held
against the jobs. A crash loads the batch from a real store on disk, which has what was saved last.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import (
    LEGAL_TRANSITIONS,
    DubState,
    FailureScope,
    Hold,
    Job,
    JobOptions,
    ObservedLanguage,
    ObservedProject,
    ObservedStatus,
    Output,
    PartRecord,
    RetryStep,
    Source,
    Stage,
    WaitReason,
)
from synthdub_tui.jobs.reconcile import (
    Download,
    LookUpReceipts,
    PollProject,
    Submit,
    Upload,
    extendable_project,
    needed_activities,
)
from synthdub_tui.jobs.retry_policy import policy_for
from synthdub_tui.jobs.transitions import (
    cancellation,
    creation,
    dub_states,
    holds,
    observation,
    restart,
    source_changes,
    submission,
    upload,
)
from synthdub_tui.jobs.transitions import download as download_module
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.problems import explain
from synthdub_tui.runner import request_handlers
from synthdub_tui.store import job_store as store_module
from synthdub_tui.store.codec import decode_job, encode_job
from synthdub_tui.store.job_store import JobStore
from tests.dub_refs import shown_dubs

LANGUAGES = ("fr-FR", "es-ES", "de-DE")
FAILURE_CODES = ("processing_error", "moderation", "invalid_target_language", "new_to_us")
REFUSAL_CODES = (
    "request_refused",
    "language_refused",
    "BrokenAssetUrlError",
    "asset_not_found",
    "project_not_found",
    "moderation",
)

START_STAGES = ("queued", "delivered", "dubbing")
UPLOAD_OUTCOMES = ("well", "well", "well", "preparing", "asset only", "broken", "fails", "fails")

MEMORY_FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""The batch is saved some thousand times: on a file system in memory, where there is one."""

languages = st.sampled_from(LANGUAGES)
some_languages = st.lists(languages, unique=True, min_size=1)
picks = st.integers(0, 2**16)


def some_job_wants(kind: type) -> Callable[[JobMachine], bool]:
    """Whether some job's plan asks for this."""
    return lambda batch: any(isinstance(act, kind) for job in batch.jobs.values() for act in needed_activities(job))


def some_request_is_pending(put: bool | None = None) -> Callable[[JobMachine], bool]:
    """Whether some paid request (only a PUT, only a POST) waits for its answer."""

    def waits(request: PendingRequest | None) -> bool:
        return request is not None and (put is None or bool(request.project) == put)

    return lambda batch: any(waits(books.pending) for books in batch.books.values())


@dataclass
class PendingRequest:
    """A paid request that went out and is not answered."""

    languages: tuple[str, ...]
    project: str
    asset: str
    content: int  # that was paid for, by the size of the source


@dataclass
class PaymentBooks:
    """What is known of one job's money, whatever the job itself says."""

    agreed_requests: dict[str, int] = field(default_factory=dict)  # paid requests that the user agreed to, and not used up
    pending: PendingRequest | None = None
    assets_by_project: dict[str, str] = field(default_factory=dict)  # project → asset that was really sent
    dead_projects: set[str] = field(default_factory=set)  # projects that failed as a whole, or are gone
    all_projects: dict[str, str] = field(default_factory=dict)  # all projects it ever had, as it last said, oldest first
    content_by_project: dict[str, int] = field(default_factory=dict)  # project → content, by the size of the source
    moderated: set[tuple[str, int]] = field(default_factory=set)  # language and content; never taken back
    consented_languages: set[str] = field(default_factory=set)  # languages that the user named after that, and that still wait

    def record_moderation(self, languages: Iterable[str], content: int) -> None:
        """Moderation refused a content in these languages; whoever agreed before did not know that."""
        self.moderated |= {(language, content) for language in languages}
        self.consented_languages -= set(languages)

    def forbids(self, job: Job, language: str) -> bool:
        """Whether nothing may be sent for this language of the present content."""
        return (language, job.source.size) in self.moderated and language not in self.consented_languages


class JobMachine(RuleBasedStateMachine):
    """Every rule makes at most one change of one job, as the runner does, and perhaps saves it."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(store_module, "MIN_CACHED_JOBS", 1)
        self.folder = tempfile.mkdtemp(prefix="synthdub-machine-", dir=MEMORY_FOLDER)
        self.store = JobStore(self.folder)
        self.store.open()
        self.jobs: dict[str, Job] = {}
        self.books: dict[str, PaymentBooks] = {}
        self.now = 1000.0
        self.counter = 0
        self.expected_restarts: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- machinery -----------------------------------------------------------------------------------------------------

    def _new_id(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def _pick(self, number: int) -> Job:
        return list(self.jobs.values())[number % len(self.jobs)]

    def _pick_wanted(self, number: int, kind: type) -> tuple[Job, object]:
        """Something that the plan of some job asks for now."""
        found = [(job, act) for job in self.jobs.values() for act in needed_activities(job) if isinstance(act, kind)]
        return found[number % len(found)]

    def _pick_pending(self, number: int, put: bool | None = None) -> tuple[Job, PendingRequest]:
        found = [
            (self.jobs[key], books.pending)
            for key, books in self.books.items()
            if books.pending is not None and (put is None or bool(books.pending.project) == put)
        ]
        job, request = found[number % len(found)]
        return job, request

    def _update_job(self, job: Job) -> None:
        before = self.jobs.get(job.id)
        for language, dub in job.dubs.items():
            old = before.dubs.get(language) if before else None
            if old is not None and old.state is not dub.state and (job.id, language) not in self.expected_restarts:
                assert dub.state in LEGAL_TRANSITIONS[old.state], f"{language}: {old.state} → {dub.state}"
        self.expected_restarts.clear()
        self.books[job.id].all_projects |= job.projects
        self.books[job.id].consented_languages &= set(job.languages_in_state(DubState.WAITING))
        self.jobs[job.id] = job
        self.store.save(job)

    def _allow_requests(self, job: Job, language: str, times: int = 1) -> None:
        self.books[job.id].agreed_requests[language] = times

    # -- the user ------------------------------------------------------------------------------------------------------

    @initialize(stages=st.lists(st.sampled_from(START_STAGES), min_size=1, max_size=2))
    def add_jobs(self, stages: list[str]) -> None:
        for number, stage in enumerate(stages):
            source = Source(f"/videos/lesson {number}.mp4", 10, 1, "video/mp4")
            job = creation.new_job(source, JobOptions("lesson"), LANGUAGES[:2], now=self.now + number)
            self.books[job.id] = PaymentBooks(dict.fromkeys(LANGUAGES[:2], 1))
            self._update_job(job)
            if stage != "queued":
                self._update_job(upload.record_asset_ready(upload.record_asset_created(job, self._new_id("a"), self.now), ""))
            if stage == "dubbing":
                self._send(self.jobs[job.id], Submit(LANGUAGES[:2], ""))
                self._accept_post(self.jobs[job.id])

    @rule(number=picks, names=some_languages)
    def add_languages(self, number: int, names: list[str]) -> None:
        job = self._pick(number)
        for language in names:
            if language not in job.dubs:
                self._allow_requests(job, language)
        self._update_job(creation.add_targets(job, names, self.now))

    @rule(number=picks, language=languages, paid=st.booleans())
    def retry(self, number: int, language: str, paid: bool) -> None:
        job = self._pick(number)
        if language not in job.dubs:
            return
        before = job.dubs[language]
        consented = policy_for(job, language).must_ask and paid

        def put(changed: Job) -> None:
            if consented:
                # One request on this rung, and one on the next if the service says that this one cannot help.
                self._allow_requests(changed, language)
                self.books[job.id].consented_languages.add(language)
            self._update_job(changed)

        retried, held, _ = request_handlers.retry(
            self.jobs, shown_dubs(self.jobs, [DubRef(job.id, language)]), paid, self.now, put, lambda path: True
        )
        assert (retried, held) in ((0, 0), (1, 0), (0, 1))
        asks = before.state is DubState.UNKNOWN or (before.failure and before.failure.code == "moderation")
        if asks or (before.hold and before.hold.reason is WaitReason.ALREADY_PAID):
            assert (held, retried) == ((0, 1) if paid else (1, 0))

    @rule(number=picks)
    def start_again(self, number: int) -> None:
        """What `run` retries by itself at its start."""
        cells = request_handlers.find_free_retries(self.jobs)
        assert not [
            cell
            for cell in cells
            if self.books[cell.job].forbids(self.jobs[cell.job], cell.language)
            and retry_module.cheapest_step(self.jobs[cell.job].dubs[cell.language]) is not RetryStep.DOWNLOAD
        ]
        request_handlers.retry(self.jobs, cells, False, self.now, self._update_job, lambda path: True)

    @rule(number=picks, language=languages)
    def cancel(self, number: int, language: str) -> None:
        job = self._pick(number)
        if language not in job.dubs:
            return
        self._update_job(cancellation.cancel_dub(job, language, self.now))

    @rule(number=picks, language=languages, reason=st.sampled_from((WaitReason.SETTLING, WaitReason.ALREADY_PAID)))
    def hold(self, number: int, language: str, reason: WaitReason) -> None:
        job = self._pick(number)
        if language in job.unsent_languages:
            self._update_job(holds.hold_dub(job, language, Hold(reason, self.now)))

    @rule(number=picks, language=languages)
    def release(self, number: int, language: str) -> None:
        job = self._pick(number)
        if language in job.held_languages:
            self._update_job(holds.release_hold(job, language))

    @rule(number=picks, language=languages)
    def remove(self, number: int, language: str) -> None:
        job = self._pick(number)
        if language not in job.dubs or not cancellation.can_remove(job, language):
            return
        left = cancellation.remove_dubs(job, [language])
        if left is not None:
            self._update_job(left)
        elif len(self.jobs) > 1:
            del self.jobs[job.id], self.books[job.id]
            self.store.delete(job.id)

    @rule(number=picks, names=some_languages)
    def renew(self, number: int, names: list[str]) -> None:
        job = self._pick(number)
        if job.submission is not None:
            return
        for language in names:
            self._allow_requests(job, language)
        self.expected_restarts = {(job.id, language) for language in names}
        newer = replace(job.source, mtime_ns=job.source.mtime_ns + 1)
        self._update_job(source_changes.start_new_version(job, newer, names, self.now))

    @rule(number=picks, edited=st.booleans())
    def the_source_changes(self, number: int, edited: bool) -> None:
        """Its content with it, or its time alone."""
        job = self._pick(number)
        source = replace(job.source, mtime_ns=job.source.mtime_ns + 1, size=job.source.size + edited)
        self.expected_restarts = {(job.id, language) for language in job.languages_in_state(DubState.WAITING)}
        self.books[job.id].consented_languages.clear()
        self._update_job(source_changes.replace_source(job, source))

    @rule(number=picks)
    def move(self, number: int) -> None:
        """Dubs that failed since the source was gone wait again."""
        job = self._pick(number)
        self._update_job(
            source_changes.relocate_source(job, replace(job.source, path=self._new_id("/videos/moved ")), "", {}, self.now)
        )

    # -- deliveries ----------------------------------------------------------------------------------------------------

    @precondition(some_job_wants(Upload))
    @rule(number=picks, goes=st.sampled_from(UPLOAD_OUTCOMES))
    def deliver(self, number: int, goes: str) -> None:
        job, _ = self._pick_wanted(number, Upload)
        match goes:
            case "preparing" if job.asset is None:
                self._update_job(upload.start_preparing(job))
            case "broken":
                self._update_job(upload.drop_asset(job))
            case "fails":
                self._update_job(source_changes.fail_unsent_dubs(job, "source_missing", "", self.now))
            case _ if job.asset is None:
                job = upload.record_asset_created(job, self._new_id("a"), self.now)
                self._update_job(job)
                if goes == "well":
                    self._update_job(upload.record_asset_ready(upload.record_asset_uploaded(job), ""))
            case _:
                self._update_job(upload.record_asset_ready(job, "en"))

    # -- paid requests -------------------------------------------------------------------------------------------------

    @precondition(some_job_wants(Submit))
    @rule(number=picks)
    def submit(self, number: int) -> None:
        job, submit = self._pick_wanted(number, Submit)
        assert isinstance(submit, Submit)
        self._send(job, submit)

    def _send(self, job: Job, submit: Submit) -> None:
        """The intent is saved, then the request goes out: the one moment at which money may be spent."""
        books = self.books[job.id]
        assert books.pending is None
        asset = job.asset.id if job.asset else ""
        self._update_job(submission.record_intent(job, submit.languages, submit.project, self.now))
        for language in submit.languages:
            assert books.agreed_requests.get(language, 0) > 0, f"{language} is paid for without anybody's consent"
            assert not books.forbids(job, language), f"{language} was refused by moderation, and is sent again"
            books.agreed_requests[language] -= 1
        assert submit.project not in books.dead_projects
        books.pending = PendingRequest(submit.languages, submit.project, asset, job.source.size)

    @precondition(some_request_is_pending(put=False))
    @rule(number=picks)
    def post_accepted(self, number: int) -> None:
        self._accept_post(self._pick_pending(number, put=False)[0])

    def _accept_post(self, job: Job) -> None:
        books = self.books[job.id]
        assert books.pending is not None
        project = self._new_id("p")
        books.content_by_project[project], books.assets_by_project[project] = books.pending.content, books.pending.asset
        books.pending = None
        job = submission.record_project_created(job, project, self.now)
        self._update_job(job)
        held = {dub.project for dub in job.dubs.values()}
        assert all(known in held or (job.asset and made_from == job.asset.id) for known, made_from in job.projects.items())

    @precondition(some_request_is_pending(put=True))
    @rule(number=picks, answers=st.lists(st.sampled_from(["new", "no", "moderation", "skipped"]), min_size=3, max_size=3))
    def put_answered(self, number: int, answers: list[str]) -> None:
        job, request = self._pick_pending(number, put=True)
        books = self.books[job.id]
        books.pending = None
        said = dict(zip(request.languages, answers, strict=False))
        videos = {language: self._new_id("v") for language, answer in said.items() if answer == "new"}
        refused = {language: answer for language, answer in said.items() if answer in ("no", "moderation")}
        for language, answer in said.items():
            dub = job.dubs[language]
            if answer == "moderation":
                books.record_moderation([language], request.content)
            elif answer != "new" and dub.erred and dub.checked:
                self._restore_agreement(job, language)  # seen as failed there, and not taken: nothing was spent on this rung
        self._update_job(submission.record_locales_added(job, videos, refused, self.now))
        for language, answer in said.items():
            if answer == "no" and self.jobs[job.id].dubs[language].state is not DubState.DUBBING:
                self._restore_agreement(job, language)

    @precondition(some_request_is_pending())
    @rule(number=picks, code=st.sampled_from(REFUSAL_CODES), named=st.lists(languages, unique=True))
    def refused(self, number: int, code: str, named: list[str]) -> None:
        job, request = self._pick_pending(number)
        books = self.books[job.id]
        books.pending = None
        words = "moderation" if code == "moderation" else "no"
        for language in request.languages:
            self._restore_agreement(job, language)
        if code == "project_not_found" and request.project and not set(named) & set(request.languages):
            books.dead_projects.add(request.project)
        if code == "moderation":
            books.record_moderation(set(named) & set(request.languages) or LANGUAGES, request.content)
        self._update_job(submission.record_rejected(job, code, words, dict.fromkeys(named, words), self.now))

    @precondition(some_request_is_pending())
    @rule(number=picks)
    def never_arrived(self, number: int) -> None:
        job, request = self._pick_pending(number)
        self.books[job.id].pending = None
        for language in request.languages:
            self._restore_agreement(job, language)
        self._update_job(submission.record_not_sent(job))

    @precondition(some_request_is_pending())
    @rule(number=picks)
    def unclear(self, number: int) -> None:
        job, _ = self._pick_pending(number)
        self.books[job.id].pending = None
        self._update_job(submission.record_unknown_outcome(job, self.now))

    def _restore_agreement(self, job: Job, language: str) -> None:
        """The service said no, or never heard of it: what was agreed to is still open."""
        self.books[job.id].agreed_requests[language] = 1

    # -- what the service says -----------------------------------------------------------------------------------------

    @precondition(some_job_wants(PollProject))
    @rule(
        number=picks,
        state=st.sampled_from(ObservedStatus),
        code=st.sampled_from(FAILURE_CODES),
        entries=st.lists(
            st.tuples(languages, st.sampled_from(ObservedStatus), st.booleans(), st.sampled_from(FAILURE_CODES)), max_size=4
        ),
    )
    def observed(
        self, number: int, state: ObservedStatus, code: str, entries: list[tuple[str, ObservedStatus, bool, str]]
    ) -> None:
        job, wanted = self._pick_wanted(number, PollProject)
        assert isinstance(wanted, PollProject)
        if state is ObservedStatus.ERROR:
            self.books[job.id].dead_projects.add(wanted.project)
            news = ObservedProject(state, code)
        else:
            news = ObservedProject(state, "", tuple(self._observed_language(job, *entry) for entry in entries))
        after = observation.apply_project(job, wanted.project, news, self.now)
        self._learn_moderation(job, after, wanted.project)
        self._update_job(after)

    def _learn_moderation(self, job: Job, after: Job, project: str) -> None:
        """What was refused just now: a language, or the project with all that could ever be asked of its content."""
        books = self.books[job.id]
        for language, dub in after.dubs.items():
            failure = dub.failure
            if failure is not None and failure.code == "moderation" and failure is not job.dubs[language].failure:
                whole = failure.scope is FailureScope.PROJECT
                if dub.project == project:
                    books.record_moderation(LANGUAGES if whole else [language], books.content_by_project[project])

    def _observed_language(self, job: Job, language: str, state: ObservedStatus, known: bool, code: str) -> ObservedLanguage:
        dub = job.dubs.get(language)
        video = (dub.video or dub.old_video) if dub and known else self._new_id("v")
        return ObservedLanguage(language, state, video, code if state is ObservedStatus.ERROR else "")

    @precondition(some_job_wants(PollProject))
    @rule(number=picks)
    def project_gone(self, number: int) -> None:
        job, wanted = self._pick_wanted(number, PollProject)
        assert isinstance(wanted, PollProject)
        self.books[job.id].dead_projects.add(wanted.project)
        self._update_job(observation.record_project_not_found(job, wanted.project, "", self.now))

    @rule(seconds=st.sampled_from([1.0, 30.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    # -- downloads -----------------------------------------------------------------------------------------------------

    @precondition(some_job_wants(Download))
    @rule(number=picks, goes=st.sampled_from(["begins", "well", "pauses", "fails"]))
    def download(self, number: int, goes: str) -> None:
        job, wanted = self._pick_wanted(number, Download)
        assert isinstance(wanted, Download)
        language = wanted.language
        job = download_module.start_download(job, language, PartRecord(100, '"tag"'), self.now)
        self._update_job(job)
        match goes:
            case "well":
                self._update_job(download_module.record_publishing(job, language, 100, 7))
                output = Output.of(f"/videos/x.dubbed-{language}.mp4", 100, 7)
                self._update_job(download_module.finish_download(self.jobs[job.id], language, output, self.now))
            case "pauses":
                self._update_job(download_module.pause_download(job, language, self.now))
            case "fails":
                self._update_job(
                    dub_states.fail_dub(job, language, "disk_full", "No space left", FailureScope.DOWNLOAD, self.now)
                )

    # -- crashes -------------------------------------------------------------------------------------------------------

    @rule()
    def write_cache(self) -> None:
        """What changes after it is read from the files again."""
        self.store.write_cache()

    @precondition(lambda self: self.jobs)
    @rule()
    def crash(self) -> None:
        loaded = JobStore(self.folder).load()
        assert not loaded.damaged
        assert {job.id: job for job in loaded.jobs} == self.jobs  # what was saved is what was there
        for books in self.books.values():
            books.pending = None
        for job in loaded.jobs:
            self._update_job(restart.resume_job(job, self.now))

    # -- what must always hold -----------------------------------------------------------------------------------------

    @invariant()
    def one_request_at_a_time(self) -> None:
        for key, job in self.jobs.items():
            assert (job.submission is not None) == (self.books[key].pending is not None)
            assert len([act for act in needed_activities(job) if isinstance(act, Submit)]) <= (job.submission is None)

    @invariant()
    def nothing_waits_that_was_not_agreed_to(self) -> None:
        """A dub that waits outside a request will be sent by itself: the user must have agreed to that."""
        for key, job in self.jobs.items():
            for language in job.unsent_languages:
                assert self.books[key].agreed_requests.get(language, 0) > 0, f"{language} waits to be paid for again"
                assert not self.books[key].forbids(job, language)

    @invariant()
    def toml_keeps_everything(self) -> None:
        for job in self.jobs.values():
            assert decode_job(encode_job(job).decode()) == job

    @invariant()
    def there_is_something_to_do_just_while_a_job_can_go_on(self) -> None:
        for job in self.jobs.values():
            acts = needed_activities(job)
            checking = any(dub.state is DubState.UNKNOWN and not dub.checked for dub in job.dubs.values())
            if job.can_continue:
                assert acts or job.submission is not None
            else:
                assert all(isinstance(act, PollProject | LookUpReceipts) for act in acts)
                assert bool(acts) == checking

    @invariant()
    def what_is_held_waits_and_is_not_sent(self) -> None:
        for key, job in self.jobs.items():
            pending = self.books[key].pending
            sent = {language for act in needed_activities(job) if isinstance(act, Submit) for language in act.languages}
            for language, dub in job.dubs.items():
                if dub.hold is not None:
                    assert dub.state is DubState.WAITING
                    assert language not in sent
                    assert pending is None or language not in pending.languages

    @invariant()
    def the_stage_tells_the_truth(self) -> None:
        for job in self.jobs.values():
            assert (job.stage is Stage.ENDED) == (not job.is_open)
            if job.stage in (Stage.QUEUED, Stage.PREPARING):
                assert job.languages_in_state(DubState.WAITING)
                assert job.asset is None or not job.asset.uploaded
            if job.stage in (Stage.UPLOADING, Stage.PROCESSING):
                assert job.asset is not None
                assert job.asset.uploaded == (job.stage is Stage.PROCESSING)
                assert not job.asset.ready
            if job.stage is Stage.DUBBING:
                assert not job.languages_in_state(DubState.WAITING) or (job.asset is not None and job.asset.ready)

    @invariant()
    def the_live_project_takes_languages(self) -> None:
        for key, job in self.jobs.items():
            project = extendable_project(job)
            if project:
                assert job.asset is not None
                assert self.books[key].assets_by_project[project] == job.asset.id
                assert project not in self.books[key].dead_projects

    @invariant()
    def what_was_forgotten_would_change_nothing(self) -> None:
        """A job that remembered every project would do the same now, and after any retry."""
        for key, job in self.jobs.items():
            every = self.books[key].all_projects
            assert needed_activities(replace(job, projects=every)) == needed_activities(job)
            for language in job.dubs:
                remembering = retry_module.retry_dub(replace(job, projects=every), language, self.now)
                assert replace(remembering, projects=job.projects) == retry_module.retry_dub(job, language, self.now)

    @invariant()
    def every_end_has_its_reason_and_a_way_on(self) -> None:
        for job in self.jobs.values():
            for dub in job.dubs.values():
                if dub.state in (DubState.FAILED, DubState.UNKNOWN):
                    assert dub.failure is not None
                    assert explain(dub.failure.code).remedy
                if dub.state not in (DubState.WAITING, DubState.DUBBING, DubState.READY, DubState.DOWNLOADING):
                    assert retry_module.cheapest_step(dub) is not None
                if dub.state in (DubState.READY, DubState.DOWNLOADING, DubState.DUBBING):
                    assert dub.project
                if dub.state is DubState.DONE:
                    assert dub.output is not None


JobMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestBatch = JobMachine.TestCase
"""Hypothesis finds short stories and shrinks what it finds; the walks below go further than it does in the same time."""


def is_always_possible(batch: JobMachine) -> bool:
    """For events that need nothing."""
    return True


class RandomWalk(JobMachine):
    """The same batch, led by chance alone: the world's events are tried more often than the user's."""

    EVENTS: ClassVar[dict[str, tuple[int, Callable[[JobMachine], bool], str]]] = {
        "add_languages": (1, is_always_possible, "number names"),
        "retry": (6, is_always_possible, "number language paid"),
        "start_again": (1, is_always_possible, "number"),
        "cancel": (2, is_always_possible, "number language"),
        "renew": (1, is_always_possible, "number names"),
        "remove": (1, is_always_possible, "number language"),
        "the_source_changes": (1, is_always_possible, "number edited"),
        "move": (1, is_always_possible, "number"),
        "hold": (2, is_always_possible, "number language reason"),
        "release": (1, is_always_possible, "number language"),
        "deliver": (6, some_job_wants(Upload), "number goes"),
        "submit": (8, some_job_wants(Submit), "number"),
        "post_accepted": (5, some_request_is_pending(put=False), "number"),
        "put_answered": (5, some_request_is_pending(put=True), "number answers"),
        "refused": (2, some_request_is_pending(), "number code named"),
        "never_arrived": (1, some_request_is_pending(), "number"),
        "unclear": (2, some_request_is_pending(), "number"),
        "observed": (8, some_job_wants(PollProject), "number state code entries"),
        "project_gone": (1, some_job_wants(PollProject), "number"),
        "time_passes": (1, is_always_possible, "seconds"),
        "download": (3, some_job_wants(Download), "number goes"),
        "crash": (1, is_always_possible, ""),
    }
    """Weight, when it is possible, and what it takes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)

    def step(self) -> None:
        """One event that is possible now, and everything that must hold after it."""
        names = [name for name, (_, possible, _) in self.EVENTS.items() if possible(self)]
        name = self.random.choices(names, [self.EVENTS[name][0] for name in names])[0]
        arguments = {word: self._argument(name, word) for word in self.EVENTS[name][2].split()}
        getattr(self, name)(**arguments)
        self.one_request_at_a_time()
        self.nothing_waits_that_was_not_agreed_to()
        self.there_is_something_to_do_just_while_a_job_can_go_on()
        self.what_is_held_waits_and_is_not_sent()
        self.the_stage_tells_the_truth()
        self.the_live_project_takes_languages()
        self.what_was_forgotten_would_change_nothing()
        self.every_end_has_its_reason_and_a_way_on()

    def _argument(self, rule: str, word: str) -> Any:
        chance = self.random
        match word:
            case "number":
                return chance.randrange(1 << 16)
            case "language":
                return chance.choice(LANGUAGES)
            case "names":
                return chance.sample(LANGUAGES, chance.randint(1, 3))
            case "named":
                return chance.choice(([], [], [chance.choice(LANGUAGES)]))
            case "reason":
                return chance.choice((WaitReason.SETTLING, WaitReason.ALREADY_PAID))
            case "edited":
                return chance.random() < 0.3
            case "paid":
                return chance.random() < 0.7
            case "goes" if rule == "deliver":
                return chance.choice(UPLOAD_OUTCOMES)
            case "goes":
                return chance.choice(("begins", "well", "pauses", "fails"))
            case "answers":
                return chance.choices(("new", "no", "moderation", "skipped"), k=3)
            case "code" if rule == "refused":
                return chance.choice(REFUSAL_CODES)
            case "code":
                return chance.choice(FAILURE_CODES)
            case "state":
                return chance.choice(
                    (ObservedStatus.RUNNING, ObservedStatus.COMPLETE, ObservedStatus.COMPLETE, ObservedStatus.ERROR)
                )
            case "entries":
                states = (ObservedStatus.RUNNING, ObservedStatus.COMPLETE, ObservedStatus.ERROR)
                known = (True, False)
                return [
                    (chance.choice(LANGUAGES), chance.choice(states), chance.choice(known), chance.choice(FAILURE_CODES))
                    for _ in range(chance.randint(0, 4))
                ]
            case "seconds":
                return chance.choice((1.0, 30.0, 700.0))
            case _:
                raise AssertionError(word)


@pytest.mark.parametrize("seed", range(40))
def test_a_long_walk(seed: int) -> None:
    walker = RandomWalk(seed)
    try:
        walker.add_jobs(stages=walker.random.choices(START_STAGES, k=2))
        for _ in range(150):
            walker.step()
    finally:
        walker.teardown()
