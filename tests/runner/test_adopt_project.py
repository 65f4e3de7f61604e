"""Dubs that only the service knows of are followed and downloaded, with and without a runner, and nothing is paid again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from synthdub_tui.commands.adopt import adopt
from synthdub_tui.commands.cancel import cancel
from synthdub_tui.errors import Trouble
from synthdub_tui.ipc.protocol import Cell
from synthdub_tui.jobs.model import ProjectSeen
from synthdub_tui.runner import adopt_project
from synthdub_tui.sandbox.config import Failure, Fault
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import resolve
from synthdub_tui.store.claim_files import FOLDER
from synthdub_tui.synthesia.client import Client
from tests.runner.conftest import Bench, MakeBench
from tests.runner.runner_in_loop import Working
from tests.runner.socket_client import attached
from tests.waiting import until

FR, ES = "fr-FR", "es-ES"
LOST = Fault("POST /v2/dubbing", "reset_after", count=1)
NOBODYS = "0f5b2c1e-7d0a-4c3b-9a58-2f1d6e7b8c90"


def settings_of(bench: Bench, key: str | None = None, **options: Any) -> Settings:
    environment = {"SYNTHESIA_API_KEY": bench.sandbox.api_key if key is None else key}
    return resolve(bench.flags(**options), environment)


async def adopted(bench: Bench, dub: str, project: str, **options: Any) -> int:
    """As the command does, which has a loop of its own."""
    return await asyncio.to_thread(adopt, settings_of(bench, **options), dub, project)


async def refused(bench: Bench, dub: str, project: str, **options: Any) -> Trouble:
    """Why the command did nothing; all of the batch is as it was."""
    before = {path: path.read_bytes() for path in (bench.state / "jobs").iterdir()}
    receipts = {path: path.read_bytes() for path in bench.data.rglob("*.jsonl")}
    with pytest.raises(Trouble) as caught:
        await adopted(bench, dub, project, **options)
    assert {path: path.read_bytes() for path in (bench.state / "jobs").iterdir()} == before
    assert {path: path.read_bytes() for path in bench.data.rglob("*.jsonl")} == receipts
    return caught.value


def only_project(bench: Bench) -> str:
    (project,) = bench.sandbox.state.projects
    return project


async def lost(bench: Bench, *targets: str) -> str:
    """The answer to the request for `intro.mp4` was lost: only the service knows its project, which is returned."""
    assert (await bench.run(bench.video("intro.mp4"), targets=targets or (FR, ES))).code == 1
    return only_project(bench)


async def test_an_unknown_dub_is_downloaded_from_the_project_that_the_user_names(make_bench: MakeBench) -> None:
    bench = make_bench(faults=(LOST,))
    project = await lost(bench)
    assert await adopted(bench, f"intro.mp4:{FR}", f"https://app.synthesia.io/dubbing/{project}") == 0
    result = await bench.run()
    assert result.states("intro.mp4") == {FR: "done", ES: "unknown"}
    assert bench.billed == 2


async def test_another_batch_knows_what_was_adopted(make_bench: MakeBench) -> None:
    bench = make_bench(faults=(LOST,))
    await adopted(bench, f"intro.mp4:{FR}", await lost(bench, FR))
    shutil.rmtree(bench.state)
    result = await bench.run(bench.videos / "intro.mp4", targets=(FR,))
    assert (result.code, result.states("intro.mp4"), bench.billed) == (0, {FR: "done"}, 1)


async def test_a_dub_that_was_cancelled_goes_on(make_bench: MakeBench) -> None:
    bench = make_bench(faults=(LOST,))
    project = await lost(bench, FR)
    await asyncio.to_thread(cancel, settings_of(bench), ["intro.mp4"])
    await adopted(bench, f"intro.mp4:{FR}", project)
    assert ((await bench.run()).code, bench.billed) == (0, 1)


async def test_a_dub_that_failed_follows_what_was_made_in_studio(make_bench: MakeBench) -> None:
    bench = make_bench(failures=(Failure(languages=(FR,), times=1),))
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    await bench.run(bench.video("other.mp4"), targets=(FR,))
    (project,) = [each.id for each in bench.sandbox.state.projects.values() if "other" in each.title]
    await adopted(bench, f"intro.mp4:{FR}", project)
    result = await bench.run()
    assert (result.states("intro.mp4"), bench.billed) == ({FR: "done"}, 2)


async def test_a_dub_that_was_never_sent_is_not_sent_any_more(bench: Bench) -> None:
    await bench.run(bench.video("other.mp4"), targets=(FR,))
    project = only_project(bench)
    async with Working(bench, targets=(FR,)) as runner:
        await runner.pause(True)
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
    await adopted(bench, f"intro.mp4:{FR}", project)
    result = await bench.run(resume=True)
    assert (result.states("intro.mp4"), bench.billed) == ({FR: "done"}, 1)
    assert bench.calls("POST /v2/assets") == 1


# -- through a runner ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def unknown_at_work(bench: Bench) -> AsyncIterator[Any]:
    """A runner with a socket, whose only dub is unknown."""
    async with Working(bench, targets=(FR,)) as runner, attached(runner):
        await runner.add([str(bench.video("intro.mp4"))], runner.settings.batch)
        await asyncio.wait_for(runner.idle.wait(), 30)
        yield runner


async def test_the_runner_that_works_follows_and_downloads_it(make_bench: MakeBench) -> None:
    bench = make_bench(faults=(LOST,))
    async with unknown_at_work(bench) as runner:
        assert await adopted(bench, f"intro.mp4:{FR}", only_project(bench)) == 0
        await asyncio.wait_for(runner.idle.wait(), 30)
    assert [dub.state for job in bench.jobs() for dub in job.dubs.values()] == ["done"]
    assert bench.billed == 1
    shutil.rmtree(bench.state)
    assert ((await bench.run(bench.videos / "intro.mp4", targets=(FR,))).code, bench.billed) == (0, 1)


@pytest.mark.parametrize(
    ("dub", "project", "code"),
    [
        (f"intro.mp4:{FR}", NOBODYS, "adopt_unknown_project"),
        (f"intro.mp4:{FR}", "intro", "adopt_no_id"),
        (f"intro.mp4:{ES}", NOBODYS, "no_such_job"),
    ],
)
async def test_what_a_runner_cannot_adopt_changes_nothing(make_bench: MakeBench, dub: str, project: str, code: str) -> None:
    bench = make_bench(faults=(LOST,))
    async with unknown_at_work(bench):
        assert (await refused(bench, dub, project)).code == code


async def test_a_dub_that_was_removed_while_the_service_was_asked_does_not_come_back(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(faults=(LOST,))
    look = adopt_project.look
    async with unknown_at_work(bench) as runner:
        (job,) = runner.ledger.jobs.values()

        async def meanwhile(client: Client, project: str) -> ProjectSeen:
            runner.ledger.remove(job.id)
            return await look(client, project)

        monkeypatch.setattr(adopt_project, "look", meanwhile)
        with pytest.raises(Trouble, match="No such file or dub"):
            await runner.adopt(Cell(job.id, FR), only_project(bench))
        assert not runner.ledger.jobs


@pytest.mark.parametrize("at_work", [True, False], ids=["through a runner", "without a runner"])
async def test_what_is_adopted_is_claimed_until_it_is_done(make_bench: MakeBench, at_work: bool) -> None:
    bench = make_bench(faults=(LOST,), dubbing_seconds=(3600.0, 3600.0))
    project = await lost(bench, FR)
    await asyncio.to_thread(cancel, settings_of(bench), ["intro.mp4"])
    claims = bench.videos / FOLDER
    await until(lambda: not claims.exists())
    async with AsyncExitStack() as stack:
        if at_work:
            await stack.enter_async_context(attached(await stack.enter_async_context(Working(bench, targets=(FR,)))))
        await adopted(bench, f"intro.mp4:{FR}", project)
        (claim,) = claims.iterdir()
        assert str(bench.state) in claim.read_text()
    bench.sandbox.advance(3600.0)
    assert ((await bench.run()).code, claims.exists(), bench.billed) == (0, False, 1)


# -- what cannot be adopted ------------------------------------------------------------------------------------------


async def test_a_project_without_the_language_says_what_it_lists(make_bench: MakeBench) -> None:
    bench = make_bench(faults=(LOST,))
    project = await lost(bench)
    bench.sandbox.state.projects[project].dubs.pop(FR)
    bench.sandbox.advance(10.0)
    trouble = await refused(bench, f"intro.mp4:{FR}", project)
    assert (trouble.code, trouble.detail) == ("adopt_not_listed", "fr-FR; it lists es-ES complete")


async def test_a_language_that_failed_there_is_not_followed(make_bench: MakeBench) -> None:
    bench = make_bench(faults=(LOST,), failures=(Failure(languages=(FR,)),))
    project = await lost(bench)
    bench.sandbox.advance(10.0)
    assert (await refused(bench, f"intro.mp4:{FR}", project)).code == "adopt_failed"


async def test_a_dub_that_is_done_is_left(bench: Bench) -> None:
    await bench.run(bench.video("intro.mp4"), targets=(FR,))
    trouble = await refused(bench, f"intro.mp4:{FR}", only_project(bench))
    assert (trouble.code, trouble.detail) == ("adopt_not_needed", "done")


@pytest.mark.parametrize(("key", "code"), [("", "no_key"), ("not-the-key", "key_rejected")])
async def test_without_a_good_key_nothing_is_adopted(make_bench: MakeBench, key: str, code: str) -> None:
    bench = make_bench(faults=(LOST,))
    project = await lost(bench)
    assert (await refused(bench, f"intro.mp4:{FR}", project, key=key)).code == code


async def test_a_service_that_is_down_is_asked_a_few_times_and_told(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopt_project, "PAUSES", (0.0, 0.0))
    bench = make_bench(faults=(LOST,))
    project = await lost(bench)
    bench.sandbox.inject(Fault("GET /v2/dubbing/{id}", "status", status=503))
    assert (await refused(bench, f"intro.mp4:{FR}", project)).code == "adopt_unanswered"
    bench.sandbox.clear_faults()
    bench.sandbox.inject(Fault("GET /v2/dubbing/{id}", "status", status=503, count=2))
    assert await adopted(bench, f"intro.mp4:{FR}", project) == 0


async def test_a_file_that_several_folders_have_is_not_guessed(
    make_bench: MakeBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = make_bench(faults=(LOST,))
    await bench.run(bench.video("a/intro.mp4"), targets=(FR,))
    await bench.run(bench.video("b/intro.mp4", 3000), targets=(FR,))
    assert (await refused(bench, f"intro.mp4:{FR}", NOBODYS)).code == "name_ambiguous"
    assert "a/intro.mp4" in capsys.readouterr().err


async def test_a_file_without_its_language_is_answered_with_the_dubs_it_has(make_bench: MakeBench) -> None:
    bench = make_bench(faults=(LOST,))
    project = await lost(bench)
    trouble = await refused(bench, "intro.mp4", project)
    assert trouble.code == "not_one_dub"
    names = trouble.detail.split(", ")
    assert len(names) == 2
    assert await adopted(bench, names[0], project) == 0


async def test_a_dub_of_an_earlier_version_is_no_receipt_for_the_present_one(make_bench: MakeBench) -> None:
    bench = make_bench(faults=(LOST,))
    project = await lost(bench, FR)
    video = bench.video("intro.mp4", 5000)
    await bench.run(video, targets=(ES,))  # the new version has one language, and the other is of the old one
    billed = bench.billed
    await adopted(bench, f"intro.mp4:{FR}", project)
    assert (await bench.run()).states("intro.mp4") == {FR: "done", ES: "done"}
    shutil.rmtree(bench.state)
    for output in bench.videos.glob("*.dubbed-*"):
        output.unlink()
    await bench.run(video, targets=(FR,))
    assert bench.billed == billed + 1
