"""A driver that survives a poor, stalled or lost terminal, and a switch to plain ASCII output.

Textual's own input thread ends the app on a byte that is not UTF-8, and spins on a terminal that hung up. Its exit waits for
output that a stalled terminal never accepts. Here, a hang-up ends the process, since no user can see a message any more.
"""

from __future__ import annotations

import codecs
import os
import select
import threading
from collections.abc import Callable, Iterable
from typing import IO, Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from synthdub_tui.dashboard.terminal.input import EscapeSplitter
from synthdub_tui.dashboard.terminal.signals import exit_after_hangup, wait_for_hangup


class _CountingOutput:
    """The terminal's file. Counts the texts that the terminal has accepted."""

    def __init__(self, file: IO[str], on_flushed: Callable[[], None]) -> None:
        self.flushed_count = 0
        self._file, self._on_flushed = file, on_flushed
        self._written = 0

    def write(self, text: str) -> None:
        self._file.write(text)
        self._written += 1

    def flush(self) -> None:
        self._file.flush()
        self.flushed_count = self._written
        self._on_flushed()

    def fileno(self) -> int:
        return self._file.fileno()


class ResilientDriver(LinuxDriver):
    """Textual's driver, but its input accepts any bytes, its output knows whether the terminal keeps up, and it ends when the
    terminal is gone. It can release the mouse."""

    def __init__(self, app: App[Any], **settings: Any) -> None:
        super().__init__(app, **settings)
        assert self._file is not None
        self._counting_output = _CountingOutput(self._file, self._handle_flushed)
        self._file = self._counting_output  # type: ignore[assignment]
        self._write_count = 0
        self.has_alt_keys = False  # whether keys with alt are configured
        self._callback: Callable[[], None] | None = None

    def write(self, data: str) -> None:
        self._write_count += 1
        super().write(data)

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not yet accepted everything that was written."""
        return self._counting_output.flushed_count < self._write_count

    def call_when_flushed(self, callback: Callable[[], None]) -> None:
        """Call once, in the app, as soon as the terminal is no longer behind."""
        self._callback = callback
        if not self.is_behind:
            self._handle_flushed()

    def _handle_flushed(self) -> None:
        """The terminal has accepted what was written. Also called by the thread that writes."""
        callback, self._callback = self._callback, None
        if callback is not None:
            self._app.call_later(callback)

    def stop_application_mode(self) -> None:
        self.write("\x1b[m")  # a frame leaves its last pen set for the next frame
        super().stop_application_mode()

    def watch_hangup(self) -> None:
        """End the process when the terminal hangs up, also while the app is suspended."""
        threading.Thread(target=wait_for_hangup, args=(self.fileno,), name="terminal-hangup", daemon=True).start()

    def toggle_mouse(self) -> bool:
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
        escapes = EscapeSplitter()
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], 0.1)[0]:
                try:
                    data = os.read(self.fileno, 4096)
                except OSError:
                    data = b""  # EIO: the other end is closed
                if not data:
                    exit_after_hangup()
                for piece, alone in escapes.split(decode(data), keep_alt_sequences=self.has_alt_keys):
                    self._process_messages([events.Key("escape", piece)] if alone else parser.feed(piece))
            self._process_messages(parser.tick())

    def _process_messages(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)
