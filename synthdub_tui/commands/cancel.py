"""`synthdub cancel`: gives dubs up."""

from __future__ import annotations

import time
from collections.abc import Iterable

from synthdub_tui.commands.offline_batch import _Direct, _jobs
from synthdub_tui.commands.runner_connection import _connected
from synthdub_tui.commands.select_dubs import _all, _select
from synthdub_tui.ipc.protocol import Cancel, Shown
from synthdub_tui.jobs.model import OPEN, DubState, Job
from synthdub_tui.jobs.transitions import cancellation
from synthdub_tui.problems import explain
from synthdub_tui.runner import request_handlers
from synthdub_tui.settings.model import Settings
from synthdub_tui.text import printable


def cancel(settings: Settings, selected: list[str]) -> int:
    """Cancel dubs in this batch; the service is not asked to stop them."""
    now = time.time()
    jobs = _jobs(settings, now)
    cells = [Shown(cell.job, cell.language) for cell in _all(_select(jobs, selected))]
    stoppable = list(_open(jobs, cells))
    with _connected(settings) as control:
        if control is not None:
            number = int(control.ask(Cancel(id=1, cells=tuple(cells))).result["cancelled"])
        else:
            with _Direct(settings, now) as direct:
                number, _ = request_handlers.cancel(direct.jobs, cells, time.time(), direct.give_up)
    print(f"{number} cancelled")
    _tell_billed(_jobs(settings, time.time()), stoppable)
    return 0


def _tell_billed(jobs: dict[str, Job], cells: Iterable[Shown]) -> None:
    """Print which of these dubs may be billed although they are cancelled."""
    for job, language in ((jobs[cell.job], cell.language) for cell in cells if cell.job in jobs):
        if language in job.dubs and (code := cancellation.billed_all_the_same(job, language)):
            print(f"  {printable(job.name)} {language}: {explain(code).line()}")


def _open(jobs: dict[str, Job], cells: Iterable[Shown]) -> Iterable[Shown]:
    states = OPEN | {DubState.UNKNOWN}
    return (cell for cell in cells if jobs[cell.job].dubs[cell.language].state in states)
