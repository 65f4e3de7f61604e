"""Shows every key with its description, as the bindings define them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import ClassVar, Final

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from synthdub_tui.dashboard.screens.base import Page
from synthdub_tui.dashboard.text_layout import Line, fit, wrap
from synthdub_tui.dashboard.widgets.key_hints import KeyHints
from synthdub_tui.dashboard.widgets.lines import TextView
from synthdub_tui.dashboard.widgets.plain_text import PlainText
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.text import make_printable

Groups = Sequence[tuple[str, Sequence[tuple[str, str]]]]
"""Headings, each with pairs of key and description."""

MIN_WIDTH_FOR_TWO_COLUMNS: Final = 86
"""Least width in cells for two columns: that of a terminal of 90 columns, without margin and scroll bar."""

COLUMN_GAP_CELLS: Final = 3
KEY_COLUMN_CELLS: Final = 11


class HelpScreen(Page[None]):
    """Scrolls; `/` shows only entries that contain a text."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "search", show=False, priority=True),
        Binding("q,question_mark", "close", "back", show=False),
    ]

    def __init__(self, groups: Groups, *, title: str = "Keys") -> None:
        super().__init__()
        self._groups = groups
        self._title = title
        self._reader = TextView(id="keys")

    def compose(self) -> ComposeResult:
        yield PlainText(self._title, id="title")
        yield self._reader
        yield SearchBox(placeholder="key or word", id="search", keys_for_screen=("up", "down"))
        yield KeyHints([("↑↓", "scroll"), ("/", "search"), ("esc", "back")])

    def on_mount(self) -> None:
        self._box.add_class("hidden")
        self._reader.focus()

    @property
    def _box(self) -> SearchBox:
        return self.query_one("#search", SearchBox)

    def action_search(self) -> None:
        self.open_input(self._box)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_back(self) -> None:
        self.close_input_or_page(self._box, self._reader)

    def on_resize(self) -> None:
        self._show()

    @on(Input.Changed)
    def _show(self) -> None:
        beside_scroll_bar = self.size.width - 1
        self._reader.show(help_lines(self._groups, self._box.value, beside_scroll_bar))

    @on(Input.Submitted)
    def _handle_search_submit(self) -> None:
        self._reader.focus()


def help_lines(groups: Groups, wanted: str, width: int) -> list[Line]:
    """All entries that contain `wanted`, in lines of at most `width` cells; in two columns if there is room."""
    needle = wanted.strip().casefold()
    found = [
        (heading, [(key, words) for key, words in keys if needle in f"{key} {words} {heading}".casefold()])
        for heading, keys in groups
    ]
    if not any(keys for _, keys in found):
        return [((f"Nothing here holds “{make_printable(needle)}”.", ""),)]
    column = (width - COLUMN_GAP_CELLS) // 2 if width >= MIN_WIDTH_FOR_TWO_COLUMNS else width
    blocks = [_block(heading, keys, column) for heading, keys in found if keys]
    return _stack_blocks(blocks) if column == width else _side_by_side(blocks, column)


def _block(heading: str, keys: Sequence[tuple[str, str]], width: int) -> list[Line]:
    lines: list[Line] = [((make_printable(heading), "strong"),)]
    for key, words in keys:
        shown = fit(make_printable(key), KEY_COLUMN_CELLS)
        first, *more = wrap(((shown, "label"), (make_printable(words), "")), width)
        lines += [((shown, "key"), *first[1:]), *more] if len(first) > 1 else [first, *more]
    return lines


def _stack_blocks(blocks: Sequence[list[Line]]) -> list[Line]:
    """Blocks one below the other, with an empty line between two."""
    return [line for block in blocks for line in ((("", ""),), *block)][1:]


def _side_by_side(blocks: Sequence[list[Line]], width: int) -> list[Line]:
    """Blocks in two columns of about the same height, in reading order."""
    cuts = range(1, len(blocks) + 1)
    cut = min(cuts, key=lambda at: max(len(_stack_blocks(blocks[:at])), len(_stack_blocks(blocks[at:]))))
    return [
        (*_pad_line(left, width), (" " * COLUMN_GAP_CELLS, ""), *right)
        for left, right in zip_longest(_stack_blocks(blocks[:cut]), _stack_blocks(blocks[cut:]), fillvalue=(("", ""),))
    ]


def _pad_line(line: Line, width: int) -> Line:
    return (*line, (" " * (width - sum(cell_len(text) for text, _ in line)), ""))
