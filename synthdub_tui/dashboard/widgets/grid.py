"""The grid of files by languages. Draws only the visible part of the model, and again only what changed.

The first lines of the widget are the header, the first columns the names (`_Measures`); both stay while the rest scrolls. In
the virtual space, the rows begin after the header.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple, Self

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.grid_model import FILE_COLUMN, GridModel, PendingRedraw
from synthdub_tui.jobs.model import DubState

FULL_HEADER_LINES = 3
"""Lines of a full header."""

MAX_FILE_COLUMN_WIDTH = 80
"""Most columns of the terminal for the file column."""

_STYLES = ("header", "trouble", "file", "faint", "cursor", *(state.value for state in DubState))


class GridCursor(NamedTuple):
    """A place in the grid; an empty language is the file column."""

    job: str
    language: str


class _Measures(NamedTuple):
    """How the widget's area is divided: columns of the file column and of a cell, lines of the header."""

    file: int
    cell: int
    header: int
    compact: bool


class Grid(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows a `GridModel` and keeps the cursor. Whoever changes the model calls `draw_changes` afterwards."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"grid--{name}" for name in _STYLES}

    class CursorMoved(Message):
        """The cursor is on another cell, or its cell has changed."""

    class CellActivated(Message):
        """A click on the cell that was already under the cursor."""

    def __init__(self, model: GridModel, signs: grid_cells.Signs, clock: Callable[[], float] = time.time) -> None:
        super().__init__(id="grid")
        self.model = model
        self.cursor: GridCursor | None = None
        self._signs = signs
        self._clock = clock
        self._measures = _Measures(16, grid_cells.WIDE_CELL_WIDTH, 2, False)
        self._style_cache: dict[str, Style] = {}
        self._filtered_style_cache: dict[Style, Style] = {}  # style → style after Textual's filters
        self._lines: dict[int, Strip] = {}  # line → as last drawn
        self._pieces: dict[int, list[Segment]] = {}  # line → its row as last drawn: file column, visible columns
        self._view: object = None
        self._ticked_at = clock()
        self._row = 0  # the cursor's last index, for when its row is removed

    # -- drawing -----------------------------------------------------------------------------------------------------

    def render_lines(self, crop: Region) -> list[Strip]:
        """As Textual's own, but without borders, padding and opacity, which this widget never has: half the time under load."""
        size = self.region.size
        strips = []
        for y in crop.line_range:
            strip = self._lines.get(y)
            if strip is None:
                strip = self._lines[y] = self.render_line(y)
            strips.append(strip)
        return [strip.crop(*crop.column_span) for strip in strips] if crop.column_span != (0, size.width) else strips

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        for region in regions:
            for y in region.line_range:
                self._lines.pop(y, None)
        if not regions or regions[0] == self.size.region:  # scrolling refreshes the whole region
            self._clear_caches()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_line(self, y: int) -> Strip:
        width, measures = self.size.width, self._measures
        if y < measures.header:
            return self._header_line(y, width)
        row = y - measures.header + self.scroll_offset.y
        if row >= len(self.model.visible_rows):
            return Strip.blank(width, self._filter_style(self._named_style("")))
        pieces = self._pieces.get(y)
        if pieces is None:
            pieces = self._pieces[y] = self._row_pieces(row)
        return self._join_segments(pieces, width, self._named_style(""))

    def _header_line(self, y: int, width: int) -> Strip:
        model, measures = self.model, self._measures
        style = self._named_style("header")
        shown, known = len(model.visible_rows), len(model.rows)
        title = f"{shown}" if shown == known else f"{shown} of {known}"
        words = (
            f" {title} {'file' if known == 1 else 'files'}",
            f" {model.overall[DubState.DONE]}/{model.overall.dubs} dubs",
            "",
        )
        segments = [Segment(grid_cells.fit_middle(words[y], measures.file, self._signs), self._filter_style(style))]
        look = self._named_style("trouble") if y == 2 else style
        for code in self._visible_columns():
            text = grid_cells.header_lines(code, model.totals[code], measures.cell, measures.header, self._signs)[y]
            here = self.cursor is not None and self.cursor.language == code and y == 0
            segments.append(Segment(text, self._filter_style(look + self._named_style("cursor") if here else look)))
        return self._join_segments(segments, width, style)

    def _row_pieces(self, row: int) -> list[Segment]:
        job = self.model.visible_rows[row].job.id
        now = self._clock()
        return [self._piece(job, code, now) for code in (FILE_COLUMN, *self._visible_columns())]

    def _piece(self, job: str, code: str, now: float) -> Segment:
        marked = self.model.marks.columns_of(job) != 0 and self.model.is_marked(job, code)
        return self._file(job, marked) if code == FILE_COLUMN else self._cell(job, code, now, marked)

    def _file(self, job: str, marked: bool) -> Segment:
        upload = self.model.transfers.get((job, FILE_COLUMN))
        about = self.model.rows[job].job
        name = self.model.display_names.for_job(about)
        text = grid_cells.file_text(about, name, upload, self._measures.file, self._signs, marked=marked)
        look = self._named_style("file")
        if self.cursor is not None and self.cursor.job == job:
            look += self._named_style("cursor") if self.cursor.language == FILE_COLUMN else Style(bold=True)
        return Segment(text, self._filter_style(look))

    def _cell(self, job: str, code: str, now: float, marked: bool) -> Segment:
        model, measures = self.model, self._measures
        dub = model.rows[job].job.dubs.get(code)
        look = self._named_style("")
        text = " " * measures.cell
        if dub is not None:
            transfer = model.transfers.get((job, code)) if dub.state is DubState.DOWNLOADING else None
            text = grid_cells.dub_text(dub, transfer, now, self._signs, compact=measures.compact, marked=marked)
            look = self._named_style(grid_cells.displayed_state(dub).value if model.dub_matches_filter(dub, code) else "faint")
        if self.cursor == (job, code):
            look += self._named_style("cursor")
        return Segment(text, self._filter_style(look))

    def _join_segments(self, segments: list[Segment], width: int, blank: Style) -> Strip:
        """The file column and whole columns; blanks fill the rest of the line."""
        measures = self._measures
        used = measures.file + measures.cell * (len(segments) - 1)
        if used < width:
            return Strip([*segments, Segment(" " * (width - used), self._filter_style(blank))], width)
        return Strip(segments, used).adjust_cell_length(width)

    @property
    def _visible_column_count(self) -> int:
        """Number of whole columns that are visible at once; at least one, even if it is cut."""
        return max(1, (self.size.width - self._measures.file) // self._measures.cell)

    @property
    def _first_visible_column(self) -> int:
        """Index of the first visible column. The scroll position is rounded down to a whole column."""
        return self.scroll_offset.x // self._measures.cell

    def _visible_columns(self) -> list[str]:
        return self.model.columns[self._first_visible_column : self._first_visible_column + self._visible_column_count]

    def _named_style(self, name: str) -> Style:
        """A style by name, over the widget's own; the empty name is the widget's own. Cached, since reading CSS is slow."""
        style = self._style_cache.get(name)
        if style is None:
            base = self.rich_style if name != "cursor" else Style()
            style = base + self.get_component_rich_style(f"grid--{name}", partial=True) if name else base
            self._style_cache[name] = style
        return style

    def _filter_style(self, style: Style) -> Style:
        """A style after Textual's filters (fewer colours, none). Filtered once per style: filtering whole lines is slow."""
        done = self._filtered_style_cache.get(style)
        if done is None:
            segments, background = [Segment(" ", style)], self.background_colors[1]
            for line_filter in self.get_line_filters():
                segments = line_filter.apply(segments, background)
            done = self._filtered_style_cache[style] = segments[0].style or style
        return done

    def notify_style_update(self) -> None:
        self._style_cache.clear()
        self._filtered_style_cache.clear()
        self._clear_caches()
        super().notify_style_update()

    # -- changes -----------------------------------------------------------------------------------------------------

    def draw_changes(self) -> None:
        """Draw the changes of the model."""
        dirty = self.model.take_pending_redraw()
        if dirty.layout:
            self._update_layout()
        if dirty.everything:
            self.refresh()
            self.post_message(self.CursorMoved())
        else:
            self._refresh_dirty(dirty)

    def draw_elapsed_times(self) -> None:
        """Time passed: draw cells again whose elapsed time has another text now."""
        before, self._ticked_at = self._ticked_at, self._clock()
        places = []
        for row in self._visible_row_range():
            job = self.model.visible_rows[row].job
            for code in self._visible_columns():
                dub = job.dubs.get(code)
                if dub is not None and dub.state is DubState.DUBBING:
                    begun = dub.submitted or dub.since
                    if grid_cells.format_elapsed(before - begun) != grid_cells.format_elapsed(self._ticked_at - begun):
                        places.append((row, code))
        self._refresh_cells(places)

    def _refresh_dirty(self, dirty: PendingRedraw) -> None:
        seen, columns = self._visible_row_range(), set(self._visible_columns())
        places = []
        for job, code in dirty.cells:
            row = self.model.row_index(job) if code in columns or code == FILE_COLUMN else None
            if row is not None and row in seen:
                places.append((row, code))
            if self.cursor is not None and job == self.cursor.job:
                self.post_message(self.CursorMoved())
        self._refresh_cells(places)
        for code in dirty.languages & columns:
            self.refresh(Region(self._column_x(code), 0, self._measures.cell, self._measures.header))
        if dirty.languages:
            self.refresh(Region(0, 0, self._measures.file, self._measures.header))

    def _refresh_cells(self, places: Iterable[tuple[int, str]]) -> None:
        """Draw visible cells again, all at once. The rest of their lines is kept."""
        measures, shown, now = self._measures, self.model.visible_rows, self._clock()
        first_line = measures.header - self.scroll_offset.y
        columns = {code: number for number, code in enumerate((FILE_COLUMN, *self._visible_columns()))}
        regions = []
        for row, code in places:
            y, place = row + first_line, columns[code]
            pieces = self._pieces.get(y)
            if pieces is not None and place < len(pieces):
                pieces[place] = self._piece(shown[row].job.id, code, now)
            x = measures.file + measures.cell * (place - 1) if place else 0
            regions.append(Region(x, y, measures.cell if place else measures.file, 1))
        if regions:
            self.refresh(*regions)

    def _clear_caches(self) -> None:
        """Discard everything that was drawn."""
        self._lines.clear()
        self._pieces.clear()

    def _visible_row_range(self) -> range:
        top = self.scroll_offset.y
        return range(top, min(len(self.model.visible_rows), top + max(0, self.size.height - self._measures.header)))

    def _column_x(self, code: str) -> int:
        return self._measures.file + (self.model.columns.index(code) - self._first_visible_column) * self._measures.cell

    def reveal_cursor(self) -> None:
        """Show the cursor at its new place, after the rows were sorted or filtered."""
        self._scroll_to_cursor()

    # -- layout ------------------------------------------------------------------------------------------------------

    def _update_layout(self) -> None:
        """Fit the virtual size to the model, and keep the cursor's row at its place on the screen."""
        model = self.model
        self._measure()
        measures = self._measures
        width = (
            measures.cell * (len(model.columns) - self._visible_column_count) + self.size.width
        )  # the last step scrolls a whole column
        self.virtual_size = Size(width, measures.header + len(model.visible_rows))
        before = self._row
        self._place_cursor()
        if self._row != before and self.scroll_offset.y:
            self.scroll_to(y=max(0, self.scroll_offset.y + self._row - before), animate=False, immediate=True)
        seen = self._visible_row_range()
        view = (len(model.visible_rows), [model.visible_rows[row].job.id for row in seen], list(model.columns), measures)
        if view != self._view:
            if self._view is None or view[1:] != self._view[1:]:  # type: ignore[index]
                self.refresh()
            else:
                self.refresh(Region(0, 0, measures.file, measures.header))
            self._view = view

    def _measure(self) -> None:
        width, height = self.size
        compact = self.app.size.width < 80
        spare = width - grid_cells.WIDE_CELL_WIDTH * len(self.model.columns) - 1
        wide = (16, max(28, width // 4, spare))
        least, most = (6, 10) if width < 30 else (10, 16) if width < 60 else (12, 24) if compact else wide
        file = max(least, min(most, self._wanted_file_width))
        header = 1 if height < 8 else FULL_HEADER_LINES if height >= 16 or self.full_size.height <= height else 2
        self._measures = _Measures(
            file, grid_cells.COMPACT_CELL_WIDTH if compact else grid_cells.WIDE_CELL_WIDTH, header, compact
        )
        self.set_class(width < 30 or height < 8, "-small")

    def _place_cursor(self) -> None:
        """Keep the cursor valid: on its job if that is still shown, else on the row that took its place."""
        shown, columns = self.model.visible_rows, self.model.columns
        if not shown:
            self.cursor = None
            return
        here = self.model.row_index(self.cursor.job) if self.cursor is not None else None
        self._row = here if here is not None else min(self._row, len(shown) - 1)
        language = self.cursor.language if self.cursor is not None else (columns[0] if columns else FILE_COLUMN)
        if language != FILE_COLUMN and language not in columns:
            language = columns[0] if columns else FILE_COLUMN
        place = GridCursor(shown[self._row].job.id, language)
        if place != self.cursor:
            self.cursor = place
            self.model.pin(place.job)
            self.post_message(self.CursorMoved())

    def on_resize(self) -> None:
        self._clear_caches()
        self._update_layout()
        self._view = None
        self._scroll_to_cursor()

    # -- the cursor --------------------------------------------------------------------------------------------------

    def move_cursor(self, rows: int = 0, columns: int = 0) -> None:
        """Move the cursor by these rows and columns, as far as possible."""
        if self.cursor is None:
            return
        order = [FILE_COLUMN, *self.model.columns]
        column = max(0, min(len(order) - 1, order.index(self.cursor.language) + columns))
        self.set_cursor(self._row + rows, order[column])

    def set_cursor(self, row: int, language: str) -> None:
        """Put the cursor on a row, or on the nearest one."""
        shown = self.model.visible_rows
        if not shown:
            return
        target = shown[max(0, min(len(shown) - 1, row))].job.id
        old = self.cursor
        if old == (target, language):
            return
        self.cursor = GridCursor(target, language)
        self.model.pin(target)
        if self.model.needs_redraw:
            self.draw_changes()
        self._row = self.model.row_index(target) or 0
        self._refresh_cursor(old)
        self._scroll_to_cursor()
        self.post_message(self.CursorMoved())

    def restore_cursor(self, job: str, language: str) -> None:
        """Put the cursor where it was in an earlier run, if that job is still shown."""
        row = self.model.row_index(job)
        if row is not None:
            self.set_cursor(row, language if language in self.model.columns else FILE_COLUMN)

    @property
    def full_size(self) -> Size:
        """The size in terminal cells that shows all rows and columns, with a full header and scroll bars."""
        columns = self._wanted_file_width + self._measures.cell * len(self.model.columns)
        return Size(columns + 1, FULL_HEADER_LINES + len(self.model.visible_rows) + 1)

    @property
    def _wanted_file_width(self) -> int:
        """Width of the file column for the longest name and its stage, at most `MAX_FILE_COLUMN_WIDTH`."""
        return min(MAX_FILE_COLUMN_WIDTH, self.model.widest_name_cells + 8)

    @property
    def page_rows(self) -> int:
        """Number of rows that are visible at once."""
        return max(1, self.size.height - self._measures.header)

    def _refresh_cursor(self, old: GridCursor | None) -> None:
        assert self.cursor is not None
        for place in (old, self.cursor):
            if place is None or (row := self.model.row_index(place.job)) is None:
                continue
            if row in self._visible_row_range():
                seen = place.language in self._visible_columns()
                self._refresh_cells([(row, FILE_COLUMN), *([(row, place.language)] if seen else [])])
            if (old is None or old.language != self.cursor.language) and place.language in self._visible_columns():
                self.refresh(Region(self._column_x(place.language), 0, self._measures.cell, 1))

    def _scroll_to_cursor(self) -> None:
        """Scroll as little as needed to see the cursor."""
        if self.cursor is None:
            return
        measures = self._measures
        x, y = self.scroll_offset
        y = min(max(y, self._row - self.page_rows + 1), self._row)
        if self.cursor.language != FILE_COLUMN:
            column = self.model.columns.index(self.cursor.language)
            x = min(max(self._first_visible_column, column - self._visible_column_count + 1), column) * measures.cell
        if (x, y) != self.scroll_offset:
            self.scroll_to(x, y, animate=False, immediate=True)

    # -- mouse -------------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        measures = self._measures
        row = event.y - measures.header + self.scroll_offset.y
        if event.y < measures.header or row >= len(self.model.visible_rows):
            return
        column = (event.x - measures.file) // measures.cell + self._first_visible_column
        if event.x < measures.file:
            language = FILE_COLUMN
        elif column < len(self.model.columns):
            language = self.model.columns[column]
        else:
            return
        again = self.cursor == (self.model.visible_rows[row].job.id, language)
        self.set_cursor(row, language)
        if again:
            self.post_message(self.CellActivated())
