"""`synthdub adopt`: follows a dub in a project that only Synthesia Studio shows."""

from __future__ import annotations

import time

from synthdub_tui.commands.offline_batch import _Direct, _jobs
from synthdub_tui.commands.runner_connection import _connected
from synthdub_tui.commands.select_dubs import _name, _one_dub
from synthdub_tui.errors import Trouble
from synthdub_tui.ipc.protocol import Adopt, Cell
from synthdub_tui.jobs import adoption
from synthdub_tui.settings.model import Settings
from synthdub_tui.text import printable


def adopt(settings: Settings, dub: str, named: str) -> int:
    """Follow a dub in an existing project. `named`: the project's id, or a Studio URL that contains it.

    Only reads from the service; nothing is paid. If this is impossible, raises Trouble and changes nothing.
    """
    ids = adoption.project_ids(named)
    if len(ids) != 1:
        raise Trouble("adopt_no_id", ", ".join(ids) or printable(named))
    now = time.time()
    jobs = _jobs(settings, now)
    cell = _one_dub(jobs, dub)
    with _connected(settings) as control:
        if control is not None:
            control.ask(Adopt(id=1, cell=cell, project=ids[0]))
        else:
            _adopt(settings, cell, ids[0], now)
    done = f"{_name(jobs, cell)} is followed in project {ids[0]}; nothing was paid"
    print(done if control is not None else f"{done}. `synthdub run` downloads it")
    return 0


def _adopt(settings: Settings, cell: Cell, project: str, now: float) -> None:
    from synthdub_tui.runner import adopt_project  # noqa: PLC0415 - other commands do not need it
    from synthdub_tui.store.receipts import receipts_of  # noqa: PLC0415

    adopt_project.check(_jobs(settings, now), cell)
    seen = adopt_project.look_from_outside(settings.api_url, settings.api_key, project)
    receipts = receipts_of(settings)
    with _Direct(settings, now) as direct:
        job = adopt_project.adopted(direct.jobs, cell, project, seen, time.time())
        direct.put(job)
        adopt_project.claim(job, cell.language, direct.store.identity(), settings.state_dir, time.time())
        receipts.open(direct.store.folder)
    adopt_project.note(receipts, job, cell.language, settings.state_dir, time.time())
