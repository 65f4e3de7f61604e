"""Batches on a volume of exFAT, as users have them on USB drives: sources, outputs and the state directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.problems import Trouble
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings import resolve
from tests.proofs.exfat import Volume
from tests.proofs.harness import flags, scene

MakeVolume = Callable[..., Volume]
ONE: dict[str, Any] = {"targets": ("fr-FR",), "captions": False}


def codes(jobs: list[Any]) -> dict[str, str]:
    """How each dub ended, by the file's name; one language only."""
    return {job.name: dub.failure.code if dub.failure else dub.state.value for job in jobs for dub in job.dubs.values()}


async def test_what_the_volume_is(volume: Volume) -> None:
    """What these tests count on; a volume of another kind would prove little."""
    (volume.path / "Name").write_bytes(b"x")
    assert (volume.path / "nAME").exists()
    assert not os.path.samefile(volume.path / "Name", volume.path / "nAME")
    with pytest.raises(PermissionError):
        os.link(volume.path / "Name", volume.path / "link")
    assert (volume.path / "Name").stat().st_mtime_ns % 1_000_000_000 == 0


# -- case ----------------------------------------------------------------------------------------------------------------


async def test_a_file_named_in_another_way_is_the_same_file(tmp_path: Path, volume: Volume) -> None:
    (volume.path / "Talks").mkdir()
    async with scene(tmp_path) as stage:
        video = stage.video("Talks/Überblick.MP4")
        await stage.add(video, **ONE)
        await stage.ended()
        await stage.add(stage.videos / "talks" / "überblick.mp4", **ONE)
        await stage.add(stage.videos / "TALKS", **ONE)
        await stage.ended()
        assert [job.source.path for job in stage.jobs] == [str(video)]
        assert (codes(stage.jobs), len(stage.sandbox.billed())) == ({"Überblick.MP4": "done"}, 1)


async def test_one_runner_of_a_state_directory_by_whatever_spelling(tmp_path: Path, volume: Volume) -> None:
    (volume.path / "State").mkdir()
    async with scene(tmp_path) as stage:
        named = [
            resolve(flags(stage.sandbox, tmp_path, {"state_dir": str(volume.path / name)}), {}) for name in ("State", "sTATE")
        ]
        first, second = map(Runner, named)
        first.open()
        with pytest.raises(Trouble, match="Another runner"):
            second.open()
        assert await first.stop()
