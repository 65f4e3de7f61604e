"""The cache of large batches: it makes starts quick, and never says anything that the files do not."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from synthdub_tui import files
from synthdub_tui.jobs.model import Job
from synthdub_tui.store import job_cache
from synthdub_tui.store import job_store as store_module
from synthdub_tui.store.codec import encode_job
from synthdub_tui.store.job_store import CACHE, Store
from tests.jobs.factories import in_every_state
from tests.store.test_job_store import job, state_of


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CACHE_FROM", 2)
    monkeypatch.setattr(job_cache, "PIECE", 2)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read as TOML."""
    read: list[str] = []
    real: Callable[[str, bytes], Job] = store_module._named_job

    def named_job(name: str, data: bytes) -> Job:
        read.append(name)
        return real(name, data)

    monkeypatch.setattr(store_module, "_named_job", named_job)
    return read


JOBS = [replace(made, id=f"job-{number}", added=float(number)) for number, made in enumerate(in_every_state().values())]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A batch of jobs in every state, as a runner leaves it."""
    store = Store(str(tmp_path))
    store.open()
    for made in JOBS:
        store.save(made)
    store.write_cache()
    return tmp_path


def loaded(folder: Path) -> list[Job]:
    return Store(str(folder)).load().jobs


def test_nothing_is_read_as_toml_that_is_known(folder: Path, parsed: list[str]) -> None:
    assert loaded(folder) == JOBS
    assert parsed == []


def test_what_is_known_is_the_same_to_the_byte(folder: Path) -> None:
    """Defaults are left out where they are one and the same object."""
    known = loaded(folder)
    (folder / CACHE).unlink()
    assert [encode_job(made) for made in known] == [encode_job(made) for made in loaded(folder)]


def test_files_that_changed_since_are_read(folder: Path, parsed: list[str]) -> None:
    Store(str(folder)).save(replace(JOBS[1], uploads=7))
    by_hand = folder / "jobs" / f"{JOBS[2].id}.toml"
    times = by_hand.stat()
    by_hand.write_text(by_hand.read_text().replace("intro", "outro"))  # as long as it was
    os.utime(by_hand, ns=(times.st_atime_ns, times.st_mtime_ns))
    found = loaded(folder)
    assert found[1].uploads == 7
    assert found[2] != JOBS[2] and found[2].source.path.endswith("outro.mp4")
    assert sorted(parsed) == [f"{JOBS[1].id}.toml", f"{JOBS[2].id}.toml"]


def test_a_file_that_went_does_not_come_back(folder: Path) -> None:
    (folder / "jobs" / f"{JOBS[0].id}.toml").unlink()
    assert loaded(folder) == JOBS[1:]


def test_a_file_under_another_ones_name_is_set_aside(folder: Path) -> None:
    jobs = folder / "jobs"
    (jobs / "other.toml").write_bytes((jobs / f"{JOBS[0].id}.toml").read_bytes())
    found = Store(str(folder)).load()
    assert found.jobs == JOBS
    assert [os.path.basename(file.path) for file in found.damaged] == ["other.toml"]


def test_it_grows_with_the_batch(folder: Path, parsed: list[str]) -> None:
    store = Store(str(folder))
    store.open()
    store.load()
    store.save(job(99))
    store.write_cache()
    assert loaded(folder) == [*JOBS, job(99)]
    assert parsed == []


def test_nothing_is_written_without_news(folder: Path) -> None:
    before = (folder / CACHE).stat().st_ino
    store = Store(str(folder))
    store.load()
    store.write_cache()
    assert (folder / CACHE).stat().st_ino == before


def test_a_small_batch_has_none(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.open()
    store.save(job())
    store.write_cache()
    assert not (tmp_path / CACHE).exists()
    assert loaded(tmp_path) == [job()]


def test_who_only_looks_writes_nothing(folder: Path) -> None:
    (folder / CACHE).unlink()
    before = state_of(folder)
    assert Store(str(folder)).load(set_aside=False).jobs == JOBS
    assert state_of(folder) == before


def test_only_the_owner_may_read_it(folder: Path) -> None:
    assert stat.S_IMODE((folder / CACHE).stat().st_mode) == 0o600


def test_that_of_another_version_is_left_alone(folder: Path, parsed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_cache, "_FORMAT", b"0.0.1 1")
    assert loaded(folder) == JOBS
    assert len(parsed) == len(JOBS)


def test_cut_anywhere(folder: Path) -> None:
    whole = (folder / CACHE).read_bytes()
    for size in range(0, len(whole), 13):
        (folder / CACHE).write_bytes(whole[:size])
        assert loaded(folder) == JOBS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_anyhow(folder: Path, data: st.DataObject) -> None:
    whole = bytearray((folder / CACHE).read_bytes())
    kept = bytes(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5)):
        whole[at] ^= data.draw(st.integers(1, 255))
    (folder / CACHE).write_bytes(whole)
    assert loaded(folder) == JOBS
    (folder / CACHE).write_bytes(kept)


nested: st.SearchStrategy[object] = st.recursive(st.none() | st.text(max_size=9) | st.integers(0, 9), st.lists)


@given(junk=st.binary(max_size=200) | nested.map(msgspec.msgpack.encode) | st.just(b"\x91" * 100_000), whole=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_follows_its_first_line(folder: Path, junk: bytes, whole: bool) -> None:
    head = job_cache._HEAD.pack(len(junk), zlib.crc32(junk)) if whole else b""
    (folder / CACHE).write_bytes(job_cache._FORMAT + b"\n" + head + junk)
    assert loaded(folder) == JOBS


def test_no_room_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(folder))
    store.open()
    store.save(job(99))
    before = state_of(folder)
    real = os.replace

    def full(source: str, target: str) -> None:
        if target.endswith(CACHE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    store.load()
    with pytest.raises(OSError, match="No space"):
        store.write_cache()
    assert state_of(folder) == before
    monkeypatch.undo()
    monkeypatch.setattr(store_module, "CACHE_FROM", 2)
    store.write_cache()
    assert state_of(folder) != before


def test_a_copy_that_a_kill_left_is_swept(folder: Path) -> None:
    left = folder / f".{CACHE}{files.TEMPORARY}"
    left.write_bytes(b"half")
    Store(str(folder)).open()
    assert not left.exists()
