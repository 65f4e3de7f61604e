"""Every benchmark in its short form: that it works, not how fast anything is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_for_output

BENCHMARK_FOLDER = Path(__file__).parent
BENCHMARKS = sorted(path.stem for path in BENCHMARK_FOLDER.glob("[!_t]*.py") if "--short" in path.read_text())


def test_benchmarks_are_discovered() -> None:
    assert "makespan" in BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_short_benchmark_prints_a_table(name: str) -> None:
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--short"]
    process = subprocess.Popen(
        command, cwd=BENCHMARK_FOLDER.parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = wait_for_output(process, 240)
    assert process.returncode == 0, err[-2000:]
    assert out.count("\n") >= 2  # a table
