"""What waits in tests: it goes on as soon as it can, and says what it waited for when that does not come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import waiting
from tests.waiting import block_until, kill_after_timeout, until, wait_for_exit, wait_for_output


def start_python(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-uc", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_what_runs_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(waiting, "LOADAVG_PATH", tmp_path / "loadavg")
    assert waiting._running_processes() == 0  # another system
    (tmp_path / "loadavg").write_text("0.15 1.58 1.20 5/312 29871\n")
    assert waiting._running_processes() == 5


async def test_what_comes_late_is_waited_for() -> None:
    turns = iter(range(5))
    await until(lambda: next(turns) == 3)
    block_until(lambda: next(turns) == 4)


async def test_what_does_not_come_is_named() -> None:
    with pytest.raises(AssertionError, match="in vain for: a miracle"):
        await until(lambda: False, "a miracle", 0.01)
    with pytest.raises(AssertionError, match=r"in vain for: .*lambda: 1 > 2"):
        block_until(lambda: 1 > 2, seconds=0.01)
    looks: list[str] = []
    with pytest.raises(AssertionError, match="in vain for: a look, and it looks"):
        block_until(lambda: looks.append("it looks"), lambda: f"a look, and {looks[0]}", 0.01)


def test_a_busy_machine_gets_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(waiting.os, "getloadavg", lambda: (0.5, 0.0, 0.0))
    monkeypatch.setattr(waiting, "_running_processes", lambda: 1)
    assert waiting.scale_timeout(20) == 20
    monkeypatch.setattr(waiting.os, "getloadavg", lambda: (12.0, 0.0, 0.0))
    assert waiting.scale_timeout(20) == 120
    monkeypatch.setattr(waiting, "_running_processes", lambda: 20)  # they have only just begun
    assert waiting.scale_timeout(20) == 200
    assert waiting.scale_timeout(100) == waiting.MAX_TIMEOUT_SECONDS


def test_a_process_that_does_not_answer_is_killed() -> None:
    process = start_python("input()")
    assert process.stdout is not None
    with pytest.raises(AssertionError, match="without its greeting"), kill_after_timeout(process, "its greeting", 0.1):
        assert process.stdout.readline()
    assert wait_for_exit(process) == -9


def test_a_process_that_answers_lives_on() -> None:
    process = start_python("print(input())")
    assert process.stdin is not None and process.stdout is not None
    with kill_after_timeout(process, "an echo"):
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == "hello\n"
    assert wait_for_exit(process) == 0


def test_a_process_that_does_not_end_is_killed_and_what_it_wrote_shown(tmp_path: Path) -> None:
    written = tmp_path / "written"
    process = start_python(f"print('where it hangs'); open({str(written)!r}, 'w'); import time; time.sleep(1000)")
    block_until(written.exists)
    with pytest.raises(AssertionError, match="where it hangs"):
        wait_for_output(process, 0.1)
    assert process.returncode == -9


HANGING_PROGRAM = """
import threading

import pytest

from tests import conftest
from tests.conftest import pytest_runtest_teardown

conftest.TEARDOWN_LIMIT_SECONDS = 0.5


@pytest.fixture
def thing():
    yield
    threading.Event().wait()


def test_fails(thing):
    assert False
"""


def test_what_ends_a_failed_test_does_not_hang_for_good(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(HANGING_PROGRAM.partition("\n\n@pytest")[0])
    (tmp_path / "test_it.py").write_text(HANGING_PROGRAM)
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", f"--rootdir={tmp_path}", str(tmp_path)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)
    said, _ = wait_for_output(process)
    assert "1 failed, 1 error" in said
