"""The main screen: the grid with top line, details, filter and status line; movement, marks, filter and order.

The base classes `Deeds` and `Adding` send requests to the runner.
"""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.widgets import Input, Static

from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.actions.retry import Deeds
from synthdub_tui.dashboard.grid_model import FILE
from synthdub_tui.dashboard.keymap import ACTIONS, READING
from synthdub_tui.dashboard.keymap import BINDINGS as KEY_BINDINGS
from synthdub_tui.dashboard.options import Options
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.ui_state import Memory
from synthdub_tui.dashboard.widgets import detail_pane
from synthdub_tui.dashboard.widgets.filter_input import FilterBox
from synthdub_tui.dashboard.widgets.grid import Grid
from synthdub_tui.dashboard.widgets.summary_bar import Topline
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import Cell, Thumbnail
from synthdub_tui.jobs.filters import Filter, FilterError, parse
from synthdub_tui.jobs.sorting import ORDERS
from synthdub_tui.text import printable

TROUBLE = "state:trouble"

WARNED = 15.0
"""Seconds for which a warning about the settings is shown."""

DETAIL_SHARE = 0.45
"""Least share of the height for the details below the grid."""

DETAIL_WIDTH, DETAIL_WIDEST = 66, 100
"""Least and most columns of the details next to the grid."""

FRAME, SLOW_FRAME = 0.1, 0.25
"""Least seconds between two paints of the runner's messages, on normal and on slow links."""


class MainScreen(Deeds):
    """The screen below all others."""

    BINDINGS: ClassVar[list[BindingType]] = [*KEY_BINDINGS]
    AUTO_FOCUS = "#grid"

    def __init__(self, session: Session, memory: Memory, options: Options) -> None:
        super().__init__(session, memory, options)
        self._signs = grid_cells.ASCII if options.ascii else grid_cells.UNICODE
        self._frame = SLOW_FRAME if options.slow_link else FRAME
        self._armed = False
        self._painted = 0.0
        self._restored = False
        self._filter_before = ""  # the filter before `action_failed_only`
        self._lost = False  # no runner since the last one was attached
        self._told: object = None
        self.grid = Grid(session.batch, self._signs)
        self._topline = Topline(session.overview, self._signs, time.time)
        self._body = Container(id="body")
        self._pane = detail_pane.Detail()
        self._box = FilterBox(session.batch)

    def compose(self) -> ComposeResult:
        yield self._topline
        with self._body:
            yield self.grid
            yield self._pane
        with Horizontal(id="filter-row"):
            yield Static("filter:", id="filter-label", markup=False)
            yield self._box
        yield self.status

    def on_mount(self) -> None:
        self.session.on_change = self.changed
        self.session.on_state = self.link_changed
        self.set_class(self.memory.now.detail, "-detail")
        if self.memory.now.filter:
            self._apply(self.memory.now.filter)
        if self.memory.now.order in ORDERS:
            self.session.batch.order = self.memory.now.order
        self.session.batch.prefer(self.memory.now.columns)
        self.set_interval(1.0, self._second)
        self._standing()
        self.call_after_refresh(self._warn)

    def _warn(self) -> None:
        """Show warnings about the settings, once and for `WARNED` seconds; `synthdub doctor` shows them again."""
        for warning in self.options.warnings:
            self.notify(printable(warning, 4096), severity="warning", timeout=WARNED, markup=False)

    # -- painting ----------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """The model changed: paint soon, but not more often than the link allows."""
        cursor = self.grid.cursor
        if cursor is not None and cursor.job not in self.session.batch.rows and self.grid.is_mounted:
            self.grid.flush()  # at once: the next key acts on the cursor's row
        if self._armed:
            return
        self._armed = True
        wait = self._painted + self._frame - time.monotonic()
        asyncio.get_running_loop().call_later(max(0.0, wait), self._paint)

    @property
    def _seen(self) -> bool:
        """Whether no other screen covers this one, and the app is not ending."""
        return self.is_mounted and self.app.is_running and self.app.screen is self

    def _paint(self) -> None:
        self._armed = False
        if not self._seen:
            return  # everything is drawn when the screen is visible again
        self._painted = time.monotonic()
        self.grid.flush()
        if not self._restored and self.session.batch.loaded:
            self._restored = True
            self.grid.restore(self.memory.now.job, self.memory.now.language)
        if self._restored and len(self.memory.now.columns) != len(self.session.batch.languages):
            self.memory.now.columns = self.session.batch.ordered_languages()
        self._topline.show()
        self._standing()

    @on(events.ScreenResume)
    def _uncovered(self) -> None:
        self.changed()
        self._tell()

    def _second(self) -> None:
        self.session.sample()
        if not self._seen:
            return
        self.grid.tick()
        self._topline.show()
        self.status.tick()
        self._tell()

    def link_changed(self, state: LinkState) -> None:
        """The runner was attached or lost."""
        if state is LinkState.ATTACHED:
            if self._lost:
                self.status.tell("A runner is at work again.")
            self._lost = False
            self.add_named()
        elif state is LinkState.GONE:
            self._lost = True

    @on(Grid.Moved)
    def _moved(self) -> None:
        cursor = self.grid.cursor
        if cursor is not None and self._restored:
            self.memory.now.job, self.memory.now.language = cursor
        self._tell()

    def _tell(self) -> None:
        """Show the details of the cursor's cell, if the pane is visible."""
        pane = self._pane
        if not pane.display:
            return
        self._share_room()
        cursor = self.grid.cursor
        if cursor is None:
            pane.tell([((self._nothing(), ""),)], fresh=False)
            return
        lines = detail_pane.describe(self.session.batch, cursor.job, cursor.language, time.time(), self._signs, self.keymap)
        pane.tell(lines, fresh=cursor != self._told)
        self._told = cursor

    def _share_room(self) -> None:
        """Give the details the room that the grid does not need, and never less than their share."""
        pane, body = self._pane, self._body.size
        if self.has_class("-low"):
            pane.styles.width, pane.styles.height = "100%", "1fr"
        elif self.has_class("-wide"):
            width = max(DETAIL_WIDTH, min(DETAIL_WIDEST, body.width - self.grid.full_size.width))
            pane.styles.width, pane.styles.height = width, "1fr"
        else:
            height = max(round(body.height * DETAIL_SHARE), body.height - self.grid.full_size.height)
            pane.styles.width, pane.styles.height = "100%", height

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= 200, "-wide")
        self.set_class(event.size.height < 16, "-low")
        self.call_after_refresh(self._tell)

    async def thumbnail(self, output: tuple[str, str]) -> str:
        """Path of the picture of an output (job id, language); empty if the runner has none."""
        reply = await self.session.link.ask(Thumbnail(cell=Cell(*output)))
        return str(reply.result.get("path", ""))

    # -- movement ----------------------------------------------------------------------------------------------------

    def action_move(self, rows: int, columns: int) -> None:
        """Move the cursor by rows and columns."""
        self.grid.move(rows, columns)

    def action_page(self, pages: int) -> None:
        """Move the cursor by screenfuls."""
        self.grid.move(rows=pages * max(1, self.grid.page - 1))

    def action_edge(self, end: int) -> None:
        """Move to the first or last row."""
        self.grid.move(rows=-len(self.session.batch.shown) if end == 0 else len(self.session.batch.shown))

    def action_column(self, end: int) -> None:
        """Move to the file column, or to the last language."""
        count = len(self.session.batch.columns) + 1
        self.grid.move(columns=-count if end == 0 else count)

    @on(Grid.Chosen)
    def action_details(self) -> None:
        """Show or hide the details. On wide terminals they are shown from the start, next to the grid."""
        wide = self.has_class("-wide")
        self.toggle_class("-nodetail" if wide else "-detail")
        shown = not self.has_class("-nodetail") if wide else self.has_class("-detail")
        if not wide:
            self.memory.now.detail = shown
        if not shown:
            self.set_focus(self.grid)
        self.call_after_refresh(self._tell)

    # -- marks -------------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark or unmark the cell; on the file column, the row."""
        if self.grid.cursor is not None:
            self.session.batch.toggle(*self.grid.cursor)
            self.grid.flush()
            self._standing()

    def action_mark_column(self) -> None:
        """Mark or unmark the column's shown cells."""
        cursor = self.grid.cursor
        if cursor is None or cursor.language == FILE:
            self.status.say("Put the cursor on a language to mark its column; on the file column, space marks a row.")
            return
        self.session.batch.toggle_column(cursor.language)
        self.grid.flush()
        self._standing()

    def action_mark_shown(self) -> None:
        """Mark all shown cells."""
        self.session.batch.mark_shown()
        self.grid.flush()
        self._standing()

    def action_unmark(self) -> None:
        """Remove all marks."""
        self.session.batch.unmark()
        self.grid.flush()
        self._standing()

    # -- find --------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the grid's keys that the filter or the details use while they have the focus."""
        return not self.taken(action) and super().check_action(action, parameters) is not False

    def taken(self, action: str) -> bool:
        """Whether the widget that has the focus uses the key of this action."""
        if isinstance(self.focused, FilterBox):
            return action in ACTIONS and action not in ("clear", "redraw")
        return isinstance(self.focused, detail_pane.Detail) and action in READING

    def action_filter(self) -> None:
        """Open the filter line. It has the focus at once, so that keys typed ahead reach it."""
        self.add_class("-filtering")
        self._box.value = self.memory.now.filter
        self._box.cursor_position = len(self._box.value)
        self.set_focus(self._box)

    def action_failed_only(self) -> None:
        """Show only dubs that failed or need a decision; the second time, restore the filter before that."""
        if self.memory.now.filter == TROUBLE:
            self._apply(self._filter_before)
        else:
            self._filter_before = self.memory.now.filter
            self._apply(TROUBLE)

    def action_clear(self) -> None:
        """Close the filter line or the details, else remove the marks, else clear the filter."""
        if self.has_class("-filtering"):
            self._close_filter()
        elif self.focused is not self.grid and not self.has_class("-low"):
            self.set_focus(self.grid)
        elif self.has_class("-detail") and not self.has_class("-wide"):
            self.action_details()
        elif self.session.batch.marks:
            self.action_unmark()
        elif self.memory.now.filter:
            self._apply("")

    def action_sort(self) -> None:
        """Sort by the next order."""
        orders = list(ORDERS)
        order = orders[(orders.index(self.session.batch.order) + 1) % len(orders)]
        self.session.batch.sort(order)
        self.memory.now.order = order
        self.grid.flush()
        self.grid.follow()
        self.status.say(f"Sorted by {order}. Rows stay where they are until you sort again.")

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        if self.has_class("-filtering"):
            self._apply(event.value)

    @on(Input.Submitted, "#filter")
    def _submitted(self, event: Input.Submitted) -> None:
        self._apply(event.value)  # if keys come in a burst, `Input.Changed` arrives after this
        self._close_filter()

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.set_focus(self.grid)
        self._standing()

    def _apply(self, text: str) -> None:
        """Filter by the text. If it is not valid yet, show why and leave the rows unchanged."""
        try:
            wanted = parse(text)
        except FilterError as error:
            self.status.say(f"Filter: {error.message}", error=True)
            return
        self.memory.now.filter = text.strip()
        self._filter(wanted)

    def _filter(self, wanted: Filter) -> None:
        batch = self.session.batch
        batch.set_filter(wanted)
        if self.status.message.startswith("Filter: "):
            self.status.say("")
        self._standing()
        if self.grid.is_mounted:
            self.grid.flush()
            self.grid.follow()

    def _standing(self) -> None:
        batch, parts = self.session.batch, []
        marks = batch.marks.count
        if marks:
            parts.append(f"{marks:,} marked")
        if self.memory.now.filter:
            parts.append(self.memory.now.filter)
        if batch.loaded and not batch.shown:
            parts.append(self._nothing())
        self.status.standing("  ".join(parts), empty=batch.loaded and not batch.rows)

    def _nothing(self) -> str:
        """Why no file is shown, and what to do."""
        if self.session.batch.rows:
            return f"Nothing matches. {self.keymap.shown('clear')} clears the filter."
        return (
            "Nothing here yet." if self.options.read_only else f"Nothing here yet. {self.keymap.shown('add_files')} adds files."
        )
