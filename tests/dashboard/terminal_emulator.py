"""A terminal that shows what is written to it: pyte, with what modern terminals do beyond it."""

from __future__ import annotations

from typing import Any

import pyte
from pyte.screens import Char, Margins
from rich.cells import split_graphemes

_EXTRA_ATTRIBUTES = {1: (1,), 2: (2,), 5: (5,), 6: (6,), 8: (8,), 21: (21,), 51: (51,), 52: (52,), 53: (53,)}
_ATTRIBUTE_ENDS = {22: (1, 2), 24: (4, 21), 25: (5, 6), 28: (8,), 54: (51, 52), 55: (53,)}


class TerminalEmulator(pyte.Screen):
    """Measures characters as Rich does; half a wide character that is overwritten leaves a blank; links are attributes."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self._extra_attributes: set[int] = set()
        self._link = ""
        self._stream = pyte.Stream(self)
        self._store_extra_attributes()
        self.feed("\x1b[0m\x1b[?7l")  # as Textual begins

    def feed(self, output: str) -> None:
        first, *rest = output.split("\x1b]8;")  # pyte ignores links
        self._stream.feed(first)
        for part in rest:
            link, _, text = part.partition("\x1b\\")
            self._link = link.partition(";")[2]
            self._store_extra_attributes()
            self._stream.feed(text)

    def select_graphic_rendition(self, *attrs: int) -> None:
        super().select_graphic_rendition(*attrs)
        numbers = list(attrs or (0,))
        while numbers:
            number = numbers.pop(0)
            if number in (38, 48):
                del numbers[: 4 if numbers[0] == 2 else 2]
            elif number == 0:
                self._extra_attributes.clear()
            self._extra_attributes.update(_EXTRA_ATTRIBUTES.get(number, ()))
            self._extra_attributes.difference_update(_ATTRIBUTE_ENDS.get(number, ()))
        self._store_extra_attributes()

    def _store_extra_attributes(self) -> None:
        """pyte knows fewer attributes than there are: the others stand in one of its fields."""
        more: Any = (*sorted(self._extra_attributes), self._link)
        self.cursor.attrs = self.cursor.attrs._replace(blink=more, bold=False)

    def draw(self, data: str) -> None:
        for start, end, width in split_graphemes(data)[0]:
            if width == 0:
                continue
            x = self.cursor.x = min(self.cursor.x, self.columns - width)
            line = self.buffer[self.cursor.y]
            if line[x].data == "":
                line[x - 1] = line[x - 1]._replace(data=" ")
            if x + width < self.columns and line[x + width].data == "":
                line[x + width] = line[x + width]._replace(data=" ")
            line[x] = self.cursor.attrs._replace(data=data[start:end])
            if width == 2:
                line[x + 1] = self.cursor.attrs._replace(data="")
            self.cursor.x = x + width

    def set_mode(self, *modes: int, **settings: Any) -> None:
        super().set_mode(*modes, **settings)
        if settings.get("private") and 1049 in modes:
            self.erase_in_display(2)  # the other screen, which is empty

    def delete_lines(self, count: int | None = None) -> None:
        self._mark_new_lines(count or 1)

    def insert_lines(self, count: int | None = None) -> None:
        self._mark_new_lines(-(count or 1))

    def _mark_new_lines(self, by: int) -> None:
        """What appears is marked, so that it is noticed if it is not overwritten."""
        top, bottom = self.margins or Margins(0, self.lines - 1)
        assert top == self.cursor.y, "moved from the middle of the region"
        rows = [dict(self.buffer[y]) for y in range(top, bottom + 1)]
        for y in range(top, bottom + 1):
            old = y - top + by
            self.buffer[y].clear()
            self.buffer[y].update(rows[old] if 0 <= old < len(rows) else {x: Char("#") for x in range(self.columns)})

    def cells(self) -> list[list[Char]]:
        """Each cell of each line, with its attributes."""
        return [[self.buffer[y][x] for x in range(self.columns)] for y in range(self.lines)]
