"""What a user's change makes unwanted takes no further step, not even one that was about to come."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.jobs.transitions import source_changes, submission
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox import media
from synthdub_tui.sources.add_file import Effect
from synthdub_tui.transfer.download import nothing_to_note
from tests.dub_refs import seen, unmarked
from tests.runner.conftest import Bench
from tests.runner.runner_in_loop import Working, only
from tests.runner.test_runner import until


class Held:
    """A downloader of which one answer (the first of all is number 1) comes when the test wants it."""

    def __init__(self, runner: Runner, number: int = 1) -> None:
        self._inner = runner._shop.downloader
        self._left = number
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self.asked.set()
            await options.get("on_start", nothing_to_note)(await self.answer, 1000)
        return await self._inner.fetch(*arguments, **options)

    async def close(self) -> None:
        await self._inner.close()


def renewed(runner: Runner) -> None:
    job = only(runner)
    runner.ledger.put(source_changes.renew(job, job.source, ("fr-FR",), runner._shop.now()))


def cancelled(runner: Runner) -> None:
    runner.cancel(unmarked(runner.ledger.jobs, [Cell(only(runner).id)]))


@pytest.mark.parametrize(("change", "end"), [(renewed, DubState.DONE), (cancelled, DubState.CANCELLED)])
async def test_a_download_that_is_just_answered(
    bench: Bench, caplog: pytest.LogCaptureFixture, change: Any, end: DubState
) -> None:
    """The next thing that it does is to note its start, for which the dub's new state has no place."""
    seen: set[DubState] = set()

    def note(_: Job | None, job: Job) -> None:
        seen.update(dub.state for dub in job.dubs.values())

    async with Working(bench, targets=("fr-FR",)) as runner:
        held = runner._shop.downloader = Held(runner)  # type: ignore[assignment]
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await held.asked.wait()
        runner.ledger.listen(note)
        held.answer.set_result("etag")
        change(runner)
        await until(runner.idle.is_set)
        assert only(runner).dubs["fr-FR"].state is end
    assert DubState.FAILED not in seen
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("change", [renewed, cancelled])
async def test_a_video_that_landed_before_its_captions_stays_ours(bench: Bench, change: Any) -> None:
    """The dub was not done, so nothing but its part tells whose the file under the final name is."""
    async with Working(bench, targets=("fr-FR",)) as runner:
        held = runner._shop.downloader = Held(runner, 2)  # type: ignore[assignment]
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await held.asked.wait()
        assert bench.outputs() == ["intro.dubbed-fr-FR.mp4", "intro.dubbed-fr-FR.srt.part"]
        change(runner)
        await until(lambda: only(runner).dubs["fr-FR"].state is DubState.DONE or runner.idle.is_set())
        runner.retry(seen(runner.ledger.jobs, [Cell(only(runner).id)]), paid=False)
        await until(runner.idle.is_set)
        assert only(runner).dubs["fr-FR"].failure is None
        assert only(runner).dubs["fr-FR"].state is DubState.DONE
        assert bench.outputs() == ["intro.dubbed-fr-FR.mp4", "intro.dubbed-fr-FR.srt", "intro.dubbed-fr-FR.vtt"]


def reworded(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the service has other captions for the same video."""
    captions = media.captions
    monkeypatch.setattr(media, "captions", lambda title, *more: captions(f"{title}, reworded", *more))


@pytest.mark.parametrize("change", [renewed, cancelled])
async def test_captions_that_landed_before_the_others_stay_ours(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    """The dub was not done, and the next try's text is another: nothing but a note tells whose the file is."""
    async with Working(bench, targets=("fr-FR",)) as runner:
        held = runner._shop.downloader = Held(runner, 3)  # type: ignore[assignment]
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await held.asked.wait()
        assert bench.outputs() == ["intro.dubbed-fr-FR.mp4", "intro.dubbed-fr-FR.srt", "intro.dubbed-fr-FR.vtt.part"]
        reworded(monkeypatch)
        change(runner)
        await until(lambda: only(runner).dubs["fr-FR"].state is DubState.DONE or runner.idle.is_set())
        runner.retry(seen(runner.ledger.jobs, [Cell(only(runner).id)]), paid=False)
        await until(runner.idle.is_set)
        assert only(runner).dubs["fr-FR"].failure is None
        assert only(runner).dubs["fr-FR"].state is DubState.DONE
    assert "reworded" in (bench.videos / "intro.dubbed-fr-FR.srt").read_text()


async def test_captions_that_landed_before_a_restart_stay_ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Working(bench, targets=("fr-FR",)) as runner:
        held = runner._shop.downloader = Held(runner, 3)  # type: ignore[assignment]
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await held.asked.wait()
    reworded(monkeypatch)
    assert (await bench.run()).states("intro.mp4") == {"fr-FR": "done"}
    assert "reworded" in (bench.videos / "intro.dubbed-fr-FR.srt").read_text()


async def test_captions_that_the_user_corrected_are_never_overwritten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """We made the file, but what stands in it now is the user's work."""
    async with Working(bench, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(runner.idle.is_set)
        captions = bench.videos / "intro.dubbed-fr-FR.srt"
        captions.write_text("corrected by hand")
        reworded(monkeypatch)
        bench.video("intro.mp4", size=3000)  # or it would be known as paid for, with its captions as they are
        renewed(runner)
        await until(runner.idle.is_set)
        failure = only(runner).dubs["fr-FR"].failure
        assert failure is not None
        assert failure.code == "output_exists"
        assert captions.read_text() == "corrected by hand"
        captions.rename(bench.videos / "mine.srt")
        runner.retry(seen(runner.ledger.jobs, [Cell(only(runner).id)]), paid=False)
        await until(runner.idle.is_set)
        assert only(runner).dubs["fr-FR"].state is DubState.DONE
        assert "reworded" in captions.read_text()


async def test_files_named_anew_wait_for_all_paid_requests_under_way(bench: Bench) -> None:
    """Another may begin while one is waited for."""
    ends = [asyncio.Event(), asyncio.Event()]
    async with Working(bench, targets=("fr-FR",)) as runner:
        paths = [str(bench.video(name)) for name in ("a.mp4", "b.mp4")]
        await runner.pause(True)
        await runner.add(paths, runner.settings.batch)
        first, second = runner.ledger.jobs

        async def request(job_id: str, end: asyncio.Event) -> None:
            runner.ledger.put(submission.intend(runner.ledger.jobs[job_id], ["fr-FR"], "", runner._shop.now()))
            await end.wait()
            runner.ledger.put(submission.not_sent(runner.ledger.jobs[job_id]))

        def begin(job_id: str, end: asyncio.Event) -> None:
            task = asyncio.create_task(request(job_id, end))
            runner._shop.critical.add(task)
            task.add_done_callback(runner._shop.critical.discard)

        begin(second, ends[0])
        await until(lambda: runner.ledger.jobs[second].submission)
        naming = asyncio.create_task(runner.add(paths, replace(runner.settings.batch, force_new=True)))
        await until(lambda: runner.adding)
        begin(first, ends[1])
        await until(lambda: runner.ledger.jobs[first].submission)
        ends[0].set()
        await until(lambda: not runner.ledger.jobs[second].submission)
        ends[1].set()
        assert (await naming).effects[Effect.RENEWED] == 2
