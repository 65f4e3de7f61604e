"""The details: problem, cause, remedy, cost of a retry, ids, paths."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.geometry import Region

from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.grid_model import FILE_COLUMN, GridModel
from synthdub_tui.dashboard.text_layout import wrap
from synthdub_tui.dashboard.widgets.detail_pane import DetailPane, describe_cell
from synthdub_tui.ipc.protocol import Transfer
from synthdub_tui.jobs.model import Dub, DubState, Failure, FailureScope, Job, Output, RetryStep, UnknownStatus
from synthdub_tui.jobs.transitions.observation import MIN_UNKNOWN_STATUS_POLLS
from synthdub_tui.problems import explain
from tests.dashboard.fake_runner import make_dub, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until

NOW = time.time()


def detail_text(dub: Dub | None = None, language: str = "fr-FR", batch: GridModel | None = None, job: Job | None = None) -> str:
    job = job or make_job(0, ["es-ES"])
    if dub is not None:
        job = replace(job, dubs={"fr-FR": dub})
    batch = batch or GridModel()
    batch.update_jobs([job])
    lines = describe_cell(batch, job.id, language, NOW, grid_cells.UNICODE_SIGNS)
    return "\n".join("".join(span for span, _ in line) for line in lines)


def failed_dub(code: str, scope: FailureScope, **facts: object) -> Dub:
    return Dub(DubState.FAILED, NOW, project="p-1", failure=Failure(code, scope, NOW, "words\x1b[2J"), **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dub", "retry"),
    [
        (failed_dub("download_failed", FailureScope.DOWNLOAD), "fetches it again, free"),
        (failed_dub("processing_error", FailureScope.LANGUAGE), "adds the language to its project anew, costs credits"),
        (failed_dub("processing_error", FailureScope.LANGUAGE, tried=(RetryStep.ADD_LANGUAGE,)), "makes a new project"),
        (failed_dub("asset_upload", FailureScope.SOURCE), "nothing was paid for it yet"),
        (failed_dub("moderation", FailureScope.PROJECT), "asks you first"),
        (Dub(DubState.UNKNOWN, NOW, failure=Failure("submission_unknown", FailureScope.SUBMISSION, NOW)), "may be paid twice"),
    ],
)
def test_a_retry_says_what_it_does_and_costs(dub: Dub, retry: str) -> None:
    said = detail_text(dub)
    assert retry in said
    assert "Why:" in said and "What to do:" in said and "Code:" in said
    assert "\x1b" not in said


def test_an_open_dub_offers_no_retry() -> None:
    assert "r retry" not in detail_text(make_dub(DubState.DUBBING, NOW))
    assert "r retry" not in detail_text(make_dub(DubState.DONE, NOW))


def test_a_finished_dub_names_its_files() -> None:
    output = Output.of("/out/a.dubbed-fr-FR.mp4", 40_000_000, 0, ("/out/a.srt",), reviewed=True, seconds=61.0)
    said = detail_text(Dub(DubState.DONE, NOW, NOW - 60, project="p-1", video="v-1", output=output))
    for part in ("/out/a.dubbed-fr-FR.mp4", "40.0 MB", "/out/a.srt", "Reviewed yes", "1 min 01 s", "p-1", "v-1"):
        assert part in said, part


def test_a_finished_dub_that_lacks_captions_says_so_and_that_a_retry_is_free() -> None:
    output = Output.of("/out/a.dubbed-fr-FR.mp4", 40_000_000, 0)
    lacking = Failure("captions_failed", FailureScope.DOWNLOAD, NOW, "HTTP 500")
    said = detail_text(Dub(DubState.DONE, NOW, NOW - 60, project="p-1", output=output, failure=lacking))
    for part in ("The captions could not be downloaded", "HTTP 500", "fetches its captions, free"):
        assert part in said, part


def test_a_cancelled_dub_that_the_service_had_accepted_may_be_billed() -> None:
    words = "It may be billed. A retry fetches it, free."
    assert words in detail_text(Dub(DubState.CANCELLED, NOW, NOW - 60, project="p-1"))
    assert words not in detail_text(Dub(DubState.CANCELLED, NOW))


def test_dubbing_tells_time_and_what_is_usual_only_when_known() -> None:
    dub = make_dub(DubState.DUBBING, NOW - 130)
    assert "for 2 min 10 s" in detail_text(dub) and "usual" not in detail_text(dub)
    batch = GridModel()
    batch.update_jobs([make_job(n, ["fr-FR"], DubState.DONE, submitted=time.time() - 600) for n in range(1, 7)])
    assert "usual here is 10 min (the middle of 6 dubs)" in detail_text(dub, batch=batch)


def test_a_download_tells_its_bytes() -> None:
    job = make_job(0, ["fr-FR"], DubState.DOWNLOADING)
    batch = GridModel()
    batch.update_transfers([Transfer(job.id, "fr-FR", 2_000_000, 8_000_000, 1_000_000.0)])
    assert "2.0 MB of 8.0 MB (25%) at 1.0 MB/s" in detail_text(job=job, batch=batch)


def test_a_waiting_dub_tells_where_its_file_stands() -> None:
    waiting = make_dub(DubState.WAITING, NOW)
    assert "waits for an upload slot" in detail_text(waiting)
    growing = replace(make_job(0, ["fr-FR"], DubState.WAITING), asset=None, unsettled=True, projects={})
    assert "The file waits until it is complete" in detail_text(waiting, job=growing)
    assert "waits until it is complete" in detail_text(language=FILE_COLUMN, job=growing)


def test_a_language_that_was_not_asked_for() -> None:
    assert "Not asked for in French (France)" in detail_text(None, "fr-FR")


def test_the_whole_file() -> None:
    said = detail_text(None, FILE_COLUMN, job=make_job(3, ["es-ES"], DubState.FAILED))
    for part in ("/videos/lesson 0003.mp4", "English", "asset-3", "es-ES", "The service failed while dubbing", "lipsync off"):
        assert part in said, part


async def test_enter_shows_and_hides_the_pane_and_it_follows_the_cursor(tmp_path: Path) -> None:
    jobs = [make_job(0, ["fr-FR"], DubState.FAILED), make_job(1, ["fr-FR"], DubState.DONE)]
    async with open_dashboard(tmp_path, jobs) as opened:
        pane = opened.main.query_one(DetailPane)
        assert not pane.display
        await opened.press("enter")
        await until(lambda: "lesson 0000" in str(pane._detail_lines))
        await opened.press("down")
        await until(lambda: "lesson 0001" in str(pane._detail_lines))
        opened.runner.set_dub(jobs[1], "fr-FR", make_dub(DubState.UNKNOWN, NOW))
        await until(lambda: "only you can decide" in str(pane._detail_lines))
        await opened.press("escape")
        await until(lambda: not pane.display)


async def test_it_takes_the_height_that_the_grid_leaves(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(n, ["fr-FR"], DubState.FAILED) for n in range(6)], size=(100, 40)) as opened:
        await opened.press("enter")
        pane, grid = opened.main.query_one(DetailPane), opened.main.grid
        await until(lambda: pane.display and grid.size.height == 10)
        assert any("lesson 0005" in line for line in opened.grid_lines())
        assert opened.grid_lines()[2].strip(), "the header lost its line of troubles"
        opened.runner.push_changes(*(make_job(n, ["fr-FR"]) for n in range(6, 40)))
        await until(lambda: grid.size.height == 20)
        assert pane.outer_size.height == 17
        await opened.pilot.resize_terminal(210, 50)
        await until(lambda: pane.outer_size.height == 47)
        await opened.pilot.resize_terminal(100, 12)
        await until(lambda: pane.outer_size.height == 10)


def test_long_entries_hang_beside_their_time() -> None:
    first, second = wrap((("09:12:00  ", "label"), ("accepted, project 0123456789", "")), 30)
    assert "".join(text for text, _ in first).rstrip() == "09:12:00  accepted, project"
    assert second == (("          ", ""), ("0123456789", ""))


async def test_wide_terminals_show_it_beside_the_grid(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, ["fr-FR"])], size=(200, 50)) as opened:
        pane = opened.main.query_one(DetailPane)
        await until(lambda: pane.display and pane._detail_lines)
        assert pane.region.x > opened.main.grid.region.x
        await opened.press("enter")
        await until(lambda: not pane.display)


async def test_another_cell_draws_only_lines_that_differ_and_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The details follow every move: drawing all of them took longer than all else that a key asks for."""
    states = [DubState.FAILED, DubState.FAILED, DubState.DONE, DubState.WAITING, DubState.UNKNOWN]
    jobs = [make_job(number, ["fr-FR"], state) for number, state in enumerate(states)]
    async with open_dashboard(tmp_path, jobs, size=(200, 50)) as opened:
        pane = opened.main.query_one(DetailPane)
        await until(lambda: "lesson 0000" in str(pane._detail_lines))
        drawn: list[int] = []
        draw = pane.render_line
        monkeypatch.setattr(pane, "render_line", lambda y: drawn.append(y) or draw(y))
        whole = Region(0, 0, pane.outer_size.width, pane.outer_size.height)
        for number in (1, 2, 3, 4, 3, 2, 1, 0):
            drawn.clear()
            height = pane.virtual_size.height
            await opened.press("down" if f"lesson {number - 1:04}" in str(pane._detail_lines) else "up")
            await until(lambda number=number: f"lesson {number:04}" in str(pane._detail_lines))
            await opened.pilot.pause()
            kept = [strip.text for strip in pane.render_lines(whole)]
            assert drawn
            assert len(set(drawn)) < pane.size.height / 2 or pane.virtual_size.height != height
            pane.refresh()
            assert kept == [strip.text for strip in pane.render_lines(whole)]


async def test_low_terminals_show_it_instead_of_the_grid(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(n, ["fr-FR"]) for n in range(3)], size=(40, 12)) as opened:
        await opened.press("enter")
        await until(lambda: not opened.main.grid.display and opened.main.query_one(DetailPane).size.height > 6)
        await opened.press("enter")
        await until(lambda: opened.main.grid.display)


async def test_tab_reads_it_and_escape_returns(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(n, ["fr-FR"], DubState.FAILED) for n in range(3)], size=(100, 20)) as opened:
        await opened.press("enter")
        pane = opened.main.query_one(DetailPane)
        await until(lambda: pane.display)
        await opened.press("tab")
        await until(lambda: opened.main.focused is pane)
        before = opened.main.grid.cursor
        await opened.press("down", "down")
        await until(lambda: pane.scroll_offset.y > 0)
        assert opened.main.grid.cursor == before
        await opened.press("escape")
        await until(lambda: opened.main.focused is opened.main.grid)
        assert pane.display


def test_a_status_that_the_program_does_not_know_is_a_problem_with_its_word() -> None:
    dub = replace(make_dub(DubState.DUBBING, NOW), odd=UnknownStatus("on_hold", NOW, MIN_UNKNOWN_STATUS_POLLS))
    said = detail_text(dub)
    assert explain("status_unknown").title in said and "on_hold" in said and "Code: status_unknown" in said
    assert "on_hold" not in detail_text(replace(dub, odd=UnknownStatus("on_hold", NOW, MIN_UNKNOWN_STATUS_POLLS - 1)))
