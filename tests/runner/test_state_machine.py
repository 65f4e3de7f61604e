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
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from synthdub_tui.errors import Trouble
from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.jobs.model import OPEN, Dub, DubState, Job, Scope
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.reconcile import Deliver, activities
from synthdub_tui.jobs.retry_policy import RetryPolicy, policy
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner.activities.submit import _stamp_now as genuine_look
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.model import QuotaSettings, Settings
from synthdub_tui.sources.add_file import Effect
from synthdub_tui.sources.same_file import Stamp
from synthdub_tui.store.codec import decode_job
from synthdub_tui.store.job_store import Store
from synthdub_tui.synthesia import client as client_module
from synthdub_tui.synthesia.rate_gate import Endpoint
from tests.dub_refs import seen, unmarked
from tests.runner import fake_service
from tests.runner.books import Refusals
from tests.runner.fake_service import PaidRequest, Service
from tests.runner.world import MEMORY, close_files, examples, wired
from tests.virtual_time import VirtualLoop, virtual_time

LANGUAGES: Final = ("fr-FR", "es-ES", "de-DE")
FILES: Final = ("one", "two", "three")
LIMITS: Final = {True: ((5, 60.0), (60, 3600.0)), False: ((20, 60.0), (4000, 86_400.0))}
"""Of writes and of reads: low enough that they matter."""

UPLOADS: Final = 1
"""At once, so that there is a line."""

FAULTS: Final = (
    *((endpoint.value, kind) for endpoint in Endpoint for kind in fake_service.READ_FAULTS),
    *((endpoint.value, "500 after") for endpoint in Endpoint if endpoint.write),
    *((endpoint.value, "a gateway") for endpoint in Endpoint),
    *((endpoint.value, "a gateway") for endpoint in fake_service.PAID),
    *(("upload", kind) for kind in fake_service.UPLOAD_FAULTS),
    *(("file", kind) for kind in fake_service.FILE_FAULTS),
)
"""Where, and what. Of a gateway it is drawn which answer it gives, and when."""

SENT: Final = frozenset({DubState.DUBBING, DubState.READY, DubState.DOWNLOADING, DubState.DONE})
CODES: Final = ("processing_error", "moderation", "new_to_us")
REFUSALS: Final = ("no", "BrokenAssetUrlError", "named no", "named moderation", "moderation")


files = st.sampled_from(FILES)
languages = st.sampled_from(LANGUAGES)
some_languages = st.lists(languages, unique=True, min_size=1)
picks = st.integers(0, 2**16)
gateways = st.tuples(st.sampled_from((*fake_service.GATEWAYS, fake_service.NOTHING_NEW)), st.sampled_from(("before", "after")))
moments = st.sampled_from((0.0, 0.001, 0.02, 0.04, 0.06, 0.11, 0.3, 1.0, 3.0))
"""Seconds to the middle of something."""


class Life(RuleBasedStateMachine):
    """One state directory, one service, and the runner that happens to live. After each rule all is held against both."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self.clock = self._open.enter_context(virtual_time())
        self.folder = Path(tempfile.mkdtemp(prefix="synthdub-life-", dir=MEMORY))
        self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.refusals = Refusals(self.clock)
        self.service = Service(self.clock, self._check_intent, self.refusals.give_back, self.refusals.told)
        self._open.enter_context(wired(self.service, self.clock, self))
        self.disk_full = False
        self.full_since = math.inf
        self.paused_since: float | None = None  # by a person, by the wall clock
        self.clock.disk_seconds = lambda: random.choice((0.0, 0.001, 0.02, 0.1))
        self.consents: Counter[tuple[str, str]] = Counter()

        self.foreign: dict[Path, bytes] = {}
        self.edits = 0
        self.looked: dict[str, bytes | None] = {}  # what a source held when it was looked at before a paid request
        self.saved: list[Job] = []  # as on disk after the last rule
        self.removed: set[str] = set()  # outputs that the user deleted
        self.forgotten: dict[Endpoint, set[float]] = {endpoint: set() for endpoint in Endpoint}
        (self.folder / "videos").mkdir()
        self.loop = VirtualLoop(self.clock)
        self.runner = self._start()

    # -- machinery -----------------------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        quota = QuotaSettings(LIMITS[True], LIMITS[False])
        return Settings(
            api_key=fake_service.KEY,
            api_url=fake_service.API,
            state_dir=str(self.folder / "state"),
            quota=quota,
            max_uploads=UPLOADS,
            settle_seconds=0.0,
        )

    def _start(self) -> Runner:
        runner = Runner(self._settings())
        assert runner.open() == []

        async def start() -> None:
            runner.start()

        self.loop.run_until_complete(start())
        return runner

    def _do(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def _now(self, action: Any) -> Any:
        """Call something that wants the loop to run."""

        async def act() -> Any:
            return action()

        return self._do(act())

    @property
    def jobs(self) -> dict[str, Job]:
        return self.runner.ledger.jobs

    def _cells(self) -> list[Cell]:
        return [Cell(job.id, language) for job in self.jobs.values() for language in job.dubs]

    def _retryable(self) -> list[Cell]:
        return [cell for cell in self._cells() if retry_module.rung(self.jobs[cell.job].dubs[cell.language])]

    def _check_intent(self, paid: PaidRequest) -> None:
        """A paid request leaves: for what the user has, with its intent on disk, and not for what moderation refused."""
        title, names = paid.title, paid.languages
        seen = self.looked.get(str(self._source(title)))
        assert seen in (None, paid.content), f"{title}: {paid.content!r} is paid for, and {seen!r} was there at the last look"
        (job,) = [job for job in fake_service.stored(self.folder / "state") if job["options"]["title"] == title]
        assert set(job.get("submission", {}).get("languages", ())) == set(names), f"{title}: sent without an intent on disk"
        wrong = self.refusals.send(paid)
        assert not wrong, f"{title}: {wrong} sent again after moderation"
        begun = job["submission"]["at"]
        assert self.paused_since is None or begun <= self.paused_since, f"{title}: sent at {begun}, paused {self.paused_since}"

    def teardown(self) -> None:
        try:
            if not self.runner._stopping:
                self._end_well()
        finally:
            self.loop.kill()
            self._open.close()

    # -- the user ------------------------------------------------------------------------------------------------------

    @initialize(name=files, names=some_languages, stage=st.sampled_from(("new", "dubbing", "done")))
    def first(self, name: str, names: list[str], stage: str) -> None:
        self.add(name, names, True, False)
        if stage != "new":
            self.loop.run_for(60)
        if stage == "done":
            self.work_goes_on(60)

    @rule(name=files, names=some_languages, captions=st.booleans(), changed=st.booleans(), agreed=st.booleans())
    def add(self, name: str, names: list[str], captions: bool, changed: bool, agreed: bool = False) -> None:
        """Named again, further languages are added; a file that changed since starts anew. Where nothing tells whether it did,
        the user has to agree."""
        path = self._source(name)
        before = {job.name: job for job in self.jobs.values()}.get(path.name)
        if before is None or changed or not path.exists():
            self._write(name)
        batch = Batch(targets=tuple(names), captions=captions, agreed=agreed)
        try:
            added = self._do(self.runner.add([str(path)], batch))
            self._do(self.runner.compared(added))
        except Trouble as trouble:
            assert trouble.code == self.runner.overview().problem == "state_unwritable"
            return
        assert not added.refused
        if added.troubles:
            assert before is not None and not agreed and [trouble.code for trouble in added.troubles] == ["source_touched"]
            return
        renewed = before is None or added.effects[Effect.RENEWED]
        for language in names:
            if renewed or before is None or language not in before.dubs or self._is_stale(before, language):
                self._consent(name, language)

    def _is_stale(self, before: Job, language: str) -> bool:
        """It may have become so while the file was added."""
        return before.dubs[language].stale or self.jobs[before.id].version != before.version

    def look(self, path: str) -> Stamp | None:
        """In place of the look before a paid request."""
        self.looked[path] = Path(path).read_bytes() if os.path.exists(path) else None
        return genuine_look(path)

    def _source(self, name: str) -> Path:
        """Where its job knows it, or where it is first put."""
        known = [Path(job.source.path) for job in self.jobs.values() if job.options.title == name]
        return known[0] if known else self.folder / "videos" / f"{name}.mp4"

    def _write(self, name: str, more: str = "") -> None:
        self.edits += 1
        self._source(name).write_bytes(f"{name} {self.edits:05}{more}".encode())
        self._touch(name)

    def _touch(self, name: str) -> None:
        """Each time is another one, on a disk that keeps nanoseconds."""
        now = int(self.clock.wall()) * 1_000_000_000 + self.edits * 1000 + 7
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
                self._write(name, " and more" * self.edits)
            case "touched":
                self.edits += 1
                self._touch(name)
            case "deleted":
                self._source(name).unlink()

    def _consent(self, title: str, language: str) -> None:
        self.consents[title, language] += 1

    @rule(name=files, names=some_languages)
    def add_languages(self, name: str, names: list[str]) -> None:
        for job in list(self.jobs.values()):
            if job.options.title == name:
                for language in names:
                    if language not in job.dubs:
                        self._consent(name, language)
                self._do(self.runner.add_languages([job.id], names))

    @precondition(lambda self: self._retryable())
    @rule(number=picks, paid=st.booleans())
    def retry(self, number: int, paid: bool) -> None:
        cells = self._retryable()
        cell = cells[number % len(cells)]
        job = self.jobs[cell.job]
        means = policy(job, cell.language)
        retried, _, _ = self._now(lambda: self.runner.retry(seen(self.jobs, [cell]), paid=paid))
        assert not (means.must_ask and not paid and retried)
        if retried:
            self._retried(job.options.title, cell.language, means)

    def _retried(self, title: str, language: str, means: RetryPolicy) -> None:
        """The user saw what it means."""
        if means.must_ask:
            self._consent(title, language)
        if means.moderated:
            self.refusals.agree(title, language)

    @rule()
    def retry_what_is_free(self) -> None:
        """As `run` does at its start."""
        self._now(lambda: self.runner.retry(request_handlers.free_cells(self.jobs), paid=False))

    @precondition(lambda self: self.jobs)
    @rule(number=picks, whole=st.booleans())
    def cancel(self, number: int, whole: bool) -> None:
        cells = self._cells()
        cell = cells[number % len(cells)]
        self._now(lambda: self.runner.cancel(unmarked(self.jobs, [Cell(cell.job, "" if whole else cell.language)])))

    @precondition(lambda self: self.jobs)
    @rule(number=picks, whole=st.booleans(), forget=st.booleans())
    def remove(self, number: int, whole: bool, forget: bool) -> None:
        """Files stay, and belong to nobody then; nothing paid is forgotten unless the user says so."""
        cells = self._cells()
        cell = cells[number % len(cells)]
        before = self.jobs[cell.job]
        languages = list(before.dubs) if whole else [cell.language]
        meant = seen(self.jobs, [Cell(cell.job, "" if whole else cell.language)])
        outcome = self._do(self.runner.remove(meant, forget=forget))
        after = self.jobs[cell.job].dubs if cell.job in self.jobs else {}
        taken = [language for language in languages if language not in after]
        assert outcome.count == len(taken)
        for language in taken:
            assert forget or before.dubs[language].state is DubState.DONE or not before.dubs[language].project
            self._disown(before, language)

    def _disown(self, job: Job, language: str) -> None:
        for ending in ("mp4", "srt", "vtt"):
            path = Path(output_path(job.source.path, language, job.outputs, ending))
            assert not path.with_name(f"{path.name}.part").exists()
            if path.exists():
                self.foreign[path] = path.read_bytes()

    @precondition(lambda self: self.runner.halted.is_set())
    @rule(good=st.booleans())
    def name_a_key(self, good: bool) -> None:
        self.service.key_good = good
        self.service.faults.clear()
        self.service.down_until = 0.0
        try:
            self._do(self.runner.check_key(fake_service.KEY))
        except client_module.KeyRejected:
            assert not good

    @precondition(lambda self: any(dub.output for job in self.jobs.values() for dub in job.dubs.values()))
    @rule(number=picks)
    def remove_an_output(self, number: int) -> None:
        made = [dub.output.path for job in self.jobs.values() for dub in job.dubs.values() if dub.output]
        path = made[number % len(made)]
        if Path(path) not in self.foreign and os.path.lexists(path):
            os.unlink(path)
        self.removed.add(path)

    @rule(name=files, language=languages, away=st.booleans())
    def foreign_files(self, name: str, language: str, away: bool) -> None:
        """One is put in the way of an output; or all are taken away."""
        path = self.folder / "videos" / f"{name}.dubbed-{language}.mp4"
        if away:
            self._take_foreign_files_away()
        elif not path.exists():
            path.write_bytes(b"foreign")
            self.foreign[path] = b"foreign"

    def _take_foreign_files_away(self) -> None:
        for job in self.jobs.values():
            self._own_again(job)
        for path in self.foreign:
            path.unlink()
            self.removed.add(str(path))  # the disk may still say that it is the output of a dub that was removed
        self.foreign.clear()

    # -- the service ---------------------------------------------------------------------------------------------------

    def _under_way(self) -> list[tuple[fake_service.Project, fake_service.Language]]:
        return [(project, language) for project in self.service.projects.values() for language in project.under_way]

    @precondition(lambda self: self._under_way())
    @rule(number=picks, ends=st.sampled_from(("complete", "complete", "complete", "without address", *CODES)))
    def a_language_ends(self, number: int, ends: str) -> None:
        found = self._under_way()
        project, language = found[number % len(found)]
        language.status = "error" if ends in CODES else "complete"
        language.listed = True
        language.address = ends == "complete"
        language.code = ends
        if not project.under_way:
            project.status = "complete"

    @precondition(lambda self: self._under_way())
    @rule()
    def all_is_completed(self) -> None:
        self.service.complete()

    @precondition(lambda self: self.service.projects)
    @rule(number=picks, what=st.sampled_from(("deleted", *CODES)), lists=st.booleans())
    def a_project_is_lost(self, number: int, what: str, lists: bool) -> None:
        """It fails as a whole, perhaps listing what is complete in it; or nobody knows it any more."""
        name = list(self.service.projects)[number % len(self.service.projects)]
        project = self.service.projects[name]
        if what == "deleted":
            self.service.gone[name] = self.service.projects.pop(name)
        elif project.under_way:
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
        self.service.refusals.append(said)

    # -- faults --------------------------------------------------------------------------------------------------------

    @rule(fault=st.sampled_from(FAULTS), count=st.integers(1, 9), gateway=gateways)
    def fault(self, fault: tuple[str, str], count: int, gateway: tuple[str, str]) -> None:
        """It befalls the next calls; of a network that is bad, eight are more than a download's patience."""
        where, kind = fault
        if kind == "a gateway":
            if gateway[0] == fake_service.NOTHING_NEW and where != Endpoint.ADD_LOCALES.value:
                return
            kind = ", ".join(gateway)
        self.service.strike(where, kind, count if where == "file" else min(count, 3))

    @rule(
        kind=st.sampled_from(("outage", "key", "credits", "disk", "pause")),
        begins=st.booleans(),
        minutes=st.sampled_from((1, 5, 30)),
    )
    def trouble(self, kind: str, begins: bool, minutes: int) -> None:
        """It lasts until it ends by this rule, by another, or with time."""
        match kind:
            case "outage":
                self.service.down_until = self.clock.now + 60 * minutes * begins
            case "key":
                self.service.key_good = not begins
            case "credits":
                self.service.credits = not begins
            case "disk":
                self.disk_full = begins
                self.full_since = min(self.full_since, self.clock.now) if begins else math.inf
            case "pause" if not self.disk_full:
                self._pause(begins)

    def _pause(self, paused: bool) -> None:
        since = self.clock.wall() if self.paused_since is None else self.paused_since
        self.paused_since = since if paused else None
        self._do(self.runner.pause(paused))

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
        self.service.complete()
        self.loop.run_for(seconds)

    @rule(away=st.sampled_from((0, 5, 4000)))
    def stop_and_start(self, away: float) -> None:
        saved = self._do(self.runner.stop())
        assert saved or self.disk_full
        if not saved:
            self._forget_calls()
        self.loop.kill()
        self._start_again(away)

    @rule(moment=moments, away=st.sampled_from((0, 5, 4000)))
    def kill(self, moment: float, away: float) -> None:
        self.loop.run_for(moment)
        self._forget_calls()
        self.loop.kill()
        close_files(self.folder)
        self._start_again(away)

    def _start_again(self, away: float) -> None:
        self.clock.now += away
        self.clock.new_process()
        self.loop = VirtualLoop(self.clock)
        self.disk_full, self.full_since = False, math.inf
        self.runner = self._start()
        assert self.runner.paused == (self.paused_since is not None)

    def _forget_calls(self) -> None:
        """What was not saved yet is lost with a process: calls of the last second, what moderation said just now; or all since
        the disk is full."""
        self.refusals.process_died(self.full_since)
        saved = Store(str(self.folder / "state")).read_document("quota").get("saved", 0.0)
        for endpoint, calls in self.service.calls.items():
            self.forgotten[endpoint] |= {at for at in calls if self.clock.wall() - self.clock.now + at >= saved}

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def all_that_is_ready_happened(self) -> None:
        """First of all, by its name."""
        self.loop.settle()
        self._look_at_the_disk()
        for job in self.jobs.values():
            self._own_again(job)

    def _own_again(self, job: Job) -> None:
        """The output of a dub that was removed is found, and taken, where the dub is asked for again."""
        for dub in job.dubs.values():
            path = Path(dub.output.path) if dub.output and _done(dub) else None
            if path in self.foreign and self.foreign[path] != b"foreign":
                for each in (path, *map(Path, dub.output.captions if dub.output else ())):
                    self.foreign.pop(each, None)

    def _look_at_the_disk(self) -> None:
        """The files, and that a start with the cache that is there would take them for what they are."""
        state = self.folder / "state"
        self.saved = Store(str(state)).load(set_aside=False).jobs
        files = [decode_job(path.read_text()) for path in (state / "jobs").glob("*.toml")]
        assert {job.id: job for job in self.saved} == {job.id: job for job in files}

    @invariant()
    def nothing_was_sent_that_must_not(self) -> None:
        assert self.service.wrong == []

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        exposures = self.service.exposures()
        over = {key: (count, self.consents[key]) for key, count in exposures.items() if count > self.consents[key]}
        assert not over, f"sent, and agreed to: {over}"

    @invariant()
    def the_service_knows_what_the_store_says(self) -> None:
        for job in [*self.jobs.values(), *self.saved]:
            for language, dub in job.dubs.items():
                if dub.state in SENT:
                    known = self.service.projects.get(dub.project) or self.service.gone[dub.project]
                    assert known.title == job.options.title
                if dub.state in SENT - {DubState.DUBBING}:
                    assert known.languages[language].status == "complete"
                if dub.failure is not None and dub.failure.scope is Scope.LANGUAGE and dub.failure.code in CODES:
                    known = self.service.projects.get(dub.project) or self.service.gone[dub.project]
                    ended = known.languages[language]
                    assert "error" in (ended.status, known.status) or ended.mended or known.mended or dub.erred

    @invariant()
    def done_means_that_the_file_is_there(self) -> None:
        dubs = [dub for job in self.jobs.values() for dub in job.dubs.values()]
        done_by_now = {dub.output.path for dub in dubs if dub.output and _done(dub)}
        for job in self.saved:
            open_again = {output_path(job.source.path, name, job.outputs) for name, dub in job.dubs.items() if not _done(dub)}
            self.removed -= open_again - done_by_now  # the disk may be behind
        for job in [*self.jobs.values(), *self.saved]:
            for language, dub in job.dubs.items():
                if dub.output and _done(dub) and dub.output.path not in self.removed:
                    path = Path(dub.output.path)
                    assert path.read_bytes() == self.service.content(dub.project, language), path
                    assert not path.with_name(f"{path.name}.part").exists()
                    assert all(os.path.exists(caption) for caption in dub.output.captions)

    @invariant()
    def final_names_are_whole_files_and_foreign_ones_stay(self) -> None:
        for path in (self.folder / "videos").rglob("*.dubbed-*.mp4"):
            if path in self.foreign:
                assert path.read_bytes() == self.foreign[path]
            else:
                project, language, _ = path.read_bytes().split(b" ", 2)
                assert path.read_bytes() == self.service.content(project.decode(), language.decode())

    @invariant()
    def nobody_is_idle_with_work_to_do(self) -> None:
        runner = self.runner
        if runner.halted.is_set():
            return
        for job in self.jobs.values():
            wanted = runner._shop.wanted(job)
            if job.id not in runner._workers:
                assert not wanted or job.id in runner._line._waiting, f"{job.name} wants {wanted} and has no worker"
                continue
            for activity in wanted:
                task = runner._workers[job.id][0]._running.get(activity)
                assert task is not None and not task.done(), f"nobody does {activity} for {job.name}"
        if runner._line:
            assert len(runner._delivering) == UPLOADS
            for job_id in runner._delivering:
                assert any(isinstance(each, Deliver) for each in activities(self.jobs[job_id])), "a place to upload lies idle"

    @invariant()
    def idle_means_that_nothing_goes_on(self) -> None:
        runner = self.runner
        work = runner._workers or runner._line or runner._rest or runner.ledger.saving or runner._comparisons.busy
        assert runner.idle.is_set() == (not work)
        if runner.idle.is_set() and not runner.halted.is_set():
            dubs = [dub for job in self.jobs.values() for dub in job.dubs.values()]
            left = [dub for dub in dubs if dub.state in OPEN - self._waits() and dub.hold is None]
            assert left == [], (runner.paused, runner.refusal)
            assert self.saved == list(self.jobs.values())

    def _waits(self) -> set[DubState]:
        """In which states a dub waits for the user: a pause lets no download begin either, a refused account does."""
        if self.runner.paused:
            return {DubState.WAITING, DubState.READY}
        return {DubState.WAITING} if self.runner.refusal else set()

    @invariant()
    def answers_are_kept_of_projects_that_jobs_know(self) -> None:
        """Of others they would stay for ever: who ends tells the poller to forget what the job knows."""
        known = {project for job in self.jobs.values() for project in job.projects}
        poller = self.runner._poller
        assert poller._of_use | poller._latest.keys() | poller._refused.keys() <= known

    @invariant()
    def quota_windows_are_respected(self) -> None:
        for endpoint, calls in self.service.calls.items():
            counted = [at for at in calls if at not in self.forgotten[endpoint]]
            for most, seconds in LIMITS[endpoint.write]:
                for first, last in zip(counted, counted[most:], strict=False):
                    assert last - first >= seconds, f"{most + 1} calls of {endpoint} in {last - first} seconds"

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end_well(self) -> None:
        """With the faults gone, all that is open comes to its end, and what may be retried for free is done."""
        self._take_foreign_files_away()
        self._heal()
        self._until_idle()
        left = self._retry_what_is_free()
        self._nothing_that_is_complete_stays_away()
        assert all(dub.failure and dub.failure.code == "project_not_found" for dub in left), left  # each start looks again
        told = self.runner.overview()
        assert told.problem == "", told

    def _retry_what_is_free(self) -> list[Dub]:
        """And what then still could be."""
        self._now(lambda: self.runner.retry(request_handlers.free_cells(self.jobs), paid=False))
        self._until_idle()
        return [self.jobs[cell.job].dubs[cell.language] for cell in request_handlers.free_cells(self.jobs)]

    def _nothing_that_is_complete_stays_away(self) -> None:
        """What the user did not give up, and the service has, is on disk; or a retry brings it, and be it that he is asked for
        consent to pay where it is not found: it is looked for first."""
        away = [(job, language) for job in self.jobs.values() for language in job.dubs if self._is_there(job, language)]
        if not away:
            return
        before = self.service.exposures()
        cells = [Cell(job.id, language) for job, language in away]
        self._now(lambda: self.runner.retry(seen(self.jobs, cells), paid=True))
        self._until_idle()
        for job, language in away:
            dub = self.jobs[job.id].dubs[language]
            assert _done(dub), f"{job.name} {language} is complete at the service, and was {job.dubs[language]}, is {dub}"
        assert self.service.exposures() == before

    def _is_there(self, job: Job, language: str) -> bool:
        """Whether the dub is not done, and the project that it was in has it complete, from the source as it is now."""
        dub, project = job.dubs[language], self.service.projects.get(job.dubs[language].project)
        if dub.state in (DubState.DONE, DubState.CANCELLED) or project is None:
            return False
        known = project.languages.get(language)
        content = self.service.assets[project.asset].content
        return known is not None and known.status == "complete" and content == Path(job.source.path).read_bytes()

    def _heal(self) -> None:
        self.disk_full, self.full_since = False, math.inf
        self.service.heal()
        for job in self.jobs.values():
            if not Path(job.source.path).exists():
                self._write(job.options.title)
        if self.runner.paused or self.runner.refusal:
            self._pause(False)

    def _until_idle(self) -> None:
        for _ in range(500):
            self.service.complete()
            self.loop.run_for(30)
            if self.runner.halted.is_set():  # perhaps by an answer that was under way
                self._do(self.runner.check_key(fake_service.KEY))
            elif self.runner.refusal:
                self._do(self.runner.pause(False))
            elif self.runner.idle.is_set():
                break
        else:
            raise AssertionError(f"still at work after hours: {self._open_jobs()}")
        self._look_at_the_disk()
        for check in (self.nothing_is_paid_twice, self.done_means_that_the_file_is_there, self.idle_means_that_nothing_goes_on):
            check()

    def _open_jobs(self) -> list[tuple[str, list[Any]]]:
        return [(job.name, [*activities(job)]) for job in self.jobs.values() if job.open]


def _done(dub: Dub) -> bool:
    return dub.state is DubState.DONE


Life.TestCase.settings = examples(80, steps=30)
TestLife = Life.TestCase
