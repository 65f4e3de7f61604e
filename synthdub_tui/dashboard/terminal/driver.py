"""A driver that survives a poor, stalled or lost terminal, and a switch to plain ASCII output.

Textual's own input thread ends the app on a byte that is not UTF-8, and spins on a terminal that hung up. Its exit waits for
output that a stalled terminal never accepts. Here, a hang-up ends the process, since no user can see a message any more.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import IO, Any, Final

from rich.cells import cell_len
from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

INTERRUPTED: Final = 130
GRACE: Final = 2.0
"""Seconds that an orderly exit may take after a signal; a stalled terminal accepts no output at all."""

_RESTORE: Final = (
    b"\x1b[r\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"
    b"\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l\x1b[0m"
)

_PLAIN: Final = str.maketrans(
    dict.fromkeys("─▔▁▂▃╌", "-")
    | dict.fromkeys("━▄▅▆▇", "=")
    | dict.fromkeys("│┃▌▐▊▎▏▕", "|")
    | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰", "+")
    | {"█": "#", "→": ">", "←": "<", "↑": "^", "↓": "v", "…": "~", "–": "-", "—": "-", "·": ".", "•": "o"}
    | {"“": '"', "”": '"', "’": "'", "✓": "+", "✗": "X", "○": "o"}
)

hung_up: list[Callable[[], object]] = []
"""Tasks for when the terminal is gone. They run in another thread: they must be short, and not use the event loop."""


_MARKS: Final = re.compile("\x1b\\[20[01]~|\x1b(?=[^\x1b\\[\\]\\\\^_NOPX]|\x1b(?![\\[O]))")
"""The beginning and end of a paste, and an escape that begins no terminal sequence."""


_ALT: Final = ANSI_SEQUENCES_KEYS.keys() - {"\x1b\x1b"}
"""Sequences that mean something to an input line: alt with backspace or f deletes or moves by words."""


class Escapes:
    """Finds the escape key before another key, if a slow link brings both in one burst. A terminal sends the same for that key
    with alt, which means nothing here. Textual reads alt, and often drops the escape: an enter after it would say yes."""

    def __init__(self) -> None:
        self._pasting = False

    def split(self, data: str, *, whole: bool = False) -> Iterator[tuple[str, bool]]:
        """Split input into pieces, and whether each is the escape key. None is empty, which a parser reads as the end.

        `whole`: do not look for escape keys.
        """
        begin = 0
        for mark in _MARKS.finditer("" if whole else data):
            if len(mark[0]) > 1:
                self._pasting = mark[0] == "\x1b[200~"
            elif not self._pasting and data[mark.start() : mark.end() + 1] not in _ALT:
                if mark.start() > begin:
                    yield data[begin : mark.start()], False
                yield mark[0], True
                begin = mark.end()
        if data[begin:]:
            yield data[begin:], False


class _Output:
    """The terminal's file. Counts the texts that the terminal has accepted."""

    def __init__(self, file: IO[str], on_taken: Callable[[], None]) -> None:
        self.taken = 0
        self._file, self._on_taken = file, on_taken
        self._written = 0

    def write(self, text: str) -> None:
        self._file.write(text)
        self._written += 1

    def flush(self) -> None:
        self._file.flush()
        self.taken = self._written
        self._on_taken()

    def fileno(self) -> int:
        return self._file.fileno()


class SteadyDriver(LinuxDriver):
    """Textual's driver, but its input accepts any bytes, its output knows whether the terminal keeps up, and it ends when the
    terminal is gone. It can release the mouse."""

    def __init__(self, app: App[Any], **settings: Any) -> None:
        super().__init__(app, **settings)
        assert self._file is not None
        self._output = _Output(self._file, self._taken)
        self._file = self._output  # type: ignore[assignment]
        self._given = 0
        self.alt_keys = False  # whether keys with alt are configured
        self._callback: Callable[[], None] | None = None

    def write(self, data: str) -> None:
        self._given += 1
        super().write(data)

    @property
    def behind(self) -> bool:
        """Whether the terminal has not yet accepted everything that was written."""
        return self._output.taken < self._given

    def call_when_taken(self, callback: Callable[[], None]) -> None:
        """Call once, in the app, as soon as the terminal is no longer behind."""
        self._callback = callback
        if not self.behind:
            self._taken()

    def _taken(self) -> None:
        """The terminal has accepted what was written. Also called by the thread that writes."""
        callback, self._callback = self._callback, None
        if callback is not None:
            self._app.call_later(callback)

    def stop_application_mode(self) -> None:
        self.write("\x1b[m")  # a frame leaves its last pen set for the next frame
        super().stop_application_mode()

    def watch_hangup(self) -> None:
        """End the process when the terminal hangs up, also while the app is suspended."""
        threading.Thread(target=_watch_hangup, args=(self.fileno,), name="terminal-hangup", daemon=True).start()

    def switch_mouse(self) -> bool:
        """Release the mouse to the terminal, or capture it again. Returns whether the dashboard has it now."""
        if self._mouse:
            self._disable_mouse_support()
            self._mouse = False
        else:
            self._mouse = True
            self._enable_mouse_support()
        return self._mouse

    def run_input_thread(self) -> None:
        """As Textual's, but invalid bytes become replacement characters, and the end of input ends the process."""
        parser = XTermParser(self._debug)
        escapes = Escapes()
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], 0.1)[0]:
                try:
                    data = os.read(self.fileno, 4096)
                except OSError:
                    data = b""  # EIO: the other end is closed
                if not data:
                    _end_hung_up()
                for piece, alone in escapes.split(decode(data), whole=self.alt_keys):
                    self._take([events.Key("escape", piece)] if alone else parser.feed(piece))
            self._take(parser.tick())

    def _take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)


def _watch_hangup(fileno: int) -> None:
    """Wait, at no cost, until the terminal hangs up. Without SIGHUP (sudo, nohup), only this sees it while output stalls."""
    poll = select.poll()
    poll.register(fileno, 0)
    found = poll.poll()
    if any(event & select.POLLHUP for _, event in found):
        _end_hung_up()


def _end_hung_up() -> None:
    for task in hung_up:
        task()
    os._exit(INTERRUPTED)


def end_on_signals(app: App[Any], fileno: int) -> None:
    """Exit in order on SIGHUP, SIGTERM and SIGINT. After `GRACE` seconds, restore the terminal if possible, and exit."""
    before = termios.tcgetattr(fileno)

    def leave(number: int, frame: FrameType | None) -> None:
        del number, frame
        watchdog = threading.Timer(GRACE, _give_up, (fileno, before))
        watchdog.daemon = True
        watchdog.start()
        app.call_later(app.exit, None, INTERRUPTED)

    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)


def _give_up(fileno: int, attributes: list[Any]) -> None:
    for task in hung_up:
        task()
    # The terminal may be gone, or accept nothing: write only as much as it accepts without waiting.
    with contextlib.suppress(OSError, termios.error):
        termios.tcsetattr(fileno, termios.TCSANOW, attributes)
        terminal = os.open("/dev/tty", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        os.write(terminal, _RESTORE)
    os._exit(INTERRUPTED)


def plain_output() -> None:
    """From now on, write only ASCII. Replacements are as wide as the characters that they replace."""
    codecs.register_error("synthdub-plain", _plain)
    sys.__stderr__.reconfigure(encoding="ascii", errors="synthdub-plain")  # type: ignore[union-attr]


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(char if char.isascii() else "?" * cell_len(char) for char in text), error.end
