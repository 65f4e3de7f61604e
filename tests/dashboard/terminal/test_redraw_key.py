"""ctrl+l draws everything anew, whatever others wrote on the terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from pyte.screens import Char

from synthdub_tui.jobs.model import DubState
from tests.dashboard.fake_runner import LANGUAGES, FakeRunner, make_job
from tests.dashboard.opened_dashboard import until
from tests.dashboard.pseudo_terminal import PLAY, Terminal
from tests.dashboard.terminal_emulator import Emulator

STOCK = """\
from synthdub_tui.dashboard.terminal import renderer
from tests.dashboard import run_on_fake_runner
renderer._surface_is_known = lambda app: False
run_on_fake_runner.main()
"""
"""A dashboard with a Textual that the painter does not know."""

WALL = "\x1b[3;1H\r\n\x1b[7mBroadcast message from root: the system will be halted\r\n\r\n\x1b[12;20H\x1b[1;31m#######\x1b[m"
SIZE = (100, 30)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def undisturbed(terminal: Terminal) -> list[list[Char]]:
    """What a terminal shows that got the same output, but upon which nobody else wrote."""
    emulator = Emulator(*SIZE)
    emulator.feed(terminal.output.decode())
    return emulator.shows()


@pytest.mark.parametrize("command", [PLAY, (sys.executable, "-c", STOCK)], ids=["painter", "stock"])
@pytest.mark.parametrize(
    ("keys", "words"),
    [("", "lesson 0003"), ("/", "filter:"), ("?", "one row up"), ("q", "Keep working in the background"), ("\x10", "Search")],
    ids=["grid", "filter", "page", "question", "palette"],
)
async def test_what_others_wrote_is_drawn_over(tmp_path: Path, command: tuple[str, ...], keys: str, words: str) -> None:
    begun = time.time() - 7205  # so that no elapsed time is drawn anew soon
    runner = FakeRunner(
        tmp_path / "runner.sock", [make_job(n, LANGUAGES[:3], DubState.DUBBING, submitted=begun) for n in range(40)]
    )
    path = await runner.start()
    terminal = Terminal((*command, "--socket", str(path), "--state", str(tmp_path)), SIZE)
    try:
        await terminal.sees("lesson 0003")
        terminal.type(keys)
        await terminal.sees(words)
        terminal.garble(WALL)
        assert terminal.lines != undisturbed(terminal)
        terminal.type("\x0c")
        await until(lambda: terminal.lines == undisturbed(terminal), "what others wrote is still there")
    finally:
        terminal.close()
        await runner.die()
