"""Libraries as they are on network storage: only what is meant is paid for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.commands import status as status_module
from synthdub_tui.errors import Trouble
from synthdub_tui.settings.resolve import resolve
from tests.runner.conftest import Bench

COPIES = (
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
def library(bench: Bench) -> Path:
    """Two videos and 18 other files that look like some."""
    for name in ("intro.mp4", "course/outro.mov", *COPIES):
        bench.video(name)
    (bench.videos / "a link.mp4").symlink_to(bench.videos / "intro.mp4")
    (bench.videos / "hard.mp4").hardlink_to(bench.videos / "intro.mp4")
    return bench.videos


def status_of(bench: Bench, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    import json

    status_module.status(resolve({"state_dir": str(bench.state), "config": "/dev/null"}, {}), as_json=True)
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


async def test_a_library_with_bins_snapshots_copies_and_links_pays_for_its_videos_alone(
    bench: Bench, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = await bench.run(library)
    assert (result.code, result.summary["jobs"], bench.billed) == (0, 2, 4)
    assert sorted(result.jobs) == ["hard.mp4", "outro.mov"]
    skipped = result.summary["skipped"]
    assert sum(row["count"] for row in skipped["folders"]) == 18
    counted = {(os.path.relpath(row["folder"], library), row["why"]): row["count"] for row in skipped["folders"]}
    assert counted[("#recycle", "reserved")] == 2
    assert counted[(".", "output_copy")] == 4
    assert {Path(names["file"]).name for names in skipped["same_files"]} == {"a link.mp4", "intro.mp4"}
    assert status_of(bench, capsys)["skipped"] == skipped
    again = await bench.run(library)
    assert (again.code, bench.billed) == (0, 4)


async def test_another_name_of_a_file_gets_its_languages_from_the_job_that_there_is(bench: Bench) -> None:
    bench.video("store/a.mp4")
    (bench.videos / "farm").mkdir()
    (bench.videos / "farm/b.mp4").hardlink_to(bench.videos / "store/a.mp4")
    assert (await bench.run(bench.videos / "store", targets=("fr-FR",))).code == 0
    assert (await bench.run(bench.videos / "farm", targets=("fr-FR",))).code == 0
    assert bench.billed == 1
    result = await bench.run(bench.videos / "farm", targets=("fr-FR", "de-DE"))
    assert (result.code, list(result.jobs), bench.billed) == (0, ["a.mp4"], 2)
    assert result.states("a.mp4") == {"fr-FR": "done", "de-DE": "done"}


async def test_a_folder_of_nothing_but_copies_says_what_was_left_out(bench: Bench) -> None:
    bench.video("#recycle/a.mp4")
    with pytest.raises(Trouble) as caught:
        await bench.run(bench.videos)
    assert caught.value.code == "nothing_found"
    assert "#recycle 1" in caught.value.detail


async def test_excluded_and_hidden_names_follow_the_options(bench: Bench) -> None:
    for name in ("a.mp4", "drafts/b.mp4", ".c.mp4"):
        bench.video(name)
    result = await bench.run(bench.videos, targets=("fr-FR",), exclude=["drafts"], include_hidden=True)
    assert sorted(result.jobs) == [".c.mp4", "a.mp4"]
