"""The dashboard as a process in a real pseudo-terminal: signals, hang-ups, stalls, sizes, poor terminals, odd input."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from synthdub_tui.dashboard.terminal.input import EscapeSplitter
from synthdub_tui.jobs.model import DubState
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, FakeRunner, make_dub, make_job
from tests.dashboard.opened_dashboard import until
from tests.dashboard.pseudo_terminal import FAKE_RUNNER_COMMAND, REPO_ROOT, PseudoTerminal

THREE_LANGUAGES = TWENTY_LANGUAGES[:3]
ESCAPE_KEY = ("\x1b", True)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@asynccontextmanager
async def dashboard_in_terminal(
    tmp_path: Path,
    *arguments: str,
    jobs: int = 40,
    controlling: bool = True,
    size: tuple[int, int] = (100, 30),
    **environment: str,
) -> AsyncIterator[tuple[PseudoTerminal, FakeRunner]]:
    """The dashboard in a terminal, attached, with the first row on the screen."""
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(n, THREE_LANGUAGES, DubState.DUBBING) for n in range(jobs)])
    path = await runner.start()
    command = (*FAKE_RUNNER_COMMAND, "--socket", str(path), "--state", str(tmp_path), *arguments)
    terminal = PseudoTerminal(command, size, controlling=controlling, **environment)
    try:
        await terminal.wait_for_output("lesson 0003")
        yield terminal, runner
    finally:
        terminal.kill()
        await runner.disconnect()


@pytest.mark.parametrize(
    ("burst", "pieces"),
    [
        ("\x1bo", [ESCAPE_KEY, ("o", False)]),
        ("/ab\x1b\rq", [("/ab", False), ESCAPE_KEY, ("\rq", False)]),
        ("\x1b\x1b\x1b\r", [ESCAPE_KEY, ESCAPE_KEY, ESCAPE_KEY, ("\r", False)]),
        ("\x1b[A\x1bOB\x1b\x1b[C", [("\x1b[A\x1bOB\x1b\x1b[C", False)]),
        ("\x1b[<0;5;6M\x1b[I", [("\x1b[<0;5;6M\x1b[I", False)]),
        ("\x1b\x7fx\x1bf", [("\x1b\x7fx\x1bf", False)]),
        ("\x1b[200~a\x1bb\x1b[201~\x1bc", [("\x1b[200~a\x1bb\x1b[201~", False), ESCAPE_KEY, ("c", False)]),
        ("q\x1b", [("q\x1b", False)]),
        ("", []),
    ],
)
def test_the_escape_key_is_found_before_another_one(burst: str, pieces: list[tuple[str, bool]]) -> None:
    assert list(EscapeSplitter().split(burst)) == pieces
    assert list(EscapeSplitter().split(burst, keep_alt_sequences=True)) == ([(burst, False)] if burst else [])


async def test_half_a_character_is_not_the_end_of_the_input(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path, LC_ALL="C.UTF-8") as (terminal, _):
        terminal.type_keys("/caf")
        os.write(terminal._master, b"\xc3")
        await asyncio.sleep(0.2)  # it is read alone
        os.write(terminal._master, b"\xa9")
        await terminal.wait_for_output("café")
        terminal.type_keys("\x1b?")
        await terminal.wait_for_text("one row up")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
async def test_signals_restore_the_terminal_and_leave_the_runner_working(tmp_path: Path, number: signal.Signals) -> None:
    async with dashboard_in_terminal(tmp_path) as (terminal, runner):
        terminal.process.send_signal(number)
        assert await terminal.wait_for_exit() == 130
        assert terminal.is_restored()
        assert "40 files" in terminal.text and "0 of 120 dubs done" in terminal.text
        await until(lambda: not runner.subscriber_count)
        assert not [request for request in runner.requests if type(request).__name__ == "Stop"]


@pytest.mark.parametrize("controlling", [True, False])
async def test_a_hung_up_terminal_ends_the_dashboard_with_or_without_a_signal(tmp_path: Path, controlling: bool) -> None:
    async with dashboard_in_terminal(tmp_path, controlling=controlling) as (terminal, runner):
        terminal.type_keys("j")
        terminal.hang_up()
        code = await terminal.wait_for_exit()
        assert code in (130, -signal.SIGHUP)
        await until(lambda: not runner.subscriber_count)


async def test_a_demo_whose_terminal_is_lost_leaves_nothing_at_work(tmp_path: Path) -> None:
    """Nobody would find the way back to its temporary directory."""
    folder = tmp_path / "demo"

    def at_work() -> list[int]:
        named = os.fsencode(folder)
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if named in _read(path)]

    command = (sys.executable, "-m", "synthdub_tui", "demo", "--files", "2", "--folder", str(folder))
    terminal = PseudoTerminal(command, HOME=str(tmp_path))
    try:
        await terminal.wait_for_output("polls")  # the runner is at work, too
        assert len(at_work()) == 3
        terminal.hang_up()
        await until(lambda: not at_work())
    finally:
        terminal.kill()
        for left in at_work():
            os.kill(left, signal.SIGKILL)


async def test_a_demo_that_is_left_promises_nothing(tmp_path: Path) -> None:
    """Its sandbox ends with it: nothing works on in the background, and nothing resumes."""
    command = (sys.executable, "-m", "synthdub_tui", "demo", "--files", "2", "--folder", str(tmp_path / "demo"))
    terminal = PseudoTerminal(command, HOME=str(tmp_path))
    try:
        await terminal.wait_for_text("0/6 dubs")  # the runner is at work
        terminal.type_keys("q")
        assert await terminal.wait_for_exit() == 0
        farewell = terminal.output.rpartition(b"\x1b[?1049l")[2].decode()
        assert "under way" in farewell
        assert "The demo is over" in farewell
        assert "background" not in farewell
        assert "resume" not in farewell
    finally:
        terminal.kill()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # that process has ended
        return b""


async def test_a_stalled_terminal_recovers_and_shows_what_is_new(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path, size=(200, 50)) as (terminal, runner):
        terminal.stop_reading()
        jobs = list(runner.jobs.values())
        for state in (DubState.READY, DubState.DUBBING) * 20:
            for job in jobs:
                runner.jobs[job.id] = make_job(jobs.index(job), THREE_LANGUAGES, state)
            runner.push_changes(*runner.jobs.values())
            await asyncio.sleep(0.06)
        before = len(terminal.output)
        terminal.start_reading()
        runner.push_changes(*(make_job(n, THREE_LANGUAGES, DubState.DONE) for n in range(40)))
        await terminal.wait_for_output("120/120 done", before)


async def test_a_stalled_terminal_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path, size=(200, 50)) as (terminal, runner):
        terminal.stop_reading()
        for state in (DubState.READY, DubState.DUBBING) * 25:
            runner.push_changes(*(make_job(n, THREE_LANGUAGES, state) for n in range(40)))
            await asyncio.sleep(0.06)
        terminal.process.send_signal(signal.SIGTERM)
        assert await terminal.wait_for_exit() == 130


async def test_it_can_become_tiny_and_large_again(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path) as (terminal, _):
        for size in ((20, 5), (1, 1), (20, 5), (100, 30)):
            before = len(terminal.output)
            terminal.resize(size)
            await until(lambda before=before: len(terminal.output) > before)
        # The app may have painted the last size before this test looked for it: have all of it painted once more.
        terminal.type_keys("?")
        await terminal.wait_for_output("page up", before)
        before = len(terminal.output)
        terminal.type_keys("\x1b")
        await terminal.wait_for_output("40 files", before)
        terminal.type_keys("q")
        await terminal.wait_for_output("Keep working in the background")
        terminal.type_keys("b")
        assert await terminal.wait_for_exit() == 0


@pytest.mark.parametrize("term", ["xterm", "screen", "linux", "vt100"])
async def test_poor_terminals_are_drawn_in_their_own_colours(tmp_path: Path, term: str) -> None:
    async with dashboard_in_terminal(tmp_path, TERM=term) as (terminal, _):
        await terminal.wait_for_output("dubs")
        assert b"38;2;" not in terminal.output and b"48;2;" not in terminal.output


@pytest.mark.parametrize(("term", "words"), [("dumb", "TERM=dumb"), ("", "cannot draw")])
async def test_a_terminal_that_cannot_draw_is_refused(tmp_path: Path, term: str, words: str) -> None:
    terminal = PseudoTerminal((*FAKE_RUNNER_COMMAND, "--socket", str(tmp_path / "none"), "--state", str(tmp_path)), TERM=term)
    try:
        assert await terminal.wait_for_exit() == 2
        await terminal.wait_for_output(words)
        await terminal.wait_for_output("synthdub run")
        assert b"\x1b" not in terminal.output
    finally:
        terminal.kill()


async def test_no_terminal_is_refused(tmp_path: Path) -> None:
    command = (*FAKE_RUNNER_COMMAND, "--socket", str(tmp_path / "none"), "--state", str(tmp_path))
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, cwd=REPO_ROOT, check=False)
    assert done.returncode == 2
    assert b"needs a terminal" in done.stderr and b"\x1b" not in done.stdout + done.stderr


async def test_a_locale_without_unicode_gets_plain_signs(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path, LC_ALL="C") as (terminal, runner):
        runner.push_changes(
            make_job(1, THREE_LANGUAGES, DubState.DONE, name="日本語.mp4"), make_job(0, THREE_LANGUAGES, DubState.DONE)
        )
        await terminal.wait_for_output("+ done")
        terminal.type_keys("?")  # a screen with arrows in its hints
        await terminal.wait_for_output("scroll")
        assert all(byte < 128 for byte in terminal.output)


async def test_bytes_that_are_no_unicode_do_not_end_it(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path) as (terminal, _):
        terminal.type_keys(b"/\xff\xfe\xe9t\xe9")
        await terminal.wait_for_output("Nothing matches")
        assert terminal.process.poll() is None


async def test_a_paste_into_the_filter(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path) as (terminal, _):
        terminal.type_keys("/")
        before = len(terminal.output)
        terminal.type_keys("\x1b[200~name:0007\rq\x1b[201~")
        await terminal.wait_for_output("name:0007 q", before)
        assert terminal.process.poll() is None


async def test_keys_typed_ahead_reach_what_they_open(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path) as (terminal, _):
        before = len(terminal.output)
        terminal.type_keys("/name:0005\r")
        await terminal.wait_for_output("1 of 40 files", before)


async def test_suspending_stops_only_the_dashboard(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path) as (terminal, runner):
        terminal.type_keys("\x1a")
        await until(lambda: terminal.process_state() == "T")
        await until(terminal.is_restored)  # it stops as soon as it has written, and the bytes come later
        job = next(iter(runner.jobs.values()))
        runner.set_dub(job, THREE_LANGUAGES[0], make_dub(DubState.DONE, time.time()))
        before = len(terminal.output)
        terminal.process.send_signal(signal.SIGCONT)
        await terminal.wait_for_output("1/120 done", before)
        await until(lambda: "lesson 0003" in terminal.screen)  # all of it is there again, on a screen that was empty


async def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(n, THREE_LANGUAGES, DubState.DONE) for n in range(40)])
    path = await runner.start()
    terminal = PseudoTerminal((*FAKE_RUNNER_COMMAND, "--socket", str(path), "--state", str(tmp_path)))
    try:
        await terminal.wait_for_output("nothing left to do")
        seen = (0, time.monotonic())

        def quiet() -> bool:
            nonlocal seen
            if len(terminal.output) != seen[0]:
                seen = (len(terminal.output), time.monotonic())
            return time.monotonic() - seen[1] > 2.2

        await until(quiet, "two seconds without a paint, longer than two steps of its own clock")
    finally:
        terminal.kill()
        await runner.disconnect()


async def test_the_mouse_can_be_released(tmp_path: Path) -> None:
    async with dashboard_in_terminal(tmp_path) as (terminal, _):
        before = len(terminal.output)
        terminal.type_keys("M")
        await until(lambda: b"\x1b[?1000l" in terminal.output[before:])
        terminal.type_keys("M")
        await until(lambda: b"\x1b[?1000h" in terminal.output[before:])
