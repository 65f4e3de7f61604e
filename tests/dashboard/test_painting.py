"""The painter: a terminal that it feeds shows the same as one that Textual feeds, for fewer bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice

import pytest
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from synthdub_tui.dashboard.painting.canvas import Canvas, Cells
from synthdub_tui.dashboard.painting.frame import Shown
from synthdub_tui.dashboard.painting.pens import Pens
from tests.dashboard.emulator import Emulator

WORDS = ["a", "bc", "  ", "·", "✓ done", "日本", "講", "e\u0301", "x\u0302y", "😀", "é", "\x07", "[red]", "12%"]
SYSTEMS = {
    "truecolor": ColorSystem.TRUECOLOR,
    "256": ColorSystem.EIGHT_BIT,
    "standard": ColorSystem.STANDARD,
    None: ColorSystem.TRUECOLOR,
}


_numbers = count()


def styles() -> list[Style | None]:
    """Never the same twice: Rich keeps in a style how it was rendered first, and styles in its caches."""
    unlike = Style(meta={"number": next(_numbers)})
    looks = [
        Style(),
        Style(bold=True),
        Style(dim=True, bold=True),
        Style(dim=True, color="red"),
        Style(color="#102030", bgcolor="#a0b0c0"),
        Style(color="#102031", bgcolor="#a0b0c0", bold=True),
        Style(color="bright_red", bgcolor="bright_blue", italic=True),
        Style(reverse=True, underline=True),
        Style(underline2=True, strike=True, overline=True),
        Style(blink=True, conceal=True, color="default"),
        Style(link="https://example.org", color="blue"),
    ]
    return [None, *(look + unlike for look in looks)]


class Picture:
    """What a made-up app wants to show, and the updates that a compositor would draw it with."""

    def __init__(self, chance: random.Random, width: int, height: int) -> None:
        self.chance, self.width, self.height = chance, width, height
        self.styles = styles()
        self.lines = [self._line() for _ in range(height)]

    def _line(self) -> Strip:
        segments: list[Segment] = []
        while cell_len("".join(segment.text for segment in segments)) < self.width:
            text = "".join(self.chance.choices(WORDS[: self.chance.choice([4, 5, 14])], k=self.chance.randint(1, 6)))
            segments.append(Segment(text, self.chance.choice(self.styles)))
        return Strip(segments).adjust_cell_length(self.width)

    def change(self) -> LayoutUpdate | ChopsUpdate:
        """Some step of the app."""
        kind = self.chance.choice(["layout", "cells", "cells", "cells", "scroll", "scroll", "nothing"])
        if kind == "layout":
            self.lines = [self._line() if self.chance.random() < 0.5 else line for line in self.lines]
            return LayoutUpdate([[line] for line in self.lines], Region(0, 0, self.width, self.height))
        top, bottom = 0, self.height
        if kind == "scroll":
            top, bottom = sorted(self.chance.sample(range(self.height + 1), 2))
            by = self.chance.choice([1, 1, 2, -1, -1, -3])
            inside = self.lines[top:bottom]
            new = [self._line() for _ in range(min(abs(by), len(inside)))]
            self.lines[top:bottom] = inside[len(new) :] + new if by > 0 else new + inside[: len(inside) - len(new)]
        spans = []
        for y in range(top, bottom):
            if kind == "cells" and self.chance.random() < 0.3:
                self.lines[y] = self._edited(self.lines[y])
            elif kind != "scroll":
                continue
            begin = 0 if kind == "scroll" else self.chance.randrange(self.width)
            spans.append((y, begin, self.width if kind == "scroll" else self._end(self.lines[y], begin)))
        cuts = [
            sorted({*self.chance.sample(range(1, self.width), self.chance.choice([0, 1, 2])), self.width}) for _ in self.lines
        ]
        chops: list[dict[int, Strip | None]] = []
        for line, ends in zip(self.lines, cuts, strict=True):
            parts = line.divide(ends)
            drawn = [part if self.chance.random() < 0.9 else None for part in parts]
            chops.append(dict(zip([0, *ends[:-1]], drawn, strict=True)))
        return ChopsUpdate(chops, spans or [(0, 0, self.width)], cuts)

    def _end(self, line: Strip, begin: int) -> int:
        """Where a span may end. Rich loses a combining mark where it cuts just behind its letter: not there."""
        end = self.chance.randint(begin + 1, self.width)
        text, left = line.text, line.crop(0, end).text
        lost = text.startswith(left) and cell_len(text[len(left) : len(left) + 1]) == 0
        return self.width if lost else end

    def _edited(self, line: Strip) -> Strip:
        start = self.chance.randrange(self.width)
        end = self.chance.randint(start, self.width)
        return Strip.join([line.crop(0, start), self._line().crop(0, end - start), line.crop(end)])


def frames(seed: int, system: str | None) -> Iterator[tuple[Emulator, Emulator, str, str]]:
    """Many steps of a made-up app on two terminals: Textual's way and ours, with what each was sent."""
    chance = random.Random(seed)
    console = Console(color_system=system, force_terminal=True)
    picture = Picture(chance, 30, 12)
    while True:
        cells, pens = Cells(), Pens(SYSTEMS[system])
        canvas, shown = (make(picture.width, picture.height, cells, pens) for make in (Canvas, Shown))
        stock, ours = Emulator(picture.width, picture.height), Emulator(picture.width, picture.height)
        update: LayoutUpdate | ChopsUpdate
        update = LayoutUpdate([[line] for line in picture.lines], Region(0, 0, picture.width, picture.height))
        for _ in range(30):
            sent = update.render_segments(console) + "\x1b[1;1H"
            stock.feed(sent)
            canvas.draw(update)
            text = shown.changed(canvas, None)
            ours.feed(text)
            yield stock, ours, sent, text
            update = picture.change()
        picture = Picture(chance, chance.randint(5, 60), chance.randint(3, 20))  # resized


@pytest.mark.parametrize("system", SYSTEMS)
def test_both_terminals_show_the_same(system: str | None) -> None:
    amounts = [0, 0]
    for number, (stock, ours, sent, text) in enumerate(islice(frames(list(SYSTEMS).index(system), system), 150)):
        assert ours.shows() == stock.shows(), f"after frame {number}: {text!r}"
        amounts = [amounts[0] + len(sent), amounts[1] + len(text)]
    assert amounts[1] < amounts[0]
