"""Libraries as they are on network storage: only what is meant is paid for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.commands import status as status_module
from synthdub_tui.errors import ProblemError
from synthdub_tui.settings.resolve import resolve_settings
from tests.runner.conftest import Workspace

COPY_PATHS = (
    "#recycle/old.mp4",
    "#recycle/course/a.mp4",
    "@Recycle/b.mp4",
    ".Trash-1000/files/c.mp4",
    ".snapshot/daily.0/intro.mp4",
    ".snapshot/daily.1/intro.mp4",
    "@eaDir/intro.mp4/SYNOVIDEO_FILM.mp4",
    "$RECYCLE.BIN/S-1-5-21/$R1.mp4",
    ".stversions/intro~20261130-101010.mp4",
    "System Volume Information/x.mov",
    "intro.dubbed-fr-FR (1).mp4",
    "intro.dubbed-fr-FR - Copy.mp4",
    "Copy of intro.dubbed-fr-FR.mp4",
    "intro.dubbed-fr-FR.sync-conflict-20261130-101010-ABCDEFG.mp4",
    "intro.dubbed-fr-FR (conflicted copy 2026-11-30).mp4",
    ".hidden.mp4",
)


@pytest.fixture
def library_folder(workspace: Workspace) -> Path:
    """Two videos and 18 other files that look like some."""
    for name in ("intro.mp4", "course/outro.mov", *COPY_PATHS):
        workspace.write_video(name)
    (workspace.videos / "a link.mp4").symlink_to(workspace.videos / "intro.mp4")
    (workspace.videos / "hard.mp4").hardlink_to(workspace.videos / "intro.mp4")
    return workspace.videos


def status_output(bench: Workspace, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    import json

    status_module.status(resolve_settings({"state_dir": str(bench.state), "config": "/dev/null"}, {}), as_json=True)
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


async def test_a_library_with_bins_snapshots_copies_and_links_pays_for_its_videos_alone(
    workspace: Workspace, library_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await workspace.run(library_folder)
    assert (result.exit_code, result.summary["jobs"], workspace.billed_dubs) == (0, 2, 4)
    assert sorted(result.jobs) == ["hard.mp4", "outro.mov"]
    skipped = result.summary["skipped"]
    assert sum(row["count"] for row in skipped["folders"]) == 18
    counted = {(os.path.relpath(row["folder"], library_folder), row["why"]): row["count"] for row in skipped["folders"]}
    assert counted[("#recycle", "reserved")] == 2
    assert counted[(".", "output_copy")] == 4
    assert {Path(names["file"]).name for names in skipped["same_files"]} == {"a link.mp4", "intro.mp4"}
    assert status_output(workspace, capsys)["skipped"] == skipped
    again = await workspace.run(library_folder)
    assert (again.exit_code, workspace.billed_dubs) == (0, 4)


async def test_another_name_of_a_file_gets_its_languages_from_the_job_that_there_is(workspace: Workspace) -> None:
    workspace.write_video("store/a.mp4")
    (workspace.videos / "farm").mkdir()
    (workspace.videos / "farm/b.mp4").hardlink_to(workspace.videos / "store/a.mp4")
    assert (await workspace.run(workspace.videos / "store", targets=("fr-FR",))).exit_code == 0
    assert (await workspace.run(workspace.videos / "farm", targets=("fr-FR",))).exit_code == 0
    assert workspace.billed_dubs == 1
    result = await workspace.run(workspace.videos / "farm", targets=("fr-FR", "de-DE"))
    assert (result.exit_code, list(result.jobs), workspace.billed_dubs) == (0, ["a.mp4"], 2)
    assert result.states("a.mp4") == {"fr-FR": "done", "de-DE": "done"}


async def test_a_folder_of_nothing_but_copies_says_what_was_left_out(workspace: Workspace) -> None:
    workspace.write_video("#recycle/a.mp4")
    with pytest.raises(ProblemError) as caught:
        await workspace.run(workspace.videos)
    assert caught.value.code == "nothing_found"
    assert "#recycle 1" in caught.value.detail


async def test_excluded_and_hidden_names_follow_the_options(workspace: Workspace) -> None:
    for name in ("a.mp4", "drafts/b.mp4", ".c.mp4"):
        workspace.write_video(name)
    result = await workspace.run(workspace.videos, targets=("fr-FR",), exclude=["drafts"], include_hidden=True)
    assert sorted(result.jobs) == [".c.mp4", "a.mp4"]
