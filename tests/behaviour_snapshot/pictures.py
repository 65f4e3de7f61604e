"""The pictures of the dashboard, as the screenshots in the repository are drawn."""

from __future__ import annotations

from pathlib import Path

from tests.behaviour_snapshot.album import Album
from tests.screenshots import draw


def record(album: Album, root: Path) -> None:
    """Each picture."""
    del root  # they are drawn in a place of their own
    for name, svg in draw().items():
        album.write(name, svg)
