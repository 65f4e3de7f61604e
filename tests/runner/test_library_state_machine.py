"""A library of videos under any order of events, in virtual time: files that are touched, moved, linked, copied, that grow or
are replaced; state directories that are lost, restored from an older copy, or two on the same videos. Receipts outlive them.

By the service's own books no content is paid for twice in one language, unless the user agreed or the earlier try ended in
failure. `SYNTHDUB_MACHINE=2000 pytest -n0 tests/runner/test_library_state_machine.py` runs that many examples.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.retry_policy import policy_for
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner import unsettled_sources as rest_module
from synthdub_tui.runner.activities.submit import _stamp_now as genuine_stamp
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.model import Settings
from synthdub_tui.sources import write_probe as look_module
from synthdub_tui.sources.settle import FileObservation
from synthdub_tui.store.job_store import JobStore
from tests.dub_refs import shown_dubs, shown_in_any_state
from tests.runner import fake_service
from tests.runner.fake_service import FakeService, SentPaidRequest
from tests.runner.world import MEMORY, close_files, examples, wired
from tests.virtual_time import VirtualLoop, virtual_time

LANGUAGES: Final = ("fr-FR", "es-ES")
FILE_NAMES: Final = ("one.mp4", "two.mp4", "new/three.mp4")
CONTENTS: Final = (b"a" * 100, b"b" * 100, b"c" * 70)
"""Two of one size, which only a look inside tells apart."""

PAID_REQUEST_FAULTS: Final = ("lost before", "lost after", "500 after", "refused", "429", "500")
OTHER_FAULTS: Final = (
    ("GET /v2/dubbing/{id}", "500"),
    ("upload", "upload_failed"),
    ("upload", "credentials_expired"),
    ("file", "cut"),
)
STATE_FOLDERS: Final = ("home", "home", "second")
"""State directories, the first twice as often."""

names = st.sampled_from(FILE_NAMES)
some_languages = st.lists(st.sampled_from(LANGUAGES), unique=True, min_size=1)
state_folders = st.sampled_from(STATE_FOLDERS)
add_options = st.sampled_from(("", "", "lipsync", "new"))
copy_kinds = st.sampled_from(("moved", "moved", "copied", "copied with its time", "linked", "points"))
picks = st.integers(0, 2**16)
moments = st.sampled_from((0.0, 0.001, 0.02, 0.04, 0.06, 0.11, 0.3, 1.0, 2.1, 3.0))


@dataclass(frozen=True)
class SentRequest:
    """A paid request, by whom it was sent and when, and its languages that stood paid for by then."""

    paid: SentPaidRequest
    state_folder: str
    job: str
    path: str
    sent_at: float
    languages_paid_again: frozenset[str]


@dataclass(frozen=True)
class PaymentConsent:
    """The user agreed to pay again for a language of a job, or of a file, in the batch of one state directory."""

    state_folder: str
    job_or_path: str
    language: str
    given_at: float


class LibraryMachine(RuleBasedStateMachine):
    """One folder of videos, one service, and one or two state directories with a runner each."""

    def __init__(self) -> None:
        super().__init__()
        self._exit_stack = ExitStack()
        self.clock = self._exit_stack.enter_context(virtual_time())
        self.folder = Path(tempfile.mkdtemp(prefix="synthdub-library-", dir=MEMORY))
        self._exit_stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.service = FakeService(self.clock, self._note_request)
        self._exit_stack.enter_context(wired(self.service, self.clock, self))
        patch = self._exit_stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(rest_module, "observe_files", self._observe_files)
        self.clock.disk_seconds = lambda: random.choice((0.0, 0.001, 0.02, 0.1))
        self.disk_full = False
        self.sent_requests: list[SentRequest] = []
        self.consents: list[PaymentConsent] = []
        self.edits = 0
        self.settle_seconds = 0.0
        self.second_folder_is_other_user = False
        self.videos = self.folder / "videos"
        (self.videos / "new").mkdir(parents=True)
        self.loop = VirtualLoop(self.clock)
        self.runners: dict[str, Runner] = {}

    # -- machinery -----------------------------------------------------------------------------------------------------

    def _settings(self, house: str) -> Settings:
        return Settings(
            api_key=fake_service.API_KEY,
            api_url=fake_service.API_URL,
            state_dir=str(self.folder / house),
            data_dir=str(self.folder / "data"),
            settle_seconds=self.settle_seconds,
            tier="unlimited",
        )

    def _runner(self, house: str) -> Runner:
        """That of a state directory, started if it does not work."""
        if house not in self.runners:
            runner = Runner(self._settings(house))
            assert runner.open() == []
            self._call_in_loop(runner.start)
            self.runners[house] = runner
        return self.runners[house]

    def _run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def _call_in_loop(self, action: Callable[[], Any]) -> Any:
        async def act() -> Any:
            return action()

        return self._run(act())

    stamp_source = staticmethod(genuine_stamp)

    def _observe_files(self, paths: Any) -> dict[str, FileObservation]:
        """Nobody has files open; and the time of the last change is virtual, like that of the content."""
        found = {}
        for path in paths:
            if status := _file_status(Path(path)):
                stamp = look_module.stamp_of_status(status)._replace(ctime_ns=status.st_mtime_ns)
                found[path] = FileObservation(stamp, False, self.clock.time(), self.clock.wall())
        return found

    def _note_request(self, paid: SentPaidRequest) -> None:
        """A paid request leaves, with its intent on disk in one of the state directories."""
        house, job = self._find_sender(paid)
        key = (paid.content, paid.lipsync)
        before = [
            each.paid for each in self.sent_requests if each.paid in self.service.paid_requests and _paid_key(each.paid) == key
        ]
        again = frozenset(each for each in paid.languages if any(request.may_have_paid_for(each) for request in before))
        self.sent_requests.append(SentRequest(paid, house, job.id, job.source.path, self.clock.now, again))

    def _find_sender(self, paid: SentPaidRequest) -> tuple[str, Job]:
        found = []
        for house in self.runners:
            for job in JobStore(str(self.folder / house)).load(set_aside=False).jobs:
                asset = job.submission and (job.submission.asset or job.projects.get(job.submission.project))
                if job.submission and set(job.submission.languages) == set(paid.languages) and asset in (paid.asset, ""):
                    found.append((house, job))
        assert found, f"{paid} has no intent on disk"
        return found[0]

    def teardown(self) -> None:
        try:
            self._finish_all()
        finally:
            self.loop.kill()
            self._exit_stack.close()

    # -- the user ------------------------------------------------------------------------------------------------------

    @initialize(
        settle=st.sampled_from((0.0, 0.0, 10.0)),
        apart=st.booleans(),
        name=names,
        content=st.sampled_from(CONTENTS),
        languages=some_languages,
        seconds=moments,
    )
    def first(self, settle: float, apart: bool, name: str, content: bytes, languages: list[str], seconds: float) -> None:
        self.settle_seconds, self.second_folder_is_other_user = settle, apart
        self.replace(name, content)
        self.add("home", name, False, languages, "")
        self.loop.run_for(2 + seconds)  # so that it is about to be paid for

    @rule(
        house=state_folders,
        name=names,
        whole=st.booleans(),
        languages=some_languages,
        how=st.sampled_from(("", "", "lipsync", "new")),
    )
    def add(self, house: str, name: str, whole: bool, languages: list[str], how: str) -> None:
        """A file is named, or all of them by their folder."""
        path = self.videos if whole else self.videos / name
        if _file_status(path) is None:
            return
        runner = self._runner(house)
        batch = BatchOptions(
            targets=tuple(languages),
            lipsync=how == "lipsync",
            force_new=how == "new",
            output_dir=str(self.folder / "elsewhere") if self.second_folder_is_other_user and house == "second" else "",
        )
        if batch.force_new:
            inside = [str(each) for each in self.videos.rglob("*") if each.suffix == ".mp4"] if whole else [str(path)]
            self._record_consent(house, inside, languages)
        added = self._run(runner.add([str(path)], batch))
        self._run(runner.wait_for_comparisons(added))
        if batch.force_new:
            jobs = [job.id for job in runner.live_jobs.jobs.values() if job.source.path in inside]
            self._record_consent(house, jobs, languages)

    def _record_consent(self, house: str, whom: list[str], languages: list[str]) -> None:
        self.consents += [PaymentConsent(house, each, language, self.clock.now) for each in whom for language in languages]

    def _dub_refs(self, house: str) -> list[DubRef]:
        jobs = self.runners[house].live_jobs.jobs if house in self.runners else {}
        return [DubRef(job.id, language) for job in jobs.values() for language in job.dubs]

    @rule(house=state_folders, number=picks, paid=st.booleans())
    def retry(self, house: str, number: int, paid: bool) -> None:
        cells = [
            cell for cell in self._dub_refs(house) if retry_module.cheapest_step(self._job(house, cell.job).dubs[cell.language])
        ]
        if not cells:
            return
        cell = cells[number % len(cells)]
        if paid and policy_for(self._job(house, cell.job), cell.language).must_ask:
            self._record_consent(house, [cell.job], [cell.language])
        jobs = self.runners[house].live_jobs.jobs
        self._call_in_loop(lambda: self.runners[house].retry(shown_dubs(jobs, [cell]), allow_paid=paid))

    def _job(self, house: str, job: str) -> Job:
        return self.runners[house].live_jobs.jobs[job]

    @rule(house=state_folders, number=picks, remove=st.booleans(), forget=st.booleans())
    def cancel_or_remove(self, house: str, number: int, remove: bool, forget: bool) -> None:
        cells = self._dub_refs(house)
        if not cells:
            return
        jobs, chosen = self.runners[house].live_jobs.jobs, [cells[number % len(cells)]]
        if remove:
            self._run(self.runners[house].remove(shown_dubs(jobs, chosen), allow_forgetting=forget))
        else:
            self._call_in_loop(lambda: self.runners[house].cancel(shown_in_any_state(jobs, chosen)))

    # -- files ---------------------------------------------------------------------------------------------------------

    def _touch(self, name: str) -> None:
        """Each time is another one, on a disk that keeps nanoseconds."""
        self.edits += 1
        now = int(self.clock.wall()) * 1_000_000_000 + self.edits * 1000 + 7
        os.utime(self.videos / name, ns=(now, now))

    @rule(name=names, content=st.sampled_from(CONTENTS))
    def replace(self, name: str, content: bytes) -> None:
        """By a new file, as most programs save; other names of the old one keep it."""
        path = self.videos / name
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        self._touch(name)

    @rule(name=names, how=st.sampled_from(("touched", "touched", "overwritten", "grows", "grows", "deleted")))
    def change(self, name: str, how: str) -> None:
        """In place, so that all its names change."""
        path = self.videos / name
        if _file_status(path) is None:
            return
        match how:
            case "touched":
                self._touch(name)
            case "overwritten":
                path.write_bytes(path.read_bytes()[::-1].swapcase())
                self._touch(name)
            case "grows":
                for _ in range(3):
                    path.write_bytes(path.read_bytes() + b"+")
                    self._touch(name)
                    self.loop.run_for(6)
            case "deleted":
                path.unlink()

    @rule(
        name=names, other=names, how=st.sampled_from(("moved", "moved", "copied", "copied with its time", "linked", "points"))
    )
    def spread(self, name: str, other: str, how: str) -> None:
        """The content is, or is also, under another name, and in place of what was there."""
        source, target = self.videos / name, self.videos / other
        if name == other or _file_status(source) is None or source.is_symlink():
            return
        target.unlink(missing_ok=True)
        match how:
            case "moved":
                source.rename(target)
            case "copied":
                shutil.copyfile(source, target)
                self._touch(other)
            case "copied with its time":
                shutil.copy2(source, target)
            case "linked":
                os.link(source, target)
            case "points":
                target.symlink_to(source)

    @rule(what=st.sampled_from(("outputs", "one output")), number=picks)
    def outputs_are_deleted(self, what: str, number: int) -> None:
        outputs = sorted(self.videos.rglob("*.dubbed-*"))
        for path in outputs if what == "outputs" else outputs[number % max(len(outputs), 1) :][:1]:
            path.unlink()

    # -- the service ---------------------------------------------------------------------------------------------------

    @rule(number=picks, code=st.sampled_from(("processing_error", "new_to_us")))
    def a_language_fails(self, number: int, code: str) -> None:
        found = [(project, each) for project in self.service.projects.values() for each in project.unfinished_languages]
        if found:
            project, language = found[number % len(found)]
            language.status, language.code = "error", code
            if not project.unfinished_languages:
                project.status = "complete"

    @precondition(lambda self: self.service.projects)
    @rule(number=picks, what=st.sampled_from(("deleted", "error")))
    def a_project_is_lost(self, number: int, what: str) -> None:
        name = list(self.service.projects)[number % len(self.service.projects)]
        if what == "deleted":
            self.service.deleted_projects[name] = self.service.projects.pop(name)
        elif self.service.projects[name].unfinished_languages:
            self.service.projects[name].status, self.service.projects[name].code = "error", "processing_error"

    @rule(where=st.sampled_from(("POST", "PUT")), kind=st.sampled_from(PAID_REQUEST_FAULTS))
    def a_paid_request_meets(self, where: str, kind: str) -> None:
        endpoint = fake_service._ROUTES[where, "dubbing"]
        self.service.add_faults(endpoint.value, kind, 1)

    @rule(fault=st.sampled_from(OTHER_FAULTS))
    def something_else_meets(self, fault: tuple[str, str]) -> None:
        self.service.add_faults(*fault, 1)

    @rule(said=st.sampled_from(("no", "BrokenAssetUrlError", "named no")))
    def a_paid_request_is_refused(self, said: str) -> None:
        self.service.next_refusals.append(said)

    # -- time, processes and state directories -------------------------------------------------------------------------

    @rule(seconds=moments)
    def a_moment_passes(self, seconds: float) -> None:
        self.loop.run_for(seconds)

    @rule(seconds=st.sampled_from((10, 60, 300)))
    def work_goes_on(self, seconds: float) -> None:
        self.service.complete_all()
        self.loop.run_for(seconds)

    @rule(
        moment=moments,
        away=st.sampled_from((0, 5, 4000)),
        killed=st.booleans(),
        then=st.sampled_from(("", "", "deleted", "restored")),
        house=state_folders,
    )
    def processes_end(self, moment: float, away: float, killed: bool, then: str, house: str) -> None:
        """All of them. The state of one house may be another when they start again."""
        self.loop.run_for(moment)
        for runner in () if killed else self.runners.values():
            self._run(runner.stop())
        self.loop.kill()
        close_files(self.folder)
        worked = list(self.runners)
        self.runners.clear()
        self.clock.now += away
        self.clock.forget_process()
        self.loop = VirtualLoop(self.clock)
        if then:
            self._restore_state(house, empty=then == "deleted")
        for each in worked:
            self._runner(each)

    def _restore_state(self, house: str, empty: bool) -> None:
        state, backup = self.folder / house, self.folder / f"{house}.backup"
        if empty or backup.exists():
            shutil.rmtree(state, ignore_errors=True)
        if not empty and backup.exists():
            shutil.copytree(backup, state)

    @rule(house=state_folders)
    def state_is_backed_up(self, house: str) -> None:
        """While the runner works, as backups are made."""
        state, backup = self.folder / house, self.folder / f"{house}.backup"
        shutil.rmtree(backup, ignore_errors=True)
        if state.exists():
            shutil.copytree(state, backup)

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def no_request_leaves_without_an_intent(self) -> None:
        self.loop.settle()
        assert self.service.violations == []

    @invariant()
    def no_content_is_paid_for_twice_unless_the_user_agreed(self) -> None:
        last: dict[tuple[str, str, str], float] = {}
        for sent in [each for each in self.sent_requests if each.paid in self.service.paid_requests]:
            for language in sent.paid.languages:
                since = last.get((sent.state_folder, sent.job, language), -1.0)
                last[sent.state_folder, sent.job, language] = sent.sent_at
                if language in sent.languages_paid_again and language in sent.paid.possibly_paid_languages:
                    assert self._has_agreed(sent, language, since), f"{language} of {sent} was paid for before"

    def _has_agreed(self, sent: SentRequest, language: str, since: float) -> bool:
        """Whether the user did after the request before this one."""
        return any(
            (each.state_folder, each.language) == (sent.state_folder, language)
            and each.job_or_path in (sent.job, sent.path)
            and since <= each.given_at <= sent.sent_at
            for each in self.consents
        )

    # -- the end -------------------------------------------------------------------------------------------------------

    def _finish_all(self) -> None:
        """With the faults gone all comes to its end, and what is free is retried."""
        self.service.clear_faults()
        self._until_idle()
        for runner in self.runners.values():
            free = request_handlers.find_free_retries(runner.live_jobs.jobs)
            self._call_in_loop(lambda runner=runner, free=free: runner.retry(free, allow_paid=False))
        self._until_idle()

    def _until_idle(self) -> None:
        for _ in range(500):
            self.service.complete_all()
            self.loop.run_for(30)
            if all(runner.idle.is_set() for runner in self.runners.values()):
                break
        else:
            raise AssertionError(f"still at work after hours: {self.runners}")
        self.no_content_is_paid_for_twice_unless_the_user_agreed()


def _paid_key(paid: SentPaidRequest) -> tuple[bytes, bool]:
    """What is bought by it."""
    return paid.content, paid.lipsync


def _file_status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


LibraryMachine.TestCase.settings = examples(80, steps=25)
TestLibrary = LibraryMachine.TestCase
