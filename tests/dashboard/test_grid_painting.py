"""Drawing less must show the same: kept pieces of lines, and updates cropped at the left."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.strip import Strip

from synthdub_tui.dashboard.painting import CroppedUpdate, cropped
from synthdub_tui.jobs.model import DubState
from synthdub_tui.runner.protocol import Transfer
from tests.dashboard.fake_runner import LANGUAGES, make_dub, make_job
from tests.dashboard.support import desk

WIDTH = 24
CONSOLE = Console(color_system="truecolor", force_terminal=True, width=WIDTH)


async def test_what_is_kept_is_what_would_be_drawn_anew(tmp_path: Path) -> None:
    chance = random.Random(7)
    codes = LANGUAGES[:14]
    jobs = [make_job(n, codes, DubState.DUBBING) for n in range(60)]
    async with desk(tmp_path, jobs, size=(90, 30)) as opened:
        grid, batch = opened.main.grid, opened.app.session.batch
        actions = ["move(1, 0)", "move(-1, 0)", "move(0, 1)", "move(0, -1)", "edge(0)", "edge(-1)", "column(0)", "column(-1)"]
        actions += ["mark", "mark_column", "mark_shown", "unmark", "failed_only", "sort", "page(1)"]
        now = time.time()
        grid._clock = lambda: now  # else the time between the two drawings shows
        grid.refresh()
        for _ in range(60):
            for _ in range(3):
                job = batch.rows[chance.choice(jobs).id].job
                dub = make_dub(chance.choice(list(DubState)), time.time())
                batch.put([type(job)(job.id, job.source, job.options, job.added, job.dubs | {chance.choice(codes): dub})])
            batch.move([Transfer(chance.choice(jobs).id, chance.choice(["", *codes]), chance.randrange(100), 100, 1.0)])
            grid.flush()
            await opened.main.run_action(chance.choice(actions))
            grid.flush()
            region = grid.size.region
            kept = [[*strip] for strip in grid.render_lines(region)]
            grid._forget()
            assert kept == [[*strip] for strip in grid.render_lines(region)]


class Screen:
    """As much of a terminal as an update uses: moves, colours, characters, line ends."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}

    def feed(self, output: str) -> None:
        x = y = 0
        pen = ""
        for move, colour, newline, char in re.findall(r"\x1b\[(\d+;\d+)H|\x1b\[([\d;]*)m|(\n)|(.)", output):
            if move:
                y, x = (int(part) - 1 for part in move.split(";"))
            elif newline:
                x, y = 0, y + 1
            elif char:
                self.cells[x, y] = (char, pen)
                x += 1
            else:
                pen = "" if colour == "0" else colour


styles = st.sampled_from([Style(), Style(bold=True), Style(color="red"), Style(reverse=True, color="#102030")])
pieces = st.lists(st.tuples(st.text("abcdefg ", min_size=1, max_size=6), styles), min_size=1, max_size=6)


@st.composite
def updates(draw: st.DrawFn) -> ChopsUpdate:
    """Up to three lines, each of one or two chops, with changed spans."""
    chops, ends, spans = [], [], []
    for y in range(draw(st.integers(1, 3))):
        cut = draw(st.integers(1, WIDTH - 1))
        line = Strip([Segment(text, style) for text, style in draw(pieces)]).adjust_cell_length(WIDTH)
        chops.append(dict(zip((0, cut), line.divide([cut, WIDTH]), strict=True)))
        ends.append([cut, WIDTH])
        begin = draw(st.integers(0, WIDTH - 1))
        spans.append((y, begin, draw(st.integers(begin + 1, WIDTH))))
    return ChopsUpdate(chops, spans, ends)


@given(updates())
def test_a_cropped_update_leaves_the_same_screen(update: ChopsUpdate) -> None:
    shorter = cropped(update)
    assert isinstance(shorter, CroppedUpdate)
    full = [Strip.join(list(line.values())) for line in update.chops]
    screens = []
    for each in (update, shorter):
        screen = Screen()
        changed = {(y, x) for y, x1, x2 in update.spans for x in range(x1, x2)}
        for y, line in enumerate(full):  # what was on the screen before: the same, but for the changed spans
            screen.feed(f"\x1b[{y + 1};1H" + line.render(CONSOLE))
            for x in range(WIDTH):
                if (y, x) in changed:
                    screen.cells[x, y] = ("#", "")
        screen.feed(each.render_segments(CONSOLE))
        screens.append(screen.cells)
    assert screens[0] == screens[1]
    assert len(shorter.render_segments(CONSOLE)) <= len(update.render_segments(CONSOLE)) + 20


def test_anything_else_is_left_alone() -> None:
    assert cropped(None) is None
    assert cropped("text") == "text"
