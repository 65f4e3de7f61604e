"""The grid as it is drawn: what stands where, what is drawn again, and where the cursor is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.geometry import Region

from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.grid_model import FILE_COLUMN
from synthdub_tui.dashboard.widgets.grid import GridCursor
from synthdub_tui.ipc.protocol import Transfer
from synthdub_tui.jobs.model import DubState
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, make_dub, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until

THREE_LANGUAGES = TWENTY_LANGUAGES[:3]


@pytest.mark.parametrize("signs", [grid_cells.UNICODE_SIGNS, grid_cells.ASCII_SIGNS])
@pytest.mark.parametrize("compact", [False, True])
def test_every_state_has_its_own_sign_and_every_cell_its_width(signs: grid_cells.Signs, compact: bool) -> None:
    now = time.time()
    seen = set()
    for state in DubState:
        for marked in (False, True):
            transfer = Transfer("j", "fr", 100, 100, 1.0)
            text = grid_cells.dub_text(make_dub(state, now - 99_000), transfer, now, signs, compact=compact, marked=marked)
            assert cell_len(text) == (grid_cells.COMPACT_CELL_WIDTH if compact else grid_cells.WIDE_CELL_WIDTH)
        seen.add(text[1])
        assert signs is grid_cells.UNICODE_SIGNS or text.isascii()
    assert len(seen) == len(DubState)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3599, "59m"),
        (3600, "1h00"),
        (35_999, "9h59"),
        (36_000, "10h"),
        (360_000, "4d"),
        (9e9, "999d"),
    ],
)
def test_elapsed_times_fit_four_characters(seconds: float, text: str) -> None:
    assert grid_cells.format_elapsed(seconds) == text


@pytest.mark.parametrize(
    "name", ["short", "a name that is far too long for its column.mp4", "日本語の講義 その一.mp4", "e\u0301" * 30, ""]
)
@pytest.mark.parametrize("width", [0, 1, 2, 7, 8, 15, 24])
def test_names_fit_their_column_in_cells(name: str, width: int) -> None:
    assert cell_len(grid_cells.fit_middle(name, width, grid_cells.UNICODE_SIGNS)) == width


async def test_rows_columns_header_and_states(tmp_path: Path) -> None:
    jobs = [make_job(0, THREE_LANGUAGES, DubState.DONE), make_job(1, THREE_LANGUAGES, DubState.FAILED)]
    async with open_dashboard(tmp_path, jobs) as opened:
        lines = opened.grid_lines()
        assert "2 files" in lines[0] and all(code in lines[0] for code in THREE_LANGUAGES)
        assert "3/6 dubs" in lines[1] and "1/2" in lines[1]
        assert "✗1" in lines[2]
        assert "lesson 0000.mp4" in lines[3] and lines[3].count("✓ done") == 3
        assert "lesson 0001.mp4" in lines[4] and lines[4].count("✗ FAIL") == 3
        assert {cell_len(line) for line in lines} == {opened.main.grid.size.width}


async def test_names_cannot_steer_the_terminal_or_be_markup(tmp_path: Path) -> None:
    jobs = [
        make_job(0, THREE_LANGUAGES, name="\x1b[31mred [bold]b.mp4"),
        make_job(1, THREE_LANGUAGES, name="\u202eevil\x07.mp4"),
    ]
    async with open_dashboard(tmp_path, jobs) as opened:
        text = "".join(opened.grid_lines())
        assert "[bold]b" in text
        assert not any(char in text for char in "\x1b\x07\u202e")


async def test_bytes_moving_show_percent_and_dubbing_its_time(tmp_path: Path) -> None:
    now = time.time()
    job = make_job(0, THREE_LANGUAGES, DubState.DOWNLOADING)
    dubbing = make_job(1, THREE_LANGUAGES, DubState.DUBBING, submitted=now - 125)
    async with open_dashboard(tmp_path, [job, dubbing]) as opened:
        opened.runner.push_changes(transfers=[Transfer(job.id, THREE_LANGUAGES[1], 430, 1000, 9.0)])
        await until(lambda: "↓ 43%" in opened.grid_lines()[3])
        assert opened.grid_lines()[3].count("↓ …") == 2
        assert opened.grid_lines()[4].count("~ 2m") == 3


@pytest.mark.parametrize(("size", "columns"), [((120, 40), 11), ((80, 24), 6), ((40, 12), 4), ((20, 5), 1), ((8, 4), 0)])
async def test_any_size_is_laid_out(tmp_path: Path, size: tuple[int, int], columns: int) -> None:
    async with open_dashboard(tmp_path, [make_job(n, TWENTY_LANGUAGES) for n in range(60)], size=size) as opened:
        lines = opened.grid_lines()
        assert {cell_len(line) for line in lines} == {opened.main.grid.size.width}
        assert sum(1 for code in TWENTY_LANGUAGES if code in lines[0].split()) >= columns
        for key in ("end", "G", "left", "home", "g", "enter", "down"):
            await opened.press(key)
        assert opened.main.grid.cursor is not None


async def test_moving_keeps_the_cursor_in_sight_in_both_directions(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(n, TWENTY_LANGUAGES) for n in range(100)], size=(80, 24)) as opened:
        grid = opened.main.grid
        await opened.press("G", "end")
        assert grid.cursor is not None and grid.cursor.language == TWENTY_LANGUAGES[-1]
        assert "lesson 0099.mp4" in "".join(opened.grid_lines())
        assert TWENTY_LANGUAGES[-1] in opened.grid_lines()[0].split()
        await opened.press("home")
        assert grid.cursor.language == FILE_COLUMN
        await opened.press("right", "g", "pagedown", "pageup", "j", "k")
        assert "lesson 0000.mp4" in "".join(opened.grid_lines())
        assert TWENTY_LANGUAGES[0] in opened.grid_lines()[0].split()


async def test_the_cursor_stays_on_its_job_while_rows_come_and_go(tmp_path: Path) -> None:
    jobs = [make_job(n, THREE_LANGUAGES, DubState.FAILED) for n in range(60)]
    async with open_dashboard(tmp_path, jobs, size=(80, 24)) as opened:
        grid = opened.main.grid
        await opened.press("f")
        grid.set_cursor(30, THREE_LANGUAGES[1])
        await opened.pilot.pause()
        before = opened.grid_lines().index(next(line for line in opened.grid_lines() if "0030" in line))
        for number in (3, 4, 5, 40):
            opened.runner.push_changes(make_job(number, THREE_LANGUAGES, DubState.DONE))
        await until(lambda: len(opened.app.session.batch.visible_rows) == 56)
        await until(lambda: not opened.app.session.batch.needs_redraw)
        await opened.pilot.pause()
        assert grid.cursor == GridCursor(jobs[30].id, THREE_LANGUAGES[1])
        assert opened.grid_lines().index(next(line for line in opened.grid_lines() if "0030" in line)) == before


async def test_the_cursor_goes_to_the_next_row_when_its_own_is_gone(tmp_path: Path) -> None:
    jobs = [make_job(n, THREE_LANGUAGES) for n in range(5)]
    async with open_dashboard(tmp_path, jobs) as opened:
        opened.main.grid.set_cursor(2, THREE_LANGUAGES[0])
        del opened.runner.jobs[jobs[2].id]
        for writer in list(opened.runner._clients):
            writer.transport.abort()
        await until(lambda: len(opened.app.session.batch.rows) == 4 and not opened.app.session.batch.needs_redraw)
        await until(lambda: opened.main.grid.cursor == GridCursor(jobs[3].id, THREE_LANGUAGES[0]))


async def test_only_what_is_seen_and_changed_is_drawn_again(tmp_path: Path) -> None:
    jobs = [make_job(n, THREE_LANGUAGES, DubState.DUBBING) for n in range(200)]
    async with open_dashboard(tmp_path, jobs) as opened:
        grid = opened.main.grid
        grid.set_cursor(9, THREE_LANGUAGES[2])
        await opened.pilot.pause()
        drawn: list[Region] = []
        whole = grid.refresh

        def refresh(*regions: Region, **options: bool) -> object:
            drawn.extend(regions or [grid.size.region])
            return whole(*regions, **options)

        grid.refresh = refresh  # type: ignore[method-assign, assignment]
        opened.runner.set_dub(jobs[150], THREE_LANGUAGES[0], make_dub(DubState.DUBBING, time.time() + 1))  # below what is seen
        opened.runner.set_dub(jobs[1], THREE_LANGUAGES[1], make_dub(DubState.DUBBING, time.time() + 1))
        await until(lambda: any(region.y == 4 for region in drawn))
        cell = [region for region in drawn if region.y >= 3]
        assert cell == [Region(grid._column_x(THREE_LANGUAGES[1]), 4, grid_cells.WIDE_CELL_WIDTH, 1)]
        assert all(region.height <= 3 and region.width <= grid._measures.file for region in drawn if region.y < 3)


async def test_time_passing_draws_only_texts_that_change(tmp_path: Path) -> None:
    now = [1000.0]
    job = make_job(0, THREE_LANGUAGES, DubState.DUBBING, submitted=940.5)
    async with open_dashboard(tmp_path, [job]) as opened:
        grid = opened.main.grid
        grid._clock = lambda: now[0]
        grid.draw_elapsed_times()
        drawn: list[Region] = []
        grid.refresh = lambda *regions, **_: drawn.extend(regions)  # type: ignore[method-assign, assignment, func-returns-value]
        now[0] = 1000.4
        grid.draw_elapsed_times()
        assert not drawn
        now[0] = 1001.4  # 59 s became 1 min
        grid.draw_elapsed_times()
        assert len(drawn) == 3


async def test_nothing_is_painted_below_another_screen_and_all_of_it_afterwards(tmp_path: Path) -> None:
    job = make_job(0, THREE_LANGUAGES, DubState.DUBBING)
    async with open_dashboard(tmp_path, [job]) as opened:
        await opened.press("?")
        await opened.wait_for_screen("HelpScreen")
        opened.runner.set_dub(job, THREE_LANGUAGES[0], make_dub(DubState.DONE, time.time()))
        await until(lambda: opened.app.session.batch.overall[DubState.DONE] == 1)
        assert opened.app.session.batch.needs_redraw
        await opened.press("escape")
        await until(lambda: not opened.app.session.batch.needs_redraw)
        await opened.pilot.pause()
        assert "✓ done" in opened.grid_lines()[3]


async def test_the_mouse_sets_the_cursor_and_scrolls(tmp_path: Path) -> None:
    jobs = [make_job(n, THREE_LANGUAGES) for n in range(100)]
    async with open_dashboard(tmp_path, jobs) as opened:
        grid = opened.main.grid
        await opened.pilot.click(grid, offset=(grid._column_x(THREE_LANGUAGES[1]) + 2, 5))
        assert grid.cursor == GridCursor(jobs[2].id, THREE_LANGUAGES[1])
        await opened.pilot.click(grid, offset=(2, 4))
        assert grid.cursor == GridCursor(jobs[1].id, FILE_COLUMN)
        await opened.pilot.click(grid, offset=(2, 0))  # the header is no row
        assert grid.cursor == GridCursor(jobs[1].id, FILE_COLUMN)
        grid.scroll_down(animate=False)
        await until(lambda: grid.scroll_offset.y > 0)
        await opened.pilot.pause()
        assert "lesson 0000" not in "".join(opened.grid_lines())


async def test_ascii_and_unicode_show_the_same_states(tmp_path: Path) -> None:
    jobs = [make_job(n, THREE_LANGUAGES, state) for n, state in enumerate(DubState)]
    async with open_dashboard(tmp_path, jobs, ascii=True) as opened:
        assert "".join(opened.grid_lines()).isascii()


async def test_names_take_the_room_that_columns_leave(tmp_path: Path) -> None:
    name = "a-recording-with-a-name-of-more-than-forty-letters.mp4"
    async with open_dashboard(tmp_path, [make_job(0, ["fr-FR"], name=name)], size=(100, 30)) as opened:
        assert any(name in line for line in opened.grid_lines())
    (tmp_path / "wide").mkdir()
    async with open_dashboard(tmp_path / "wide", [make_job(0, ["fr-FR"], name=name)], size=(220, 30)) as opened:
        assert any(name in line for line in opened.grid_lines())
        assert opened.main.query_one("#detail").size.width > 90


async def test_without_colours_trouble_is_not_the_faintest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    jobs = [make_job(0, ["fr-FR"], DubState.FAILED), make_job(1, ["fr-FR"], DubState.DONE)]
    async with open_dashboard(tmp_path, jobs) as opened:
        failed, file = (opened.main.grid._named_style(name) for name in ("failed", "file"))
        assert failed.color == file.color and failed.bold
