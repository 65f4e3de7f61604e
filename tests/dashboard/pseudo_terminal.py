"""A real pseudo-terminal with a program in it."""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

from pyte.screens import Char

from tests.dashboard.terminal_emulator import TerminalEmulator
from tests.waiting import until

FAKE_RUNNER_COMMAND = (sys.executable, "-m", "tests.dashboard.run_on_fake_runner")
REPO_ROOT = Path(__file__).parents[2]

_END_MARK = b"\0the last of it\0"

_CONTROL_SEQUENCE = re.compile(rb"\x1b\[[0-9;?<>=]*[a-zA-Z$]+|\x1b[()][A-Z0-9]|\x1b[=>]|\x1b\][^\a]*\a")


class PseudoTerminal:
    """Reads all output on the event loop, except after `stop_reading`."""

    def __init__(
        self,
        command: tuple[str, ...],
        size: tuple[int, int] = (100, 30),
        *,
        controlling: bool = True,
        cwd: Path = REPO_ROOT,
        **environment: str,
    ) -> None:
        self.output = bytearray()
        self.output_sizes: list[int] = []  # how much there was after each read
        self._emulator = TerminalEmulator(*size)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._fed_bytes = 0
        self._screen_text = ""
        self._lines: list[list[Char]] = []
        self._master, slave = os.openpty()
        self._set_size(size)
        before = termios.tcgetattr(slave)
        self.initial_attributes = before
        environ = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **environment}
        for name in ("NO_COLOR", "COLORTERM", "TMUX", "STY", "COLUMNS", "LINES"):
            environ.pop(name, None) if name not in environment else None
        self._slave = slave

        def take_terminal() -> None:
            if controlling:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=take_terminal,  # noqa: PLW1509 - one ioctl, and no other way to give a controlling terminal
        )
        os.set_blocking(self._master, False)
        self._is_reading = False
        self.start_reading()

    # -- output ------------------------------------------------------------------------------------------------------

    def stop_reading(self) -> None:
        """Take no more output."""
        if self._is_reading:
            asyncio.get_running_loop().remove_reader(self._master)
            self._is_reading = False

    def start_reading(self) -> None:
        """Take output (again)."""
        asyncio.get_running_loop().add_reader(self._master, self._read)
        self._is_reading = True

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.stop_reading()
        self.output += data
        self.output_sizes.append(len(self.output))

    @property
    def text(self) -> str:
        """All output without what steers the terminal."""
        return _CONTROL_SEQUENCE.sub(b"", bytes(self.output)).decode(errors="replace")

    @property
    def screen(self) -> str:
        """What is seen now."""
        lines = self.lines
        if not self._screen_text:
            self._screen_text = "\n".join("".join(char.data for char in line) for line in lines)
        return self._screen_text

    @property
    def lines(self) -> list[list[Char]]:
        """What is seen now, each cell with its attributes."""
        fresh = bytes(self.output[self._fed_bytes :])
        if fresh:
            self._fed_bytes += len(fresh)
            self._emulator.feed(self._decoder.decode(fresh))
            self._lines, self._screen_text = self._emulator.cells(), ""
        return self._lines

    async def wait_for_text(self, words: str) -> None:
        """Wait until words stand on the terminal, however they came there."""
        await until(lambda: words in self.screen, lambda: f"{words!r} on this screen:\n{self.screen}")

    def write_foreign_text(self, text: str) -> None:
        """Something else writes on the terminal."""
        self._emulator.feed(text)
        self._lines, self._screen_text = self._emulator.cells(), ""

    @property
    def is_full(self) -> bool:
        """Whether the terminal takes nothing any more, so that whoever writes to it waits."""
        return not select.select([], [self._slave], [], 0)[1]

    async def wait_for_output(self, words: str, after_bytes: int = 0) -> None:
        """Wait for words on the screen or in the output; `after_bytes`: only what was written since that many bytes."""
        wanted = words.encode()
        await until(
            lambda: wanted in _CONTROL_SEQUENCE.sub(b"", self.output[after_bytes:]) or words in self.screen,
            lambda: f"{words!r} in this output: {self.text[-1500:]}",
        )

    # -- what is done to it ------------------------------------------------------------------------------------------

    def type_keys(self, data: bytes | str) -> None:
        os.write(self._master, data.encode() if isinstance(data, str) else data)

    def resize(self, size: tuple[int, int]) -> None:
        self._emulator.resize(size[1], size[0])
        self._set_size(size)
        self.process.send_signal(signal.SIGWINCH)

    def _set_size(self, size: tuple[int, int]) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def is_restored(self) -> bool:
        """Whether the terminal's modes are as they were."""
        return termios.tcgetattr(self._slave)[:4] == self.initial_attributes[:4] and b"\x1b[?1049l" in self.output

    def hang_up(self) -> None:
        """The other end goes away."""
        self.stop_reading()
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    async def wait_for_exit(self) -> int:
        """Wait for the end of the program, and for all that it has written."""
        await until(lambda: self.process.poll() is not None, lambda: f"its end; it wrote: {self.text[-1500:]}")
        if self._is_reading:
            os.write(self._slave, _END_MARK)  # what was written before it comes before it
            await until(lambda: self.output.endswith(_END_MARK), lambda: f"the rest of this output: {self.text[-1500:]}")
            del self.output[-len(_END_MARK) :]
        return self.process.returncode

    def process_state(self) -> str:
        """The process's state as the kernel names it: T is stopped."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def cpu_seconds(self) -> float:
        """Processor seconds used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End everything."""
        self.stop_reading()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for end in (self._master, self._slave):
            if end >= 0:
                os.close(end)
