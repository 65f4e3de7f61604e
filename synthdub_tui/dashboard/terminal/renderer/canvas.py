"""The screen as it should be: lines of cells, drawn from Textual's updates.

A line is a string with one character per cell, and a string with one pen per cell: so lines are compared and cut at the speed
of C. The second cell of a wide character is `WIDE_CELL_TAIL`. Odd cells are those that terminals may measure differently than
we do (combined characters, emoji); a stand-in represents each.
"""

from __future__ import annotations

from typing import Final

from rich.cells import get_character_cell_size, split_graphemes
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.strip import Strip

from synthdub_tui.dashboard.terminal.renderer.sgr import UNKNOWN_STYLE, SgrTable

WIDE_CELL_TAIL: Final = "\0"
UNKNOWN_CELL: Final = "\1"
"""A cell of unknown content."""

_FIRST_STAND_IN: Final = 0x100000  # first stand-in, in a private plane of Unicode; characters of that plane get stand-ins too
_FIRST_EMOJI: Final = 0x1F000
_MAX_CACHED_TEXTS: Final = 8192
_MAX_STAND_INS: Final = 60000


class CellEncoder:
    """Converts texts to cells, and back."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._clusters: list[str] = []
        self._stand_ins: dict[str, str] = {}

    @property
    def is_full(self) -> bool:
        """Whether stand-ins may soon run out: then the painter starts again."""
        return len(self._clusters) > _MAX_STAND_INS

    def encode(self, text: str) -> str:
        """A text with one character per cell, and without control characters."""
        cells = self._texts.get(text)
        if cells is None:
            if len(self._texts) > _MAX_CACHED_TEXTS:
                self._texts.clear()
            cells = self._texts[text] = text if text.isascii() and text.isprintable() else self._encode_by_grapheme(text)
        return cells

    def decode(self, cells: str) -> str:
        """The text to write for cells that are not odd."""
        return cells.replace(WIDE_CELL_TAIL, "")

    def decode_stand_in(self, cell: str) -> str:
        """The text to write for one odd cell."""
        return self._clusters[ord(cell) - _FIRST_STAND_IN]

    def _encode_by_grapheme(self, text: str) -> str:
        if all(_has_certain_width(char) and get_character_cell_size(char) == 1 for char in text):
            return text
        return "".join(self._encode_cluster(text[start:end], width) for start, end, width in split_graphemes(text)[0])

    def _encode_cluster(self, cluster: str, width: int) -> str:
        if width == 0:
            return ""
        cluster = "".join(char for char in cluster if ord(char) >= 32 and not 127 <= ord(char) < 160)
        first = cluster if len(cluster) == 1 and _has_certain_width(cluster) else self._stand_in(cluster)
        return first + WIDE_CELL_TAIL * (width - 1)

    def _stand_in(self, cluster: str) -> str:
        if cluster not in self._stand_ins:
            self._stand_ins[cluster] = chr(_FIRST_STAND_IN + len(self._clusters))
            self._clusters.append(cluster)
        return self._stand_ins[cluster]


def has_stand_ins(cells: str) -> bool:
    """Whether a terminal may measure any of these cells differently than we do."""
    return not cells.isascii() and ord(max(cells)) >= _FIRST_STAND_IN


def _has_certain_width(char: str) -> bool:
    return 32 <= ord(char) < 127 or 160 <= ord(char) < _FIRST_EMOJI


class ScreenCanvas:
    """Lines of cells with their pens. `dirty_lines`: lines that were drawn on since the last frame."""

    def __init__(self, width: int, height: int, cells: CellEncoder, sgr_table: SgrTable) -> None:
        self.width, self.height = width, height
        self.cells = [UNKNOWN_CELL * width] * height
        self.style_ids = [UNKNOWN_STYLE * width] * height
        self.dirty_lines: set[int] = set()
        self._cells_of, self._style_id_of = cells.encode, sgr_table.style_id

    def draw(self, update: ChopsUpdate | LayoutUpdate) -> None:
        """Draw what an update would write, cell by cell."""
        if isinstance(update, LayoutUpdate):
            for y, line in enumerate(update.strips, update.region.y):
                x = update.region.x
                for strip in line:
                    x = self._draw_strip(y, x, self.width, strip)
            return
        for y, begin, end in update.spans:
            for stop, (x, chop) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if chop is not None and x < end and stop > begin:
                    self._draw_strip(y, x, min(stop, end), chop)

    def _draw_strip(self, y: int, x: int, stop: int, strip: Strip) -> int:
        """Draw a strip as far as there is room. Returns the column after it."""
        cells, pens = self._encode_strip(strip)
        room = max(0, min(stop, self.width) - x)
        if len(cells) > room:
            if cells[room] == WIDE_CELL_TAIL:  # half a wide character is a space
                cells = cells[: room - 1] + " "
            cells, pens = cells[:room], pens[:room]
        end = x + len(cells)
        if cells and 0 <= y < self.height:
            line, before = self.cells[y], self.style_ids[y]
            left, right = line[:x], line[end:]
            if line[x] == WIDE_CELL_TAIL:  # if half of a wide character is drawn over, the other half becomes blank
                left = left[:-1] + " "
            if right[:1] == WIDE_CELL_TAIL:
                right = " " + right[1:]
            self.cells[y] = left + cells + right
            self.style_ids[y] = before[:x] + pens + before[end:]
            self.dirty_lines.add(y)
        return end

    def _encode_strip(self, strip: Strip) -> tuple[str, str]:
        cells_of, pen_of = self._cells_of, self._style_id_of
        cells, pens = [], []
        for text, style, _ in strip:
            part = cells_of(text)
            cells.append(part)
            pens.append(pen_of(style) * len(part))
        return "".join(cells), "".join(pens)
