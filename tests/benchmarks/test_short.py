"""Every benchmark in its short form: that it works, not how fast anything is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BENCHMARKS = sorted(path.stem for path in HERE.glob("[!_t]*.py") if "--short" in path.read_text())


def test_there_are_benchmarks() -> None:
    assert "makespan" in BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_short(name: str) -> None:
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--short"]
    said = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.count("\n") >= 2  # a table
