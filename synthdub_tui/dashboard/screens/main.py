"""The main screen: the grid with top line, details, filter and status line; movement, marks, filter and order.

What changes the batch is in `actions`; the methods here only name it for the keys.
"""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Horizontal
from textual.screen import Screen
from textual.widgets import Input, Static
from textual.worker import Worker

from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.actions.add import AddAction
from synthdub_tui.dashboard.actions.cancel import CancelAction
from synthdub_tui.dashboard.actions.context import ActionContext, CellKey
from synthdub_tui.dashboard.actions.copy import copy
from synthdub_tui.dashboard.actions.pause import pause_or_resume
from synthdub_tui.dashboard.actions.remove import RemoveAction
from synthdub_tui.dashboard.actions.retry import RetryAction
from synthdub_tui.dashboard.actions.review import set_reviewed
from synthdub_tui.dashboard.actions.start_runner import start_runner
from synthdub_tui.dashboard.actions.undo import undo
from synthdub_tui.dashboard.grid_model import FILE_COLUMN
from synthdub_tui.dashboard.keymap import BINDINGS as KEY_BINDINGS
from synthdub_tui.dashboard.keymap import DETAIL_SCROLL_ACTIONS, GRID_ACTIONS
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.session import Session
from synthdub_tui.dashboard.ui_state import UiStateStore
from synthdub_tui.dashboard.widgets import detail_pane
from synthdub_tui.dashboard.widgets.filter_input import FilterInput
from synthdub_tui.dashboard.widgets.grid import Grid
from synthdub_tui.dashboard.widgets.status_bar import StatusBar
from synthdub_tui.dashboard.widgets.summary_bar import SummaryBar
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import DubRef, ThumbnailRequest
from synthdub_tui.jobs.filters import Filter, FilterError, parse_filter
from synthdub_tui.jobs.sorting import SORT_KEYS
from synthdub_tui.problems import explain
from synthdub_tui.text import make_printable

TROUBLE_FILTER = "state:trouble"

WARNING_SECONDS = 15.0
"""Seconds for which a warning about the settings is shown."""

MIN_DETAIL_HEIGHT_SHARE = 0.45
"""Least share of the height for the details below the grid."""

MIN_DETAIL_COLUMNS, MAX_DETAIL_COLUMNS = 66, 100
"""Least and most columns of the details next to the grid."""

FRAME_SECONDS, SLOW_LINK_FRAME_SECONDS = 0.1, 0.25
"""Least seconds between two paints of the runner's messages, on normal and on slow links."""


class MainScreen(Screen[None]):
    """The screen below all others."""

    BINDINGS: ClassVar[list[BindingType]] = [*KEY_BINDINGS]
    AUTO_FOCUS = "#grid"

    def __init__(self, session: Session, ui_state: UiStateStore, options: DashboardOptions) -> None:
        super().__init__()
        self.session = session
        self.ui_state = ui_state
        self.options = options
        self.keymap = session.keymap
        self.status_bar = StatusBar(self.keymap, read_only=options.read_only)
        self._signs = grid_cells.ASCII_SIGNS if options.ascii else grid_cells.UNICODE_SIGNS
        self._frame = SLOW_LINK_FRAME_SECONDS if options.slow_link else FRAME_SECONDS
        self._paint_is_scheduled = False
        self._painted = 0.0
        self._restored = False
        self._filter_before = ""  # the filter before `action_failed_only`
        self._runner_was_lost = False  # no runner since the last one was attached
        self._described_cursor: object = None
        self.grid = Grid(session.batch, self._signs)
        self.actions = ActionContext(self, self.grid, self.status_bar, session, ui_state, options)
        self.add_action = AddAction(self.actions)
        self.cancel_action = CancelAction(self.actions)
        self._remove_action = RemoveAction(self.actions)
        self._retry_action = RetryAction(self.actions)
        self._summary_bar = SummaryBar(session.overview, self._signs, time.time)
        self._body = Container(id="body")
        self._pane = detail_pane.DetailPane()
        self._box = FilterInput(session.batch)

    def compose(self) -> ComposeResult:
        yield self._summary_bar
        with self._body:
            yield self.grid
            yield self._pane
        with Horizontal(id="filter-row"):
            yield Static("filter:", id="filter-label", markup=False)
            yield self._box
        yield self.status_bar

    def on_mount(self) -> None:
        self.session.on_change = self.schedule_paint
        self.session.on_link_state = self.handle_link_state
        self.set_class(self.ui_state.current.detail, "-detail")
        if self.ui_state.current.filter:
            self._apply(self.ui_state.current.filter)
        if self.ui_state.current.order in SORT_KEYS:
            self.session.batch.order = self.ui_state.current.order
        self.session.batch.set_preferred_languages(self.ui_state.current.columns)
        self.set_interval(1.0, self._update_every_second)
        self._update_status_bar()
        self.call_after_refresh(self._show_settings_warnings)

    def _show_settings_warnings(self) -> None:
        """Show warnings about the settings, once and for `WARNING_SECONDS` seconds; `synthdub doctor` shows them again."""
        for warning in self.options.warnings:
            self.notify(make_printable(warning, 4096), severity="warning", timeout=WARNING_SECONDS, markup=False)

    # -- painting ----------------------------------------------------------------------------------------------------

    def schedule_paint(self) -> None:
        """The model changed: paint soon, but not more often than the link allows."""
        cursor = self.grid.cursor
        if cursor is not None and cursor.job not in self.session.batch.rows and self.grid.is_mounted:
            self.grid.draw_changes()  # at once: the next key acts on the cursor's row
        if self._paint_is_scheduled:
            return
        self._paint_is_scheduled = True
        wait = self._painted + self._frame - time.monotonic()
        asyncio.get_running_loop().call_later(max(0.0, wait), self._paint)

    @property
    def _is_uncovered(self) -> bool:
        """Whether no other screen covers this one, and the app is not ending."""
        return self.is_mounted and self.app.is_running and self.app.screen is self

    def _paint(self) -> None:
        self._paint_is_scheduled = False
        if not self._is_uncovered:
            return  # everything is drawn when the screen is visible again
        self._painted = time.monotonic()
        self.grid.draw_changes()
        if not self._restored and self.session.batch.is_loaded:
            self._restored = True
            self.grid.restore_cursor(self.ui_state.current.job, self.ui_state.current.language)
        if self._restored and len(self.ui_state.current.columns) != len(self.session.batch.languages):
            self.ui_state.current.columns = self.session.batch.ordered_languages()
        self._summary_bar.show()
        self._update_status_bar()

    @on(events.ScreenResume)
    def _handle_screen_resume(self) -> None:
        self.schedule_paint()
        self._update_details()

    def _update_every_second(self) -> None:
        self.session.record_transfer_rate()
        if not self._is_uncovered:
            return
        self.grid.draw_elapsed_times()
        self._summary_bar.show()
        self.status_bar.clear_expired()
        self._update_details()

    def handle_link_state(self, state: LinkState) -> None:
        """The runner was attached or lost."""
        if state is LinkState.ATTACHED:
            if self._runner_was_lost:
                self.status_bar.show_event("A runner is at work again.")
            self._runner_was_lost = False
            self.add_action.add_command_line_paths()
        elif state is LinkState.GONE:
            self._runner_was_lost = True

    @on(Grid.CursorMoved)
    def _handle_cursor_move(self) -> None:
        cursor = self.grid.cursor
        if cursor is not None and self._restored:
            self.ui_state.current.job, self.ui_state.current.language = cursor
        self._update_details()

    def _update_details(self) -> None:
        """Show the details of the cursor's cell, if the pane is visible."""
        pane = self._pane
        if not pane.display:
            return
        self._size_detail_pane()
        cursor = self.grid.cursor
        if cursor is None:
            pane.show_details([((self._empty_grid_text(), ""),)], is_new_cell=False)
            return
        lines = detail_pane.describe_cell(
            self.session.batch, cursor.job, cursor.language, time.time(), self._signs, self.keymap
        )
        pane.show_details(lines, is_new_cell=cursor != self._described_cursor)
        self._described_cursor = cursor

    def _size_detail_pane(self) -> None:
        """Give the details the room that the grid does not need, and never less than their share."""
        pane, body = self._pane, self._body.size
        if self.has_class("-low"):
            pane.styles.width, pane.styles.height = "100%", "1fr"
        elif self.has_class("-wide"):
            width = max(MIN_DETAIL_COLUMNS, min(MAX_DETAIL_COLUMNS, body.width - self.grid.full_size.width))
            pane.styles.width, pane.styles.height = width, "1fr"
        else:
            height = max(round(body.height * MIN_DETAIL_HEIGHT_SHARE), body.height - self.grid.full_size.height)
            pane.styles.width, pane.styles.height = "100%", height

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= 200, "-wide")
        self.set_class(event.size.height < 16, "-low")
        self.call_after_refresh(self._update_details)

    async def find_thumbnail(self, output: tuple[str, str]) -> str:
        """Path of the picture of an output (job id, language); empty if the runner has none."""
        reply = await self.session.link.ask(ThumbnailRequest(cell=DubRef(*output)))
        return str(reply.result.get("path", ""))

    # -- movement ----------------------------------------------------------------------------------------------------

    def action_move(self, rows: int, columns: int) -> None:
        """Move the cursor by rows and columns."""
        self.grid.move_cursor(rows, columns)

    def action_page(self, pages: int) -> None:
        """Move the cursor by screenfuls."""
        self.grid.move_cursor(rows=pages * max(1, self.grid.page_rows - 1))

    def action_edge(self, end: int) -> None:
        """Move to the first or last row."""
        self.grid.move_cursor(rows=-len(self.session.batch.visible_rows) if end == 0 else len(self.session.batch.visible_rows))

    def action_column(self, end: int) -> None:
        """Move to the file column, or to the last language."""
        count = len(self.session.batch.columns) + 1
        self.grid.move_cursor(columns=-count if end == 0 else count)

    @on(Grid.CellActivated)
    def action_details(self) -> None:
        """Show or hide the details. On wide terminals they are shown from the start, next to the grid."""
        wide = self.has_class("-wide")
        self.toggle_class("-nodetail" if wide else "-detail")
        shown = not self.has_class("-nodetail") if wide else self.has_class("-detail")
        if not wide:
            self.ui_state.current.detail = shown
        if not shown:
            self.set_focus(self.grid)
        self.call_after_refresh(self._update_details)

    # -- marks -------------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark or unmark the cell; on the file column, the row."""
        if self.grid.cursor is not None:
            self.session.batch.toggle_mark(*self.grid.cursor)
            self.grid.draw_changes()
            self._update_status_bar()

    def action_mark_column(self) -> None:
        """Mark or unmark the column's shown cells."""
        cursor = self.grid.cursor
        if cursor is None or cursor.language == FILE_COLUMN:
            self.status_bar.show_message(
                "Put the cursor on a language to mark its column; on the file column, space marks a row."
            )
            return
        self.session.batch.toggle_column_marks(cursor.language)
        self.grid.draw_changes()
        self._update_status_bar()

    def action_mark_shown(self) -> None:
        """Mark all shown cells."""
        self.session.batch.mark_all_visible()
        self.grid.draw_changes()
        self._update_status_bar()

    def action_unmark(self) -> None:
        """Remove all marks."""
        self.session.batch.clear_marks()
        self.grid.draw_changes()
        self._update_status_bar()

    # -- find --------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the grid's keys that the filter or the details use while they have the focus."""
        return not self.focus_takes_key(action) and super().check_action(action, parameters) is not False

    def focus_takes_key(self, action: str) -> bool:
        """Whether the widget that has the focus uses the key of this action."""
        if isinstance(self.focused, FilterInput):
            return action in GRID_ACTIONS and action not in ("clear", "redraw")
        return isinstance(self.focused, detail_pane.DetailPane) and action in DETAIL_SCROLL_ACTIONS

    def action_filter(self) -> None:
        """Open the filter line. It has the focus at once, so that keys typed ahead reach it."""
        self.add_class("-filtering")
        self._box.value = self.ui_state.current.filter
        self._box.cursor_position = len(self._box.value)
        self.set_focus(self._box)

    def action_failed_only(self) -> None:
        """Show only dubs that failed or need a decision; the second time, restore the filter before that."""
        if self.ui_state.current.filter == TROUBLE_FILTER:
            self._apply(self._filter_before)
        else:
            self._filter_before = self.ui_state.current.filter
            self._apply(TROUBLE_FILTER)

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
        elif self.ui_state.current.filter:
            self._apply("")

    def action_sort(self) -> None:
        """Sort by the next order."""
        orders = list(SORT_KEYS)
        order = orders[(orders.index(self.session.batch.order) + 1) % len(orders)]
        self.session.batch.sort(order)
        self.ui_state.current.order = order
        self.grid.draw_changes()
        self.grid.reveal_cursor()
        self.status_bar.show_message(f"Sorted by {order}. Rows stay where they are until you sort again.")

    @on(Input.Changed, "#filter")
    def _handle_filter_change(self, event: Input.Changed) -> None:
        if self.has_class("-filtering"):
            self._apply(event.value)

    @on(Input.Submitted, "#filter")
    def _handle_filter_submit(self, event: Input.Submitted) -> None:
        self._apply(event.value)  # if keys come in a burst, `Input.Changed` arrives after this
        self._close_filter()

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.set_focus(self.grid)
        self._update_status_bar()

    def _apply(self, text: str) -> None:
        """Filter by the text. If it is not valid yet, show why and leave the rows unchanged."""
        try:
            wanted = parse_filter(text)
        except FilterError as error:
            self.status_bar.show_message(f"Filter: {error.message}", error=True)
            return
        self.ui_state.current.filter = text.strip()
        self._filter(wanted)

    def _filter(self, wanted: Filter) -> None:
        batch = self.session.batch
        batch.set_filter(wanted)
        if self.status_bar.message.startswith("Filter: "):
            self.status_bar.show_message("")
        self._update_status_bar()
        if self.grid.is_mounted:
            self.grid.draw_changes()
            self.grid.reveal_cursor()

    def _update_status_bar(self) -> None:
        batch, parts = self.session.batch, []
        marks = batch.marks.count
        if marks:
            parts.append(f"{marks:,} marked")
        if self.ui_state.current.filter:
            parts.append(self.ui_state.current.filter)
        if batch.is_loaded and not batch.visible_rows:
            parts.append(self._empty_grid_text())
        self.status_bar.set_idle_text("  ".join(parts), batch_is_empty=batch.is_loaded and not batch.rows)

    def _empty_grid_text(self) -> str:
        """Why no file is shown, and what to do."""
        if self.session.batch.rows:
            return f"Nothing matches. {self.keymap.key_label('clear')} clears the filter."
        return (
            "Nothing here yet."
            if self.options.read_only
            else f"Nothing here yet. {self.keymap.key_label('add_files')} adds files."
        )

    # -- actions on dubs and on the batch ----------------------------------------------------------------------------

    def action_add_files(self) -> None:
        self.add_action.add_files()

    def action_add_languages(self) -> None:
        self.add_action.add_languages()

    def action_retry(self) -> None:
        self._retry_action.retry()

    def action_retry_failed(self) -> None:
        self._retry_action.retry_failed()

    def action_cancel(self) -> None:
        self.cancel_action.cancel()

    def action_undo(self) -> None:
        undo(self.actions, self.cancel_action, self.add_action)

    def action_remove(self) -> None:
        self._remove_action.remove()

    def action_pause(self) -> None:
        self.actions.start(pause_or_resume(self.actions), "pause")

    def action_start_runner(self) -> None:
        start_runner(self.actions)

    def action_copy(self) -> None:
        copy(self.actions)

    def set_reviewed(self, cells: list[CellKey], reviewed: bool) -> None:
        """Set or remove review marks."""
        self.actions.start(set_reviewed(self.actions, cells, reviewed), "review")

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Report an unexpected exception in an action; otherwise only Textual's log would show it."""
        if event.worker.error is not None and event.state.name == "ERROR":
            problem = explain("internal", f"{event.worker.name}: {event.worker.error!r}")
            self.status_bar.show_message(problem.one_line(), error=True)
            self.app.log.error(problem.one_line())
