"""The events that a run prints, as JSON or as text: one for each change that deserves a line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from synthdub_tui.humanize import format_count, format_duration, format_size
from synthdub_tui.jobs.model import DubCounts, DubState, Job, Stage
from synthdub_tui.problems import Problem, explain
from synthdub_tui.runner.output_presence import GONE, OutputMismatch
from synthdub_tui.text import json_text, make_printable

if TYPE_CHECKING:
    from synthdub_tui.ipc.protocol import ComparisonProgress

Event = dict[str, Any]


def changes(before: Job | None, job: Job) -> Iterable[Event]:
    """Returns the events of one change of a job."""
    if before is None:
        yield _event("added", job, size=job.source.size, languages=list(job.dubs))
    if job.stage is not (before.stage if before else Stage.QUEUED):
        yield _event("stage", job, stage=job.stage.value)
    for language, dub in job.dubs.items():
        old = before.dubs.get(language) if before else None
        if dub.hold is not None and dub.hold != (old.hold if old else None):
            yield problem(explain(dub.hold.reason.value, dub.hold.detail), job, language)
        late = _late_bill_events(before, job, language)
        if dub.state is (old.state if old else DubState.WAITING):
            yield from late
            continue
        event = _event("dub", job, language=language, state=dub.state.value)
        if dub.state is DubState.DONE and dub.output:
            event |= {"path": dub.output.path, "size": dub.output.size, "captions": list(dub.output.captions)}
        yield event
        if dub.failure is not None and dub.failure != (old.failure if old else None):
            yield problem(explain(dub.failure.code, dub.failure.detail), job, language)
        yield from late


def _late_bill_events(before: Job | None, job: Job, language: str) -> list[Event]:
    """Returns the problem that a cancelled dub may be billed, once, when that becomes known; else an empty list."""
    code = _late_bill(job, language)
    if not code or before is None or language not in before.dubs:
        return []
    failure = before.dubs[language].failure
    is_reported = code in (_late_bill(before, language), failure.code if failure else "")
    return [] if is_reported else [problem(explain(code), job, language)]


def _late_bill(job: Job, language: str) -> str:
    from synthdub_tui.jobs.transitions.cancellation import billing_problem_code  # noqa: PLC0415 - not needed for an empty directory

    return billing_problem_code(job, language)


def problem(what: Problem, job: Job | None = None, language: str = "") -> Event:
    """Returns the event for a problem of a dub, of a job, or of the whole batch."""
    event = _event("problem", job, **({"language": language} if language else {}))
    words = {"title": what.title, "cause": what.cause, "remedy": what.remedy, "detail": make_printable(what.detail)}
    return event | {"code": what.code, "retry": what.retry.value} | words


def progress(job: Job, language: str, done: int, total: int, rate: float) -> Event:
    """Returns the event for the progress in bytes of an upload (no language) or a download. `rate`: bytes per second."""
    extra: dict[str, Any] = {"language": language} if language else {}
    return _event("progress", job, **extra, done=done, total=total, rate=rate)


def comparing(now: ComparisonProgress) -> Event:
    """Returns the event for the progress in bytes of a comparison."""
    return _event("progress", None) | {"file": now.path, "of": "comparison", "done": now.done, "total": now.total}


def summary(counts: DubCounts, seconds: float, *, gone: int = 0) -> Event:
    """Returns the last event of a run. `gone`: number of finished dubs whose output no longer exists.

    `over_budget` and `credits` are 0, since synthdub does not know budgets and prices yet.
    """
    fields = ("jobs", "dubs", "done", "failed", "cancelled", "unknown", "waiting", "held")
    numbers = {name: getattr(counts, name) for name in fields}
    more = {"over_budget": 0, "credits": 0, "gone": gone}
    return _event("summary", None) | numbers | more | {"seconds": round(seconds, 1)}


def _event(name: str, job: Job | None, **extra: Any) -> Event:
    event: Event = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": name}
    if job is not None:
        event["file"] = job.source.path
    return event | extra


class EventPrinter:
    """Writes events as JSON lines, or as text with problems on stderr. On a terminal a live line shows the whole batch."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._live = not as_json and self._out.isatty()
        self._line = ""
        self._broken: set[TextIO] = set()

    @property
    def shows_status(self) -> bool:
        """Whether `show_status` shows anything."""
        return self._live

    def print_event(self, event: Event) -> None:
        """Write one event."""
        if self._json:
            self._write(self._out, json_text(event) + "\n")
        elif event["event"] == "problem":
            self._clear()
            self._write(self._err, problem_line(event) + "\n")
        elif line := format_event(event):
            self._clear()
            self._write(self._out, f"{time.strftime('%H:%M:%S')}  {line}\n")

    def print_line(self, line: str, *, error: bool = False) -> None:
        """Write a line of text that is not an event. Among JSON it is omitted, unless it is an error."""
        self._clear()
        if error:
            self._write(self._err, line + "\n")
        elif not self._json:
            self._write(self._out, line + "\n")

    def show_status(self, line: str) -> None:
        """Replace the live line."""
        if self._live and line != self._line:
            self._write(self._out, f"\r\x1b[K{line}")
            self._line = line

    def _clear(self) -> None:
        if self._line:
            self._write(self._out, "\r\x1b[K")
            self._line = ""

    def _write(self, stream: TextIO, words: str) -> None:
        """Write, but ignore a stream whose reader has ended (`| head`), so that the work continues."""
        if stream in self._broken:
            return
        try:
            stream.write(_encodable(words, stream.encoding))
            stream.flush()
        except OSError:
            self._broken.add(stream)


def _encodable(words: str, encoding: str | None) -> str:
    """Returns the text with a question mark for each character that the encoding does not have."""
    return words.encode(encoding, "replace").decode(encoding) if encoding else words


def format_event(event: Event) -> str:
    """Returns an event as a line of text; empty for events that would only be noise."""
    name = make_printable(event.get("file", "").rpartition("/")[2])
    match event["event"]:
        case "added":
            return f"{name}  added  {format_size(event['size'])}  → {', '.join(event['languages'])}"
        case "stage" if event["stage"] in ("uploading", "processing"):
            return f"{name}  {event['stage']}"
        case "progress" if event.get("of") == "comparison":
            percent = 100 * event["done"] // max(event["total"], 1)
            return f"{name}  comparing its content  {percent} % of {format_size(event['total'])}"
        case "dub" if event["state"] == "done":
            return f"{name}  {event['language']}  done  {format_size(event['size'])}  {make_printable(event['path'], 1000)}"
        case "dub" if event["state"] in ("dubbing", "cancelled"):
            return f"{name}  {event['language']}  {event['state']}"
        case _:
            return ""


def problem_line(event: Event) -> str:
    """Returns a problem event as one line, with its file and language."""
    about = " ".join(filter(None, (make_printable(event.get("file", "").rpartition("/")[2]), event.get("language", ""))))
    said = f" ({event['detail']})" if event["detail"] else ""
    words = " ".join(filter(None, (f"{event['title']}{said}.", event["cause"], event["remedy"])))
    line = f"{words} [{make_printable(event['code'])}]"
    return f"{about}: {line}" if about else line


def summary_lines(counts: DubCounts, jobs: Iterable[Job], seconds: float, *, resumable: bool = True) -> Iterable[str]:
    """Returns the summary of a run: counts, then each failed, unknown or late-cancelled dub with its reason and fix."""
    total = f"{format_count(counts.dubs, 'dub')} done, {format_count(counts.jobs, 'file')}"
    yield f"{counts.done} of {total}, {format_duration(seconds)}"
    for state in ("failed", "unknown", "cancelled"):
        if number := getattr(counts, state):
            yield f"  {number} {state}"
    if counts.held:
        yield f"  {counts.held} held: they wait for you, see `synthdub status`"
    if going_on := counts.dubs - counts.ended - counts.held:
        yield f"  {going_on} " + ("saved as they are: the next start goes on with them" if resumable else "left undone")
    for job in jobs:
        for language, dub in job.dubs.items():
            if dub.failure is not None and (dub.lacks_captions or dub.state in (DubState.FAILED, DubState.UNKNOWN)):
                what = explain(dub.failure.code, dub.failure.detail)
                yield f"  {make_printable(job.name)} {language}: {what.title} [{make_printable(what.code)}]. {what.remedy}"
            elif code := _late_bill(job, language):
                what = explain(code)
                yield f"  {make_printable(job.name)} {language}: cancelled. {what.title}. {what.remedy}"


def mismatch_lines(outputs: Iterable[OutputMismatch]) -> Iterable[str]:
    """Returns a line for each finished dub whose output is gone or changed, with the fix for one that is gone."""
    for lost in outputs:
        where = f"  {make_printable(lost.job.name)} {lost.language}: done, but its output"
        if lost.presence == GONE:
            again = "`synthdub retry` fetches it again, free while the project is there"
            yield f"{where} is gone: {make_printable(lost.path, 4096)} ({again})"
        else:
            yield f"{where} was changed since: {make_printable(lost.path, 4096)}"
