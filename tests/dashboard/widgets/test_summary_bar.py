"""The top line: counts, rates, quota, and what holds everything up, in words."""

from __future__ import annotations

import pytest

from synthdub_tui import humanize
from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.grid_model import Batch
from synthdub_tui.dashboard.text_layout import in_lines
from synthdub_tui.dashboard.widgets.summary_bar import MOST_LINES, Overview, progress_line, quota_words, traffic_line
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import Meters, QuotaMeter
from synthdub_tui.jobs.eta import Rates
from synthdub_tui.jobs.model import DubState
from synthdub_tui.problems import explain
from tests.dashboard.fake_runner import make_job


def overview(**facts: object) -> Overview:
    batch = Batch()
    batch.begin()
    batch.put([make_job(0, ["fr", "es"], DubState.DONE), make_job(1, ["fr", "es"], DubState.DUBBING)])
    batch.end()
    about = Overview(batch, Meters(0.0, since=1000.0), Rates(), LinkState.ATTACHED, None, False)
    return about._replace(**facts)  # type: ignore[arg-type]


def words(about: Overview, now: float = 4720.0) -> str:
    spans = [*progress_line(about, now, grid_cells.UNICODE), *traffic_line(about, 120, grid_cells.UNICODE)]
    return " | ".join(text for text, _ in spans)


def test_counts_and_time() -> None:
    said = words(overview())
    assert "2/4 done" in said and "running 1 h 02 min" in said and "no transfers" in said
    assert "left" not in said  # nobody can know yet


def test_failures_and_decisions_are_counted() -> None:
    about = overview()
    about.batch.put([make_job(0, ["fr"], DubState.FAILED), make_job(1, ["fr"], DubState.UNKNOWN)])
    said = words(about)
    assert "1 failed" in said and "1 to decide" in said


def test_rates_and_sparkline() -> None:
    about = overview(meters=Meters(0.0, up=12_300_000, down=400))
    for rate in (0, 5, 10):
        about.rates.add(rate)
    said = words(about)
    assert "↑12.3 MB/s" in said and "↓400 B/s" in said and " ▄█" in said


def test_an_estimate_once_the_pace_is_known_and_none_while_paused() -> None:
    about = overview()
    for n in range(8):
        about.batch.pace.finished(4000 + n * 60.0)
    assert "about 2 min left" in words(about, 4420)
    assert "left" not in words(about._replace(meters=Meters(0.0, paused=True)), 4420)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"meters": Meters(0.0, paused=True)}, "Paused: nothing new begins"),
        ({"meters": Meters(0.0, problem="service_unreachable")}, "The service cannot be reached"),
        ({"meters": Meters(0.0, problem="key_rejected", detail="\x1b[2J")}, "Check the key in Synthesia Studio"),
        ({"link": LinkState.GONE, "problem": explain("no_key")}, "No API key"),
        ({"link": LinkState.GONE}, "S starts it"),
        ({"link": LinkState.REPLACING}, "another version"),
        ({"link": LinkState.STARTING}, "connecting"),
        ({"meters": None}, "reading the batch"),
        ({"read_only": True}, "read-only"),
    ],
)
def test_what_holds_everything_up_is_said(facts: dict[str, object], said: str) -> None:
    text = words(overview(**facts))
    assert said in text
    assert "\x1b" not in text


def test_credits_that_do_not_do_for_the_first_in_line_say_what_waits_and_what_goes_on() -> None:
    meters = Meters(0.0, problem="account_refused", detail="long.mp4: No credits left", paused=True)
    said = traffic_line(overview(meters=meters), 80, grid_cells.UNICODE)[0][0]
    assert "All others wait, smaller files too" in said and "cancel that file" in said
    assert said.endswith("p resumes. (long.mp4: No credits left)")
    assert "…" not in "".join(in_lines(said, 79, MOST_LINES)), "it is told to its end in 80 columns"


def test_the_tightest_quota_and_the_next_moment() -> None:
    quota = (
        QuotaMeter("GET", (3, 19_000), ((60, 60.0), (20_000, 86_400.0)), 0.0),
        QuotaMeter("POST", (9,), ((100, 3600.0),), 12.0),
    )
    said = " ".join(text for text, _ in quota_words(quota))
    assert said == "GET 19000/20000 a day POST wait 12 s"
    assert quota_words(()) == []


def test_the_end_is_told() -> None:
    about = overview()
    about.batch.put([make_job(1, ["fr", "es"], DubState.DONE)])
    assert "nothing left to do" in words(about)
    about.batch.put([make_job(1, ["fr", "es"], DubState.FAILED)])
    assert "the rest needs you" in words(about)


@pytest.mark.parametrize(
    ("seconds", "said"), [(3, "10 s"), (75, "80 s"), (400, "7 min"), (1000, "15 min"), (7300, "2.0 h"), (90_000, "25 h")]
)
def test_predictions_are_no_more_exact_than_they_can_be(seconds: float, said: str) -> None:
    assert humanize.roughly(seconds) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (4.56e9, "4.6 GB"), (7e13, "70.0 TB")],
)
def test_sizes(amount: float, said: str) -> None:
    assert grid_cells.size(amount) == said
