"""`python -m tests.soak.random_kills --minutes M [--seed S] [--kills N] [--short]`: does the batch survive SIGKILL at any
moment?

Rounds of 20 files in 5 languages on a sandbox with faults, in a process of its own. In each round the run, the background
runner, the dashboard or both are killed at random moments and started again, and the soak plays the user: it names the files
again, and decides about dubs of unknown outcome. After every kill and at the end of each round everything is checked against
what the sandbox wrote down. The same seed makes the same choices; the timing is the machine's.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from synthdub_tui.jobs.model import PAID, Dub, DubState, Rung
from synthdub_tui.jobs.transitions import retry
from synthdub_tui.sandbox.config import Failure, SandboxConfig
from tests.soak.batch_checks import Dub as Name
from tests.soak.batch_checks import Watch, paid_twice
from tests.soak.fault_mix import faults
from tests.soak.sandbox_process import Service
from tests.soak.service_records import Unfinished
from tests.soak.soak_batch import Terminal, World, kill, until
from tests.waiting import exit_code, patience

LANGUAGES = ("fr-FR", "es-ES", "de-DE", "it", "pt-BR")
WORK = ("--settle", "0", "--poll-interval", "0.1", "--tier", "unlimited")
LARGE = 9_000_000
"""Bytes of a source that goes up as a multipart upload."""


class Size(NamedTuple):
    """Of a batch, and of the lives in it."""

    files: int
    languages: int
    kills: tuple[int, int]  # in one round, least and most
    span: float  # seconds of a life at most, before it is killed
    dubbing: tuple[float, float]  # seconds of a dub


FULL = Size(20, 5, (30, 60), 3.0, (0.2, 4.0))
SHORT = Size(5, 3, (6, 6), 1.5, (0.1, 0.6))

LAST_TRIES = 30
"""Undisturbed runs at the end of a round, with the user's decisions between them, until all must be done."""


def trouble_of(seed: int, dubbing: tuple[float, float]) -> SandboxConfig:
    """A quick service where everything goes wrong now and then."""
    return SandboxConfig(
        seed=seed,
        processing_seconds=0.1,
        dubbing_seconds=dubbing,
        output_seconds=1.0,
        output_padding=60_000,
        upload_credentials_seconds=2.5,
        bandwidth_up=12_000_000,
        download_url_seconds=2,
        failures=(Failure(title="*-3", languages=("fr-FR", "es-ES"), times=4), Failure("project", title="*-7", times=1)),
        faults=faults(lost=0.02, down=0.03, paid=0.03, limited=0.05, storage=0.04),
    )


class Round:
    """One batch, from the first file to the last output."""

    def __init__(self, service: Service, folder: Path, chance: random.Random, size: Size) -> None:
        self.world = World(service, folder)
        self.watch = Watch(self.world.state, service.config)
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.permits: dict[Name, list[float]] = defaultdict(list)
        self._lives: list[tuple[float, float]] = []  # those that were killed: start and end
        self._chance = chance
        self._languages = LANGUAGES[: size.languages]
        self._files = size.files
        self._span = size.span
        for number in range(size.files):
            self.world.video(f"{folder.name}-{number}.mp4", LARGE if number % 7 == 2 else 2000)

    # -- lives ---------------------------------------------------------------------------------------------------------

    def life(self) -> None:
        """Start something, kill it, look at what it left."""
        kinds = [self._run] if self._adding() else [self._run, self._run, self._runner, self._dashboard]
        self._chance.choice(kinds)()
        self.counts["restarts"] += 1
        self._note(self.watch.now())

    def _run(self) -> None:
        process = self.world.start("run", *self._words(), *WORK)
        self._end(process.pid, lambda: process.poll() is not None)
        exit_code(process)

    def _runner(self) -> None:
        process = self.world.start("runner", *WORK)
        self._end(process.pid, lambda: process.poll() is not None)
        exit_code(process)

    def _dashboard(self) -> None:
        """The dashboard starts a runner of its own. Either is killed first, or only the runner, and then the rest."""
        start = time.time()
        terminal = Terminal(self.world, *WORK)
        if not until(self.world.runner, patience(60), 0.05):
            self.violations.append(f"the dashboard started no runner: {terminal.output[-2000:]!r}")
        until(lambda: False, self._chance.uniform(0, self._span))
        first, second = self._chance.sample(["dashboard", "runner"], 2)
        self._kill_of(first, terminal)
        if first == "dashboard":
            self._check_outlives()
        self._kill_of(second, terminal)
        exit_code(terminal.process)
        terminal.close()
        self._kill_of("runner", terminal)  # the dashboard was quick to replace one that was killed before it
        self._lives.append((start, time.time()))

    def _kill_of(self, kind: str, terminal: Terminal) -> None:
        for pid in [terminal.process.pid] if kind == "dashboard" else self.world.runners():
            kill(pid)
            self.counts["kills"] += 1
            self.counts[f"{kind} kills"] += 1

    def _check_outlives(self) -> None:
        """A dashboard's death must not take the runner with it."""
        until(lambda: False, self._chance.uniform(0, 0.5))
        if self.world.runner() is None:
            self.violations.append("the runner died with its dashboard")

    def _end(self, pid: int, over: object) -> None:
        start = time.time()
        assert callable(over)
        if self._chance.random() < 0.5:
            until(over, self._chance.uniform(0.1, self._span))
        else:
            self._until_request(self._chance.randint(1, 150), over)
        if over():
            return
        kill(pid)
        self._lives.append((start, time.time()))
        self.counts["kills"] += 1
        self.counts["runner kills"] += 1

    def _until_request(self, number: int, over: object) -> None:
        """Until the sandbox has taken so many requests, and a moment more."""
        assert callable(over)
        journal = self.world.service.journal
        start = journal.stat().st_size
        size_of_one = 200
        until(lambda: over() or journal.stat().st_size - start > number * size_of_one, self._span, 0.002)
        time.sleep(self._chance.uniform(0, 0.03))

    # -- the user ------------------------------------------------------------------------------------------------------

    def _adding(self) -> bool:
        return len(self.watch.jobs()) < self._files

    def _words(self) -> tuple[str, ...]:
        """The first run names files and some languages; later ones more languages, or nothing."""
        if self._adding():
            return (str(self.world.videos), "--targets", ",".join(self._languages[: max(1, len(self._languages) - 2)]))
        if self._missing_languages() and self._chance.random() < 0.5:
            return (str(self.world.videos), "--targets", ",".join(self._languages))
        return ()

    def _missing_languages(self) -> bool:
        return any(len(job.dubs) < len(self._languages) for job in self.watch.jobs())

    def decide(self) -> None:
        """The user retries what is unknown or failed, knowing that it may cost, and the soak books that."""
        costly = [
            (job.source.path, job.options.title, language)
            for job in self.watch.jobs()
            for language, dub in job.dubs.items()
            if _costly(dub)
        ]
        if not costly:
            return
        self.counts["unknown dubs"] += sum(
            dub.state is DubState.UNKNOWN for job in self.watch.jobs() for dub in job.dubs.values()
        )
        now = time.time()
        for _, title, language in costly:
            self.permits[title, language].append(now)
        said = self.world.call("retry", "--yes", *(f"{path}:{language}" for path, _, language in costly))
        self.counts["retries permitted"] += len(costly)
        if said.returncode:
            self.violations.append(f"retry --yes: {said.stderr.strip()}")

    def finish(self) -> None:
        """Undisturbed from now on: all must come to be done."""
        for _ in range(LAST_TRIES):
            words = (str(self.world.videos), "--targets", ",".join(self._languages))
            said = self.world.call("run", *words, *WORK)
            if said.returncode == 0:
                break
            if said.returncode != 1:
                self.violations.append(f"run ended with {said.returncode}: {said.stderr[-500:]}")
            self.decide()
        self._check_end()

    # -- checks --------------------------------------------------------------------------------------------------------

    def _check_end(self) -> None:
        self._note(self.watch.at_the_end())
        if self._adding() or self._missing_languages():
            self.violations.append("dubs that were asked for are not known")
        titles = {job.options.title for job in self.watch.jobs()}
        paid = [request for request in self.world.service.paid() if request.title in titles]
        self._note(paid_twice(paid, self.permits))
        self.counts["paid requests"] += len(paid)
        self.counts["done"] += sum(dub.state is DubState.DONE for job in self.watch.jobs() for dub in job.dubs.values())
        for upload in self.world.service.unfinished():
            if upload.title in titles:
                self._check_unfinished(upload)

    def _check_unfinished(self, upload: Unfinished) -> None:
        """Only a run that was killed may leave a multipart upload behind, since its credentials died with it, and one whose
        credentials expired, with which S3 refuses the abort as well."""
        made = self.world.service.made(upload.asset)
        if any(start <= made <= end for start, end in self._lives):
            self.counts["uploads left by kills"] += 1
        elif self.world.service.refused_abort(upload.asset):
            self.counts["uploads left by expiry"] += 1
        else:
            self.violations.append(f"an unfinished upload of {upload.title} that no kill explains: {upload}, {self._lives}")

    def _note(self, wrong: Iterator[str]) -> None:
        for words in wrong:
            if words not in self.violations:
                self.violations.append(words)
                print(f"VIOLATION: {words}", flush=True)


def _costly(dub: Dub) -> bool:
    rung = retry.rung(dub) if dub.state in (DubState.UNKNOWN, DubState.FAILED) else None
    return rung in PAID or (rung is Rung.SUBMIT and dub.state is DubState.FAILED)


def soak(folder: Path, *, seed: int, seconds: float, kills: int, size: Size) -> tuple[Counter[str], list[str]]:
    """Rounds until the time or the number is up; the counts, and what was violated."""
    counts: Counter[str] = Counter()
    violations: list[str] = []
    end = time.monotonic() + seconds
    service = Service(trouble_of(seed, size.dubbing), folder / "sandbox")
    try:
        while not violations and counts["kills"] < kills and (time.monotonic() < end or not counts["rounds"]):
            counts["rounds"] += 1
            chance = random.Random(f"{seed}-{counts['rounds']}")
            batch = Round(service, folder / f"s{seed}r{counts['rounds']}", chance, size)
            most = min(chance.randint(*size.kills), kills - counts["kills"])
            while batch.counts["kills"] < most and time.monotonic() < end and not batch.violations:
                batch.life()
                if chance.random() < 0.4:
                    batch.decide()
            batch.finish()
            counts += batch.counts
            violations += batch.violations
            print(f"round {counts['rounds']}: {dict(batch.counts)}", flush=True)
            if not batch.violations:
                shutil.rmtree(batch.world.videos.parent)
    finally:
        service.close()
    return counts, violations


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.random_kills")
    parser.add_argument("--minutes", type=float, default=10.0, help="no new kills after that (default: 10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kills", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--short", action="store_true", help="some twenty seconds, for CI: a small batch, a few kills")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    print(f"seed {arguments.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="synthdub-kills-"))
    size = SHORT if arguments.short else FULL
    kills = min(arguments.kills, size.kills[1]) if arguments.short else arguments.kills
    started = time.monotonic()
    counts, violations = soak(folder, seed=arguments.seed, seconds=arguments.minutes * 60, kills=kills, size=size)
    for name, number in counts.items():
        print(f"{name:24} {number:6}")
    print(f"{'minutes':24} {(time.monotonic() - started) / 60:6.1f}")
    print(f"{'violations':24} {len(violations):6}")
    for words in violations:
        print(f"  {words}")
    if violations:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
