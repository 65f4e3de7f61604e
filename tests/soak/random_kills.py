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

from synthdub_tui.jobs.model import PAID_STEPS, Dub, DubState, RetryStep
from synthdub_tui.jobs.transitions import retry
from synthdub_tui.sandbox.config import SandboxConfig, SimulatedFailure
from tests.soak.batch_checks import BatchChecker, find_double_payments
from tests.soak.batch_checks import TitleAndLanguage as Name
from tests.soak.fault_mix import mixed_faults
from tests.soak.sandbox_process import SandboxProcess
from tests.soak.service_records import UnfinishedUpload
from tests.soak.soak_batch import DashboardTerminal, SoakBatch, becomes_true, kill_process
from tests.waiting import scale_timeout, wait_for_exit

LANGUAGES = ("fr-FR", "es-ES", "de-DE", "it", "pt-BR")
RUNNER_FLAGS = ("--settle", "0", "--poll-interval", "0.1", "--tier", "unlimited")
MULTIPART_SOURCE_BYTES = 9_000_000
"""Bytes of a source that goes up as a multipart upload."""


class RoundSize(NamedTuple):
    """Of a batch, and of the lives in it."""

    files: int
    languages: int
    kill_range: tuple[int, int]  # in one round, least and most
    max_life_seconds: float  # seconds of a life at most, before it is killed
    dubbing_seconds: tuple[float, float]  # seconds of a dub


FULL_SIZE = RoundSize(20, 5, (30, 60), 3.0, (0.2, 4.0))
SHORT_SIZE = RoundSize(5, 3, (6, 6), 1.5, (0.1, 0.6))

MAX_FINAL_RUNS = 30
"""Undisturbed runs at the end of a round, with the user's decisions between them, until all must be done."""


def faulty_sandbox_config(seed: int, dubbing: tuple[float, float]) -> SandboxConfig:
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
        failures=(
            SimulatedFailure(title="*-3", languages=("fr-FR", "es-ES"), times=4),
            SimulatedFailure("project", title="*-7", times=1),
        ),
        faults=mixed_faults(lost=0.02, down=0.03, paid=0.03, limited=0.05, storage=0.04),
    )


class KillRound:
    """One batch, from the first file to the last output."""

    def __init__(self, service: SandboxProcess, folder: Path, chance: random.Random, size: RoundSize) -> None:
        self.batch = SoakBatch(service, folder)
        self.checker = BatchChecker(self.batch.state, service.config)
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.permits: dict[Name, list[float]] = defaultdict(list)
        self._killed_lives: list[tuple[float, float]] = []  # those that were killed: start and end
        self._chance = chance
        self._languages = LANGUAGES[: size.languages]
        self._files = size.files
        self._max_life_seconds = size.max_life_seconds
        for number in range(size.files):
            self.batch.write_video(f"{folder.name}-{number}.mp4", MULTIPART_SOURCE_BYTES if number % 7 == 2 else 2000)

    # -- lives ---------------------------------------------------------------------------------------------------------

    def live_and_kill(self) -> None:
        """Start something, kill it, look at what it left."""
        kinds = (
            [self._run_and_kill]
            if self._is_adding_files()
            else [self._run_and_kill, self._run_and_kill, self._run_runner_and_kill, self._run_dashboard_and_kill]
        )
        self._chance.choice(kinds)()
        self.counts["restarts"] += 1
        self._add_violations(self.checker.check_now())

    def _run_and_kill(self) -> None:
        process = self.batch.start_command("run", *self._run_arguments(), *RUNNER_FLAGS)
        self._kill_later(process.pid, lambda: process.poll() is not None)
        wait_for_exit(process)

    def _run_runner_and_kill(self) -> None:
        process = self.batch.start_command("runner", *RUNNER_FLAGS)
        self._kill_later(process.pid, lambda: process.poll() is not None)
        wait_for_exit(process)

    def _run_dashboard_and_kill(self) -> None:
        """The dashboard starts a runner of its own. Either is killed first, or only the runner, and then the rest."""
        start = time.time()
        terminal = DashboardTerminal(self.batch, *RUNNER_FLAGS)
        if not becomes_true(self.batch.runner_pid, scale_timeout(60), 0.05):
            self.violations.append(f"the dashboard started no runner: {terminal.output[-2000:]!r}")
        becomes_true(lambda: False, self._chance.uniform(0, self._max_life_seconds))
        first, second = self._chance.sample(["dashboard", "runner"], 2)
        self._kill_kind(first, terminal)
        if first == "dashboard":
            self._check_runner_outlives_dashboard()
        self._kill_kind(second, terminal)
        wait_for_exit(terminal.process)
        terminal.close()
        self._kill_kind("runner", terminal)  # the dashboard was quick to replace one that was killed before it
        self._killed_lives.append((start, time.time()))

    def _kill_kind(self, kind: str, terminal: DashboardTerminal) -> None:
        for pid in [terminal.process.pid] if kind == "dashboard" else self.batch.background_runner_pids():
            kill_process(pid)
            self.counts["kills"] += 1
            self.counts[f"{kind} kills"] += 1

    def _check_runner_outlives_dashboard(self) -> None:
        """A dashboard's death must not take the runner with it."""
        becomes_true(lambda: False, self._chance.uniform(0, 0.5))
        if self.batch.runner_pid() is None:
            self.violations.append("the runner died with its dashboard")

    def _kill_later(self, pid: int, over: object) -> None:
        start = time.time()
        assert callable(over)
        if self._chance.random() < 0.5:
            becomes_true(over, self._chance.uniform(0.1, self._max_life_seconds))
        else:
            self._wait_for_requests(self._chance.randint(1, 150), over)
        if over():
            return
        kill_process(pid)
        self._killed_lives.append((start, time.time()))
        self.counts["kills"] += 1
        self.counts["runner kills"] += 1

    def _wait_for_requests(self, number: int, over: object) -> None:
        """Until the sandbox has taken so many requests, and a moment more."""
        assert callable(over)
        journal = self.batch.service.journal_file
        start = journal.stat().st_size
        size_of_one = 200
        becomes_true(lambda: over() or journal.stat().st_size - start > number * size_of_one, self._max_life_seconds, 0.002)
        time.sleep(self._chance.uniform(0, 0.03))

    # -- the user ------------------------------------------------------------------------------------------------------

    def _is_adding_files(self) -> bool:
        return len(self.checker.jobs()) < self._files

    def _run_arguments(self) -> tuple[str, ...]:
        """The first run names files and some languages; later ones more languages, or nothing."""
        if self._is_adding_files():
            return (str(self.batch.videos), "--targets", ",".join(self._languages[: max(1, len(self._languages) - 2)]))
        if self._has_missing_languages() and self._chance.random() < 0.5:
            return (str(self.batch.videos), "--targets", ",".join(self._languages))
        return ()

    def _has_missing_languages(self) -> bool:
        return any(len(job.dubs) < len(self._languages) for job in self.checker.jobs())

    def retry_costly_dubs(self) -> None:
        """The user retries what is unknown or failed, knowing that it may cost, and the soak books that."""
        costly = [
            (job.source.path, job.options.title, language)
            for job in self.checker.jobs()
            for language, dub in job.dubs.items()
            if _may_cost(dub)
        ]
        if not costly:
            return
        self.counts["unknown dubs"] += sum(
            dub.state is DubState.UNKNOWN for job in self.checker.jobs() for dub in job.dubs.values()
        )
        now = time.time()
        for _, title, language in costly:
            self.permits[title, language].append(now)
        said = self.batch.run_command("retry", "--yes", *(f"{path}:{language}" for path, _, language in costly))
        self.counts["retries permitted"] += len(costly)
        if said.returncode:
            self.violations.append(f"retry --yes: {said.stderr.strip()}")

    def finish_batch(self) -> None:
        """Undisturbed from now on: all must come to be done."""
        for _ in range(MAX_FINAL_RUNS):
            words = (str(self.batch.videos), "--targets", ",".join(self._languages))
            said = self.batch.run_command("run", *words, *RUNNER_FLAGS)
            if said.returncode == 0:
                break
            if said.returncode != 1:
                self.violations.append(f"run ended with {said.returncode}: {said.stderr[-500:]}")
            self.retry_costly_dubs()
        self._check_end()

    # -- checks --------------------------------------------------------------------------------------------------------

    def _check_end(self) -> None:
        self._add_violations(self.checker.check_at_end())
        if self._is_adding_files() or self._has_missing_languages():
            self.violations.append("dubs that were asked for are not known")
        titles = {job.options.title for job in self.checker.jobs()}
        paid = [request for request in self.batch.service.paid_requests() if request.title in titles]
        self._add_violations(find_double_payments(paid, self.permits))
        self.counts["paid requests"] += len(paid)
        self.counts["done"] += sum(dub.state is DubState.DONE for job in self.checker.jobs() for dub in job.dubs.values())
        for upload in self.batch.service.unfinished_uploads():
            if upload.title in titles:
                self._check_unfinished(upload)

    def _check_unfinished(self, upload: UnfinishedUpload) -> None:
        """Only a run that was killed may leave a multipart upload behind, since its credentials died with it, and one whose
        credentials expired, with which S3 refuses the abort as well."""
        made = self.batch.service.asset_created_at(upload.asset)
        if any(start <= made <= end for start, end in self._killed_lives):
            self.counts["uploads left by kills"] += 1
        elif self.batch.service.was_abort_refused(upload.asset):
            self.counts["uploads left by expiry"] += 1
        else:
            self.violations.append(
                f"an unfinished upload of {upload.title} that no kill explains: {upload}, {self._killed_lives}"
            )

    def _add_violations(self, wrong: Iterator[str]) -> None:
        for words in wrong:
            if words not in self.violations:
                self.violations.append(words)
                print(f"VIOLATION: {words}", flush=True)


def _may_cost(dub: Dub) -> bool:
    rung = retry.cheapest_step(dub) if dub.state in (DubState.UNKNOWN, DubState.FAILED) else None
    return rung in PAID_STEPS or (rung is RetryStep.SUBMIT and dub.state is DubState.FAILED)


def run_soak(folder: Path, *, seed: int, seconds: float, kills: int, size: RoundSize) -> tuple[Counter[str], list[str]]:
    """Rounds until the time or the number is up; the counts, and what was violated."""
    counts: Counter[str] = Counter()
    violations: list[str] = []
    end = time.monotonic() + seconds
    service = SandboxProcess(faulty_sandbox_config(seed, size.dubbing_seconds), folder / "sandbox")
    try:
        while not violations and counts["kills"] < kills and (time.monotonic() < end or not counts["rounds"]):
            counts["rounds"] += 1
            chance = random.Random(f"{seed}-{counts['rounds']}")
            batch = KillRound(service, folder / f"s{seed}r{counts['rounds']}", chance, size)
            most = min(chance.randint(*size.kill_range), kills - counts["kills"])
            while batch.counts["kills"] < most and time.monotonic() < end and not batch.violations:
                batch.live_and_kill()
                if chance.random() < 0.4:
                    batch.retry_costly_dubs()
            batch.finish_batch()
            counts += batch.counts
            violations += batch.violations
            print(f"round {counts['rounds']}: {dict(batch.counts)}", flush=True)
            if not batch.violations:
                shutil.rmtree(batch.batch.videos.parent)
    finally:
        service.close()
    return counts, violations


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.random_kills")
    parser.add_argument("--minutes", type=float, default=10.0, help="no new kills after that (default: 10)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kills", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--short", action="store_true", help="some twenty seconds, for CI: a small batch, a few kills")
    return parser.parse_args()


def main() -> int:
    arguments = _parse_arguments()
    print(f"seed {arguments.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="synthdub-kills-"))
    size = SHORT_SIZE if arguments.short else FULL_SIZE
    kills = min(arguments.kills, size.kill_range[1]) if arguments.short else arguments.kills
    started = time.monotonic()
    counts, violations = run_soak(folder, seed=arguments.seed, seconds=arguments.minutes * 60, kills=kills, size=size)
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
