"""What naming a file does: a new job, a new version, further languages, or nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.transitions import upload
from synthdub_tui.sources.add_file import (
    MAX_TITLE_CHARACTERS,
    AddedFile,
    AddEffect,
    BatchOptions,
    RejectedFile,
    add_file,
    make_title,
)
from synthdub_tui.sources.job_index import JobIndex
from synthdub_tui.sources.scan import FoundVideo
from tests.jobs.factories import DE, ES, FR, NOW

FOUND_VIDEO = FoundVideo("/videos/course/intro.mp4", "/videos", 10, 1, "video/mp4")
BATCH = BatchOptions(targets=(FR, ES))
FORCE_NEW_BATCH = replace(BATCH, force_new=True)


def add_video(jobs: dict[str, Job], found: FoundVideo = FOUND_VIDEO, batch: BatchOptions = BATCH) -> AddedFile:
    outcome = add_file(JobIndex(jobs), found, batch, NOW)
    assert isinstance(outcome, AddedFile)
    return outcome


def batch_of_jobs(*jobs: Job) -> dict[str, Job]:
    return {job.id: job for job in jobs}


def test_a_new_file() -> None:
    job, effect = add_video({})
    assert effect is AddEffect.NEW
    assert (job.source.path, job.source.size, job.options.title, tuple(job.dubs)) == (FOUND_VIDEO.path, 10, "intro", (FR, ES))
    assert (job.outputs, job.captions) == ("", True)


def test_the_same_file_again() -> None:
    job, _ = add_video({})
    assert add_video(batch_of_jobs(job)) == (job, AddEffect.KNOWN)


def test_further_languages_are_added_to_it() -> None:
    job, _ = add_video({})
    extended, effect = add_video(batch_of_jobs(job), batch=replace(BATCH, targets=(ES, DE)))
    assert effect is AddEffect.EXTENDED
    assert tuple(extended.dubs) == (FR, ES, DE)


@pytest.mark.parametrize("change", [{"size": 11}, {"mtime_ns": 2}])
def test_a_changed_file_is_a_new_version(change: dict[str, int]) -> None:
    job, _ = add_video({})
    job = upload.record_asset_created(job, "a1", NOW)
    renewed, effect = add_video(batch_of_jobs(job), FOUND_VIDEO._replace(**change))
    assert effect is AddEffect.RENEWED
    assert renewed.asset is None
    assert (renewed.source.size, renewed.source.mtime_ns) != (10, 1)


@pytest.mark.parametrize("step", [100, 1_000_000_000, 2_000_000_000])
def test_a_file_whose_time_is_only_coarser_is_known(step: int) -> None:
    fine = FOUND_VIDEO._replace(mtime_ns=1_795_410_723_274_186_359)
    coarse = FOUND_VIDEO._replace(mtime_ns=fine.mtime_ns // step * step)
    for first, then in ((fine, coarse), (coarse, fine)):
        job, _ = add_video({}, first)
        job = replace(job, source=replace(job.source, digest="xxh3:1"))
        known, effect = add_video(batch_of_jobs(job), then)
        assert effect is AddEffect.KNOWN
        assert (known.source.mtime_ns, known.source.digest) == (fine.mtime_ns, "xxh3:1"), "the finer time is kept"


def test_forcing() -> None:
    job, _ = add_video({})
    forced, effect = add_video(batch_of_jobs(job), batch=FORCE_NEW_BATCH)
    assert (effect, forced.forced) == (AddEffect.RENEWED, NOW)


def ended_job(job: Job, state: DubState) -> Job:
    return replace(job, dubs={language: replace(dub, state=state) for language, dub in job.dubs.items()})


@pytest.mark.parametrize("state", [DubState.WAITING, DubState.DUBBING, DubState.READY, DubState.DOWNLOADING, DubState.UNKNOWN])
def test_forcing_again_does_not_restart_unfinished_forced_dubs(state: DubState) -> None:
    job = ended_job(add_video({}, batch=FORCE_NEW_BATCH).job, state)
    again, effect = add_video(batch_of_jobs(job), batch=FORCE_NEW_BATCH)
    assert effect is AddEffect.UNFINISHED
    assert (again.version, again.dubs) == (job.version, job.dubs)


@pytest.mark.parametrize("state", [DubState.DONE, DubState.FAILED, DubState.CANCELLED])
def test_forcing_again_restarts_dubs_that_have_ended(state: DubState) -> None:
    job = ended_job(add_video({}, batch=FORCE_NEW_BATCH).job, state)
    assert add_video(batch_of_jobs(job), batch=FORCE_NEW_BATCH).effect is AddEffect.RENEWED


def test_forcing_again_with_another_language_adds_that_one_alone() -> None:
    job, _ = add_video({}, batch=FORCE_NEW_BATCH)
    again, effect = add_video(batch_of_jobs(job), batch=replace(FORCE_NEW_BATCH, targets=(*BATCH.targets, "it-IT")))
    assert effect is AddEffect.UNFINISHED
    assert {language: again.dubs[language] for language in job.dubs} == job.dubs
    assert again.dubs["it-IT"].agreed == ("already_paid",)


def test_a_new_version_of_the_file_ends_what_was_forced() -> None:
    job, _ = add_video({}, batch=FORCE_NEW_BATCH)
    renewed, effect = add_video(batch_of_jobs(job), FOUND_VIDEO._replace(size=FOUND_VIDEO.size + 1))
    assert (effect, renewed.forced) == (AddEffect.RENEWED, 0.0)


@pytest.mark.parametrize(
    "options",
    [{"source_language": "de"}, {"title": "X"}, {"lipsync": True}, {"video_duration": "original"}, {"visibility": "public"}],
)
def test_other_options_make_another_job(options: dict[str, object]) -> None:
    """“The wrong file resumes” of the vendor's guide: the options belong to the identity."""
    job, _ = add_video({})
    other, effect = add_video(batch_of_jobs(job), batch=replace(BATCH, **options))
    assert effect is AddEffect.NEW
    assert other.id != job.id


def test_outputs_and_captions_may_be_changed_later() -> None:
    job, _ = add_video({})
    moved, effect = add_video(batch_of_jobs(job), batch=replace(BATCH, output_dir="/out", captions=False))
    assert effect is AddEffect.KNOWN
    assert (moved.outputs, moved.captions) == ("/out/course", False)
    assert add_video(batch_of_jobs(moved)).job.outputs == "/out/course"  # not taken back by leaving the option out


@pytest.mark.parametrize(
    ("path", "prefix", "title"),
    [
        ("/v/intro.mp4", "", "intro"),
        ("/v/a.b.mov", "Course 3", "Course 3 - a.b"),
        ("/v/x\ny\x1b[31m\u202e.mp4", "", "x y [31m "),
        ("/v/日本.mp4", "", "日本"),
    ],
)
def test_titles(path: str, prefix: str, title: str) -> None:
    assert make_title(path, prefix) == title


def test_a_title_that_is_too_long() -> None:
    long = FOUND_VIDEO._replace(path="/v/" + "a" * 250 + ".mp4")
    assert isinstance(add_file(JobIndex({}), long, replace(BATCH, title="a" * (MAX_TITLE_CHARACTERS - 253)), NOW), AddedFile)
    outcome = add_file(JobIndex({}), long, replace(BATCH, title="a" * (MAX_TITLE_CHARACTERS - 252)), NOW)
    assert outcome == RejectedFile(long.path, "title_too_long", "257 characters")


def test_a_renewed_job_asks_for_the_named_languages_only() -> None:
    job, _ = add_video({})
    job = replace(job, dubs={language: replace(dub, state=DubState.CANCELLED) for language, dub in job.dubs.items()})
    renewed, _ = add_video(batch_of_jobs(job), batch=replace(BATCH, targets=(ES,), force_new=True))
    assert renewed.languages_in_state(DubState.WAITING) == (ES,)
