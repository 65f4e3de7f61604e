"""Sends the terminal only changes: `Renderer.render` works between Textual's compositor and its driver.

Textual writes every changed span from the left edge of its widget, each segment with all of its colours, and all of a widget
that scrolls. The painter draws these updates on a canvas, remembers what the terminal shows, and sends the difference. It sends
nothing while the terminal has not yet accepted the last frame, so that frames never pile up.

The painter needs some of Textual's private interface. If a later Textual has another, Textual draws by its own code.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from rich.color import ColorSystem
from rich.console import COLOR_SYSTEMS, RenderableType
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.geometry import Region, Size
from textual.strip import Strip

from synthdub_tui.dashboard.terminal.renderer.canvas import CellEncoder, ScreenCanvas
from synthdub_tui.dashboard.terminal.renderer.differ import TerminalState
from synthdub_tui.dashboard.terminal.renderer.sgr import SgrTable

_SYNC_SEQUENCES: Final = ("\x1b[?2026h", "\x1b[?2026l")
_MIN_SYNC_CHARACTERS: Final = 1024
"""Characters that arrive in one piece anyway: only longer frames are bracketed as synchronized output."""


class TerminalOutput(Protocol):
    """The part of a driver that a painter needs."""

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not yet accepted everything that was written."""

    def write(self, data: str) -> None:
        """Send soon."""

    def call_when_flushed(self, callback: Callable[[], None]) -> None:
        """Call once, in the app, as soon as the terminal is no longer behind."""


class Renderer:
    """Paints for one app, whose `App._display` must pass its updates here."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._is_supported = _is_textual_supported(app)
        self._waiting = False
        self._reset(Size(0, 0))

    def render(self, update: RenderableType | None, output: TerminalOutput | None) -> RenderableType | None:
        """Paint an update. Returns an update that Textual must display itself, since its kind is unknown; else None."""
        if output is None or not self._is_supported:
            return update
        if isinstance(update, LayoutUpdate | ChopsUpdate):
            self._draw(update)
            self._send(output)
            return None
        if update is not None:  # Textual displays it, and its effect on the screen is unknown
            self._invalidate()
        return update

    def render_all(self, output: TerminalOutput | None) -> None:
        """Paint everything, since the screen is in doubt (resized, resumed, written to by other programs)."""
        self._invalidate()
        if output is not None and self._is_supported:
            self._send(output)

    def _reset(self, size: Size) -> None:
        """Start again, with an empty canvas of this size."""
        self._size = size
        colors = COLOR_SYSTEMS.get(self._app.console.color_system or "", ColorSystem.TRUECOLOR)  # for none, as Textual does
        self._cells, self._sgr_table = CellEncoder(), SgrTable(colors)
        self._canvas = ScreenCanvas(*size, self._cells, self._sgr_table)
        self._invalidate()

    def _invalidate(self) -> None:
        self._terminal_state = TerminalState(*self._size, self._cells, self._sgr_table)
        self._canvas.dirty_lines.update(range(self._size.height))

    def _draw(self, update: LayoutUpdate | ChopsUpdate) -> None:
        size = _update_size(update)
        if size != self._size or self._cells.is_full:
            self._reset(size)
        self._canvas.draw(update)

    def _send(self, output: TerminalOutput) -> None:
        app = self._app
        if app._batch_count or app._closed or not app.is_running:
            return  # what was drawn is sent with a later update
        if output.is_behind:
            if not self._waiting:
                self._waiting = True
                output.call_when_flushed(partial(self._send_after_wait, output))
            return
        text = self._terminal_state.diff_to(self._canvas, self._cursor())
        if len(text) > _MIN_SYNC_CHARACTERS and app._sync_available:
            text = _SYNC_SEQUENCES[0] + text + _SYNC_SEQUENCES[1]
        if text:
            output.write(text)

    def _send_after_wait(self, output: TerminalOutput) -> None:
        self._waiting = False
        self._send(output)

    def _cursor(self) -> tuple[int, int] | None:
        """Line and column for the text of an input method; None if the focus is not on an input."""
        if not hasattr(type(self._app.screen.focused), "cursor_screen_offset"):
            return None
        x, y = self._size.clamp_offset(self._app.cursor_position)
        return y, x


def _update_size(update: LayoutUpdate | ChopsUpdate) -> Size:
    """The size of the screen that an update is for."""
    if isinstance(update, LayoutUpdate):
        return Size(update.region.right, update.region.bottom)
    return Size(update.chop_ends[0][-1] if update.chop_ends else 0, len(update.chops))


def _is_textual_supported(app: App[Any]) -> bool:
    """Whether this Textual has all parts of the private interface that are used here."""
    return (
        vars(LayoutUpdate([], Region())).keys() == {"strips", "region"}
        and vars(ChopsUpdate([], [], [])).keys() == {"chops", "spans", "chop_ends"}
        and all(hasattr(app, name) for name in ("_batch_count", "_closed", "_sync_available", "cursor_position"))
        and hasattr(Strip, "render_ansi")
    )
