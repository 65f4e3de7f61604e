"""Every benchmark in its short form: that it works, not how fast anything is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import finished

HERE = Path(__file__).parent
BENCHMARKS = sorted(path.stem for path in HERE.glob("[!_t]*.py") if "--short" in path.read_text())


def test_there_are_benchmarks() -> None:
    assert "makespan" in BENCHMARKS


@pytest.mark.parametrize("name", BENCHMARKS)
def test_short(name: str) -> None:
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", "--short"]
    process = subprocess.Popen(command, cwd=HERE.parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = finished(process, 240)
    assert process.returncode == 0, err[-2000:]
    assert out.count("\n") >= 2  # a table
