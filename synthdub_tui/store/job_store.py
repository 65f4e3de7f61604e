"""The state directory: `jobs/<id>.toml`, one file per job, small documents of the batch, and a cache of the jobs' files.

A change writes one small file, whatever the batch's size. No secret is ever written. A file that cannot be read as a job is
moved to `damaged/` and reported; the rest continues.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from synthdub_tui import files
from synthdub_tui.errors import ProblemError
from synthdub_tui.jobs.model import SCHEMA_VERSION, Job
from synthdub_tui.store.codec import decode_job, dump_toml, encode_job, parse_toml
from synthdub_tui.store.migrations import OLDEST_SCHEMA, back_up_state

if TYPE_CHECKING:
    from synthdub_tui.store.job_cache import CachedJob

MAX_STATE_FILE_BYTES: Final = 4 * 1024 * 1024
"""Most bytes of a state file that is read: a job of all languages has about 60 kB."""

BATCH_DOCUMENT: Final = "batch"
"""The document about the batch as a whole: its schema, its id, and whether it is paused."""

CACHE_NAME: Final = "jobs.cache"
SKIPPED_DOCUMENT: Final = "left-out"
"""The document about what the last search for videos skipped."""

MIN_CACHED_JOBS: Final = 500
"""Jobs from which a cache pays off: parsing fewer as TOML takes a tenth of a second."""


class DamagedFile(NamedTuple):
    """A state file that is not a job. `kept` is its present path."""

    path: str
    kept_path: str
    reason: str


class LostJob(NamedTuple):
    """A video whose state is lost. `kept` is its damaged file; `path` is the video's path, if that file still shows it."""

    id: str
    kept: str
    path: str


class LoadedBatch(NamedTuple):
    """The batch as found on disk, in the order in which jobs were added."""

    jobs: list[Job]
    damaged: list[DamagedFile]


class JobStore:
    """Reads and writes one state directory. Thread-safe for different jobs; saves of one job must follow one another."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._jobs = os.path.join(folder, "jobs")
        self._damaged = os.path.join(folder, "damaged")
        self._cached_jobs: dict[str, CachedJob] = {}  # by file name: last read or written
        self._is_cache_outdated = False  # that the cache lacks
        self._cache_lock = threading.Lock()
        self._set_aside_at_open: list[DamagedFile] = []

    def path(self, name: str) -> str:
        """Path of a file of the state directory."""
        return os.path.join(self.folder, name)

    def open(self) -> None:
        """Create the directory, 0700, and remove temporary files of a crash. State of an older synthdub is copied first.

        Raises `ProblemError` ("state_unwritable", "state_newer").
        """
        try:
            os.makedirs(self._jobs, mode=0o700, exist_ok=True)
            self._write_schema()
            os.chmod(self.folder, 0o700)
            self._remove_temporary_files(self.folder)
            self._remove_temporary_files(self._jobs)
        except OSError as error:
            raise ProblemError("state_unwritable", f"{error.strerror}: {self.folder}") from error

    def load(self, *, set_aside: bool = True) -> LoadedBatch:
        """Read all jobs. Without `damaged_job_ids` nothing changes on disk, so that it may be called while a runner works.

        Raises `ProblemError` ("state_newer", "state_unwritable").
        """
        try:
            jobs, bad = self._read_all()
            # Only after all are read: if one is from a newer synthdub, everything stays as it is.
            damaged = [DamagedFile(path, self._set_aside(path) if set_aside else path, reason) for path, reason in bad]
            damaged = self._damaged_batch() + damaged
        except OSError as error:
            raise ProblemError("state_unwritable", f"{error.strerror}: {self.folder}") from error
        jobs.sort(key=lambda job: (job.added, job.source.path))
        return LoadedBatch(jobs, damaged)

    def damaged_job_ids(self) -> frozenset[str]:
        """Ids of jobs whose files were damaged, this time or before, as long as the damaged files are kept.

        Raises `ProblemError` ("state_unwritable").
        """
        return frozenset(name.partition(".toml.")[0] for name in self._damaged_names())

    def _damaged_names(self) -> list[str]:
        try:
            return os.listdir(self._damaged)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ProblemError("state_unwritable", f"{error.strerror}: {self._damaged}") from error

    def lost_jobs(self, known_ids: Container[str]) -> list[LostJob]:
        """Videos whose state was damaged, as long as the damaged files are kept, except for `known` ids of jobs.

        Raises `ProblemError` ("state_unwritable").
        """
        newest: dict[str, LostJob] = {}
        for name in sorted(self._damaged_names()):
            job_id, path = name.partition(".toml.")[0], os.path.join(self._damaged, name)
            if job_id not in known_ids and job_id != BATCH_DOCUMENT:
                newest[job_id] = LostJob(job_id, path, _source_path(path))
        return list(newest.values())

    def save(self, job: Job) -> None:
        """Save a job. Durable when it returns. Raises OSError."""
        from synthdub_tui.store.job_cache import CachedJob, content_digest  # noqa: PLC0415 - commands that only read start faster without

        name, data = f"{job.id}.toml", encode_job(job)
        files.write_durably(os.path.join(self._jobs, name), data)
        self._cached_jobs[name] = CachedJob(content_digest(data), job)
        self._is_cache_outdated = True

    def delete(self, job_id: str) -> None:
        """Delete a job's file. Durable when it returns. Raises OSError."""
        name = f"{job_id}.toml"
        files.remove_durably(os.path.join(self._jobs, name))
        self._is_cache_outdated |= self._cached_jobs.pop(name, None) is not None

    def write_cache(self) -> None:
        """Write the cache, so that the next start of a large batch is quick. Raises OSError."""
        from synthdub_tui.store import job_cache  # noqa: PLC0415

        with self._cache_lock:
            if not self._is_cache_outdated or len(self._cached_jobs) < MIN_CACHED_JOBS:
                return
            self._is_cache_outdated = False
            try:
                job_cache.write_cache(self.path(CACHE_NAME), self._cached_jobs.copy())
            except OSError:
                self._is_cache_outdated = True
                raise

    def read_document(self, name: str) -> dict[str, Any]:
        """A document of the batch, such as the counters of the rate limits; empty if it is missing or damaged."""
        try:
            return parse_toml(_read(self.path(f"{name}.toml")).decode())
        except (OSError, ValueError):
            return {}

    def batch_id(self) -> str:
        """An id that tells this state directory from others, even after a move; empty before `open`."""
        return str(self.read_document(BATCH_DOCUMENT).get("id", ""))

    def is_paused(self) -> bool:
        """Whether the batch is paused. A damaged file counts as paused, since it may have said so."""
        try:
            return self._read_batch().get("paused", False) is not False
        except (OSError, ValueError):
            return True

    def write_document(self, name: str, content: dict[str, Any]) -> None:
        """Write a document of the batch. Durable when it returns. Raises OSError."""
        files.write_durably(self.path(f"{name}.toml"), dump_toml(content))

    def _read_all(self) -> tuple[list[Job], list[tuple[str, str]]]:
        """The jobs, and path and reason of each file that is not one."""
        jobs: list[Job] = []
        bad: list[tuple[str, str]] = []
        names = self._names()
        read = self._reader(len(names))
        for name in names:
            path = os.path.join(self._jobs, name)
            try:
                jobs.append(read(name, _read(path)))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RecursionError) as error:
                bad.append((path, str(error) or type(error).__name__))
        return jobs, bad

    def _reader(self, count: int) -> Callable[[str, bytes], Job]:
        """A function from a file's name and content to its job. If there are many, it parses only those that are not cached."""
        if count < MIN_CACHED_JOBS:
            return _named_job
        from synthdub_tui.store import job_cache  # noqa: PLC0415 - a small batch is read faster without

        cached = job_cache.read_cache(self.path(CACHE_NAME))

        def read(name: str, data: bytes) -> Job:
            digest, known = job_cache.content_digest(data), cached.pop(name, None)
            if known is None or known.digest != digest:
                known, self._is_cache_outdated = job_cache.CachedJob(digest, _named_job(name, data)), True
            self._cached_jobs[name] = known
            return known.job

        return read

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._jobs) as entries:
                return sorted(e.name for e in entries if e.name.endswith(".toml") and not e.name.startswith("."))
        except FileNotFoundError:
            return []

    def check_schema(self) -> None:
        """Check that no newer synthdub wrote the directory. Changes nothing. Raises `ProblemError` ("state_newer")."""
        self._require_known_schema(self.read_document(BATCH_DOCUMENT))

    def _require_known_schema(self, found: dict[str, Any]) -> int:
        schema = found["schema"] if "schema" in found else OLDEST_SCHEMA if self._names() else SCHEMA_VERSION
        if not isinstance(schema, int) or schema > SCHEMA_VERSION:
            raise ProblemError("state_newer", self.folder)
        return schema

    def _write_schema(self) -> None:
        """Write schema and id, so that an older synthdub leaves a newer directory untouched. Copies older state first."""
        found = self._read_or_reset_batch()
        schema = self._require_known_schema(found)
        if schema < SCHEMA_VERSION:
            back_up_state(self.folder, schema)
        if found.get("schema") != SCHEMA_VERSION or "id" not in found:
            self.write_document(BATCH_DOCUMENT, {"id": os.urandom(16).hex(), **found, "schema": SCHEMA_VERSION})

    def _read_batch(self) -> dict[str, Any]:
        """The batch file; none if it is missing. Raises OSError or ValueError if it is damaged or empty: no writer empties
        it."""
        path = self.path(f"{BATCH_DOCUMENT}.toml")
        try:
            found = parse_toml(_read(path).decode())
        except FileNotFoundError:
            return {}
        if not found:
            raise ValueError("the file is empty")
        return found

    def _read_or_reset_batch(self) -> dict[str, Any]:
        """The batch file. A damaged one is set aside, and the batch is paused."""
        try:
            return self._read_batch()
        except (OSError, ValueError) as error:
            path = self.path(f"{BATCH_DOCUMENT}.toml")
            self._set_aside_at_open.append(DamagedFile(path, self._set_aside(path), str(error)))
            files.sync_folder(self.folder)
            return {"paused": True}

    def _damaged_batch(self) -> list[DamagedFile]:
        """The batch file, if it was set aside at `open`, or is damaged now."""
        try:
            self._read_batch()
        except (OSError, ValueError) as error:
            path = self.path(f"{BATCH_DOCUMENT}.toml")
            return [DamagedFile(path, path, str(error))]
        return self._set_aside_at_open

    def _set_aside(self, path: str) -> str:
        os.makedirs(self._damaged, mode=0o700, exist_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        kept = os.path.join(self._damaged, f"{os.path.basename(path)}.{stamp}")
        number = 1
        while os.path.exists(kept):
            kept = os.path.join(self._damaged, f"{os.path.basename(path)}.{stamp}-{number}")
            number += 1
        os.rename(path, kept)
        files.sync_folder(self._jobs)
        return kept

    def _remove_temporary_files(self, folder: str) -> None:
        with os.scandir(folder) as entries:
            left = [e.path for e in entries if e.name.startswith(".") and e.name.endswith(files.TEMPORARY_EXTENSION)]
        for path in left:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _named_job(name: str, data: bytes) -> Job:
    job = decode_job(data.decode())
    if name != f"{job.id}.toml":
        raise ValueError(f"the file is not named after its id {job.id!r}")
    return job


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # read(limit) would allocate that much for every file
        if os.fstat(file.fileno()).st_size > MAX_STATE_FILE_BYTES:
            raise ValueError("the file is too large")
        return file.readall()


def _source_path(kept: str) -> str:
    """The path of the source, if the damaged file still contains it."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        for line in _read(kept).decode(errors="replace").splitlines():
            if line.startswith("path = "):  # the first one is the source's
                return str(parse_toml(line)["path"])
    return ""
