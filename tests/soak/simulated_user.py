"""The user of the long soak: does what users do, in an order that chance gives, and remembers what was allowed to cost."""

from __future__ import annotations

import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from synthdub_tui.errors import Trouble
from synthdub_tui.ipc import protocol as p
from synthdub_tui.ipc.blocking_client import Control
from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.jobs.model import OPEN, PAID, DubState, Job, Rung
from synthdub_tui.jobs.model import Dub as JobDub
from synthdub_tui.jobs.retry_policy import fingerprint
from synthdub_tui.jobs.transitions import retry
from synthdub_tui.sources.add_file import title_of
from tests.soak.batch_checks import Dub, Watch
from tests.soak.soak_batch import Terminal, World

KEYS: Final = (
    *("j", "k", "h", "l", "g", "G", "\x1b[B", "\x1b[A", "\x1b[6~", "\x1b[5~", " ", "V", "*", "u", "s", "f"),
    *("\r|\x1b", "o|jjj|v|\x1b", "l|\x1b", "?|\x1b", "a|\x1b", "L|\x1b", "/|state:failed|\r|\x1b", "/|lang:fr|\r|\x1b"),
)
"""What may be typed into the dashboard without starting or ending any work; `|` stands for a moment's pause."""

_RETRIABLE: Final = frozenset({DubState.FAILED, DubState.UNKNOWN, DubState.CANCELLED})


class Player:
    """Sends commands to the runner, each over a connection of its own, and keys to the dashboard."""

    def __init__(
        self,
        world: World,
        watch: Watch,
        chance: random.Random,
        files: Sequence[Path],
        languages: Sequence[str],
        terminal: Terminal,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.permits: dict[Dub, list[float]] = defaultdict(list)
        self._world = world
        self._watch = watch
        self._chance = chance
        self._files = files
        self._languages = languages
        self._terminal = terminal
        self._jobs: list[Job] = []

    def begin(self) -> None:
        """Name all files, with some of the languages."""
        self._add(self._files, self._languages[: max(1, len(self._languages) - 2)])

    def act(self) -> None:
        """One deed. New work is given while less than half of the jobs have any, so that the load stays the same."""
        self._jobs = self._watch.jobs()
        if sum(job.open for job in self._jobs) < len(self._files) / 2:
            self._renew(len(self._files) // 5)
        deeds: list[tuple[Callable[[], None], int]] = [
            (lambda: self._renew(2), 2),
            (self._touch, 2),
            (self._retry, 6),
            (self._cancel, 4),
            (self._lose, 4),
            (self._extend, 4),
            (self._review, 2),
            (self._pause, 1),
            (self._visit, 2),
            (self._type, 12),
            (self._command, 1),
        ]
        self._chance.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])[0]()

    def settle(self) -> bool:
        """Retry all that is not on its way; whether all is done."""
        self._jobs = self._watch.jobs()
        self._extend(len(self._jobs))
        self._retry(len(self._jobs) * len(self._languages))
        dubs = [dub for job in self._jobs for dub in job.dubs.values()]
        return len(dubs) == len(self._files) * len(self._languages) and all(dub.state is DubState.DONE for dub in dubs)

    # -- deeds ---------------------------------------------------------------------------------------------------------

    def _add(self, files: Iterable[Path], targets: Sequence[str], *, anew: bool = False) -> None:
        paths = tuple(map(str, files))
        reply = self.ask(p.Add(paths=paths, batch=Batch(targets=tuple(targets), force_new=anew)))
        if reply is not None and reply.result.get("problems"):
            self.violations.append(f"add: {reply.result}")

    def _renew(self, number: int) -> None:
        """--force-new: dubbed anew, under the same names."""
        chosen = self._chance.sample(self._files, max(1, number))
        targets = self._chance.sample(self._languages, self._chance.randint(1, len(self._languages)))
        self._permitting(_cells(chosen, targets), lambda: self._add(chosen, targets, anew=True))
        self.counts["files dubbed anew"] += len(chosen)

    def _touch(self) -> None:
        """A source that changed, named again."""
        chosen = self._chance.sample(self._files, 1)
        os.utime(chosen[0])
        self._permitting(_cells(chosen, self._languages), lambda: self._add(chosen, self._languages))
        self.counts["files changed"] += 1

    def _retry(self, most: int = 25) -> None:
        found = [(job, lang) for job in self._jobs for lang, dub in job.dubs.items() if dub.state in _RETRIABLE]
        chosen = found if len(found) <= most else self._chance.sample(found, most)
        if not chosen:
            return
        costly = [(job.options.title, language) for job, language in chosen if _costly(job.dubs[language])]
        cells = tuple(p.Shown(job.id, language, fingerprint(job, language)) for job, language in chosen)
        self._permitting(costly, lambda: self.ask(p.Retry(cells=cells, paid=True)))
        self.counts["dubs retried"] += len(chosen)

    def _cancel(self) -> None:
        found = [p.Shown(job.id, lang) for job in self._jobs for lang, dub in job.dubs.items() if dub.state in OPEN]
        chosen = tuple(self._chance.sample(found, min(len(found), self._chance.randint(1, 8))))
        self.ask(p.Cancel(cells=chosen))
        self.counts["dubs cancelled"] += len(chosen)

    def _lose(self) -> None:
        """Outputs that were removed, fetched again."""
        found = [(job.id, lang, dub) for job in self._jobs for lang, dub in job.dubs.items() if dub.state is DubState.DONE]
        chosen = self._chance.sample(found, min(len(found), 3))
        for _, _, dub in chosen:
            assert dub.output is not None
            Path(dub.output.path).unlink(missing_ok=True)
        self.ask(p.Retry(cells=tuple(p.Shown(job, language) for job, language, _ in chosen)))
        self.counts["outputs fetched again"] += len(chosen)

    def _extend(self, most: int = 20) -> None:
        """One more language for some that do not have all of them."""
        missing = [job for job in self._jobs if len(job.dubs) < len(self._languages)]
        for language in self._languages:
            jobs = tuple(job.id for job in missing if language not in job.dubs)[:most]
            if jobs:
                self.ask(p.AddLanguages(jobs=jobs, languages=(language,)))
                self.counts["dubs added"] += len(jobs)

    def _review(self) -> None:
        job = self._chance.choice(self._jobs)
        self.ask(p.Review(cells=(p.Cell(job.id),), mark=self._chance.random() < 0.5))

    def _pause(self) -> None:
        self.ask(p.Pause())
        time.sleep(self._chance.uniform(0.2, 3))
        self.ask(p.Resume())
        self.counts["pauses"] += 1

    def _visit(self) -> None:
        """A second dashboard that attaches and goes without a word."""
        self.ask(p.Subscribe(id=1), stay=self._chance.uniform(0, 1))
        self.counts["visits"] += 1

    def _type(self) -> None:
        for keys in self._chance.choice(KEYS).split("|"):
            self._terminal.press(keys)
            time.sleep(0.1)
        self.counts["keys typed"] += 1

    def _command(self) -> None:
        said = self._world.call(self._chance.choice(("status", "outputs")), "--json")
        if said.returncode:
            self.violations.append(f"a command ended with {said.returncode}: {said.stderr[-300:]}")
        self.counts["commands"] += 1

    # -- shared --------------------------------------------------------------------------------------------------------

    def ask(self, request: p.Request, stay: float = 0.0) -> p.Reply | None:
        """The reply, if it comes in time; a refusal is a violation, since nothing wrong is asked for."""
        try:
            control = Control.connect(str(self._world.state))
            if control is None:
                raise Trouble("runner_gone", "no socket")
            try:
                reply = control.ask(request)
                time.sleep(stay)
                return reply
            finally:
                control.close()
        except Trouble as trouble:
            if trouble.detail == TimeoutError.__name__:
                self.counts["answers that took too long"] += 1  # the machine is busy
            else:
                self.violations.append(f"{type(request).__name__}: {trouble.code} {trouble.detail}")
            return None

    def _permitting(self, dubs: Sequence[Dub], deed: Callable[[], object]) -> None:
        """What is asked for may have to be paid. The runner takes it up at some moment between the two that are noted."""
        before = time.time()
        deed()
        after = time.time()
        for dub in dubs:
            self.permits[dub] += (before, after)


def _cells(files: Iterable[Path], languages: Iterable[str]) -> list[Dub]:
    languages = tuple(languages)
    return [(title_of(str(file), ""), language) for file in files for language in languages]


def _costly(dub: JobDub) -> bool:
    rung = retry.rung(dub)
    return rung in PAID or (rung is Rung.SUBMIT and dub.state is DubState.FAILED)
