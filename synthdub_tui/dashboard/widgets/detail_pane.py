"""The details of the cell under the cursor: its history, its problem, the possible actions and their cost."""

from __future__ import annotations

import time
from typing import Final

from synthdub_tui import humanize, languages, retry_text
from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.grid_model import FILE_COLUMN, GridModel, transfer_percent
from synthdub_tui.dashboard.keymap import DEFAULT_KEYMAP, Keymap
from synthdub_tui.dashboard.text_layout import Line
from synthdub_tui.dashboard.widgets.lines import TextView
from synthdub_tui.jobs.model import Dub, DubState, Job, RetryStep, Stage, WaitReason
from synthdub_tui.jobs.reconcile import waits_for_settled_source
from synthdub_tui.jobs.retry_policy import RetryCost, offered_policy
from synthdub_tui.jobs.transitions import cancellation, observation
from synthdub_tui.problems import explain
from synthdub_tui.text import make_printable

STATE_TEXTS: Final = {
    DubState.WAITING: "waits to be submitted",
    DubState.DUBBING: "being dubbed",
    DubState.READY: "ready at the service, waits to be downloaded",
    DubState.DOWNLOADING: "being downloaded",
    DubState.DONE: "done",
    DubState.FAILED: "failed",
    DubState.CANCELLED: "cancelled",
    DubState.UNKNOWN: "unknown: only you can decide",
}

HOLD_TEXTS: Final = {
    WaitReason.ALREADY_PAID: "waits for you: it was paid for before",
    WaitReason.CLAIMED: "waits for you: another batch is at it",
}

STAGE_TEXTS: Final = {
    Stage.QUEUED: "waits for an upload slot",
    Stage.PREPARING: "being prepared at the service",
    Stage.UPLOADING: "being uploaded",
    Stage.PROCESSING: "uploaded, the service looks at it",
    Stage.DUBBING: "at the service, being dubbed",
    Stage.ENDED: "nothing of it goes on by itself",
}

RETRY_STEP_TEXTS: Final = {
    RetryStep.DOWNLOAD: "fetched again",
    RetryStep.SUBMIT: "submitted",
    RetryStep.ADD_LANGUAGE: "language added anew",
    RetryStep.NEW_PROJECT: "new project",
    RetryStep.NEW_UPLOAD: "new upload and project",
}
"""Words for the step that a paid retry took."""

_STATE_ROLES: Final = {DubState.DONE: "good", DubState.FAILED: "bad", DubState.UNKNOWN: "warn"}


class DetailPane(TextView):
    """The pane with the lines of `describe_cell`. Sends bytes only when they change."""

    DEFAULT_CSS = "DetailPane { scrollbar-size: 1 1; }"

    def __init__(self) -> None:
        super().__init__(id="detail")
        self._detail_lines: list[Line] = []

    def show_details(self, lines: list[Line], *, is_new_cell: bool) -> None:
        """Show these lines. `is_new_cell`: from the top, since they are about another cell."""
        if lines != self._detail_lines:
            self._detail_lines = lines
            self.show(lines)
        if is_new_cell:
            self.scroll_home(animate=False)


def describe_cell(
    batch: GridModel, job_id: str, language: str, now: float, signs: grid_cells.Signs, keymap: Keymap = DEFAULT_KEYMAP
) -> list[Line]:
    """Lines about a dub; on the file column, or if the language has no dub, about the job."""
    job = batch.rows[job_id].job
    dub = job.dubs.get(language)
    title: Line = ((make_printable(job.name), "strong"),)
    if language != FILE_COLUMN and dub is not None:
        return [title, *_dub_lines(batch, job, language, dub, now, signs, keymap)]
    adds = f"Not asked for in {languages.language_name(language)}. {keymap.key_label('add_languages')} adds it."
    note: list[Line] = [] if language == FILE_COLUMN else [((adds, "warn"),)]
    return [title, *note, *_job_lines(batch, job, now, signs)]


def _dub_lines(
    batch: GridModel, job: Job, language: str, dub: Dub, now: float, signs: grid_cells.Signs, keymap: Keymap
) -> list[Line]:
    shown = grid_cells.displayed_state(dub)
    words = HOLD_TEXTS.get(dub.hold.reason, "waits for you") if dub.hold is not None else STATE_TEXTS[dub.state]
    state = (f"{signs.states[shown]} {words}", _STATE_ROLES.get(shown, ""))
    lines: list[Line] = [
        ((f"{languages.language_name(language)} ({language})  ", ""), state),
        *_progress(batch, job, language, dub, now),
    ]
    if dub.hold is not None:
        lines += [
            ((" ", ""),),
            *_problem(dub.hold.reason.value, f"{format_moment(dub.hold.at, now)}, {dub.hold.detail}", "Since: "),
        ]
    elif dub.failure is not None:
        lines += [((" ", ""),), *_problem(dub.failure.code, dub.failure.detail)]
    elif word := observation.unknown_status(dub):
        lines += [((" ", ""),), *_problem("status_unknown", word)]
    elif code := cancellation.billing_problem_code(job, language):
        lines += [((" ", ""),), *_problem(code, "")]
    lines += _retry(job, language, keymap.key_label("retry"))
    lines += [((" ", ""),), (("What happened", "strong"),), *_timeline(job, dub, now)]
    return [*lines, ((" ", ""),), *_files(job, dub)]


def _stage(job: Job) -> str:
    if waits_for_settled_source(job):
        return "waits until it is complete: a program still writes it, or it changed a moment ago"
    return STAGE_TEXTS[job.stage]


def _progress(batch: GridModel, job: Job, language: str, dub: Dub, now: float) -> list[Line]:
    if dub.hold is not None:
        return []
    if dub.state is DubState.WAITING:
        return [((f"The file {_stage(job)}.", "faint"),)] if job.stage is not Stage.ENDED else []
    if dub.state is DubState.DUBBING:
        text = f"for {grid_cells.format_duration(now - (dub.submitted or dub.since))}"
        usual = batch.durations.median_and_count()
        if usual is not None:
            text += f"; usual here is {humanize.format_rough_duration(usual[0])} (the middle of {usual[1]} dubs)"
        return [((text, ""),)]
    transfer = batch.transfers.get((job.id, language))
    if dub.state is not DubState.DOWNLOADING or transfer is None:
        return []
    total = f" of {grid_cells.format_size(transfer.total)} ({transfer_percent(transfer)}%)" if transfer.total else ""
    return [((f"{grid_cells.format_size(transfer.done)}{total} at {grid_cells.format_size(transfer.rate)}/s", ""),)]


def _problem(code: str, detail: str, label: str = "It said: ") -> list[Line]:
    problem = explain(code, detail)
    lines: list[Line] = [((problem.title, "bad"),)]
    if problem.detail:
        lines.append(((label, "faint"), (make_printable(problem.detail), "")))
    if problem.cause:
        lines.append((("Why: ", "faint"), (problem.cause, "")))
    lines.append((("What to do: ", "faint"), (problem.remedy, "")))
    lines.append((("Code: ", "faint"), (make_printable(code), "")))
    return lines


def _retry(job: Job, language: str, key: str) -> list[Line]:
    found = offered_policy(job, language)
    if found.step is None:
        return []
    words = "fetches its captions, free" if job.dubs[language].lacks_captions else retry_text.describe_retry(found)
    if found.never_in_bulk:
        words = f"asks you first: {words}"
    return [((f"{key} retry ", "key"), (words + ".", "good" if found.cost is RetryCost.FREE else "warn"))]


def _timeline(job: Job, dub: Dub, now: float) -> list[Line]:
    events: list[tuple[float, str]] = [(job.added, "added")]
    if job.asset is not None:
        events.append((job.asset.created, f"asset {make_printable(job.asset.id)} made"))
    if dub.submitted:
        events.append((dub.submitted, f"accepted, project {make_printable(dub.project)}"))
    if dub.failure is not None and dub.state is not DubState.FAILED:
        events.append((dub.failure.at, explain(dub.failure.code).title.lower()))
    events.append((dub.since, STATE_TEXTS[dub.state] + (f", video {make_printable(dub.video)}" if dub.video else "")))
    lines: list[Line] = [((format_moment(at, now) + "  ", "label"), (text, "")) for at, text in sorted(events)]
    if dub.tried:
        lines.append((("Paid retries so far: " + ", ".join(RETRY_STEP_TEXTS[rung] for rung in dub.tried), "faint"),))
    return lines


def _files(job: Job, dub: Dub) -> list[Line]:
    lines: list[Line] = [
        _pair("Source", make_printable(job.source.path, 4096)),
        _pair("Size", grid_cells.format_size(job.source.size)),
    ]
    output = dub.output
    if output is None:
        return lines
    lines += [_pair("Output", make_printable(output.path, 4096)), _pair("Size", grid_cells.format_size(output.size))]
    if output.seconds:
        lines.append(_pair("Length", grid_cells.format_duration(output.seconds)))
    lines += [_pair("Captions", make_printable(path, 4096)) for path in output.captions]
    return [*lines, _pair("Reviewed", "yes" if output.reviewed else "no")]


def _job_lines(batch: GridModel, job: Job, now: float, signs: grid_cells.Signs) -> list[Line]:
    lines: list[Line] = [((_stage(job), ""),)]
    upload = batch.transfers.get((job.id, FILE_COLUMN))
    if upload is not None and upload.total:
        done, total, rate = map(grid_cells.format_size, (upload.done, upload.total, upload.rate))
        lines.append(((f"{done} of {total} at {rate}/s", ""),))
    options = job.options
    lines += [
        ((" ", ""),),
        _pair("Source", make_printable(job.source.path, 4096)),
        _pair("Size", f"{grid_cells.format_size(job.source.size)}, {job.source.content_type}"),
        _pair("Title", make_printable(options.title)),
        _pair(
            "Speaks",
            options.source_language if options.source_language == "auto" else languages.language_name(options.source_language),
        ),
        _pair("Options", f"{options.video_duration}, {options.visibility}, lipsync {'on' if options.lipsync else 'off'}"),
        _pair("Outputs", make_printable(job.outputs, 4096) or "beside the source"),
        _pair("Added", format_moment(job.added, now)),
    ]
    if job.asset is not None:
        lines.append(_pair("Asset", make_printable(job.asset.id)))
    lines += [_pair("Project", make_printable(project)) for project in job.projects]
    lines.append(((" ", ""),))
    for code, dub in job.dubs.items():
        said = f"{signs.states[dub.state]} {code:<7}{STATE_TEXTS[dub.state]}"
        why = f": {explain(dub.failure.code).title}" if dub.failure is not None else ""
        lines.append(((said + why, _STATE_ROLES.get(dub.state, "")),))
    return lines


def _pair(name: str, value: str) -> Line:
    return ((f"{name:<9}", "label"), (value, ""))


def format_moment(at: float, now: float) -> str:
    """A local time of day; with the date if it is not today. Both arguments are epoch seconds."""
    then, today = time.localtime(at), time.localtime(now)
    same = then[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M", then)
