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
from tests.dashboard.program_in_terminal import Place, place
from tests.dashboard.pseudo_terminal import Terminal

FILES = 8


async def stalled(folder: Path, seconds: float) -> int:
    """Stall for so long, and until all is done. How many dubs were finished meanwhile."""
    dubbing = (2.0, 0.7 * seconds) if seconds else (100.0, 100.0)
    config = SandboxConfig(processing_seconds=0.05, dubbing_seconds=dubbing)
    async with place(folder, config, FILES) as home:
        terminal = home.open(".", "--targets", "fr-FR", key=home.sandbox.api_key)
        try:
            await until(lambda: len(home.sandbox.billed()) == FILES)
            await terminal.sees(f"/{FILES} done")
            await fill(terminal)
            return await recovers(terminal, home, seconds)
        finally:
            terminal.close()


async def fill(terminal: Terminal) -> None:
    """Stop reading, and have screens painted until nothing more fits into the terminal."""
    terminal.stall()
    deadline = time.monotonic() + 60
    while not terminal.full:
        assert time.monotonic() < deadline, "the terminal never became full"
        terminal.type("?")
        await asyncio.sleep(0.15)  # else the escape is taken for the begin of another key
        terminal.type("\x1b")
        await asyncio.sleep(0.15)


async def recovers(terminal: Terminal, home: Place, seconds: float) -> int:
    """All the work is done while the terminal is full; afterwards the screen shows it."""
    begun, cpu, before = time.monotonic(), terminal.cpu(), len(home.outputs())
    if seconds:
        await asyncio.sleep(seconds)
    else:
        home.sandbox.advance(200)
    await until(lambda: len(home.outputs()) == FILES, "the runner stands still")
    finished = FILES - before
    assert terminal.full, "it was no stall"
    assert terminal.process.poll() is None
    print(f"full for {time.monotonic() - begun:.1f} s: {finished} dubs finished, {terminal.cpu() - cpu:.2f} s of CPU used")
    begun = time.monotonic()
    terminal.resume()
    await terminal.sees(f"{FILES}/{FILES} done")
    print(f"the screen was right {time.monotonic() - begun:.2f} s after the terminal took output again")
    before = len(terminal.output)
    terminal.type("o")
    await terminal.sees(f"Outputs: {FILES} files")
    print(f"a key worked; {before:,} bytes were written in all")
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(stalled(Path(folder), parser.parse_args().seconds))


if __name__ == "__main__":
    main()
