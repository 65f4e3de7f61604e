"""What a user does to a batch: add, retry, cancel, review."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import Cell, Shown
from synthdub_tui.jobs.model import DubState, Job, Scope
from synthdub_tui.jobs.transitions import creation, dub_states, source_changes, submission, upload
from synthdub_tui.runner import add_videos, request_handlers
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.resolve import resolve
from synthdub_tui.sources.add_file import Batch, Effect
from synthdub_tui.sources.job_index import Known
from synthdub_tui.sources.scan import Found, Skipped, scan
from synthdub_tui.store.job_store import Store
from tests.dub_refs import seen, unmarked
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NOW,
    asked,
    cancelled,
    done,
    dubbing,
    failed_download,
    failed_language,
    failed_project,
    failed_source,
    queued,
    unknown,
)

BATCH = Batch(targets=(FR, ES))


class Held:
    """A batch whose changes are seen at once."""

    def __init__(self, *jobs: Job) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.puts = 0

    def put(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.puts += 1

    def take_in(self, items: Iterable[Found | Skipped], batch: Batch = BATCH) -> add_videos.Added:
        added = add_videos.Added()
        assert add_videos.take_in(Known(self.jobs), items, batch, NOW, self.put, added) == []
        return added

    @property
    def job(self) -> Job:
        (only,) = self.jobs.values()
        return only

    def retry(self, *languages: str, paid: bool = False, gone: bool = True) -> tuple[int, int]:
        cells = seen(self.jobs, [Cell(self.job.id, language) for language in languages])
        return request_handlers.retry(self.jobs, cells, paid, NOW, self.put, lambda path: gone)[:2]


def found(name: str, **changed: int) -> Found:
    return Found(f"/videos/{name}", "/videos", 10, 1, "video/mp4")._replace(**changed)


# -- adding --------------------------------------------------------------------------------------------------------------


def test_adding_counts_what_it_came_to() -> None:
    held = Held()
    first = held.take_in([found("a.mp4"), found("b.mp4"), found("c.mp4")])
    assert first.effects == dict.fromkeys(Effect, 0) | {Effect.NEW: 3}
    items = [found("a.mp4"), found("b.mp4", size=11), found("d.mp4")]
    second = held.take_in(items, Batch(targets=(FR, ES)))
    assert second.effects == dict.fromkeys(Effect, 0) | {Effect.NEW: 1, Effect.RENEWED: 1, Effect.KNOWN: 1}
    third = held.take_in([found("a.mp4")], Batch(targets=(DE,)))
    assert (third.effects[Effect.EXTENDED], third.videos) == (1, 1)
    assert len(held.jobs) == 4


def test_other_files_in_folders_are_only_counted() -> None:
    held = Held()
    items = [found("a.mp4"), Skipped("/videos/notes.txt", "unsupported_file"), Skipped("/videos/a.dubbed-fr.mp4", "own_output")]
    added = held.take_in(items)
    assert (added.videos, added.skipped, added.troubles, added.refused) == (1, 2, [], [])


@pytest.mark.parametrize("code", ["source_empty", "source_unreadable", "path_unreadable", "name_invalid"])
def test_a_trouble_with_one_file_does_not_stop_the_others(code: str) -> None:
    held = Held()
    added = held.take_in([Skipped("/videos/x.mp4", code, "why"), found("a.mp4")])
    assert added.videos == 1
    (trouble,) = added.troubles
    assert (trouble.code, trouble.detail) == (code, "/videos/x.mp4: why")


@pytest.mark.parametrize("code", ["unsupported_file", "own_output", "path_missing", "source_empty"])
def test_a_wrong_path_that_was_named_stops_everything(code: str) -> None:
    held = Held()
    added = held.take_in([found("a.mp4"), Skipped("/videos/x", code, named=True)])
    assert [trouble.code for trouble in added.refused] == [code]
    assert (added.videos, held.puts) == (0, 0)


def test_a_title_that_is_too_long_is_a_trouble_of_that_file() -> None:
    held = Held()
    added = held.take_in([found("a" * 300 + ".mp4"), found("b.mp4")])
    assert ([trouble.code for trouble in added.troubles], added.videos) == (["title_too_long"], 1)


# -- retrying ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "free"),
    [
        (failed_download(FR), True),
        (failed_source(FR), True),
        (submission.refused(asked(FR), "request_refused", "", {}, NOW), True),
        (cancelled(queued(FR), FR), True),
        (cancelled(dubbing(FR), FR), True),
        (failed_language(FR), False),
        (failed_language(FR, code="moderation"), False),
        (submission.refused(asked(FR), "request_refused", "moderation", {}, NOW), False),
        (failed_project(FR), False),
        (unknown(FR), False),
        (cancelled(unknown(FR), FR), False),
    ],
)
def test_what_may_cost_is_held_back_without_consent(job: Job, free: bool) -> None:
    held = Held(job)
    assert held.retry(FR) == ((1, 0) if free else (0, 1))
    assert (held.job is job) == (not free)
    held = Held(job)
    assert held.retry(FR, paid=True) == (1, 0)


def test_a_finished_dub_is_fetched_again_only_if_its_file_is_gone() -> None:
    held = Held(done(FR))
    assert held.retry(FR, gone=False, paid=True) == (0, 0)
    assert held.job == done(FR)
    assert held.retry(FR, gone=True) == (1, 0)
    assert held.job.dubs[FR].state is DubState.READY


def test_each_dub_is_retried_once() -> None:
    held = Held(failed_download(FR, ES, DE))
    assert held.retry("", FR, FR) == (3, 0)


def test_what_is_gone_by_now_is_told() -> None:
    held = Held(failed_download(FR))
    gone = [Shown("none", FR, "failed"), Shown(held.job.id, ES, "failed"), Shown(held.job.id, "", "failed")]
    outcome = request_handlers.retry(held.jobs, gone, True, NOW, held.put, lambda path: True)
    assert (outcome.retried, len(outcome.changed), held.puts) == (0, 3, 0)


def test_what_goes_on_by_itself_is_not_counted() -> None:
    assert Held(dubbing(FR)).retry(FR, paid=True) == (0, 0)


def test_retrying_all_failed_leaves_moderation_out() -> None:
    jobs = {
        "a": failed_language(FR, ES),
        "b": failed_language(FR, code="moderation"),
        "c": unknown(FR),
        "d": done(FR),
        "e": submission.refused(asked(FR, ES), "language_refused", "", {ES: "moderation"}, NOW),
    }
    jobs = {name: replace(job, id=name) for name, job in jobs.items()}
    chosen = request_handlers.choose(jobs, [], request_handlers.failed_cells(jobs), lambda path: True)
    assert chosen.to_ask == [Cell("a", FR), Cell("a", ES)]
    assert (chosen.at_once, chosen.left_out) == ([], [Cell("b", FR), Cell("e", ES)])


def test_what_a_new_start_takes_up_by_itself_is_free() -> None:
    for job, cells in (
        (failed_download(FR), 1),
        (failed_source(FR), 1),
        (dub_states.failed(queued(FR), FR, "output_exists", "", Scope.SUBMISSION, NOW), 1),
        (submission.refused(asked(FR), "request_refused", "", {}, NOW), 0),
        (submission.refused(asked(FR), "language_refused", "", {FR: "no"}, NOW), 0),
        (source_changes.source_failed(queued(FR), "media_type", "", NOW), 0),
        (submission.refused(asked(FR), "request_refused", "moderation", {}, NOW), 0),
        (failed_language(FR), 0),
        (failed_project(FR), 0),
        (unknown(FR), 0),
        (cancelled(dubbing(FR), FR), 0),
    ):
        assert len(request_handlers.free_cells({job.id: job})) == cells


# -- cancelling and reviewing --------------------------------------------------------------------------------------------


def test_cancelling() -> None:
    held = Held(creation.add_targets(done(FR), [ES, DE], NOW))
    assert request_handlers.cancel(held.jobs, unmarked(held.jobs, [Cell(held.job.id)]), NOW, held.put) == (2, [])
    assert held.job.in_state(DubState.CANCELLED) == (ES, DE)
    assert request_handlers.cancel(held.jobs, unmarked(held.jobs, [Cell(held.job.id)]), NOW, held.put) == (0, [])


def test_an_unknown_dub_can_be_given_up() -> None:
    held = Held(unknown(FR))
    assert request_handlers.cancel(held.jobs, [Shown(held.job.id, FR)], NOW, held.put) == (1, [])


def test_reviewing() -> None:
    held = Held(creation.add_targets(done(FR, ES), [DE], NOW))
    assert request_handlers.review(held.jobs, [Cell(held.job.id)], True, held.put) == 2
    outputs = [dub.output for dub in held.job.dubs.values()]
    assert [output.reviewed for output in outputs if output] == [True, True]
    assert request_handlers.review(held.jobs, [Cell(held.job.id, FR)], False, held.put) == 1


# -- after a crash -------------------------------------------------------------------------------------------------------


async def test_a_file_is_added_anew_after_a_crash_in_a_paid_request(tmp_path: Path) -> None:
    """`run PATH --force-new` takes the file in before the work is taken up: the old request's outcome is unknown by then."""
    (tmp_path / "a.mp4").write_bytes(b"video")
    settings = resolve({"state_dir": str(tmp_path / "state"), "api_url": "http://127.0.0.1:9"}, {})
    batch = Batch(targets=(FR, ES), force_new=True)
    store = Store(settings.state_dir)
    store.open()
    before = Held()
    before.take_in(scan([str(tmp_path)], recursive=True), replace(batch, force_new=False))
    job = upload.asset_ready(upload.asset_created(before.job, "a1", NOW), "")
    store.save(submission.intend(job, [FR, ES], "", NOW))
    runner = Runner(settings)
    runner.open()
    try:
        added = await runner.add([str(tmp_path)], replace(batch, targets=(FR,)))
        assert added.effects[Effect.RENEWED] == 1
        (renewed,) = runner.ledger.jobs.values()
        assert (renewed.in_state(DubState.WAITING), renewed.in_state(DubState.UNKNOWN)) == ((FR,), (ES,))
    finally:
        await runner.stop()
