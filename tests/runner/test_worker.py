"""What a user's change makes unwanted takes no further step, not even one that was about to come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.transitions import source_changes, submission
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox import media
from synthdub_tui.sources.add_file import AddEffect
from synthdub_tui.transfer.download import ignore_start
from tests.dub_refs import shown_dubs, shown_in_any_state
from tests.runner.conftest import Workspace
from tests.runner.runner_in_loop import RunningRunner, only_job
from tests.runner.test_runner import until


class HeldDownloader:
    """A downloader of which one answer (the first of all is number 1) comes when the test wants it."""

    def __init__(self, runner: Runner, number: int = 1) -> None:
        self._inner = runner._context.downloader
        self._answers_before = number
        self.request_arrived = asyncio.Event()
        self.etag_future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def download(self, *arguments: Any, **options: Any) -> Any:
        self._answers_before -= 1
        if self._answers_before == 0:
            self.request_arrived.set()
            await options.get("on_start", ignore_start)(await self.etag_future, 1000)
        return await self._inner.download(*arguments, **options)

    async def close(self) -> None:
        await self._inner.close()


def renew_source(runner: Runner) -> None:
    job = only_job(runner)
    runner.live_jobs.update(source_changes.start_new_version(job, job.source, ("fr-FR",), runner._context.now()))


def cancel_job(runner: Runner) -> None:
    runner.cancel(shown_in_any_state(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]))


@pytest.mark.parametrize(("change", "end"), [(renew_source, DubState.DONE), (cancel_job, DubState.CANCELLED)])
async def test_a_download_that_is_just_answered(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, change: Any, end: DubState
) -> None:
    """The next thing that it does is to note its start, for which the dub's new state has no place."""
    seen: set[DubState] = set()

    def note(_: Job | None, job: Job) -> None:
        seen.update(dub.state for dub in job.dubs.values())

    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        held = runner._context.downloader = HeldDownloader(runner)  # type: ignore[assignment]
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await held.request_arrived.wait()
        runner.live_jobs.add_listener(note)
        held.etag_future.set_result("etag")
        change(runner)
        await until(runner.idle.is_set)
        assert only_job(runner).dubs["fr-FR"].state is end
    assert DubState.FAILED not in seen
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("change", [renew_source, cancel_job])
async def test_a_video_that_landed_before_its_captions_stays_ours(workspace: Workspace, change: Any) -> None:
    """The dub was not done, so nothing but its part tells whose the file under the final name is."""
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        held = runner._context.downloader = HeldDownloader(runner, 2)  # type: ignore[assignment]
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await held.request_arrived.wait()
        assert workspace.output_names() == ["intro.dubbed-fr-FR.mp4", "intro.dubbed-fr-FR.srt.part"]
        change(runner)
        await until(lambda: only_job(runner).dubs["fr-FR"].state is DubState.DONE or runner.idle.is_set())
        runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]), allow_paid=False)
        await until(runner.idle.is_set)
        assert only_job(runner).dubs["fr-FR"].failure is None
        assert only_job(runner).dubs["fr-FR"].state is DubState.DONE
        assert workspace.output_names() == ["intro.dubbed-fr-FR.mp4", "intro.dubbed-fr-FR.srt", "intro.dubbed-fr-FR.vtt"]


def change_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the service has other captions for the same video."""
    captions = media.captions
    monkeypatch.setattr(media, "captions", lambda title, *more: captions(f"{title}, reworded", *more))


@pytest.mark.parametrize("change", [renew_source, cancel_job])
async def test_captions_that_landed_before_the_others_stay_ours(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    """The dub was not done, and the next try's text is another: nothing but a note tells whose the file is."""
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        held = runner._context.downloader = HeldDownloader(runner, 3)  # type: ignore[assignment]
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await held.request_arrived.wait()
        assert workspace.output_names() == ["intro.dubbed-fr-FR.mp4", "intro.dubbed-fr-FR.srt", "intro.dubbed-fr-FR.vtt.part"]
        change_captions(monkeypatch)
        change(runner)
        await until(lambda: only_job(runner).dubs["fr-FR"].state is DubState.DONE or runner.idle.is_set())
        runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]), allow_paid=False)
        await until(runner.idle.is_set)
        assert only_job(runner).dubs["fr-FR"].failure is None
        assert only_job(runner).dubs["fr-FR"].state is DubState.DONE
    assert "reworded" in (workspace.videos / "intro.dubbed-fr-FR.srt").read_text()


async def test_captions_that_landed_before_a_restart_stay_ours(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        held = runner._context.downloader = HeldDownloader(runner, 3)  # type: ignore[assignment]
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await held.request_arrived.wait()
    change_captions(monkeypatch)
    assert (await workspace.run()).states("intro.mp4") == {"fr-FR": "done"}
    assert "reworded" in (workspace.videos / "intro.dubbed-fr-FR.srt").read_text()


async def test_captions_that_the_user_corrected_are_never_overwritten(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We made the file, but what stands in it now is the user's work."""
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
        await until(runner.idle.is_set)
        captions = workspace.videos / "intro.dubbed-fr-FR.srt"
        captions.write_text("corrected by hand")
        change_captions(monkeypatch)
        workspace.write_video("intro.mp4", size=3000)  # or it would be known as paid for, with its captions as they are
        renew_source(runner)
        await until(runner.idle.is_set)
        failure = only_job(runner).dubs["fr-FR"].failure
        assert failure is not None
        assert failure.code == "output_exists"
        assert captions.read_text() == "corrected by hand"
        captions.rename(workspace.videos / "mine.srt")
        runner.retry(shown_dubs(runner.live_jobs.jobs, [DubRef(only_job(runner).id)]), allow_paid=False)
        await until(runner.idle.is_set)
        assert only_job(runner).dubs["fr-FR"].state is DubState.DONE
        assert "reworded" in captions.read_text()


async def test_files_named_anew_wait_for_all_paid_requests_under_way(workspace: Workspace) -> None:
    """Another may begin while one is waited for."""
    ends = [asyncio.Event(), asyncio.Event()]
    async with RunningRunner(workspace, targets=("fr-FR",)) as runner:
        paths = [str(workspace.write_video(name)) for name in ("a.mp4", "b.mp4")]
        await runner.pause(True)
        await runner.add(paths, runner.settings.batch)
        first, second = runner.live_jobs.jobs

        async def request(job_id: str, end: asyncio.Event) -> None:
            runner.live_jobs.update(
                submission.record_intent(runner.live_jobs.jobs[job_id], ["fr-FR"], "", runner._context.now())
            )
            await end.wait()
            runner.live_jobs.update(submission.record_not_sent(runner.live_jobs.jobs[job_id]))

        def begin(job_id: str, end: asyncio.Event) -> None:
            task = asyncio.create_task(request(job_id, end))
            runner._context.paid_request_tasks.add(task)
            task.add_done_callback(runner._context.paid_request_tasks.discard)

        begin(second, ends[0])
        await until(lambda: runner.live_jobs.jobs[second].submission)
        naming = asyncio.create_task(runner.add(paths, replace(runner.settings.batch, force_new=True)))
        await until(lambda: runner.adding)
        begin(first, ends[1])
        await until(lambda: runner.live_jobs.jobs[first].submission)
        ends[0].set()
        await until(lambda: not runner.live_jobs.jobs[second].submission)
        ends[1].set()
        assert (await naming).effects[AddEffect.RENEWED] == 2
