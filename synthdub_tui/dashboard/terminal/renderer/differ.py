"""Updates a terminal to what it should show, in few bytes.

Only runs of changed cells are sent: if they are few, the nearest is always next; if they are many, they are sent pen by pen.
The terminal itself moves lines that moved up or down: by DECSTBM with DL or IL, which every terminal since the VT102 knows
(Linux's console has no SU and SD). Lines with odd cells are sent whole: each odd cell is written over blanks, and an absolute
move follows it. So a terminal that measures it differently shows at least all other cells right.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from operator import and_, ne, or_
from typing import Final, NamedTuple

from synthdub_tui.dashboard.terminal.renderer.canvas import (
    UNKNOWN_CELL,
    WIDE_CELL_TAIL,
    CellEncoder,
    ScreenCanvas,
    has_stand_ins,
)
from synthdub_tui.dashboard.terminal.renderer.sgr import UNKNOWN_STYLE, SgrTable

_MIN_MOVED_LINES: Final = 3
"""Least number of lines that must have moved by the same distance for the terminal to scroll."""

_MAX_PIECES_BY_DISTANCE: Final = 32
"""Most pieces that are sorted by nearness, which takes time by the square of their number."""

_CURSOR_MOVE_BYTES: Final = 6
"""Bytes of a move from one run of changed cells to another, roughly."""

_CHANGED: Final = re.compile(rb"\x01+")
_SAME: Final = re.compile(r"(.)\1*", re.DOTALL)


class _Piece(NamedTuple):
    """Changed cells of one line with one pen."""

    y: int
    x: int
    style_id: str
    cells: str


class TerminalState:
    """The content and the pen of a terminal, as far as known. Only texts from `diff_to` may draw on it."""

    def __init__(self, width: int, height: int, cells: CellEncoder, sgr_table: SgrTable) -> None:
        self._cells, self._sgr_table = cells, sgr_table
        self._width = width
        self._lines = [UNKNOWN_CELL * width] * height
        self._style_ids = [UNKNOWN_STYLE * width] * height
        self._style_id = UNKNOWN_STYLE
        self._cursor: tuple[int, int] | None = None  # as last requested, if it was

    def diff_to(self, canvas: ScreenCanvas, cursor: tuple[int, int] | None) -> str:
        """The text that makes the terminal show the canvas; empty if it does. `cursor`: line and column for input, if any."""
        dirty = [y for y in sorted(canvas.dirty_lines) if self._differs(canvas, y)]
        canvas.dirty_lines.clear()
        if not dirty and cursor in (self._cursor, None):
            return ""
        scrolled = self._scroll_if_shorter(canvas, dirty)
        if scrolled:
            dirty = [y for y in range(canvas.height) if self._differs(canvas, y)]
        whole = [y for y in dirty if has_stand_ins(canvas.cells[y]) or has_stand_ins(self._lines[y])]
        pieces = [piece for y in dirty if y not in whole for piece in self._pieces(canvas, y)]
        writer = _Writer(self._width, self._cells, self._sgr_table, self._style_id)
        for piece in (
            self._order_by_distance(pieces) if len(pieces) <= _MAX_PIECES_BY_DISTANCE else self._order_by_style(pieces)
        ):
            writer.write_piece(piece)
        for y in whole:
            writer.write_stand_in_line(y, canvas.cells[y], canvas.style_ids[y])
        if cursor is not None:
            writer.move_cursor(*cursor)
        for y in dirty:
            self._lines[y], self._style_ids[y] = canvas.cells[y], canvas.style_ids[y]
        text = scrolled + writer.finish()
        self._style_id, self._cursor = writer.style_id, cursor
        return text

    def _differs(self, canvas: ScreenCanvas, y: int) -> bool:
        return self._lines[y] != canvas.cells[y] or self._style_ids[y] != canvas.style_ids[y]

    # -- scrolling ---------------------------------------------------------------------------------------------------

    def _scroll_if_shorter(self, canvas: ScreenCanvas, dirty: list[int]) -> str:
        """Let the terminal move lines that only changed their place, if that saves bytes. Lines that appear are unknown."""
        shift = self._find_shift(canvas, dirty) if len(dirty) > _MIN_MOVED_LINES else None
        if shift is None:
            return ""
        top, bottom, by = shift
        lines, drawn = (_shift_lines(whole, top, bottom, by, blank * self._width) for whole, blank in self._lines_with_blanks())
        rows = range(top, bottom)
        stay = sum(_write_cost(self._lines[y], canvas.cells[y], self._style_ids[y], canvas.style_ids[y]) for y in rows)
        if sum(_write_cost(lines[y], canvas.cells[y], drawn[y], canvas.style_ids[y]) for y in rows) >= stay:
            return ""
        self._lines, self._style_ids = lines, drawn
        count = "" if abs(by) == 1 else abs(by)
        return f"\x1b[{top + 1};{bottom}r\x1b[{top + 1}H\x1b[{count}{'M' if by > 0 else 'L'}\x1b[r"

    def _lines_with_blanks(self) -> tuple[tuple[list[str], str], tuple[list[str], str]]:
        return (self._lines, UNKNOWN_CELL), (self._style_ids, UNKNOWN_STYLE)

    def _find_shift(self, canvas: ScreenCanvas, dirty: list[int]) -> tuple[int, int, int] | None:
        """The lines (top, one after the bottom) that most likely moved, and how far up; None if too few did.

        Only unique lines are compared, and only their left halves: a pane on the right does not scroll with the list.
        """
        half = self._width // 2
        places: dict[tuple[str, str], int | None] = {}
        for y in range(dirty[0], dirty[-1] + 1):
            key = self._lines[y][:half], self._style_ids[y][:half]
            places[key] = None if key in places else y
        came = {}
        for y in dirty:
            old = places.get((canvas.cells[y][:half], canvas.style_ids[y][:half]))
            if old is not None and old != y:
                came[y] = old - y
        if not came:
            return None
        by, count = Counter(came.values()).most_common(1)[0]
        if count < _MIN_MOVED_LINES:
            return None
        rows = [y for y, distance in came.items() if distance == by]
        return min(rows[0], rows[0] + by), max(rows[-1], rows[-1] + by) + 1, by

    # -- changed cells -----------------------------------------------------------------------------------------------

    def _pieces(self, canvas: ScreenCanvas, y: int) -> Iterable[_Piece]:
        new, pens = canvas.cells[y], canvas.style_ids[y]
        for start, stop in _runs(_changed_cells(self._lines[y], new, self._style_ids[y], pens), new, pens):
            for same in _SAME.finditer(pens, start, stop):
                yield _Piece(y, same.start(), same[1], new[same.start() : same.end()])

    def _order_by_style(self, pieces: list[_Piece]) -> list[_Piece]:
        """Pieces grouped by pen; the next pen is always the one with the shortest sequence to it."""
        groups: dict[str, list[_Piece]] = {}
        for piece in pieces:
            groups.setdefault(piece.style_id, []).append(piece)
        order: list[_Piece] = []
        pen = self._style_id
        while groups:
            pen = min(groups, key=lambda other: len(self._sgr_table.transition(pen, other)))
            order += groups.pop(pen)
        return order

    def _order_by_distance(self, pieces: list[_Piece]) -> list[_Piece]:
        """Pieces in an order in which the next one always takes the fewest bytes to reach from the end of the last."""
        way, rest, order = self._sgr_table.transition, pieces.copy(), list[_Piece]()
        y, x, pen = 0, 0, self._style_id
        while rest:
            near, least = 0, 1000
            for number, piece in enumerate(rest):
                distance = _move_cost(piece.y - y, piece.x - x)
                if piece.style_id != pen:
                    distance += len(way(pen, piece.style_id))
                if distance < least:
                    near, least = number, distance
            nearest = rest.pop(near)
            y, x, pen = nearest.y, nearest.x + len(nearest.cells), nearest.style_id
            order.append(nearest)
        return order


class _Writer:
    """Collects a frame. The cursor's place is unknown at the start: others may have moved it."""

    def __init__(self, width: int, cells: CellEncoder, sgr_table: SgrTable, style_id: str) -> None:
        self._width, self._cells, self._sgr_table = width, cells, sgr_table
        self.style_id = style_id
        self._cursor: tuple[int, int] | None = None
        self._parts: list[str] = []

    def finish(self) -> str:
        """The frame. Its pen stays set for the next one, but no link stays open."""
        unlinked = self._sgr_table.end_link(self.style_id)
        if unlinked:
            self._parts.append(unlinked)
            self.style_id = UNKNOWN_STYLE
        return "".join(self._parts)

    def write_piece(self, piece: _Piece) -> None:
        """Write cells that are not odd."""
        self.move_cursor(piece.y, piece.x)
        self._set_style(piece.style_id)
        self._parts.append(self._cells.decode(piece.cells))
        end = piece.x + len(piece.cells)
        self._cursor = (piece.y, end) if end < self._width else None  # at the edge, its place depends on the terminal

    def write_stand_in_line(self, y: int, cells: str, pens: str) -> None:
        """Write a whole line that contains odd cells."""
        x = 0
        while x < len(cells):
            if has_stand_ins(cells[x]):
                stop = x + 2 if cells[x + 1 : x + 2] == WIDE_CELL_TAIL else x + 1
                self.write_piece(_Piece(y, x, pens[x], " " * (stop - x)))
                self.move_cursor(y, x)
                self._parts.append(self._cells.decode_stand_in(cells[x]))
                self._cursor = None
            else:
                stop = x + 1
                while stop < len(cells) and pens[stop] == pens[x] and not has_stand_ins(cells[stop]):
                    stop += 1
                if cells[x] != UNKNOWN_CELL:
                    self.write_piece(_Piece(y, x, pens[x], cells[x:stop]))
            x = stop

    def move_cursor(self, y: int, x: int) -> None:
        """Put the cursor there, by the shortest sequence that every terminal knows."""
        if self._cursor != (y, x):
            self._parts.append(_move_sequence(self._cursor, y, x))
            self._cursor = (y, x)

    def _set_style(self, pen: str) -> None:
        if pen != self.style_id:
            self._parts.append(self._sgr_table.transition(self.style_id, pen))
            self.style_id = pen


def _move_sequence(at: tuple[int, int] | None, y: int, x: int) -> str:
    absolute = f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"
    if at is None:
        return absolute
    down, right = y - at[0], x - at[1]
    lines = _step(down, "B", "A")
    columns = "\b" * -right if -4 < right < 0 else "\r" if x == 0 else _step(right, "C", "D")
    return min(absolute, lines + columns, key=len)


def _move_cost(down: int, right: int) -> int:
    """Bytes of a move, roughly."""
    lines = 0 if down == 0 else 3 if -2 < down < 2 else 4
    columns = 0 if right == 0 else -right if -4 < right < 0 else 3 if right == 1 else 4 if -10 < right < 10 else 5
    return min(8, lines + columns)


def _step(count: int, forward: str, back: str) -> str:
    if count == 0:
        return ""
    return f"\x1b[{abs(count) if abs(count) > 1 else ''}{forward if count > 0 else back}"


def _changed_cells(old: str, new: str, drawn: str, pens: str) -> bytes:
    """For each cell of a line, whether it must be written: 1 or 0."""
    changed = map(or_, map(ne, old, new), map(ne, drawn, pens))
    return bytes(map(and_, changed, map(UNKNOWN_CELL.__ne__, new)) if UNKNOWN_CELL in new else changed)


def _runs(changes: bytes, new: str, pens: str) -> list[tuple[int, int]]:
    """The ranges of cells to write. They include gaps that take no more bytes than a move over them."""
    runs: list[tuple[int, int]] = []
    for run in _CHANGED.finditer(changes):
        start, stop = run.span()
        if new[stop : stop + 1] == WIDE_CELL_TAIL:
            stop += 1
        if runs and (
            start <= runs[-1][1] or _is_cheaper_to_rewrite(new[runs[-1][1] : start], pens[runs[-1][1] - 1 : start + 1])
        ):
            runs[-1] = runs[-1][0], max(stop, runs[-1][1])
        else:
            runs.append((start, stop))
    return runs


def _is_cheaper_to_rewrite(gap: str, pens: str) -> bool:
    """Whether writing these unchanged cells again takes no more bytes than a move over them."""
    if len(gap) > 4 or UNKNOWN_CELL in gap or pens.count(pens[0]) != len(pens):
        return False
    return len(gap.encode()) <= (3 if len(gap) == 1 else 4)


def _write_cost(old: str, new: str, drawn: str, pens: str) -> int:
    """Bytes to write the changed cells of a line, roughly."""
    if old == new and drawn == pens:
        return 0
    changes = _changed_cells(old, new, drawn, pens)
    return changes.count(1) + _CURSOR_MOVE_BYTES * len(_CHANGED.findall(changes))


def _shift_lines(lines: list[str], top: int, bottom: int, by: int, blank: str) -> list[str]:
    inside = lines[top:bottom]
    inside = inside[by:] + [blank] * by if by > 0 else [blank] * -by + inside[:by]
    return lines[:top] + inside + lines[bottom:]
