"""Which job a file belongs to: by path, and where it moved, by size, time, name and content."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.batch_options import Batch
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.transitions import source_changes
from synthdub_tui.sources.add_file import Admitted, Effect, Moved, Outcome, Undecided, Unsure, admit
from synthdub_tui.sources.job_index import Known
from synthdub_tui.sources.relocation import new_path
from synthdub_tui.sources.scan import Found
from tests.jobs.factories import FR, NOW, dubbing, queued

HERE = Found("/videos/intro.mp4", "/videos", 10, 1, "video/mp4")
THERE = HERE._replace(path="/archive/intro.mp4", root="/archive")
LATER = 3_600_000_000_001
BATCH = Batch(targets=(FR,))


def read(job: Job, digest: str = "xxh3:1") -> Job:
    return replace(job, source=replace(job.source, digest=digest))


def named(found: Found, *jobs: Job, digest: str = "", batch: Batch = BATCH) -> Outcome:
    """The outcome where the files of all jobs are gone from their places."""
    missing = {job.source.size: {other.id: other.source.path for other in jobs} for job in jobs}
    return admit(Known({job.id: job for job in jobs}), found, batch, NOW, missing=missing, digest=digest)


def test_another_time_is_compared_where_a_digest_is_known() -> None:
    job, touched = read(dubbing(FR)), HERE._replace(mtime_ns=LATER)
    assert named(touched, job) == Undecided(touched, (job.id,))
    same = named(touched, job, digest="xxh3:1")
    assert isinstance(same, Admitted) and same.effect is Effect.KNOWN
    assert (same.job.source.mtime_ns, same.job.source.digest) == (LATER, "xxh3:1")
    other = named(touched, job, digest="xxh3:2")
    assert isinstance(other, Admitted) and other.effect is Effect.RENEWED


def test_without_a_digest_another_time_costs_only_with_consent() -> None:
    touched = HERE._replace(mtime_ns=LATER)
    assert named(touched, dubbing(FR)) == Unsure(HERE.path, "source_touched")
    for job, batch in ((dubbing(FR), replace(BATCH, agreed=True)), (queued(FR), BATCH)):
        outcome = named(touched, job, batch=batch)
        assert isinstance(outcome, Admitted) and outcome.effect is Effect.RENEWED


@pytest.mark.parametrize("found", [THERE, THERE._replace(path="/archive/opening.mp4"), THERE._replace(mtime_ns=LATER)])
def test_a_file_at_a_new_place_is_told_by_its_content(found: Found) -> None:
    job = read(dubbing(FR))
    assert named(found, job) == Undecided(found, (job.id,))
    moved = named(found, job, digest="xxh3:1")
    assert isinstance(moved, Moved) and (moved.job, moved.source.path) == (job, found.path)
    other = named(found, job, digest="xxh3:2")
    assert isinstance(other, Admitted) and other.effect is Effect.NEW


def test_without_a_digest_name_size_and_time_tell_a_file_at_a_new_place() -> None:
    assert isinstance(named(THERE, dubbing(FR)), Moved)
    for unlike in ({"mtime_ns": LATER}, {"path": "/archive/opening.mp4"}):
        found = THERE._replace(**unlike)
        assert named(found, dubbing(FR)) == Unsure(found.path, "source_maybe_moved")
        new = named(found, queued(FR))
        assert isinstance(new, Admitted) and new.effect is Effect.NEW
    new = named(THERE._replace(path="/archive/opening.mp4", mtime_ns=LATER), dubbing(FR))
    assert isinstance(new, Admitted) and new.effect is Effect.NEW


def test_a_file_that_is_still_at_its_place_did_not_move() -> None:
    job = dubbing(FR)
    outcome = admit(Known({job.id: job}), THERE, BATCH, NOW)
    assert isinstance(outcome, Admitted) and outcome.effect is Effect.NEW


def test_other_options_are_another_job_wherever_the_file_is() -> None:
    outcome = named(THERE, dubbing(FR), batch=replace(BATCH, lipsync=True))
    assert isinstance(outcome, Admitted) and outcome.effect is Effect.NEW


def test_the_nearest_of_several_candidates_is_taken() -> None:
    jobs = []
    for folder in ("a", "b"):
        source = replace(dubbing(FR).source, path=f"/videos/{folder}/intro.mp4")
        jobs.append(replace(dubbing(FR), id=folder, source=source))
    for folder in ("b", "a"):
        outcome = named(THERE._replace(path=f"/archive/{folder}/intro.mp4"), *jobs)
        assert isinstance(outcome, Moved) and outcome.job.id == folder


def test_a_job_that_moved_is_found_at_its_new_place_and_its_id_is_not_given_again() -> None:
    job = dubbing(FR)
    known = Known({job.id: job})
    moved = source_changes.relocated(job, replace(job.source, path=THERE.path), "", {}, NOW)
    known.jobs = {job.id: moved}
    known.note(job, moved)
    again = admit(known, THERE, BATCH, NOW)
    assert isinstance(again, Admitted) and (again.effect, again.job.id) == (Effect.KNOWN, job.id)
    new = admit(known, HERE, BATCH, NOW)
    assert isinstance(new, Admitted) and (new.effect, new.job.id) == (Effect.NEW, f"{job.id}-2")


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
    assert new_path(path, old, new) == expected
