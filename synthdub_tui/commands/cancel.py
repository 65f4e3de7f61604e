"""`synthdub cancel`: gives dubs up."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from synthdub_tui.commands.offline_batch import OfflineBatch, load_jobs
from synthdub_tui.commands.options import add_select_options, resolve
from synthdub_tui.commands.runner_connection import connect_to_runner
from synthdub_tui.commands.select_dubs import all_selected, select_dubs
from synthdub_tui.ipc.protocol import CancelRequest, ShownDub
from synthdub_tui.jobs.model import OPEN_STATES, DubState, Job
from synthdub_tui.jobs.transitions import cancellation
from synthdub_tui.problems import explain
from synthdub_tui.runner import request_handlers
from synthdub_tui.settings.model import Settings
from synthdub_tui.text import make_printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_select_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return cancel(resolve(arguments), arguments.select)


def cancel(settings: Settings, selected: list[str]) -> int:
    """Cancel dubs in this batch; the service is not asked to stop them."""
    now = time.time()
    jobs = load_jobs(settings, now)
    cells = [ShownDub(cell.job, cell.language) for cell in all_selected(select_dubs(jobs, selected))]
    stoppable = list(_open(jobs, cells))
    with connect_to_runner(settings) as control:
        if control is not None:
            number = int(control.ask(CancelRequest(id=1, cells=tuple(cells))).result["cancelled"])
        else:
            with OfflineBatch(settings, now) as direct:
                number, _ = request_handlers.cancel(direct.jobs, cells, time.time(), direct.cancel_dubs)
    print(f"{number} cancelled")
    _print_billed(load_jobs(settings, time.time()), stoppable)
    return 0


def _print_billed(jobs: dict[str, Job], cells: Iterable[ShownDub]) -> None:
    """Print which of these dubs may be billed although they are cancelled."""
    for job, language in ((jobs[cell.job], cell.language) for cell in cells if cell.job in jobs):
        if language in job.dubs and (code := cancellation.billing_problem_code(job, language)):
            print(f"  {make_printable(job.name)} {language}: {explain(code).one_line()}")


def _open(jobs: dict[str, Job], cells: Iterable[ShownDub]) -> Iterable[ShownDub]:
    states = OPEN_STATES | {DubState.UNKNOWN}
    return (cell for cell in cells if jobs[cell.job].dubs[cell.language].state in states)
