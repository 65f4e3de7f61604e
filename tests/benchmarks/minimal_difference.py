"""How few bytes would have shown what a terminal was made to show: the perfect difference of each frame.

Each frame is replayed on an emulator. Its difference is the characters of the changed cells in UTF-8, with the shortest moves
and changes of pen between them, in the best order that is found (no exact answer: that is a travelling salesman's problem).
Lines that only moved are moved by the terminal where that is shorter.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, pairwise
from typing import NamedTuple

from pyte.graphics import FG_BG_256
from pyte.screens import Char

from tests.dashboard.terminal_emulator import TerminalEmulator

_SCROLL_BYTES = len("\x1b[3;38r\x1b[3H\x1b[M\x1b[r")
_MAX_SCROLL_LINES = 3
_MAX_RUNS_FOR_SEARCH = 40  # runs, up to which the best order is searched for at length
_PALETTE = {color: number for number, color in reversed(list(enumerate(FG_BG_256)))}

Screen = list[list[Char]]


class CellRun(NamedTuple):
    """Changed cells beside each other with one pen."""

    y: int
    x: int
    pen: Char
    text: str
    end: int


class MinimalDifference:
    """Finds the perfect difference of frame after frame, for a terminal of 256 colours."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._emulator = TerminalEmulator(*size)
        self._previous_screen = self._emulator.cells()
        self._pen = Char(" ")

    def minimum_bytes(self, output: bytes) -> int:
        """The fewest bytes that could have done what these do."""
        self._emulator.feed(output.decode(errors="ignore"))
        now = self._emulator.cells()
        found = [(_minimum_bytes(runs := list(_changed_runs(self._previous_screen, now)), self._pen), runs)]
        for by in (*range(-_MAX_SCROLL_LINES, 0), *range(1, _MAX_SCROLL_LINES + 1)):
            same = sorted(y for y in {run.y for run in runs} if _is_same_line(self._previous_screen, y + by, now, y))
            if len(same) > 2:
                shifted = _shift_lines(self._previous_screen, min(same[0], same[0] + by), max(same[-1], same[-1] + by) + 1, by)
                found.append((_SCROLL_BYTES + _minimum_bytes(moved := list(_changed_runs(shifted, now)), self._pen), moved))
        least, runs = min(found, key=lambda each: each[0])
        self._previous_screen = now
        if runs:
            self._pen = runs[-1].pen
        return least


def _changed_runs(before: Screen, now: Screen) -> Iterable[CellRun]:
    for y, (old, new) in enumerate(zip(before, now, strict=True)):
        if old == new:
            continue
        changed = [(x, char) for x, char in enumerate(new) if char != old[x]]
        apart = [(x - number, char._replace(data=""), x, char.data) for number, (x, char) in enumerate(changed)]
        for (_, pen), cells in groupby(apart, key=lambda cell: cell[:2]):
            run = list(cells)
            yield CellRun(y, run[0][2], pen, "".join(text for *_, text in run), run[-1][2] + 1)


def _minimum_bytes(runs: list[CellRun], pen: Char) -> int:
    """The least that was found: from run to nearest run, begun with each; then single runs put elsewhere while that helps."""
    if not runs:
        return 0
    starts = [_absolute_move_bytes(run) + _style_change_bytes(pen, run.pen) for run in runs]
    hops = [[_move_bytes(before, run) + _style_change_bytes(before.pen, run.pen) for run in runs] for before in runs]

    def price(order: list[int]) -> int:
        return starts[order[0]] + sum(hops[one][other] for one, other in pairwise(order))

    order = min((_nearest_neighbour_order(first, hops) for first in range(min(len(runs), _MAX_RUNS_FOR_SEARCH))), key=price)
    found, better = price(order), len(runs) <= _MAX_RUNS_FOR_SEARCH
    while better:
        better = False
        for run in range(len(runs)):
            rest = [other for other in order if other != run]
            for place in range(len(runs)):
                tried = [*rest[:place], run, *rest[place:]]
                if price(tried) < found:
                    order, found, better = tried, price(tried), True
    return sum(len(run.text.encode()) for run in runs) + found


def _nearest_neighbour_order(first: int, hops: list[list[int]]) -> list[int]:
    order, rest = [first], set(range(len(hops))) - {first}
    while rest:
        order.append(min(rest, key=hops[order[-1]].__getitem__))
        rest.remove(order[-1])
    return order


def _absolute_move_bytes(run: CellRun) -> int:
    return len(f"\x1b[{run.y + 1};{run.x + 1}H") if run.x else len(f"\x1b[{run.y + 1}H")


def _move_bytes(before: CellRun, after: CellRun) -> int:
    """From the end of a run to the beginning of another; over a short gap by writing it again."""
    down, right = abs(after.y - before.y), after.x - before.end
    if down == 0 and right >= 0:
        return min(right, _relative_move_bytes(right))
    columns = 1 if after.x == 0 else min(_relative_move_bytes(right), -right if right < 0 else 99)
    return min(_absolute_move_bytes(after), _relative_move_bytes(down) + columns)


def _relative_move_bytes(count: int) -> int:
    return 0 if count == 0 else 3 if abs(count) == 1 else 3 + len(str(abs(count)))


def _style_change_bytes(before: Char, after: Char) -> int:
    if before == after:
        return 0
    on, off = _attributes(after) - _attributes(before), _attributes(before) - _attributes(after)
    colors = [_color_code(after, name) for name in ("fg", "bg") if getattr(before, name) != getattr(after, name)]
    steps = ["2?" for _ in off] + ["?" for _ in on] + colors
    anew = ["0"] + ["?" for _ in _attributes(after)]
    anew += [_color_code(after, name) for name in ("fg", "bg") if getattr(after, name) != "default"]
    return min(len(f"\x1b[{';'.join(codes)}m") for codes in ((anew if len(anew) > 1 else [""]), steps))


def _attributes(pen: Char) -> set[object]:
    return {name for name in ("italics", "underscore", "strikethrough", "reverse") if getattr(pen, name)} | set(pen.blink or ())


def _color_code(pen: Char, name: str) -> str:
    color = getattr(pen, name)
    return f"38;5;{_PALETTE[color]}" if color in _PALETTE else "39"


def _is_same_line(before: Screen, old: int, now: Screen, new: int) -> bool:
    """Whether a line came from another one, by its left half: scroll bars and what stands beside need not have come along."""
    half = len(now[new]) // 2
    return 0 <= old < len(before) and before[old][:half] == now[new][:half]


def _shift_lines(screen: Screen, top: int, bottom: int, by: int) -> Screen:
    unknown = [[Char("#")] * len(screen[0])] * abs(by)
    inside = screen[top:bottom]
    return screen[:top] + (inside[by:] + unknown if by > 0 else unknown + inside[:by]) + screen[bottom:]
