"""One runner per state directory."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synthdub_tui.errors import ProblemError
from synthdub_tui.store.lock import StateLock

LOCK_HOLDER_PROGRAM = """
import sys
from synthdub_tui.store.lock import StateLock
StateLock(sys.argv[1]).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def hold_lock(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCK_HOLDER_PROGRAM, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()


def is_locked(path: Path) -> bool:
    lock = StateLock(str(path))
    try:
        lock.acquire()
    except ProblemError as trouble:
        assert trouble.code == "state_busy"
        return True
    lock.release()
    return False


def test_a_lock_is_held_once_and_released(tmp_path: Path) -> None:
    lock = StateLock(str(tmp_path / "lock"))
    lock.acquire()
    assert is_locked(tmp_path / "lock")
    lock.release()
    lock.release()
    assert not is_locked(tmp_path / "lock")
    assert (tmp_path / "lock").exists()
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_two_processes(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock"):
        assert is_locked(tmp_path / "lock")
    assert not is_locked(tmp_path / "lock")


def test_a_killed_holder_frees_it(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not is_locked(tmp_path / "lock")


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    lock = StateLock(str(tmp_path / "lock"))
    lock.acquire()
    command = [sys.executable, "-c", "print('here', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        lock.release()
        assert not is_locked(tmp_path / "lock")
        child.communicate(b"\n")


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        StateLock(str(tmp_path / "missing" / "lock")).acquire()
    assert os.listdir(tmp_path) == []
