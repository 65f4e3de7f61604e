"""`synthdub relocate`: tells the batch where moved videos are now."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from synthdub_tui.commands.offline_batch import _Direct, _jobs
from synthdub_tui.commands.runner_connection import _connected
from synthdub_tui.errors import Trouble
from synthdub_tui.files import as_spelled
from synthdub_tui.humanize import many
from synthdub_tui.ipc.protocol import Relocate
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.transitions import source_changes
from synthdub_tui.settings.model import Settings
from synthdub_tui.sources import relocation
from synthdub_tui.sources.job_index import Known


def relocate(settings: Settings, old: str, new: str) -> int:
    """Note that a file or folder has moved, so that its videos keep their dubs.

    Returns the exit code: 1 if no video moved, or some were not found in the new place. Raises Trouble("path_missing") if
    `new` does not exist.
    """
    old, new = (as_spelled(os.path.abspath(os.path.expanduser(path))) for path in (old, new))
    if not os.path.exists(new):
        raise Trouble("path_missing", new)
    before = _jobs(settings, time.time())
    if os.path.isdir(new) and any(job.source.path == old for job in before.values()):
        new = os.path.join(new, os.path.basename(old))  # as `mv FILE FOLDER` does
    meant = {job.id: path for job in before.values() if (path := relocation.new_path(job.source.path, old, new)) is not None}
    with _connected(settings) as control:
        if control is not None:
            moved = int(control.ask(Relocate(id=1, old=old, new=new)).result["moved"])
        else:
            with _Direct(settings, time.time()) as direct:
                moved = _relocate(direct, old, new)
    left = _left(_jobs(settings, time.time()), meant)
    for trouble in left:
        print(trouble, file=sys.stderr)
    print(f"{many(moved, 'video')} moved" + (f", {len(left)} left in the old place" if left else ""))
    return 1 if left or not moved else 0


def _relocate(direct: _Direct, old: str, new: str) -> int:
    """Returns how many videos moved."""
    moved = 0
    for job, path in relocation.moves(Known(direct.jobs), old, new):
        with contextlib.suppress(Trouble):  # `_left` finds and reports these
            source = relocation.source_at(job, path)
            folder = relocation.moved_folder(job.outputs, old, new)
            outputs = relocation.outputs_at(job, source, folder)
            direct.move(source_changes.relocated(job, source, folder, outputs, time.time()))
            moved += 1
    return moved


def _left(jobs: dict[str, Job], meant: dict[str, str]) -> list[Trouble]:
    """Returns a Trouble for each video that is not in its intended new place. `meant`: job id → new path."""
    troubles = []
    known = Known(jobs)
    for job_id, path in meant.items():
        try:
            relocation.source_at(jobs[job_id], path)
            if any(other.options == jobs[job_id].options and other.id != job_id for other in known.all_at(path)):
                raise Trouble("place_taken", path)
        except Trouble as trouble:
            troubles.append(trouble)
    return troubles
