"""The pictures of the dashboard, as the screenshots in the repository are drawn."""

from __future__ import annotations

from pathlib import Path

from tests.behaviour_snapshot.album import SnapshotFolder
from tests.screenshots import draw_all


def record_pictures(snapshots: SnapshotFolder, root: Path) -> None:
    """Each picture."""
    del root  # they are drawn in a place of their own
    for name, svg in draw_all().items():
        snapshots.write(name, svg)
