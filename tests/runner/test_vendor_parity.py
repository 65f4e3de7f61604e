"""What the vendor's script can do, we can do: each ability by its name in the guide, end to end against the sandbox."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from synthdub_tui.errors import ProblemError
from synthdub_tui.sandbox.config import Fault, SimulatedFailure
from tests.runner.conftest import MakeWorkspace, Workspace
from tests.soak.virtual_days import LATENCY_RANGE_SECONDS, dub_state_counts, simulated_batch


async def test_single_file(workspace: Workspace) -> None:
    result = await workspace.run(workspace.write_video("intro.mp4"))
    assert result.exit_code == 0
    assert workspace.output_names() == [
        f"intro.dubbed-{language}.{ending}" for language in ("es-ES", "fr-FR") for ending in ("mp4", "srt", "vtt")
    ]


async def test_folder_recursive_by_default(workspace: Workspace) -> None:
    workspace.write_video("a.mp4"), workspace.write_video("deep/er/b.webm")
    result = await workspace.run(workspace.videos, targets=("fr-FR",))
    assert set(result.jobs) == {"a.mp4", "b.webm"}
    assert "deep/er/b.dubbed-fr-FR.mp4" in workspace.output_names()


async def test_folder_no_recursive(workspace: Workspace) -> None:
    workspace.write_video("a.mp4"), workspace.write_video("deep/b.webm")
    result = await workspace.run(workspace.videos, recursive=False)
    assert set(result.jobs) == {"a.mp4"}


async def test_media_types(workspace: Workspace) -> None:
    for name in ("a.mp4", "b.webm", "c.mov", "d.MP4", "e.qt"):
        workspace.write_video(name)
    workspace.write_video("notes.txt")
    result = await workspace.run(workspace.videos, targets=("fr-FR",))
    kinds = {name: job.source.content_type for name, job in result.jobs.items()}
    assert kinds == {
        "a.mp4": "video/mp4",
        "b.webm": "video/webm",
        "c.mov": "video/quicktime",
        "d.MP4": "video/mp4",
        "e.qt": "video/quicktime",
    }


async def test_targets_source_language_and_title_prefix(workspace: Workspace) -> None:
    await workspace.run(
        workspace.write_video("intro.mp4"), targets=("fr-FR", "pt-BR"), source_language="de", title="Onboarding"
    )
    (project,) = workspace.sandbox.state.projects.values()
    assert project.title == "Onboarding - intro"
    assert workspace.sandbox.billed_dubs() == [(project.id, "fr-FR"), (project.id, "pt-BR")]


async def test_title_defaults_to_the_file_name(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("intro.mp4"))
    (project,) = workspace.sandbox.state.projects.values()
    assert project.title == "intro"


async def test_small_upload_is_one_put_and_a_large_one_is_multipart(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("small.mp4"), targets=("fr-FR",))
    assert (workspace.count_calls("S3 PutObject"), workspace.count_calls("S3 CreateMultipartUpload")) == (1, 0)
    await workspace.run(workspace.write_video("large.mp4", 9 * 1024 * 1024), targets=("fr-FR",))
    assert (workspace.count_calls("S3 PutObject"), workspace.count_calls("S3 CompleteMultipartUpload")) == (1, 1)


async def test_fresh_addresses_on_403_and_404(make_workspace: MakeWorkspace) -> None:
    faults = tuple(Fault("download", "status", nth=(n,), status=status) for n, status in ((1, 403), (2, 404)))
    bench = make_workspace(faults=faults)
    result = await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",))
    assert result.exit_code == 0
    assert bench.count_calls("download") == 3
    assert bench.count_calls("GET /v2/dubbing/{id}") >= 3  # each refused address was replaced by asking again


async def test_expired_addresses_are_replaced(make_workspace: MakeWorkspace) -> None:
    """A second run finds the language ready, with no address in memory."""
    bench = make_workspace(faults=(Fault("download", "status", status=403),))
    assert (await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",))).exit_code == 1
    bench.sandbox.clear_faults()
    assert (await bench.run()).exit_code == 0
    assert bench.billed_dubs == 1


async def test_state_file_location(workspace: Workspace, tmp_path: Path) -> None:
    await workspace.run(workspace.write_video("intro.mp4"), state_dir=str(tmp_path / "elsewhere"))
    assert len(list((tmp_path / "elsewhere" / "jobs").glob("*.toml"))) == 1
    assert not workspace.state.exists()


async def test_second_run_sends_nothing(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    before = len(workspace.sandbox.journal)
    result = await workspace.run(video)
    assert (result.exit_code, len(workspace.sandbox.journal)) == (0, before)


async def test_force_new(workspace: Workspace) -> None:
    video = workspace.write_video("intro.mp4")
    await workspace.run(video)
    result = await workspace.run(video, force_new=True)
    assert result.exit_code == 0
    assert workspace.count_calls("POST /v2/assets") == workspace.count_calls("POST /v2/dubbing") == 2
    assert workspace.billed_dubs == 4


@pytest.mark.parametrize("seconds", [2.0, 60.0])
def test_poll_interval_is_the_least_time_between_polls(tmp_path: Path, seconds: float) -> None:
    """In virtual time: a busy machine may send one poll late and the next in time."""
    with simulated_batch(tmp_path, seed=1, files=1, least=seconds, dubbing=(600.0, 600.0)) as found:
        found.run_until(1)
        assert dub_state_counts(found.runner) == {"done": 1}
        polls = found.service.arrival_times()["GET /v2/dubbing/{id}"]
    assert len(polls) >= 5
    assert seconds - LATENCY_RANGE_SECONDS[1] < min(later - earlier for earlier, later in pairwise(polls)) < seconds + 10


async def test_other_files_go_on_after_a_failure(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(kind="project", title="bad"),))
    bench.write_video("bad.mp4"), bench.write_video("good.mp4")
    result = await bench.run(bench.videos)
    assert result.exit_code == 1
    assert result.states("good.mp4") == {"fr-FR": "done", "es-ES": "done"}
    assert result.states("bad.mp4") == {"fr-FR": "failed", "es-ES": "failed"}


async def test_summary(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(failures=(SimulatedFailure(languages=("es-ES",)),))
    result = await bench.run(bench.write_video("intro.mp4"))
    wanted = {"jobs": 1, "dubs": 2, "done": 1, "failed": 1, "cancelled": 0, "unknown": 0}
    assert {name: result.summary[name] for name in wanted} == wanted
    assert result.summary["seconds"] >= 0


async def test_corrupt_state_is_kept_as_a_backup(workspace: Workspace) -> None:
    await workspace.run(workspace.write_video("a.mp4"), workspace.write_video("b.mp4"), targets=("fr-FR",))
    (damaged,) = [path for path in (workspace.state / "jobs").iterdir() if path.name.startswith("a-")]
    damaged.write_bytes(b"\0rubbish")
    result = await workspace.run()
    assert result.exit_code == 0
    assert [problem[2] for problem in result.reported_problems()] == ["state_corrupt"]
    (kept,) = (workspace.state / "damaged").iterdir()
    assert kept.read_bytes() == b"\0rubbish"
    assert set(result.jobs) == {"b.mp4"}


async def test_what_was_paid_before_its_state_was_lost_is_paid_again_only_on_demand(workspace: Workspace) -> None:
    video, other = workspace.write_video("a.mp4"), workspace.write_video("b.mp4")
    await workspace.run(video, targets=("fr-FR",))
    (file,) = (workspace.state / "jobs").iterdir()
    file.write_bytes(b"")
    for _ in range(2):  # what is set aside is remembered as long as it lies there
        result = await workspace.run(video, other, targets=("fr-FR",))
        assert ("", "", "state_lost") in result.reported_problems()
        assert (set(result.jobs), workspace.billed_dubs) == ({"b.mp4"}, 2)
    for made in workspace.videos.glob("a.dubbed-*"):
        made.unlink()
    result = await workspace.run(video, targets=("fr-FR",), force_new=True)
    assert (result.states("a.mp4"), workspace.billed_dubs) == ({"fr-FR": "done"}, 3)


async def test_guide_style_answers(make_workspace: MakeWorkspace) -> None:
    """The guide's words (COMPLETE, dubbedVideos, locale, downloadUrl) work like the reference's."""
    bench = make_workspace(style="guide")
    assert (await bench.run(bench.write_video("intro.mp4"))).exit_code == 0


# -- the troubleshooting table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["reference", "guide"])
async def test_wrong_key_costs_one_request_and_stops_all(make_workspace: MakeWorkspace, style: str) -> None:
    bench = make_workspace(style=style)
    for number in range(5):
        bench.write_video(f"{number}.mp4")
    result = await bench.run(bench.videos, key="wrong")
    assert result.exit_code == 2
    assert len(bench.sandbox.journal) == 1
    assert [problem[2] for problem in result.reported_problems()] == ["key_rejected"]
    assert result.summary["failed"] == 0  # the dubs wait for the right key
    assert {job.stage.value for job in result.jobs.values()} == {"queued"}
    assert (await bench.run()).exit_code == 0


async def test_wrong_media_type(make_workspace: MakeWorkspace) -> None:
    bench = make_workspace(faults=(Fault("POST /v2/assets", "status", status=415, body="Unsupported Media Type"),))
    result = await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",))
    assert (result.exit_code, result.reported_problems()) == (1, [("intro.mp4", "fr-FR", "media_type")])


async def test_expired_credentials_make_a_new_asset(make_workspace: MakeWorkspace) -> None:
    fault = Fault("S3 PutObject", "status", count=1, status=400, content_type="application/xml", body=_s3_error("ExpiredToken"))
    bench = make_workspace(faults=(fault,))
    result = await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",))
    assert result.exit_code == 0
    assert bench.count_calls("POST /v2/assets") == 2


async def test_region_mismatch(make_workspace: MakeWorkspace) -> None:
    body = _s3_error("AuthorizationHeaderMalformed")
    bench = make_workspace(faults=(Fault("S3 *", "status", status=400, content_type="application/xml", body=body),))
    result = await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",))
    assert (result.exit_code, result.reported_problems()) == (1, [("intro.mp4", "fr-FR", "upload_region")])


async def test_polling_goes_on_while_complete_without_a_download_address(make_workspace: MakeWorkspace) -> None:
    fault = Fault("GET /v2/dubbing/{id}", "change", nth=(1, 2, 3), drop=("dubbedAssets.*.download",))
    bench = make_workspace(dubbing_seconds=(0.0, 0.0), faults=(fault,))
    assert (await bench.run(bench.write_video("intro.mp4"))).exit_code == 0
    assert bench.count_calls("GET /v2/dubbing/{id}") >= 4


async def test_unknown_project_fails_with_a_remedy(make_workspace: MakeWorkspace) -> None:
    fault = Fault("GET /v2/dubbing/{id}", "status", status=404, content_type="application/json", body='{"error": "Not found"}')
    bench = make_workspace(faults=(fault,))
    result = await bench.run(bench.write_video("intro.mp4"), targets=("fr-FR",))
    assert (result.exit_code, result.reported_problems()) == (1, [("intro.mp4", "fr-FR", "project_not_found")])


async def test_options_are_part_of_a_jobs_identity(workspace: Workspace) -> None:
    """Another title is another job; its output would overwrite the first one's, which is said before anything is sent."""
    video = workspace.write_video("intro.mp4")
    await workspace.run(video, targets=("fr-FR",))
    result = await workspace.run(video, targets=("fr-FR",), title="Other")
    assert (result.exit_code, result.reported_problems()) == (1, [("intro.mp4", "fr-FR", "output_claimed")])
    assert workspace.billed_dubs == 1
    elsewhere = str(workspace.videos / "other")
    assert (
        await workspace.run(video, targets=("fr-FR",), title="Third", output_dir=elsewhere)
    ).exit_code == 1  # the claimed one stays
    assert os.path.exists(f"{elsewhere}/intro.dubbed-fr-FR.mp4")


async def test_nothing_to_resume(workspace: Workspace) -> None:
    with pytest.raises(ProblemError, match="Nothing to do"):
        await workspace.run()


def _s3_error(code: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
