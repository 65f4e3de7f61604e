"""What naming a file does: a new job, a new version, further languages, or nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.transitions import upload
from synthdub_tui.sources.add_file import TITLE_LIMIT, Admitted, Batch, Effect, Rejected, admit, title_of
from synthdub_tui.sources.job_index import Known
from synthdub_tui.sources.scan import Found
from tests.jobs.factories import DE, ES, FR, NOW

FOUND = Found("/videos/course/intro.mp4", "/videos", 10, 1, "video/mp4")
BATCH = Batch(targets=(FR, ES))
FORCE = replace(BATCH, force_new=True)


def admitted(jobs: dict[str, Job], found: Found = FOUND, batch: Batch = BATCH) -> Admitted:
    outcome = admit(Known(jobs), found, batch, NOW)
    assert isinstance(outcome, Admitted)
    return outcome


def batch_of(*jobs: Job) -> dict[str, Job]:
    return {job.id: job for job in jobs}


def test_a_new_file() -> None:
    job, effect = admitted({})
    assert effect is Effect.NEW
    assert (job.source.path, job.source.size, job.options.title, tuple(job.dubs)) == (FOUND.path, 10, "intro", (FR, ES))
    assert (job.outputs, job.captions) == ("", True)


def test_the_same_file_again() -> None:
    job, _ = admitted({})
    assert admitted(batch_of(job)) == (job, Effect.KNOWN)


def test_further_languages_are_added_to_it() -> None:
    job, _ = admitted({})
    extended, effect = admitted(batch_of(job), batch=replace(BATCH, targets=(ES, DE)))
    assert effect is Effect.EXTENDED
    assert tuple(extended.dubs) == (FR, ES, DE)


@pytest.mark.parametrize("change", [{"size": 11}, {"mtime_ns": 2}])
def test_a_changed_file_is_a_new_version(change: dict[str, int]) -> None:
    job, _ = admitted({})
    job = upload.asset_created(job, "a1", NOW)
    renewed, effect = admitted(batch_of(job), FOUND._replace(**change))
    assert effect is Effect.RENEWED
    assert renewed.asset is None
    assert (renewed.source.size, renewed.source.mtime_ns) != (10, 1)


@pytest.mark.parametrize("step", [100, 1_000_000_000, 2_000_000_000])
def test_a_file_whose_time_is_only_coarser_is_known(step: int) -> None:
    fine = FOUND._replace(mtime_ns=1_795_410_723_274_186_359)
    coarse = FOUND._replace(mtime_ns=fine.mtime_ns // step * step)
    for first, then in ((fine, coarse), (coarse, fine)):
        job, _ = admitted({}, first)
        job = replace(job, source=replace(job.source, digest="xxh3:1"))
        known, effect = admitted(batch_of(job), then)
        assert effect is Effect.KNOWN
        assert (known.source.mtime_ns, known.source.digest) == (fine.mtime_ns, "xxh3:1"), "the finer time is kept"


def test_forcing() -> None:
    job, _ = admitted({})
    forced, effect = admitted(batch_of(job), batch=FORCE)
    assert (effect, forced.forced) == (Effect.RENEWED, NOW)


def ended(job: Job, state: DubState) -> Job:
    return replace(job, dubs={language: replace(dub, state=state) for language, dub in job.dubs.items()})


@pytest.mark.parametrize("state", [DubState.WAITING, DubState.DUBBING, DubState.READY, DubState.DOWNLOADING, DubState.UNKNOWN])
def test_forcing_again_does_not_begin_anew_what_it_began_and_did_not_finish(state: DubState) -> None:
    job = ended(admitted({}, batch=FORCE).job, state)
    again, effect = admitted(batch_of(job), batch=FORCE)
    assert effect is Effect.GOING_ON
    assert (again.version, again.dubs) == (job.version, job.dubs)


@pytest.mark.parametrize("state", [DubState.DONE, DubState.FAILED, DubState.CANCELLED])
def test_forcing_again_begins_anew_what_has_ended(state: DubState) -> None:
    job = ended(admitted({}, batch=FORCE).job, state)
    assert admitted(batch_of(job), batch=FORCE).effect is Effect.RENEWED


def test_forcing_again_with_another_language_adds_that_one_alone() -> None:
    job, _ = admitted({}, batch=FORCE)
    again, effect = admitted(batch_of(job), batch=replace(FORCE, targets=(*BATCH.targets, "it-IT")))
    assert effect is Effect.GOING_ON
    assert {language: again.dubs[language] for language in job.dubs} == job.dubs
    assert again.dubs["it-IT"].agreed == ("already_paid",)


def test_a_new_version_of_the_file_ends_what_was_forced() -> None:
    job, _ = admitted({}, batch=FORCE)
    renewed, effect = admitted(batch_of(job), FOUND._replace(size=FOUND.size + 1))
    assert (effect, renewed.forced) == (Effect.RENEWED, 0.0)


@pytest.mark.parametrize(
    "options",
    [{"source_language": "de"}, {"title": "X"}, {"lipsync": True}, {"video_duration": "original"}, {"visibility": "public"}],
)
def test_other_options_make_another_job(options: dict[str, object]) -> None:
    """“The wrong file resumes” of the vendor's guide: the options belong to the identity."""
    job, _ = admitted({})
    other, effect = admitted(batch_of(job), batch=replace(BATCH, **options))
    assert effect is Effect.NEW
    assert other.id != job.id


def test_outputs_and_captions_may_be_changed_later() -> None:
    job, _ = admitted({})
    moved, effect = admitted(batch_of(job), batch=replace(BATCH, output_dir="/out", captions=False))
    assert effect is Effect.KNOWN
    assert (moved.outputs, moved.captions) == ("/out/course", False)
    assert admitted(batch_of(moved)).job.outputs == "/out/course"  # not taken back by leaving the option out


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
    assert title_of(path, prefix) == title


def test_a_title_that_is_too_long() -> None:
    long = FOUND._replace(path="/v/" + "a" * 250 + ".mp4")
    assert isinstance(admit(Known({}), long, replace(BATCH, title="a" * (TITLE_LIMIT - 253)), NOW), Admitted)
    outcome = admit(Known({}), long, replace(BATCH, title="a" * (TITLE_LIMIT - 252)), NOW)
    assert outcome == Rejected(long.path, "title_too_long", "257 characters")


def test_a_renewed_job_asks_for_the_named_languages_only() -> None:
    job, _ = admitted({})
    job = replace(job, dubs={language: replace(dub, state=DubState.CANCELLED) for language, dub in job.dubs.items()})
    renewed, _ = admitted(batch_of(job), batch=replace(BATCH, targets=(ES,), force_new=True))
    assert renewed.in_state(DubState.WAITING) == (ES,)
