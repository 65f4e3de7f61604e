"""What the dashboard remembers from one start to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthdub_tui.dashboard.ui_state import UiStateStore
from synthdub_tui.jobs.model import DubState
from tests.dashboard.dashboard_steps import TWO_LANGUAGES
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_place_order_filter_and_theme_survive_a_restart(tmp_path: Path) -> None:
    jobs = [make_job(n, TWO_LANGUAGES, DubState.FAILED) for n in range(30)]
    async with open_dashboard(tmp_path, jobs) as opened:
        await opened.press("f", "s", "G", "right")
        opened.app.theme = "nord"
        await opened.pilot.pause()
        opened.app.save().join()
        cursor = opened.main.grid.cursor
    remembered = UiStateStore(tmp_path).current
    assert (remembered.filter, remembered.order, remembered.theme) == ("state:trouble", "name", "nord")
    async with open_dashboard(tmp_path, jobs) as again:
        assert again.main.grid.cursor == cursor
        assert again.app.session.batch.order == "name"
        assert again.app.theme == "nord"
        assert str(again.app.session.batch.filter) == "state:trouble"


@pytest.mark.parametrize("content", ["", "nonsense = = 1", "job = 3\n", "\x00"])
def test_a_damaged_memory_is_no_reason_not_to_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "dashboard.toml").write_text(content)
    memory = UiStateStore(tmp_path)
    assert memory.current.order == "added"
    memory.current.filter = "x"
    memory.save()
    assert UiStateStore(tmp_path).current.filter == "x"


async def test_columns_keep_their_order_over_a_restart(tmp_path: Path) -> None:
    jobs = [make_job(0, ["fr-FR"]), make_job(1, TWO_LANGUAGES)]
    async with open_dashboard(tmp_path, jobs) as opened:
        opened.runner.push_changes(make_job(0, ["fr-FR", "ja", "es-ES"]))
        await until(lambda: opened.app.ui_state.current.columns == ["fr-FR", "es-ES", "ja"])
        opened.app.save().join()
    async with open_dashboard(tmp_path, [make_job(0, ["fr-FR", "ja", "es-ES"]), *jobs[1:]]) as again:
        assert again.app.session.batch.columns == ["fr-FR", "es-ES", "ja"]
