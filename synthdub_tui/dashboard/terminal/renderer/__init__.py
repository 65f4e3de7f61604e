"""Sends the terminal only changes: `Painter.paint` works between Textual's compositor and its driver.

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

from synthdub_tui.dashboard.terminal.renderer.canvas import Canvas, Cells
from synthdub_tui.dashboard.terminal.renderer.differ import Shown
from synthdub_tui.dashboard.terminal.renderer.sgr import Pens

_SYNC: Final = ("\x1b[?2026h", "\x1b[?2026l")
_AT_ONCE: Final = 1024
"""Characters that arrive in one piece anyway: only longer frames are bracketed as synchronized output."""


class Output(Protocol):
    """The part of a driver that a painter needs."""

    @property
    def behind(self) -> bool:
        """Whether the terminal has not yet accepted everything that was written."""

    def write(self, data: str) -> None:
        """Send soon."""

    def call_when_taken(self, callback: Callable[[], None]) -> None:
        """Call once, in the app, as soon as the terminal is no longer behind."""


class Painter:
    """Paints for one app, whose `App._display` must pass its updates here."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._able = _surface_is_known(app)
        self._waiting = False
        self._begin(Size(0, 0))

    def paint(self, update: RenderableType | None, output: Output | None) -> RenderableType | None:
        """Paint an update. Returns an update that Textual must display itself, since its kind is unknown; else None."""
        if output is None or not self._able:
            return update
        if isinstance(update, LayoutUpdate | ChopsUpdate):
            self._draw(update)
            self._send(output)
            return None
        if update is not None:  # Textual displays it, and its effect on the screen is unknown
            self._forget()
        return update

    def repaint(self, output: Output | None) -> None:
        """Paint everything, since the screen is in doubt (resized, resumed, written to by other programs)."""
        self._forget()
        if output is not None and self._able:
            self._send(output)

    def _begin(self, size: Size) -> None:
        """Start again, with an empty canvas of this size."""
        self._size = size
        colors = COLOR_SYSTEMS.get(self._app.console.color_system or "", ColorSystem.TRUECOLOR)  # for none, as Textual does
        self._cells, self._pens = Cells(), Pens(colors)
        self._canvas = Canvas(*size, self._cells, self._pens)
        self._forget()

    def _forget(self) -> None:
        self._shown = Shown(*self._size, self._cells, self._pens)
        self._canvas.dirty.update(range(self._size.height))

    def _draw(self, update: LayoutUpdate | ChopsUpdate) -> None:
        size = _size(update)
        if size != self._size or self._cells.full:
            self._begin(size)
        self._canvas.draw(update)

    def _send(self, output: Output) -> None:
        app = self._app
        if app._batch_count or app._closed or not app.is_running:
            return  # what was drawn is sent with a later update
        if output.behind:
            if not self._waiting:
                self._waiting = True
                output.call_when_taken(partial(self._go_on, output))
            return
        text = self._shown.changed(self._canvas, self._cursor())
        if len(text) > _AT_ONCE and app._sync_available:
            text = _SYNC[0] + text + _SYNC[1]
        if text:
            output.write(text)

    def _go_on(self, output: Output) -> None:
        self._waiting = False
        self._send(output)

    def _cursor(self) -> tuple[int, int] | None:
        """Line and column for the text of an input method; None if the focus is not on an input."""
        if not hasattr(type(self._app.screen.focused), "cursor_screen_offset"):
            return None
        x, y = self._size.clamp_offset(self._app.cursor_position)
        return y, x


def _size(update: LayoutUpdate | ChopsUpdate) -> Size:
    """The size of the screen that an update is for."""
    if isinstance(update, LayoutUpdate):
        return Size(update.region.right, update.region.bottom)
    return Size(update.chop_ends[0][-1] if update.chop_ends else 0, len(update.chops))


def _surface_is_known(app: App[Any]) -> bool:
    """Whether this Textual has all parts of the private interface that are used here."""
    return (
        vars(LayoutUpdate([], Region())).keys() == {"strips", "region"}
        and vars(ChopsUpdate([], [], [])).keys() == {"chops", "spans", "chop_ends"}
        and all(hasattr(app, name) for name in ("_batch_count", "_closed", "_sync_available", "cursor_position"))
        and hasattr(Strip, "render_ansi")
    )
