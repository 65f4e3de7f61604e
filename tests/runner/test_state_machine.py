"""The whole runner under any order of events, in virtual time: what the user does, what the service answers, faults of network
and disk, stops, and kills at any moment. Real are Runner, Workers, Poller, Ledger, Store, Quota and Client.

`SYNTHDUB_MACHINE=5000 pytest -n0 tests/runner/test_state_machine.py` runs that many examples instead of those that CI has time
for.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from synthdub_tui.commands.offline_batch import OfflineBatch
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import DubRef, ShownDub
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import OPEN_STATES, Dub, DubState, FailureScope, Job
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.reconcile import Upload, needed_activities
from synthdub_tui.jobs.transitions.restart import resume_job
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner.activities.submit import _stamp_now as genuine_stamp
from synthdub_tui.runner.output_presence import is_gone
from synthdub_tui.runner.request_handlers import RemoveResult, RetryResult
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.model import QuotaSettings, Settings
from synthdub_tui.sources.add_file import AddEffect
from synthdub_tui.sources.same_file import FileStamp
from synthdub_tui.store.codec import decode_job
from synthdub_tui.store.job_store import JobStore
from synthdub_tui.synthesia import client as client_module
from synthdub_tui.synthesia.rate_gate import Endpoint
from tests.dub_refs import shown_dubs, shown_in_any_state
from tests.runner import fake_service
from tests.runner.books import Consents, Prompt, Refusals, is_requested
from tests.runner.fake_service import FakeService, SentPaidRequest
from tests.runner.world import MEMORY, close_files, examples, wired
from tests.virtual_time import VirtualLoop, virtual_time

LANGUAGES: Final = ("fr-FR", "es-ES", "de-DE")
FILE_TITLES: Final = ("one", "two", "three")
RATE_LIMITS: Final = {True: ((5, 60.0), (60, 3600.0)), False: ((20, 60.0), (4000, 86_400.0))}
"""Of writes and of reads: low enough that they matter."""

MAX_UPLOADS: Final = 1
"""At once, so that there is a line."""

FAULTS: Final = (
    *((endpoint.value, kind) for endpoint in Endpoint for kind in fake_service.READ_FAULTS),
    *((endpoint.value, "500 after") for endpoint in Endpoint if endpoint.is_write),
    *((endpoint.value, "a gateway") for endpoint in Endpoint),
    *((endpoint.value, "a gateway") for endpoint in fake_service.PAID),
    *(("upload", kind) for kind in fake_service.UPLOAD_FAULTS),
    *(("file", kind) for kind in fake_service.FILE_FAULTS),
)
"""Where, and what. Of a gateway it is drawn which answer it gives, and when."""

SENT_STATES: Final = frozenset({DubState.DUBBING, DubState.READY, DubState.DOWNLOADING, DubState.DONE})
FAILURE_CODES: Final = ("processing_error", "moderation", "new_to_us")
STAGES: Final = ("new", "dubbing", "done", "unknown", *FAILURE_CODES)
"""How far the first file has come before anything else happens."""

MEANWHILE: Final = ("retried", "retried in vain", "retried in vain", "cancelled", "removed", "refused", "killed", "nothing")
"""What befalls dubs that a prompt shows."""

REFUSALS: Final = ("no", "BrokenAssetUrlError", "named no", "named moderation", "moderation")


files = st.sampled_from(FILE_TITLES)
languages = st.sampled_from(LANGUAGES)
some_languages = st.lists(languages, unique=True, min_size=1)
picks = st.integers(0, 2**16)
gateways = st.tuples(st.sampled_from((*fake_service.GATEWAYS, fake_service.NOTHING_NEW)), st.sampled_from(("before", "after")))
some_acts = st.lists(st.sampled_from(MEANWHILE), min_size=1, max_size=3)
moments = st.sampled_from((0.0, 0.001, 0.02, 0.04, 0.06, 0.11, 0.3, 1.0, 3.0))
"""Seconds to the middle of something."""


class RunnerMachine(RuleBasedStateMachine):
    """One state directory, one service, and the runner that happens to live. After each rule all is held against both."""

    def __init__(self) -> None:
        super().__init__()
        self._exit_stack = ExitStack()
        self.clock = self._exit_stack.enter_context(virtual_time())
        self.folder = Path(tempfile.mkdtemp(prefix="synthdub-life-", dir=MEMORY))
        self._exit_stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.refusals = Refusals(self.clock)
        self.consents = Consents()
        self.prompts: list[Prompt] = []  # they stay open, whatever happens
        self.service = FakeService(self.clock, self._check_intent, self._note_unpaid, self.refusals.told)
        self._exit_stack.enter_context(wired(self.service, self.clock, self))
        self.disk_full = False
        self.full_since = math.inf
        self.paused_since: float | None = None  # by a person, by the wall clock
        self.clock.disk_seconds = lambda: random.choice((0.0, 0.001, 0.02, 0.1))
        self.foreign_files_by_path: dict[Path, bytes] = {}
        self.edit_count = 0
        self.content_at_check: dict[str, bytes | None] = {}  # what a source held when it was looked at before a paid request
        self.saved_jobs: list[Job] = []  # as on disk after the last rule
        self.removed_outputs: set[str] = set()  # outputs that the user deleted
        self.forgotten_calls: dict[Endpoint, set[float]] = {endpoint: set() for endpoint in Endpoint}
        (self.folder / "videos").mkdir()
        self.loop = VirtualLoop(self.clock)
        self.runner = self._start_runner()

    # -- machinery -----------------------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        quota = QuotaSettings(RATE_LIMITS[True], RATE_LIMITS[False])
        return Settings(
            api_key=fake_service.API_KEY,
            api_url=fake_service.API_URL,
            state_dir=str(self.folder / "state"),
            quota=quota,
            max_uploads=MAX_UPLOADS,
            settle_seconds=0.0,
        )

    def _start_runner(self) -> Runner:
        runner = Runner(self._settings())
        assert runner.open() == []

        async def start() -> None:
            runner.start()

        self.loop.run_until_complete(start())
        return runner

    def _run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def _call_in_loop(self, action: Any) -> Any:
        """Call something that wants the loop to run."""

        async def act() -> Any:
            return action()

        return self._run(act())

    @property
    def jobs(self) -> dict[str, Job]:
        return self.runner.live_jobs.jobs

    def _dub_refs(self) -> list[DubRef]:
        return [DubRef(job.id, language) for job in self.jobs.values() for language in job.dubs]

    def _retryable(self) -> list[DubRef]:
        return _find_retryable(self.jobs)

    def _check_intent(self, paid: SentPaidRequest) -> None:
        """A paid request leaves: for what the user has, with its intent on disk, and not for what moderation refused."""
        title, names = paid.title, paid.languages
        seen = self.content_at_check.get(str(self._source(title)))
        assert seen in (None, paid.content), f"{title}: {paid.content!r} is paid for, and {seen!r} was there at the last look"
        (job,) = [job for job in fake_service.read_stored_jobs(self.folder / "state") if job["options"]["title"] == title]
        assert set(job.get("submission", {}).get("languages", ())) == set(names), f"{title}: sent without an intent on disk"
        wrong = self.refusals.send(paid)
        assert not wrong, f"{title}: {wrong} sent again after moderation"
        begun = job["submission"]["at"]
        self.consents.send(paid, self.clock.wall(), begun)
        assert self.paused_since is None or begun <= self.paused_since, f"{title}: sent at {begun}, paused {self.paused_since}"

    def _note_unpaid(self, paid: SentPaidRequest) -> None:
        self.refusals.give_back(paid)
        self.consents.give_back(paid)

    def teardown(self) -> None:
        try:
            if not self.runner._stopping:
                self._finish_all()
        finally:
            self.loop.kill()
            self._exit_stack.close()

    # -- the user ------------------------------------------------------------------------------------------------------

    @initialize(name=files, names=some_languages, stage=st.sampled_from(STAGES), meanwhile=some_acts, offline=st.booleans())
    def add_first_file(self, name: str, names: list[str], stage: str, meanwhile: list[str], offline: bool) -> None:
        if stage == "unknown":
            self.service.add_faults(Endpoint.CREATE_DUBBING.value, "lost before", 1)
        self.add(name, names, True, False)
        if stage != "new":
            self.loop.run_for(60)
        if stage == "done":
            self.work_goes_on(60)
        elif stage in FAILURE_CODES:
            self._fail_all(stage)
        if stage in ("unknown", *FAILURE_CODES):
            self.others_act_while_a_prompt_is_open(0, 2, False, meanwhile, offline)

    def _fail_all(self, code: str) -> None:
        """All that is under way ends in failure, and the runner finds out."""
        while self._under_way():
            self.a_language_ends(0, code)
        self.loop.run_for(60)

    @rule(name=files, names=some_languages, captions=st.booleans(), changed=st.booleans(), agreed=st.booleans())
    def add(self, name: str, names: list[str], captions: bool, changed: bool, agreed: bool = False) -> None:
        """Named again, further languages are added; a file that changed since starts anew. Where nothing tells whether it did,
        the user has to agree."""
        path = self._source(name)
        before = {job.name: job for job in self.jobs.values()}.get(path.name)
        if before is None or changed or not path.exists():
            self._write(name)
        batch = BatchOptions(targets=tuple(names), captions=captions, agreed=agreed)
        asked_at = self.clock.wall()
        try:
            added = self._run(self.runner.add([str(path)], batch))
            self._run(self.runner.wait_for_comparisons(added))
        except ProblemError as trouble:
            assert trouble.code == self.runner.batch_status().problem == "state_unwritable"
            return
        assert not added.path_problems
        if added.problems:
            assert before is not None and not agreed and [trouble.code for trouble in added.problems] == ["source_touched"]
            return
        renewed = before is None or added.effects[AddEffect.RENEWED]
        for language in names:
            if renewed or before is None or language not in before.dubs or self._is_stale(before, language):
                self._record_consent(name, language, before, asked_at)

    def _is_stale(self, before: Job, language: str) -> bool:
        """It may have become so while the file was added."""
        return before.dubs[language].stale or self.jobs[before.id].version != before.version

    def stamp_source(self, path: str) -> FileStamp | None:
        """In place of the look before a paid request."""
        self.content_at_check[path] = Path(path).read_bytes() if os.path.exists(path) else None
        return genuine_stamp(path)

    def _source(self, name: str) -> Path:
        """Where its job knows it, or where it is first put."""
        known = [Path(job.source.path) for job in self.jobs.values() if job.options.title == name]
        return known[0] if known else self.folder / "videos" / f"{name}.mp4"

    def _write(self, name: str, more: str = "") -> None:
        self.edit_count += 1
        self._source(name).write_bytes(f"{name} {self.edit_count:05}{more}".encode())
        self._touch(name)

    def _touch(self, name: str) -> None:
        """Each time is another one, on a disk that keeps nanoseconds."""
        now = int(self.clock.wall()) * 1_000_000_000 + self.edit_count * 1000 + 7
        os.utime(self._source(name), ns=(now, now))

    @precondition(lambda self: self.jobs)
    @rule(
        number=picks,
        how=st.sampled_from(("edited", "edited", "longer", "touched", "deleted")),
        names=st.none() | some_languages,
    )
    def the_source_changes(self, number: int, how: str, names: list[str] | None) -> None:
        """At any moment; perhaps just before something more is asked for, with which nobody says so."""
        name = list(self.jobs.values())[number % len(self.jobs)].options.title
        if self._source(name).exists():
            self._change(name, how)
        if names is not None:
            self.add_languages(name, names)
            self.loop.run_for(1)

    def _change(self, name: str, how: str) -> None:
        match how:
            case "edited":
                self._write(name)
            case "longer":
                self._write(name, " and more" * self.edit_count)
            case "touched":
                self.edit_count += 1
                self._touch(name)
            case "deleted":
                self._source(name).unlink()

    def _record_consent(self, title: str, language: str, job: Job | None, at: float) -> None:
        """`job`: as it was when the user agreed."""
        self.consents.give(title, language, at, during_request=job is not None and is_requested(job, language))

    @rule(name=files, names=some_languages)
    def add_languages(self, name: str, names: list[str]) -> None:
        for job in list(self.jobs.values()):
            if job.options.title == name:
                for language in names:
                    if language not in job.dubs:
                        self._record_consent(name, language, job, self.clock.wall())
                self._run(self.runner.add_languages([job.id], names))

    @precondition(lambda self: self._retryable())
    @rule(number=picks, paid=st.booleans())
    def retry(self, number: int, paid: bool) -> None:
        self._answer(self._show(self.jobs, number, 1), paid)

    def _show(self, jobs: Mapping[str, Job], number: int, count: int) -> Prompt:
        """A user looks at so many dubs that can be retried, and is asked about them."""
        cells = _find_retryable(jobs)
        first = number % max(len(cells), 1)
        return self.consents.show(jobs, (cells[first:] + cells[:first])[:count], self.clock.wall())

    @rule(number=picks, count=st.integers(1, 4), in_shell=st.booleans())
    def open_a_prompt(self, number: int, count: int, in_shell: bool) -> None:
        """It stays open. In a shell it shows what is on disk."""
        jobs = {job.id: job for job in self.saved_jobs} if in_shell else self.jobs
        if _find_retryable(jobs):
            self.prompts.append(self._show(jobs, number, count))

    @precondition(lambda self: self.prompts)
    @rule(number=picks, keep=st.booleans())
    def answer_a_prompt(self, number: int, keep: bool) -> None:
        """With yes, after anything else; perhaps another user has the same one open."""
        self._answer(self._take_prompt(number, keep), True)

    @precondition(lambda self: self._retryable())
    @rule(
        number=picks,
        count=st.integers(1, 4),
        in_shell=st.booleans(),
        meanwhile=some_acts,
        offline=st.booleans(),
    )
    def others_act_while_a_prompt_is_open(
        self, number: int, count: int, in_shell: bool, meanwhile: list[str], offline: bool
    ) -> None:
        """On the very dubs that it shows; then it is answered with yes."""
        self.open_a_prompt(number, count, in_shell)
        for what in meanwhile:
            self._befall_shown_dub(what, number)
            self.loop.settle()
        if offline and self.prompts:
            self.a_shell_without_runner("answer", len(self.prompts) - 1, True, False, 0)
        elif self.prompts:
            self.answer_a_prompt(len(self.prompts) - 1, False)

    def _befall_shown_dub(self, what: str, number: int) -> None:
        match what:
            case "retried" | "retried in vain" if self._retryable():
                self.retry(number, True)
                if what == "retried in vain":
                    self.loop.run_for(30)
                    self._fail_all("processing_error")
            case "cancelled" if self.jobs:
                self.cancel(number, False)
            case "removed" if self.jobs:
                self.remove(number, False, True)
            case "refused":
                self._fail_all("moderation")
            case "killed":
                self.kill(0.0, 0)

    def _take_prompt(self, number: int, keep: bool = False) -> Prompt:
        number %= len(self.prompts)
        return self.prompts[number] if keep else self.prompts.pop(number)

    def _answer(self, prompt: Prompt, paid: bool) -> None:
        """At the runner."""
        self._retry_as_shown(
            prompt,
            paid,
            self.jobs,
            lambda cells: self._call_in_loop(lambda: self.runner.retry(cells, allow_paid=paid)),
        )

    def _retry_as_shown(
        self, prompt: Prompt, paid: bool, jobs: Mapping[str, Job], retry: Callable[[Iterable[ShownDub]], RetryResult]
    ) -> None:
        """What the user agrees to is what was shown: dubs that are different by now stay as they are."""
        before, at = dict(jobs), self.clock.wall()
        unchanged = [cell for cell in prompt.views if self._is_as_shown(before, cell, prompt)]
        outcome = retry(prompt.views)
        asked = [cell for cell in unchanged if prompt.views[cell].policy.must_ask]
        assert outcome.retried <= len(unchanged) - (0 if paid else len(asked)), f"{prompt} is not what there was: {outcome}"
        for cell in asked if paid else ():
            job = before[cell.job]
            if jobs[cell.job].dubs[cell.language] != job.dubs[cell.language]:
                self._record_consent(job.options.title, cell.language, job, at)
                if prompt.views[cell].policy.resends_refused_content:
                    self.refusals.agree(job.options.title, cell.language)

    def _is_as_shown(self, jobs: Mapping[str, Job], cell: ShownDub, prompt: Prompt) -> bool:
        job = jobs.get(cell.job)
        return job is not None and cell.language in job.dubs and self.consents.view(job, cell.language) == prompt.views[cell]

    @rule(
        what=st.sampled_from(("retry", "answer", "cancel", "remove")),
        number=picks,
        agreed=st.booleans(),
        killed=st.booleans(),
        away=st.sampled_from((0, 5, 4000)),
    )
    def a_shell_without_runner(self, what: str, number: int, agreed: bool, killed: bool, away: float) -> None:
        """Commands change what is in the store while no runner works."""
        self._end_process(killed)
        self.disk_full, self.full_since = False, math.inf
        self.clock.forget_process()
        shown_at = self.clock.wall()
        stored = JobStore(str(self.folder / "state")).load(set_aside=False).jobs
        jobs = {job.id: resume_job(job, shown_at) for job in stored}
        cells = [DubRef(job.id, language) for job in jobs.values() for language in job.dubs]
        prompt = self._take_prompt(number) if what == "answer" and self.prompts else self._show(jobs, number, 2)
        self.clock.now += away
        with OfflineBatch(self._settings(), prompt.at) as batch:
            if what in ("retry", "answer"):
                paid = agreed or what == "answer"
                self._retry_as_shown(
                    prompt,
                    paid,
                    batch.jobs,
                    lambda shown: request_handlers.retry(batch.jobs, shown, paid, self.clock.wall(), batch.update_job, is_gone),
                )
            elif cells and what == "cancel":
                meant = shown_in_any_state(jobs, [cells[number % len(cells)]])
                request_handlers.cancel(batch.jobs, meant, self.clock.wall(), batch.cancel_dubs)
            elif cells:
                before = dict(batch.jobs)
                meant = shown_dubs(jobs, [cells[number % len(cells)]])
                removed = request_handlers.remove(batch.jobs, meant, agreed, batch.remove_dubs, is_gone)
                self._check_removed(before, batch.jobs, meant, agreed, removed)
        self._restart_runner(0)

    @rule()
    def retry_what_is_free(self) -> None:
        """As `run` does at its start."""
        self._call_in_loop(lambda: self.runner.retry(request_handlers.find_free_retries(self.jobs), allow_paid=False))

    @precondition(lambda self: self.jobs)
    @rule(number=picks, whole=st.booleans())
    def cancel(self, number: int, whole: bool) -> None:
        cells = self._dub_refs()
        cell = cells[number % len(cells)]
        self._call_in_loop(
            lambda: self.runner.cancel(shown_in_any_state(self.jobs, [DubRef(cell.job, "" if whole else cell.language)]))
        )

    @precondition(lambda self: self.jobs)
    @rule(number=picks, whole=st.booleans(), forget=st.booleans())
    def remove(self, number: int, whole: bool, forget: bool) -> None:
        """Files stay, and belong to nobody then; nothing paid is forgotten unless the user says so."""
        cells = self._dub_refs()
        cell = cells[number % len(cells)]
        before = dict(self.jobs)
        meant = shown_dubs(self.jobs, [DubRef(cell.job, "" if whole else cell.language)])
        outcome = self._run(self.runner.remove(meant, allow_forgetting=forget))
        self._check_removed(before, self.jobs, meant, forget, outcome)

    def _check_removed(
        self,
        before: Mapping[str, Job],
        jobs: Mapping[str, Job],
        meant: Iterable[ShownDub],
        forget: bool,
        outcome: RemoveResult,
    ) -> None:
        taken = [cell for cell in meant if cell.job not in jobs or cell.language not in jobs[cell.job].dubs]
        assert outcome.count == len(taken)
        for cell in taken:
            dub = before[cell.job].dubs[cell.language]
            assert forget or dub.state is DubState.DONE or not dub.project
            self._record_foreign_outputs(before[cell.job], cell.language)

    def _record_foreign_outputs(self, job: Job, language: str) -> None:
        for ending in ("mp4", "srt", "vtt"):
            path = Path(output_path(job.source.path, language, job.outputs, ending))
            assert not path.with_name(f"{path.name}.part").exists()
            if path.exists():
                self.foreign_files_by_path[path] = path.read_bytes()

    @precondition(lambda self: self.runner.halted.is_set())
    @rule(good=st.booleans())
    def enter_key(self, good: bool) -> None:
        self.service.accepts_key = good
        self.service.faults.clear()
        self.service.down_until = 0.0
        try:
            self._run(self.runner.switch_api_key(fake_service.API_KEY))
        except client_module.InvalidApiKeyError:
            assert not good

    @precondition(lambda self: any(dub.output for job in self.jobs.values() for dub in job.dubs.values()))
    @rule(number=picks)
    def remove_an_output(self, number: int) -> None:
        made = [dub.output.path for job in self.jobs.values() for dub in job.dubs.values() if dub.output]
        path = made[number % len(made)]
        if Path(path) not in self.foreign_files_by_path and os.path.lexists(path):
            os.unlink(path)
        self.removed_outputs.add(path)

    @rule(name=files, language=languages, away=st.booleans())
    def foreign_files(self, name: str, language: str, away: bool) -> None:
        """One is put in the way of an output; or all are taken away."""
        path = self.folder / "videos" / f"{name}.dubbed-{language}.mp4"
        if away:
            self._take_foreign_files_away()
        elif not path.exists():
            path.write_bytes(b"foreign")
            self.foreign_files_by_path[path] = b"foreign"

    def _take_foreign_files_away(self) -> None:
        for job in self.jobs.values():
            self._take_back_outputs(job)
        for path in self.foreign_files_by_path:
            path.unlink()
            self.removed_outputs.add(str(path))  # the disk may still say that it is the output of a dub that was removed
        self.foreign_files_by_path.clear()

    # -- the service ---------------------------------------------------------------------------------------------------

    def _under_way(self) -> list[tuple[fake_service.FakeProject, fake_service.LanguageAttempt]]:
        return [(project, language) for project in self.service.projects.values() for language in project.unfinished_languages]

    @precondition(lambda self: self._under_way())
    @rule(number=picks, ends=st.sampled_from(("complete", "complete", "complete", "without address", *FAILURE_CODES)))
    def a_language_ends(self, number: int, ends: str) -> None:
        found = self._under_way()
        project, language = found[number % len(found)]
        language.status = "error" if ends in FAILURE_CODES else "complete"
        language.listed = True
        language.has_url = ends == "complete"
        language.code = ends
        if not project.unfinished_languages:
            project.status = "complete"

    @precondition(lambda self: self._under_way())
    @rule()
    def all_is_completed(self) -> None:
        self.service.complete_all()

    @precondition(lambda self: self.service.projects)
    @rule(number=picks, what=st.sampled_from(("deleted", *FAILURE_CODES)), lists=st.booleans())
    def a_project_is_lost(self, number: int, what: str, lists: bool) -> None:
        """It fails as a whole, perhaps listing what is complete in it; or nobody knows it any more."""
        name = list(self.service.projects)[number % len(self.service.projects)]
        project = self.service.projects[name]
        if what == "deleted":
            self.service.deleted_projects[name] = self.service.projects.pop(name)
        elif project.unfinished_languages:
            project.status, project.code, project.lists_in_error = "error", what, lists

    @precondition(lambda self: self.service.projects)
    @rule(number=picks, what=st.sampled_from(("hidden", "hidden", "late", "earlier", "caught up", "mended", "mended")))
    def the_service_is_behind(self, number: int, what: str) -> None:
        """With a project, or with what projects list; or what failed is complete after all."""
        name = list(self.service.projects)[number % len(self.service.projects)]
        match what:
            case "hidden":
                self.service.hidden.add(name)
            case "late":
                self.service.lists_late = True
            case "earlier":
                self.service.projects[name].lists_earlier = True
            case "caught up":
                self.service.catch_up()
            case "mended":
                fake_service.mend(self.service.projects[name])

    @rule(said=st.sampled_from(REFUSALS))
    def refuse_the_next_paid_request(self, said: str) -> None:
        self.service.next_refusals.append(said)

    # -- faults --------------------------------------------------------------------------------------------------------

    @rule(fault=st.sampled_from(FAULTS), count=st.integers(1, 9), gateway=gateways)
    def fault(self, fault: tuple[str, str], count: int, gateway: tuple[str, str]) -> None:
        """It befalls the next calls; of a network that is bad, eight are more than a download's patience."""
        where, kind = fault
        if kind == "a gateway":
            if gateway[0] == fake_service.NOTHING_NEW and where != Endpoint.ADD_LOCALES.value:
                return
            kind = ", ".join(gateway)
        self.service.add_faults(where, kind, count if where == "file" else min(count, 3))

    @rule(
        kind=st.sampled_from(("outage", "key", "credits", "disk", "pause")),
        begins=st.booleans(),
        minutes=st.sampled_from((1, 5, 30)),
    )
    def start_outage(self, kind: str, begins: bool, minutes: int) -> None:
        """It lasts until it ends by this rule, by another, or with time."""
        match kind:
            case "outage":
                self.service.down_until = self.clock.now + 60 * minutes * begins
            case "key":
                self.service.accepts_key = not begins
            case "credits":
                self.service.has_credits = not begins
            case "disk":
                self.disk_full = begins
                self.full_since = min(self.full_since, self.clock.now) if begins else math.inf
            case "pause" if not self.disk_full:
                self._pause(begins)

    def _pause(self, paused: bool) -> None:
        since = self.clock.wall() if self.paused_since is None else self.paused_since
        self.paused_since = since if paused else None
        self._run(self.runner.pause(paused))

    # -- time, and the end of processes --------------------------------------------------------------------------------

    @rule(seconds=moments)
    def a_moment_passes(self, seconds: float) -> None:
        self.loop.run_for(seconds)

    @rule(seconds=st.sampled_from((10, 30, 120)))
    def time_passes(self, seconds: float) -> None:
        self.loop.run_for(seconds)

    @rule(seconds=st.sampled_from((10, 60, 300)))
    def work_goes_on(self, seconds: float) -> None:
        """Here and at the service."""
        self.service.complete_all()
        self.loop.run_for(seconds)

    @rule(away=st.sampled_from((0, 5, 4000)))
    def stop_and_start(self, away: float) -> None:
        self._end_process(killed=False)
        self._restart_runner(away)

    @rule(moment=moments, away=st.sampled_from((0, 5, 4000)))
    def kill(self, moment: float, away: float) -> None:
        self.loop.run_for(moment)
        self._end_process(killed=True)
        self._restart_runner(away)

    def _end_process(self, killed: bool) -> None:
        saved = not killed and self._run(self.runner.stop())
        assert saved or killed or self.disk_full
        if not saved:
            self._record_forgotten_calls()
        self.loop.kill()
        close_files(self.folder)

    def _restart_runner(self, away: float) -> None:
        self.clock.now += away
        self.clock.forget_process()
        self.loop = VirtualLoop(self.clock)
        self.disk_full, self.full_since = False, math.inf
        self.runner = self._start_runner()
        assert self.runner.paused == (self.paused_since is not None)

    def _record_forgotten_calls(self) -> None:
        """What was not saved yet is lost with a process: calls of the last second, what moderation said just now; or all since
        the disk is full."""
        self.refusals.process_died(self.full_since)
        saved = JobStore(str(self.folder / "state")).read_document("quota").get("saved", 0.0)
        for endpoint, calls in self.service.call_times.items():
            self.forgotten_calls[endpoint] |= {at for at in calls if self.clock.wall() - self.clock.now + at >= saved}

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def all_that_is_ready_happened(self) -> None:
        """First of all, by its name."""
        self.loop.settle()
        self._check_disk()
        for job in self.jobs.values():
            self._take_back_outputs(job)

    def _take_back_outputs(self, job: Job) -> None:
        """The output of a dub that was removed is found, and taken, where the dub is asked for again."""
        for dub in job.dubs.values():
            path = Path(dub.output.path) if dub.output and _is_done(dub) else None
            if path in self.foreign_files_by_path and self.foreign_files_by_path[path] != b"foreign":
                for each in (path, *map(Path, dub.output.captions if dub.output else ())):
                    self.foreign_files_by_path.pop(each, None)

    def _check_disk(self) -> None:
        """The files, and that a start with the cache that is there would take them for what they are."""
        state = self.folder / "state"
        self.saved_jobs = JobStore(str(state)).load(set_aside=False).jobs
        files = [decode_job(path.read_text()) for path in (state / "jobs").glob("*.toml")]
        assert {job.id: job for job in self.saved_jobs} == {job.id: job for job in files}

    @invariant()
    def nothing_was_sent_that_must_not(self) -> None:
        assert self.service.violations == []

    @invariant()
    def nothing_is_paid_without_a_consent(self) -> None:
        """One that named this dub in the state that it was in, and was given since the request before."""
        assert self.consents.find_missing() == []

    @invariant()
    def the_service_knows_what_the_store_says(self) -> None:
        for job in [*self.jobs.values(), *self.saved_jobs]:
            for language, dub in job.dubs.items():
                if dub.state in SENT_STATES:
                    known = self.service.projects.get(dub.project) or self.service.deleted_projects[dub.project]
                    assert known.title == job.options.title
                if dub.state in SENT_STATES - {DubState.DUBBING}:
                    assert known.languages[language].status == "complete"
                if dub.failure is not None and dub.failure.scope is FailureScope.LANGUAGE and dub.failure.code in FAILURE_CODES:
                    known = self.service.projects.get(dub.project) or self.service.deleted_projects[dub.project]
                    ended = known.languages[language]
                    assert "error" in (ended.status, known.status) or ended.mended or known.mended or dub.erred

    @invariant()
    def done_means_that_the_file_is_there(self) -> None:
        dubs = [dub for job in self.jobs.values() for dub in job.dubs.values()]
        done_by_now = {dub.output.path for dub in dubs if dub.output and _is_done(dub)}
        for job in self.saved_jobs:
            open_again = {
                output_path(job.source.path, name, job.outputs) for name, dub in job.dubs.items() if not _is_done(dub)
            }
            self.removed_outputs -= open_again - done_by_now  # the disk may be behind
        for job in [*self.jobs.values(), *self.saved_jobs]:
            for language, dub in job.dubs.items():
                if dub.output and _is_done(dub) and dub.output.path not in self.removed_outputs:
                    path = Path(dub.output.path)
                    assert path.read_bytes() == self.service.video_content(dub.project, language), path
                    assert not path.with_name(f"{path.name}.part").exists()
                    assert all(os.path.exists(caption) for caption in dub.output.captions)

    @invariant()
    def final_names_are_whole_files_and_foreign_ones_stay(self) -> None:
        for path in (self.folder / "videos").rglob("*.dubbed-*.mp4"):
            if path in self.foreign_files_by_path:
                assert path.read_bytes() == self.foreign_files_by_path[path]
            else:
                project, language, _ = path.read_bytes().split(b" ", 2)
                assert path.read_bytes() == self.service.video_content(project.decode(), language.decode())

    @invariant()
    def nobody_is_idle_with_work_to_do(self) -> None:
        runner = self.runner
        if runner.halted.is_set():
            return
        for job in self.jobs.values():
            wanted = runner._context.startable_activities(job)
            if job.id not in runner._workers:
                assert not wanted or job.id in runner._upload_queue._waiting, f"{job.name} wants {wanted} and has no worker"
                continue
            for activity in wanted:
                task = runner._workers[job.id][0]._running.get(activity)
                assert task is not None and not task.done(), f"nobody does {activity} for {job.name}"
        if runner._upload_queue:
            assert len(runner._jobs_with_upload_slot) == MAX_UPLOADS
            for job_id in runner._jobs_with_upload_slot:
                assert any(isinstance(each, Upload) for each in needed_activities(self.jobs[job_id])), (
                    "a place to upload lies idle"
                )

    @invariant()
    def idle_means_that_nothing_goes_on(self) -> None:
        runner = self.runner
        work = (
            runner._workers
            or runner._upload_queue
            or runner._unsettled_sources
            or runner.live_jobs.has_unsaved_changes
            or runner._comparison_queue.busy
        )
        assert runner.idle.is_set() == (not work)
        if runner.idle.is_set() and not runner.halted.is_set():
            dubs = [dub for job in self.jobs.values() for dub in job.dubs.values()]
            left = [dub for dub in dubs if dub.state in OPEN_STATES - self._states_waiting_for_user() and dub.hold is None]
            assert left == [], (runner.paused, runner.account_refusal)
            assert self.saved_jobs == list(self.jobs.values())

    def _states_waiting_for_user(self) -> set[DubState]:
        """In which states a dub waits for the user: a pause lets no download begin either, a refused account does."""
        if self.runner.paused:
            return {DubState.WAITING, DubState.READY}
        return {DubState.WAITING} if self.runner.account_refusal else set()

    @invariant()
    def answers_are_kept_of_projects_that_jobs_know(self) -> None:
        """Of others they would stay for ever: who ends tells the poller to forget what the job knows."""
        known = {project for job in self.jobs.values() for project in job.projects}
        poller = self.runner._poller
        assert poller._kept_projects | poller._latest.keys() | poller._refused.keys() <= known

    @invariant()
    def quota_windows_are_respected(self) -> None:
        for endpoint, calls in self.service.call_times.items():
            counted = [at for at in calls if at not in self.forgotten_calls[endpoint]]
            for most, seconds in RATE_LIMITS[endpoint.is_write]:
                for first, last in zip(counted, counted[most:], strict=False):
                    assert last - first >= seconds, f"{most + 1} calls of {endpoint} in {last - first} seconds"

    # -- the end -------------------------------------------------------------------------------------------------------

    def _finish_all(self) -> None:
        """With the faults gone, all that is open comes to its end, and what may be retried for free is done."""
        self._take_foreign_files_away()
        self._clear_faults()
        self._until_idle()
        left = self._retry_what_is_free()
        self._nothing_that_is_complete_stays_away()
        assert all(dub.failure and dub.failure.code == "project_not_found" for dub in left), left  # each start looks again
        told = self.runner.batch_status()
        assert told.problem == "", told

    def _retry_what_is_free(self) -> list[Dub]:
        """And what then still could be."""
        self._call_in_loop(lambda: self.runner.retry(request_handlers.find_free_retries(self.jobs), allow_paid=False))
        self._until_idle()
        return [self.jobs[cell.job].dubs[cell.language] for cell in request_handlers.find_free_retries(self.jobs)]

    def _nothing_that_is_complete_stays_away(self) -> None:
        """What the user did not give up, and the service has, is on disk; or a retry brings it, and be it that he is asked for
        consent to pay where it is not found: it is looked for first."""
        away = [(job, language) for job in self.jobs.values() for language in job.dubs if self._is_there(job, language)]
        if not away:
            return
        before = self.service.count_possible_payments()
        cells = [DubRef(job.id, language) for job, language in away]
        self._call_in_loop(lambda: self.runner.retry(shown_dubs(self.jobs, cells), allow_paid=True))
        self._until_idle()
        for job, language in away:
            dub = self.jobs[job.id].dubs[language]
            assert _is_done(dub), f"{job.name} {language} is complete at the service, and was {job.dubs[language]}, is {dub}"
        assert self.service.count_possible_payments() == before

    def _is_there(self, job: Job, language: str) -> bool:
        """Whether the dub is not done, and the project that it was in has it complete, from the source as it is now."""
        dub, project = job.dubs[language], self.service.projects.get(job.dubs[language].project)
        if dub.state in (DubState.DONE, DubState.CANCELLED) or project is None:
            return False
        known = project.languages.get(language)
        content = self.service.assets[project.asset].content
        return known is not None and known.status == "complete" and content == Path(job.source.path).read_bytes()

    def _clear_faults(self) -> None:
        self.disk_full, self.full_since = False, math.inf
        self.service.clear_faults()
        for job in self.jobs.values():
            if not Path(job.source.path).exists():
                self._write(job.options.title)
        if self.runner.paused or self.runner.account_refusal:
            self._pause(False)

    def _until_idle(self) -> None:
        for _ in range(500):
            self.service.complete_all()
            self.loop.run_for(30)
            if self.runner.halted.is_set():  # perhaps by an answer that was under way
                self._run(self.runner.switch_api_key(fake_service.API_KEY))
            elif self.runner.account_refusal:
                self._run(self.runner.pause(False))
            elif self.runner.idle.is_set():
                break
        else:
            raise AssertionError(f"still at work after hours: {self._open_jobs()}")
        self._check_disk()
        for check in (
            self.nothing_is_paid_without_a_consent,
            self.done_means_that_the_file_is_there,
            self.idle_means_that_nothing_goes_on,
        ):
            check()

    def _open_jobs(self) -> list[tuple[str, list[Any]]]:
        return [(job.name, [*needed_activities(job)]) for job in self.jobs.values() if job.is_open]


def _find_retryable(jobs: Mapping[str, Job]) -> list[DubRef]:
    cells = [DubRef(job.id, language) for job in jobs.values() for language in job.dubs]
    return [cell for cell in cells if request_handlers.find_retry_policy(jobs[cell.job], cell.language, is_gone).step]


def _is_done(dub: Dub) -> bool:
    return dub.state is DubState.DONE


RunnerMachine.TestCase.settings = examples(64, steps=30)
TestLife = RunnerMachine.TestCase
