"""The whole program as people meet it, in a pseudo-terminal: first start, a day's work, a line that breaks, coming back."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from synthdub_tui.sandbox import SandboxConfig, SimulatedFailure
from tests.dashboard.opened_dashboard import until
from tests.dashboard.program_in_terminal import UserHome, user_home
from tests.dashboard.pseudo_terminal import PseudoTerminal
from tests.dashboard.stalled_terminal import FILE_COUNT, run_stalled

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

END_KEY, ESCAPE_KEY, CLEAR_LINE_KEY = "\x1b[F", "\x1b", "\x15"

SLOW_SANDBOX = SandboxConfig(
    processing_seconds=0.05,
    dubbing_seconds=(100.0, 100.0),
    failures=(SimulatedFailure(code="moderation", title="*welcome*", languages=("de-*",)),),
)
"""Nothing ends before the test says so."""


async def finish_dubs_at_service(home: UserHome, dubs: int) -> None:
    """Once it has been asked for so many dubs, all that it works on is done."""
    await until(lambda: len(home.sandbox.billed_dubs()) == dubs)
    home.sandbox.advance(200)


async def enter_key(terminal: PseudoTerminal, home: UserHome) -> None:
    await terminal.wait_for_text("An API key is needed")
    terminal.type_keys("wrong-key\r")
    await terminal.wait_for_text("does not accept the API key")
    terminal.type_keys(CLEAR_LINE_KEY + home.sandbox.api_key + "\r")
    await terminal.wait_for_text("The key is stored")
    assert home.config.stat().st_mode & 0o077 == 0


async def add_all_videos(terminal: PseudoTerminal) -> None:
    terminal.type_keys("a")
    await terminal.wait_for_text("welcome-01.mp4")
    terminal.type_keys("*\r")
    await terminal.wait_for_text("Dub into")
    terminal.type_keys(f"fr-FR {CLEAR_LINE_KEY}de-DE \r")
    await terminal.wait_for_text("Add these and dub them?")
    terminal.type_keys("y")


async def handle_moderated_dub(terminal: PseudoTerminal, home: UserHome) -> None:
    """Find what moderation refused, retry it all the same, cancel that, and take the cancel back."""
    terminal.type_keys("/state:fai\t\r")
    await terminal.wait_for_text("1 of 3 files")
    terminal.type_keys(END_KEY + "r")
    await terminal.wait_for_text("Refused by content moderation")
    assert len(home.sandbox.billed_dubs()) == 6
    terminal.type_keys("y")
    await until(lambda: len(home.sandbox.billed_dubs()) == 7)
    await terminal.wait_for_text("dub retried")
    terminal.type_keys("x")
    await terminal.wait_for_text("Cancel 1 dub?")
    terminal.type_keys("y")
    await terminal.wait_for_text("U takes it back")
    terminal.type_keys("U")
    await terminal.wait_for_text("Taken back")
    terminal.type_keys(ESCAPE_KEY)
    await until(lambda: "1 of 3 files" not in terminal.screen)


async def check_outputs(terminal: PseudoTerminal) -> None:
    terminal.type_keys("o")
    await terminal.wait_for_text("Outputs: 5 files")
    terminal.type_keys("c")
    await terminal.wait_for_text("Made by the synthdub sandbox")
    terminal.type_keys(ESCAPE_KEY)
    await terminal.wait_for_text("Outputs: 5 files")
    terminal.type_keys("y")
    await terminal.wait_for_text("Sent to your clipboard (1 path)")
    terminal.type_keys("Y")
    await terminal.wait_for_text("(scp command)")
    assert b"\x1b]52;c;" in terminal.output
    terminal.type_keys(ESCAPE_KEY)
    await terminal.wait_for_text("5/6 done")


async def test_from_the_first_start_to_collected_outputs_and_back(tmp_path: Path) -> None:
    async with user_home(tmp_path, SLOW_SANDBOX, 3) as home:
        home.config.write_text("[dashboard]\nnotify = true\n")
        terminal = home.open_terminal()
        try:
            await enter_key(terminal, home)
            await add_all_videos(terminal)
            await finish_dubs_at_service(home, 6)
            await terminal.wait_for_text("5/6 done")
            await until(lambda: b"\x1b]9;The batch has ended: 5 of 6 dubs done, 1 needs you.\a" in terminal.output)
            await handle_moderated_dub(terminal, home)
            terminal.type_keys("p")
            await terminal.wait_for_text("PAUSED")
            terminal.type_keys("p")
            await until(lambda: "PAUSED" not in terminal.screen)
            terminal.type_keys("s")
            await terminal.wait_for_text("Sorted by name")
            await check_outputs(terminal)
            terminal.type_keys("q")
            await terminal.wait_for_text("Keep working in the background")
            terminal.type_keys("b")
            assert await terminal.wait_for_exit() == 0
            assert terminal.is_restored()
            await terminal.wait_for_text("5 of 6 dubs done, 1 under way")
        finally:
            terminal.kill()
        await reopen_dashboard(home)


async def reopen_dashboard(home: UserHome) -> None:
    """Another terminal, whose line breaks; then one more, and all is as it was."""
    terminal = home.open_terminal()
    await terminal.wait_for_text("product-tour-01.webm")
    terminal.process.send_signal(signal.SIGHUP)
    terminal.hang_up()
    assert await terminal.wait_for_exit() in (130, -signal.SIGHUP)
    terminal.kill()
    again = home.open_terminal()
    try:
        await again.wait_for_text("5/6 done")
        rows = [again.screen.index(name) for name in ("product-tour-01", "safety-briefing-01", "welcome-01")]
        assert rows == sorted(rows), "sorted by name, as before"
        home.sandbox.advance(200)
        await again.wait_for_text("1 failed")
        again.type_keys("q")
        assert await again.wait_for_exit() == 0
        assert len(home.sandbox.billed_dubs()) == 7
    finally:
        again.kill()


async def test_with_a_wrong_key_in_the_environment_a_new_one_is_used_at_once(tmp_path: Path) -> None:
    async with user_home(tmp_path, SandboxConfig(processing_seconds=0.05, dubbing_seconds=(0.1, 0.1)), 1) as home:
        terminal = home.open_terminal(".", "--targets", "fr-FR", key="wrong-key")
        try:
            await terminal.wait_for_text("comes from SYNTHESIA_API_KEY")
            terminal.type_keys(home.sandbox.api_key + "\r")
            await terminal.wait_for_text("Before the next start take SYNTHESIA_API_KEY away")
            await until(home.output_names)
        finally:
            terminal.kill()


async def test_a_good_key_in_the_environment_replaces_a_runner_that_has_a_wrong_one(tmp_path: Path) -> None:
    async with user_home(tmp_path, SandboxConfig(processing_seconds=0.05, dubbing_seconds=(0.1, 0.1)), 1) as home:
        terminal = home.open_terminal(".", "--targets", "fr-FR", key="wrong-key")
        try:
            await terminal.wait_for_text("An API key is needed")
            terminal.type_keys(ESCAPE_KEY)
            await terminal.wait_for_text("No key yet")
            terminal.type_keys("q")
            await terminal.wait_for_text("Keep working in the background")
            terminal.type_keys("b")
            assert await terminal.wait_for_exit() == 0
        finally:
            terminal.kill()
        again = home.open_terminal(key=home.sandbox.api_key)
        try:
            await until(home.output_names)
            assert "An API key is needed" not in again.screen
        finally:
            again.kill()


async def test_a_dashboard_that_only_watches_starts_no_runner_and_finds_one(tmp_path: Path) -> None:
    async with user_home(tmp_path, SLOW_SANDBOX, 1) as home:
        watching = home.open_terminal("--read-only")
        working = None
        try:
            await watching.wait_for_text("No runner works here")
            assert not (home.state / "lock").exists()
            working = home.open_terminal(".", "--targets", "fr-FR", key=home.sandbox.api_key)
            await watching.wait_for_text("welcome-01.mp4")
        finally:
            watching.kill()
            if working is not None:
                working.kill()


async def test_the_work_goes_on_while_the_terminal_takes_nothing(tmp_path: Path) -> None:
    assert await run_stalled(tmp_path, seconds=0) == FILE_COUNT


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
    async with user_home(tmp_path, SLOW_SANDBOX, 1) as home:
        terminal = home.open_terminal(".", "--targets", "fr-FR", key=home.sandbox.api_key, program=crashing)
        try:
            await terminal.wait_for_text("welcome-01.mp4")
            terminal.type_keys("s")
            assert await terminal.wait_for_exit() == 1
            assert terminal.is_restored()
            kept = home.state / "log" / "dashboard-crash.txt"
            await terminal.wait_for_text("dashboard had to close")
            await terminal.wait_for_text(kept.name)
            assert "a mistake" in kept.read_text() and "action_sort" in kept.read_text()
            assert kept.stat().st_mode & 0o077 == 0
            assert b"sandbox-key" not in terminal.output and "sandbox-key" not in kept.read_text()
            await finish_dubs_at_service(home, 1)
            await until(home.output_names)
        finally:
            terminal.kill()


async def test_two_dashboards_one_runner_that_dies(tmp_path: Path) -> None:
    async with user_home(tmp_path, SLOW_SANDBOX, 1) as home:
        first = home.open_terminal(".", "--targets", "fr-FR", key=home.sandbox.api_key)
        second = None
        try:
            await first.wait_for_text("welcome-01.mp4")
            second = home.open_terminal(key=home.sandbox.api_key)
            await second.wait_for_text("welcome-01.mp4")
            await asyncio.to_thread(home.kill_runner)
            await first.wait_for_text("S starts it")
            await second.wait_for_text("S starts it")
            first.type_keys("S")
            await first.wait_for_text("at work again")
            await second.wait_for_text("at work again")
        finally:
            first.kill()
            if second is not None:
                second.kill()


async def test_a_burst_of_keys_adds_what_was_typed(tmp_path: Path) -> None:
    """As a slow line brings them: all at once, and each meets what the one before it opened."""
    async with user_home(tmp_path, SLOW_SANDBOX, 1) as home:
        terminal = home.open_terminal(".", "--targets", "fr-FR", key=home.sandbox.api_key)
        try:
            await terminal.wait_for_text("welcome-01.mp4")
            terminal.type_keys("/weX\x7flc\x15name:welcome\r")
            await terminal.wait_for_text(" name:welcome ")
            terminal.type_keys(f"/xyz{ESCAPE_KEY}o")
            await terminal.wait_for_text("No finished files yet")
            terminal.type_keys(ESCAPE_KEY)
            await until(lambda: "No finished files yet" not in terminal.screen)
            terminal.type_keys("L")
            await terminal.wait_for_text("158 languages")
            terminal.type_keys(f"{ESCAPE_KEY}\r")
            await terminal.wait_for_text("Nothing was added: no languages")
        finally:
            terminal.kill()
