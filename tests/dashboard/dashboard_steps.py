"""Steps and looks that tests of the opened dashboard share."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec.structs import replace

from synthdub_tui.dashboard.screens.confirm import ConfirmScreen
from synthdub_tui.ipc.protocol import Cell, CheckKey, Meters, Reply
from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.problems import Problem, explain
from tests.dashboard.fake_runner import FakeRunner, make_dub, make_job
from tests.dashboard.opened_dashboard import Desk

TWO = ["fr-FR", "es-ES"]


def failed(number: int, code: str) -> Job:
    job = make_job(number, TWO)
    return replace(job, dubs=dict.fromkeys(TWO, make_dub(DubState.FAILED, time.time(), code=code)))


def cells(*requests: object) -> list[Cell]:
    return [Cell(cell.job, cell.language) for request in requests for cell in request.cells]  # type: ignore[attr-defined]


def question(opened: Desk) -> str:
    screen = opened.app.screen
    assert isinstance(screen, ConfirmScreen)
    return "\n".join(["".join(span for span, _ in line) for line in screen._reader._lines])


async def takes(key: str) -> Problem | None:
    return None if key == "good-key" else explain("key_rejected")


def rejected(tmp_path: Path) -> FakeRunner:
    """A runner whose key is not accepted; the one that takes its place has another."""
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO)])
    runner.meters = Meters(time.time(), problem="key_rejected")
    runner.answer = lambda request: Reply(id=0, code="key_rejected") if isinstance(request, CheckKey) else None
    runner.after_stop = lambda: setattr(runner, "meters", Meters(time.time()))
    return runner


async def enter_key(opened: Desk) -> None:
    await opened.screen("SetupKeyScreen")
    await opened.type("good-key")
    await opened.press("enter")
    await opened.screen("MainScreen")


def remove(opened: Desk) -> None:
    """By the palette's command."""
    next(c for c in opened.app.get_system_commands(opened.main) if c.title == "Remove from the batch").callback()


def status(opened: Desk) -> str:
    """The last lines as they are drawn."""
    line = opened.main.status
    return "\n".join("".join(segment.text for segment in line.render_line(y)).strip() for y in range(line.size.height))


def at(number: int, path: str) -> Job:
    job = make_job(number, TWO, DubState.FAILED)
    return replace(job, id=f"job-{number}", source=replace(job.source, path=path))
