"""What waits in tests: it goes on as soon as it can, and says what it waited for when that does not come."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import waiting
from tests.waiting import answering, block_until, exit_code, finished, until


@pytest.fixture(autouse=True)
def no_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.os, "getloadavg", lambda: (0.0, 0.0, 0.0))


def started(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-uc", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


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
    assert waiting.patience(20) == 20
    monkeypatch.setattr(waiting.os, "getloadavg", lambda: (12.0, 0.0, 0.0))
    assert waiting.patience(20) == 120
    assert waiting.patience(100) == waiting.LONGEST


def test_a_process_that_does_not_answer_is_killed() -> None:
    process = started("input()")
    assert process.stdout is not None
    with pytest.raises(AssertionError, match="without its greeting"), answering(process, "its greeting", 0.1):
        assert process.stdout.readline()
    assert exit_code(process) == -9


def test_a_process_that_answers_lives_on() -> None:
    process = started("print(input())")
    assert process.stdin is not None and process.stdout is not None
    with answering(process, "an echo"):
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == "hello\n"
    assert exit_code(process) == 0


def test_a_process_that_does_not_end_is_killed_and_what_it_wrote_shown() -> None:
    process = started("print('where it hangs'); import time; time.sleep(1000)")
    assert process.stdout is not None
    with pytest.raises(AssertionError, match="where it hangs"):
        finished(process, 2)
    assert process.returncode == -9
