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
from synthdub_tui.errors import Trouble
from synthdub_tui.jobs.model import SCHEMA, Job
from synthdub_tui.store.codec import _dump, _parse, decode_job, encode_job
from synthdub_tui.store.migrations import OLDEST, keep_copy

if TYPE_CHECKING:
    from synthdub_tui.store.job_cache import Known

SIZE_LIMIT: Final = 4 * 1024 * 1024
"""Most bytes of a state file that is read: a job of all languages has about 60 kB."""

BATCH: Final = "batch"
"""The document about the batch as a whole: its schema, its id, and whether it is paused."""

CACHE: Final = "jobs.cache"
LEFT_OUT: Final = "left-out"
"""The document about what the last search for videos skipped."""

CACHE_FROM: Final = 500
"""Jobs from which a cache pays off: parsing fewer as TOML takes a tenth of a second."""


class Damaged(NamedTuple):
    """A state file that is not a job. `kept` is its present path."""

    path: str
    kept: str
    reason: str


class Lost(NamedTuple):
    """A video whose state is lost. `kept` is its damaged file; `path` is the video's path, if that file still shows it."""

    id: str
    kept: str
    path: str


class Loaded(NamedTuple):
    """The batch as found on disk, in the order in which jobs were added."""

    jobs: list[Job]
    damaged: list[Damaged]


class Store:
    """Reads and writes one state directory. Thread-safe for different jobs; saves of one job must follow one another."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._jobs = os.path.join(folder, "jobs")
        self._damaged = os.path.join(folder, "damaged")
        self._known: dict[str, Known] = {}  # by file name: last read or written
        self._news = False  # that the cache lacks
        self._caching = threading.Lock()
        self._set_aside_at_open: list[Damaged] = []

    def path(self, name: str) -> str:
        """Path of a file of the state directory."""
        return os.path.join(self.folder, name)

    def open(self) -> None:
        """Create the directory, 0700, and remove temporary files of a crash. State of an older synthdub is copied first.

        Raises `Trouble` ("state_unwritable", "state_newer").
        """
        try:
            os.makedirs(self._jobs, mode=0o700, exist_ok=True)
            self._mark_schema()
            os.chmod(self.folder, 0o700)
            self._sweep(self.folder)
            self._sweep(self._jobs)
        except OSError as error:
            raise Trouble("state_unwritable", f"{error.strerror}: {self.folder}") from error

    def load(self, *, set_aside: bool = True) -> Loaded:
        """Read all jobs. Without `set_aside` nothing changes on disk, so that it may be called while a runner works.

        Raises `Trouble` ("state_newer", "state_unwritable").
        """
        try:
            jobs, bad = self._read_all()
            # Only after all are read: if one is from a newer synthdub, everything stays as it is.
            damaged = [Damaged(path, self._set_aside(path) if set_aside else path, reason) for path, reason in bad]
            damaged = self._damaged_batch() + damaged
        except OSError as error:
            raise Trouble("state_unwritable", f"{error.strerror}: {self.folder}") from error
        jobs.sort(key=lambda job: (job.added, job.source.path))
        return Loaded(jobs, damaged)

    def set_aside(self) -> frozenset[str]:
        """Ids of jobs whose files were damaged, this time or before, as long as the damaged files are kept.

        Raises `Trouble` ("state_unwritable").
        """
        return frozenset(name.partition(".toml.")[0] for name in self._kept())

    def _kept(self) -> list[str]:
        try:
            return os.listdir(self._damaged)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise Trouble("state_unwritable", f"{error.strerror}: {self._damaged}") from error

    def lost(self, known: Container[str]) -> list[Lost]:
        """Videos whose state was damaged, as long as the damaged files are kept, except for `known` ids of jobs.

        Raises `Trouble` ("state_unwritable").
        """
        newest: dict[str, Lost] = {}
        for name in sorted(self._kept()):
            job_id, path = name.partition(".toml.")[0], os.path.join(self._damaged, name)
            if job_id not in known and job_id != BATCH:
                newest[job_id] = Lost(job_id, path, _source_path(path))
        return list(newest.values())

    def save(self, job: Job) -> None:
        """Save a job. Durable when it returns. Raises OSError."""
        from synthdub_tui.store.job_cache import Known, digest  # noqa: PLC0415 - commands that only read start faster without

        name, data = f"{job.id}.toml", encode_job(job)
        files.write(os.path.join(self._jobs, name), data)
        self._known[name] = Known(digest(data), job)
        self._news = True

    def delete(self, job_id: str) -> None:
        """Delete a job's file. Durable when it returns. Raises OSError."""
        name = f"{job_id}.toml"
        files.remove(os.path.join(self._jobs, name))
        self._news |= self._known.pop(name, None) is not None

    def write_cache(self) -> None:
        """Write the cache, so that the next start of a large batch is quick. Raises OSError."""
        from synthdub_tui.store import job_cache  # noqa: PLC0415

        with self._caching:
            if not self._news or len(self._known) < CACHE_FROM:
                return
            self._news = False
            try:
                job_cache.write(self.path(CACHE), self._known.copy())
            except OSError:
                self._news = True
                raise

    def read_document(self, name: str) -> dict[str, Any]:
        """A document of the batch, such as the counters of the rate limits; empty if it is missing or damaged."""
        try:
            return _parse(_read(self.path(f"{name}.toml")).decode())
        except (OSError, ValueError):
            return {}

    def identity(self) -> str:
        """An id that tells this state directory from others, even after a move; empty before `open`."""
        return str(self.read_document(BATCH).get("id", ""))

    def paused(self) -> bool:
        """Whether the batch is paused. A damaged file counts as paused, since it may have said so."""
        try:
            return self._read_batch().get("paused", False) is not False
        except (OSError, ValueError):
            return True

    def write_document(self, name: str, content: dict[str, Any]) -> None:
        """Write a document of the batch. Durable when it returns. Raises OSError."""
        files.write(self.path(f"{name}.toml"), _dump(content))

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
        if count < CACHE_FROM:
            return _named_job
        from synthdub_tui.store import job_cache  # noqa: PLC0415 - a small batch is read faster without

        cached = job_cache.read(self.path(CACHE))

        def read(name: str, data: bytes) -> Job:
            digest, known = job_cache.digest(data), cached.pop(name, None)
            if known is None or known.digest != digest:
                known, self._news = job_cache.Known(digest, _named_job(name, data)), True
            self._known[name] = known
            return known.job

        return read

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._jobs) as entries:
                return sorted(e.name for e in entries if e.name.endswith(".toml") and not e.name.startswith("."))
        except FileNotFoundError:
            return []

    def check_schema(self) -> None:
        """Check that no newer synthdub wrote the directory. Changes nothing. Raises `Trouble` ("state_newer")."""
        self._checked_schema(self.read_document(BATCH))

    def _checked_schema(self, found: dict[str, Any]) -> int:
        schema = found["schema"] if "schema" in found else OLDEST if self._names() else SCHEMA
        if not isinstance(schema, int) or schema > SCHEMA:
            raise Trouble("state_newer", self.folder)
        return schema

    def _mark_schema(self) -> None:
        """Write schema and id, so that an older synthdub leaves a newer directory untouched. Copies older state first."""
        found = self._whole_batch()
        schema = self._checked_schema(found)
        if schema < SCHEMA:
            keep_copy(self.folder, schema)
        if found.get("schema") != SCHEMA or "id" not in found:
            self.write_document(BATCH, {"id": os.urandom(16).hex(), **found, "schema": SCHEMA})

    def _read_batch(self) -> dict[str, Any]:
        """The batch file; none if it is missing. Raises OSError or ValueError if it is damaged or empty: no writer empties
        it."""
        path = self.path(f"{BATCH}.toml")
        try:
            found = _parse(_read(path).decode())
        except FileNotFoundError:
            return {}
        if not found:
            raise ValueError("the file is empty")
        return found

    def _whole_batch(self) -> dict[str, Any]:
        """The batch file. A damaged one is set aside, and the batch is paused."""
        try:
            return self._read_batch()
        except (OSError, ValueError) as error:
            path = self.path(f"{BATCH}.toml")
            self._set_aside_at_open.append(Damaged(path, self._set_aside(path), str(error)))
            files.sync_folder(self.folder)
            return {"paused": True}

    def _damaged_batch(self) -> list[Damaged]:
        """The batch file, if it was set aside at `open`, or is damaged now."""
        try:
            self._read_batch()
        except (OSError, ValueError) as error:
            path = self.path(f"{BATCH}.toml")
            return [Damaged(path, path, str(error))]
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

    def _sweep(self, folder: str) -> None:
        with os.scandir(folder) as entries:
            left = [e.path for e in entries if e.name.startswith(".") and e.name.endswith(files.TEMPORARY)]
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
        if os.fstat(file.fileno()).st_size > SIZE_LIMIT:
            raise ValueError("the file is too large")
        return file.readall()


def _source_path(kept: str) -> str:
    """The path of the source, if the damaged file still contains it."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        for line in _read(kept).decode(errors="replace").splitlines():
            if line.startswith("path = "):  # the first one is the source's
                return str(_parse(line)["path"])
    return ""
