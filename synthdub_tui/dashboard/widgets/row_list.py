"""Parts of pages: a list with a cursor, an input line, key hints, plain text. Not imported for the first frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Static

from synthdub_tui.dashboard.text_layout import Line, hints
from synthdub_tui.dashboard.widgets.lines import Drawn
from synthdub_tui.dashboard.widgets.ordered_input import Typed


class RowList(Drawn):
    """A list with a cursor. `draw(index, width)` returns the spans of a row; it is called only for visible rows. `resized` is
    called when the list has another size."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(0)", "First", show=False),
        Binding("end,G", "edge(-1)", "Last", show=False),
    ]

    class Moved(Message):
        """The cursor is on another row."""

    class Clicked(Message):
        """A click on the row that was already under the cursor."""

    def __init__(
        self, draw: Callable[[int, int], Line], *, id: str | None = None, resized: Callable[[], None] | None = None
    ) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._resized = resized
        self.count = 0
        self.cursor = 0

    def line(self, index: int, width: int) -> Line:
        return (("> " if index == self.cursor else "  ", ""), *self._draw(index, width - 2))

    def finish(self, index: int, strip: Strip) -> Strip:
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
        self.set_height(count)
        self.call_after_refresh(self._reveal)

    def move_to(self, index: int) -> None:
        """Put the cursor on a row, or on the nearest one."""
        index = max(0, min(index, self.count - 1))
        if index != self.cursor:
            self.refresh_line(self.cursor)
            self.cursor = index
            self.refresh_line(index)
            self._reveal()
            self.post_message(self.Moved())

    def in_view(self) -> range:
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
            self.post_message(self.Clicked())
        self.move_to(index)

    def on_resize(self) -> None:
        self._reveal()
        if self._resized is not None:
            self._resized()

    def _reveal(self) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)


class SearchBox(Typed):
    """An input line that leaves the keys in `passes` to the screen around it."""

    def __init__(self, *, passes: tuple[str, ...] = (), placeholder: str = "", password: bool = False, id: str) -> None:
        super().__init__(placeholder=placeholder, password=password, id=id, compact=True, select_on_focus=False)
        self.passes = passes
        self.cursor_blink = False  # a blinking cursor would send bytes for ever


class Hints(Static):
    """The keys that do something now, in one line, as many as fit."""

    DEFAULT_CSS = """
    Hints { height: 1; color: $text-muted; }
    """

    def __init__(self, pairs: list[tuple[str, str]] | None = None, *, id: str | None = None) -> None:
        super().__init__(markup=False, id=id)
        self._pairs = pairs or []

    def show(self, pairs: list[tuple[str, str]]) -> None:
        """Show other keys."""
        if pairs != self._pairs:
            self._pairs = pairs
            self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self.update(hints(self._pairs, self.size.width))


class Words(Static):
    """Plain text in one role; never markup. Repaints only when it changes."""

    def __init__(self, text: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(text, markup=False, id=id, classes=classes)
        self.text = text

    def show(self, text: str) -> None:
        """Show another text."""
        if text != self.text:
            self.text = text
            self.update(Text(text))
