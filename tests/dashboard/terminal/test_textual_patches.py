"""Screens that were closed leave nothing behind: what they drew would else be kept for a day."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.jobs.model import DubState
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until

SCREEN_BY_KEY = {
    "question_mark": "HelpScreen",
    "l": "LogScreen",
    "o": "OutputsScreen",
    "a": "AddFilesScreen",
    "L": "AddLanguagesScreen",
    "q": "QuitScreen",
    "ctrl+p": "CommandPalette",
}


@pytest.mark.parametrize("key", SCREEN_BY_KEY)
async def test_a_closed_screen_is_let_go_with_all_that_it_drew(tmp_path: Path, key: str) -> None:
    log = tmp_path / "runner.log"
    log.write_text('{"event": "started"}\n')
    jobs = [make_job(n, TWENTY_LANGUAGES[:3], DubState.DONE if n else DubState.DUBBING) for n in range(10)]
    async with open_dashboard(tmp_path, jobs, log_path=log) as d:
        await d.press(key)
        await d.wait_for_screen(SCREEN_BY_KEY[key])
        parts: list[Any] = d.app.screen.query("*").nodes
        parts = [d.app.screen, *parts]
        drawn = [weakref.ref(part) for part in parts] + [weakref.ref(part._styles_cache) for part in parts]
        del parts
        await d.press("escape")
        await d.wait_for_screen("MainScreen")

        def left() -> list[object]:
            gc.collect()
            return [thing for ref in drawn if (thing := ref()) is not None]

        await until(lambda: not left(), f"{SCREEN_BY_KEY[key]}: {left()}")
