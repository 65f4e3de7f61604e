"""The app may end at any moment. What comes while its widgets go one by one must not fail: it would be printed in the shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.dashboard.screens.main import MainScreen
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.jobs.model import DubState
from tests.dashboard.fake_runner import TWENTY_LANGUAGES, make_job
from tests.dashboard.opened_dashboard import open_dashboard


def send_all_link_states(main: MainScreen) -> None:
    for state in LinkState:
        main.session._handle_link_state(state)


LATE_EVENTS: dict[str, Callable[[MainScreen], object]] = {
    "a change": lambda main: main.schedule_paint(),
    "a second": lambda main: main._update_every_second(),
    "a call for the user": lambda main: main.session.on_attention_needed("A dub has failed."),
    "an answer": lambda main: main.status_bar.show_message("One dub retried."),
    "the runner": send_all_link_states,
}


@pytest.mark.parametrize("what", LATE_EVENTS)
async def test_nothing_fails_that_comes_while_the_app_ends(tmp_path: Path, what: str) -> None:
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    jobs = [make_job(n, TWENTY_LANGUAGES[:3], DubState.DUBBING) for n in range(5)]
    async with open_dashboard(tmp_path, jobs) as d:
        d.main._frame = 0.0  # no change waits for its turn
        d.main.action_details()
        main, went_on = d.main, 0

        async def talk() -> None:
            nonlocal went_on
            while True:
                LATE_EVENTS[what](main)
                went_on += not d.app.is_running
                await asyncio.sleep(0)

        talking = asyncio.create_task(talk())
        d.app.exit()
    await asyncio.sleep(0)
    assert not talking.done(), talking.exception()
    talking.cancel()
    assert went_on > 1
    assert not failures
