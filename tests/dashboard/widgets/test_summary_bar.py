"""The top line: counts, rates, quota, and what holds everything up, in words."""

from __future__ import annotations

import pytest

from synthdub_tui import humanize
from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.grid_model import GridModel
from synthdub_tui.dashboard.text_layout import wrap_to_lines
from synthdub_tui.dashboard.widgets.summary_bar import MAX_LINES, Overview, progress_line, quota_spans, traffic_line
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import BatchStatus, RateLimitUsage
from synthdub_tui.jobs.eta import TransferRates
from synthdub_tui.jobs.model import DubState
from synthdub_tui.problems import explain
from tests.dashboard.fake_runner import make_job


def make_overview(**facts: object) -> Overview:
    batch = GridModel()
    batch.begin_snapshot()
    batch.update_jobs([make_job(0, ["fr", "es"], DubState.DONE), make_job(1, ["fr", "es"], DubState.DUBBING)])
    batch.end_snapshot()
    about = Overview(batch, BatchStatus(0.0, since=1000.0), TransferRates(), LinkState.ATTACHED, None, False)
    return about._replace(**facts)  # type: ignore[arg-type]


def summary_words(about: Overview, now: float = 4720.0) -> str:
    spans = [*progress_line(about, now, grid_cells.UNICODE_SIGNS), *traffic_line(about, 120, grid_cells.UNICODE_SIGNS)]
    return " | ".join(text for text, _ in spans)


def test_counts_and_time() -> None:
    said = summary_words(make_overview())
    assert "2/4 done" in said and "running 1 h 02 min" in said and "no transfers" in said
    assert "left" not in said  # nobody can know yet


def test_failures_and_decisions_are_counted() -> None:
    about = make_overview()
    about.batch.update_jobs([make_job(0, ["fr"], DubState.FAILED), make_job(1, ["fr"], DubState.UNKNOWN)])
    said = summary_words(about)
    assert "1 failed" in said and "1 to decide" in said


def test_rates_and_sparkline() -> None:
    about = make_overview(batch_status=BatchStatus(0.0, up=12_300_000, down=400))
    for rate in (0, 5, 10):
        about.rates.add(rate)
    said = summary_words(about)
    assert "↑12.3 MB/s" in said and "↓400 B/s" in said and " ▄█" in said


def test_an_estimate_once_the_pace_is_known_and_none_while_paused() -> None:
    about = make_overview()
    for n in range(8):
        about.batch.pace.record_finished(4000 + n * 60.0)
    assert "about 2 min left" in summary_words(about, 4420)
    assert "left" not in summary_words(about._replace(batch_status=BatchStatus(0.0, paused=True)), 4420)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"batch_status": BatchStatus(0.0, paused=True)}, "Paused: nothing new begins"),
        ({"batch_status": BatchStatus(0.0, problem="service_unreachable")}, "The service cannot be reached"),
        ({"batch_status": BatchStatus(0.0, problem="key_rejected", detail="\x1b[2J")}, "Check the key in Synthesia Studio"),
        ({"link": LinkState.GONE, "problem": explain("no_key")}, "No API key"),
        ({"link": LinkState.GONE}, "S starts it"),
        ({"link": LinkState.REPLACING}, "another version"),
        ({"link": LinkState.STARTING}, "connecting"),
        ({"batch_status": None}, "reading the batch"),
        ({"read_only": True}, "read-only"),
    ],
)
def test_what_holds_everything_up_is_said(facts: dict[str, object], said: str) -> None:
    text = summary_words(make_overview(**facts))
    assert said in text
    assert "\x1b" not in text


def test_credits_that_do_not_do_for_the_first_in_line_say_what_waits_and_what_goes_on() -> None:
    meters = BatchStatus(0.0, problem="account_refused", detail="long.mp4: No credits left", paused=True)
    said = traffic_line(make_overview(batch_status=meters), 80, grid_cells.UNICODE_SIGNS)[0][0]
    assert "All others wait, smaller files too" in said and "cancel that file" in said
    assert said.endswith("p resumes. (long.mp4: No credits left)")
    assert "…" not in "".join(wrap_to_lines(said, 79, MAX_LINES)), "it is told to its end in 80 columns"


def test_the_tightest_quota_and_the_next_moment() -> None:
    quota = (
        RateLimitUsage("GET", (3, 19_000), ((60, 60.0), (20_000, 86_400.0)), 0.0),
        RateLimitUsage("POST", (9,), ((100, 3600.0),), 12.0),
    )
    said = " ".join(text for text, _ in quota_spans(quota))
    assert said == "GET 19000/20000 a day POST wait 12 s"
    assert quota_spans(()) == []


def test_the_end_is_told() -> None:
    about = make_overview()
    about.batch.update_jobs([make_job(1, ["fr", "es"], DubState.DONE)])
    assert "nothing left to do" in summary_words(about)
    about.batch.update_jobs([make_job(1, ["fr", "es"], DubState.FAILED)])
    assert "the rest needs you" in summary_words(about)


@pytest.mark.parametrize(
    ("seconds", "said"), [(3, "10 s"), (75, "80 s"), (400, "7 min"), (1000, "15 min"), (7300, "2.0 h"), (90_000, "25 h")]
)
def test_predictions_are_no_more_exact_than_they_can_be(seconds: float, said: str) -> None:
    assert humanize.format_rough_duration(seconds) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (4.56e9, "4.6 GB"), (7e13, "70.0 TB")],
)
def test_sizes(amount: float, said: str) -> None:
    assert grid_cells.format_size(amount) == said
