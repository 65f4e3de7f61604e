"""`synthdub remove`: takes dubs that have ended out of the batch."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from synthdub_tui.commands.offline_batch import OfflineBatch, load_jobs
from synthdub_tui.commands.options import add_select_options, resolve
from synthdub_tui.commands.questions import ask_yes_no
from synthdub_tui.commands.runner_connection import connect_to_runner
from synthdub_tui.commands.select_dubs import all_selected, print_changed, select_dubs
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.protocol import DubRef, RemoveRequest
from synthdub_tui.jobs.model import Job
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner.output_presence import is_gone
from synthdub_tui.settings.model import Settings
from synthdub_tui.text import make_printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_select_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return remove(resolve(arguments), arguments.select, yes="yes" in arguments)


def remove(settings: Settings, selected: list[str], *, yes: bool) -> int:
    """Remove dubs that have ended from the batch; files stay. Asks before it forgets anything paid."""
    now = time.time()
    jobs = load_jobs(settings, now)
    cells = request_handlers.to_shown_dubs(jobs, all_selected(select_dubs(jobs, selected)))
    would = request_handlers.remove(jobs, cells, False, lambda job, languages: None, is_gone)
    forget = bool(would.paid) and (yes or _asked_to_forget(jobs, would.paid))
    with connect_to_runner(settings) as control:
        if control is not None:
            reply = control.ask(RemoveRequest(id=1, cells=cells, forget=forget))
            number, under_way, paid = (int(reply.result[word]) for word in ("removed", "under_way", "paid"))
            changed = reply.changed
        else:
            with OfflineBatch(settings, now) as direct:
                removed = request_handlers.remove(direct.jobs, cells, forget, direct.remove_dubs, is_gone)
            number, under_way, paid = removed.count, len(removed.under_way), len(removed.paid)
            changed = tuple(removed.changed)
    print(f"{format_count(number, 'dub')} removed; files stay")
    if under_way:
        print(
            f"{format_count(under_way, 'dub')} left: under way, or not known whether accepted. Cancel first.", file=sys.stderr
        )
    if paid:
        print(f"{format_count(paid, 'dub')} left: paid for, and not on disk; say --yes to forget", file=sys.stderr)
    print_changed(jobs, changed)
    return 1 if under_way or paid or changed else 0


def _asked_to_forget(jobs: dict[str, Job], cells: list[DubRef], read: Callable[[str], str] = input) -> bool:
    """List the dubs that would be forgotten and ask once; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print("These were paid for, and are not on disk. Once they are removed, having them again may spend credits again:")
    for cell in cells:
        dub = jobs[cell.job].dubs[cell.language]
        known = f"project {make_printable(dub.project)}" if dub.project else "its request may have been accepted"
        print(f"  {make_printable(jobs[cell.job].name)} {cell.language}: {dub.state.value}, {known}")
    return ask_yes_no(f"Forget {format_count(len(cells), 'dub')}?", read)
