"""`synthdub retry`: retries dubs by the cheapest step that may help. Asks before a step that may cost credits."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable

from synthdub_tui import retry_text
from synthdub_tui.commands.offline_batch import OfflineBatch, load_jobs
from synthdub_tui.commands.options import add_select_options, resolve
from synthdub_tui.commands.questions import ask_yes_no
from synthdub_tui.commands.runner_connection import connect_to_runner
from synthdub_tui.commands.select_dubs import all_selected, dub_name, print_changed, select_dubs
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from synthdub_tui.ipc.protocol import DubRef, RetryRequest, ShownDub
from synthdub_tui.jobs.model import Job
from synthdub_tui.jobs.retry_policy import RetryPolicy
from synthdub_tui.jobs.transitions import retry as retry_module
from synthdub_tui.problems import explain
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner.output_presence import is_gone
from synthdub_tui.settings.model import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_select_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return retry(resolve(arguments), arguments.select, yes="yes" in arguments)


def retry(settings: Settings, selected: list[str], *, yes: bool) -> int:
    """Retry dubs by the cheapest step that may help, and ask before any step that may cost credits.

    `yes` answers these questions, but never those about dubs that moderation refused. Returns the exit code.
    """
    now = time.time()
    jobs = load_jobs(settings, now)
    meant = select_dubs(jobs, selected)
    chosen = request_handlers.plan_retries(jobs, *meant, is_gone)
    questions = [cell for cell in chosen.needs_consent if not yes or _policy(jobs, cell).resends_refused_content]
    said_yes = bool(questions) and _ask_consent(jobs, questions)
    agreed = [cell for cell in chosen.needs_consent if said_yes or cell not in questions]
    refused = [cell for cell in chosen.needs_consent if cell not in agreed]
    lost = [
        cell for cell in refused + chosen.only_if_named if retry_module.can_check_for_free(jobs[cell.job].dubs[cell.language])
    ]
    at_once, paid, free = (request_handlers.to_shown_dubs(jobs, cells) for cells in (chosen.without_asking, agreed, lost))
    with connect_to_runner(settings) as control:
        if control is not None:
            outcome = _retry_through(control, at_once, paid, free)
        else:
            outcome = _retry_directly(settings, at_once, paid, free, now)
    moderated = [cell for cell in refused if _policy(jobs, cell).resends_refused_content]
    held = len(refused) - len(moderated) + outcome.needs_paid
    waits = bool(outcome.retried) and control is None
    print(f"{format_count(outcome.retried, 'dub')} to be retried" + ("; `synthdub run` goes on with that" if waits else ""))
    if held:
        print(
            f"{format_count(held, 'dub')} left alone: a retry may spend credits; say --yes to retry all the same",
            file=sys.stderr,
        )
    _print_moderated(jobs, moderated)
    _print_only_if_named(jobs, chosen.only_if_named)
    print_changed(jobs, outcome.changed)
    if said_yes:
        latest = load_jobs(settings, time.time())
        failed = request_handlers.find_failed_dubs(latest) if "failed" in selected else []
        _tell_not_shown(latest, chosen, all_selected(meant) + failed)
    left = held or chosen.only_if_named
    return 1 if outcome.changed or moderated or (left and not outcome.retried) else 0


ShownDubs = tuple[ShownDub, ...]
Send = Callable[[ShownDubs, bool], request_handlers.RetryResult]


def _retry_through(
    control: BlockingRunnerClient, at_once: ShownDubs, agreed: ShownDubs, lost: ShownDubs
) -> request_handlers.RetryResult:
    """Let the runner retry the dubs that are still as the user saw them."""

    def send(cells: ShownDubs, paid: bool) -> request_handlers.RetryResult:
        reply = control.ask(RetryRequest(id=1, cells=cells, paid=paid))
        return request_handlers.RetryResult(int(reply.result["retried"]), int(reply.result["needs_paid"]), reply.changed)

    return _retry_each(send, at_once, agreed, lost)


def _retry_directly(
    settings: Settings, at_once: ShownDubs, agreed: ShownDubs, lost: ShownDubs, now: float
) -> request_handlers.RetryResult:
    """Retry the dubs that are still as the user saw them, on the store, since no runner works."""
    if not at_once + agreed + lost:
        return request_handlers.RetryResult()
    with OfflineBatch(settings, now) as direct:

        def send(cells: ShownDubs, paid: bool) -> request_handlers.RetryResult:
            return request_handlers.retry(direct.jobs, cells, paid, time.time(), direct.update_job, is_gone)

        return _retry_each(send, at_once, agreed, lost)


def _retry_each(send: Send, at_once: ShownDubs, agreed: ShownDubs, lost: ShownDubs) -> request_handlers.RetryResult:
    """Send up to three retries. `agreed`: dubs for whose cost the user agreed when asked, or with `--yes`. `lost`: dubs that
    are not sent again, since the user did not agree or did not name them; they are only looked for, which is free."""
    free = send(at_once, False) if at_once else request_handlers.RetryResult()
    paid = send(agreed, True) if agreed else request_handlers.RetryResult()
    if lost:
        send(lost, False)
    return request_handlers.RetryResult(
        free.retried + paid.retried, free.needs_paid + paid.needs_paid, free.changed + paid.changed
    )


def _policy(jobs: dict[str, Job], cell: DubRef) -> RetryPolicy:
    return request_handlers.find_retry_policy(jobs[cell.job], cell.language, is_gone)


def _tell_not_shown(jobs: dict[str, Job], shown: request_handlers.RetryPlan, selected: Iterable[DubRef]) -> None:
    """Name the selected dubs that can be retried now, but could not when the question was asked. `jobs`: as they are now."""
    known = {*shown.without_asking, *shown.needs_consent, *shown.only_if_named}
    later = [cell for cell in selected if cell not in known and cell.job in jobs and cell.language in jobs[cell.job].dubs]
    chosen = request_handlers.plan_retries(jobs, (), later, is_gone)
    cells = chosen.without_asking + chosen.needs_consent + chosen.only_if_named
    if cells:
        print(
            f"{format_count(len(cells), 'dub')} left alone: not shown in the question. Look again, then decide:",
            file=sys.stderr,
        )
    for cell in cells:
        print(f"  {dub_name(jobs, cell)}: {retry_text.describe_retry(_policy(jobs, cell))}", file=sys.stderr)


def _print_moderated(jobs: dict[str, Job], cells: list[DubRef]) -> None:
    if cells:
        print(
            f"{format_count(len(cells), 'dub')} left alone: refused by moderation, and repeated refusals can get the account "
            "banned. "
            "--yes does not answer for that; at a terminal, `synthdub retry FILE:LANG` asks:",
            file=sys.stderr,
        )
    for cell in cells:
        print(f"  {dub_name(jobs, cell)}", file=sys.stderr)


def _print_only_if_named(jobs: dict[str, Job], cells: list[DubRef]) -> None:
    if cells:
        print(f"{format_count(len(cells), 'dub')} left out; FILE:LANG retries one all the same:", file=sys.stderr)
    for cell in cells:
        print(f"  {dub_name(jobs, cell)}: {explain(_policy(jobs, cell).reason_code).title}", file=sys.stderr)


def _ask_consent(jobs: dict[str, Job], cells: list[DubRef], read: Callable[[str], str] = input) -> bool:
    """List the dubs that may cost credits and ask once; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print("Retrying these may spend credits again:")
    for cell in cells:
        print(f"  {dub_name(jobs, cell)}: {retry_text.describe_retry(_policy(jobs, cell))}")
        hold = jobs[cell.job].dubs[cell.language].hold
        if hold is not None and (words := retry_text.held(hold)):
            print(f"    {words}")
    return ask_yes_no(f"Retry {format_count(len(cells), 'dub')}?", read)
