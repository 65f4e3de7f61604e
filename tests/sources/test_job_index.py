"""Which job a file belongs to: by path, and where it moved, by size, time, name and content."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.transitions import source_changes
from synthdub_tui.sources.add_file import AddedFile, AddEffect, AddOutcome, FileToCompare, MovedFile, PossiblyPaidFile, add_file
from synthdub_tui.sources.job_index import JobIndex
from synthdub_tui.sources.relocation import path_after_move
from synthdub_tui.sources.scan import FoundVideo
from tests.jobs.factories import FR, NOW, dubbing_job, queued_job

VIDEO_HERE = FoundVideo("/videos/intro.mp4", "/videos", 10, 1, "video/mp4")
VIDEO_THERE = VIDEO_HERE._replace(path="/archive/intro.mp4", root="/archive")
LATER_NS = 3_600_000_000_001
BATCH = BatchOptions(targets=(FR,))


def job_with_digest(job: Job, digest: str = "xxh3:1") -> Job:
    return replace(job, source=replace(job.source, digest=digest))


def named(found: FoundVideo, *jobs: Job, digest: str = "", batch: BatchOptions = BATCH) -> AddOutcome:
    """The outcome where the files of all jobs are gone from their places."""
    missing = {job.source.size: {other.id: other.source.path for other in jobs} for job in jobs}
    return add_file(JobIndex({job.id: job for job in jobs}), found, batch, NOW, missing=missing, digest=digest)


def test_another_time_is_compared_where_a_digest_is_known() -> None:
    job, touched = job_with_digest(dubbing_job(FR)), VIDEO_HERE._replace(mtime_ns=LATER_NS)
    assert named(touched, job) == FileToCompare(touched, (job.id,))
    same = named(touched, job, digest="xxh3:1")
    assert isinstance(same, AddedFile) and same.effect is AddEffect.KNOWN
    assert (same.job.source.mtime_ns, same.job.source.digest) == (LATER_NS, "xxh3:1")
    other = named(touched, job, digest="xxh3:2")
    assert isinstance(other, AddedFile) and other.effect is AddEffect.RENEWED


def test_without_a_digest_another_time_costs_only_with_consent() -> None:
    touched = VIDEO_HERE._replace(mtime_ns=LATER_NS)
    assert named(touched, dubbing_job(FR)) == PossiblyPaidFile(VIDEO_HERE.path, "source_touched")
    for job, batch in ((dubbing_job(FR), replace(BATCH, agreed=True)), (queued_job(FR), BATCH)):
        outcome = named(touched, job, batch=batch)
        assert isinstance(outcome, AddedFile) and outcome.effect is AddEffect.RENEWED


@pytest.mark.parametrize(
    "found", [VIDEO_THERE, VIDEO_THERE._replace(path="/archive/opening.mp4"), VIDEO_THERE._replace(mtime_ns=LATER_NS)]
)
def test_a_moved_file_is_recognised_by_its_content(found: FoundVideo) -> None:
    job = job_with_digest(dubbing_job(FR))
    assert named(found, job) == FileToCompare(found, (job.id,))
    moved = named(found, job, digest="xxh3:1")
    assert isinstance(moved, MovedFile) and (moved.job, moved.source.path) == (job, found.path)
    other = named(found, job, digest="xxh3:2")
    assert isinstance(other, AddedFile) and other.effect is AddEffect.NEW


def test_without_a_digest_name_size_and_time_tell_a_file_at_a_new_place() -> None:
    assert isinstance(named(VIDEO_THERE, dubbing_job(FR)), MovedFile)
    for unlike in ({"mtime_ns": LATER_NS}, {"path": "/archive/opening.mp4"}):
        found = VIDEO_THERE._replace(**unlike)
        assert named(found, dubbing_job(FR)) == PossiblyPaidFile(found.path, "source_maybe_moved")
        new = named(found, queued_job(FR))
        assert isinstance(new, AddedFile) and new.effect is AddEffect.NEW
    new = named(VIDEO_THERE._replace(path="/archive/opening.mp4", mtime_ns=LATER_NS), dubbing_job(FR))
    assert isinstance(new, AddedFile) and new.effect is AddEffect.NEW


def test_a_file_that_is_still_at_its_place_did_not_move() -> None:
    job = dubbing_job(FR)
    outcome = add_file(JobIndex({job.id: job}), VIDEO_THERE, BATCH, NOW)
    assert isinstance(outcome, AddedFile) and outcome.effect is AddEffect.NEW


def test_other_options_are_another_job_wherever_the_file_is() -> None:
    outcome = named(VIDEO_THERE, dubbing_job(FR), batch=replace(BATCH, lipsync=True))
    assert isinstance(outcome, AddedFile) and outcome.effect is AddEffect.NEW


def test_the_nearest_of_several_candidates_is_taken() -> None:
    jobs = []
    for folder in ("a", "b"):
        source = replace(dubbing_job(FR).source, path=f"/videos/{folder}/intro.mp4")
        jobs.append(replace(dubbing_job(FR), id=folder, source=source))
    for folder in ("b", "a"):
        outcome = named(VIDEO_THERE._replace(path=f"/archive/{folder}/intro.mp4"), *jobs)
        assert isinstance(outcome, MovedFile) and outcome.job.id == folder


def test_a_job_that_moved_is_found_at_its_new_place_and_its_id_is_not_given_again() -> None:
    job = dubbing_job(FR)
    known = JobIndex({job.id: job})
    moved = source_changes.relocate_source(job, replace(job.source, path=VIDEO_THERE.path), "", {}, NOW)
    known.jobs = {job.id: moved}
    known.update(job, moved)
    again = add_file(known, VIDEO_THERE, BATCH, NOW)
    assert isinstance(again, AddedFile) and (again.effect, again.job.id) == (AddEffect.KNOWN, job.id)
    new = add_file(known, VIDEO_HERE, BATCH, NOW)
    assert isinstance(new, AddedFile) and (new.effect, new.job.id) == (AddEffect.NEW, f"{job.id}-2")


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("/lib/a.mp4", "/lib", "/archive", "/archive/a.mp4"),
        ("/lib/a.mp4", "/lib/", "/archive", "/archive/a.mp4"),
        ("/lib/a.mp4", "/lib/a.mp4", "/b.mp4", "/b.mp4"),
        ("/library/a.mp4", "/lib", "/archive", None),
        ("/lib/a.mp4", "/", "/mnt", "/mnt/lib/a.mp4"),
    ],
)
def test_new_paths(path: str, old: str, new: str, expected: str | None) -> None:
    assert path_after_move(path, old, new) == expected
