"""Runs a batch without a screen, for `synthdub run` and the demo: adds the paths, works, prints events and the summary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final, TypeVar

from synthdub_tui import humanize
from synthdub_tui.commands.exit_codes import NOT_ADDED_CODES, RUN_ANYWAY_CODES, RunEnd, exit_code
from synthdub_tui.commands.process_end import StopSignal, exit_immediately
from synthdub_tui.errors import EXIT_INTERRUPTED, ProblemError
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.protocol import BatchStatus
from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.jobs.model import Job, count_dubs
from synthdub_tui.problems import explain
from synthdub_tui.runner import add_videos, events, log_file, request_handlers
from synthdub_tui.runner.backoff import Backoff
from synthdub_tui.runner.events import EventPrinter
from synthdub_tui.runner.input_validation import validate_batch
from synthdub_tui.runner.malloc_arenas import share_one_arena
from synthdub_tui.runner.output_presence import GONE, OutputMismatch, find_output_mismatches
from synthdub_tui.runner.runner import Runner
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import KeyReader, make_key_reader
from synthdub_tui.sources.add_file import AddEffect
from synthdub_tui.sources.skip_rules import SkipReason
from synthdub_tui.text import make_printable

FIRST_ANSWER_TIMEOUT_SECONDS: Final = 60.0
"""Seconds after which `run` gives up if the service has not answered once: the URL is wrong, or there is no network."""

MAX_SAME_FILES_LISTED: Final = 10
"""Largest number of other names of files that are listed one by one."""


COMPARISON_LINE_INTERVAL_SECONDS: Final = 10.0
"""Seconds between two lines about the same comparison."""

T = TypeVar("T")


async def run_batch(
    settings: Settings,
    paths: list[str],
    reporter: EventPrinter,
    read_key: KeyReader,
    *,
    backoff: Backoff | None = None,
    resume: bool = False,
    resumable: bool = True,
) -> int:
    """Do all the work, print a summary and return the exit code.

    `resume`: end a pause first. `resumable`: whether a later run can continue unfinished dubs, for the summary. Raises
    ProblemError if something is wrong before anything is sent.
    """
    started = time.monotonic()
    share_one_arena()
    if paths:
        validate_batch(settings.batch)
    backoff = backoff or Backoff()
    runner = Runner(settings, backoff=backoff)
    damaged = await in_thread(runner.open)
    stop = StopSignal()
    try:
        log = log_file.start(settings.state_dir)
    except OSError as error:
        raise ProblemError("state_unwritable", f"{error.strerror}: {settings.state_dir}") from error
    try:
        if resume and runner.paused:
            await runner.pause(False)
            reporter.print_line("The batch was paused; it goes on now.")
        for file in damaged:
            reporter.print_event(events.problem(explain("state_corrupt", f"{file.path} → {file.kept_path}: {file.reason}")))
        runner.live_jobs.add_listener(lambda before, job: _report_changes(reporter, before, job))
        runner.on_warning = lambda job, trouble: reporter.print_event(events.problem(trouble.problem, job))
        watch = asyncio.create_task(_watch(runner, reporter))
        try:
            added = await _unless_stopped(stop, _add_paths(runner, paths, reporter))
            reported = len(added.problems) if added else 0
            end = (
                RunEnd.INTERRUPTED
                if stop.requested
                else await _work_until_end(runner, reporter, stop, read_key, backoff.unsettled_timeout)
            )
            if added:
                _report_compared(added, reported, reporter)
        finally:
            watch.cancel()
    finally:
        saved = await runner.stop()
        log_file.end(log)
    if not saved:
        reporter.print_event(events.problem(explain("state_unwritable", settings.state_dir)))
    hurried = end is RunEnd.INTERRUPTED  # then skip looking at outputs: a disk that hangs must not delay the end
    lost_outputs = [] if hurried else await in_thread(find_output_mismatches, list(runner.live_jobs.jobs.values()))
    _sum_up(runner, reporter, time.monotonic() - started, resumable, lost_outputs)
    return _exit_code(runner, end, added, lost_outputs)


async def _unless_stopped(stop: StopSignal, work: Coroutine[None, None, T]) -> T | None:
    """Do the work, but cancel it when the user asks to end. Returns its result, or None if it was cancelled."""
    tasks = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return tasks[0].result() if tasks[0].done() else None


async def _add_paths(runner: Runner, paths: list[str], reporter: EventPrinter) -> add_videos.AddResult | None:
    """Add the named paths, if any, and retry dubs whose retry is free. Returns None if no paths were named.

    Raises ProblemError if none of the paths can be used, or ProblemError("nothing_to_do") without paths and jobs.
    """
    if not paths and not runner.live_jobs.jobs:
        raise ProblemError("nothing_to_do")
    added = None
    if paths:
        added = await runner.add(paths, runner.settings.batch)
        if added.path_problems:
            for trouble in added.path_problems[1:]:
                reporter.print_event(events.problem(trouble.problem))
            raise added.path_problems[0]
        if not added.videos and not added.problems and not added.skipped_summary.duplicate_names:
            words = added.skipped_summary.describe()
            raise ProblemError("nothing_found", ", ".join(paths) + (f"; left out: {words}" if words else ""))
        usable = added.videos or any(trouble.code in RUN_ANYWAY_CODES for trouble in added.problems)
        for trouble in added.problems if usable else added.problems[1:]:
            reporter.print_event(events.problem(trouble.problem))
        if not usable and added.problems:
            raise added.problems[0]
        for line in _found_lines(added):
            reporter.print_line(line)
    runner.retry(await in_thread(request_handlers.find_free_retries, dict(runner.live_jobs.jobs)), allow_paid=False)
    if runner.paused:
        reporter.print_line("The batch is paused: what is under way finishes, nothing new begins.")
    return added


def _found_lines(added: add_videos.AddResult) -> Iterable[str]:
    parts = [f"{number} {effect.value}" for effect, number in added.effects.items() if number]
    skipped = f", {format_count(added.skipped, 'other file')} skipped" if added.skipped else ""
    parts += [f"{added.undecided} left as they are"] if added.undecided else []
    parts += [f"{added.comparing} to be compared"] if added.comparing else []
    yield f"{format_count(added.videos, 'video')}: {', '.join(parts)}{skipped}" if parts else f"No other videos{skipped}"
    if number := added.effects[AddEffect.UNFINISHED]:
        were, go_on = ("1 video was", "it goes on") if number == 1 else (f"{number:,} videos were", "they go on")
        yield f"{were} started anew before and not finished: {go_on}, nothing is paid twice"
    for other, taken in added.skipped_summary.duplicate_names[:MAX_SAME_FILES_LISTED]:
        yield f"{make_printable(other, 4096)} is the same file as {make_printable(taken, 4096)}"
    if len(added.skipped_summary.duplicate_names) > MAX_SAME_FILES_LISTED:
        unlisted = added.skipped_summary.count_for(SkipReason.SAME_FILE) - MAX_SAME_FILES_LISTED
        yield f"… and {unlisted:,} more that are other names of one file"


def _report_compared(added: add_videos.AddResult, reported: int, reporter: EventPrinter) -> None:
    """Report the files that were compared during the work. `reported`: number of troubles already reported."""
    for trouble in added.problems[reported:]:
        reporter.print_event(events.problem(trouble.problem))
    if added.compared:
        reporter.print_line(f"{added.compared} compared. {next(iter(_found_lines(added)))}")


async def _work_until_end(runner: Runner, reporter: EventPrinter, stop: StopSignal, read_key: KeyReader, rest: float) -> RunEnd:
    """Work until the end of the run. Raises ProblemError("no_key").

    `rest`: seconds to wait for sources that are still being written when nothing else is left to do.
    """
    server = RunnerServer(runner, on_stop=stop.request, read_key=read_key, foreground=True)
    await server.start()
    if any(job.can_continue for job in runner.live_jobs.jobs.values()) and not runner.settings.api_key:
        await server.close("done")
        raise ProblemError("no_key")
    runner.start()
    waits = [
        asyncio.create_task(waiting)
        for waiting in (
            runner.idle.wait(),
            runner.halted.wait(),
            stop.wait(),
            _wait_until_unreachable(runner),
            _wait_until_only_unsettled(runner, reporter, rest),
        )
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        await server.close("stopped" if stop.requested else "done")
    return _end(runner, reporter, stop)


def _end(runner: Runner, reporter: EventPrinter, stop: StopSignal) -> RunEnd:
    """Returns why the run ends, and reports the problem that stops the whole batch."""
    if stop.got_signal or (stop.requested and not runner.idle.is_set()):
        return RunEnd.INTERRUPTED
    if runner.halted.is_set() or (not runner.idle.is_set() and runner.service_error is not None):
        trouble = runner.service_error or ProblemError("internal")
        reporter.print_event(events.problem(trouble.problem))
        return RunEnd.HALTED if runner.has_reached_service else RunEnd.NEVER_BEGAN
    if runner.account_refusal is not None:
        reporter.print_event(events.problem(runner.account_refusal.problem))
    if runner.has_paused_work:
        reporter.print_event(events.problem(explain("paused")))
    return RunEnd.WORKED


async def _wait_until_unreachable(runner: Runner) -> None:
    """Ends if the service has not answered once within `FIRST_ANSWER_TIMEOUT_SECONDS`, so that no retry will help soon."""
    since = time.monotonic()
    while runner.has_reached_service or runner.service_error is None or time.monotonic() - since < FIRST_ANSWER_TIMEOUT_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.5)


async def _wait_until_only_unsettled(runner: Runner, reporter: EventPrinter, seconds: float) -> None:
    """Ends after this many seconds in which nothing was left to do but to wait for complete sources. Reports these sources."""
    since = None
    while since is None or time.monotonic() - since < seconds:
        await asyncio.sleep(0.5)
        waiting = runner.unsettled
        if waiting and since is None:
            reporter.print_line(f"Waiting until {_names(waiting)} {'is' if len(waiting) == 1 else 'are'} complete.")
            since = time.monotonic()
        elif not waiting:
            since = None
    for job in runner.unsettled:
        reporter.print_event(events.problem(explain("source_unsettled"), job))


def _names(jobs: list[Job]) -> str:
    """Returns the names of the jobs; of more than three, the first three and a count."""
    shown = ", ".join(make_printable(job.name) for job in jobs[:3])
    return f"{shown} and {len(jobs) - 3} more" if len(jobs) > 3 else shown


async def _watch(runner: Runner, reporter: EventPrinter) -> None:
    """Report the progress of transfers and the trouble of the whole batch, twice a second."""
    last: dict[tuple[str, str], int] = {}
    trouble = compared = ""
    said = 0.0
    while True:
        await asyncio.sleep(0.5)
        meters = runner.batch_status()
        if meters.problem != trouble:
            trouble = meters.problem
            if trouble and not runner.halted.is_set():
                reporter.print_event(events.problem(explain(trouble, meters.detail)))
            elif not trouble:
                reporter.print_line("That trouble is over; the work goes on.")
        for moving in runner.transfer_stats.transfers():
            if last.get((moving.job, moving.language)) != moving.done:
                last[moving.job, moving.language] = moving.done
                job = runner.live_jobs.jobs[moving.job]
                reporter.print_event(events.progress(job, moving.language, moving.done, moving.total, moving.rate))
        now = meters.comparing
        if now is not None and (now.path != compared or time.monotonic() - said >= COMPARISON_LINE_INTERVAL_SECONDS):
            compared, said = now.path, time.monotonic()
            reporter.print_event(events.comparing(now))
        if reporter.shows_status:
            reporter.show_status(_live_line(runner, meters))


def _live_line(runner: Runner, meters: BatchStatus) -> str:
    counts = count_dubs(runner.live_jobs.jobs.values())
    parts = [f"{counts.done}/{counts.dubs} done"]
    parts += [f"{counts.failed} failed"] if counts.failed else []
    parts += [f"{counts.dubbing} dubbing"] if counts.dubbing else []
    parts += [f"↑ {humanize.format_size(meters.up)}/s"] if meters.up else []
    parts += [f"↓ {humanize.format_size(meters.down)}/s"] if meters.down else []
    if (now := meters.comparing) is not None:
        parts.append(f"comparing {make_printable(now.path.rpartition('/')[2], 40)} {100 * now.done // max(now.total, 1)} %")
    return " · ".join(parts)


def _report_changes(reporter: EventPrinter, before: Job | None, job: Job) -> None:
    for event in events.changes(before, job):
        reporter.print_event(event)


def _sum_up(
    runner: Runner,
    reporter: EventPrinter,
    seconds: float,
    resumable: bool,
    lost_outputs: list[OutputMismatch],
) -> None:
    jobs = runner.live_jobs.jobs.values()
    counts = count_dubs(jobs, paused=runner.paused)
    for line in events.summary_lines(counts, jobs, seconds, resumable=resumable):
        reporter.print_line(line)
    for line in events.mismatch_lines(lost_outputs):
        reporter.print_line(line)
    if words := runner.skipped_summary.describe():
        reporter.print_line(f"  Left out: {words}")
    gone = sum(lost.presence == GONE for lost in lost_outputs)
    reporter.print_event(events.summary(counts, seconds, gone=gone) | {"skipped": runner.skipped_summary.to_document()})


def _exit_code(runner: Runner, end: RunEnd, added: add_videos.AddResult | None, lost_outputs: list[OutputMismatch]) -> int:
    """Returns the exit code: with `added` for the videos that were named, else for the whole batch."""
    jobs = runner.live_jobs.jobs
    if added is None:
        return exit_code(end, count_dubs(jobs.values(), paused=runner.paused))
    named = {job.id: job for job in jobs.values() if job.source.path in added.named}  # one video has a job for each title
    return exit_code(
        end,
        count_dubs(named.values(), paused=runner.paused),
        unsure=added.undecided,
        not_taken=sum(trouble.code in NOT_ADDED_CODES for trouble in added.problems),
        gone=sum(lost.presence == GONE and lost.job.id in named for lost in lost_outputs),
    )


def run_demo(settings: Settings, paths: list[str]) -> int:
    """Do all the work in the foreground. Unfinished dubs cannot be resumed later, since the sandbox ends with the demo."""
    return asyncio.run(run_batch(settings, paths, EventPrinter(as_json=False), lambda: settings.api_key, resumable=False))


def run_and_exit(settings: Settings, paths: list[str], flags: Mapping[str, Any]) -> int:
    """Do all the work as a process of its own. Once an interrupted run has saved, the process exits at once: not even a name
    look-up may delay it."""
    reporter = EventPrinter(as_json=bool(flags.get("json")))
    with asyncio.Runner() as loop:
        code = loop.run(run_batch(settings, paths, reporter, make_key_reader(flags), resume=bool(flags.get("resume"))))
        if code == EXIT_INTERRUPTED:
            exit_immediately(code)
    return code
