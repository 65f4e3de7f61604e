"""The user of the long soak: does what users do, in an order that chance gives, and remembers what was allowed to cost."""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc import protocol as p
from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import OPEN_STATES, PAID_STEPS, DubState, Job, RetryStep
from synthdub_tui.jobs.model import Dub as JobDub
from synthdub_tui.jobs.retry_policy import dub_fingerprint
from synthdub_tui.jobs.transitions import retry
from synthdub_tui.sources.add_file import make_title
from tests.soak.batch_checks import BatchChecker, TitleAndLanguage
from tests.soak.soak_batch import DashboardTerminal, SoakBatch

HARMLESS_KEYS: Final = (
    *("j", "k", "h", "l", "g", "G", "\x1b[B", "\x1b[A", "\x1b[6~", "\x1b[5~", " ", "V", "*", "u", "s", "f"),
    *("\r|\x1b", "o|jjj|v|\x1b", "l|\x1b", "?|\x1b", "a|\x1b", "L|\x1b", "/|state:failed|\r|\x1b", "/|lang:fr|\r|\x1b"),
)
"""What may be typed into the dashboard without starting or ending any work; `|` stands for a moment's pause."""

_RETRIABLE: Final = frozenset({DubState.FAILED, DubState.UNKNOWN, DubState.CANCELLED})


class SimulatedUser:
    """Sends commands to the runner, each over a connection of its own, and keys to the dashboard."""

    def __init__(
        self,
        world: SoakBatch,
        watch: BatchChecker,
        chance: random.Random,
        files: Sequence[Path],
        languages: Sequence[str],
        terminal: DashboardTerminal,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.permits: dict[TitleAndLanguage, list[float]] = defaultdict(list)
        self._batch = world
        self._checker = watch
        self._chance = chance
        self._files = files
        self._languages = languages
        self._terminal = terminal
        self._jobs: list[Job] = []

    def add_all_files(self) -> None:
        """Name all files, with some of the languages."""
        self._add(self._files, self._languages[: max(1, len(self._languages) - 2)])

    def do_random_action(self) -> None:
        """One deed. New work is given while less than half of the jobs have any, so that the load stays the same."""
        self._jobs = self._checker.jobs()
        if sum(job.is_open for job in self._jobs) < len(self._files) / 2:
            self._force_new(len(self._files) // 5)
        deeds: list[tuple[Callable[[], None], int]] = [
            (lambda: self._force_new(2), 2),
            (self._change_source, 2),
            (self._retry, 6),
            (self._cancel, 4),
            (self._delete_outputs, 4),
            (self._add_languages, 4),
            (self._review, 2),
            (self._pause, 1),
            (self._attach_and_leave, 2),
            (self._press_keys, 12),
            (self._run_command, 1),
        ]
        self._chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])[0]()

    def retry_unfinished(self) -> bool:
        """Retry all that is not on its way; whether all is done."""
        self._jobs = self._checker.jobs()
        self._add_languages(len(self._jobs))
        self._retry(len(self._jobs) * len(self._languages))
        dubs = [dub for job in self._jobs for dub in job.dubs.values()]
        return len(dubs) == len(self._files) * len(self._languages) and all(dub.state is DubState.DONE for dub in dubs)

    # -- deeds ---------------------------------------------------------------------------------------------------------

    def _add(self, files: Iterable[Path], targets: Sequence[str], *, anew: bool = False) -> None:
        paths = tuple(map(str, files))
        reply = self.send_request(p.AddRequest(paths=paths, batch=BatchOptions(targets=tuple(targets), force_new=anew)))
        if reply is not None and reply.result.get("problems"):
            self.violations.append(f"add: {reply.result}")

    def _force_new(self, number: int) -> None:
        """--force-new: dubbed anew, under the same names."""
        chosen = self._chance.sample(self._files, max(1, number))
        targets = self._chance.sample(self._languages, self._chance.randint(1, len(self._languages)))
        self._permit_payment(_dubs_of(chosen, targets), lambda: self._add(chosen, targets, anew=True))
        self.counts["files dubbed anew"] += len(chosen)

    def _change_source(self) -> None:
        """A source that changed, named again."""
        chosen = self._chance.sample(self._files, 1)
        os.utime(chosen[0])
        self._permit_payment(_dubs_of(chosen, self._languages), lambda: self._add(chosen, self._languages))
        self.counts["files changed"] += 1

    def _retry(self, most: int = 25) -> None:
        found = [(job, lang) for job in self._jobs for lang, dub in job.dubs.items() if dub.state in _RETRIABLE]
        chosen = found if len(found) <= most else self._chance.sample(found, most)
        if not chosen:
            return
        costly = [(job.options.title, language) for job, language in chosen if _may_cost(job.dubs[language])]
        cells = tuple(p.ShownDub(job.id, language, dub_fingerprint(job, language)) for job, language in chosen)
        self._permit_payment(costly, lambda: self.send_request(p.RetryRequest(cells=cells, paid=True)))
        self.counts["dubs retried"] += len(chosen)

    def _cancel(self) -> None:
        found = [p.ShownDub(job.id, lang) for job in self._jobs for lang, dub in job.dubs.items() if dub.state in OPEN_STATES]
        chosen = tuple(self._chance.sample(found, min(len(found), self._chance.randint(1, 8))))
        self.send_request(p.CancelRequest(cells=chosen))
        self.counts["dubs cancelled"] += len(chosen)

    def _delete_outputs(self) -> None:
        """Outputs that were removed, fetched again."""
        found = [(job.id, lang, dub) for job in self._jobs for lang, dub in job.dubs.items() if dub.state is DubState.DONE]
        chosen = self._chance.sample(found, min(len(found), 3))
        for _, _, dub in chosen:
            assert dub.output is not None
            Path(dub.output.path).unlink(missing_ok=True)
        self.send_request(p.RetryRequest(cells=tuple(p.ShownDub(job, language) for job, language, _ in chosen)))
        self.counts["outputs fetched again"] += len(chosen)

    def _add_languages(self, most: int = 20) -> None:
        """One more language for some that do not have all of them."""
        missing = [job for job in self._jobs if len(job.dubs) < len(self._languages)]
        for language in self._languages:
            jobs = tuple(job.id for job in missing if language not in job.dubs)[:most]
            if jobs:
                self.send_request(p.AddLanguagesRequest(jobs=jobs, languages=(language,)))
                self.counts["dubs added"] += len(jobs)

    def _review(self) -> None:
        job = self._chance.choice(self._jobs)
        self.send_request(p.ReviewRequest(cells=(p.DubRef(job.id),), mark=self._chance.random() < 0.5))

    def _pause(self) -> None:
        self.send_request(p.PauseRequest())
        time.sleep(self._chance.uniform(0.2, 3))
        self.send_request(p.ResumeRequest())
        self.counts["pauses"] += 1

    def _attach_and_leave(self) -> None:
        """A second dashboard that attaches and goes without a word."""
        self.send_request(p.SubscribeRequest(id=1), stay=self._chance.uniform(0, 1))
        self.counts["visits"] += 1

    def _press_keys(self) -> None:
        for keys in self._chance.choice(HARMLESS_KEYS).split("|"):
            self._terminal.type_keys(keys)
            time.sleep(0.1)
        self.counts["keys typed"] += 1

    def _run_command(self) -> None:
        said = self._batch.run_command(self._chance.choice(("status", "outputs")), "--json")
        if said.returncode:
            self.violations.append(f"a command ended with {said.returncode}: {said.stderr[-300:]}")
        self.counts["commands"] += 1

    # -- shared --------------------------------------------------------------------------------------------------------

    def send_request(self, request: p.Request, stay: float = 0.0) -> p.Reply | None:
        """The reply, if it comes in time; a refusal is a violation, since nothing wrong is asked for."""
        try:
            control = BlockingRunnerClient.connect(str(self._batch.state))
            if control is None:
                raise ProblemError("runner_gone", "no socket")
            try:
                reply = control.ask(request)
                time.sleep(stay)
                return reply
            finally:
                control.close()
        except ProblemError as trouble:
            if trouble.detail == TimeoutError.__name__:
                self.counts["answers that took too long"] += 1  # the machine is busy
            else:
                self.violations.append(f"{type(request).__name__}: {trouble.code} {trouble.detail}")
            return None

    def _permit_payment(self, dubs: Sequence[TitleAndLanguage], deed: Callable[[], object]) -> None:
        """What is asked for may have to be paid. The runner takes it up at some moment between the two that are noted."""
        before = time.time()
        deed()
        after = time.time()
        for dub in dubs:
            self.permits[dub] += (before, after)


def _dubs_of(files: Iterable[Path], languages: Iterable[str]) -> list[TitleAndLanguage]:
    languages = tuple(languages)
    return [(make_title(str(file), ""), language) for file in files for language in languages]


def _may_cost(dub: JobDub) -> bool:
    rung = retry.cheapest_step(dub)
    return rung in PAID_STEPS or (rung is RetryStep.SUBMIT and dub.state is DubState.FAILED)
