"""Records all scenes of one tree."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.behaviour_snapshot import batch, commands, pictures, runner_socket
from tests.behaviour_snapshot.album import SnapshotFolder
from tests.behaviour_snapshot.product import require_product_of_this_tree

SNAPSHOT_ROOT: Final = Path(f"/tmp/synthdub-snapshot-{os.getuid()}")
"""Where the product works. Always the same, since ids of jobs and widths of lines depend on it."""

RECORDERS: Final[dict[str, Callable[[SnapshotFolder, Path], None]]] = {
    "commands": commands.record_commands,
    "batch": batch.record_batch,
    "socket": runner_socket.record_socket,
    "pictures": pictures.record_pictures,
}


def record_snapshot(folder: Path, only: tuple[str, ...] = ()) -> None:
    """Write these scenes, or all, into a new folder. They work at the same time, each in a home of its own."""
    require_product_of_this_tree()
    folder.mkdir(parents=True)
    with _exclusive_root() as root, ThreadPoolExecutor(len(RECORDERS)) as pool:
        started = {
            name: pool.submit(scene, SnapshotFolder(folder / name), root / name)
            for name, scene in RECORDERS.items()
            if not only or name in only
        }
        for scene in started.values():
            scene.result()


@contextmanager
def _exclusive_root() -> Iterator[Path]:
    """An empty ROOT, once no other recording uses it."""
    with open(f"{SNAPSHOT_ROOT}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(SNAPSHOT_ROOT, ignore_errors=True)
        SNAPSHOT_ROOT.mkdir(mode=0o700)
        try:
            yield SNAPSHOT_ROOT
        finally:
            shutil.rmtree(SNAPSHOT_ROOT, ignore_errors=True)
