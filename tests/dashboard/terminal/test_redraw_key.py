"""ctrl+l draws everything anew, whatever others wrote on the terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from pyte.screens import Char

from synthdub_tui.jobs.model import DubState
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, FakeRunner, make_job
from tests.dashboard.opened_dashboard import until
from tests.dashboard.pseudo_terminal import FAKE_RUNNER_COMMAND, PseudoTerminal
from tests.dashboard.terminal_emulator import TerminalEmulator

STOCK_RENDERER_PROGRAM = """\
from synthdub_tui.dashboard.terminal import renderer
from tests.dashboard import run_on_fake_runner
renderer._is_textual_supported = lambda app: False
run_on_fake_runner.main()
"""
"""A dashboard with a Textual that the painter does not know."""

WALL_MESSAGE = (
    "\x1b[3;1H\r\n\x1b[7mBroadcast message from root: the system will be halted\r\n\r\n\x1b[12;20H\x1b[1;31m#######\x1b[m"
)
TERMINAL_SIZE = (100, 30)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def undisturbed_screen(terminal: PseudoTerminal) -> list[list[Char]]:
    """What a terminal shows that got the same output, but upon which nobody else wrote."""
    emulator = TerminalEmulator(*TERMINAL_SIZE)
    emulator.feed(terminal.output.decode())
    return emulator.cells()


@pytest.mark.parametrize(
    "command", [FAKE_RUNNER_COMMAND, (sys.executable, "-c", STOCK_RENDERER_PROGRAM)], ids=["painter", "stock"]
)
@pytest.mark.parametrize(
    ("keys", "words"),
    [("", "lesson 0003"), ("/", "filter:"), ("?", "one row up"), ("q", "Keep working in the background"), ("\x10", "Search")],
    ids=["grid", "filter", "page", "question", "palette"],
)
async def test_what_others_wrote_is_drawn_over(tmp_path: Path, command: tuple[str, ...], keys: str, words: str) -> None:
    begun = time.time() - 7205  # so that no elapsed time is drawn anew soon
    runner = FakeRunner(
        tmp_path / "runner.sock", [make_job(n, TWENTY_LANGUAGES[:3], DubState.DUBBING, submitted=begun) for n in range(40)]
    )
    path = await runner.start()
    terminal = PseudoTerminal((*command, "--socket", str(path), "--state", str(tmp_path)), TERMINAL_SIZE)
    try:
        await terminal.wait_for_text("lesson 0003")
        terminal.type_keys(keys)
        await terminal.wait_for_text(words)
        terminal.write_foreign_text(WALL_MESSAGE)
        assert terminal.lines != undisturbed_screen(terminal)
        terminal.type_keys("\x0c")
        await until(lambda: terminal.lines == undisturbed_screen(terminal), "what others wrote is still there")
    finally:
        terminal.kill()
        await runner.disconnect()
