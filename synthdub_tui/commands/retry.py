"""`synthdub retry`: retries dubs by the cheapest step that may help. Asks before a step that may cost credits."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable

from synthdub_tui import retry_text
from synthdub_tui.commands.offline_batch import _Direct, _jobs
from synthdub_tui.commands.runner_connection import _connected
from synthdub_tui.commands.select_dubs import _all, _name, _select, _tell_changed
from synthdub_tui.humanize import many
from synthdub_tui.ipc.blocking_client import Control
from synthdub_tui.ipc.protocol import Cell, Retry, Shown
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.retry_policy import RetryPolicy
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.problems import explain
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner.output_presence import gone
from synthdub_tui.settings.model import Settings


def retry(settings: Settings, selected: list[str], *, yes: bool) -> int:
    """Retry dubs by the cheapest step that may help, and ask before any step that may cost credits.

    `yes` answers these questions, but never those about dubs that moderation refused. Returns the exit code.
    """
    now = time.time()
    jobs = _jobs(settings, now)
    meant = _select(jobs, selected)
    chosen = request_handlers.choose(jobs, *meant, gone)
    questions = [cell for cell in chosen.to_ask if not yes or _policy(jobs, cell).moderated]
    said_yes = bool(questions) and _asked(jobs, questions)
    agreed = [cell for cell in chosen.to_ask if said_yes or cell not in questions]
    refused = [cell for cell in chosen.to_ask if cell not in agreed]
    lost = [cell for cell in refused + chosen.left_out if retry_module.can_look_for(jobs[cell.job].dubs[cell.language])]
    at_once, paid, free = (request_handlers.as_shown(jobs, cells) for cells in (chosen.at_once, agreed, lost))
    with _connected(settings) as control:
        if control is not None:
            outcome = _retry_through(control, at_once, paid, free)
        else:
            outcome = _retry_directly(settings, at_once, paid, free, now)
    moderated = [cell for cell in refused if _policy(jobs, cell).moderated]
    held = len(refused) - len(moderated) + outcome.needs_paid
    waits = bool(outcome.retried) and control is None
    print(f"{many(outcome.retried, 'dub')} to be retried" + ("; `synthdub run` goes on with that" if waits else ""))
    if held:
        print(f"{many(held, 'dub')} left alone: a retry may spend credits; say --yes to retry all the same", file=sys.stderr)
    _tell_moderated(jobs, moderated)
    _tell_left_out(jobs, chosen.left_out)
    _tell_changed(jobs, outcome.changed)
    if said_yes:
        latest = _jobs(settings, time.time())
        failed = request_handlers.failed_cells(latest) if "failed" in selected else []
        _tell_not_shown(latest, chosen, _all(meant) + failed)
    left = held or chosen.left_out
    return 1 if outcome.changed or moderated or (left and not outcome.retried) else 0


Cells = tuple[Shown, ...]
Send = Callable[[Cells, bool], request_handlers.Retried]


def _retry_through(control: Control, at_once: Cells, agreed: Cells, lost: Cells) -> request_handlers.Retried:
    """Let the runner retry the dubs that are still as the user saw them."""

    def send(cells: Cells, paid: bool) -> request_handlers.Retried:
        reply = control.ask(Retry(id=1, cells=cells, paid=paid))
        return request_handlers.Retried(int(reply.result["retried"]), int(reply.result["needs_paid"]), reply.changed)

    return _retry_each(send, at_once, agreed, lost)


def _retry_directly(settings: Settings, at_once: Cells, agreed: Cells, lost: Cells, now: float) -> request_handlers.Retried:
    """Retry the dubs that are still as the user saw them, on the store, since no runner works."""
    if not at_once + agreed + lost:
        return request_handlers.Retried()
    with _Direct(settings, now) as direct:
        send: Send = lambda cells, paid: request_handlers.retry(direct.jobs, cells, paid, time.time(), direct.put, gone)  # noqa: E731
        return _retry_each(send, at_once, agreed, lost)


def _retry_each(send: Send, at_once: Cells, agreed: Cells, lost: Cells) -> request_handlers.Retried:
    """Send up to three retries. `agreed`: dubs for whose cost the user agreed when asked, or with `--yes`. `lost`: dubs that
    are not sent again, since the user did not agree or did not name them; they are only looked for, which is free."""
    free = send(at_once, False) if at_once else request_handlers.Retried()
    paid = send(agreed, True) if agreed else request_handlers.Retried()
    if lost:
        send(lost, False)
    return request_handlers.Retried(free.retried + paid.retried, free.needs_paid + paid.needs_paid, free.changed + paid.changed)


def _policy(jobs: dict[str, Job], cell: Cell) -> RetryPolicy:
    return request_handlers.policy_of(jobs[cell.job], cell.language, gone)


def _tell_not_shown(jobs: dict[str, Job], shown: request_handlers.Chosen, selected: Iterable[Cell]) -> None:
    """Name the selected dubs that can be retried now, but could not when the question was asked. `jobs`: as they are now."""
    known = {*shown.at_once, *shown.to_ask, *shown.left_out}
    later = [cell for cell in selected if cell not in known and cell.job in jobs and cell.language in jobs[cell.job].dubs]
    chosen = request_handlers.choose(jobs, (), later, gone)
    cells = chosen.at_once + chosen.to_ask + chosen.left_out
    if cells:
        print(f"{many(len(cells), 'dub')} left alone: not shown in the question. Look again, then decide:", file=sys.stderr)
    for cell in cells:
        print(f"  {_name(jobs, cell)}: {retry_text.sentence(_policy(jobs, cell))}", file=sys.stderr)


def _tell_moderated(jobs: dict[str, Job], cells: list[Cell]) -> None:
    if cells:
        print(
            f"{many(len(cells), 'dub')} left alone: refused by moderation, and repeated refusals can get the account banned. "
            "--yes does not answer for that; at a terminal, `synthdub retry FILE:LANG` asks:",
            file=sys.stderr,
        )
    for cell in cells:
        print(f"  {_name(jobs, cell)}", file=sys.stderr)


def _tell_left_out(jobs: dict[str, Job], cells: list[Cell]) -> None:
    if cells:
        print(f"{many(len(cells), 'dub')} left out; FILE:LANG retries one all the same:", file=sys.stderr)
    for cell in cells:
        print(f"  {_name(jobs, cell)}: {explain(_policy(jobs, cell).why).title}", file=sys.stderr)


def _asked(jobs: dict[str, Job], cells: list[Cell], read: Callable[[str], str] = input) -> bool:
    """List the dubs that may cost credits and ask once; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print("Retrying these may spend credits again:")
    for cell in cells:
        print(f"  {_name(jobs, cell)}: {retry_text.sentence(_policy(jobs, cell))}")
        hold = jobs[cell.job].dubs[cell.language].hold
        if hold is not None and (words := retry_text.held(hold)):
            print(f"    {words}")
    return _says_yes(f"Retry {many(len(cells), 'dub')}?", read)


def _says_yes(question: str, read: Callable[[str], str]) -> bool:
    """Ask the question. The end of the input (ctrl+d) counts as no."""
    try:
        return read(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
