"""Captions and odd answers to downloads: the video is saved whatever becomes of them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import DubState
from synthdub_tui.runner import runner as runner_module
from synthdub_tui.runner.request_handlers import MAX_CAPTIONS_RETRIES
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.transfer.download import Downloader
from tests.dub_refs import shown_dubs, shown_in_any_state
from tests.runner.conftest import RunResult, Workspace
from tests.runner.runner_in_loop import RunningRunner, only_job
from tests.waiting import until


@pytest.fixture(autouse=True)
def _few_download_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails here goes on failing, with longer and longer pauses between the attempts."""
    monkeypatch.setattr(runner_module, "Downloader", functools.partial(Downloader, attempts=2))


async def run_without_captions(bench: Workspace) -> RunResult:
    """A run whose captions fail."""
    bench.sandbox.inject(Fault("captions", "status", status=500))
    return await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",))


async def test_failing_captions_do_not_hold_the_video_back_and_the_next_run_fetches_only_them(workspace: Workspace) -> None:
    result = await run_without_captions(workspace)
    assert (result.exit_code, result.states("intro.mp4")) == (0, {"fr-FR": "done"})
    assert [problem for problem in result.reported_problems() if problem[0]] == [("intro.mp4", "fr-FR", "captions_failed")]
    assert workspace.output_names() == ["intro.dubbed-fr-FR.mp4"]
    workspace.sandbox.clear_faults()
    again = await workspace.run()
    assert (again.exit_code, again.jobs["intro.mp4"].dubs["fr-FR"].failure) == (0, None)
    assert len(workspace.output_names()) == 3
    assert (workspace.count_calls("download"), workspace.billed_dubs) == (1, 1)


async def test_one_of_two_captions_is_kept(workspace: Workspace) -> None:
    workspace.sandbox.inject(Fault("captions", "status", path="*.srt", status=500))
    result = await workspace.run(workspace.write_video("intro.mp4"), targets=("fr-FR",))
    assert workspace.output_names() == ["intro.dubbed-fr-FR.mp4", "intro.dubbed-fr-FR.vtt"]
    dub = result.jobs["intro.mp4"].dubs["fr-FR"]
    assert dub.output is not None
    assert [Path(path).name for path in dub.output.captions] == ["intro.dubbed-fr-FR.vtt"]
    workspace.sandbox.clear_faults()
    await workspace.run()
    assert len(workspace.output_names()) == 3


async def test_missing_captions_are_looked_for_by_themselves_some_times_and_by_a_retry_always(workspace: Workspace) -> None:
    await run_without_captions(workspace)
    for _ in range(MAX_CAPTIONS_RETRIES - 1):
        asked = workspace.count_calls("captions")
        await workspace.run()
        assert workspace.count_calls("captions") > asked
    asked = workspace.count_calls("captions")
    assert (await workspace.run()).states("intro.mp4") == {"fr-FR": "done"}
    assert workspace.count_calls("captions") == asked
    workspace.sandbox.clear_faults()
    async with RunningRunner(workspace) as runner:
        assert runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id, "fr-FR")]), allow_paid=False) == (
            1,
            0,
            (),
        )
        await until(runner.idle.is_set)
        assert only_job(runner).dubs["fr-FR"].failure is None
    assert len(workspace.output_names()) == 3
    assert workspace.count_calls("download") == 1


async def test_captions_of_a_video_that_is_gone_or_was_edited(workspace: Workspace) -> None:
    """A video that is gone comes with them; of one that the user edited, nothing is touched."""
    await run_without_captions(workspace)
    workspace.sandbox.clear_faults()
    output = workspace.videos / "intro.dubbed-fr-FR.mp4"
    made = output.read_bytes()
    output.write_bytes(b"edited")
    result = await workspace.run()
    assert (result.exit_code, result.states("intro.mp4"), output.read_bytes()) == (0, {"fr-FR": "done"}, b"edited")
    output.unlink()
    assert (await workspace.run()).exit_code == 0
    assert output.read_bytes() == made
    assert len(workspace.output_names()) == 3


async def test_a_cancel_while_captions_are_fetched_again_leaves_the_dub_done(workspace: Workspace) -> None:
    await run_without_captions(workspace)
    async with RunningRunner(workspace) as runner:
        cell = DubRef(only_job(runner).id, "fr-FR")
        asked = workspace.count_calls("captions")
        runner.retry(shown_dubs(runner.live_jobs.jobs, [cell]), allow_paid=False)
        await until(lambda: workspace.count_calls("captions") > asked)
        runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [cell]))
        await until(runner.idle.is_set)
        assert only_job(runner).dubs["fr-FR"].lacks_captions
    assert workspace.output_names() == ["intro.dubbed-fr-FR.mp4"]


async def test_captions_that_somebody_else_made_do_not_hold_the_video_back(workspace: Workspace) -> None:
    theirs = workspace.videos / "intro.dubbed-fr-FR.srt"
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only_job(runner).dubs["fr-FR"].state is DubState.DUBBING)
        theirs.write_text("theirs")
        await until(runner.idle.is_set)
        dub = only_job(runner).dubs["fr-FR"]
        assert (dub.lacks_captions, dub.failure.code) == (True, "output_exists")  # type: ignore[union-attr]
    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("kind", ["chunked", "truncate_silently"])
async def test_answers_without_a_length_are_no_obstacle(workspace: Workspace, kind: Any) -> None:
    for endpoint in ("download", "captions"):
        workspace.sandbox.inject(Fault(endpoint, kind, after_bytes=10**9))
    result = await workspace.run(workspace.write_video("intro.mp4"))
    assert (result.exit_code, result.states("intro.mp4")) == (0, {"fr-FR": "done", "es-ES": "done"})
    assert len(workspace.output_names()) == 6
