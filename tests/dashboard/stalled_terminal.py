"""A terminal that takes nothing for a while: does the work go on, and does the dashboard recover?

`python -m tests.dashboard.stalled_terminal --seconds 60` prints what happened. What makes a stall is not its length but its
state: the pseudo-terminal's buffer is full, and whoever writes to it waits. Tests hold that state until all the work is done.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from synthdub_tui.sandbox import SandboxConfig
from tests.dashboard.opened_dashboard import until
from tests.dashboard.program_in_terminal import UserHome, user_home
from tests.dashboard.pseudo_terminal import PseudoTerminal

FILE_COUNT = 8


async def run_stalled(folder: Path, seconds: float) -> int:
    """Stall for so long, and until all is done. How many dubs were finished meanwhile."""
    dubbing = (2.0, 0.7 * seconds) if seconds else (100.0, 100.0)
    config = SandboxConfig(processing_seconds=0.05, dubbing_seconds=dubbing)
    async with user_home(folder, config, FILE_COUNT) as home:
        terminal = home.open_terminal(".", "--targets", "fr-FR", key=home.sandbox.api_key)
        try:
            await until(lambda: len(home.sandbox.billed_dubs()) == FILE_COUNT)
            await terminal.wait_for_text(f"/{FILE_COUNT} done")
            await fill_terminal(terminal)
            return await finish_while_stalled(terminal, home, seconds)
        finally:
            terminal.kill()


async def fill_terminal(terminal: PseudoTerminal) -> None:
    """Stop reading, and have screens painted until nothing more fits into the terminal."""
    terminal.stop_reading()
    deadline = time.monotonic() + 60
    while not terminal.is_full:
        assert time.monotonic() < deadline, "the terminal never became full"
        terminal.type_keys("?")
        await asyncio.sleep(0.15)  # else the escape is taken for the begin of another key
        terminal.type_keys("\x1b")
        await asyncio.sleep(0.15)


async def finish_while_stalled(terminal: PseudoTerminal, home: UserHome, seconds: float) -> int:
    """All the work is done while the terminal is full; afterwards the screen shows it."""
    begun, cpu, before = time.monotonic(), terminal.cpu_seconds(), len(home.output_names())
    if seconds:
        await asyncio.sleep(seconds)
    else:
        home.sandbox.advance(200)
    await until(lambda: len(home.output_names()) == FILE_COUNT, "the runner stands still")
    finished = FILE_COUNT - before
    assert terminal.is_full, "it was no stall"
    assert terminal.process.poll() is None
    print(
        f"full for {time.monotonic() - begun:.1f} s: {finished} dubs finished, {terminal.cpu_seconds() - cpu:.2f} s of CPU used"
    )
    begun = time.monotonic()
    terminal.start_reading()
    await terminal.wait_for_text(f"{FILE_COUNT}/{FILE_COUNT} done")
    print(f"the screen was right {time.monotonic() - begun:.2f} s after the terminal took output again")
    before = len(terminal.output)
    terminal.type_keys("o")
    await terminal.wait_for_text(f"Outputs: {FILE_COUNT} files")
    print(f"a key worked; {before:,} bytes were written in all")
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run_stalled(Path(folder), parser.parse_args().seconds))


if __name__ == "__main__":
    main()
