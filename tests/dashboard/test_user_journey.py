"""The whole program as people meet it, in a pseudo-terminal: first start, a day's work, a line that breaks, coming back."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from synthdub_tui.sandbox import Failure, SandboxConfig
from tests.dashboard.opened_dashboard import until
from tests.dashboard.program_in_terminal import Place, place
from tests.dashboard.pseudo_terminal import Terminal
from tests.dashboard.stalled_terminal import FILES, stalled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

END, ESCAPE, CLEAR = "\x1b[F", "\x1b", "\x15"

LONG = SandboxConfig(
    processing_seconds=0.05,
    dubbing_seconds=(100.0, 100.0),
    failures=(Failure(code="moderation", title="*welcome*", languages=("de-*",)),),
)
"""Nothing ends before the test says so."""


async def service_finishes(home: Place, dubs: int) -> None:
    """Once it has been asked for so many dubs, all that it works on is done."""
    await until(lambda: len(home.sandbox.billed()) == dubs)
    home.sandbox.advance(200)


async def give_key(terminal: Terminal, home: Place) -> None:
    await terminal.sees("An API key is needed")
    terminal.type("wrong-key\r")
    await terminal.sees("does not accept the API key")
    terminal.type(CLEAR + home.sandbox.api_key + "\r")
    await terminal.sees("The key is stored")
    assert home.config.stat().st_mode & 0o077 == 0


async def add_all(terminal: Terminal) -> None:
    terminal.type("a")
    await terminal.sees("welcome-01.mp4")
    terminal.type("*\r")
    await terminal.sees("Dub into")
    terminal.type(f"fr-FR {CLEAR}de-DE \r")
    await terminal.sees("Add these and dub them?")
    terminal.type("y")


async def decide(terminal: Terminal, home: Place) -> None:
    """Find what moderation refused, retry it all the same, cancel that, and take the cancel back."""
    terminal.type("/state:fai\t\r")
    await terminal.sees("1 of 3 files")
    terminal.type(END + "r")
    await terminal.sees("Refused by content moderation")
    assert len(home.sandbox.billed()) == 6
    terminal.type("y")
    await until(lambda: len(home.sandbox.billed()) == 7)
    await terminal.sees("dub retried")
    terminal.type("x")
    await terminal.sees("Cancel 1 dub?")
    terminal.type("y")
    await terminal.sees("U takes it back")
    terminal.type("U")
    await terminal.sees("Taken back")
    terminal.type(ESCAPE)
    await until(lambda: "1 of 3 files" not in terminal.screen)


async def collect(terminal: Terminal) -> None:
    terminal.type("o")
    await terminal.sees("Outputs: 5 files")
    terminal.type("c")
    await terminal.sees("Made by the synthdub sandbox")
    terminal.type(ESCAPE)
    await terminal.sees("Outputs: 5 files")
    terminal.type("y")
    await terminal.sees("Sent to your clipboard (1 path)")
    terminal.type("Y")
    await terminal.sees("(scp command)")
    assert b"\x1b]52;c;" in terminal.output
    terminal.type(ESCAPE)
    await terminal.sees("5/6 done")


async def test_from_the_first_start_to_collected_outputs_and_back(tmp_path: Path) -> None:
    async with place(tmp_path, LONG, 3) as home:
        home.config.write_text("[dashboard]\nnotify = true\n")
        terminal = home.open()
        try:
            await give_key(terminal, home)
            await add_all(terminal)
            await service_finishes(home, 6)
            await terminal.sees("5/6 done")
            await until(lambda: b"\x1b]9;The batch has ended: 5 of 6 dubs done, 1 needs you.\a" in terminal.output)
            await decide(terminal, home)
            terminal.type("p")
            await terminal.sees("PAUSED")
            terminal.type("p")
            await until(lambda: "PAUSED" not in terminal.screen)
            terminal.type("s")
            await terminal.sees("Sorted by name")
            await collect(terminal)
            terminal.type("q")
            await terminal.sees("Keep working in the background")
            terminal.type("b")
            assert await terminal.ended() == 0
            assert terminal.restored()
            await terminal.sees("5 of 6 dubs done, 1 under way")
        finally:
            terminal.close()
        await comes_back(home)


async def comes_back(home: Place) -> None:
    """Another terminal, whose line breaks; then one more, and all is as it was."""
    terminal = home.open()
    await terminal.sees("product-tour-01.webm")
    terminal.process.send_signal(signal.SIGHUP)
    terminal.hang_up()
    assert await terminal.ended() in (130, -signal.SIGHUP)
    terminal.close()
    again = home.open()
    try:
        await again.sees("5/6 done")
        rows = [again.screen.index(name) for name in ("product-tour-01", "safety-briefing-01", "welcome-01")]
        assert rows == sorted(rows), "sorted by name, as before"
        home.sandbox.advance(200)
        await again.sees("1 failed")
        again.type("q")
        assert await again.ended() == 0
        assert len(home.sandbox.billed()) == 7
    finally:
        again.close()


async def test_with_a_wrong_key_in_the_environment_a_new_one_is_used_at_once(tmp_path: Path) -> None:
    async with place(tmp_path, SandboxConfig(processing_seconds=0.05, dubbing_seconds=(0.1, 0.1)), 1) as home:
        terminal = home.open(".", "--targets", "fr-FR", key="wrong-key")
        try:
            await terminal.sees("comes from SYNTHESIA_API_KEY")
            terminal.type(home.sandbox.api_key + "\r")
            await terminal.sees("Before the next start take SYNTHESIA_API_KEY away")
            await until(home.outputs)
        finally:
            terminal.close()


async def test_a_good_key_in_the_environment_replaces_a_runner_that_has_a_wrong_one(tmp_path: Path) -> None:
    async with place(tmp_path, SandboxConfig(processing_seconds=0.05, dubbing_seconds=(0.1, 0.1)), 1) as home:
        terminal = home.open(".", "--targets", "fr-FR", key="wrong-key")
        try:
            await terminal.sees("An API key is needed")
            terminal.type(ESCAPE)
            await terminal.sees("No key yet")
            terminal.type("q")
            await terminal.sees("Keep working in the background")
            terminal.type("b")
            assert await terminal.ended() == 0
        finally:
            terminal.close()
        again = home.open(key=home.sandbox.api_key)
        try:
            await until(home.outputs)
            assert "An API key is needed" not in again.screen
        finally:
            again.close()


async def test_a_dashboard_that_only_watches_starts_no_runner_and_finds_one(tmp_path: Path) -> None:
    async with place(tmp_path, LONG, 1) as home:
        watching = home.open("--read-only")
        working = None
        try:
            await watching.sees("No runner works here")
            assert not (home.state / "lock").exists()
            working = home.open(".", "--targets", "fr-FR", key=home.sandbox.api_key)
            await watching.sees("welcome-01.mp4")
        finally:
            watching.close()
            if working is not None:
                working.close()


async def test_the_work_goes_on_while_the_terminal_takes_nothing(tmp_path: Path) -> None:
    assert await stalled(tmp_path, seconds=0) == FILES


async def test_a_crash_restores_the_terminal_tells_no_values_and_leaves_the_runner(tmp_path: Path) -> None:
    crashing = (
        "import sys\n"
        "from synthdub_tui import cli\n"
        "from synthdub_tui.dashboard.screens.main import MainScreen\n"
        "def action_sort(self):\n"
        "    key = 'sandbox-' + 'key'\n"
        "    raise RuntimeError('a mistake')\n"
        "MainScreen.action_sort = action_sort\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    async with place(tmp_path, LONG, 1) as home:
        terminal = home.open(".", "--targets", "fr-FR", key=home.sandbox.api_key, program=crashing)
        try:
            await terminal.sees("welcome-01.mp4")
            terminal.type("s")
            assert await terminal.ended() == 1
            assert terminal.restored()
            kept = home.state / "log" / "dashboard-crash.txt"
            await terminal.sees("dashboard had to close")
            await terminal.sees(kept.name)
            assert "a mistake" in kept.read_text() and "action_sort" in kept.read_text()
            assert kept.stat().st_mode & 0o077 == 0
            assert b"sandbox-key" not in terminal.output and "sandbox-key" not in kept.read_text()
            await service_finishes(home, 1)
            await until(home.outputs)
        finally:
            terminal.close()


async def test_two_dashboards_one_runner_that_dies(tmp_path: Path) -> None:
    async with place(tmp_path, LONG, 1) as home:
        first = home.open(".", "--targets", "fr-FR", key=home.sandbox.api_key)
        second = None
        try:
            await first.sees("welcome-01.mp4")
            second = home.open(key=home.sandbox.api_key)
            await second.sees("welcome-01.mp4")
            await asyncio.to_thread(home.kill_runner)
            await first.sees("S starts it")
            await second.sees("S starts it")
            first.type("S")
            await first.sees("at work again")
            await second.sees("at work again")
        finally:
            first.close()
            if second is not None:
                second.close()


async def test_a_burst_of_keys_adds_what_was_typed(tmp_path: Path) -> None:
    """As a slow line brings them: all at once, and each meets what the one before it opened."""
    async with place(tmp_path, LONG, 1) as home:
        terminal = home.open(".", "--targets", "fr-FR", key=home.sandbox.api_key)
        try:
            await terminal.sees("welcome-01.mp4")
            terminal.type("/weX\x7flc\x15name:welcome\r")
            await terminal.sees(" name:welcome ")
            terminal.type(f"/xyz{ESCAPE}o")
            await terminal.sees("No finished files yet")
            terminal.type(ESCAPE)
            await until(lambda: "No finished files yet" not in terminal.screen)
            terminal.type("L")
            await terminal.sees("158 languages")
            terminal.type(f"{ESCAPE}\r")
            await terminal.sees("Nothing was added: no languages")
        finally:
            terminal.close()
