"""`synthdub relocate`: tells the batch where moved videos are now."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time

from synthdub_tui.commands.offline_batch import OfflineBatch, load_jobs
from synthdub_tui.commands.options import add_state_options, resolve
from synthdub_tui.commands.runner_connection import connect_to_runner
from synthdub_tui.errors import ProblemError
from synthdub_tui.files import spell_as_on_disk
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.protocol import RelocateRequest
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.transitions import source_changes
from synthdub_tui.settings.model import Settings
from synthdub_tui.sources import relocation
from synthdub_tui.sources.job_index import JobIndex


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.description = (
        "Say where videos are now. Nothing is sent or paid. OLD and NEW may be equal: the file is the same video."
    )
    parser.add_argument("old", metavar="OLD", help="a video or folder as the batch knows it")
    parser.add_argument("new", metavar="NEW", help="where it is now")
    add_state_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return relocate(resolve(arguments), arguments.old, arguments.new)


def relocate(settings: Settings, old: str, new: str) -> int:
    """Note that a file or folder has moved, so that its videos keep their dubs.

    Returns the exit code: 1 if no video moved, or some were not found in the new place. Raises ProblemError("path_missing") if
    `new` does not exist.
    """
    old, new = (spell_as_on_disk(os.path.abspath(os.path.expanduser(path))) for path in (old, new))
    if not os.path.exists(new):
        raise ProblemError("path_missing", new)
    before = load_jobs(settings, time.time())
    if os.path.isdir(new) and any(job.source.path == old for job in before.values()):
        new = os.path.join(new, os.path.basename(old))  # as `mv FILE FOLDER` does
    meant = {
        job.id: path for job in before.values() if (path := relocation.path_after_move(job.source.path, old, new)) is not None
    }
    with connect_to_runner(settings) as control:
        if control is not None:
            moved = int(control.ask(RelocateRequest(id=1, old=old, new=new)).result["moved"])
        else:
            with OfflineBatch(settings, time.time()) as direct:
                moved = _relocate(direct, old, new)
    left = _find_left_behind(load_jobs(settings, time.time()), meant)
    for trouble in left:
        print(trouble, file=sys.stderr)
    print(f"{format_count(moved, 'video')} moved" + (f", {len(left)} left in the old place" if left else ""))
    return 1 if left or not moved else 0


def _relocate(direct: OfflineBatch, old: str, new: str) -> int:
    """Returns how many videos moved."""
    moved = 0
    for job, path in relocation.find_moved_jobs(JobIndex(direct.jobs), old, new):
        with contextlib.suppress(ProblemError):  # `_find_left_behind` finds and reports these
            source = relocation.read_source_at(job, path)
            folder = relocation.folder_after_move(job.outputs, old, new)
            outputs = relocation.find_moved_outputs(job, source, folder)
            direct.move(source_changes.relocate_source(job, source, folder, outputs, time.time()))
            moved += 1
    return moved


def _find_left_behind(jobs: dict[str, Job], meant: dict[str, str]) -> list[ProblemError]:
    """Returns a ProblemError for each video that is not in its intended new place. `meant`: job id → new path."""
    troubles = []
    known = JobIndex(jobs)
    for job_id, path in meant.items():
        try:
            relocation.read_source_at(jobs[job_id], path)
            if any(other.options == jobs[job_id].options and other.id != job_id for other in known.find_all(path)):
                raise ProblemError("place_taken", path)
        except ProblemError as trouble:
            troubles.append(trouble)
    return troubles
