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
from tests.behaviour_snapshot.album import Album
from tests.behaviour_snapshot.product import check_product_is_of_this_tree

ROOT: Final = Path(f"/tmp/synthdub-snapshot-{os.getuid()}")
"""Where the product works. Always the same, since ids of jobs and widths of lines depend on it."""

SCENES: Final[dict[str, Callable[[Album, Path], None]]] = {
    "commands": commands.record,
    "batch": batch.record,
    "socket": runner_socket.record,
    "pictures": pictures.record,
}


def record(folder: Path, only: tuple[str, ...] = ()) -> None:
    """Write these scenes, or all, into a new folder. They work at the same time, each in a home of its own."""
    check_product_is_of_this_tree()
    folder.mkdir(parents=True)
    with _alone() as root, ThreadPoolExecutor(len(SCENES)) as pool:
        started = {
            name: pool.submit(scene, Album(folder / name), root / name)
            for name, scene in SCENES.items()
            if not only or name in only
        }
        for scene in started.values():
            scene.result()


@contextmanager
def _alone() -> Iterator[Path]:
    """An empty ROOT, once no other recording uses it."""
    with open(f"{ROOT}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(ROOT, ignore_errors=True)
        ROOT.mkdir(mode=0o700)
        try:
            yield ROOT
        finally:
            shutil.rmtree(ROOT, ignore_errors=True)
