"""Filter, order and marks by keys."""

from __future__ import annotations

from pathlib import Path

from textual import events

from synthdub_tui.dashboard.widgets.detail_pane import DetailPane
from synthdub_tui.dashboard.widgets.filter_input import FilterInput
from synthdub_tui.jobs.model import DubState, Job
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, make_job
from tests.dashboard.opened_dashboard import OpenedDashboard, open_dashboard, until

THREE_LANGUAGES = TWENTY_LANGUAGES[:3]


def jobs_in_mixed_states() -> list[Job]:
    states = [DubState.DONE, DubState.FAILED, DubState.DUBBING]
    return [make_job(n, THREE_LANGUAGES, states[n % 3]) for n in range(9)]


def shown_names(opened: OpenedDashboard) -> list[int]:
    return [int(row.job.name[7:11]) for row in opened.app.session.batch.visible_rows]


async def test_typing_filters_at_once_even_when_typed_ahead(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        await opened.press("/")
        await opened.type_text("state:failed")
        await opened.press("enter")
        assert shown_names(opened) == [1, 4, 7]
        assert opened.main.focused is opened.main.grid
        assert "3 of 9 files" in opened.grid_lines()[0]
        await opened.press("escape")
        assert len(shown_names(opened)) == 9


async def test_a_wrong_filter_says_why_and_changes_nothing(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        await opened.press("/")
        await opened.type_text("state:dubbing")
        assert shown_names(opened) == [2, 5, 8]
        opened.main.query_one(FilterInput).value += " foo:"  # at once, since foo alone is a name
        await opened.wait_for_status("“foo:” is not known")
        assert shown_names(opened) == [2, 5, 8]


async def test_completion_by_tab(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        await opened.press("/")
        await opened.type_text("sta")
        await opened.press("tab")
        await opened.type_text("fai")
        await opened.press("tab")
        assert opened.main.query_one(FilterInput).value == "state:failed"
        assert shown_names(opened) == [1, 4, 7]
        await opened.press("space")
        await opened.type_text("reason:")
        await opened.press("tab")
        assert opened.main.query_one(FilterInput).value == "state:failed reason:processing_error"


async def test_letters_are_letters_while_typing(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        await opened.press("/")
        await opened.type_text("qrxpRLaosl?*")
        assert opened.main.query_one(FilterInput).value == "qrxpRLaosl?*"
        assert len(opened.app.screen_stack) == 1
        assert len(opened.runner.requests) == 2
        await until(lambda: "Nothing matches. esc clears the filter." in opened.main.status_bar._text(120).plain)
        opened.main.action_details()
        await until(lambda: "Nothing matches" in str(opened.main.query_one(DetailPane)._detail_lines))


async def test_language_words_choose_columns(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        await opened.press("/")
        await opened.type_text("lang:es")
        await opened.press("enter")
        header = opened.grid_lines()[0]
        assert "es-ES" in header and "fr-FR" not in header
        assert opened.main.grid.cursor is not None and opened.main.grid.cursor.language == "es-ES"


async def test_failed_only_and_back(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        await opened.press("f")
        assert shown_names(opened) == [1, 4, 7]
        await opened.press("f")
        assert len(shown_names(opened)) == 9
        opened.main._apply("state:done")
        await opened.press("f", "f")
        assert shown_names(opened) == [0, 3, 6]  # back to what was shown


async def test_orders_follow_each_other(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        seen = []
        for _ in range(5):
            await opened.press("s")
            seen.append(opened.app.session.batch.order)
        assert seen == ["name", "state", "progress", "size", "added"]
        assert shown_names(opened) == list(range(9))


async def test_marks_by_cell_row_column_and_all(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        batch = opened.app.session.batch
        await opened.press("space")
        assert batch.marks.count == 1 and "▌✓" in opened.grid_lines()[3]
        await opened.press("home", "down", "space")
        assert batch.marks.count == 4 and opened.grid_lines()[4].startswith("▌")
        await opened.press("right", "V")
        assert batch.marks.count == 11
        await opened.press("V")
        assert batch.marks.count == 2
        await opened.press("*")
        assert batch.marks.count == 27
        await opened.press("u")
        assert batch.marks.count == 0
        await opened.press("*", "escape")
        assert batch.marks.count == 0


async def test_marking_all_with_a_filter_takes_what_is_shown(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        await opened.press("/")
        await opened.type_text("state:failed lang:fr")
        await opened.press("enter", "*")
        assert opened.app.session.batch.marks.count == 3
        await opened.press("escape", "escape")
        assert len(shown_names(opened)) == 9


async def test_a_paste_goes_into_the_filter_with_all_its_lines(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, jobs_in_mixed_states()) as opened:
        await opened.press("/")
        opened.app.post_message(events.Paste("\n  state:failed\r\nname:0004\x1b\n"))
        await until(lambda: shown_names(opened) == [4])
        assert opened.main.query_one(FilterInput).value == "state:failed name:0004"
