"""The painter: a terminal that it feeds shows the same as one that Textual feeds, for fewer bytes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pyte
import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.geometry import Offset, Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Input

from synthdub_tui import __version__, dashboard
from synthdub_tui.dashboard.app import SynthdubApp
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.terminal.renderer import Renderer
from synthdub_tui.dashboard.terminal.renderer.canvas import CellEncoder, ScreenCanvas
from synthdub_tui.dashboard.terminal.renderer.differ import TerminalState
from synthdub_tui.dashboard.terminal.renderer.sgr import SgrTable
from synthdub_tui.dashboard.ui_state import UiStateStore
from synthdub_tui.jobs.model import DubState
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, FakeRunner, make_dub, make_job
from tests.dashboard.opened_dashboard import until
from tests.dashboard.terminal_emulator import TerminalEmulator

DASHBOARD_FOLDER = Path(dashboard.__file__).parent
SAMPLE_WORDS = ["a", "bc", "  ", "·", "✓ done", "日本", "講", "e\u0301", "x\u0302y", "😀", "é", "\x07", "[red]", "12%"]
COLOR_SYSTEMS = {
    "truecolor": ColorSystem.TRUECOLOR,
    "256": ColorSystem.EIGHT_BIT,
    "standard": ColorSystem.STANDARD,
    None: ColorSystem.TRUECOLOR,
}


_numbers = count()


def make_styles() -> list[Style | None]:
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


class RandomPicture:
    """What a made-up app wants to show, and the updates that a compositor would draw it with."""

    def __init__(self, chance: random.Random, width: int, height: int) -> None:
        self.chance, self.width, self.height = chance, width, height
        self.styles = make_styles()
        self.lines = [self._line() for _ in range(height)]

    def _line(self) -> Strip:
        segments: list[Segment] = []
        while cell_len("".join(segment.text for segment in segments)) < self.width:
            text = "".join(self.chance.choices(SAMPLE_WORDS[: self.chance.choice([4, 5, 14])], k=self.chance.randint(1, 6)))
            segments.append(Segment(text, self.chance.choice(self.styles)))
        return Strip(segments).adjust_cell_length(self.width)

    def change_randomly(self) -> LayoutUpdate | ChopsUpdate:
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
                self.lines[y] = self._edit_line(self.lines[y])
            elif kind != "scroll":
                continue
            begin = 0 if kind == "scroll" else self.chance.randrange(self.width)
            spans.append((y, begin, self.width if kind == "scroll" else self._cut_position(self.lines[y], begin)))
        cuts = [
            sorted({*self.chance.sample(range(1, self.width), self.chance.choice([0, 1, 2])), self.width}) for _ in self.lines
        ]
        chops: list[dict[int, Strip | None]] = []
        for line, ends in zip(self.lines, cuts, strict=True):
            parts = line.divide(ends)
            drawn = [part if self.chance.random() < 0.9 else None for part in parts]
            chops.append(dict(zip([0, *ends[:-1]], drawn, strict=True)))
        return ChopsUpdate(chops, spans or [(0, 0, self.width)], cuts)

    def _cut_position(self, line: Strip, begin: int) -> int:
        """Where a span may end. Rich loses a combining mark where it cuts just behind its letter: not there."""
        end = self.chance.randint(begin + 1, self.width)
        text, left = line.text, line.crop(0, end).text
        lost = text.startswith(left) and cell_len(text[len(left) : len(left) + 1]) == 0
        return self.width if lost else end

    def _edit_line(self, line: Strip) -> Strip:
        start = self.chance.randrange(self.width)
        end = self.chance.randint(start, self.width)
        return Strip.join([line.crop(0, start), self._line().crop(0, end - start), line.crop(end)])


def render_both_ways(seed: int, system: str | None) -> Iterator[tuple[TerminalEmulator, TerminalEmulator, str, str]]:
    """Many steps of a made-up app on two terminals: Textual's way and ours, with what each was sent."""
    chance = random.Random(seed)
    console = Console(color_system=system, force_terminal=True)
    picture = RandomPicture(chance, 30, 12)
    while True:
        cells, pens = CellEncoder(), SgrTable(COLOR_SYSTEMS[system])
        canvas, shown = (make(picture.width, picture.height, cells, pens) for make in (ScreenCanvas, TerminalState))
        stock, ours = TerminalEmulator(picture.width, picture.height), TerminalEmulator(picture.width, picture.height)
        update: LayoutUpdate | ChopsUpdate
        update = LayoutUpdate([[line] for line in picture.lines], Region(0, 0, picture.width, picture.height))
        for _ in range(30):
            sent = update.render_segments(console) + "\x1b[1;1H"
            stock.feed(sent)
            canvas.draw(update)
            text = shown.diff_to(canvas, None)
            ours.feed(text)
            yield stock, ours, sent, text
            update = picture.change_randomly()
        picture = RandomPicture(chance, chance.randint(5, 60), chance.randint(3, 20))  # resized


@pytest.mark.parametrize("system", COLOR_SYSTEMS)
def test_both_terminals_show_the_same(system: str | None) -> None:
    amounts = [0, 0]
    for number, (stock, ours, sent, text) in enumerate(
        islice(render_both_ways(list(COLOR_SYSTEMS).index(system), system), 150)
    ):
        assert ours.cells() == stock.cells(), f"after frame {number}: {text!r}"
        amounts = [amounts[0] + len(sent), amounts[1] + len(text)]
    assert amounts[1] < amounts[0]


class TwinApp(SynthdubApp):
    """The dashboard, drawn on two terminals: as Textual does it, and by the painter."""

    CSS_PATH = [DASHBOARD_FOLDER / name for name in ("screens/main.tcss", "widgets/grid.tcss")]  # noqa: RUF012 - Textual declares it so

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stock, self.ours = TerminalEmulator(1, 1), TerminalEmulator(1, 1)
        self.is_behind = False
        self.frames = 0
        self.second_renderer = Renderer(self)

    def write(self, data: str) -> None:
        self.ours.feed(data)

    def call_when_flushed(self, callback: Callable[[], None]) -> None:
        raise AssertionError("it is never behind")

    def on_resize(self) -> None:
        self.second_renderer.render_all(self)

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        super()._display(screen, renderable)
        if renderable is None:
            return
        assert isinstance(renderable, LayoutUpdate | ChopsUpdate)
        if isinstance(renderable, LayoutUpdate) and (self.stock.columns, self.stock.lines) != renderable.region.size:
            self.stock, self.ours = TerminalEmulator(*renderable.region.size), TerminalEmulator(*renderable.region.size)
        self.stock.feed(renderable.render_segments(self.console) + "\x1b[1;1H")
        assert self.second_renderer.render(renderable, self) is None
        self.frames += 1
        assert self.ours.cells() == self.stock.cells()


def all_characters(terminal: TerminalEmulator) -> str:
    """All characters on it."""
    return "".join(char.data for line in terminal.buffer.values() for char in line.values())


async def test_the_dashboard_looks_the_same_in_all_its_screens(tmp_path: Path) -> None:
    chance = random.Random(4)
    names = [
        "日本語の講義.mp4",
        "e\u0301tude.mp4",
        "😀 smile.mp4",
        "family 👩\u200d👩🏽\u200d👧.mp4",
        "می\u200cخواهم क्\u200dष.mp4",
        "",
    ]
    jobs = [
        make_job(n, TWENTY_LANGUAGES[:14], DubState.DUBBING, name=f"{n}{names[n % 6]}" if names[n % 6] else "")
        for n in range(60)
    ]
    runner = FakeRunner(tmp_path / "runner.sock", jobs)
    app = TwinApp(runner, UiStateStore(tmp_path), DashboardOptions(__version__))
    keys = "j j j k l l h G g pagedown pageup space V u s enter f ? escape o escape slash a b escape L escape ctrl+p escape"
    async with app.run_test(size=(100, 30)) as pilot:
        await until(lambda: app.session.batch.is_loaded and app.main_screen._restored)
        await until(lambda: all(sign in all_characters(app.ours) for sign in "👧🏽میخ"))
        assert "\ufffd" not in all_characters(app.ours)
        for step in range(45):
            await pilot.press(chance.choice(keys.split()))
            dub = make_dub(chance.choice(list(DubState)), time.time())
            job = app.session.batch.rows[chance.choice(jobs).id].job
            app.session.batch.update_jobs([replace(job, dubs=job.dubs | {chance.choice(TWENTY_LANGUAGES[:14]): dub})])
            app.session.on_change()
            if step % 10 == 9:
                await pilot.resize_terminal(chance.choice([60, 100, 150]), chance.choice([12, 30]))
        assert app.frames > 40
    await runner.disconnect()


class SlowOutput:
    """An output that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.is_behind = False
        self.written: list[str] = []
        self.callbacks: list[Callable[[], None]] = []

    def write(self, data: str) -> None:
        self.written.append(data)

    def call_when_flushed(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)


def running_app() -> App[None]:
    """An app as a painter sees it."""
    app = App[None]()
    app._running = True
    app._screen_stacks["_default"] = [Screen()]
    return app


def layout_update_of(*texts: str) -> LayoutUpdate:
    return LayoutUpdate([[Strip([Segment(text)])] for text in texts], Region(0, 0, len(texts[0]), len(texts)))


def test_nothing_is_sent_where_nothing_changes() -> None:
    painter, output = Renderer(running_app()), SlowOutput()
    for _ in range(3):
        assert painter.render(layout_update_of("one", "two"), output) is None
    assert len(output.written) == 1
    painter.render_all(output)
    assert output.written[1] == output.written[0]


def test_frames_do_not_pile_up_behind_a_terminal_that_takes_none() -> None:
    painter, output = Renderer(running_app()), SlowOutput()
    painter.render(layout_update_of("frame 000"), output)
    output.is_behind = True
    for number in range(1, 100):
        painter.render(layout_update_of(f"frame {number:03}"), output)
    assert len(output.written) == 1 and len(output.callbacks) == 1
    output.is_behind = False
    output.callbacks[0]()
    screen = TerminalEmulator(9, 1)
    screen.feed("".join(output.written))
    assert len(output.written) == 2 and screen.display == ["frame 099"]


def test_long_frames_are_synchronized_where_that_is_known() -> None:
    app, output = running_app(), SlowOutput()
    app._sync_available = True
    Renderer(app).render(layout_update_of(*["long line " * 20] * 10), output)
    Renderer(app).render(layout_update_of("short"), output)
    assert output.written[0].startswith("\x1b[?2026h") and output.written[0].endswith("\x1b[?2026l")
    assert "2026" not in output.written[1]


def test_what_is_unknown_is_left_to_textual(monkeypatch: pytest.MonkeyPatch) -> None:
    painter, output = Renderer(running_app()), SlowOutput()
    painter.render(layout_update_of("one"), output)
    assert painter.render("a text", output) == "a text"
    painter.render(layout_update_of("one"), output)
    assert len(output.written) == 2  # who knows what the text has left
    assert painter.render(layout_update_of("two"), None) is not None
    monkeypatch.setattr(LayoutUpdate, "__init__", lambda self, rows, region: vars(self).update(rows=rows, region=region))
    update = layout_update_of("two")
    assert Renderer(running_app()).render(update, output) is update


def test_the_cursor_stands_where_something_is_typed() -> None:
    app, output = running_app(), SlowOutput()
    app.cursor_position = Offset(3, 1)
    painter = Renderer(app)
    painter.render(layout_update_of("12345", "12345"), output)
    assert not output.written[-1].endswith("\x1b[2;4H")
    app.screen.focused = Input()
    painter.render(layout_update_of("12345", "12345"), output)
    assert output.written[-1] == "\x1b[2;4H"
    painter.render(layout_update_of("12345", "12345"), output)
    assert len(output.written) == 2


def test_a_terminal_that_measures_otherwise_still_gets_the_rest_right() -> None:
    painter, output, screen = Renderer(running_app()), SlowOutput(), pyte.Screen(20, 2)
    painter.render(layout_update_of("👩\u200d👩\u200d👧 one, e\u0301 two" + " " * 14, " " * 20), output)
    pyte.Stream(screen).feed("\x1b[?7l" + "".join(output.written))  # it draws a family as three
    assert screen.display[0].rstrip().endswith(" one, é two")
    assert screen.buffer[0][2].data == " " and screen.buffer[0][3].data == "o"
