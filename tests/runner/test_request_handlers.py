"""What a user does to a batch: add, retry, cancel, review."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import DubRef, ShownDub
from synthdub_tui.jobs.model import DubState, FailureScope, Job
from synthdub_tui.jobs.transitions import creation, dub_states, source_changes, submission, upload
from synthdub_tui.runner import add_videos, request_handlers
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.sources.add_file import AddEffect, BatchOptions
from synthdub_tui.sources.job_index import JobIndex
from synthdub_tui.sources.scan import FoundVideo, SkippedPath, find_sources
from synthdub_tui.store.job_store import JobStore
from tests.dub_refs import shown_dubs, shown_in_any_state
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NOW,
    cancel_dub,
    done_job,
    dubbing_job,
    job_with_failed_download,
    job_with_failed_language,
    job_with_failed_project,
    job_with_failed_source,
    queued_job,
    submitting_job,
    unknown_job,
)

BATCH = BatchOptions(targets=(FR, ES))


class HeldBatch:
    """A batch whose changes are seen at once."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.update_count = 0

    def update_job(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.update_count += 1

    def take_in(self, items: Iterable[FoundVideo | SkippedPath], batch: BatchOptions = BATCH) -> add_videos.AddResult:
        added = add_videos.AddResult()
        assert add_videos.add_found_files(JobIndex(self.jobs), items, batch, NOW, self.update_job, added) == []
        return added

    @property
    def job(self) -> Job:
        (only,) = self.jobs.values()
        return only

    def retry(self, *languages: str, paid: bool = False, gone: bool = True) -> tuple[int, int]:
        cells = shown_dubs(self.jobs, [DubRef(self.job.id, language) for language in languages])
        return request_handlers.retry(self.jobs, cells, paid, NOW, self.update_job, lambda path: gone)[:2]


def found_video(name: str, **changed: int) -> FoundVideo:
    return FoundVideo(f"/videos/{name}", "/videos", 10, 1, "video/mp4")._replace(**changed)


# -- adding --------------------------------------------------------------------------------------------------------------


def test_adding_counts_what_it_came_to() -> None:
    held = HeldBatch()
    first = held.take_in([found_video("a.mp4"), found_video("b.mp4"), found_video("c.mp4")])
    assert first.effects == dict.fromkeys(AddEffect, 0) | {AddEffect.NEW: 3}
    items = [found_video("a.mp4"), found_video("b.mp4", size=11), found_video("d.mp4")]
    second = held.take_in(items, BatchOptions(targets=(FR, ES)))
    assert second.effects == dict.fromkeys(AddEffect, 0) | {AddEffect.NEW: 1, AddEffect.RENEWED: 1, AddEffect.KNOWN: 1}
    third = held.take_in([found_video("a.mp4")], BatchOptions(targets=(DE,)))
    assert (third.effects[AddEffect.EXTENDED], third.videos) == (1, 1)
    assert len(held.jobs) == 4


def test_other_files_in_folders_are_only_counted() -> None:
    held = HeldBatch()
    items = [
        found_video("a.mp4"),
        SkippedPath("/videos/notes.txt", "unsupported_file"),
        SkippedPath("/videos/a.dubbed-fr.mp4", "own_output"),
    ]
    added = held.take_in(items)
    assert (added.videos, added.skipped, added.problems, added.path_problems) == (1, 2, [], [])


@pytest.mark.parametrize("code", ["source_empty", "source_unreadable", "path_unreadable", "name_invalid"])
def test_a_trouble_with_one_file_does_not_stop_the_others(code: str) -> None:
    held = HeldBatch()
    added = held.take_in([SkippedPath("/videos/x.mp4", code, "why"), found_video("a.mp4")])
    assert added.videos == 1
    (trouble,) = added.problems
    assert (trouble.code, trouble.detail) == (code, "/videos/x.mp4: why")


@pytest.mark.parametrize("code", ["unsupported_file", "own_output", "path_missing", "source_empty"])
def test_a_wrong_path_that_was_named_stops_everything(code: str) -> None:
    held = HeldBatch()
    added = held.take_in([found_video("a.mp4"), SkippedPath("/videos/x", code, named=True)])
    assert [trouble.code for trouble in added.path_problems] == [code]
    assert (added.videos, held.update_count) == (0, 0)


def test_a_title_that_is_too_long_is_a_trouble_of_that_file() -> None:
    held = HeldBatch()
    added = held.take_in([found_video("a" * 300 + ".mp4"), found_video("b.mp4")])
    assert ([trouble.code for trouble in added.problems], added.videos) == (["title_too_long"], 1)


# -- retrying ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "free"),
    [
        (job_with_failed_download(FR), True),
        (job_with_failed_source(FR), True),
        (submission.record_rejected(submitting_job(FR), "request_refused", "", {}, NOW), True),
        (cancel_dub(queued_job(FR), FR), True),
        (cancel_dub(dubbing_job(FR), FR), True),
        (job_with_failed_language(FR), False),
        (job_with_failed_language(FR, code="moderation"), False),
        (submission.record_rejected(submitting_job(FR), "request_refused", "moderation", {}, NOW), False),
        (job_with_failed_project(FR), False),
        (unknown_job(FR), False),
        (cancel_dub(unknown_job(FR), FR), False),
    ],
)
def test_what_may_cost_is_held_back_without_consent(job: Job, free: bool) -> None:
    held = HeldBatch(job)
    assert held.retry(FR) == ((1, 0) if free else (0, 1))
    assert (held.job is job) == (not free)
    held = HeldBatch(job)
    assert held.retry(FR, paid=True) == (1, 0)


def test_a_finished_dub_is_fetched_again_only_if_its_file_is_gone() -> None:
    held = HeldBatch(done_job(FR))
    assert held.retry(FR, gone=False, paid=True) == (0, 0)
    assert held.job == done_job(FR)
    assert held.retry(FR, gone=True) == (1, 0)
    assert held.job.dubs[FR].state is DubState.READY


def test_each_dub_is_retried_once() -> None:
    held = HeldBatch(job_with_failed_download(FR, ES, DE))
    assert held.retry("", FR, FR) == (3, 0)


def test_what_is_gone_by_now_is_told() -> None:
    held = HeldBatch(job_with_failed_download(FR))
    gone = [ShownDub("none", FR, "failed"), ShownDub(held.job.id, ES, "failed"), ShownDub(held.job.id, "", "failed")]
    outcome = request_handlers.retry(held.jobs, gone, True, NOW, held.update_job, lambda path: True)
    assert (outcome.retried, len(outcome.changed), held.update_count) == (0, 3, 0)


def test_what_goes_on_by_itself_is_not_counted() -> None:
    assert HeldBatch(dubbing_job(FR)).retry(FR, paid=True) == (0, 0)


def test_retrying_all_failed_leaves_moderation_out() -> None:
    jobs = {
        "a": job_with_failed_language(FR, ES),
        "b": job_with_failed_language(FR, code="moderation"),
        "c": unknown_job(FR),
        "d": done_job(FR),
        "e": submission.record_rejected(submitting_job(FR, ES), "language_refused", "", {ES: "moderation"}, NOW),
    }
    jobs = {name: replace(job, id=name) for name, job in jobs.items()}
    chosen = request_handlers.plan_retries(jobs, [], request_handlers.find_failed_dubs(jobs), lambda path: True)
    assert chosen.needs_consent == [DubRef("a", FR), DubRef("a", ES)]
    assert (chosen.without_asking, chosen.only_if_named) == ([], [DubRef("b", FR), DubRef("e", ES)])


def test_what_a_new_start_takes_up_by_itself_is_free() -> None:
    for job, cells in (
        (job_with_failed_download(FR), 1),
        (job_with_failed_source(FR), 1),
        (dub_states.fail_dub(queued_job(FR), FR, "output_exists", "", FailureScope.SUBMISSION, NOW), 1),
        (submission.record_rejected(submitting_job(FR), "request_refused", "", {}, NOW), 0),
        (submission.record_rejected(submitting_job(FR), "language_refused", "", {FR: "no"}, NOW), 0),
        (source_changes.fail_unsent_dubs(queued_job(FR), "media_type", "", NOW), 0),
        (submission.record_rejected(submitting_job(FR), "request_refused", "moderation", {}, NOW), 0),
        (job_with_failed_language(FR), 0),
        (job_with_failed_project(FR), 0),
        (unknown_job(FR), 0),
        (cancel_dub(dubbing_job(FR), FR), 0),
    ):
        assert len(request_handlers.find_free_retries({job.id: job})) == cells


# -- cancelling and reviewing --------------------------------------------------------------------------------------------


def test_cancelling() -> None:
    held = HeldBatch(creation.add_targets(done_job(FR), [ES, DE], NOW))
    assert request_handlers.cancel(held.jobs, shown_in_any_state(held.jobs, [DubRef(held.job.id)]), NOW, held.update_job) == (
        2,
        [],
    )
    assert held.job.languages_in_state(DubState.CANCELLED) == (ES, DE)
    assert request_handlers.cancel(held.jobs, shown_in_any_state(held.jobs, [DubRef(held.job.id)]), NOW, held.update_job) == (
        0,
        [],
    )


def test_an_unknown_dub_can_be_given_up() -> None:
    held = HeldBatch(unknown_job(FR))
    assert request_handlers.cancel(held.jobs, [ShownDub(held.job.id, FR)], NOW, held.update_job) == (1, [])


def test_reviewing() -> None:
    held = HeldBatch(creation.add_targets(done_job(FR, ES), [DE], NOW))
    assert request_handlers.review(held.jobs, [DubRef(held.job.id)], True, held.update_job) == 2
    outputs = [dub.output for dub in held.job.dubs.values()]
    assert [output.reviewed for output in outputs if output] == [True, True]
    assert request_handlers.review(held.jobs, [DubRef(held.job.id, FR)], False, held.update_job) == 1


# -- after a crash -------------------------------------------------------------------------------------------------------


async def test_a_file_is_added_anew_after_a_crash_in_a_paid_request(tmp_path: Path) -> None:
    """`run PATH --force-new` takes the file in before the work is taken up: the old request's outcome is unknown by then."""
    (tmp_path / "a.mp4").write_bytes(b"video")
    settings = resolve_settings({"state_dir": str(tmp_path / "state"), "api_url": "http://127.0.0.1:9"}, {})
    batch = BatchOptions(targets=(FR, ES), force_new=True)
    store = JobStore(settings.state_dir)
    store.open()
    before = HeldBatch()
    before.take_in(find_sources([str(tmp_path)], recursive=True), replace(batch, force_new=False))
    job = upload.record_asset_ready(upload.record_asset_created(before.job, "a1", NOW), "")
    store.save(submission.record_intent(job, [FR, ES], "", NOW))
    runner = Runner(settings)
    runner.open()
    try:
        added = await runner.add([str(tmp_path)], replace(batch, targets=(FR,)))
        assert added.effects[AddEffect.RENEWED] == 1
        (renewed,) = runner.live_jobs.jobs.values()
        assert (renewed.languages_in_state(DubState.WAITING), renewed.languages_in_state(DubState.UNKNOWN)) == ((FR,), (ES,))
    finally:
        await runner.stop()
