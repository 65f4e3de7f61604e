"""Steps and looks that tests of the opened dashboard share."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec.structs import replace

from synthdub_tui.dashboard.screens.confirm import ConfirmScreen
from synthdub_tui.ipc.protocol import BatchStatus, CheckKeyRequest, DubRef, Reply
from synthdub_tui.jobs.model import DubState, Job
from synthdub_tui.problems import Problem, explain
from tests.dashboard.fake_runner import FakeRunner, make_dub, make_job
from tests.dashboard.opened_dashboard import OpenedDashboard

TWO_LANGUAGES = ["fr-FR", "es-ES"]


def failed_job(number: int, code: str) -> Job:
    job = make_job(number, TWO_LANGUAGES)
    return replace(job, dubs=dict.fromkeys(TWO_LANGUAGES, make_dub(DubState.FAILED, time.time(), code=code)))


def dub_refs_of(*requests: object) -> list[DubRef]:
    return [DubRef(cell.job, cell.language) for request in requests for cell in request.cells]  # type: ignore[attr-defined]


def question_text(opened: OpenedDashboard) -> str:
    screen = opened.app.screen
    assert isinstance(screen, ConfirmScreen)
    return "\n".join(["".join(span for span, _ in line) for line in screen._reader._lines])


async def check_key(key: str) -> Problem | None:
    return None if key == "good-key" else explain("key_rejected")


def runner_with_rejected_key(tmp_path: Path) -> FakeRunner:
    """A runner whose key is not accepted; the one that takes its place has another."""
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO_LANGUAGES)])
    runner.batch_status = BatchStatus(time.time(), problem="key_rejected")
    runner.reply_override = lambda request: Reply(id=0, code="key_rejected") if isinstance(request, CheckKeyRequest) else None
    runner.after_stop = lambda: setattr(runner, "batch_status", BatchStatus(time.time()))
    return runner


async def enter_key(opened: OpenedDashboard) -> None:
    await opened.wait_for_screen("SetupKeyScreen")
    await opened.type_text("good-key")
    await opened.press("enter")
    await opened.wait_for_screen("MainScreen")


def remove_by_palette(opened: OpenedDashboard) -> None:
    """By the palette's command."""
    next(c for c in opened.app.get_system_commands(opened.main) if c.title == "Remove from the batch").callback()


def drawn_status_lines(opened: OpenedDashboard) -> str:
    """The last lines as they are drawn."""
    line = opened.main.status_bar
    return "\n".join("".join(segment.text for segment in line.render_line(y)).strip() for y in range(line.size.height))


def failed_job_at(number: int, path: str) -> Job:
    job = make_job(number, TWO_LANGUAGES, DubState.FAILED)
    return replace(job, id=f"job-{number}", source=replace(job.source, path=path))
