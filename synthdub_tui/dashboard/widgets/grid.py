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
from synthdub_tui.dashboard.grid_model import FILE, Batch, Dirty
from synthdub_tui.jobs.model import DubState

HEADER = 3
"""Lines of a full header."""

LONGEST = 80
"""Most columns of the terminal for the file column."""

_STYLES = ("header", "trouble", "file", "faint", "cursor", *(state.value for state in DubState))


class Cursor(NamedTuple):
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
    """Shows a `Batch` and keeps the cursor. Whoever changes the model calls `flush` afterwards."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"grid--{name}" for name in _STYLES}

    class Moved(Message):
        """The cursor is on another cell, or its cell has changed."""

    class Chosen(Message):
        """A click on the cell that was already under the cursor."""

    def __init__(self, model: Batch, signs: grid_cells.Signs, clock: Callable[[], float] = time.time) -> None:
        super().__init__(id="grid")
        self.model = model
        self.cursor: Cursor | None = None
        self._signs = signs
        self._clock = clock
        self._measures = _Measures(16, grid_cells.WIDE, 2, False)
        self._looks: dict[str, Style] = {}
        self._drawn: dict[Style, Style] = {}  # style → style after Textual's filters
        self._lines: dict[int, Strip] = {}  # line → as last drawn
        self._pieces: dict[int, list[Segment]] = {}  # line → its row as last drawn: file column, visible columns
        self._view: object = None
        self._ticked = clock()
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
            self._forget()
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_line(self, y: int) -> Strip:
        width, measures = self.size.width, self._measures
        if y < measures.header:
            return self._header_line(y, width)
        row = y - measures.header + self.scroll_offset.y
        if row >= len(self.model.shown):
            return Strip.blank(width, self._filtered(self._look("")))
        pieces = self._pieces.get(y)
        if pieces is None:
            pieces = self._pieces[y] = self._row_pieces(row)
        return self._laid_out(pieces, width, self._look(""))

    def _header_line(self, y: int, width: int) -> Strip:
        model, measures = self.model, self._measures
        style = self._look("header")
        shown, known = len(model.shown), len(model.rows)
        title = f"{shown}" if shown == known else f"{shown} of {known}"
        words = (
            f" {title} {'file' if known == 1 else 'files'}",
            f" {model.overall[DubState.DONE]}/{model.overall.dubs} dubs",
            "",
        )
        segments = [Segment(grid_cells.fitted(words[y], measures.file, self._signs), self._filtered(style))]
        look = self._look("trouble") if y == 2 else style
        for code in self._columns_seen():
            text = grid_cells.header_lines(code, model.totals[code], measures.cell, measures.header, self._signs)[y]
            here = self.cursor is not None and self.cursor.language == code and y == 0
            segments.append(Segment(text, self._filtered(look + self._look("cursor") if here else look)))
        return self._laid_out(segments, width, style)

    def _row_pieces(self, row: int) -> list[Segment]:
        job = self.model.shown[row].job.id
        now = self._clock()
        return [self._piece(job, code, now) for code in (FILE, *self._columns_seen())]

    def _piece(self, job: str, code: str, now: float) -> Segment:
        marked = self.model.marks.of(job) != 0 and self.model.marked(job, code)
        return self._file(job, marked) if code == FILE else self._cell(job, code, now, marked)

    def _file(self, job: str, marked: bool) -> Segment:
        upload = self.model.transfers.get((job, FILE))
        about = self.model.rows[job].job
        name = self.model.names.of(about)
        text = grid_cells.file_text(about, name, upload, self._measures.file, self._signs, marked=marked)
        look = self._look("file")
        if self.cursor is not None and self.cursor.job == job:
            look += self._look("cursor") if self.cursor.language == FILE else Style(bold=True)
        return Segment(text, self._filtered(look))

    def _cell(self, job: str, code: str, now: float, marked: bool) -> Segment:
        model, measures = self.model, self._measures
        dub = model.rows[job].job.dubs.get(code)
        look = self._look("")
        text = " " * measures.cell
        if dub is not None:
            transfer = model.transfers.get((job, code)) if dub.state is DubState.DOWNLOADING else None
            text = grid_cells.dub_text(dub, transfer, now, self._signs, compact=measures.compact, marked=marked)
            look = self._look(grid_cells.sign_state(dub).value if model.applies(dub, code) else "faint")
        if self.cursor == (job, code):
            look += self._look("cursor")
        return Segment(text, self._filtered(look))

    def _laid_out(self, segments: list[Segment], width: int, blank: Style) -> Strip:
        """The file column and whole columns; blanks fill the rest of the line."""
        measures = self._measures
        used = measures.file + measures.cell * (len(segments) - 1)
        if used < width:
            return Strip([*segments, Segment(" " * (width - used), self._filtered(blank))], width)
        return Strip(segments, used).adjust_cell_length(width)

    @property
    def _room(self) -> int:
        """Number of whole columns that are visible at once; at least one, even if it is cut."""
        return max(1, (self.size.width - self._measures.file) // self._measures.cell)

    @property
    def _first(self) -> int:
        """Index of the first visible column. The scroll position is rounded down to a whole column."""
        return self.scroll_offset.x // self._measures.cell

    def _columns_seen(self) -> list[str]:
        return self.model.columns[self._first : self._first + self._room]

    def _look(self, name: str) -> Style:
        """A style by name, over the widget's own; the empty name is the widget's own. Cached, since reading CSS is slow."""
        style = self._looks.get(name)
        if style is None:
            base = self.rich_style if name != "cursor" else Style()
            style = base + self.get_component_rich_style(f"grid--{name}", partial=True) if name else base
            self._looks[name] = style
        return style

    def _filtered(self, style: Style) -> Style:
        """A style after Textual's filters (fewer colours, none). Filtered once per style: filtering whole lines is slow."""
        done = self._drawn.get(style)
        if done is None:
            segments, background = [Segment(" ", style)], self.background_colors[1]
            for line_filter in self.get_line_filters():
                segments = line_filter.apply(segments, background)
            done = self._drawn[style] = segments[0].style or style
        return done

    def notify_style_update(self) -> None:
        self._looks.clear()
        self._drawn.clear()
        self._forget()
        super().notify_style_update()

    # -- changes -----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Draw the changes of the model."""
        dirty = self.model.taken()
        if dirty.layout:
            self._relayout()
        if dirty.everything:
            self.refresh()
            self.post_message(self.Moved())
        else:
            self._refresh_dirty(dirty)

    def tick(self) -> None:
        """Time passed: draw cells again whose elapsed time has another text now."""
        before, self._ticked = self._ticked, self._clock()
        places = []
        for row in self._rows_seen():
            job = self.model.shown[row].job
            for code in self._columns_seen():
                dub = job.dubs.get(code)
                if dub is not None and dub.state is DubState.DUBBING:
                    begun = dub.submitted or dub.since
                    if grid_cells.elapsed(before - begun) != grid_cells.elapsed(self._ticked - begun):
                        places.append((row, code))
        self._refresh_cells(places)

    def _refresh_dirty(self, dirty: Dirty) -> None:
        seen, columns = self._rows_seen(), set(self._columns_seen())
        places = []
        for job, code in dirty.cells:
            row = self.model.index(job) if code in columns or code == FILE else None
            if row is not None and row in seen:
                places.append((row, code))
            if self.cursor is not None and job == self.cursor.job:
                self.post_message(self.Moved())
        self._refresh_cells(places)
        for code in dirty.languages & columns:
            self.refresh(Region(self._x(code), 0, self._measures.cell, self._measures.header))
        if dirty.languages:
            self.refresh(Region(0, 0, self._measures.file, self._measures.header))

    def _refresh_cells(self, places: Iterable[tuple[int, str]]) -> None:
        """Draw visible cells again, all at once. The rest of their lines is kept."""
        measures, shown, now = self._measures, self.model.shown, self._clock()
        first_line = measures.header - self.scroll_offset.y
        columns = {code: number for number, code in enumerate((FILE, *self._columns_seen()))}
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

    def _forget(self) -> None:
        """Discard everything that was drawn."""
        self._lines.clear()
        self._pieces.clear()

    def _rows_seen(self) -> range:
        top = self.scroll_offset.y
        return range(top, min(len(self.model.shown), top + max(0, self.size.height - self._measures.header)))

    def _x(self, code: str) -> int:
        return self._measures.file + (self.model.columns.index(code) - self._first) * self._measures.cell

    def follow(self) -> None:
        """Show the cursor at its new place, after the rows were sorted or filtered."""
        self._show_cursor()

    # -- layout ------------------------------------------------------------------------------------------------------

    def _relayout(self) -> None:
        """Fit the virtual size to the model, and keep the cursor's row at its place on the screen."""
        model = self.model
        self._measure()
        measures = self._measures
        width = measures.cell * (len(model.columns) - self._room) + self.size.width  # the last step scrolls a whole column
        self.virtual_size = Size(width, measures.header + len(model.shown))
        before = self._row
        self._settle()
        if self._row != before and self.scroll_offset.y:
            self.scroll_to(y=max(0, self.scroll_offset.y + self._row - before), animate=False, immediate=True)
        seen = self._rows_seen()
        view = (len(model.shown), [model.shown[row].job.id for row in seen], list(model.columns), measures)
        if view != self._view:
            if self._view is None or view[1:] != self._view[1:]:  # type: ignore[index]
                self.refresh()
            else:
                self.refresh(Region(0, 0, measures.file, measures.header))
            self._view = view

    def _measure(self) -> None:
        width, height = self.size
        compact = self.app.size.width < 80
        spare = width - grid_cells.WIDE * len(self.model.columns) - 1
        wide = (16, max(28, width // 4, spare))
        least, most = (6, 10) if width < 30 else (10, 16) if width < 60 else (12, 24) if compact else wide
        file = max(least, min(most, self._wanted))
        header = 1 if height < 8 else HEADER if height >= 16 or self.full_size.height <= height else 2
        self._measures = _Measures(file, grid_cells.COMPACT if compact else grid_cells.WIDE, header, compact)
        self.set_class(width < 30 or height < 8, "-small")

    def _settle(self) -> None:
        """Keep the cursor valid: on its job if that is still shown, else on the row that took its place."""
        shown, columns = self.model.shown, self.model.columns
        if not shown:
            self.cursor = None
            return
        here = self.model.index(self.cursor.job) if self.cursor is not None else None
        self._row = here if here is not None else min(self._row, len(shown) - 1)
        language = self.cursor.language if self.cursor is not None else (columns[0] if columns else FILE)
        if language != FILE and language not in columns:
            language = columns[0] if columns else FILE
        place = Cursor(shown[self._row].job.id, language)
        if place != self.cursor:
            self.cursor = place
            self.model.pin(place.job)
            self.post_message(self.Moved())

    def on_resize(self) -> None:
        self._forget()
        self._relayout()
        self._view = None
        self._show_cursor()

    # -- the cursor --------------------------------------------------------------------------------------------------

    def move(self, rows: int = 0, columns: int = 0) -> None:
        """Move the cursor by these rows and columns, as far as possible."""
        if self.cursor is None:
            return
        order = [FILE, *self.model.columns]
        column = max(0, min(len(order) - 1, order.index(self.cursor.language) + columns))
        self.put(self._row + rows, order[column])

    def put(self, row: int, language: str) -> None:
        """Put the cursor on a row, or on the nearest one."""
        shown = self.model.shown
        if not shown:
            return
        target = shown[max(0, min(len(shown) - 1, row))].job.id
        old = self.cursor
        if old == (target, language):
            return
        self.cursor = Cursor(target, language)
        self.model.pin(target)
        if self.model.dirty:
            self.flush()
        self._row = self.model.index(target) or 0
        self._refresh_cursor(old)
        self._show_cursor()
        self.post_message(self.Moved())

    def restore(self, job: str, language: str) -> None:
        """Put the cursor where it was in an earlier run, if that job is still shown."""
        row = self.model.index(job)
        if row is not None:
            self.put(row, language if language in self.model.columns else FILE)

    @property
    def full_size(self) -> Size:
        """The size in terminal cells that shows all rows and columns, with a full header and scroll bars."""
        columns = self._wanted + self._measures.cell * len(self.model.columns)
        return Size(columns + 1, HEADER + len(self.model.shown) + 1)

    @property
    def _wanted(self) -> int:
        """Width of the file column for the longest name and its stage, at most `LONGEST`."""
        return min(LONGEST, self.model.widest + 8)

    @property
    def page(self) -> int:
        """Number of rows that are visible at once."""
        return max(1, self.size.height - self._measures.header)

    def _refresh_cursor(self, old: Cursor | None) -> None:
        assert self.cursor is not None
        for place in (old, self.cursor):
            if place is None or (row := self.model.index(place.job)) is None:
                continue
            if row in self._rows_seen():
                seen = place.language in self._columns_seen()
                self._refresh_cells([(row, FILE), *([(row, place.language)] if seen else [])])
            if (old is None or old.language != self.cursor.language) and place.language in self._columns_seen():
                self.refresh(Region(self._x(place.language), 0, self._measures.cell, 1))

    def _show_cursor(self) -> None:
        """Scroll as little as needed to see the cursor."""
        if self.cursor is None:
            return
        measures = self._measures
        x, y = self.scroll_offset
        y = min(max(y, self._row - self.page + 1), self._row)
        if self.cursor.language != FILE:
            column = self.model.columns.index(self.cursor.language)
            x = min(max(self._first, column - self._room + 1), column) * measures.cell
        if (x, y) != self.scroll_offset:
            self.scroll_to(x, y, animate=False, immediate=True)

    # -- mouse -------------------------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        measures = self._measures
        row = event.y - measures.header + self.scroll_offset.y
        if event.y < measures.header or row >= len(self.model.shown):
            return
        column = (event.x - measures.file) // measures.cell + self._first
        if event.x < measures.file:
            language = FILE
        elif column < len(self.model.columns):
            language = self.model.columns[column]
        else:
            return
        again = self.cursor == (self.model.shown[row].job.id, language)
        self.put(row, language)
        if again:
            self.post_message(self.Chosen())
