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

from synthdub_tui.dashboard.terminal.renderer.canvas import NOTHING, REST, Canvas, Cells, odd
from synthdub_tui.dashboard.terminal.renderer.sgr import UNKNOWN, Pens

_FEWEST_MOVED: Final = 3
"""Least number of lines that must have moved by the same distance for the terminal to scroll."""

_FEW: Final = 32
"""Most pieces that are sorted by nearness, which takes time by the square of their number."""

_HOP: Final = 6
"""Bytes of a move from one run of changed cells to another, roughly."""

_CHANGED: Final = re.compile(rb"\x01+")
_SAME: Final = re.compile(r"(.)\1*", re.DOTALL)


class _Piece(NamedTuple):
    """Changed cells of one line with one pen."""

    y: int
    x: int
    pen: str
    cells: str


class Shown:
    """The content and the pen of a terminal, as far as known. Only texts from `changed` may draw on it."""

    def __init__(self, width: int, height: int, cells: Cells, pens: Pens) -> None:
        self._cells, self._pens = cells, pens
        self._width = width
        self._lines = [NOTHING * width] * height
        self._drawn = [UNKNOWN * width] * height
        self._pen = UNKNOWN
        self._cursor: tuple[int, int] | None = None  # as last requested, if it was

    def changed(self, canvas: Canvas, cursor: tuple[int, int] | None) -> str:
        """The text that makes the terminal show the canvas; empty if it does. `cursor`: line and column for input, if any."""
        dirty = [y for y in sorted(canvas.dirty) if self._differs(canvas, y)]
        canvas.dirty.clear()
        if not dirty and cursor in (self._cursor, None):
            return ""
        scrolled = self._scrolled(canvas, dirty)
        if scrolled:
            dirty = [y for y in range(canvas.height) if self._differs(canvas, y)]
        whole = [y for y in dirty if odd(canvas.cells[y]) or odd(self._lines[y])]
        pieces = [piece for y in dirty if y not in whole for piece in self._pieces(canvas, y)]
        writer = _Writer(self._width, self._cells, self._pens, self._pen)
        for piece in self._by_nearness(pieces) if len(pieces) <= _FEW else self._by_pen(pieces):
            writer.piece(piece)
        for y in whole:
            writer.odd_line(y, canvas.cells[y], canvas.pens[y])
        if cursor is not None:
            writer.move(*cursor)
        for y in dirty:
            self._lines[y], self._drawn[y] = canvas.cells[y], canvas.pens[y]
        text = scrolled + writer.finished()
        self._pen, self._cursor = writer.pen, cursor
        return text

    def _differs(self, canvas: Canvas, y: int) -> bool:
        return self._lines[y] != canvas.cells[y] or self._drawn[y] != canvas.pens[y]

    # -- scrolling ---------------------------------------------------------------------------------------------------

    def _scrolled(self, canvas: Canvas, dirty: list[int]) -> str:
        """Let the terminal move lines that only changed their place, if that saves bytes. Lines that appear are unknown."""
        shift = self._shift(canvas, dirty) if len(dirty) > _FEWEST_MOVED else None
        if shift is None:
            return ""
        top, bottom, by = shift
        lines, drawn = (_shifted(whole, top, bottom, by, blank * self._width) for whole, blank in self._known())
        rows = range(top, bottom)
        stay = sum(_price(self._lines[y], canvas.cells[y], self._drawn[y], canvas.pens[y]) for y in rows)
        if sum(_price(lines[y], canvas.cells[y], drawn[y], canvas.pens[y]) for y in rows) >= stay:
            return ""
        self._lines, self._drawn = lines, drawn
        count = "" if abs(by) == 1 else abs(by)
        return f"\x1b[{top + 1};{bottom}r\x1b[{top + 1}H\x1b[{count}{'M' if by > 0 else 'L'}\x1b[r"

    def _known(self) -> tuple[tuple[list[str], str], tuple[list[str], str]]:
        return (self._lines, NOTHING), (self._drawn, UNKNOWN)

    def _shift(self, canvas: Canvas, dirty: list[int]) -> tuple[int, int, int] | None:
        """The lines (top, one after the bottom) that most likely moved, and how far up; None if too few did.

        Only unique lines are compared, and only their left halves: a pane on the right does not scroll with the list.
        """
        half = self._width // 2
        places: dict[tuple[str, str], int | None] = {}
        for y in range(dirty[0], dirty[-1] + 1):
            key = self._lines[y][:half], self._drawn[y][:half]
            places[key] = None if key in places else y
        came = {}
        for y in dirty:
            old = places.get((canvas.cells[y][:half], canvas.pens[y][:half]))
            if old is not None and old != y:
                came[y] = old - y
        if not came:
            return None
        by, count = Counter(came.values()).most_common(1)[0]
        if count < _FEWEST_MOVED:
            return None
        rows = [y for y, distance in came.items() if distance == by]
        return min(rows[0], rows[0] + by), max(rows[-1], rows[-1] + by) + 1, by

    # -- changed cells -----------------------------------------------------------------------------------------------

    def _pieces(self, canvas: Canvas, y: int) -> Iterable[_Piece]:
        new, pens = canvas.cells[y], canvas.pens[y]
        for start, stop in _runs(_changes(self._lines[y], new, self._drawn[y], pens), new, pens):
            for same in _SAME.finditer(pens, start, stop):
                yield _Piece(y, same.start(), same[1], new[same.start() : same.end()])

    def _by_pen(self, pieces: list[_Piece]) -> list[_Piece]:
        """Pieces grouped by pen; the next pen is always the one with the shortest sequence to it."""
        groups: dict[str, list[_Piece]] = {}
        for piece in pieces:
            groups.setdefault(piece.pen, []).append(piece)
        order: list[_Piece] = []
        pen = self._pen
        while groups:
            pen = min(groups, key=lambda other: len(self._pens.way(pen, other)))
            order += groups.pop(pen)
        return order

    def _by_nearness(self, pieces: list[_Piece]) -> list[_Piece]:
        """Pieces in an order in which the next one always takes the fewest bytes to reach from the end of the last."""
        way, rest, order = self._pens.way, pieces.copy(), list[_Piece]()
        y, x, pen = 0, 0, self._pen
        while rest:
            near, least = 0, 1000
            for number, piece in enumerate(rest):
                distance = _distance(piece.y - y, piece.x - x)
                if piece.pen != pen:
                    distance += len(way(pen, piece.pen))
                if distance < least:
                    near, least = number, distance
            nearest = rest.pop(near)
            y, x, pen = nearest.y, nearest.x + len(nearest.cells), nearest.pen
            order.append(nearest)
        return order


class _Writer:
    """Collects a frame. The cursor's place is unknown at the start: others may have moved it."""

    def __init__(self, width: int, cells: Cells, pens: Pens, pen: str) -> None:
        self._width, self._cells, self._pens = width, cells, pens
        self.pen = pen
        self._at: tuple[int, int] | None = None
        self._parts: list[str] = []

    def finished(self) -> str:
        """The frame. Its pen stays set for the next one, but no link stays open."""
        unlinked = self._pens.unlinked(self.pen)
        if unlinked:
            self._parts.append(unlinked)
            self.pen = UNKNOWN
        return "".join(self._parts)

    def piece(self, piece: _Piece) -> None:
        """Write cells that are not odd."""
        self.move(piece.y, piece.x)
        self._take(piece.pen)
        self._parts.append(self._cells.text(piece.cells))
        end = piece.x + len(piece.cells)
        self._at = (piece.y, end) if end < self._width else None  # at the edge, its place depends on the terminal

    def odd_line(self, y: int, cells: str, pens: str) -> None:
        """Write a whole line that contains odd cells."""
        x = 0
        while x < len(cells):
            if odd(cells[x]):
                stop = x + 2 if cells[x + 1 : x + 2] == REST else x + 1
                self.piece(_Piece(y, x, pens[x], " " * (stop - x)))
                self.move(y, x)
                self._parts.append(self._cells.cluster(cells[x]))
                self._at = None
            else:
                stop = x + 1
                while stop < len(cells) and pens[stop] == pens[x] and not odd(cells[stop]):
                    stop += 1
                if cells[x] != NOTHING:
                    self.piece(_Piece(y, x, pens[x], cells[x:stop]))
            x = stop

    def move(self, y: int, x: int) -> None:
        """Put the cursor there, by the shortest sequence that every terminal knows."""
        if self._at != (y, x):
            self._parts.append(_moved(self._at, y, x))
            self._at = (y, x)

    def _take(self, pen: str) -> None:
        if pen != self.pen:
            self._parts.append(self._pens.way(self.pen, pen))
            self.pen = pen


def _moved(at: tuple[int, int] | None, y: int, x: int) -> str:
    absolute = f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"
    if at is None:
        return absolute
    down, right = y - at[0], x - at[1]
    lines = _step(down, "B", "A")
    columns = "\b" * -right if -4 < right < 0 else "\r" if x == 0 else _step(right, "C", "D")
    return min(absolute, lines + columns, key=len)


def _distance(down: int, right: int) -> int:
    """Bytes of a move, roughly."""
    lines = 0 if down == 0 else 3 if -2 < down < 2 else 4
    columns = 0 if right == 0 else -right if -4 < right < 0 else 3 if right == 1 else 4 if -10 < right < 10 else 5
    return min(8, lines + columns)


def _step(count: int, forward: str, back: str) -> str:
    if count == 0:
        return ""
    return f"\x1b[{abs(count) if abs(count) > 1 else ''}{forward if count > 0 else back}"


def _changes(old: str, new: str, drawn: str, pens: str) -> bytes:
    """For each cell of a line, whether it must be written: 1 or 0."""
    changed = map(or_, map(ne, old, new), map(ne, drawn, pens))
    return bytes(map(and_, changed, map(NOTHING.__ne__, new)) if NOTHING in new else changed)


def _runs(changes: bytes, new: str, pens: str) -> list[tuple[int, int]]:
    """The ranges of cells to write. They include gaps that take no more bytes than a move over them."""
    runs: list[tuple[int, int]] = []
    for run in _CHANGED.finditer(changes):
        start, stop = run.span()
        if new[stop : stop + 1] == REST:
            stop += 1
        if runs and (start <= runs[-1][1] or _bridged(new[runs[-1][1] : start], pens[runs[-1][1] - 1 : start + 1])):
            runs[-1] = runs[-1][0], max(stop, runs[-1][1])
        else:
            runs.append((start, stop))
    return runs


def _bridged(gap: str, pens: str) -> bool:
    """Whether writing these unchanged cells again takes no more bytes than a move over them."""
    if len(gap) > 4 or NOTHING in gap or pens.count(pens[0]) != len(pens):
        return False
    return len(gap.encode()) <= (3 if len(gap) == 1 else 4)


def _price(old: str, new: str, drawn: str, pens: str) -> int:
    """Bytes to write the changed cells of a line, roughly."""
    if old == new and drawn == pens:
        return 0
    changes = _changes(old, new, drawn, pens)
    return changes.count(1) + _HOP * len(_CHANGED.findall(changes))


def _shifted(lines: list[str], top: int, bottom: int, by: int, blank: str) -> list[str]:
    inside = lines[top:bottom]
    inside = inside[by:] + [blank] * by if by > 0 else [blank] * -by + inside[:by]
    return lines[:top] + inside + lines[bottom:]
