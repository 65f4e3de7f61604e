"""Widgets that draw lines from a model, without a widget per line: a long list costs no more than a short one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from synthdub_tui.dashboard.text_layout import Line, wrap

ROLES = ("faint", "strong", "key", "label", "good", "warn", "bad", "cursor")


class LineWidget(ScrollView, can_focus=True):
    """Base: a scrolling area of lines, each of one row of cells. Roles never differ by hue alone."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"line--{role}" for role in ROLES}

    DEFAULT_CSS = """
    LineWidget {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        & > .line--faint { text-style: dim; }
        & > .line--strong { text-style: bold; }
        & > .line--key { text-style: bold; color: $text-accent; }
        & > .line--label { text-style: dim; }
        & > .line--good { color: $text-success; }
        & > .line--warn { color: $text-warning; }
        & > .line--bad { color: $text-error; text-style: bold; }
        & > .line--cursor { text-style: reverse; }
        &:nocolor > .line--bad, &:nocolor > .line--warn { color: $foreground; }
    }
    """

    def line(self, index: int, width: int) -> Line:
        """The spans of one line; every subclass overrides it."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        index = self.scroll_offset.y + y
        width = self.scrollable_content_region.width
        base = self.rich_style
        if index >= self.virtual_size.height:
            return Strip.blank(width, base)
        segments = [Segment(text, base + self.role_style(role) if role else base) for text, role in self.line(index, width)]
        strip = Strip(segments).adjust_cell_length(width, base)
        return self.decorate_strip(index, strip)

    def decorate_strip(self, index: int, strip: Strip) -> Strip:
        """Change a drawn line; subclasses may override it."""
        del index
        return strip

    def role_style(self, role: str) -> Style:
        """The style of a role in the present theme."""
        return self.get_component_rich_style(f"line--{role}", partial=True)

    def set_line_count(self, lines: int) -> None:
        """Set the number of lines; the scroll bar follows."""
        if lines != self.virtual_size.height:
            self.virtual_size = Size(0, lines)
        self.refresh()


class TextView(LineWidget):
    """Text, wrapped to the width. With `follow`, stays at the end while lines are added, until the user scrolls up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_up", "Up", show=False),
        Binding("down,j", "scroll_down", "Down", show=False),
        Binding("pageup,ctrl+b", "page_up", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page_down", "Page down", show=False),
        Binding("home,g", "scroll_home", "First", show=False),
        Binding("end,G", "scroll_end", "Last", show=False),
    ]

    def __init__(self, lines: Sequence[Line] = (), *, follow: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines = lines
        self._wrapped: list[Line] = []
        self._width = 0
        self._follow = follow

    @property
    def is_at_end(self) -> bool:
        """Whether the last line is visible."""
        return self.scroll_offset.y >= self.virtual_size.height - self.size.height

    def line(self, index: int, width: int) -> Line:
        del width
        return self._wrapped[index]

    def show(self, lines: Sequence[Line]) -> None:
        """Replace the lines; the position stays."""
        stick = self._follow and self.is_at_end
        self._lines = lines
        self._wrap()
        if stick:
            self.call_after_refresh(self.scroll_end, animate=False)

    def wrapped_height(self, width: int) -> int:
        """Rows that the lines would take at a width."""
        return sum(len(wrap(line, width)) for line in self._lines)

    def on_resize(self) -> None:
        if self.scrollable_content_region.width != self._width:
            self._wrap()

    def watch_show_vertical_scrollbar(self) -> None:
        """Wrap again: a scroll bar takes a column, and Textual sends no resize event."""
        self.call_after_refresh(self.on_resize)

    def _wrap(self) -> None:
        """Wrap, and draw only lines that changed: the details change with every move of the grid's cursor."""
        before, width = self._wrapped, self.scrollable_content_region.width
        self._wrapped = [part for line in self._lines for part in wrap(line, width)]
        if width != self._width:
            self._width = width
            self.set_line_count(len(self._wrapped))
            return
        self.virtual_size = Size(0, len(self._wrapped))
        for number, (old, new) in enumerate(zip_longest(before, self._wrapped)):
            if old != new:
                self.refresh_line(number)

    def action_scroll_home(self) -> None:
        self.scroll_home(animate=False)

    def action_scroll_end(self) -> None:
        self.scroll_end(animate=False)

    def action_scroll_up(self) -> None:
        self.scroll_up(animate=False)

    def action_scroll_down(self) -> None:
        self.scroll_down(animate=False)

    def action_page_up(self) -> None:
        self.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        self.scroll_page_down(animate=False)
