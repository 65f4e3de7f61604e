"""What was paid for is not paid for again by a batch that does not know of it: receipts, end to end against the sandbox."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.jobs.model import DubState, Job, WaitsFor
from synthdub_tui.jobs.transitions import adoption, retry, source_changes
from synthdub_tui.runner import clock
from synthdub_tui.sandbox.config import Failure
from synthdub_tui.store.job_store import Store
from tests.runner.conftest import Bench, MakeBench, Result

FR, ES = "fr-FR", "es-ES"


def forget_state(bench: Bench) -> None:
    shutil.rmtree(bench.state)


def forget_outputs(bench: Bench) -> None:
    for path in bench.videos.rglob("*.dubbed-*"):
        path.unlink()


def forget_projects(bench: Bench) -> None:
    """The projects were deleted in Studio."""
    bench.sandbox.state.projects.clear()


def holds(bench: Bench) -> dict[str, WaitsFor]:
    return {language: dub.hold.reason for job in bench.jobs() for language, dub in job.dubs.items() if dub.hold is not None}


def change(bench: Bench, job: Job) -> None:
    store = Store(str(bench.state))
    store.open()
    store.save(job)


async def done(bench: Bench, *paths: Path, **options: Any) -> Result:
    result = await bench.run(*paths, **options)
    assert result.code == 0, (result.problems(), [dub.state for job in result.jobs.values() for dub in job.dubs.values()])
    return result


async def test_a_deleted_state_directory_costs_nothing_where_the_outputs_are_in_place(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    calls = len(bench.sandbox.journal)
    outputs = bench.outputs()
    forget_state(bench)
    result = await done(bench, video)
    assert result.states("intro.mp4") == {FR: "done", ES: "done"}
    assert bench.billed == 2
    assert len(bench.sandbox.journal) == calls
    assert bench.outputs() == outputs


async def test_recovered_outputs_are_ours_with_their_captions(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    (before,) = bench.jobs()
    forget_state(bench)
    await done(bench, video)
    (after,) = bench.jobs()
    assert after.dubs[FR].output == before.dubs[FR].output


async def test_projects_are_taken_up_where_the_outputs_are_gone_as_well(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    outputs = bench.outputs()
    forget_state(bench)
    forget_outputs(bench)
    await done(bench, video)
    assert bench.billed == 2
    assert bench.calls("POST /v2/assets") == 1
    assert bench.outputs() == outputs


async def test_a_video_that_was_renamed_after_its_state_was_lost_is_not_paid_again(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    forget_state(bench)
    await done(bench, video.rename(bench.videos / "introduction.mp4"))
    assert bench.billed == 2
    assert "introduction.dubbed-fr-FR.mp4" in bench.outputs()


async def test_two_state_directories_on_one_library_pay_once(bench: Bench, tmp_path: Path) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    bench.state = tmp_path / "second"
    await done(bench, video)
    assert bench.billed == 2


async def test_two_copies_of_a_video_pay_once_and_both_are_dubbed(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    copy = bench.videos / "copy.mp4"
    shutil.copyfile(video, copy)
    await done(bench, video, copy)
    assert bench.billed == 2
    assert sum(name.endswith(".mp4") for name in bench.outputs()) == 4


async def test_an_older_copy_of_the_state_does_not_pay_again(bench: Bench, tmp_path: Path) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video, targets=(FR,))
    shutil.copytree(bench.state, tmp_path / "backup")
    await done(bench, video, targets=(ES,))
    forget_state(bench)
    forget_outputs(bench)
    shutil.copytree(tmp_path / "backup", bench.state)
    await bench.run(video, targets=(ES,))
    assert bench.billed == 2
    assert "intro.dubbed-es-ES.mp4" in bench.outputs()


async def test_what_nobody_has_any_more_waits_for_the_user_and_says_so(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    state = bench.state
    forget_state(bench)
    forget_outputs(bench)
    forget_projects(bench)
    result = await bench.run(video)
    assert result.code != 0
    assert bench.billed == 2
    assert holds(bench) == {FR: WaitsFor.ALREADY_PAID, ES: WaitsFor.ALREADY_PAID}
    (job,) = bench.jobs()
    assert job.dubs[FR].hold is not None
    assert str(state) in job.dubs[FR].hold.detail
    assert ("intro.mp4", FR, "already_paid") in result.problems()
    again = await bench.run(video)
    assert bench.billed == 2
    assert again.code != 0


async def test_a_retry_goes_past_a_receipt(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    forget_state(bench)
    forget_outputs(bench)
    forget_projects(bench)
    await bench.run(video)
    (job,) = bench.jobs()
    change(bench, retry.retried(job, FR, job.added))
    await bench.run()
    assert bench.billed == 3
    assert holds(bench) == {ES: WaitsFor.ALREADY_PAID}


async def test_an_older_copy_of_the_state_does_not_use_a_consent_again(bench: Bench, tmp_path: Path) -> None:
    """The copy was made between the retry and the request that came of it."""
    video = bench.video("intro.mp4")
    await done(bench, video, targets=(FR,))
    forget_state(bench)
    forget_outputs(bench)
    forget_projects(bench)
    await bench.run(video, targets=(FR,))
    (job,) = bench.jobs()
    change(bench, retry.retried(job, FR, clock.now()))
    shutil.copytree(bench.state, tmp_path / "backup")
    await bench.run()
    assert bench.billed == 2
    forget_state(bench)
    shutil.copytree(tmp_path / "backup", bench.state)
    await bench.run()
    assert bench.billed == 2
    assert bench.jobs()[0].dubs[FR].state == DubState.DONE


async def test_force_new_goes_past_receipts(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    forget_state(bench)
    forget_outputs(bench)
    await done(bench, video, force_new=True)
    assert bench.billed == 4


async def test_other_options_are_another_purchase(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    await done(bench, video)
    forget_outputs(bench)
    forget_state(bench)
    await done(bench, video, lipsync=True)
    assert bench.billed == 4


async def test_what_ended_in_failure_may_be_paid_for_again(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(Failure(code="processing_error", languages=(FR,), times=1),))
    video = bench.video("intro.mp4")
    await bench.run(video)
    forget_state(bench)
    forget_outputs(bench)
    await done(bench, video)
    assert sorted(language for _, language in bench.sandbox.billed()) == [ES, FR, FR]


async def test_what_moderation_refused_is_not_sent_again_under_another_name(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(Failure(code="moderation", languages=(FR,)),))
    video = bench.video("intro.mp4")
    await bench.run(video)
    forget_state(bench)
    forget_outputs(bench)
    result = await bench.run(video.rename(bench.videos / "other.mp4"))
    assert bench.billed == 2
    assert result.states("other.mp4") == {FR: "failed", ES: "done"}
    assert ("other.mp4", FR, "moderation") in result.problems()


async def test_a_new_content_is_paid_for_and_the_old_one_again_is_not(bench: Bench) -> None:
    video = bench.video("intro.mp4")
    old = video.read_bytes()
    await done(bench, video)
    video.write_bytes(old[::-1])
    await done(bench, video)
    assert bench.billed == 4
    video.write_bytes(old)
    await done(bench, video)
    assert bench.billed == 4


async def test_a_renamed_copy_of_an_output_is_no_input(bench: Bench) -> None:
    await done(bench, bench.video("intro.mp4"))
    (bench.videos / "intro.dubbed-fr-FR.mp4").rename(bench.videos / "Intro in French.mp4")
    await bench.run(bench.videos)
    assert [job.name for job in bench.jobs()] == ["intro.mp4"]
    assert bench.billed == 2


async def test_the_output_of_another_batch_is_no_foreign_file(bench: Bench, tmp_path: Path) -> None:
    """It took the project up, and saved the output before this one could."""
    video = bench.video("intro.mp4")
    await done(bench, video)
    (job,) = bench.jobs()
    forgotten = job
    for language in (FR, ES):
        forgotten = source_changes.renew(forgotten, job.source, (language,), 1.0)
        forgotten = adoption.taken_up(forgotten, language, job.dubs[language].project, 1.0, 2.0)
        forgotten = forgotten.__class__(
            **{**_fields(forgotten), "dubs": {**forgotten.dubs, language: _bare(forgotten, language)}}
        )
    bench.state = tmp_path / "second"
    change(bench, forgotten)
    result = await bench.run()
    assert (result.code, bench.billed) == (0, 2)


def _fields(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.__struct_fields__}


def _bare(job: Job, language: str) -> Any:
    from msgspec.structs import replace

    return replace(job.dubs[language], output=None, landed=None, captions_ns=())


@pytest.mark.parametrize("folder", ["plain file", "read only"])
async def test_receipts_that_cannot_be_kept_in_the_data_folder_are_kept_with_the_state(
    bench: Bench, tmp_path: Path, folder: str
) -> None:
    """As in a container with a random user and no home."""
    place = tmp_path / "data"
    place.write_text("")
    await done(bench, bench.video("intro.mp4"), data_dir=str(place / "synthdub"))
    assert bench.billed == 2
    assert list((bench.state / "receipts").iterdir())
    assert bench.jobs()[0].dubs[FR].state == DubState.DONE
