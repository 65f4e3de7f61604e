"""`python -m tests.soak.kill_points`: kill the runner at every write, sync, rename and request of a job in turn.

One file in two languages, in four scenarios: submitted by one POST; the second language added by PUT to the project of the
first; a source large enough for a multipart upload (only what has to do with the storage is of interest there); and outputs on
a file system without hard links (only what has to do with them). For every point that a whole run passes, a fresh job is run
up to it, killed there, and run again to its end. The checks are those of the soak, and one more: a dub may be of unknown
outcome only if its recorded intent was on disk at the kill, and if it was, and the request was not taken, it must be.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import msgspec

from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.sandbox.config import SandboxConfig
from tests.proofs.exfat_volume import ExfatVolume
from tests.soak.batch_checks import BatchChecker, find_double_payments
from tests.soak.sandbox_process import SandboxProcess
from tests.soak.self_killing_runner import RunOrder
from tests.soak.service_records import PaidRequestRecord, UnfinishedUpload
from tests.waiting import block_until, kill_after_timeout, wait_for_output

SIGKILL_EXIT_CODE = -9
MAX_TRIES_PER_POINT = 3
"""Runs in which a point that depends on timing may show itself."""

MULTIPART_SOURCE_BYTES = 9_000_000


class Scenario(NamedTuple):
    """How a job comes to be killed: whole runs before, then the one with the kill."""

    name: str
    size: int
    languages_before: tuple[str, ...]  # languages of an undisturbed run before; none without
    languages: tuple[str, ...]
    is_relevant_point: Callable[[str], bool]
    has_hard_links: bool = True  # whether the file system has hard links


def _is_any_point(point: str) -> bool:
    return True


def _is_storage_point(point: str) -> bool:
    return point.startswith("S3")


def _is_output_point(point: str) -> bool:
    return "video" in point and not point.startswith("write")


SCENARIOS = (
    Scenario("POST", 2000, (), ("fr-FR", "es-ES"), _is_any_point),
    Scenario("PUT", 2000, ("fr-FR",), ("fr-FR", "es-ES"), _is_any_point),
    Scenario("multipart", MULTIPART_SOURCE_BYTES, (), ("fr-FR", "es-ES"), _is_storage_point),
    Scenario("no links", 2000, (), ("fr-FR", "es-ES"), _is_output_point, has_hard_links=False),
)

SANDBOX_CONFIG = SandboxConfig(processing_seconds=0.05, dubbing_seconds=(0.05, 0.15), output_seconds=1.0, output_padding=5000)


class KillOutcome(NamedTuple):
    """What killing at one point came to."""

    scenario: str
    point: str
    reached: bool
    intent: bool  # the intent of a paid request was on disk at the kill
    billed: bool  # and the service had taken the request
    unknown: bool  # the user had to decide
    violations: tuple[str, ...]


class ForkServers:
    """Processes that fork runners, one for each thread that wants one."""

    def __init__(self, number: int) -> None:
        self._idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        self._all = [self._start() for _ in range(number)]
        for fork in self._all:
            self._idle.put(fork)

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.soak.self_killing_runner"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run_forked(self, order: RunOrder) -> int:
        """Exit code, or less than 0 for a signal."""
        fork = self._idle.get()
        try:
            assert fork.stdin is not None
            assert fork.stdout is not None
            fork.stdin.write(msgspec.json.encode(order).decode() + "\n")
            fork.stdin.flush()
            with kill_after_timeout(fork, f"the end of {order.words}"):
                line = fork.stdout.readline()
            assert line, f"the process that forks runners ended during {order.words}"
            return int(line)
        finally:
            self._idle.put(fork)

    def close(self) -> None:
        for fork in self._all:
            wait_for_output(fork)


class KillHarness:
    """Jobs on one sandbox, each killed once."""

    def __init__(self, folder: Path, workers: int = 2) -> None:
        self._folder = folder
        self._service = SandboxProcess(SANDBOX_CONFIG, folder / "sandbox")
        self._fork_servers = ForkServers(workers)
        self._threads = ThreadPoolExecutor(workers)
        self._job_count = 0

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._fork_servers.close()
        self._service.close()

    def find_points(self, scenario: Scenario) -> list[str]:
        """What whole runs pass, in the order in which they first do."""
        found: dict[str, None] = {}
        for _ in range(2):
            record = self._folder / f"points-{self._job_count}"
            victim = self._make_job(scenario)
            code = victim.run_command("run", str(victim.video), languages=scenario.languages, record=str(record))
            assert code == 0, f"an undisturbed run ended with {code}"
            found |= dict.fromkeys(record.read_text().splitlines())
        return [point for point in found if scenario.is_relevant_point(point)]

    def find_points_after_kill(self, scenario: Scenario, point: str) -> list[str]:
        """What the run after a kill at that point passes."""
        victim = self._make_job(scenario)
        record = self._folder / f"points-{self._job_count}"
        words = ("run", str(victim.video))
        assert victim.run_command(*words, languages=scenario.languages, at=point) == SIGKILL_EXIT_CODE
        assert victim.run_command(*words, languages=scenario.languages, record=str(record)) == 0
        return record.read_text().splitlines()

    def kill_at_points(self, scenario: Scenario, points: Iterable[str]) -> list[KillOutcome]:
        """The outcomes, in the order of the points."""
        victims = [(point, [self._make_job(scenario) for _ in range(MAX_TRIES_PER_POINT)]) for point in points]
        return list(self._threads.map(lambda pair: _kill_at_point(scenario, *pair), victims))

    def _make_job(self, scenario: Scenario) -> KilledJob:
        self._job_count += 1
        return KilledJob(self._service, self._fork_servers, self._folder / f"p{self._job_count}", scenario)


class KilledJob:
    """One job in a folder of its own."""

    def __init__(self, service: SandboxProcess, forks: ForkServers, folder: Path, scenario: Scenario) -> None:
        self._service = service
        self._fork_servers = forks
        self._folder = folder
        self._scenario = scenario
        self.video = folder / f"{folder.name}.mp4"
        self.checker = BatchChecker(folder / "state", service.config, scenario.has_hard_links)

    @property
    def job(self) -> Job | None:
        return next(iter(self.checker.jobs()), None)

    def run_command(self, *words: str, languages: Sequence[str] = (), **order: Any) -> int:
        """A runner, after what the scenario wants before."""
        if not self._folder.exists():
            self._folder.mkdir()
            self.video.write_bytes((self.video.name.encode() * self._scenario.size)[: self._scenario.size])
            if self._scenario.languages_before:
                assert self.run_command("run", str(self.video), languages=self._scenario.languages_before) == 0
        flags: dict[str, Any] = {
            "config": "/dev/null",
            "api_url": self._service.api_url,
            "s3_endpoint_url": self._service.s3_url,
            "state_dir": str(self._folder / "state"),
            "poll_interval": 0.05,
            "settle_seconds": 0.0,
            "tier": "unlimited",
        }
        if languages:
            flags["targets"] = languages
        links = self._scenario.has_hard_links
        return self._fork_servers.run_forked(
            RunOrder(words, flags, self._service.config.api_key, str(self._folder), links=links, **order)
        )

    def billed_languages(self) -> set[str]:
        """Languages whose paid work has begun."""
        return {language for request in self._paid_requests() for language in request.billed}

    def _paid_requests(self) -> list[PaidRequestRecord]:
        return [request for request in self._service.paid_requests() if request.title == self._folder.name]

    def recover_and_check(self, point: str) -> KillOutcome:
        """After the kill: look, run again, decide what is unknown, and look again."""
        wrong = list(self.checker.check_now())
        at_kill = self.job
        intent = at_kill.submission.languages if at_kill and at_kill.submission else ()
        if intent and point.endswith(" sent"):  # the service may read it only after the kill
            block_until(lambda: set(intent) <= self.billed_languages(), "the service to read what was sent before the kill")
        taken = bool(intent) and set(intent) <= self.billed_languages()
        permits: dict[tuple[str, str], list[float]] = {}
        unknown: tuple[str, ...] = ()
        for _ in range(4):
            code = self.run_command("run", str(self.video), languages=self._scenario.languages)
            job = self.job
            open_questions = job.languages_in_state(DubState.UNKNOWN) if job else ()
            unknown += open_questions
            if code == 0 or not open_questions:
                break
            for language in open_questions:
                permits.setdefault((self._folder.name, language), []).append(time.time())
            self.run_command("retry", *(f"{self.video}:{language}" for language in open_questions))
        if not set(unknown) <= set(intent):
            wrong.append(f"unknown: {unknown}, but recorded was the intent of {intent}")
        if set(intent) - set(unknown) and not taken:
            wrong.append(f"{intent} may have been sent, and was sent again without a question")
        wrong += self.checker.check_at_end()
        wrong += find_double_payments(self._paid_requests(), permits)
        left = [upload for upload in self._unfinished_uploads() if upload.title == self._folder.name]
        if len(left) > 1:
            wrong.append(f"{len(left)} unfinished uploads of one kill")
        return KillOutcome(self._scenario.name, point, True, bool(intent), taken, bool(unknown), tuple(wrong))

    def _unfinished_uploads(self) -> list[UnfinishedUpload]:
        return self._service.unfinished_uploads() if self._scenario.size > 5_000_000 else []

    def delete_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _kill_at_point(scenario: Scenario, point: str, victims: list[KilledJob]) -> KillOutcome:
    for victim in victims:
        code = victim.run_command("run", str(victim.video), languages=scenario.languages, at=point)
        if code == SIGKILL_EXIT_CODE:
            outcome = victim.recover_and_check(point)
            if not outcome.violations:
                victim.delete_folder()
            return outcome
        victim.delete_folder()
        if code != 0:
            return KillOutcome(scenario.name, point, False, False, False, False, (f"ended with {code} before it was killed",))
    return KillOutcome(scenario.name, point, False, False, False, False, ())


def points_around_payment(points: Sequence[str]) -> list[str]:
    """From the first step of recording the intent to the last one of recording the answer."""
    first = next(n for n, point in enumerate(points) if "write" in point and "intent" in point)
    paid = next(n for n, point in enumerate(points) if point.startswith(("POST dubbing", "PUT dubbing")))
    last = next(n for n, point in enumerate(points) if n > paid and point.startswith("fsync folder jobs") and "after" in point)
    return list(points[first : last + 1])


def thin_out(points: Sequence[str], others: int) -> list[str]:
    """All around the paid call, and so many of the others, evenly."""
    window = points_around_payment(points)
    rest = [point for point in points if point not in set(window)]
    return window + rest[:: max(1, len(rest) // others)]


def format_table(outcomes: Iterable[KillOutcome]) -> str:
    """Numbers for each scenario."""
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        count = counts.setdefault(outcome.scenario, Counter())
        count["points"] += 1
        for name in ("reached", "intent", "billed", "unknown"):
            count[name] += bool(getattr(outcome, name))
        count["violations"] += len(outcome.violations)
    names = ("points", "reached", "intent", "billed", "unknown", "violations")
    lines = [f"{'scenario':12}" + "".join(f"{name:>12}" for name in names)]
    lines += [f"{scenario:12}" + "".join(f"{count[name]:12}" for name in names) for scenario, count in counts.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.kill_points")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--others", type=int, help="points besides those around paid calls (default: all)")
    parser.add_argument("--scenario", choices=[scenario.name for scenario in SCENARIOS])
    parser.add_argument("--volume", action="store_true", help="with everything on a volume of exFAT, without hard links")
    arguments = parser.parse_args()
    scenarios = [scenario for scenario in SCENARIOS if arguments.scenario in (None, scenario.name)]
    folder = Path(tempfile.mkdtemp(prefix="synthdub-torture-"))
    started = time.monotonic()
    if arguments.volume:
        volume = ExfatVolume(folder / "volume", 512_000_000)
        try:
            without = [scenario._replace(has_hard_links=False) for scenario in scenarios]
            outcomes = _run_scenarios(without, volume.path, arguments)
        finally:
            volume.delete()
    else:
        outcomes = _run_scenarios(scenarios, folder, arguments)
    print(format_table(outcomes))
    print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    for outcome in outcomes:
        if not outcome.reached:
            print(f"not reached: {outcome.scenario}: {outcome.point}")
        for words in outcome.violations:
            print(f"VIOLATION: {outcome.scenario}, {outcome.point}: {words}")
    if any(outcome.violations for outcome in outcomes):
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _run_scenarios(scenarios: Sequence[Scenario], folder: Path, arguments: argparse.Namespace) -> list[KillOutcome]:
    torture = KillHarness(folder, arguments.workers)
    outcomes: list[KillOutcome] = []
    try:
        for scenario in scenarios:
            points = torture.find_points(scenario)
            if arguments.others is not None and scenario.is_relevant_point is _is_any_point:
                points = thin_out(points, arguments.others)
            outcomes += torture.kill_at_points(scenario, points)
    finally:
        torture.close()
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
