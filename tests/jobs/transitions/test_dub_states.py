"""Making jobs, their assets, downloads and ends; and every move that the states do not allow."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import (
    LEGAL,
    OPEN,
    Asset,
    Counts,
    DubState,
    Job,
    Options,
    Output,
    Part,
    Rung,
    Scope,
    Stage,
    count,
)
from synthdub_tui.jobs.reconcile import Deliver, Download, Recall, Submit, activities
from synthdub_tui.jobs.transitions import cancellation, creation, download, dub_states, restart, retry, source_changes, upload
from synthdub_tui.jobs.transitions.dub_states import IllegalMove
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NEWER,
    NOW,
    OPTIONS,
    SOURCE,
    asked,
    cancelled,
    delivered,
    done,
    downloading,
    dubbing,
    failed_language,
    in_every_state,
    queued,
    ready,
    unknown,
)

# -- making jobs ---------------------------------------------------------------------------------------------------------


def test_an_id_is_readable_and_safe_in_any_file_system() -> None:
    assert re.fullmatch(r"intro-[0-9a-f]{12}", creation.job_id("/videos/intro.mp4", OPTIONS))
    for name in (
        "/x/../..mp4",
        "/x/Ünïcödé 日本 \x1b[31m.mp4",
        "/x/" + "a" * 255 + ".mp4",
        "/x/.mp4",
        "/x/-.mp4",
        "/x/\udcff.mp4",
    ):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{12}", creation.job_id(name, OPTIONS)), name


def test_an_id_depends_on_the_path_and_every_option() -> None:
    variants = [
        ("/videos/intro.mp4", OPTIONS),
        ("/videos/intro.mov", OPTIONS),
        ("/videos/intro.mp4", Options("intro", "de")),
        ("/videos/intro.mp4", Options("Intro")),
        ("/videos/intro.mp4", Options("intro", lipsync=True)),
        ("/videos/intro.mp4", Options("intro", video_duration="original")),
        ("/videos/intro.mp4", Options("intro", visibility="public")),
    ]
    assert len({creation.job_id(*variant) for variant in variants}) == len(variants)


def test_a_new_job_waits() -> None:
    job = queued(FR, ES)
    assert job.stage is Stage.QUEUED
    assert job.open
    assert list(job.dubs) == [FR, ES]
    assert job.in_state(DubState.WAITING) == (FR, ES)
    assert activities(job) == [Deliver(0)]


def test_a_job_without_targets_has_nothing_to_do() -> None:
    job = creation.new_job(SOURCE, OPTIONS, [], now=NOW)
    assert not job.open
    assert activities(job) == []


@pytest.mark.parametrize("state", DubState)
def test_adding_languages_leaves_those_that_are_there_alone(state: DubState) -> None:
    before = in_every_state(FR)[state]
    after = creation.add_targets(before, [FR, DE], NOW)
    assert after.dubs[FR] == before.dubs[FR]
    assert after.dubs[DE].state is DubState.WAITING
    assert after.open


def test_adding_nothing_new_changes_nothing() -> None:
    job = done(FR)
    assert creation.add_targets(job, [FR], NOW) is job


def test_languages_added_to_a_finished_job_go_to_its_project_without_an_upload() -> None:
    job = creation.add_targets(done(FR), [ES, DE], NOW)
    assert activities(job) == [Submit((ES, DE), "p1")]
    assert job.stage is Stage.DUBBING


# -- a new version of the source -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", DubState)
def test_renewing_starts_the_named_languages_anew(state: DubState) -> None:
    before = in_every_state(FR)[state]
    job = source_changes.renew(before, NEWER, [FR, ES], NOW + 1)
    assert job.source == NEWER
    assert job.asset is None
    assert job.version == before.version + 1
    assert {language: dub.state for language, dub in job.dubs.items()} == {FR: DubState.WAITING, ES: DubState.WAITING}
    assert job.dubs[FR].output == before.dubs[FR].output  # still known as ours, so that it may be replaced
    assert activities(job)[0] == Deliver(job.version)
    assert not [act for act in activities(job) if isinstance(act, Submit)]  # least of all to the old project


def test_renewing_leaves_other_languages_as_they_are_until_they_are_named_too() -> None:
    before = done(FR, ES)
    job = source_changes.renew(before, NEWER, [FR], NOW)
    assert job.dubs[ES] == replace(before.dubs[ES], stale=True)
    assert creation.named_again(job, [FR], NOW) is job
    again = creation.named_again(job, [ES], NOW)
    assert (again.dubs[ES].state, again.dubs[ES].stale, again.dubs[ES].output) == (
        DubState.WAITING,
        False,
        before.dubs[ES].output,
    )
    assert creation.named_again(again, [FR, ES], NOW) is again


def test_a_language_added_after_a_renewal_goes_with_the_new_version() -> None:
    job = source_changes.renew(done(FR), NEWER, [FR], NOW)
    job = upload.asset_ready(upload.asset_created(job, "a2", NOW), "")
    job = creation.add_targets(job, [DE], NOW)
    assert activities(job) == [Submit((FR, DE), "")]


def test_renewing_waits_for_the_answer_of_a_paid_request() -> None:
    with pytest.raises(IllegalMove):
        source_changes.renew(asked(FR), NEWER, [FR], NOW)


def test_a_source_that_changed_before_anything_was_sent_is_adopted() -> None:
    job = source_changes.source_adopted(queued(), NEWER)
    assert (job.source, job.version) == (NEWER, 0)


# -- the asset -----------------------------------------------------------------------------------------------------------


def test_the_stages_of_a_delivery() -> None:
    job = upload.preparing(queued())
    assert job.stage is Stage.PREPARING
    job = upload.asset_created(job, "a1", NOW)
    assert job.stage is Stage.UPLOADING
    assert (job.asset, job.uploads) == (Asset("a1", NOW), 1)
    job = upload.asset_uploaded(job)
    assert job.stage is Stage.PROCESSING
    assert activities(job) == [Deliver(0)]
    job = upload.asset_ready(job, "en-GB")
    assert job.stage is Stage.DUBBING
    assert job.asset is not None
    assert job.asset.language == "en-GB"
    assert activities(job) == [Submit((FR, ES), "")]


def test_the_digest_of_what_was_sent_is_kept_with_the_source() -> None:
    """Of an upload that another run began, nobody knows it: what was known of the same source stays."""
    sent = upload.asset_uploaded(upload.asset_created(queued(), "a1", NOW), "xxh3:1")
    assert sent.source.digest == "xxh3:1"
    assert upload.asset_uploaded(sent).source.digest == "xxh3:1"


def test_an_asset_found_ready_counts_as_uploaded() -> None:
    job = upload.asset_ready(upload.asset_created(queued(), "a1", NOW), "")
    assert job.asset is not None
    assert job.asset.uploaded


def test_a_dropped_asset_means_another_delivery() -> None:
    job = upload.asset_dropped(upload.asset_created(queued(), "a1", NOW))
    assert activities(job) == [Deliver(0)]
    assert (job.stage, job.uploads) == (Stage.QUEUED, 1)


@pytest.mark.parametrize("change", [upload.asset_uploaded, lambda job: upload.asset_ready(job, "")])
def test_what_is_not_there_cannot_be_uploaded(change: Callable[[Job], Job]) -> None:
    with pytest.raises(IllegalMove):
        change(queued())


def test_a_failing_source_fails_what_waits_and_nothing_else() -> None:
    job = creation.add_targets(dubbing(FR), [ES], NOW)
    job = source_changes.source_failed(job, "source_missing", "gone", NOW)
    assert job.dubs[FR].state is DubState.DUBBING
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.scope, failure.detail) == ("source_missing", Scope.SOURCE, "gone")
    assert job.stage is Stage.DUBBING
    assert retry.rung(job.dubs[ES]) is Rung.SUBMIT


# -- downloads -----------------------------------------------------------------------------------------------------------


def test_a_download_from_its_start_to_its_end() -> None:
    job = download.download_started(ready(FR), FR, Part(0), NOW)
    assert job.dubs[FR].state is DubState.DOWNLOADING
    since = job.dubs[FR].since
    job = download.download_started(job, FR, Part(100, '"tag"'), NOW + 5)
    assert (job.dubs[FR].part, job.dubs[FR].since) == (Part(100, '"tag"'), since)
    job = download.landing(job, FR, 100, 77)
    assert job.dubs[FR].part == Part(100, '"tag"', 77)
    output = Output.of("/videos/intro.dubbed-fr-FR.mp4", 100, 77, ("/videos/intro.dubbed-fr-FR.srt",), seconds=3.5)
    job = download.downloaded(job, FR, output, NOW + 6)
    assert job.dubs[FR].state is DubState.DONE
    assert (job.dubs[FR].output, job.dubs[FR].part) == (output, None)
    assert job.stage is Stage.ENDED


def test_landing_without_a_part_before() -> None:
    job = download.landing(ready(FR), FR, 100, 77)
    assert job.dubs[FR].part == Part(100, "", 77)


def test_a_download_found_complete_at_a_start() -> None:
    assert download.downloaded(ready(FR), FR, Output.of("/o", 1, 1), NOW).dubs[FR].state is DubState.DONE


def test_a_paused_download_keeps_its_part() -> None:
    job = download.download_paused(downloading(FR), FR, NOW)
    assert job.dubs[FR].state is DubState.READY
    assert job.dubs[FR].part == Part(100, '"tag"')
    assert activities(job) == [Download(FR)]


def test_reviewing() -> None:
    job = download.reviewed(done(FR), FR, True)
    assert job.dubs[FR].output is not None
    assert job.dubs[FR].output.reviewed
    assert download.reviewed(job, FR, False) == done(FR)
    with pytest.raises(IllegalMove):
        download.reviewed(ready(FR), FR, True)


# -- cancelling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", DubState)
def test_cancelling_takes_what_is_open_or_unknown_and_leaves_what_has_ended(state: DubState) -> None:
    before = in_every_state(FR)[state]
    job = cancellation.cancelled(before, FR, NOW + 1)
    if state in OPEN or state is DubState.UNKNOWN:
        assert job.dubs[FR].state is DubState.CANCELLED
        assert job.dubs[FR].part is None
        assert job.stage is Stage.ENDED
        assert activities(job) == []
    else:
        assert job is before


def test_cancelling_one_language_leaves_the_others() -> None:
    job = cancelled(dubbing(FR, ES), FR)
    assert job.dubs[ES].state is DubState.DUBBING
    assert job.stage is Stage.DUBBING


# -- illegal moves -------------------------------------------------------------------------------------------------------

MOVES: dict[str, tuple[DubState, Callable[[Job], Job]]] = {
    "ready": (DubState.DOWNLOADING, lambda job: download.download_paused(job, FR, NOW)),
    "downloading": (DubState.DOWNLOADING, lambda job: download.download_started(job, FR, Part(0), NOW)),
    "done": (DubState.DONE, lambda job: download.downloaded(job, FR, Output.of("/o", 1, 1), NOW)),
    "failed": (DubState.FAILED, lambda job: dub_states.failed(job, FR, "internal", "", Scope.DOWNLOAD, NOW)),
}


@pytest.mark.parametrize("state", DubState)
@pytest.mark.parametrize("move", MOVES)
def test_a_move_is_made_only_where_it_is_legal(move: str, state: DubState) -> None:
    job = in_every_state(FR)[state]
    target = DubState(move)
    if target in LEGAL[state] or (target is state is DubState.DOWNLOADING):
        assert MOVES[move][1](job).dubs[FR].state is target
    else:
        with pytest.raises(IllegalMove):
            MOVES[move][1](job)


def test_every_state_has_its_moves_and_none_leads_to_itself() -> None:
    assert set(LEGAL) == set(DubState)
    assert all(state not in targets for state, targets in LEGAL.items())
    assert all(OPEN & LEGAL[state] for state in DubState)  # nothing is ever lost for good


# -- after a crash -------------------------------------------------------------------------------------------------------


def test_a_crash_while_a_paid_request_was_under_way_makes_it_unknown() -> None:
    job = restart.resumed(asked(FR, ES), NOW + 9)
    assert job.in_state(DubState.UNKNOWN) == (FR, ES)
    assert job.submission is None
    assert activities(job) == [Recall((FR, ES))]


def test_a_crash_while_a_cancelled_request_was_under_way() -> None:
    job = restart.resumed(cancelled(asked(FR, ES), FR), NOW)
    assert job.dubs[FR].state is DubState.CANCELLED
    assert retry.rung(job.dubs[FR]) is Rung.PROJECT  # not for free: it may have been accepted


def test_a_crash_during_a_download_goes_on_with_its_part() -> None:
    job = restart.resumed(downloading(FR), NOW)
    assert job.dubs[FR].state is DubState.READY
    assert job.dubs[FR].part == Part(100, '"tag"')
    assert activities(job) == [Download(FR)]


@pytest.mark.parametrize(
    "job",
    [upload.preparing(queued()), upload.asset_created(queued(), "a1", NOW)],
    ids=["preparing", "uploading"],
)
def test_a_crash_during_a_delivery_waits_for_a_slot_again(job: Job) -> None:
    resumed = restart.resumed(job, NOW)
    assert resumed.stage is Stage.QUEUED
    assert activities(resumed) == [Deliver(0)]


@pytest.mark.parametrize("job", [queued(), delivered(), dubbing(), ready(), done(), failed_language(), unknown()])
def test_a_stop_elsewhere_changes_nothing(job: Job) -> None:
    assert restart.resumed(job, NOW + 9) == job


# -- counting ------------------------------------------------------------------------------------------------------------


def test_counting() -> None:
    jobs = list(in_every_state(FR).values())
    counts = count(jobs)
    assert counts == Counts(8, 8, 1, 1, 1, 1, 1, 1, 1, 1)
    assert counts.ended == 4
    assert count([]) == Counts()


def test_a_name_is_the_last_part_of_the_path() -> None:
    assert queued().name == "intro.mp4"
    assert replace(queued(), source=replace(SOURCE, path="intro.mp4")).name == "intro.mp4"
