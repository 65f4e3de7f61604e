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
from synthdub_tui.store.job_store import CACHE_NAME, JobStore
from tests.jobs.factories import jobs_in_every_state
from tests.store.test_job_store import make_job, read_tree


@pytest.fixture(autouse=True)
def low_cache_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MIN_CACHED_JOBS", 2)
    monkeypatch.setattr(job_cache, "JOBS_PER_PIECE", 2)


@pytest.fixture
def parsed_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read as TOML."""
    read: list[str] = []
    real: Callable[[str, bytes], Job] = store_module._named_job

    def named_job(name: str, data: bytes) -> Job:
        read.append(name)
        return real(name, data)

    monkeypatch.setattr(store_module, "_named_job", named_job)
    return read


JOBS = [replace(made, id=f"job-{number}", added=float(number)) for number, made in enumerate(jobs_in_every_state().values())]


@pytest.fixture
def filled_folder(tmp_path: Path) -> Path:
    """A batch of jobs in every state, as a runner leaves it."""
    store = JobStore(str(tmp_path))
    store.open()
    for made in JOBS:
        store.save(made)
    store.write_cache()
    return tmp_path


def load_jobs(folder: Path) -> list[Job]:
    return JobStore(str(folder)).load().jobs


def test_nothing_is_read_as_toml_that_is_known(filled_folder: Path, parsed_files: list[str]) -> None:
    assert load_jobs(filled_folder) == JOBS
    assert parsed_files == []


def test_what_is_known_is_the_same_to_the_byte(filled_folder: Path) -> None:
    """Defaults are left out where they are one and the same object."""
    known = load_jobs(filled_folder)
    (filled_folder / CACHE_NAME).unlink()
    assert [encode_job(made) for made in known] == [encode_job(made) for made in load_jobs(filled_folder)]


def test_files_that_changed_since_are_read(filled_folder: Path, parsed_files: list[str]) -> None:
    JobStore(str(filled_folder)).save(replace(JOBS[1], uploads=7))
    by_hand = filled_folder / "jobs" / f"{JOBS[2].id}.toml"
    times = by_hand.stat()
    by_hand.write_text(by_hand.read_text().replace("intro", "outro"))  # as long as it was
    os.utime(by_hand, ns=(times.st_atime_ns, times.st_mtime_ns))
    found = load_jobs(filled_folder)
    assert found[1].uploads == 7
    assert found[2] != JOBS[2] and found[2].source.path.endswith("outro.mp4")
    assert sorted(parsed_files) == [f"{JOBS[1].id}.toml", f"{JOBS[2].id}.toml"]


def test_a_file_that_went_does_not_come_back(filled_folder: Path) -> None:
    (filled_folder / "jobs" / f"{JOBS[0].id}.toml").unlink()
    assert load_jobs(filled_folder) == JOBS[1:]


def test_a_file_under_another_ones_name_is_set_aside(filled_folder: Path) -> None:
    jobs = filled_folder / "jobs"
    (jobs / "other.toml").write_bytes((jobs / f"{JOBS[0].id}.toml").read_bytes())
    found = JobStore(str(filled_folder)).load()
    assert found.jobs == JOBS
    assert [os.path.basename(file.path) for file in found.damaged] == ["other.toml"]


def test_it_grows_with_the_batch(filled_folder: Path, parsed_files: list[str]) -> None:
    store = JobStore(str(filled_folder))
    store.open()
    store.load()
    store.save(make_job(99))
    store.write_cache()
    assert load_jobs(filled_folder) == [*JOBS, make_job(99)]
    assert parsed_files == []


def test_nothing_is_written_without_news(filled_folder: Path) -> None:
    before = (filled_folder / CACHE_NAME).stat().st_ino
    store = JobStore(str(filled_folder))
    store.load()
    store.write_cache()
    assert (filled_folder / CACHE_NAME).stat().st_ino == before


def test_a_small_batch_has_none(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    store.open()
    store.save(make_job())
    store.write_cache()
    assert not (tmp_path / CACHE_NAME).exists()
    assert load_jobs(tmp_path) == [make_job()]


def test_who_only_looks_writes_nothing(filled_folder: Path) -> None:
    (filled_folder / CACHE_NAME).unlink()
    before = read_tree(filled_folder)
    assert JobStore(str(filled_folder)).load(set_aside=False).jobs == JOBS
    assert read_tree(filled_folder) == before


def test_only_the_owner_may_read_it(filled_folder: Path) -> None:
    assert stat.S_IMODE((filled_folder / CACHE_NAME).stat().st_mode) == 0o600


def test_that_of_another_version_is_left_alone(
    filled_folder: Path, parsed_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_cache, "_FORMAT", b"0.0.1 1")
    assert load_jobs(filled_folder) == JOBS
    assert len(parsed_files) == len(JOBS)


def test_cut_anywhere(filled_folder: Path) -> None:
    whole = (filled_folder / CACHE_NAME).read_bytes()
    for size in range(0, len(whole), 13):
        (filled_folder / CACHE_NAME).write_bytes(whole[:size])
        assert load_jobs(filled_folder) == JOBS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_anyhow(filled_folder: Path, data: st.DataObject) -> None:
    whole = bytearray((filled_folder / CACHE_NAME).read_bytes())
    kept = bytes(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=5)):
        whole[at] ^= data.draw(st.integers(1, 255))
    (filled_folder / CACHE_NAME).write_bytes(whole)
    assert load_jobs(filled_folder) == JOBS
    (filled_folder / CACHE_NAME).write_bytes(kept)


nested: st.SearchStrategy[object] = st.recursive(st.none() | st.text(max_size=9) | st.integers(0, 9), st.lists)


@given(junk=st.binary(max_size=200) | nested.map(msgspec.msgpack.encode) | st.just(b"\x91" * 100_000), whole=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_follows_its_first_line(filled_folder: Path, junk: bytes, whole: bool) -> None:
    head = job_cache._HEAD.pack(len(junk), zlib.crc32(junk)) if whole else b""
    (filled_folder / CACHE_NAME).write_bytes(job_cache._FORMAT + b"\n" + head + junk)
    assert load_jobs(filled_folder) == JOBS


def test_no_room_for_it(filled_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JobStore(str(filled_folder))
    store.open()
    store.save(make_job(99))
    before = read_tree(filled_folder)
    real = os.replace

    def full(source: str, target: str) -> None:
        if target.endswith(CACHE_NAME):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    store.load()
    with pytest.raises(OSError, match="No space"):
        store.write_cache()
    assert read_tree(filled_folder) == before
    monkeypatch.undo()
    monkeypatch.setattr(store_module, "MIN_CACHED_JOBS", 2)
    store.write_cache()
    assert read_tree(filled_folder) != before


def test_a_copy_that_a_kill_left_is_swept(filled_folder: Path) -> None:
    left = filled_folder / f".{CACHE_NAME}{files.TEMPORARY_EXTENSION}"
    left.write_bytes(b"half")
    JobStore(str(filled_folder)).open()
    assert not left.exists()
