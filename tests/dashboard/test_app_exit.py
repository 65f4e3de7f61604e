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
from tests.dashboard.fake_runner import LANGUAGES, make_job
from tests.dashboard.opened_dashboard import desk


def links(main: MainScreen) -> None:
    for state in LinkState:
        main.session._state(state)


COMES: dict[str, Callable[[MainScreen], object]] = {
    "a change": lambda main: main.changed(),
    "a second": lambda main: main._second(),
    "a call for the user": lambda main: main.session.on_call("A dub has failed."),
    "an answer": lambda main: main.status.say("One dub retried."),
    "the runner": links,
}


@pytest.mark.parametrize("what", COMES)
async def test_nothing_fails_that_comes_while_the_app_ends(tmp_path: Path, what: str) -> None:
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    jobs = [make_job(n, LANGUAGES[:3], DubState.DUBBING) for n in range(5)]
    async with desk(tmp_path, jobs) as d:
        d.main._frame = 0.0  # no change waits for its turn
        d.main.action_details()
        main, went_on = d.main, 0

        async def talk() -> None:
            nonlocal went_on
            while True:
                COMES[what](main)
                went_on += not d.app.is_running
                await asyncio.sleep(0)

        talking = asyncio.create_task(talk())
        d.app.exit()
    await asyncio.sleep(0)
    assert not talking.done(), talking.exception()
    talking.cancel()
    assert went_on > 1
    assert not failures
