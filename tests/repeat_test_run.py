"""`python -m tests.repeat_test_run [--runs 10] [--loops 4]`: can the test run be trusted? Runs the README's command again and
again, the second half of the runs beside busy loops, and says of each what came of it. Exits with 1 if any run failed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPO_ROOT = Path(__file__).parents[1]
PYTEST_COMMAND = (str(Path(sys.executable).parent / "pytest"),)
BUSY_LOOP_COMMAND = (sys.executable, "-c", "while True: pass")


@contextmanager
def keep_cores_busy(loops: int) -> Iterator[None]:
    """So many processes that never wait."""
    started = [subprocess.Popen(BUSY_LOOP_COMMAND) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def run_tests_once(number: int, loops: int, folder: Path) -> bool:
    """Whether all tests passed; the output is kept."""
    begun, output = time.monotonic(), folder / f"run-{number}.txt"
    with keep_cores_busy(loops), output.open("w") as file:
        code = subprocess.run(PYTEST_COMMAND, cwd=REPO_ROOT, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    minutes, load = (time.monotonic() - begun) / 60, os.getloadavg()[0]
    last = output.read_text().strip().rpartition("\n")[2]
    print(f"{number:3}  {loops} loops  {minutes:5.1f} min  load {load:4.1f}  exit {code}  {last}", flush=True)
    return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.repeat_test_run", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--loops", type=int, default=4, help="processes that keep cores busy in the second half of the runs")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="where each run's output is kept")
    arguments = parser.parse_args()
    half = (arguments.runs + 1) // 2
    passed = [run_tests_once(number, arguments.loops * (number >= half), arguments.folder) for number in range(arguments.runs)]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
