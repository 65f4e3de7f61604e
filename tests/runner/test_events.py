"""What a run tells: the events of the interface, as JSON and as text."""

from __future__ import annotations

import io
import json
from datetime import datetime
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui import humanize
from synthdub_tui.jobs.model import Dub, DubState, Failure, FailureScope, Job, Output, PartRecord, Source, count_dubs
from synthdub_tui.jobs.transitions import download, upload
from synthdub_tui.problems import RetryAdvice, explain
from synthdub_tui.runner import events as event_module
from synthdub_tui.runner.events import EventPrinter
from tests.jobs.factories import (
    ES,
    FR,
    NOW,
    cancel_dub,
    done_job,
    downloading_job,
    dubbing_job,
    job_with_failed_language,
    queued_job,
    ready_job,
    unknown_job,
    uploaded_job,
)

HOSTILE_NAME = "in\x1b[31m\ntro\u202e\x9b.mp4"


def with_hostile_name(job: Job) -> Job:
    return replace(job, source=Source(f"/videos/\x1b]0;x\x07/{HOSTILE_NAME}", 10, 1, "video/mp4"))


def events_between(before: Job | None, job: Job) -> list[dict[str, Any]]:
    return list(event_module.changes(before, job))


def event_names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events]


class FakeTty(io.StringIO):
    def isatty(self) -> bool:
        return True


# -- events --------------------------------------------------------------------------------------------------------------


def test_every_event_has_its_time_and_file() -> None:
    events = [*events_between(None, job_with_failed_language(FR)), event_module.progress(queued_job(), FR, 5, 10, 2.5)]
    assert event_names(events) == ["added", "stage", "dub", "problem", "progress"]
    for event in events:
        assert event["file"] == "/videos/intro.mp4"
        assert datetime.fromisoformat(event["time"]).tzinfo is not None
        json.dumps(event)


def test_added() -> None:
    (event,) = events_between(None, queued_job(FR, ES))
    assert (event["event"], event["size"], event["languages"]) == ("added", 10, [FR, ES])


def test_stages() -> None:
    before = queued_job(FR)
    seen = []
    for job in (
        upload.start_preparing(before),
        upload.record_asset_created(before, "a1", NOW),
        upload.record_asset_uploaded(upload.record_asset_created(before, "a1", NOW)),
        uploaded_job(FR),
        cancel_dub(uploaded_job(FR), FR),
    ):
        seen += [event["stage"] for event in events_between(before, job) if event["event"] == "stage"]
        before = job
    assert seen == ["preparing", "uploading", "processing", "dubbing", "ended"]


@pytest.mark.parametrize(
    ("before", "job", "state"),
    [
        (uploaded_job(FR), dubbing_job(FR), "dubbing"),
        (dubbing_job(FR), ready_job(FR), "ready"),
        (ready_job(FR), downloading_job(FR), "downloading"),
        (dubbing_job(FR), cancel_dub(dubbing_job(FR), FR), "cancelled"),
    ],
)
def test_a_dub_that_changes_its_state(before: Job, job: Job, state: str) -> None:
    (event,) = [event for event in events_between(before, job) if event["event"] == "dub"]
    assert (event["language"], event["state"]) == (FR, state)


def test_a_finished_dub_names_its_files() -> None:
    job = downloading_job(FR)
    finished = download.finish_download(job, FR, Output.of("/v/x.mp4", 5, 1, ("/v/x.srt", "/v/x.vtt")), NOW)
    event = events_between(job, finished)[-1]
    assert (event["path"], event["size"], event["captions"]) == ("/v/x.mp4", 5, ["/v/x.srt", "/v/x.vtt"])


def test_a_failed_dub_tells_its_problem() -> None:
    events = events_between(dubbing_job(FR), job_with_failed_language(FR, code="moderation"))
    problem = events[-1]
    assert event_names(events) == ["stage", "dub", "problem"]
    known = explain("moderation")
    assert (problem["language"], problem["code"], problem["retry"]) == (FR, "moderation", RetryAdvice.ASK.value)
    assert (problem["title"], problem["cause"], problem["remedy"], problem["detail"]) == (
        known.title,
        known.cause,
        known.remedy,
        "",
    )


def test_an_unknown_dub_tells_its_problem_once() -> None:
    assert event_names(events_between(uploaded_job(FR), unknown_job(FR)))[-2:] == ["dub", "problem"]
    assert event_names(events_between(unknown_job(FR), cancel_dub(unknown_job(FR), FR))) == ["dub"]


def test_nothing_new_tells_nothing() -> None:
    assert events_between(dubbing_job(FR), dubbing_job(FR)) == []
    moved = download.start_download(downloading_job(FR), FR, PartRecord(200), NOW)
    assert events_between(downloading_job(FR), moved) == []


def test_progress_of_an_upload_has_no_language() -> None:
    event = event_module.progress(queued_job(), "", 5, 10, 2.5)
    assert "language" not in event
    assert (event["done"], event["total"], event["rate"]) == (5, 10, 2.5)


def test_the_summary() -> None:
    event = event_module.summary(
        count_dubs([done_job(FR, ES), job_with_failed_language(FR), unknown_job(FR), cancel_dub(queued_job(FR), FR)]), 12.345
    )
    assert {name: event[name] for name in event if name not in ("time", "event")} == {
        "jobs": 4,
        "dubs": 5,
        "done": 2,
        "failed": 1,
        "cancelled": 1,
        "unknown": 1,
        "waiting": 0,
        "held": 0,
        "over_budget": 0,
        "credits": 0,
        "gone": 0,
        "seconds": 12.3,
    }


def test_a_problem_of_the_whole_batch_names_no_file() -> None:
    event = event_module.problem(explain("key_rejected"))
    assert "file" not in event
    assert "language" not in event


# -- text ----------------------------------------------------------------------------------------------------------------


def all_events(job: Job) -> list[dict[str, Any]]:
    dub = job.dubs[FR]
    states: list[Dub] = [
        replace(dub, state=DubState.DUBBING),
        replace(dub, state=DubState.CANCELLED),
        replace(dub, state=DubState.FAILED, failure=Failure("flux\x1b[31m\n", FailureScope.LANGUAGE, NOW, HOSTILE_NAME)),
        replace(dub, state=DubState.DONE, output=Output.of(f"/out/{HOSTILE_NAME}", 5, 1)),
    ]
    events = events_between(None, job) + events_between(job, upload.record_asset_created(job, "a", NOW))
    for state in states:
        events += events_between(job, replace(job, dubs={FR: state}))
    return [*events, event_module.progress(job, FR, 1, 2, 3.0)]


def test_no_name_steers_the_terminal() -> None:
    for event in all_events(with_hostile_name(queued_job(FR))):
        line = event_module.problem_line(event) if event["event"] == "problem" else event_module.format_event(event)
        assert line.isprintable(), event
    job = replace(
        with_hostile_name(job_with_failed_language(FR)),
        dubs={FR: replace(job_with_failed_language(FR).dubs[FR], failure=Failure("\x1b[2J", FailureScope.LANGUAGE, 1))},
    )
    for line in event_module.summary_lines(count_dubs([job]), [job], 1.0):
        assert line.isprintable()


def test_json_is_one_object_a_line_whatever_the_names() -> None:
    out = io.StringIO()
    reporter = EventPrinter(as_json=True, out=out, err=io.StringIO())
    events = all_events(with_hostile_name(queued_job(FR)))
    for event in events:
        reporter.print_event(event)
    lines = out.getvalue().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == events
    assert lines[-1] == ""
    assert not any(char in out.getvalue() for char in "\x1b\x9b\u202e")  # `--json` may end up on a terminal too


def test_lines_for_people() -> None:
    out, err = io.StringIO(), io.StringIO()
    reporter = EventPrinter(as_json=False, out=out, err=err)
    job = job_with_failed_language(FR)
    for event in (
        *events_between(None, queued_job(FR)),
        *events_between(queued_job(FR), dubbing_job(FR)),
        *events_between(dubbing_job(FR), job),
        *events_between(downloading_job(FR), done_job(FR)),
    ):
        reporter.print_event(event)
    reporter.print_line("a word")
    lines = [line[10:] for line in out.getvalue().splitlines()[:-1]]
    assert lines == [
        "intro.mp4  added  10 B  → fr-FR",
        "intro.mp4  fr-FR  dubbing",
        "intro.mp4  fr-FR  done  100 B  /videos/intro.dubbed-fr-FR.mp4",
    ]
    assert out.getvalue().endswith("a word\n")
    assert err.getvalue().startswith("intro.mp4 fr-FR: The service failed while dubbing.")
    assert err.getvalue().endswith("[processing_error]\n")


def test_among_json_no_plain_words_but_errors() -> None:
    out, err = io.StringIO(), io.StringIO()
    reporter = EventPrinter(as_json=True, out=out, err=err)
    reporter.print_line("a word")
    reporter.print_line("an error", error=True)
    assert (out.getvalue(), err.getvalue()) == ("", "an error\n")


def test_a_live_line_is_replaced_and_gives_way() -> None:
    out = FakeTty()
    reporter = EventPrinter(as_json=False, out=out, err=io.StringIO())
    assert reporter.shows_status
    reporter.show_status("1/2 done")
    reporter.show_status("1/2 done")
    reporter.print_line("a word")
    assert out.getvalue() == "\r\x1b[K1/2 done\r\x1b[Ka word\n"
    assert not EventPrinter(as_json=True, out=FakeTty(), err=io.StringIO()).shows_status


class BrokenOutput(io.StringIO):
    def write(self, words: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_went_away_stops_nothing() -> None:
    err = io.StringIO()
    reporter = EventPrinter(as_json=False, out=BrokenOutput(), err=err)
    reporter.print_line("a word")
    reporter.print_line("an error", error=True)
    assert err.getvalue() == "an error\n"


def test_a_broken_stderr_does_not_silence_stdout() -> None:
    out = io.StringIO()
    reporter = EventPrinter(as_json=False, out=out, err=BrokenOutput())
    reporter.print_line("an error", error=True)
    reporter.print_line("a word")
    assert out.getvalue() == "a word\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_another_encoding_stops_nothing(encoding: str) -> None:
    raw = io.BytesIO()
    reporter = EventPrinter(as_json=False, out=io.TextIOWrapper(raw, encoding=encoding), err=io.StringIO())
    reporter.print_event(events_between(None, replace(queued_job(FR), source=Source("/v/日本.mp4", 10, 1, "video/mp4")))[0])
    assert b"??.mp4  added  10 B  ? fr-FR\n" in raw.getvalue()


# -- the end -------------------------------------------------------------------------------------------------------------


def test_the_summary_names_file_language_code_and_remedy() -> None:
    jobs = [done_job(FR, ES), job_with_failed_language(FR, code="moderation"), unknown_job(ES), cancel_dub(queued_job(FR), FR)]
    lines = list(event_module.summary_lines(count_dubs(jobs), jobs, 3725))
    assert lines[0] == "2 of 5 dubs done, 4 files, 1 h 02 min"
    assert lines[1:4] == ["  1 failed", "  1 unknown", "  1 cancelled"]
    assert "intro.mp4 fr-FR" in lines[4]
    assert "[moderation]" in lines[4]
    assert explain("moderation").remedy in lines[4]
    assert "[submission_unknown]" in lines[5]
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("count_of_bytes", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5_300_000, "5.3 MB"), (2e12, "2.0 TB")]
)
def test_sizes(count_of_bytes: float, words: str) -> None:
    assert humanize.format_size(count_of_bytes) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")])
def test_durations(seconds: float, words: str) -> None:
    assert humanize.format_duration(seconds) == words
