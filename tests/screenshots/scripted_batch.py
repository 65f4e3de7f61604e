"""The demo's batch as it would go in earnest: its files, languages and failures, larger files and longer dubs.

Everything happens through the domain's functions at told times, so each moment of the story is a state that a batch can be in.
"""

from __future__ import annotations

import random
import tempfile
import tomllib
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from synthdub_tui.commands.demo_batch import SANDBOX_CONFIG, TARGETS
from synthdub_tui.ipc.protocol import BatchStatus, RateLimitUsage, Transfer
from synthdub_tui.jobs.model import (
    Job,
    JobOptions,
    ObservedLanguage,
    ObservedProject,
    ObservedStatus,
    Output,
    PartRecord,
    Source,
)
from synthdub_tui.jobs.output_paths import output_path
from synthdub_tui.jobs.transitions import creation, download, observation, submission, upload
from synthdub_tui.sandbox.config import SimulatedFailure
from synthdub_tui.sandbox.media import make_sources
from synthdub_tui.sources.scan import content_type

VIDEO_FOLDER: Final = "/srv/videos"
BEGIN_SECONDS: Final = 1_773_306_720.0  # 2026-03-12 09:12:00 UTC
MAX_UPLOADS, MAX_DOWNLOADS = 3, 4
"""Transfers at once."""
UPLOAD_BYTES_PER_SECOND, DOWNLOAD_BYTES_PER_SECOND = 1.3e6, 2.6e6
"""Bytes per second of one transfer."""

WRITE_LIMITS: Final = ((60, 60.0), (300, 3600.0), (1000, 86400.0))
READ_LIMITS: Final = ((60, 60.0), (20_000, 86400.0))


class JobEvent(NamedTuple):
    """A job changes."""

    at: float
    job: str
    change: Callable[[Job], Job]


class ByteTransfer(NamedTuple):
    """Bytes from one moment to another."""

    begin: float
    end: float
    job: str
    language: str
    total: int


class ScriptedBatch:
    """A batch from its first second to its last."""

    def __init__(self, files: int = 6, targets: Sequence[str] = TARGETS, down: float = DOWNLOAD_BYTES_PER_SECOND) -> None:
        self._download_rate = down
        self.jobs: list[Job] = []
        self.events: list[JobEvent] = []
        self._transfers: list[ByteTransfer] = []
        self._ready: list[tuple[float, Job, str]] = []
        self._created: list[float] = []  # when projects were asked for
        self._failure_counts: Counter[SimulatedFailure] = Counter()
        self._failures = msgspec.convert(tomllib.loads(SANDBOX_CONFIG)["failures"], list[SimulatedFailure])
        slots = [BEGIN_SECONDS + 2.0] * MAX_UPLOADS
        for name in demo_names(files):
            source = Source(f"{VIDEO_FOLDER}/{name}", _video_size(name), _video_mtime(name), content_type(name) or "")
            job = creation.new_job(source, JobOptions(Path(name).stem), targets, now=BEGIN_SECONDS)
            self.jobs.append(job)
            slot = slots.index(min(slots))
            slots[slot] = self._upload(job, slots[slot])
        slots = [BEGIN_SECONDS] * MAX_DOWNLOADS
        for ready, job, language in sorted(self._ready, key=lambda found: found[0]):
            slot = slots.index(min(slots))
            slots[slot] = self._download(job, language, max(ready + 2.0, slots[slot] + 0.5))
        self.events.sort(key=lambda event: event.at)

    # -- looking at a moment -----------------------------------------------------------------------------------------

    def events_until(self, now: float) -> list[JobEvent]:
        """What happened so far."""
        return [event for event in self.events if event.at <= now]

    def transfers(self, now: float) -> list[Transfer]:
        """What moves now."""
        return [
            Transfer(
                move.job, move.language, int(move.total * _transfer_share(move, now)), move.total, _transfer_rate(move, now)
            )
            for move in self._transfers
            if move.begin <= now < move.end
        ]

    def batch_status(self, now: float) -> BatchStatus:
        """Rates, and what the quota of a Creator account is used for."""
        moving = self.transfers(now)
        up = sum(move.rate for move in moving if not move.language)
        down = sum(move.rate for move in moving if move.language)
        writes = tuple(sum(0 <= now - at < seconds for at in self._created) for _, seconds in WRITE_LIMITS)
        quota = (
            RateLimitUsage("create_dubbing", writes, WRITE_LIMITS, 0.0),
            RateLimitUsage("get_dubbing", (9, 131), READ_LIMITS, 0.0),
        )
        return BatchStatus(now, busy=True, since=self.events[0].at, up=up, down=down, quota=quota)

    # -- making it up ------------------------------------------------------------------------------------------------

    def _upload(self, job: Job, begin: float) -> float:
        """Returns when the slot is free again."""
        end = begin + 1.0 + job.source.size / UPLOAD_BYTES_PER_SECOND
        asset = _make_id("asset", job.id)
        self._add_event(begin, job, lambda job, at: upload.start_preparing(job))
        self._add_event(begin + 1.0, job, lambda job, at: upload.record_asset_created(job, asset, at))
        self._transfers.append(ByteTransfer(begin + 1.0, end, job.id, "", job.source.size))
        self._add_event(end, job, lambda job, at: upload.record_asset_uploaded(job))
        self._add_event(end + 11.0, job, lambda job, at: upload.record_asset_ready(job, "en"))
        self._submit(job, end + 12.0)
        return end

    def _submit(self, job: Job, at: float) -> None:
        project = _make_id("project", job.id)
        self._created.append(at)
        self._add_event(
            at,
            job,
            lambda job, at: submission.record_project_created(
                submission.record_intent(job, job.dubs, "", at - 0.4), project, at
            ),
        )
        whole = self._take_failure("project", job.options.title)
        if whole is not None:
            seen = ObservedProject(ObservedStatus.ERROR, whole.code)
            self._add_event(at + 38.0, job, lambda job, at: observation.apply_project(job, project, seen, at))
            return
        for language in job.dubs:
            chance = random.Random(f"{job.id} {language}")
            self._dub(job, language, project, at + 170.0 + 260.0 * chance.random())

    def _dub(self, job: Job, language: str, project: str, at: float) -> None:
        failure = self._take_failure("language", job.options.title, language)
        video = _make_id("video", job.id, language)
        state, code = (ObservedStatus.ERROR, failure.code) if failure is not None else (ObservedStatus.COMPLETE, "")
        seen = ObservedProject(ObservedStatus.RUNNING, "", (ObservedLanguage(language, state, video, code),))
        self._add_event(at, job, lambda job, at: observation.apply_project(job, project, seen, at))
        if failure is None:
            self._ready.append((at, job, language))

    def _download(self, job: Job, language: str, begin: float) -> float:
        """Returns when the slot is free again."""
        size = job.source.size * 2 // 5 + sum(language.encode()) * 1009
        path = output_path(job.source.path, language)
        captions = tuple(output_path(job.source.path, language, ending=ending) for ending in ("srt", "vtt"))
        end = begin + size / self._download_rate
        output = Output.of(path, size, int(end * 1e9), captions, seconds=job.source.size / 1.1e6)
        self._add_event(begin, job, lambda job, at: download.start_download(job, language, PartRecord(size, '"tag"'), at))
        self._transfers.append(ByteTransfer(begin, end, job.id, language, size))
        self._add_event(end, job, lambda job, at: download.finish_download(job, language, output, at))
        return end

    def _add_event(self, at: float, job: Job, change: Callable[[Job, float], Job]) -> None:
        self.events.append(JobEvent(at, job.id, lambda old: change(old, at)))

    def _take_failure(self, kind: str, title: str, language: str = "") -> SimulatedFailure | None:
        """The demo's failure that strikes here, as the sandbox would choose it."""
        for failure in self._failures:
            meant = not language or any(fnmatchcase(language, pattern) for pattern in failure.languages)
            left = failure.times is None or self._failure_counts[failure] < failure.times
            if failure.kind == kind and fnmatchcase(title, failure.title) and meant and left:
                self._failure_counts[failure] += 1
                return failure
        return None


def demo_names(count: int) -> list[str]:
    """The names that `synthdub demo` gives its files, in the order in which they are found."""
    with tempfile.TemporaryDirectory() as folder:
        return sorted(path.name for path in make_sources(Path(folder), count))


def _video_size(name: str) -> int:
    return 180_000_000 + random.Random(name).randrange(420_000_000)


def _video_mtime(name: str) -> int:
    return int(BEGIN_SECONDS - 86400.0 * random.Random(name).randrange(3, 40)) * 10**9


def _make_id(*words: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(words)))


def _transfer_share(move: ByteTransfer, now: float) -> float:
    return (now - move.begin) / (move.end - move.begin)


def _transfer_rate(move: ByteTransfer, now: float) -> float:
    """Uneven, as rates are."""
    steady = move.total / (move.end - move.begin)
    return steady * (0.6 + 0.8 * random.Random(f"{move.job} {move.language} {int(now) // 2}").random())
