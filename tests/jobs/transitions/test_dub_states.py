"""Making jobs, their assets, downloads and ends; and every move that the states do not allow."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from synthdub_tui.jobs.model import (
    LEGAL_TRANSITIONS,
    OPEN_STATES,
    Asset,
    DubCounts,
    DubState,
    FailureScope,
    Job,
    JobOptions,
    Output,
    PartRecord,
    RetryStep,
    Stage,
    count_dubs,
)
from synthdub_tui.jobs.reconcile import Download, LookUpReceipts, Submit, Upload, needed_activities
from synthdub_tui.jobs.transitions import cancellation, creation, download, dub_states, restart, retry, source_changes, upload
from synthdub_tui.jobs.transitions.dub_states import IllegalTransitionError
from tests.jobs.factories import (
    DE,
    ES,
    FR,
    NEWER_SOURCE,
    NOW,
    OPTIONS,
    SOURCE,
    cancel_dub,
    done_job,
    downloading_job,
    dubbing_job,
    job_with_failed_language,
    jobs_in_every_state,
    queued_job,
    ready_job,
    submitting_job,
    unknown_job,
    uploaded_job,
)

# -- making jobs ---------------------------------------------------------------------------------------------------------


def test_an_id_is_readable_and_safe_in_any_file_system() -> None:
    assert re.fullmatch(r"intro-[0-9a-f]{12}", creation.make_job_id("/videos/intro.mp4", OPTIONS))
    for name in (
        "/x/../..mp4",
        "/x/Ünïcödé 日本 \x1b[31m.mp4",
        "/x/" + "a" * 255 + ".mp4",
        "/x/.mp4",
        "/x/-.mp4",
        "/x/\udcff.mp4",
    ):
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{12}", creation.make_job_id(name, OPTIONS)), name


def test_an_id_depends_on_the_path_and_every_option() -> None:
    variants = [
        ("/videos/intro.mp4", OPTIONS),
        ("/videos/intro.mov", OPTIONS),
        ("/videos/intro.mp4", JobOptions("intro", "de")),
        ("/videos/intro.mp4", JobOptions("Intro")),
        ("/videos/intro.mp4", JobOptions("intro", lipsync=True)),
        ("/videos/intro.mp4", JobOptions("intro", video_duration="original")),
        ("/videos/intro.mp4", JobOptions("intro", visibility="public")),
    ]
    assert len({creation.make_job_id(*variant) for variant in variants}) == len(variants)


def test_a_new_job_waits() -> None:
    job = queued_job(FR, ES)
    assert job.stage is Stage.QUEUED
    assert job.is_open
    assert list(job.dubs) == [FR, ES]
    assert job.languages_in_state(DubState.WAITING) == (FR, ES)
    assert needed_activities(job) == [Upload(0)]


def test_a_job_without_targets_has_nothing_to_do() -> None:
    job = creation.new_job(SOURCE, OPTIONS, [], now=NOW)
    assert not job.is_open
    assert needed_activities(job) == []


@pytest.mark.parametrize("state", DubState)
def test_adding_languages_leaves_those_that_are_there_alone(state: DubState) -> None:
    before = jobs_in_every_state(FR)[state]
    after = creation.add_targets(before, [FR, DE], NOW)
    assert after.dubs[FR] == before.dubs[FR]
    assert after.dubs[DE].state is DubState.WAITING
    assert after.is_open


def test_adding_nothing_new_changes_nothing() -> None:
    job = done_job(FR)
    assert creation.add_targets(job, [FR], NOW) is job


def test_languages_added_to_a_finished_job_go_to_its_project_without_an_upload() -> None:
    job = creation.add_targets(done_job(FR), [ES, DE], NOW)
    assert needed_activities(job) == [Submit((ES, DE), "p1")]
    assert job.stage is Stage.DUBBING


# -- a new version of the source -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", DubState)
def test_renewing_restarts_the_named_languages(state: DubState) -> None:
    before = jobs_in_every_state(FR)[state]
    job = source_changes.start_new_version(before, NEWER_SOURCE, [FR, ES], NOW + 1)
    assert job.source == NEWER_SOURCE
    assert job.asset is None
    assert job.version == before.version + 1
    assert {language: dub.state for language, dub in job.dubs.items()} == {FR: DubState.WAITING, ES: DubState.WAITING}
    assert job.dubs[FR].output == before.dubs[FR].output  # still known as ours, so that it may be replaced
    assert needed_activities(job)[0] == Upload(job.version)
    assert not [act for act in needed_activities(job) if isinstance(act, Submit)]  # least of all to the old project


def test_renewing_leaves_other_languages_as_they_are_until_they_are_named_too() -> None:
    before = done_job(FR, ES)
    job = source_changes.start_new_version(before, NEWER_SOURCE, [FR], NOW)
    assert job.dubs[ES] == replace(before.dubs[ES], stale=True)
    assert creation.add_or_restart_targets(job, [FR], NOW) is job
    again = creation.add_or_restart_targets(job, [ES], NOW)
    assert (again.dubs[ES].state, again.dubs[ES].stale, again.dubs[ES].output) == (
        DubState.WAITING,
        False,
        before.dubs[ES].output,
    )
    assert creation.add_or_restart_targets(again, [FR, ES], NOW) is again


def test_a_language_added_after_a_renewal_goes_with_the_new_version() -> None:
    job = source_changes.start_new_version(done_job(FR), NEWER_SOURCE, [FR], NOW)
    job = upload.record_asset_ready(upload.record_asset_created(job, "a2", NOW), "")
    job = creation.add_targets(job, [DE], NOW)
    assert needed_activities(job) == [Submit((FR, DE), "")]


def test_renewing_waits_for_the_answer_of_a_paid_request() -> None:
    with pytest.raises(IllegalTransitionError):
        source_changes.start_new_version(submitting_job(FR), NEWER_SOURCE, [FR], NOW)


def test_a_source_that_changed_before_anything_was_sent_is_adopted() -> None:
    job = source_changes.update_source_time(queued_job(), NEWER_SOURCE)
    assert (job.source, job.version) == (NEWER_SOURCE, 0)


# -- the asset -----------------------------------------------------------------------------------------------------------


def test_the_stages_of_a_delivery() -> None:
    job = upload.start_preparing(queued_job())
    assert job.stage is Stage.PREPARING
    job = upload.record_asset_created(job, "a1", NOW)
    assert job.stage is Stage.UPLOADING
    assert (job.asset, job.uploads) == (Asset("a1", NOW), 1)
    job = upload.record_asset_uploaded(job)
    assert job.stage is Stage.PROCESSING
    assert needed_activities(job) == [Upload(0)]
    job = upload.record_asset_ready(job, "en-GB")
    assert job.stage is Stage.DUBBING
    assert job.asset is not None
    assert job.asset.language == "en-GB"
    assert needed_activities(job) == [Submit((FR, ES), "")]


def test_the_digest_of_what_was_sent_is_kept_with_the_source() -> None:
    """Of an upload that another run began, nobody knows it: what was known of the same source stays."""
    sent = upload.record_asset_uploaded(upload.record_asset_created(queued_job(), "a1", NOW), "xxh3:1")
    assert sent.source.digest == "xxh3:1"
    assert upload.record_asset_uploaded(sent).source.digest == "xxh3:1"


def test_an_asset_found_ready_counts_as_uploaded() -> None:
    job = upload.record_asset_ready(upload.record_asset_created(queued_job(), "a1", NOW), "")
    assert job.asset is not None
    assert job.asset.uploaded


def test_a_dropped_asset_means_another_delivery() -> None:
    job = upload.drop_asset(upload.record_asset_created(queued_job(), "a1", NOW))
    assert needed_activities(job) == [Upload(0)]
    assert (job.stage, job.uploads) == (Stage.QUEUED, 1)


@pytest.mark.parametrize("change", [upload.record_asset_uploaded, lambda job: upload.record_asset_ready(job, "")])
def test_what_is_not_there_cannot_be_uploaded(change: Callable[[Job], Job]) -> None:
    with pytest.raises(IllegalTransitionError):
        change(queued_job())


def test_a_failing_source_fails_what_waits_and_nothing_else() -> None:
    job = creation.add_targets(dubbing_job(FR), [ES], NOW)
    job = source_changes.fail_unsent_dubs(job, "source_missing", "gone", NOW)
    assert job.dubs[FR].state is DubState.DUBBING
    failure = job.dubs[ES].failure
    assert failure is not None
    assert (failure.code, failure.scope, failure.detail) == ("source_missing", FailureScope.SOURCE, "gone")
    assert job.stage is Stage.DUBBING
    assert retry.cheapest_step(job.dubs[ES]) is RetryStep.SUBMIT


# -- downloads -----------------------------------------------------------------------------------------------------------


def test_a_download_from_its_start_to_its_end() -> None:
    job = download.start_download(ready_job(FR), FR, PartRecord(0), NOW)
    assert job.dubs[FR].state is DubState.DOWNLOADING
    since = job.dubs[FR].since
    job = download.start_download(job, FR, PartRecord(100, '"tag"'), NOW + 5)
    assert (job.dubs[FR].part, job.dubs[FR].since) == (PartRecord(100, '"tag"'), since)
    job = download.record_publishing(job, FR, 100, 77)
    assert job.dubs[FR].part == PartRecord(100, '"tag"', 77)
    output = Output.of("/videos/intro.dubbed-fr-FR.mp4", 100, 77, ("/videos/intro.dubbed-fr-FR.srt",), seconds=3.5)
    job = download.finish_download(job, FR, output, NOW + 6)
    assert job.dubs[FR].state is DubState.DONE
    assert (job.dubs[FR].output, job.dubs[FR].part) == (output, None)
    assert job.stage is Stage.ENDED


def test_landing_without_a_part_before() -> None:
    job = download.record_publishing(ready_job(FR), FR, 100, 77)
    assert job.dubs[FR].part == PartRecord(100, "", 77)


def test_a_download_found_complete_at_a_start() -> None:
    assert download.finish_download(ready_job(FR), FR, Output.of("/o", 1, 1), NOW).dubs[FR].state is DubState.DONE


def test_a_paused_download_keeps_its_part() -> None:
    job = download.pause_download(downloading_job(FR), FR, NOW)
    assert job.dubs[FR].state is DubState.READY
    assert job.dubs[FR].part == PartRecord(100, '"tag"')
    assert needed_activities(job) == [Download(FR)]


def test_reviewing() -> None:
    job = download.set_reviewed(done_job(FR), FR, True)
    assert job.dubs[FR].output is not None
    assert job.dubs[FR].output.reviewed
    assert download.set_reviewed(job, FR, False) == done_job(FR)
    with pytest.raises(IllegalTransitionError):
        download.set_reviewed(ready_job(FR), FR, True)


# -- cancelling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", DubState)
def test_cancelling_takes_what_is_open_or_unknown_and_leaves_what_has_ended(state: DubState) -> None:
    before = jobs_in_every_state(FR)[state]
    job = cancellation.cancel_dub(before, FR, NOW + 1)
    if state in OPEN_STATES or state is DubState.UNKNOWN:
        assert job.dubs[FR].state is DubState.CANCELLED
        assert job.dubs[FR].part is None
        assert job.stage is Stage.ENDED
        assert needed_activities(job) == []
    else:
        assert job is before


def test_cancelling_one_language_leaves_the_others() -> None:
    job = cancel_dub(dubbing_job(FR, ES), FR)
    assert job.dubs[ES].state is DubState.DUBBING
    assert job.stage is Stage.DUBBING


# -- illegal moves -------------------------------------------------------------------------------------------------------

TRANSITIONS: dict[str, tuple[DubState, Callable[[Job], Job]]] = {
    "ready": (DubState.DOWNLOADING, lambda job: download.pause_download(job, FR, NOW)),
    "downloading": (DubState.DOWNLOADING, lambda job: download.start_download(job, FR, PartRecord(0), NOW)),
    "done": (DubState.DONE, lambda job: download.finish_download(job, FR, Output.of("/o", 1, 1), NOW)),
    "failed": (DubState.FAILED, lambda job: dub_states.fail_dub(job, FR, "internal", "", FailureScope.DOWNLOAD, NOW)),
}


@pytest.mark.parametrize("state", DubState)
@pytest.mark.parametrize("move", TRANSITIONS)
def test_a_move_is_made_only_where_it_is_legal(move: str, state: DubState) -> None:
    job = jobs_in_every_state(FR)[state]
    target = DubState(move)
    if target in LEGAL_TRANSITIONS[state] or (target is state is DubState.DOWNLOADING):
        assert TRANSITIONS[move][1](job).dubs[FR].state is target
    else:
        with pytest.raises(IllegalTransitionError):
            TRANSITIONS[move][1](job)


def test_every_state_has_its_moves_and_none_leads_to_itself() -> None:
    assert set(LEGAL_TRANSITIONS) == set(DubState)
    assert all(state not in targets for state, targets in LEGAL_TRANSITIONS.items())
    assert all(OPEN_STATES & LEGAL_TRANSITIONS[state] for state in DubState)  # nothing is ever lost for good


# -- after a crash -------------------------------------------------------------------------------------------------------


def test_a_crash_while_a_paid_request_was_under_way_makes_it_unknown() -> None:
    job = restart.resume_job(submitting_job(FR, ES), NOW + 9)
    assert job.languages_in_state(DubState.UNKNOWN) == (FR, ES)
    assert job.submission is None
    assert needed_activities(job) == [LookUpReceipts((FR, ES))]


def test_a_crash_while_a_cancelled_request_was_under_way() -> None:
    job = restart.resume_job(cancel_dub(submitting_job(FR, ES), FR), NOW)
    assert job.dubs[FR].state is DubState.CANCELLED
    assert retry.cheapest_step(job.dubs[FR]) is RetryStep.NEW_PROJECT  # not for free: it may have been accepted


def test_a_crash_during_a_download_goes_on_with_its_part() -> None:
    job = restart.resume_job(downloading_job(FR), NOW)
    assert job.dubs[FR].state is DubState.READY
    assert job.dubs[FR].part == PartRecord(100, '"tag"')
    assert needed_activities(job) == [Download(FR)]


@pytest.mark.parametrize(
    "job",
    [upload.start_preparing(queued_job()), upload.record_asset_created(queued_job(), "a1", NOW)],
    ids=["preparing", "uploading"],
)
def test_a_crash_during_a_delivery_waits_for_a_slot_again(job: Job) -> None:
    resumed = restart.resume_job(job, NOW)
    assert resumed.stage is Stage.QUEUED
    assert needed_activities(resumed) == [Upload(0)]


@pytest.mark.parametrize(
    "job", [queued_job(), uploaded_job(), dubbing_job(), ready_job(), done_job(), job_with_failed_language(), unknown_job()]
)
def test_a_stop_elsewhere_changes_nothing(job: Job) -> None:
    assert restart.resume_job(job, NOW + 9) == job


# -- counting ------------------------------------------------------------------------------------------------------------


def test_counting() -> None:
    jobs = list(jobs_in_every_state(FR).values())
    counts = count_dubs(jobs)
    assert counts == DubCounts(8, 8, 1, 1, 1, 1, 1, 1, 1, 1)
    assert counts.ended == 4
    assert count_dubs([]) == DubCounts()


def test_a_name_is_the_last_part_of_the_path() -> None:
    assert queued_job().name == "intro.mp4"
    assert replace(queued_job(), source=replace(SOURCE, path="intro.mp4")).name == "intro.mp4"
