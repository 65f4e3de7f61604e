"""How soon commands are there: `python -m tests.benchmarks.command_start [--short]`.

`--help`, `status` and `outputs` beside `python -c pass`, and what the dashboard imports before its first frame beside
`import textual.app` alone. The goals: 1.5 of `pass` plus 60 ms, and 1.15 of Textual. Rounds go over all programs in turn, and
the least of each counts; processor time tells more than the clock where the machine is busy. As with an installed program, the
bytecode is there: the first round, which is not counted, writes it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from synthdub_tui.store.codec import encode_job
from synthdub_tui.store.job_store import JobStore
from tests.benchmarks.job_store import make_job
from tests.benchmarks.large_batch import MIXED_STATES

ROUNDS = 20
JOB_COUNT = 20

COMMANDS = ("synthdub --help", "synthdub status", "synthdub outputs")
FIRST_FRAME_LABEL = "what the first frame needs"

PYTHON_COMMAND = (sys.executable, "-c")
PRODUCT_COMMAND = (sys.executable, "-m", "synthdub_tui")
MEASURED_COMMANDS = {
    "python -c pass": (*PYTHON_COMMAND, "pass"),
    "synthdub --help": (*PRODUCT_COMMAND, "--help"),
    "synthdub status": (*PRODUCT_COMMAND, "status"),
    "synthdub outputs": (*PRODUCT_COMMAND, "outputs"),
    "import textual.app": (*PYTHON_COMMAND, "import textual.app"),
    FIRST_FRAME_LABEL: (*PYTHON_COMMAND, "import synthdub_tui.commands.dashboard_start, synthdub_tui.dashboard.app"),
}


class SpentSeconds(NamedTuple):
    """Seconds by the clock and on a processor."""

    clock: float
    processor: float


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon commands are there.")
    parser.add_argument("--short", action="store_true", help="two rounds: shows only that it works")
    rounds = 2 if parser.parse_args().short else ROUNDS
    with tempfile.TemporaryDirectory(prefix="synthdub-start-") as folder:
        fill_state(folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SYNTH", "XDG_", "PYTHON"))}
        environment |= {"HOME": folder, "SYNTHDUB_STATE_DIR": folder}
        taken: dict[str, list[SpentSeconds]] = {name: [] for name in MEASURED_COMMANDS}
        for _ in range(1 + rounds):
            for name, command in MEASURED_COMMANDS.items():
                taken[name].append(measure_command(command, environment))
    least = {name: SpentSeconds(*map(min, zip(*each[1:], strict=True))) for name, each in taken.items()}
    print_results(least, rounds)


def print_results(least: dict[str, SpentSeconds], rounds: int) -> None:
    """A line for each program; beside ours, its part of the goal."""
    bare, textual = least["python -c pass"], least["import textual.app"]
    commands = SpentSeconds(*(1.5 * seconds + 0.06 for seconds in bare))
    goals = dict.fromkeys(COMMANDS, commands) | {FIRST_FRAME_LABEL: SpentSeconds(*(1.15 * seconds for seconds in textual))}
    print(f"{f'least of {rounds} rounds':28} {'clock':>9} {'of goal':>8} {'processor':>11} {'of goal':>8}")
    for name, (clock, processor) in least.items():
        goal = goals.get(name)
        parts = (f"{clock / goal.clock:.2f}", f"{processor / goal.processor:.2f}") if goal else ("", "")
        print(f"{name:28} {clock * 1e3:6.0f} ms {parts[0]:>8} {processor * 1e3:8.0f} ms {parts[1]:>8}")


def fill_state(state: str) -> None:
    """A small batch, so that there is something to show."""
    store = JobStore(state)
    store.open()
    for number in range(JOB_COUNT):
        job = make_job(number, MIXED_STATES[number % len(MIXED_STATES)])
        Path(store.path(f"jobs/{job.id}.toml")).write_bytes(encode_job(job))


def measure_command(command: tuple[str, ...], environment: dict[str, str]) -> SpentSeconds:
    """What a program takes from its start to its end."""
    begun = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    process = os.posix_spawn(command[0], command, environment, file_actions=quiet)
    _, status, used = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    return SpentSeconds(time.perf_counter() - begun, used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    main()
