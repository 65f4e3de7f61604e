"""Parts of pages: a list with a cursor, an input line, key hints, plain text. Not imported for the first frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from synthdub_tui.dashboard.text_layout import Line
from synthdub_tui.dashboard.widgets.lines import LineWidget


class RowList(LineWidget):
    """A list with a cursor. `draw(index, width)` returns the spans of a row; it is called only for visible rows.
    `on_width_change` is called when the list has another size."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(0)", "First", show=False),
        Binding("end,G", "edge(-1)", "Last", show=False),
    ]

    class CurrentRowMoved(Message):
        """The cursor is on another row."""

    class RowActivated(Message):
        """A click on the row that was already under the cursor."""

    def __init__(
        self, draw: Callable[[int, int], Line], *, id: str | None = None, on_width_change: Callable[[], None] | None = None
    ) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._on_width_change = on_width_change
        self.count = 0
        self.cursor = 0

    def line(self, index: int, width: int) -> Line:
        return (("> " if index == self.cursor else "  ", ""), *self._draw(index, width - 2))

    def decorate_strip(self, index: int, strip: Strip) -> Strip:
        if index != self.cursor:
            return strip
        cursor = self.role_style("cursor")  # over each span's own style, which sets reverse to off
        plain = Style(dim=False)  # dim and reversed text is unreadable: grey on grey
        return Strip(
            [Segment(text, style + plain + cursor if style else cursor) for text, style, _ in strip], strip.cell_length
        )

    def show(self, count: int, cursor: int | None = None) -> None:
        """The model changed: set the number of rows and, if given, the cursor."""
        self.count = count
        self.cursor = max(0, min(self.cursor if cursor is None else cursor, count - 1))
        self.set_line_count(count)
        self.call_after_refresh(self._scroll_to_cursor)

    def move_to(self, index: int) -> None:
        """Put the cursor on a row, or on the nearest one."""
        index = max(0, min(index, self.count - 1))
        if index != self.cursor:
            self.refresh_line(self.cursor)
            self.cursor = index
            self.refresh_line(index)
            self._scroll_to_cursor()
            self.post_message(self.CurrentRowMoved())

    def visible_range(self) -> range:
        """Indices of the visible rows."""
        top = self.scroll_offset.y
        return range(top, min(self.count, top + max(1, self.size.height)))

    def action_move(self, rows: int) -> None:
        self.move_to(self.cursor + rows)

    def action_page(self, pages: int) -> None:
        self.move_to(self.cursor + pages * max(1, self.size.height - 1))

    def action_edge(self, index: int) -> None:
        self.move_to(index if index >= 0 else self.count - 1)

    def on_click(self, event: events.Click) -> None:
        index = self.scroll_offset.y + event.y
        if index >= self.count:
            return
        if index == self.cursor:
            self.post_message(self.RowActivated())
        self.move_to(index)

    def on_resize(self) -> None:
        self._scroll_to_cursor()
        if self._on_width_change is not None:
            self._on_width_change()

    def _scroll_to_cursor(self) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)
