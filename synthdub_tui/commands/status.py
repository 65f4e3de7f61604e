"""`synthdub status`: the batch in numbers, and every problem. It must start fast, so some imports are local."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from synthdub_tui import humanize, text
from synthdub_tui.commands.options import add_json_option, add_state_options, resolve
from synthdub_tui.errors import ProblemError
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.socket_path import socket_path_string
from synthdub_tui.jobs.model import DubState, Job, WaitReason, count_dubs
from synthdub_tui.problems import Problem, explain
from synthdub_tui.runner import events
from synthdub_tui.runner.output_presence import check_presence, find_output_mismatches
from synthdub_tui.settings.model import Settings
from synthdub_tui.store.job_store import SKIPPED_DOCUMENT, JobStore
from synthdub_tui.text import make_printable

if TYPE_CHECKING:
    from synthdub_tui.ipc.protocol import BatchStatus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_json_option(parser, "for programs")
    add_state_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return status(resolve(arguments), as_json="json" in arguments)


def status(settings: Settings, *, as_json: bool) -> int:
    """Print counts of the batch, the state of each dub, and each problem with its fix."""
    pid, meters = _runner(settings.state_dir)
    store = JobStore(settings.state_dir)
    loaded = store.load(set_aside=False)
    lost = store.lost_jobs({job.id for job in loaded.jobs})
    jobs = loaded.jobs if pid else _as_after_restart(loaded.jobs)
    paused = meters.paused if meters else store.is_paused()
    if as_json:
        content = {
            "state_dir": settings.state_dir,
            "runner": pid,
            "paused": paused,
            "problem": meters.problem if meters else "",
            **msgspec.structs.asdict(count_dubs(jobs, paused=paused)),
            "skipped": _left_out(settings),
            "damaged": [file.path for file in loaded.damaged],
            "lost": [video._asdict() for video in lost],
            "files": [_file(job, paused) for job in jobs],
        }
        print(text.json_text(content, indent=2))
        return 0
    for line in _status_lines(settings, jobs, pid, meters, paused):
        print(line)
    for line in events.mismatch_lines(find_output_mismatches(jobs)):
        print(line)
    for video in lost:
        print(explain("state_lost", video.path or video.kept).one_line())
    for file in loaded.damaged:
        print(explain("state_corrupt", f"{file.path}: {file.reason}").one_line())
    return 0


def _as_after_restart(jobs: list[Job]) -> list[Job]:
    """Returns the jobs as the next runner will find them when it starts."""
    if not jobs:
        return []
    from synthdub_tui.jobs.transitions.restart import resume_job  # noqa: PLC0415 - not needed for an empty directory

    return [resume_job(job, time.time()) for job in jobs]


def _runner(state_dir: str) -> tuple[int | None, BatchStatus | None]:
    """Returns process id and meters of the directory's runner, or None twice if none answers."""
    if not os.path.exists(socket_path_string(state_dir)):
        return None, None
    from synthdub_tui.ipc.blocking_client import BlockingRunnerClient  # noqa: PLC0415 - needed only if there may be a runner
    from synthdub_tui.ipc.protocol import StatusRequest  # noqa: PLC0415

    try:
        control = BlockingRunnerClient.connect(state_dir)
        if control is None:
            return None, None
        meters = control.ask(StatusRequest(id=1)).meters
        control.close()
    except ProblemError:
        return None, None  # the runner is ending: the files contain everything
    return control.welcome.pid, meters


def _status_lines(
    settings: Settings, jobs: list[Job], pid: int | None, meters: BatchStatus | None, paused: bool
) -> Iterable[str]:
    counts = count_dubs(jobs, paused=paused)
    at_work = f"runner {pid} at work" if pid and meters and meters.busy else f"runner {pid}" if pid else "no runner"
    yield f"{make_printable(settings.state_dir, 4096)}  ({at_work}{', paused' if paused else ''})"
    states = [f"{getattr(counts, state.value)} {state.value}" for state in DubState if getattr(counts, state.value)]
    yield f"{format_count(counts.jobs, 'file')}, {format_count(counts.dubs, 'dub')}" + (
        f": {', '.join(states)}" if states else ""
    )
    if meters and meters.problem:
        yield explain(meters.problem, meters.detail).one_line()
    for job in jobs:
        dubs = ", ".join(f"{language} {_standing(job, language)}" for language in job.dubs)
        stage = "" if job.stage in ("dubbing", "ended") else f" [{job.stage.value}]"
        yield f"  {make_printable(job.name)}{stage}: {dubs}"
        if any(job.wait_reason(language) is WaitReason.SETTLING for language in job.unsent_languages):
            yield f"    waits until the file is complete{_last_change(job.source.path)}"
        for language in job.dubs:
            if (what := _problem(job, language)) is not None:
                yield f"    {language}: {what.one_line()} [{what.code}]"


def _left_out(settings: Settings) -> dict[str, Any]:
    """Returns what the last scan skipped, by folder."""
    return {
        name: value for name, value in JobStore(settings.state_dir).read_document(SKIPPED_DOCUMENT).items() if name != "schema"
    }


def _last_change(path: str) -> str:
    """Returns how long ago the file last changed; empty if it cannot be read."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f" (last change {humanize.format_duration(max(0.0, time.time() - max(found.st_mtime, found.st_ctime)))} ago)"


def _standing(job: Job, language: str) -> str:
    """Returns a dub's state, and what this dub waits for if that is known."""
    waits_for = job.wait_reason(language)
    return job.dubs[language].state.value + (f" ({waits_for.value.replace('_', ' ')})" if waits_for else "")


def _file(job: Job, paused: bool) -> dict[str, Any]:
    return {
        "id": job.id,
        "file": job.source.path,
        "title": job.options.title,
        "source_language": job.options.source_language,
        "stage": job.stage.value,
        "dubs": [_dub(job, language, paused) for language in job.dubs],
    }


def _dub(job: Job, language: str, paused: bool) -> dict[str, Any]:
    from synthdub_tui.jobs.retry_policy import offered_policy  # noqa: PLC0415 - not needed for an empty directory

    dub = job.dubs[language]
    content: dict[str, Any] = {"language": language, "state": dub.state.value, "since": dub.since}
    if (waits_for := job.wait_reason(language, paused=paused)) is not None:
        content["waits_for"] = waits_for.value
    if (means := offered_policy(job, language)).step is not None:
        content["retry"] = means.script_label
    if dub.project:
        content["project"] = dub.project
    if dub.output is not None and dub.state is DubState.DONE:
        content |= {"path": dub.output.path, "size": dub.output.size, "captions": list(dub.output.captions)}
        content["present"] = check_presence(dub.output)
    if (what := _problem(job, language)) is not None:
        content["problem"] = {
            "code": what.code,
            "title": what.title,
            "cause": what.cause,
            "remedy": what.remedy,
            "retry": content.get("retry", what.retry.value),
            "detail": make_printable(what.detail),
        }
    return content


def _problem(job: Job, language: str) -> Problem | None:
    """Returns why the dub failed, waits for the user, or may still be billed, or that its status is unknown; else None."""
    dub = job.dubs[language]
    if dub.failure is not None:
        return explain(dub.failure.code, dub.failure.detail)
    from synthdub_tui import retry_text  # noqa: PLC0415 - not needed for an empty directory
    from synthdub_tui.jobs.transitions.cancellation import billing_problem_code  # noqa: PLC0415
    from synthdub_tui.jobs.transitions.observation import unknown_status  # noqa: PLC0415

    if dub.hold is not None:
        return explain(dub.hold.reason.value, retry_text.held(dub.hold))
    if word := unknown_status(dub):
        return explain("status_unknown", word)
    code = billing_problem_code(job, language)
    return explain(code) if code else None
