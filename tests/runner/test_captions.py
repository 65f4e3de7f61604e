"""Captions and odd answers to downloads: the video is saved whatever becomes of them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import DubState
from synthdub_tui.runner import runner as runner_module
from synthdub_tui.runner.request_handlers import CAPTIONS_TRIES
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.transfer.download import Downloader
from tests.dub_refs import seen, unmarked
from tests.runner.conftest import Bench, Result
from tests.runner.runner_in_loop import Working, only
from tests.waiting import until


@pytest.fixture(autouse=True)
def _few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails here goes on failing, with longer and longer pauses between the attempts."""
    monkeypatch.setattr(runner_module, "Downloader", functools.partial(Downloader, attempts=2))


async def without_captions(bench: Bench) -> Result:
    """A run whose captions fail."""
    bench.sandbox.inject(Fault("captions", "status", status=500))
    return await bench.run(bench.video("intro.mp4"), targets=("fr-FR",))


async def test_failing_captions_do_not_hold_the_video_back_and_the_next_run_fetches_only_them(bench: Bench) -> None:
    result = await without_captions(bench)
    assert (result.code, result.states("intro.mp4")) == (0, {"fr-FR": "done"})
    assert [problem for problem in result.problems() if problem[0]] == [("intro.mp4", "fr-FR", "captions_failed")]
    assert bench.outputs() == ["intro.dubbed-fr-FR.mp4"]
    bench.sandbox.clear_faults()
    again = await bench.run()
    assert (again.code, again.jobs["intro.mp4"].dubs["fr-FR"].failure) == (0, None)
    assert len(bench.outputs()) == 3
    assert (bench.calls("download"), bench.billed) == (1, 1)


async def test_one_of_two_captions_is_kept(bench: Bench) -> None:
    bench.sandbox.inject(Fault("captions", "status", path="*.srt", status=500))
    result = await bench.run(bench.video("intro.mp4"), targets=("fr-FR",))
    assert bench.outputs() == ["intro.dubbed-fr-FR.mp4", "intro.dubbed-fr-FR.vtt"]
    dub = result.jobs["intro.mp4"].dubs["fr-FR"]
    assert dub.output is not None
    assert [Path(path).name for path in dub.output.captions] == ["intro.dubbed-fr-FR.vtt"]
    bench.sandbox.clear_faults()
    await bench.run()
    assert len(bench.outputs()) == 3


async def test_missing_captions_are_looked_for_by_themselves_some_times_and_by_a_retry_always(bench: Bench) -> None:
    await without_captions(bench)
    for _ in range(CAPTIONS_TRIES - 1):
        asked = bench.calls("captions")
        await bench.run()
        assert bench.calls("captions") > asked
    asked = bench.calls("captions")
    assert (await bench.run()).states("intro.mp4") == {"fr-FR": "done"}
    assert bench.calls("captions") == asked
    bench.sandbox.clear_faults()
    async with Working(bench) as runner:
        assert runner.retry(seen(runner.ledger.jobs, [Cell(only(runner).id, "fr-FR")]), paid=False) == (1, 0, ())
        await until(runner.idle.is_set)
        assert only(runner).dubs["fr-FR"].failure is None
    assert len(bench.outputs()) == 3
    assert bench.calls("download") == 1


async def test_captions_of_a_video_that_is_gone_or_was_edited(bench: Bench) -> None:
    """A video that is gone comes with them; of one that the user edited, nothing is touched."""
    await without_captions(bench)
    bench.sandbox.clear_faults()
    output = bench.videos / "intro.dubbed-fr-FR.mp4"
    made = output.read_bytes()
    output.write_bytes(b"edited")
    result = await bench.run()
    assert (result.code, result.states("intro.mp4"), output.read_bytes()) == (0, {"fr-FR": "done"}, b"edited")
    output.unlink()
    assert (await bench.run()).code == 0
    assert output.read_bytes() == made
    assert len(bench.outputs()) == 3


async def test_a_cancel_while_captions_are_fetched_again_leaves_the_dub_done(bench: Bench) -> None:
    await without_captions(bench)
    async with Working(bench) as runner:
        cell = Cell(only(runner).id, "fr-FR")
        asked = bench.calls("captions")
        runner.retry(seen(runner.ledger.jobs, [cell]), paid=False)
        await until(lambda: bench.calls("captions") > asked)
        runner.cancel(unmarked(runner.ledger.jobs, [cell]))
        await until(runner.idle.is_set)
        assert only(runner).dubs["fr-FR"].lacks_captions
    assert bench.outputs() == ["intro.dubbed-fr-FR.mp4"]


async def test_captions_that_somebody_else_made_do_not_hold_the_video_back(bench: Bench) -> None:
    theirs = bench.videos / "intro.dubbed-fr-FR.srt"
    async with Working(bench, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: only(runner).dubs["fr-FR"].state is DubState.DUBBING)
        theirs.write_text("theirs")
        await until(runner.idle.is_set)
        dub = only(runner).dubs["fr-FR"]
        assert (dub.lacks_captions, dub.failure.code) == (True, "output_exists")  # type: ignore[union-attr]
    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("kind", ["chunked", "truncate_silently"])
async def test_answers_without_a_length_are_no_obstacle(bench: Bench, kind: Any) -> None:
    for endpoint in ("download", "captions"):
        bench.sandbox.inject(Fault(endpoint, kind, after_bytes=10**9))
    result = await bench.run(bench.video("intro.mp4"))
    assert (result.code, result.states("intro.mp4")) == (0, {"fr-FR": "done", "es-ES": "done"})
    assert len(bench.outputs()) == 6
