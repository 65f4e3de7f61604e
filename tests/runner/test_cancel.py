"""What a cancel leaves: no part of a download, whoever carries it out, and the word that it may be billed all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from synthdub_tui.commands import cancel, status
from synthdub_tui.errors import Trouble
from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.ipc.server import Server
from synthdub_tui.jobs.model import DubState, Job, Options, Rung, Source
from synthdub_tui.jobs.transitions import cancellation, creation, submission, upload
from synthdub_tui.runner import events as event_module
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import resolve
from synthdub_tui.transfer.part_file import holding
from tests.dub_refs import unmarked
from tests.runner.conftest import Bench, MakeBench
from tests.runner.runner_in_loop import Working, only, states
from tests.waiting import until


@pytest.fixture
def slow(make_bench: MakeBench) -> Bench:
    """A bench whose downloads take seconds."""
    return make_bench(output_padding=4_000_000, bandwidth_down=1_000_000)


def part_of(bench: Bench) -> Path:
    return bench.videos / "intro.dubbed-fr-FR.mp4.part"


def settings_of(bench: Bench) -> Settings:
    return resolve(bench.flags(), {"SYNTHESIA_API_KEY": bench.sandbox.api_key})


async def interrupted(bench: Bench) -> Path:
    """The part of a download whose runner ended."""
    part = part_of(bench)
    async with Working(bench, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: part.exists() and part.stat().st_size > 0)
    assert part.exists()
    return part


async def test_a_cancel_without_a_runner_removes_the_part(slow: Bench) -> None:
    part = await interrupted(slow)
    assert cancel.cancel(settings_of(slow), ["intro.mp4"]) == 0
    assert not part.exists()
    assert slow.jobs()[0].dubs["fr-FR"].state is DubState.CANCELLED


async def test_a_part_that_another_process_downloads_is_left(slow: Bench) -> None:
    part = await interrupted(slow)
    async with holding(str(part)):
        cancel.cancel(settings_of(slow), ["intro.mp4"])
    assert part.exists()


async def test_a_cancel_of_a_paused_download_removes_its_part(slow: Bench) -> None:
    part = await interrupted(slow)
    async with Working(slow) as runner:
        await runner.pause(True)
        runner.cancel(unmarked(runner.ledger.jobs, [Cell(only(runner).id)]))
        await until(lambda: runner.idle.is_set() and not part.exists())


async def test_a_cancel_where_the_key_was_rejected_meanwhile_removes_the_part(slow: Bench) -> None:
    """The dub is still said to be downloading, and nobody downloads it."""
    async with Working(slow, targets=("fr-FR",)) as runner:
        await runner.add([str(slow.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: part_of(slow).exists() and part_of(slow).stat().st_size > 0)
        runner._halt(Trouble("key_rejected"))
        await until(lambda: not runner._workers)
        assert only(runner).dubs["fr-FR"].state is DubState.DOWNLOADING
        runner.cancel(unmarked(runner.ledger.jobs, [Cell(only(runner).id)]))
        await until(lambda: not part_of(slow).exists())


async def test_a_cancel_between_two_rounds_of_a_download_leaves_no_part(bench: Bench) -> None:
    bench.sandbox.inject(Fault("download", "status", status=503))
    async with Working(bench, targets=("fr-FR",)) as runner:
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: ("fr-FR" in {language for _, language in runner._shop.held_up}) and part_of(bench).exists())
        runner.cancel(unmarked(runner.ledger.jobs, [Cell(only(runner).id)]))
        await until(runner.idle.is_set)
        assert bench.outputs() == []


# -- too late --------------------------------------------------------------------------------------------------------------


def codes(events: list[event_module.Event]) -> list[str]:
    return [event["code"] for event in events if event["event"] == "problem"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda job: submission.created(job, "p1", 2.0), ["cancelled_under_way", "cancelled_late"]),
        (lambda job: submission.unclear(job, 2.0), ["cancelled_under_way", "submission_unknown"]),
        (lambda job: submission.refused(job, "request_refused", "no", {}, 2.0), ["cancelled_under_way"]),
        (submission.not_sent, ["cancelled_under_way"]),
    ],
    ids=["accepted", "unknown", "refused", "not sent"],
)
def test_the_answer_that_comes_after_a_cancel_tells_whether_it_may_be_billed(
    answer: Callable[[Job], Job], told: list[str]
) -> None:
    job = creation.new_job(Source("/v/a.mp4", 1, 1, "video/mp4"), Options("a"), ["fr-FR", "es-ES"], now=0.0)
    sent = submission.intend(upload.asset_ready(upload.asset_created(job, "a", 0.0), ""), ["fr-FR", "es-ES"], "", 1.0)
    cancelled = cancellation.cancelled(sent, "fr-FR", 1.5)
    events = [*event_module.changes(sent, cancelled), *event_module.changes(cancelled, answered := answer(cancelled))]
    assert codes([event for event in events if event.get("language") == "fr-FR"]) == told
    assert cancellation.billed_all_the_same(answered, "es-ES") == ""
    assert codes(list(event_module.changes(answered, answered))) == []


def test_a_cancel_before_anything_was_sent_or_of_another_try_costs_nothing() -> None:
    job = creation.new_job(Source("/v/a.mp4", 1, 1, "video/mp4"), Options("a"), ["fr-FR"], now=0.0)
    assert cancellation.billed_all_the_same(cancellation.cancelled(job, "fr-FR", 1.0), "fr-FR") == ""
    dub = replace(job.dubs["fr-FR"], project="p0", next_rung=Rung.ADD)  # its first try failed
    again = replace(job, dubs={"fr-FR": dub})
    assert cancellation.billed_all_the_same(cancellation.cancelled(again, "fr-FR", 1.0), "fr-FR") == ""


@pytest.mark.parametrize("working", [True, False], ids=["a runner", "no runner"])
async def test_a_cancel_names_exactly_the_dubs_that_may_be_billed(
    make_bench: MakeBench, capsys: pytest.CaptureFixture[str], working: bool
) -> None:
    bench = make_bench(dubbing_seconds=(3600.0, 3600.0))
    async with Working(bench) as runner:
        server = Server(runner, on_stop=lambda: None, read_key=lambda: bench.sandbox.api_key)
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: set(states(runner).values()) == {"dubbing"})
        await runner.pause(True)
        await runner.add([str(bench.video("other.mp4"))], runner.settings.batch)
        if working:
            await server.start()
            await asyncio.to_thread(cancel.cancel, settings_of(bench), ["intro.mp4:fr-FR", "other.mp4"])
            await server.close("stopped")
    if not working:
        cancel.cancel(settings_of(bench), ["intro.mp4:fr-FR", "other.mp4"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "3 cancelled"
    assert [line.partition(":")[0].strip() for line in said[1:]] == ["intro.mp4 fr-FR"]
    assert "It may be billed. A retry fetches it, free." in said[1]


async def test_a_run_and_the_status_say_that_a_cancel_came_too_late(
    make_bench: MakeBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = make_bench(dubbing_seconds=(3600.0, 3600.0))
    async with Working(bench, targets=("fr-FR",)) as runner:
        events: list[event_module.Event] = []
        runner.ledger.listen(lambda before, job: events.extend(event_module.changes(before, job)))
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await until(lambda: states(runner) == {"fr-FR": "dubbing"})
        runner.cancel(unmarked(runner.ledger.jobs, [Cell(only(runner).id)]))
        await until(runner.idle.is_set)
    assert "cancelled_late" in codes(events)
    assert status.status(settings_of(bench), as_json=False) == 0
    assert "It may be billed. A retry fetches it, free." in capsys.readouterr().out
