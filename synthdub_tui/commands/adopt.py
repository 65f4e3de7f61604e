"""`synthdub adopt`: follows a dub in a project that only Synthesia Studio shows."""

from __future__ import annotations

import argparse
import time

from synthdub_tui.commands.offline_batch import OfflineBatch, load_jobs
from synthdub_tui.commands.options import add_service_options, add_state_options, resolve
from synthdub_tui.commands.runner_connection import connect_to_runner
from synthdub_tui.commands.select_dubs import dub_name, select_one_dub
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.protocol import AdoptRequest, DubRef
from synthdub_tui.jobs import adoption
from synthdub_tui.settings.model import Settings
from synthdub_tui.text import make_printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.description = (
        "Follow a dub in a project that only Synthesia Studio shows, and download it. The service is asked for free. The "
        "dub may be waiting, held, failed, cancelled or unknown."
    )
    parser.add_argument("dub", metavar="FILE:LANG", help="the dub, as `synthdub status` names it")
    parser.add_argument("project", metavar="PROJECT", help="the project's id, or its address in Synthesia Studio")
    add_service_options(parser)
    add_state_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return adopt(resolve(arguments), arguments.dub, arguments.project)


def adopt(settings: Settings, dub: str, named: str) -> int:
    """Follow a dub in an existing project. `named`: the project's id, or a Studio URL that contains it.

    Only reads from the service; nothing is paid. If this is impossible, raises ProblemError and changes nothing.
    """
    ids = adoption.find_project_ids(named)
    if len(ids) != 1:
        raise ProblemError("adopt_no_id", ", ".join(ids) or make_printable(named))
    now = time.time()
    jobs = load_jobs(settings, now)
    cell = select_one_dub(jobs, dub)
    with connect_to_runner(settings) as control:
        if control is not None:
            control.ask(AdoptRequest(id=1, cell=cell, project=ids[0]))
        else:
            _adopt(settings, cell, ids[0], now)
    done = f"{dub_name(jobs, cell)} is followed in project {ids[0]}; nothing was paid"
    print(done if control is not None else f"{done}. `synthdub run` downloads it")
    return 0


def _adopt(settings: Settings, cell: DubRef, project: str, now: float) -> None:
    from synthdub_tui.runner import adopt_project  # noqa: PLC0415 - other commands do not need it
    from synthdub_tui.store.receipts import receipts_for  # noqa: PLC0415

    adopt_project.check_adoptable(load_jobs(settings, now), cell)
    seen = adopt_project.get_project_blocking(settings.api_url, settings.api_key, project)
    receipts = receipts_for(settings)
    with OfflineBatch(settings, now) as direct:
        job = adopt_project.with_adopted_dub(direct.jobs, cell, project, seen, time.time())
        direct.update_job(job)
        adopt_project.claim(job, cell.language, direct.store.batch_id(), settings.state_dir, time.time())
        receipts.open(direct.store.folder)
    adopt_project.write_receipt(receipts, job, cell.language, settings.state_dir, time.time())
