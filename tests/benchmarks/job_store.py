"""Loading and saving of the state directory: `python -m tests.benchmarks.job_store [--short]`.

Prints what loading a job of ten languages costs beside tomllib alone and beside reading the files alone, and
what one durable save costs in a small and in a large batch. The goals: loading stays below tomllib alone, and a save does
not grow with the batch.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
import tomllib
from collections.abc import Callable

from msgspec.structs import replace

from synthdub_tui.jobs.model import (
    DubState,
    Job,
    JobOptions,
    ObservedLanguage,
    ObservedProject,
    ObservedStatus,
    Output,
    PartRecord,
    Source,
)
from synthdub_tui.jobs.transitions import creation, download, observation, submission, upload
from synthdub_tui.store.codec import encode_job
from synthdub_tui.store.job_store import JobStore

LANGUAGES = "fr-FR es-ES de-DE it-IT ja pt-BR ko nl pl sv".split()
ROUNDS = 3
SAVE_COUNT = 200


def main() -> None:
    parser = argparse.ArgumentParser(description="Loading and saving of the state directory.")
    parser.add_argument("--short", action="store_true", help="100 jobs instead of 10,000: shows only that it works")
    parser.add_argument("--folder", help="where to put the state directory (default: the temporary folder)")
    options = parser.parse_args()
    count = 100 if options.short else 10_000
    with tempfile.TemporaryDirectory(prefix="synthdub-benchmark-", dir=options.folder) as folder:
        store = JobStore(folder)
        store.open()
        _print_saves(store, 10)
        _fill_store(store, count)
        _print_saves(store, count)
        _print_loads(store, count)


def make_job(number: int, state: DubState) -> Job:
    """A job of ten languages, as it is in the middle of the work or at its end."""
    path = f"/srv/videos/course {number % 40:02}/lesson {number:05}.mp4"
    source = Source(path, 50_000_000 + number, 1_750_000_000_000_000_000 + number, "video/mp4")
    job = creation.new_job(source, JobOptions(f"lesson {number:05}"), LANGUAGES, now=1_750_000_000.0 + number)
    if state is DubState.WAITING:
        return job
    now = job.added + 60.25
    job = upload.record_asset_ready(upload.record_asset_created(job, f"user.{number:032x}.mp4", now), "en")
    project = f"{number:08x}-1111-4222-8333-123456789abc"
    job = submission.record_project_created(submission.record_intent(job, LANGUAGES, "", now), project, now)
    if state is DubState.DUBBING:
        return job
    seen = tuple(
        ObservedLanguage(code, ObservedStatus.COMPLETE, f"{number:08x}-{at:04}-4222-8333-123456789abc")
        for at, code in enumerate(LANGUAGES)
    )
    job = observation.apply_project(job, project, ObservedProject(ObservedStatus.COMPLETE, "", seen), now + 600)
    for place, code in enumerate(LANGUAGES):
        stem, size, written = f"{path[:-4]}.dubbed-{code}", 60_000_000 + number + place, source.mtime_ns + place * 7_250_000_001
        job = download.start_download(job, code, PartRecord(size, '"0123456789abcdef"'), now + 700)
        job = download.record_captions_publishing(job, code, (written + 5_000_000, written + 9_000_000))
        captions = (f"{stem}.srt", f"{stem}.vtt")
        output = Output.of(f"{stem}.mp4", size, written, captions, seconds=312.48 + place / 100)
        job = download.finish_download(job, code, output, now + 720.5 + place * 7.25)
    return job


def _fill_store(store: JobStore, count: int) -> None:
    """A third of the jobs each waiting, dubbing and done; written without fsync, which is not measured here."""
    states = (DubState.WAITING, DubState.DUBBING, DubState.DONE)
    for number in range(count):
        job = make_job(number, states[number % 3])
        with open(store.path(f"jobs/{job.id}.toml"), "wb") as file:
            file.write(encode_job(job))


def _print_saves(store: JobStore, jobs: int) -> None:
    taken = []
    job = make_job(0, DubState.DONE)
    for number in range(SAVE_COUNT):
        started = time.perf_counter()
        store.save(replace(job, uploads=number))
        taken.append(time.perf_counter() - started)
    median, worst = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
    print(f"one durable save with {jobs:6,} jobs: median {median * 1e3:.2f} ms, p99 {worst * 1e3:.2f} ms")


def _print_loads(store: JobStore, count: int) -> None:
    folder = store.path("jobs")
    paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    texts = [_read_files(path) for path in paths]
    size = sum(map(len, texts)) / len(texts)
    reading = _best_seconds(lambda: [_read_files(path) for path in paths])
    parsing = _best_seconds(lambda: _parse_jobs(texts))
    loading = _best_seconds(lambda: store.load(set_aside=False))
    each = 1e6 / len(paths)
    print(f"{len(paths):,} jobs of {len(LANGUAGES)} languages, {size:,.0f} bytes each, per job, best of {ROUNDS}:")
    print(f"  reading the files alone   {reading * each:7.1f} µs")
    print(f"  tomllib alone             {parsing * each:7.1f} µs")
    print(f"  Store.load                {loading * each:7.1f} µs = {loading / parsing:.2f} of tomllib, {loading:.2f} s in all")


def _parse_jobs(texts: list[str]) -> None:
    for text in texts:
        tomllib.loads(text)


def _read_files(path: str) -> str:
    with open(path, "rb") as file:
        return file.read().decode()


def _best_seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        gc.collect()
        started = time.perf_counter()
        kept = work()
        taken.append(time.perf_counter() - started)
        del kept
    return min(taken)


if __name__ == "__main__":
    main()
