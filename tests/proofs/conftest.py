"""Fixtures shared by the proofs: the command line in processes of its own, and disks that are small or read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.conftest import make_shell, shell
from tests.proofs import exfat_volume

__all__ = ["make_shell", "shell"]


class SmallDisk:
    """A file system of its own. Needs root; tests that want one are skipped for others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._run_or_skip("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path))

    def remount(self, options: str) -> None:
        self._run_or_skip("mount", "-o", f"remount,{options}", str(self.path))

    def fill_up(self) -> Path:
        """A file that takes all the room that is left."""
        filler = self.path / "filler"
        handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
        for size in (65536, 4096, 1):
            try:
                while os.write(handle, b"x" * size):
                    pass
            except OSError:
                continue
        os.close(handle)
        return filler

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)

    def _run_or_skip(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file systems can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def make_small_disk() -> Iterator[Callable[[Path], SmallDisk]]:
    with ExitStack() as stack:

        def make(path: Path) -> SmallDisk:
            if os.geteuid():
                pytest.skip("only root can mount file systems")
            disk = SmallDisk(path)
            stack.callback(disk.unmount)
            return disk

        yield make


@pytest.fixture
def make_volume(tmp_path: Path) -> Iterator[Callable[..., exfat_volume.ExfatVolume]]:
    """`make_volume(path, size)`: a volume of exFAT; the test is skipped, with the reason, where there can be none."""
    with ExitStack() as stack:

        def make(path: Path, size: int = 64_000_000) -> exfat_volume.ExfatVolume:
            if reason := exfat_volume.why_unavailable():
                pytest.skip(reason)
            try:
                volume = exfat_volume.ExfatVolume(path, size)
            except exfat_volume.CannotMountError as error:
                pytest.skip(f"no exFAT can be mounted here: {error}")
            stack.callback(volume.delete)
            return volume

        yield make


@pytest.fixture
def videos_volume(tmp_path: Path, make_volume: Callable[..., exfat_volume.ExfatVolume]) -> exfat_volume.ExfatVolume:
    """A volume whose root is the folder of videos."""
    made = make_volume(tmp_path / "videos")
    return made
