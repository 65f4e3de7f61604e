"""Runs a runner: in the foreground for `synthdub run`, or in the background for dashboards to attach to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final, TypeVar

from synthdub_tui import humanize
from synthdub_tui.commands.exit_codes import INTERRUPTED, NOT_TAKEN, WORTH_A_RUN, End, exit_code
from synthdub_tui.commands.process_end import _leave_at_once, _Stop
from synthdub_tui.errors import Trouble
from synthdub_tui.humanize import many
from synthdub_tui.ipc.protocol import Meters
from synthdub_tui.ipc.server import Server
from synthdub_tui.jobs.model import Job, count
from synthdub_tui.problems import explain
from synthdub_tui.runner import add_videos, events, log_file, request_handlers
from synthdub_tui.runner.backoff import Patience
from synthdub_tui.runner.events import Reporter
from synthdub_tui.runner.input_validation import checked
from synthdub_tui.runner.malloc_arenas import share_one_arena
from synthdub_tui.runner.output_presence import GONE, Missed, missed
from synthdub_tui.runner.runner import Runner
from synthdub_tui.runner.threads import in_thread
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import ReadKey, _key_reader
from synthdub_tui.sources.add_file import Effect
from synthdub_tui.sources.skip_rules import Why
from synthdub_tui.text import printable

REACH_SECONDS: Final = 60.0
"""Seconds after which `run` gives up if the service has not answered once: the URL is wrong, or there is no network."""

SAME_SHOWN: Final = 10
"""Largest number of other names of files that are listed one by one."""


COMPARING_SECONDS: Final = 10.0
"""Seconds between two lines about the same comparison."""

T = TypeVar("T")


async def run_batch(
    settings: Settings,
    paths: list[str],
    reporter: Reporter,
    read_key: ReadKey,
    *,
    patience: Patience | None = None,
    resume: bool = False,
    resumable: bool = True,
) -> int:
    """Do all the work, print a summary and return the exit code.

    `resume`: end a pause first. `resumable`: whether a later run can continue unfinished dubs, for the summary. Raises Trouble
    if something is wrong before anything is sent.
    """
    started = time.monotonic()
    share_one_arena()
    if paths:
        checked(settings.batch)
    patience = patience or Patience()
    runner = Runner(settings, patience=patience)
    damaged = await in_thread(runner.open)
    stop = _Stop()
    try:
        log = log_file.start(settings.state_dir)
    except OSError as error:
        raise Trouble("state_unwritable", f"{error.strerror}: {settings.state_dir}") from error
    try:
        if resume and runner.paused:
            await runner.pause(False)
            reporter.say("The batch was paused; it goes on now.")
        for file in damaged:
            reporter.tell(events.problem(explain("state_corrupt", f"{file.path} → {file.kept}: {file.reason}")))
        runner.ledger.listen(lambda before, job: _tell(reporter, before, job))
        runner.tell_warning = lambda job, trouble: reporter.tell(events.problem(trouble.problem, job))
        watch = asyncio.create_task(_watch(runner, reporter))
        try:
            added = await _unless_stopped(stop, _take_in(runner, paths, reporter))
            told = len(added.troubles) if added else 0
            end = End.INTERRUPTED if stop.requested else await _work(runner, reporter, stop, read_key, patience.rest)
            if added:
                _tell_compared(added, told, reporter)
        finally:
            watch.cancel()
    finally:
        saved = await runner.stop()
        log_file.end(log)
    if not saved:
        reporter.tell(events.problem(explain("state_unwritable", settings.state_dir)))
    hurried = end is End.INTERRUPTED  # then skip looking at outputs: a disk that hangs must not delay the end
    lost_outputs = [] if hurried else await in_thread(missed, list(runner.ledger.jobs.values()))
    _sum_up(runner, reporter, time.monotonic() - started, resumable, lost_outputs)
    return _exit_code(runner, end, added, lost_outputs)


async def _unless_stopped(stop: _Stop, work: Coroutine[None, None, T]) -> T | None:
    """Do the work, but cancel it when the user asks to end. Returns its result, or None if it was cancelled."""
    tasks = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return tasks[0].result() if tasks[0].done() else None


async def _take_in(runner: Runner, paths: list[str], reporter: Reporter) -> add_videos.Added | None:
    """Add the named paths, if any, and retry dubs whose retry is free. Returns None if no paths were named.

    Raises Trouble if none of the paths can be used, or Trouble("nothing_to_do") without paths and jobs.
    """
    if not paths and not runner.ledger.jobs:
        raise Trouble("nothing_to_do")
    added = None
    if paths:
        added = await runner.add(paths, runner.settings.batch)
        if added.refused:
            for trouble in added.refused[1:]:
                reporter.tell(events.problem(trouble.problem))
            raise added.refused[0]
        if not added.videos and not added.troubles and not added.left_out.same:
            words = added.left_out.words()
            raise Trouble("nothing_found", ", ".join(paths) + (f"; left out: {words}" if words else ""))
        usable = added.videos or any(trouble.code in WORTH_A_RUN for trouble in added.troubles)
        for trouble in added.troubles if usable else added.troubles[1:]:
            reporter.tell(events.problem(trouble.problem))
        if not usable and added.troubles:
            raise added.troubles[0]
        for line in _found(added):
            reporter.say(line)
    runner.retry(await in_thread(request_handlers.free_cells, dict(runner.ledger.jobs)), paid=False)
    if runner.paused:
        reporter.say("The batch is paused: what is under way finishes, nothing new begins.")
    return added


def _found(added: add_videos.Added) -> Iterable[str]:
    parts = [f"{number} {effect.value}" for effect, number in added.effects.items() if number]
    skipped = f", {many(added.skipped, 'other file')} skipped" if added.skipped else ""
    parts += [f"{added.unsure} left as they are"] if added.unsure else []
    parts += [f"{added.comparing} to be compared"] if added.comparing else []
    yield f"{many(added.videos, 'video')}: {', '.join(parts)}{skipped}" if parts else f"No other videos{skipped}"
    if number := added.effects[Effect.GOING_ON]:
        were, go_on = ("1 video was", "it goes on") if number == 1 else (f"{number:,} videos were", "they go on")
        yield f"{were} started anew before and not finished: {go_on}, nothing is paid twice"
    for other, taken in added.left_out.same[:SAME_SHOWN]:
        yield f"{printable(other, 4096)} is the same file as {printable(taken, 4096)}"
    if len(added.left_out.same) > SAME_SHOWN:
        yield f"… and {added.left_out.number(Why.SAME_FILE) - SAME_SHOWN:,} more that are other names of one file"


def _tell_compared(added: add_videos.Added, told: int, reporter: Reporter) -> None:
    """Report the files that were compared during the work. `told`: number of troubles already reported."""
    for trouble in added.troubles[told:]:
        reporter.tell(events.problem(trouble.problem))
    if added.compared:
        reporter.say(f"{added.compared} compared. {next(iter(_found(added)))}")


async def _work(runner: Runner, reporter: Reporter, stop: _Stop, read_key: ReadKey, rest: float) -> End:
    """Work until the end of the run. Raises Trouble("no_key").

    `rest`: seconds to wait for sources that are still being written when nothing else is left to do.
    """
    server = Server(runner, on_stop=stop.request, read_key=read_key, foreground=True)
    await server.start()
    if any(job.can_go_on for job in runner.ledger.jobs.values()) and not runner.settings.api_key:
        await server.close("done")
        raise Trouble("no_key")
    runner.start()
    waits = [
        asyncio.create_task(waiting)
        for waiting in (
            runner.idle.wait(),
            runner.halted.wait(),
            stop.wait(),
            _never_reached(runner),
            _restless(runner, reporter, rest),
        )
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        await server.close("stopped" if stop.requested else "done")
    return _end(runner, reporter, stop)


def _end(runner: Runner, reporter: Reporter, stop: _Stop) -> End:
    """Returns why the run ends, and reports the problem that stops the whole batch."""
    if stop.signal or (stop.requested and not runner.idle.is_set()):
        return End.INTERRUPTED
    if runner.halted.is_set() or (not runner.idle.is_set() and runner.trouble is not None):
        trouble = runner.trouble or Trouble("internal")
        reporter.tell(events.problem(trouble.problem))
        return End.HALTED if runner.reached else End.NEVER_BEGAN
    if runner.refusal is not None:
        reporter.tell(events.problem(runner.refusal.problem))
    if runner.paused_midway:
        reporter.tell(events.problem(explain("paused")))
    return End.WORKED


async def _never_reached(runner: Runner) -> None:
    """Ends if the service has not answered once within `REACH_SECONDS`, so that no retry will help soon."""
    since = time.monotonic()
    while runner.reached or runner.trouble is None or time.monotonic() - since < REACH_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.5)


async def _restless(runner: Runner, reporter: Reporter, seconds: float) -> None:
    """Ends after this many seconds in which nothing was left to do but to wait for complete sources. Reports these sources."""
    since = None
    while since is None or time.monotonic() - since < seconds:
        await asyncio.sleep(0.5)
        waiting = runner.unsettled
        if waiting and since is None:
            reporter.say(f"Waiting until {_names(waiting)} {'is' if len(waiting) == 1 else 'are'} complete.")
            since = time.monotonic()
        elif not waiting:
            since = None
    for job in runner.unsettled:
        reporter.tell(events.problem(explain("source_unsettled"), job))


def _names(jobs: list[Job]) -> str:
    """Returns the names of the jobs; of more than three, the first three and a count."""
    shown = ", ".join(printable(job.name) for job in jobs[:3])
    return f"{shown} and {len(jobs) - 3} more" if len(jobs) > 3 else shown


async def _watch(runner: Runner, reporter: Reporter) -> None:
    """Report the progress of transfers and the trouble of the whole batch, twice a second."""
    last: dict[tuple[str, str], int] = {}
    trouble = compared = ""
    said = 0.0
    while True:
        await asyncio.sleep(0.5)
        meters = runner.overview()
        if meters.problem != trouble:
            trouble = meters.problem
            if trouble and not runner.halted.is_set():
                reporter.tell(events.problem(explain(trouble, meters.detail)))
            elif not trouble:
                reporter.say("That trouble is over; the work goes on.")
        for moving in runner.meters.transfers():
            if last.get((moving.job, moving.language)) != moving.done:
                last[moving.job, moving.language] = moving.done
                job = runner.ledger.jobs[moving.job]
                reporter.tell(events.progress(job, moving.language, moving.done, moving.total, moving.rate))
        now = meters.comparing
        if now is not None and (now.path != compared or time.monotonic() - said >= COMPARING_SECONDS):
            compared, said = now.path, time.monotonic()
            reporter.tell(events.comparing(now))
        if reporter.live:
            reporter.status(_live_line(runner, meters))


def _live_line(runner: Runner, meters: Meters) -> str:
    counts = count(runner.ledger.jobs.values())
    parts = [f"{counts.done}/{counts.dubs} done"]
    parts += [f"{counts.failed} failed"] if counts.failed else []
    parts += [f"{counts.dubbing} dubbing"] if counts.dubbing else []
    parts += [f"↑ {humanize.size(meters.up)}/s"] if meters.up else []
    parts += [f"↓ {humanize.size(meters.down)}/s"] if meters.down else []
    if (now := meters.comparing) is not None:
        parts.append(f"comparing {printable(now.path.rpartition('/')[2], 40)} {100 * now.done // max(now.total, 1)} %")
    return " · ".join(parts)


def _tell(reporter: Reporter, before: Job | None, job: Job) -> None:
    for event in events.changes(before, job):
        reporter.tell(event)


def _sum_up(
    runner: Runner,
    reporter: Reporter,
    seconds: float,
    resumable: bool,
    lost_outputs: list[Missed],
) -> None:
    jobs = runner.ledger.jobs.values()
    counts = count(jobs, paused=runner.paused)
    for line in events.summary_lines(counts, jobs, seconds, resumable=resumable):
        reporter.say(line)
    for line in events.missed_lines(lost_outputs):
        reporter.say(line)
    if words := runner.left_out.words():
        reporter.say(f"  Left out: {words}")
    gone = sum(lost.how == GONE for lost in lost_outputs)
    reporter.tell(events.summary(counts, seconds, gone=gone) | {"skipped": runner.left_out.content()})


def _exit_code(runner: Runner, end: End, added: add_videos.Added | None, lost_outputs: list[Missed]) -> int:
    """Returns the exit code: with `added` for the videos that were named, else for the whole batch."""
    jobs = runner.ledger.jobs
    if added is None:
        return exit_code(end, count(jobs.values(), paused=runner.paused))
    named = {job.id: job for job in jobs.values() if job.source.path in added.named}  # one video has a job for each title
    return exit_code(
        end,
        count(named.values(), paused=runner.paused),
        unsure=added.unsure,
        not_taken=sum(trouble.code in NOT_TAKEN for trouble in added.troubles),
        gone=sum(lost.how == GONE and lost.job.id in named for lost in lost_outputs),
    )


def run_demo(settings: Settings, paths: list[str]) -> int:
    """Do all the work in the foreground. Unfinished dubs cannot be resumed later, since the sandbox ends with the demo."""
    return asyncio.run(run_batch(settings, paths, Reporter(as_json=False), lambda: settings.api_key, resumable=False))


def run_and_leave(settings: Settings, paths: list[str], flags: Mapping[str, Any]) -> int:
    """Do all the work as a process of its own. Once an interrupted run has saved, the process exits at once: not even a name
    look-up may delay it."""
    reporter = Reporter(as_json=bool(flags.get("json")))
    with asyncio.Runner() as loop:
        code = loop.run(run_batch(settings, paths, reporter, _key_reader(flags), resume=bool(flags.get("resume"))))
        if code == INTERRUPTED:
            _leave_at_once(code)
    return code
