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
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import DubRef
from synthdub_tui.jobs.model import ObservedProject
from synthdub_tui.runner import adopt_project
from synthdub_tui.sandbox.config import Fault, SimulatedFailure
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.store.claim_files import CLAIMS_FOLDER
from synthdub_tui.synthesia.client import SynthesiaClient
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.runner.runner_in_loop import RunningRunner
from tests.runner.socket_client import connect_client
from tests.waiting import until

FR, ES = "fr-FR", "es-ES"
LOST_POST_ANSWER = Fault("POST /v2/dubbing", "reset_after", count=1)
UNRELATED_PROJECT = "0f5b2c1e-7d0a-4c3b-9a58-2f1d6e7b8c90"


def workspace_settings(bench: Workspace, key: str | None = None, **options: Any) -> Settings:
    environment = {"SYNTHESIA_API_KEY": bench.sandbox.api_key if key is None else key}
    return resolve_settings(bench.settings_flags(**options), environment)


async def adopt_dub(bench: Workspace, dub: str, project: str, **options: Any) -> int:
    """As the command does, which has a loop of its own."""
    return await asyncio.to_thread(adopt, workspace_settings(bench, **options), dub, project)


async def adoption_error(bench: Workspace, dub: str, project: str, **options: Any) -> ProblemError:
    """Why the command did nothing; all of the batch is as it was."""
    before = {path: path.read_bytes() for path in (bench.state / "jobs").iterdir()}
    receipts = {path: path.read_bytes() for path in bench.data.rglob("*.jsonl")}
    with pytest.raises(ProblemError) as caught:
        await adopt_dub(bench, dub, project, **options)
    assert {path: path.read_bytes() for path in (bench.state / "jobs").iterdir()} == before
    assert {path: path.read_bytes() for path in bench.data.rglob("*.jsonl")} == receipts
    return caught.value


def only_project(bench: Workspace) -> str:
    (project,) = bench.sandbox.state.projects
    return project


async def run_with_lost_answer(bench: Workspace, *targets: str) -> str:
    """The answer to the request for `intro.mp4` was lost: only the service knows its project, which is returned."""
    assert (await bench.run(bench.write_video("intro.mp4"), targets=targets or (FR, ES))).exit_code == 1
    return only_project(bench)


async def test_an_unknown_dub_is_downloaded_from_the_project_that_the_user_names(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    project = await run_with_lost_answer(bench)
    assert await adopt_dub(bench, f"intro.mp4:{FR}", f"https://app.synthesia.io/dubbing/{project}") == 0
    result = await bench.run()
    assert result.states("intro.mp4") == {FR: "done", ES: "unknown"}
    assert bench.billed_dubs == 2


async def test_another_batch_knows_what_was_adopted(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    await adopt_dub(bench, f"intro.mp4:{FR}", await run_with_lost_answer(bench, FR))
    shutil.rmtree(bench.state)
    result = await bench.run(bench.videos / "intro.mp4", targets=(FR,))
    assert (result.exit_code, result.states("intro.mp4"), bench.billed_dubs) == (0, {FR: "done"}, 1)


async def test_a_dub_that_was_cancelled_goes_on(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    project = await run_with_lost_answer(bench, FR)
    await asyncio.to_thread(cancel, workspace_settings(bench), ["intro.mp4"])
    await adopt_dub(bench, f"intro.mp4:{FR}", project)
    assert ((await bench.run()).exit_code, bench.billed_dubs) == (0, 1)


async def test_a_dub_that_failed_follows_what_was_made_in_studio(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(languages=(FR,), times=1),))
    await bench.run(bench.write_video("intro.mp4"), targets=(FR,))
    await bench.run(bench.write_video("other.mp4"), targets=(FR,))
    (project,) = [each.id for each in bench.sandbox.state.projects.values() if "other" in each.title]
    await adopt_dub(bench, f"intro.mp4:{FR}", project)
    result = await bench.run()
    assert (result.states("intro.mp4"), bench.billed_dubs) == ({FR: "done"}, 2)


async def test_a_dub_that_was_never_sent_is_not_sent_any_more(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("other.mp4"), targets=(FR,))
    project = only_project(workspace)
    async with RunningRunner(workspace, targets=(FR,)) as runner:
        await runner.pause(True)
        await runner.add([str(workspace.write_video("intro.mp4"))], runner.settings.batch)
    await adopt_dub(workspace, f"intro.mp4:{FR}", project)
    result = await workspace.run(resume=True)
    assert (result.states("intro.mp4"), workspace.billed_dubs) == ({FR: "done"}, 1)
    assert workspace.count_calls("POST /v2/assets") == 1


# -- through a runner ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def runner_with_unknown_dub(bench: Workspace) -> AsyncIterator[Any]:
    """A runner with a socket, whose only dub is unknown."""
    async with RunningRunner(bench, targets=(FR,)) as runner, connect_client(runner):
        await runner.add([str(bench.write_video("intro.mp4"))], runner.settings.batch)
        await asyncio.wait_for(runner.idle.wait(), 30)
        yield runner


async def test_the_runner_that_works_follows_and_downloads_it(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    async with runner_with_unknown_dub(bench) as runner:
        assert await adopt_dub(bench, f"intro.mp4:{FR}", only_project(bench)) == 0
        await asyncio.wait_for(runner.idle.wait(), 30)
    assert [dub.state for job in bench.jobs() for dub in job.dubs.values()] == ["done"]
    assert bench.billed_dubs == 1
    shutil.rmtree(bench.state)
    assert ((await bench.run(bench.videos / "intro.mp4", targets=(FR,))).exit_code, bench.billed_dubs) == (0, 1)


@pytest.mark.parametrize(
    ("dub", "project", "code"),
    [
        (f"intro.mp4:{FR}", UNRELATED_PROJECT, "adopt_unknown_project"),
        (f"intro.mp4:{FR}", "intro", "adopt_no_id"),
        (f"intro.mp4:{ES}", UNRELATED_PROJECT, "no_such_job"),
    ],
)
async def test_what_a_runner_cannot_adopt_changes_nothing(
    make_workspace: MakeWorkspace, dub: str, project: str, code: str
) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    async with runner_with_unknown_dub(bench):
        assert (await adoption_error(bench, dub, project)).code == code


async def test_a_dub_that_was_removed_while_the_service_was_asked_does_not_come_back(
    make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    look = adopt_project.get_project
    async with runner_with_unknown_dub(bench) as runner:
        (job,) = runner.live_jobs.jobs.values()

        async def meanwhile(client: SynthesiaClient, project: str) -> ObservedProject:
            runner.live_jobs.remove(job.id)
            return await look(client, project)

        monkeypatch.setattr(adopt_project, "get_project", meanwhile)
        with pytest.raises(ProblemError, match="No such file or dub"):
            await runner.adopt(DubRef(job.id, FR), only_project(bench))
        assert not runner.live_jobs.jobs


@pytest.mark.parametrize("at_work", [True, False], ids=["through a runner", "without a runner"])
async def test_what_is_adopted_is_claimed_until_it_is_done(make_workspace: MakeWorkspace, at_work: bool) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,), dubbing_seconds=(3600.0, 3600.0))
    project = await run_with_lost_answer(bench, FR)
    await asyncio.to_thread(cancel, workspace_settings(bench), ["intro.mp4"])
    claims = bench.videos / CLAIMS_FOLDER
    await until(lambda: not claims.exists())
    async with AsyncExitStack() as stack:
        if at_work:
            await stack.enter_async_context(
                connect_client(await stack.enter_async_context(RunningRunner(bench, targets=(FR,))))
            )
        await adopt_dub(bench, f"intro.mp4:{FR}", project)
        (claim,) = claims.iterdir()
        assert str(bench.state) in claim.read_text()
    bench.sandbox.advance(3600.0)
    assert ((await bench.run()).exit_code, claims.exists(), bench.billed_dubs) == (0, False, 1)


# -- what cannot be adopted ------------------------------------------------------------------------------------------


async def test_a_project_without_the_language_says_what_it_lists(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    project = await run_with_lost_answer(bench)
    bench.sandbox.state.projects[project].dubs.pop(FR)
    bench.sandbox.advance(10.0)
    trouble = await adoption_error(bench, f"intro.mp4:{FR}", project)
    assert (trouble.code, trouble.detail) == ("adopt_not_listed", "fr-FR; it lists es-ES complete")


async def test_a_language_that_failed_there_is_not_followed(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,), failures=(SimulatedFailure(languages=(FR,)),))
    project = await run_with_lost_answer(bench)
    bench.sandbox.advance(10.0)
    assert (await adoption_error(bench, f"intro.mp4:{FR}", project)).code == "adopt_failed"


async def test_a_dub_that_is_done_is_left(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("intro.mp4"), targets=(FR,))
    trouble = await adoption_error(workspace, f"intro.mp4:{FR}", only_project(workspace))
    assert (trouble.code, trouble.detail) == ("adopt_not_needed", "done")


@pytest.mark.parametrize(("key", "code"), [("", "no_key"), ("not-the-key", "key_rejected")])
async def test_without_a_good_key_nothing_is_adopted(make_workspace: MakeWorkspace, key: str, code: str) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    project = await run_with_lost_answer(bench)
    assert (await adoption_error(bench, f"intro.mp4:{FR}", project, key=key)).code == code


async def test_a_service_that_is_down_is_asked_a_few_times_and_told(
    make_workspace: MakeWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopt_project, "RETRY_DELAYS_SECONDS", (0.0, 0.0))
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    project = await run_with_lost_answer(bench)
    bench.sandbox.inject(Fault("GET /v2/dubbing/{id}", "status", status=503))
    assert (await adoption_error(bench, f"intro.mp4:{FR}", project)).code == "adopt_unanswered"
    bench.sandbox.clear_faults()
    bench.sandbox.inject(Fault("GET /v2/dubbing/{id}", "status", status=503, count=2))
    assert await adopt_dub(bench, f"intro.mp4:{FR}", project) == 0


async def test_a_file_that_several_folders_have_is_not_guessed(
    make_workspace: MakeWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    await bench.run(bench.write_video("a/intro.mp4"), targets=(FR,))
    await bench.run(bench.write_video("b/intro.mp4", 3000), targets=(FR,))
    assert (await adoption_error(bench, f"intro.mp4:{FR}", UNRELATED_PROJECT)).code == "name_ambiguous"
    assert "a/intro.mp4" in capsys.readouterr().err


async def test_a_file_without_its_language_is_answered_with_the_dubs_it_has(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    project = await run_with_lost_answer(bench)
    trouble = await adoption_error(bench, "intro.mp4", project)
    assert trouble.code == "not_one_dub"
    names = trouble.detail.split(", ")
    assert len(names) == 2
    assert await adopt_dub(bench, names[0], project) == 0


async def test_a_dub_of_an_earlier_version_is_no_receipt_for_the_present_one(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(LOST_POST_ANSWER,))
    project = await run_with_lost_answer(bench, FR)
    video = bench.write_video("intro.mp4", 5000)
    await bench.run(video, targets=(ES,))  # the new version has one language, and the other is of the old one
    billed = bench.billed_dubs
    await adopt_dub(bench, f"intro.mp4:{FR}", project)
    assert (await bench.run()).states("intro.mp4") == {FR: "done", ES: "done"}
    shutil.rmtree(bench.state)
    for output in bench.videos.glob("*.dubbed-*"):
        output.unlink()
    await bench.run(video, targets=(FR,))
    assert bench.billed_dubs == billed + 1
