"""Durable writes: whatever fails, and wherever a crash comes, the file has its old or its new content."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui import files

OLD_CONTENT, NEW_CONTENT = b"old " * 1000, b"new " * 3000


class SimulatedCrash(BaseException):
    """The process is gone: no handler runs after it, which `finally` blocks in the code under test cannot know."""


class FaultyCalls:
    """Counts the calls that matter, and fails at one of them."""

    CALLS = ("open", "write", "fsync", "close", "replace", "unlink")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException | None, after: bool = False) -> None:
        self.log: list[str] = []
        self._fail_at, self._error, self._fails_after_call = at, error, after
        self._has_crashed = False
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._has_crashed:
                raise SimulatedCrash  # a process that is gone does nothing more
            self.log.append(name)
            hit = self._error is not None and len(self.log) == self._fail_at
            if hit and name == "write" and isinstance(self._error, SimulatedCrash):
                real(args[0], bytes(args[1])[: len(args[1]) // 2])  # half of it reached the disk
            if hit and not self._fails_after_call:
                self._fail()
            result = real(*args, **kwargs)
            if hit:
                self._fail()
            return result

        return call

    def _fail(self) -> None:
        assert self._error is not None
        self._has_crashed = isinstance(self._error, SimulatedCrash)
        raise self._error


def calls_of_one_write(folder: Path) -> list[str]:
    """What one undisturbed write does."""
    with pytest.MonkeyPatch.context() as patch:
        faults = FaultyCalls(patch, 0, None)
        files.write_durably(str(folder / "file"), NEW_CONTENT)
        return list(faults.log)


def test_the_order_that_survives_power_loss(tmp_path: Path) -> None:
    """Content durable before the name, the name before the return (`man 2 fsync`)."""
    (tmp_path / "file").write_bytes(OLD_CONTENT)
    order = [name for name in calls_of_one_write(tmp_path) if name not in ("close", "unlink")]
    assert order == ["open", "write", "fsync", "replace", "open", "fsync"]
    assert (tmp_path / "file").read_bytes() == NEW_CONTENT
    assert os.listdir(tmp_path) == ["file"]


FAULT_POINTS = range(1, 12)


@pytest.mark.parametrize("at", FAULT_POINTS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_call_that_fails(tmp_path: Path, at: int, code: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD_CONTENT)
    last = len(calls_of_one_write(tmp_path))
    path.write_bytes(OLD_CONTENT)
    failed = False
    with pytest.MonkeyPatch.context() as patch:
        faults = FaultyCalls(patch, at, OSError(code, os.strerror(code)))
        try:
            files.write_durably(str(path), NEW_CONTENT)
        except OSError as error:
            failed = True
            assert error.errno == code
    assert failed == (at <= last)
    replaced = "replace" in faults.log[: at - 1] or not failed
    assert path.read_bytes() == (NEW_CONTENT if replaced else OLD_CONTENT)
    files.write_durably(str(path), NEW_CONTENT)  # what the failure left behind does not hinder the next
    assert path.read_bytes() == NEW_CONTENT
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", FAULT_POINTS)
def test_a_crash(tmp_path: Path, at: int, after: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD_CONTENT)
    with pytest.MonkeyPatch.context() as patch:
        FaultyCalls(patch, at, SimulatedCrash(), after)
        with contextlib.suppress(SimulatedCrash):
            files.write_durably(str(path), NEW_CONTENT)
    assert path.read_bytes() in (OLD_CONTENT, NEW_CONTENT)
    files.write_durably(str(path), NEW_CONTENT)
    assert path.read_bytes() == NEW_CONTENT
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_in_many_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:7]))
    files.write_durably(str(tmp_path / "file"), NEW_CONTENT)
    assert (tmp_path / "file").read_bytes() == NEW_CONTENT


def test_only_the_owner_may_read_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD_CONTENT)
    (tmp_path / "file").chmod(0o644)
    files.write_durably(str(tmp_path / "file"), NEW_CONTENT)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_link_planted_under_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(OLD_CONTENT)
    (tmp_path / f".file{files.TEMPORARY_EXTENSION}").symlink_to(victim)
    files.write_durably(str(tmp_path / "file"), NEW_CONTENT)
    assert victim.read_bytes() == OLD_CONTENT
    assert (tmp_path / "file").read_bytes() == NEW_CONTENT


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Some network and user-space file systems cannot; nothing better is to be had there."""
    real = os.fsync

    def sync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    files.write_durably(str(tmp_path / "file"), NEW_CONTENT)
    assert (tmp_path / "file").read_bytes() == NEW_CONTENT
