"""The top line: the batch as a whole, the quota, the transfer rates, and a problem that stops everything.

Such a problem is shown in up to three lines, since the remedy is often at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual.widgets import Static

from synthdub_tui import humanize
from synthdub_tui.dashboard import grid_cells
from synthdub_tui.dashboard.grid_model import GridModel
from synthdub_tui.dashboard.keymap import DEFAULT_KEYMAP, Keymap
from synthdub_tui.dashboard.text_layout import Span, wrap_to_lines
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import BatchStatus, ComparisonProgress, RateLimitUsage
from synthdub_tui.jobs.eta import TransferRates
from synthdub_tui.jobs.model import DubState
from synthdub_tui.problems import Problem, explain
from synthdub_tui.text import make_printable

_STYLES = {"": "", "faint": "dim", "strong": "bold", "good": "bold", "warn": "bold", "bad": "bold reverse"}
MAX_LINES: Final = 3
MIN_SHOWN_WAIT_SECONDS: Final = 3.0
"""Seconds. Shorter waits are not shown: they only space calls evenly."""

_ENDPOINT_NAMES: Final = {
    "create_asset": "new uploads",
    "get_asset": "upload checks",
    "create_dubbing": "submissions",
    "get_dubbing": "polls",
    "add_locales": "added languages",
}
"""Words for the endpoints that the account's rate limit counts."""

_WINDOWS = {1: "a second", 60: "a minute", 3600: "an hour", 86400: "a day"}


class Overview(NamedTuple):
    """The data of the top line."""

    batch: GridModel
    batch_status: BatchStatus | None
    rates: TransferRates
    link: LinkState
    problem: Problem | None
    read_only: bool
    keymap: Keymap = DEFAULT_KEYMAP


def progress_line(about: Overview, now: float, signs: grid_cells.Signs) -> list[Span]:
    """Counts and times, the most important first."""
    totals = about.batch.overall
    trouble = totals.trouble
    if about.batch.is_loaded and not totals.dubs:
        return [("no files yet", "strong"), *([("read-only", "warn")] if about.read_only else [])]
    spans: list[Span] = [(f"{signs.states[DubState.DONE]} {totals[DubState.DONE]}/{totals.dubs} done", "strong")]
    if totals[DubState.FAILED]:
        spans.append((f"{signs.states[DubState.FAILED]} {totals[DubState.FAILED]} failed", "bad"))
    if totals[DubState.UNKNOWN]:
        spans.append((f"{signs.states[DubState.UNKNOWN]} {totals[DubState.UNKNOWN]} to decide", "warn"))
    if about.batch_status is not None and about.batch_status.paused:
        spans.append(("PAUSED", "bad"))
    left = (
        None
        if about.batch_status is None or about.batch_status.paused
        else about.batch.pace.remaining_seconds(totals.open, now)
    )
    if left is not None:
        spans.append((f"about {humanize.format_rough_duration(left)} left", ""))
    elif totals.dubs and not totals.open and about.batch.is_loaded:
        spans.append(("nothing left to do" if not trouble else "the rest needs you", ""))
    if about.batch_status is not None and about.batch_status.since and now - about.batch_status.since >= 60:
        spans.append((f"running {grid_cells.format_minutes(now - about.batch_status.since)}", "faint"))
    if about.read_only:
        spans.append(("read-only", "warn"))
    return spans


def traffic_line(about: Overview, width: int, signs: grid_cells.Signs) -> list[Span]:
    """The problem that stops everything; if there is none, rates and quota."""
    trouble = _blocking_problem(about)
    if trouble:
        return [trouble]
    meters = about.batch_status
    if meters is None:
        return [("reading the batch…", "faint")]
    spans: list[Span] = []
    if meters.comparing is not None:
        spans.append((_comparing(meters.comparing), ""))
    if meters.up or meters.down or about.rates.has_movement:
        spans.append((f"{signs.upload}{grid_cells.format_size(meters.up)}/s", "strong" if meters.up else "faint"))
        spans.append(
            (
                f"{signs.states[DubState.DOWNLOADING]}{grid_cells.format_size(meters.down)}/s",
                "strong" if meters.down else "faint",
            )
        )
        if about.rates.has_movement and width >= 60:
            levels = about.rates.levels(min(30, width // 5), len(signs.sparkline) - 1)
            spans.append(("".join(signs.sparkline[level] for level in levels), "faint"))
    else:
        spans.append(("no transfers", "faint"))
    return spans + quota_spans(meters.quota)


def _comparing(now: ComparisonProgress) -> str:
    """The file whose content is being read, the percentage, and how many more files wait."""
    share = f"{100 * now.done // max(now.total, 1)} %"
    waiting = f", {now.waiting} more" if now.waiting else ""
    return f"comparing {make_printable(now.path.rpartition('/')[2], 40)} {share}{waiting}"


def quota_spans(quota: tuple[RateLimitUsage, ...]) -> list[Span]:
    """The fullest window of the account's rate limit, and the longest wait if calls are held back."""
    windows = [
        (used / calls, used, calls, seconds, meter.endpoint)
        for meter in quota
        for used, (calls, seconds) in zip(meter.used, meter.limits, strict=False)
        if calls
    ]
    spans: list[Span] = []
    if windows:
        share, used, calls, seconds, endpoint = max(windows)
        each = _WINDOWS.get(int(seconds), f"in {grid_cells.format_duration(seconds)}")
        spans.append((f"{_ENDPOINT_NAMES.get(endpoint, endpoint)} {used}/{calls} {each}", "warn" if share >= 0.9 else "faint"))
    held = max(quota, key=lambda meter: meter.wait, default=None)
    if held is not None and held.wait >= MIN_SHOWN_WAIT_SECONDS:
        spans.append(
            (f"{_ENDPOINT_NAMES.get(held.endpoint, held.endpoint)} wait {grid_cells.format_duration(held.wait)}", "warn")
        )
    return spans


def _blocking_problem(about: Overview) -> Span | None:
    if about.link is LinkState.GONE:
        problem = about.problem or explain("runner_gone")
        if about.read_only:
            return (f"{problem.title}. {explain('runner_none').remedy} {_problem_detail(problem)}", "warn")
        return (f"{problem.title}. {about.keymap.key_label('start_runner')} starts it. {_problem_detail(problem)}", "bad")
    if about.link is LinkState.REPLACING:
        return ("A runner of another version finishes its requests and is replaced…", "warn")
    if about.link is LinkState.STARTING:
        return ("connecting to the runner…", "faint")
    if about.batch_status is not None and about.batch_status.problem:
        problem = explain(about.batch_status.problem, about.batch_status.detail)
        goes_on = f" {about.keymap.key_label('pause')} resumes." if about.batch_status.paused else ""
        return (f"{problem.title}. {problem.remedy}{goes_on} {_problem_detail(problem)}", "bad")
    if about.batch_status is not None and about.batch_status.paused:
        goes_on = f"{about.keymap.key_label('pause')} goes on."
        return (f"Paused: nothing new begins, what is under way finishes. {goes_on}", "warn")
    return None


def _problem_detail(problem: Problem) -> str:
    return f"({make_printable(problem.detail, 120)})" if problem.detail else ""


class SummaryBar(Static):
    """Draws the overview in two lines (a problem may take three more than one); in one line if the terminal is low."""

    def __init__(self, about: Callable[[], Overview], signs: grid_cells.Signs, clock: Callable[[], float]) -> None:
        super().__init__(markup=False, id="summary-bar")
        self._about = about
        self._signs = signs
        self._clock = clock
        self._shown: list[list[Span]] = []

    def show(self) -> None:
        """Draw the overview again; sends bytes only if it changed."""
        about, width = self._about(), self.size.width
        lines = [progress_line(about, self._clock(), self._signs)]
        trouble, low = _blocking_problem(about), self.screen.has_class("-low")
        if trouble:
            words, role = trouble
            wrapped = wrap_to_lines(words, max(2, width - 1), 1 if low else MAX_LINES)
            lines = [*([] if low else lines), *([(line, role)] for line in wrapped)]
        elif not low:
            lines.append(traffic_line(about, width, self._signs))
        self.styles.height = len(lines)
        if lines != self._shown:
            self._shown = lines
            self.update(Text("\n").join(_fit_spans(line, width) for line in lines), layout=False)

    def on_resize(self) -> None:
        self._shown = []
        self.show()


def _fit_spans(spans: list[Span], width: int) -> Text:
    """As many spans as fit in one line; the first is cut if it must be."""
    text = Text(no_wrap=True, end="", overflow="ellipsis")
    for said, role in spans:
        gap = "  " if text else " "
        if text and text.cell_len + len(gap) + cell_len(said) > width:
            continue
        text.append(gap).append(said, _STYLES[role])
    text.truncate(max(1, width), overflow="ellipsis")
    return text
