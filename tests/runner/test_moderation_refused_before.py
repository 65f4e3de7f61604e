"""What moderation refused no batch sends again, under whatever name or options: end to end against the sandbox."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from synthdub_tui.jobs.moderation import MODERATION
from synthdub_tui.jobs.transitions import retry
from synthdub_tui.sandbox.config import SimulatedFailure
from synthdub_tui.store.job_store import JobStore
from tests.runner.conftest import MakeWorkspace, Workspace

FR, ES, DE = "fr-FR", "es-ES", "de-DE"
EACH_REFUSAL_KIND = pytest.mark.parametrize("kind", ["language", "project", "refused"])


def count_paid_requests(bench: Workspace) -> int:
    """Paid requests that reached the service, whatever it said."""
    return bench.count_calls("POST /v2/dubbing") + bench.count_calls("PUT /v2/dubbing/{id}")


async def refuse_once(make_bench: MakeWorkspace, kind: str, *targets: str) -> tuple[Workspace, Path]:
    bench = make_bench(failures=(SimulatedFailure(kind=kind, code=MODERATION),))
    video = bench.write_video("intro.mp4")
    result = await bench.run(video, targets=targets or (FR,))
    assert ("intro.mp4", FR, MODERATION) in result.reported_problems()
    return bench, video


@EACH_REFUSAL_KIND
async def test_a_copy_in_the_same_batch_is_not_sent(make_workspace: MakeWorkspace, kind: str) -> None:
    bench, video = await refuse_once(make_workspace, kind)
    before = count_paid_requests(bench)
    copy = Path(shutil.copyfile(video, bench.videos / "copy.mp4"))
    result = await bench.run(copy, targets=(FR,))
    assert ("copy.mp4", FR, MODERATION) in result.reported_problems()
    assert count_paid_requests(bench) == before


@EACH_REFUSAL_KIND
async def test_a_copy_with_other_options_in_another_batch_is_not_sent(
    make_workspace: MakeWorkspace, kind: str, tmp_path: Path
) -> None:
    """Moderation is about the content, not about how the lips move."""
    bench, video = await refuse_once(make_workspace, kind)
    before = count_paid_requests(bench)
    bench.state = tmp_path / "second"
    result = await bench.run(video, targets=(FR,), lipsync=True)
    assert ("intro.mp4", FR, MODERATION) in result.reported_problems()
    assert count_paid_requests(bench) == before


async def test_another_language_of_a_copy_is_not_sent_where_the_video_was_refused_whole(
    make_workspace: MakeWorkspace, tmp_path: Path
) -> None:
    bench, video = await refuse_once(make_workspace, "project")
    before = count_paid_requests(bench)
    bench.state = tmp_path / "second"
    result = await bench.run(video, targets=(DE,))
    assert ("intro.mp4", DE, MODERATION) in result.reported_problems()
    assert count_paid_requests(bench) == before


@EACH_REFUSAL_KIND
async def test_touching_the_file_or_running_again_sends_nothing(make_workspace: MakeWorkspace, kind: str) -> None:
    bench, video = await refuse_once(make_workspace, kind)
    before = count_paid_requests(bench)
    os.utime(video, (1, 1))
    await bench.run(video, targets=(FR,))
    await bench.run()
    assert count_paid_requests(bench) == before


@EACH_REFUSAL_KIND
async def test_force_new_of_the_file_leaves_out_what_moderation_refused(make_workspace: MakeWorkspace, kind: str) -> None:
    bench, video = await refuse_once(make_workspace, kind)
    before = count_paid_requests(bench)
    result = await bench.run(video, targets=(FR,), force_new=True)
    assert f"intro.mp4: {FR}" in [
        event["detail"].rpartition("/")[2] for event in result.events if event.get("code") == "left_refused"
    ]
    assert (count_paid_requests(bench), result.exit_code) == (before, 1)


async def test_force_new_begins_the_other_languages_anew(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(code=MODERATION, languages=(FR,)),))
    video = bench.write_video("intro.mp4")
    await bench.run(video)
    await bench.run(video, force_new=True)
    assert sorted(language for _, language in bench.sandbox.billed_dubs()) == [ES, ES, FR]


async def test_another_language_of_a_video_that_was_refused_whole_is_not_sent(make_workspace: MakeWorkspace) -> None:
    bench, video = await refuse_once(make_workspace, "project")
    before = count_paid_requests(bench)
    result = await bench.run(video, targets=(FR, DE))
    assert ("intro.mp4", DE, MODERATION) in result.reported_problems()
    assert (count_paid_requests(bench), result.exit_code) == (before, 1)


async def test_who_edits_the_video_may_send_it(make_workspace: MakeWorkspace) -> None:
    bench, video = await refuse_once(make_workspace, "project")
    before = count_paid_requests(bench)
    video.write_bytes(video.read_bytes()[::-1])
    await bench.run(video, targets=(FR,))
    assert count_paid_requests(bench) == before + 1


async def test_consent_to_the_very_dub_goes_past_the_receipts(make_workspace: MakeWorkspace) -> None:
    bench, video = await refuse_once(make_workspace, "project")
    before = count_paid_requests(bench)
    copy = Path(shutil.copyfile(video, bench.videos / "copy.mp4"))
    await bench.run(copy, targets=(FR,))
    (job,) = [job for job in bench.jobs() if job.name == "copy.mp4"]
    JobStore(str(bench.state)).save(retry.retry_dub(job, FR, time.time()))
    await bench.run()
    assert count_paid_requests(bench) == before + 1
