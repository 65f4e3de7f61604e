"""`python -m tests.soak.long_run [--minutes 60] [--files 200] [--seed S] [--short]`: does an hour of work leave anything
behind?

One runner, with a dashboard attached, works on many files in five languages on a sandbox with constant faults, in a process of
its own. A player keeps it busy: dubs files anew, changes them, adds languages, retries, cancels, pauses, removes outputs, comes
and goes. There is no command that removes a job, and more jobs rightly need more memory; so the same jobs are dubbed again and
again. What both processes take is sampled, and must be flat after a warm-up; the log must be rotated and bounded; and all that
`batch_checks.py` checks must hold, on the way and at the end. The same seed makes the same choices; the timing is the
machine's.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from synthdub_tui.ipc import protocol as p
from synthdub_tui.runner import log_file
from synthdub_tui.sandbox.config import Fault, SandboxConfig, SimulatedFailure
from tests.soak.batch_checks import BatchChecker, find_double_payments
from tests.soak.fault_mix import ERROR_PAGE, mixed_faults
from tests.soak.process_metrics import (
    ALLOWED_GROWTH,
    MEASURES,
    MIB,
    WORKLOAD_MEASURES,
    ProcessProbe,
    Trend,
    estimate_trend,
    window_minima,
)
from tests.soak.sandbox_process import SandboxProcess
from tests.soak.simulated_user import SimulatedUser
from tests.soak.soak_batch import DashboardTerminal, SoakBatch, becomes_true, kill_process
from tests.waiting import scale_timeout, wait_for_exit

LANGUAGES: Final = ("fr-FR", "es-ES", "de-DE", "it", "pt-BR")
RUNNER_FLAGS: Final = (
    "--settle",
    "0",
    "--poll-interval",
    "1",
    "--tier",
    "unlimited",
    "--max-uploads",
    "6",
    "--max-downloads",
    "16",
)
MULTIPART_SOURCE_BYTES: Final = 9_000_000
"""Bytes of a source that goes up as a multipart upload."""

PROCESS_INSPECTION_FOLDER: Final = Path(__file__).parent / "process_inspection"
MAX_LOG_BYTES: Final = 4 * (log_file.MAX_LOG_FILE_BYTES + 64 * 1024)
"""Bytes of all log files: each may go over by a line, and the longest is a traceback."""

ERROR_LOG_MARKS: Final = ('"traceback"', '"event":"request failed"', '"event":"worker failed"', '"event":"activity failed"')
"""What a log holds if this program made a mistake."""

MAX_SETTLE_SECONDS: Final = 600.0
"""At the end, until everything must be done; most of it are pauses after earlier faults."""


class SoakPlan(NamedTuple):
    """How long, and how much."""

    files: int
    seconds: float
    sample_interval: float  # seconds between two samples
    look: float  # seconds between two checks of the promises
    action_interval: float  # seconds between two deeds
    dubbing: tuple[float, float] = (3.0, 20.0)  # seconds of a dub
    warm_up_share: float = 0.3  # share of the time


SHORT_PLAN: Final = SoakPlan(12, 40, 2, 10, 0.3)


def faulty_sandbox_config(seed: int, dubbing: tuple[float, float]) -> SandboxConfig:
    """A service where everything goes wrong now and then."""
    return SandboxConfig(
        seed=seed,
        processing_seconds=1.0,
        dubbing_seconds=dubbing,
        output_seconds=1.0,
        output_padding=60_000,
        upload_credentials_seconds=5,
        bandwidth_up=12_000_000,
        download_url_seconds=10,
        failures=(
            SimulatedFailure(title="*-?3", languages=("fr-FR", "es-ES"), times=300),
            SimulatedFailure("project", title="*-1?7", times=100),
            SimulatedFailure("refused", title="*-?5", languages=("it",), times=100),
            SimulatedFailure("asset", "asset_upload", title="*-?1", times=50),
        ),
        faults=(
            *mixed_faults(lost=0.01, down=0.02, paid=0.02, limited=0.03, storage=0.03),
            Fault("GET *", "body", probability=0.01, body=ERROR_PAGE),
            Fault("download", "hang_before", probability=0.01, seconds=3.0),
        ),
    )


class SoakRun:
    """One life of a runner and of a dashboard."""

    def __init__(self, service: SandboxProcess, folder: Path, seed: int, plan: SoakPlan) -> None:
        inside = folder / "inside"
        inside.mkdir()
        self._service = service
        self._plan = plan
        self._folder = folder
        self.batch = SoakBatch(service, folder / "world")
        self.batch.environment |= {"PYTHONPATH": str(PROCESS_INSPECTION_FOLDER), "SOAK_INSIDE": str(inside)}
        self.checker = BatchChecker(self.batch.state, service.config)
        self.samples: list[dict[str, dict[str, float]]] = []
        self.log_sizes: list[int] = []
        self.violations: list[str] = []
        files = [
            self.batch.write_video(f"s{seed}-{n:03}.mp4", MULTIPART_SOURCE_BYTES if n % 50 == 9 else 2000)
            for n in range(plan.files)
        ]
        self._runner = self.batch.start_command("runner", *RUNNER_FLAGS)
        if not becomes_true(self.batch.runner_pid, scale_timeout(60), 0.05):
            raise RuntimeError("the runner does not answer")
        self._terminal = DashboardTerminal(self.batch, *RUNNER_FLAGS)
        self.user = SimulatedUser(self.batch, self.checker, random.Random(seed), files, LANGUAGES, self._terminal)
        self._probes = [
            ProcessProbe("runner", self._runner.pid, inside),
            ProcessProbe("dashboard", self._terminal.process.pid, inside),
        ]

    def run(self) -> None:
        """Play, sample, check; then let everything come to its end."""
        self.user.add_all_files()
        if not becomes_true(lambda: b" done" in self._terminal.output, 300, 0.05):
            self._add_violation(f"the dashboard does not draw: {self._terminal.output[-500:]!r}")
        start = time.monotonic()
        sample_at = look_at = 0.0
        while (now := time.monotonic() - start) < self._plan.seconds and not self._has_ended():
            if now >= sample_at:
                self._take_sample(now)
                sample_at = now + self._plan.sample_interval
            if now >= look_at:
                self._check_and_print()
                look_at = now + self._plan.look
            self.user.do_random_action()
            time.sleep(self._plan.action_interval)
        self._finish()

    def close(self) -> None:
        """End what is left of it."""
        kill_process(self._terminal.process.pid)
        wait_for_exit(self._terminal.process)
        self._terminal.close()
        kill_process(self._runner.pid)
        wait_for_exit(self._runner)

    def trends(self) -> Iterator[tuple[str, str, Trend]]:
        """Process, measure, and how it went after the warm-up."""
        warm = self._plan.warm_up_share * self._plan.seconds
        for probe in self._probes:
            for measure in MEASURES:
                series = [(s["at"]["seconds"], s[probe.name][measure]) for s in self.samples if s["at"]["seconds"] >= warm]
                if len(series) > 1:
                    yield (
                        probe.name,
                        measure,
                        estimate_trend(
                            window_minima(series) if measure in WORKLOAD_MEASURES else series, ALLOWED_GROWTH[measure]
                        ),
                    )

    # -- on the way ----------------------------------------------------------------------------------------------------

    def _has_ended(self) -> bool:
        """Whether one of the two ended by itself."""
        ended = False
        for name, process in (("runner", self._runner), ("dashboard", self._terminal.process)):
            if process.poll() is not None:
                self._add_violation(f"the {name} ended by itself with {process.returncode}")
                ended = True
        return ended

    def _take_sample(self, now: float) -> None:
        found = {"at": {"seconds": now}} | {probe.name: probe.look() for probe in self._probes}
        self.samples.append(found)
        self.log_sizes.append(sum(path.stat().st_size for path in self._log_files()))
        types = {probe.name: probe.object_types() for probe in self._probes}
        with (self._folder / "samples.jsonl").open("a") as file:
            file.write(json.dumps(found | {"log": self.log_sizes[-1], "types": types}) + "\n")

    def _check_and_print(self) -> None:
        """What is wrong twice within some seconds; once may be a change between two reads."""
        first = set(self.checker.check_now())
        if first:
            time.sleep(15)
            for words in first & set(self.checker.check_now()):
                self._add_violation(words)
        self._check_log()
        states = Counter(dub.state.value for job in self.checker.jobs() for dub in job.dubs.values())
        print(f"{self.samples[-1]['at']['seconds']:6.0f} s  {dict(states)}  {dict(self.user.counts)}", flush=True)
        for probe in self._probes:
            values = ", ".join(f"{name} {_format_value(name, self.samples[-1][probe.name][name])}" for name in MEASURES)
            print(f"          {probe.name}: {values}", flush=True)

    def _check_log(self) -> None:
        for path in self._log_files():
            for line in path.read_text().splitlines():
                if any(mark in line for mark in ERROR_LOG_MARKS):
                    self._add_violation(f"in the log: {line[:2000]}")

    def _log_files(self) -> list[Path]:
        return sorted((self.batch.state / "log").glob("*"))

    # -- the end -------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        self._service.send_command("calm")
        done = becomes_true(self.user.retry_unfinished, MAX_SETTLE_SECONDS, 2.0) if not self._has_ended() else False
        if not done:
            self._add_violation("not all came to be done")
        kill_process(self._terminal.process.pid)  # or it would start a new runner
        self.user.send_request(p.StopRequest())
        if not becomes_true(lambda: self._runner.poll() is not None, scale_timeout()):
            self._add_violation("the runner does not end")
        elif self._runner.returncode:
            self._add_violation(f"the runner ended with {self._runner.returncode}")
        self._check_end()

    def _check_end(self) -> None:
        for words in self.checker.check_at_end():
            self._add_violation(words)
        for words in find_double_payments(self._service.paid_requests(), self.user.permits):
            self._add_violation(words)
        for upload in self._service.unfinished_uploads():
            if not self._service.was_abort_refused(upload.asset):
                self._add_violation(f"an unfinished upload: {upload}")
        self._check_log()
        if max(self.log_sizes, default=0) > MAX_LOG_BYTES:
            self._add_violation(f"the log has {max(self.log_sizes)} bytes")
        for words in self.user.violations:
            self._add_violation(words)

    def _add_violation(self, words: str) -> None:
        if words not in self.violations:
            self.violations.append(words)
            print(f"VIOLATION: {words}", flush=True)


def run_soak(folder: Path, *, seed: int, plan: SoakPlan) -> SoakRun:
    """One run; its figures and violations. Whether it is flat is the caller's to judge, by `trends`."""
    service = SandboxProcess(faulty_sandbox_config(seed, plan.dubbing), folder / "sandbox")
    try:
        run = SoakRun(service, folder, seed, plan)
        try:
            run.run()
        finally:
            run.close()
    finally:
        service.close()
    return run


def _format_value(measure: str, value: float) -> str:
    return f"{value / MIB:.1f} MiB" if measure in ("rss", "pss", "uss") else f"{value:.0f}"


def _print_report(run: SoakRun, plan: SoakPlan) -> int:
    """Print the figures; how much was wrong."""
    wrong = len(run.violations)
    minutes = plan.seconds * (1 - plan.warm_up_share) / 60
    print(f"{'':10} {'':12} {'median':>12} {'growth':>12} {'allowed':>12}   over {minutes:.0f} minutes")
    for process, measure, found in run.trends():
        shown = "".join(f" {_format_value(measure, value):>12}" for value in found)
        print(f"{process:10} {measure:12}{shown}   {'flat' if found.is_flat else 'GROWS'}")
        wrong += not found.is_flat
    print(f"log: at most {max(run.log_sizes, default=0) / MIB:.1f} of {MAX_LOG_BYTES / MIB:.1f} MiB")
    for name, number in run.user.counts.items():
        print(f"{name:24} {number:6}")
    print(f"{'violations':24} {len(run.violations):6}")
    for words in run.violations:
        print(f"  {words}")
    return wrong


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.long_run")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--short", action="store_true", help="a minute with a few files: too short to tell what grows")
    return parser.parse_args()


def main() -> int:
    arguments = _parse_arguments()
    print(f"seed {arguments.seed}", flush=True)
    plan = SHORT_PLAN if arguments.short else SoakPlan(arguments.files, arguments.minutes * 60, 15, 120, 1.0)
    folder = Path(tempfile.mkdtemp(prefix="synthdub-long-"))
    run = run_soak(folder, seed=arguments.seed, plan=plan)
    wrong = _print_report(run, plan)
    if wrong:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
