"""The details of the cell under the cursor: its history, its problem, the possible actions and their cost."""

from __future__ import annotations

import time
from typing import Final

from synthdub_tui import humanize, languages, retry_text
from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.grid_model import FILE, Batch, percent
from synthdub_tui.dashboard.keymap import DEFAULT, Keymap
from synthdub_tui.dashboard.text_layout import Line
from synthdub_tui.dashboard.widgets.lines import Reader
from synthdub_tui.jobs.model import Dub, DubState, Job, Rung, Stage, WaitsFor
from synthdub_tui.jobs.reconcile import awaits_rest
from synthdub_tui.jobs.retry_policy import Cost, offered
from synthdub_tui.jobs.transitions import cancellation, observation
from synthdub_tui.problems import explain
from synthdub_tui.text import printable

STATES: Final = {
    DubState.WAITING: "waits to be submitted",
    DubState.DUBBING: "being dubbed",
    DubState.READY: "ready at the service, waits to be downloaded",
    DubState.DOWNLOADING: "being downloaded",
    DubState.DONE: "done",
    DubState.FAILED: "failed",
    DubState.CANCELLED: "cancelled",
    DubState.UNKNOWN: "unknown: only you can decide",
}

HOLDS: Final = {
    WaitsFor.ALREADY_PAID: "waits for you: it was paid for before",
    WaitsFor.CLAIMED: "waits for you: another batch is at it",
}

STAGES: Final = {
    Stage.QUEUED: "waits for an upload slot",
    Stage.PREPARING: "being prepared at the service",
    Stage.UPLOADING: "being uploaded",
    Stage.PROCESSING: "uploaded, the service looks at it",
    Stage.DUBBING: "at the service, being dubbed",
    Stage.ENDED: "nothing of it goes on by itself",
}

TRIED: Final = {
    Rung.DOWNLOAD: "fetched again",
    Rung.SUBMIT: "submitted",
    Rung.ADD: "language added anew",
    Rung.PROJECT: "new project",
    Rung.UPLOAD: "new upload and project",
}
"""Words for the step that a paid retry took."""

_ROLES: Final = {DubState.DONE: "good", DubState.FAILED: "bad", DubState.UNKNOWN: "warn"}


class Detail(Reader):
    """The pane with the lines of `describe`. Sends bytes only when they change."""

    DEFAULT_CSS = "Detail { scrollbar-size: 1 1; }"

    def __init__(self) -> None:
        super().__init__(id="detail")
        self._told: list[Line] = []

    def tell(self, lines: list[Line], *, fresh: bool) -> None:
        """Show these lines. `fresh`: from the top, since they are about another cell."""
        if lines != self._told:
            self._told = lines
            self.show(lines)
        if fresh:
            self.scroll_home(animate=False)


def describe(
    batch: Batch, job_id: str, language: str, now: float, signs: grid_cells.Signs, keymap: Keymap = DEFAULT
) -> list[Line]:
    """Lines about a dub; on the file column, or if the language has no dub, about the job."""
    job = batch.rows[job_id].job
    dub = job.dubs.get(language)
    title: Line = ((printable(job.name), "strong"),)
    if language != FILE and dub is not None:
        return [title, *_dub_lines(batch, job, language, dub, now, signs, keymap)]
    adds = f"Not asked for in {languages.name(language)}. {keymap.shown('add_languages')} adds it."
    note: list[Line] = [] if language == FILE else [((adds, "warn"),)]
    return [title, *note, *_job_lines(batch, job, now, signs)]


def _dub_lines(
    batch: Batch, job: Job, language: str, dub: Dub, now: float, signs: grid_cells.Signs, keymap: Keymap
) -> list[Line]:
    shown = grid_cells.sign_state(dub)
    words = HOLDS.get(dub.hold.reason, "waits for you") if dub.hold is not None else STATES[dub.state]
    state = (f"{signs.states[shown]} {words}", _ROLES.get(shown, ""))
    lines: list[Line] = [
        ((f"{languages.name(language)} ({language})  ", ""), state),
        *_progress(batch, job, language, dub, now),
    ]
    if dub.hold is not None:
        lines += [((" ", ""),), *_problem(dub.hold.reason.value, f"{moment(dub.hold.at, now)}, {dub.hold.detail}", "Since: ")]
    elif dub.failure is not None:
        lines += [((" ", ""),), *_problem(dub.failure.code, dub.failure.detail)]
    elif word := observation.unknown_status(dub):
        lines += [((" ", ""),), *_problem("status_unknown", word)]
    elif code := cancellation.billed_all_the_same(job, language):
        lines += [((" ", ""),), *_problem(code, "")]
    lines += _retry(job, language, keymap.shown("retry"))
    lines += [((" ", ""),), (("What happened", "strong"),), *_timeline(job, dub, now)]
    return [*lines, ((" ", ""),), *_files(job, dub)]


def _stage(job: Job) -> str:
    if awaits_rest(job):
        return "waits until it is complete: a program still writes it, or it changed a moment ago"
    return STAGES[job.stage]


def _progress(batch: Batch, job: Job, language: str, dub: Dub, now: float) -> list[Line]:
    if dub.hold is not None:
        return []
    if dub.state is DubState.WAITING:
        return [((f"The file {_stage(job)}.", "faint"),)] if job.stage is not Stage.ENDED else []
    if dub.state is DubState.DUBBING:
        text = f"for {grid_cells.duration(now - (dub.submitted or dub.since))}"
        usual = batch.durations.usual()
        if usual is not None:
            text += f"; usual here is {humanize.roughly(usual[0])} (the middle of {usual[1]} dubs)"
        return [((text, ""),)]
    transfer = batch.transfers.get((job.id, language))
    if dub.state is not DubState.DOWNLOADING or transfer is None:
        return []
    total = f" of {grid_cells.size(transfer.total)} ({percent(transfer)}%)" if transfer.total else ""
    return [((f"{grid_cells.size(transfer.done)}{total} at {grid_cells.size(transfer.rate)}/s", ""),)]


def _problem(code: str, detail: str, label: str = "It said: ") -> list[Line]:
    problem = explain(code, detail)
    lines: list[Line] = [((problem.title, "bad"),)]
    if problem.detail:
        lines.append(((label, "faint"), (printable(problem.detail), "")))
    if problem.cause:
        lines.append((("Why: ", "faint"), (problem.cause, "")))
    lines.append((("What to do: ", "faint"), (problem.remedy, "")))
    lines.append((("Code: ", "faint"), (printable(code), "")))
    return lines


def _retry(job: Job, language: str, key: str) -> list[Line]:
    found = offered(job, language)
    if found.step is None:
        return []
    words = "fetches its captions, free" if job.dubs[language].lacks_captions else retry_text.sentence(found)
    if found.alone:
        words = f"asks you first: {words}"
    return [((f"{key} retry ", "key"), (words + ".", "good" if found.cost is Cost.FREE else "warn"))]


def _timeline(job: Job, dub: Dub, now: float) -> list[Line]:
    events: list[tuple[float, str]] = [(job.added, "added")]
    if job.asset is not None:
        events.append((job.asset.created, f"asset {printable(job.asset.id)} made"))
    if dub.submitted:
        events.append((dub.submitted, f"accepted, project {printable(dub.project)}"))
    if dub.failure is not None and dub.state is not DubState.FAILED:
        events.append((dub.failure.at, explain(dub.failure.code).title.lower()))
    events.append((dub.since, STATES[dub.state] + (f", video {printable(dub.video)}" if dub.video else "")))
    lines: list[Line] = [((moment(at, now) + "  ", "label"), (text, "")) for at, text in sorted(events)]
    if dub.tried:
        lines.append((("Paid retries so far: " + ", ".join(TRIED[rung] for rung in dub.tried), "faint"),))
    return lines


def _files(job: Job, dub: Dub) -> list[Line]:
    lines: list[Line] = [_pair("Source", printable(job.source.path, 4096)), _pair("Size", grid_cells.size(job.source.size))]
    output = dub.output
    if output is None:
        return lines
    lines += [_pair("Output", printable(output.path, 4096)), _pair("Size", grid_cells.size(output.size))]
    if output.seconds:
        lines.append(_pair("Length", grid_cells.duration(output.seconds)))
    lines += [_pair("Captions", printable(path, 4096)) for path in output.captions]
    return [*lines, _pair("Reviewed", "yes" if output.reviewed else "no")]


def _job_lines(batch: Batch, job: Job, now: float, signs: grid_cells.Signs) -> list[Line]:
    lines: list[Line] = [((_stage(job), ""),)]
    upload = batch.transfers.get((job.id, FILE))
    if upload is not None and upload.total:
        lines.append(
            ((f"{grid_cells.size(upload.done)} of {grid_cells.size(upload.total)} at {grid_cells.size(upload.rate)}/s", ""),)
        )
    options = job.options
    lines += [
        ((" ", ""),),
        _pair("Source", printable(job.source.path, 4096)),
        _pair("Size", f"{grid_cells.size(job.source.size)}, {job.source.content_type}"),
        _pair("Title", printable(options.title)),
        _pair(
            "Speaks", options.source_language if options.source_language == "auto" else languages.name(options.source_language)
        ),
        _pair("Options", f"{options.video_duration}, {options.visibility}, lipsync {'on' if options.lipsync else 'off'}"),
        _pair("Outputs", printable(job.outputs, 4096) or "beside the source"),
        _pair("Added", moment(job.added, now)),
    ]
    if job.asset is not None:
        lines.append(_pair("Asset", printable(job.asset.id)))
    lines += [_pair("Project", printable(project)) for project in job.projects]
    lines.append(((" ", ""),))
    for code, dub in job.dubs.items():
        said = f"{signs.states[dub.state]} {code:<7}{STATES[dub.state]}"
        why = f": {explain(dub.failure.code).title}" if dub.failure is not None else ""
        lines.append(((said + why, _ROLES.get(dub.state, "")),))
    return lines


def _pair(name: str, value: str) -> Line:
    return ((f"{name:<9}", "label"), (value, ""))


def moment(at: float, now: float) -> str:
    """A local time of day; with the date if it is not today. Both arguments are epoch seconds."""
    then, today = time.localtime(at), time.localtime(now)
    same = then[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same else "%Y-%m-%d %H:%M", then)
