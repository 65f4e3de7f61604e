"""The pictures in `screenshots/`: made from the demo's data, the same bytes at every run.

Each run draws in a process of its own, whose environment, clock and disk are made up, so that nothing of this machine shows.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

REPO_ROOT: Final = Path(__file__).parents[2]
SCREENSHOT_FOLDER: Final = REPO_ROOT / "screenshots"
MAX_DRAW_SECONDS: Final = 300

_DRAWN_BY: Final = re.compile(r"<!-- Drawn by .* -->")
_TEXT_ELEMENT: Final = re.compile(r'<text class="[^"]*-r\d+" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>')


def draw_all() -> dict[str, str]:
    """Every picture by its file name."""
    with tempfile.TemporaryDirectory(prefix="synthdub-pictures-") as place:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": place,
            "LANG": "C.UTF-8",
            "PYTHONUTF8": "1",
            "TZ": "UTC",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "TEXTUAL_ANIMATIONS": "none",
        }
        command = [sys.executable, "-m", "tests.screenshots.draw_screens", place]
        subprocess.run(command, cwd=REPO_ROOT, env=environment, check=True, timeout=MAX_DRAW_SECONDS, stdin=subprocess.DEVNULL)
        return {path.name: path.read_text("utf-8") for path in sorted(Path(place).glob("*.svg"))}


def outdated_names(drawn: dict[str, str]) -> list[str]:
    """Names of stored pictures that differ from these, are missing, or are of no screen any more."""
    stored = {path.name: path.read_text("utf-8") for path in SCREENSHOT_FOLDER.glob("*.svg")}
    alike = {name for name in stored.keys() & drawn.keys() if _is_same_picture(stored[name], drawn[name])}
    return sorted((stored.keys() | drawn.keys()) - alike)


def store_pictures(drawn: dict[str, str]) -> None:
    """Write what differs, and remove pictures of no screen."""
    SCREENSHOT_FOLDER.mkdir(exist_ok=True)
    for name in outdated_names(drawn):
        path = SCREENSHOT_FOLDER / name
        if name in drawn:
            path.write_text(drawn[name], "utf-8")
        else:
            path.unlink()


def _is_same_picture(stored: str, drawn: str) -> bool:
    """Byte for byte; but where another Textual or Rich drew the stored one, its shades and shapes may differ, the words not."""
    if stored == drawn:
        return True
    before, after = _DRAWN_BY.search(stored), _DRAWN_BY.search(drawn)
    if before is None or after is None or before[0] == after[0]:
        return False
    return text_lines(stored) == text_lines(drawn)


def text_lines(picture: str) -> list[str]:
    """What stands in each line of the terminal."""
    lines: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in _TEXT_ELEMENT.findall(picture):
        lines.setdefault(float(y), []).append((float(x), text.replace("&#160;", " ")))
    joined = [" ".join(text for _, text in sorted(line)) for _, line in sorted(lines.items())]
    return [" ".join(line.split()) for line in joined]
