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
from synthdub_tui.dashboard.grid_model import Batch
from synthdub_tui.dashboard.keymap import DEFAULT, Keymap
from synthdub_tui.dashboard.text_layout import Span, in_lines
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import Comparing, Meters, QuotaMeter
from synthdub_tui.jobs.eta import Rates
from synthdub_tui.jobs.model import DubState
from synthdub_tui.problems import Problem, explain
from synthdub_tui.text import printable

_STYLES = {"": "", "faint": "dim", "strong": "bold", "good": "bold", "warn": "bold", "bad": "bold reverse"}
MOST_LINES: Final = 3
PACED: Final = 3.0
"""Seconds. Shorter waits are not shown: they only space calls evenly."""

_CALLS: Final = {
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

    batch: Batch
    meters: Meters | None
    rates: Rates
    link: LinkState
    problem: Problem | None
    read_only: bool
    keymap: Keymap = DEFAULT


def progress_line(about: Overview, now: float, signs: grid_cells.Signs) -> list[Span]:
    """Counts and times, the most important first."""
    totals = about.batch.overall
    trouble = totals.trouble
    if about.batch.loaded and not totals.dubs:
        return [("no files yet", "strong"), *([("read-only", "warn")] if about.read_only else [])]
    spans: list[Span] = [(f"{signs.states[DubState.DONE]} {totals[DubState.DONE]}/{totals.dubs} done", "strong")]
    if totals[DubState.FAILED]:
        spans.append((f"{signs.states[DubState.FAILED]} {totals[DubState.FAILED]} failed", "bad"))
    if totals[DubState.UNKNOWN]:
        spans.append((f"{signs.states[DubState.UNKNOWN]} {totals[DubState.UNKNOWN]} to decide", "warn"))
    if about.meters is not None and about.meters.paused:
        spans.append(("PAUSED", "bad"))
    left = None if about.meters is None or about.meters.paused else about.batch.pace.remaining(totals.open, now)
    if left is not None:
        spans.append((f"about {humanize.roughly(left)} left", ""))
    elif totals.dubs and not totals.open and about.batch.loaded:
        spans.append(("nothing left to do" if not trouble else "the rest needs you", ""))
    if about.meters is not None and about.meters.since and now - about.meters.since >= 60:
        spans.append((f"running {grid_cells.minutes(now - about.meters.since)}", "faint"))
    if about.read_only:
        spans.append(("read-only", "warn"))
    return spans


def traffic_line(about: Overview, width: int, signs: grid_cells.Signs) -> list[Span]:
    """The problem that stops everything; if there is none, rates and quota."""
    trouble = _trouble(about)
    if trouble:
        return [trouble]
    meters = about.meters
    if meters is None:
        return [("reading the batch…", "faint")]
    spans: list[Span] = []
    if meters.comparing is not None:
        spans.append((_comparing(meters.comparing), ""))
    if meters.up or meters.down or about.rates.moving:
        spans.append((f"{signs.up}{grid_cells.size(meters.up)}/s", "strong" if meters.up else "faint"))
        spans.append(
            (f"{signs.states[DubState.DOWNLOADING]}{grid_cells.size(meters.down)}/s", "strong" if meters.down else "faint")
        )
        if about.rates.moving and width >= 60:
            levels = about.rates.levels(min(30, width // 5), len(signs.bars) - 1)
            spans.append(("".join(signs.bars[level] for level in levels), "faint"))
    else:
        spans.append(("no transfers", "faint"))
    return spans + quota_words(meters.quota)


def _comparing(now: Comparing) -> str:
    """The file whose content is being read, the percentage, and how many more files wait."""
    share = f"{100 * now.done // max(now.total, 1)} %"
    waiting = f", {now.waiting} more" if now.waiting else ""
    return f"comparing {printable(now.path.rpartition('/')[2], 40)} {share}{waiting}"


def quota_words(quota: tuple[QuotaMeter, ...]) -> list[Span]:
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
        each = _WINDOWS.get(int(seconds), f"in {grid_cells.duration(seconds)}")
        spans.append((f"{_CALLS.get(endpoint, endpoint)} {used}/{calls} {each}", "warn" if share >= 0.9 else "faint"))
    held = max(quota, key=lambda meter: meter.wait, default=None)
    if held is not None and held.wait >= PACED:
        spans.append((f"{_CALLS.get(held.endpoint, held.endpoint)} wait {grid_cells.duration(held.wait)}", "warn"))
    return spans


def _trouble(about: Overview) -> Span | None:
    if about.link is LinkState.GONE:
        problem = about.problem or explain("runner_gone")
        if about.read_only:
            return (f"{problem.title}. {explain('runner_none').remedy} {_said(problem)}", "warn")
        return (f"{problem.title}. {about.keymap.shown('start_runner')} starts it. {_said(problem)}", "bad")
    if about.link is LinkState.REPLACING:
        return ("A runner of another version finishes its requests and is replaced…", "warn")
    if about.link is LinkState.STARTING:
        return ("connecting to the runner…", "faint")
    if about.meters is not None and about.meters.problem:
        problem = explain(about.meters.problem, about.meters.detail)
        goes_on = f" {about.keymap.shown('pause')} resumes." if about.meters.paused else ""
        return (f"{problem.title}. {problem.remedy}{goes_on} {_said(problem)}", "bad")
    if about.meters is not None and about.meters.paused:
        goes_on = f"{about.keymap.shown('pause')} goes on."
        return (f"Paused: nothing new begins, what is under way finishes. {goes_on}", "warn")
    return None


def _said(problem: Problem) -> str:
    return f"({printable(problem.detail, 120)})" if problem.detail else ""


class Topline(Static):
    """Draws the overview in two lines (a problem may take three more than one); in one line if the terminal is low."""

    def __init__(self, about: Callable[[], Overview], signs: grid_cells.Signs, clock: Callable[[], float]) -> None:
        super().__init__(markup=False, id="topline")
        self._about = about
        self._signs = signs
        self._clock = clock
        self._shown: list[list[Span]] = []

    def show(self) -> None:
        """Draw the overview again; sends bytes only if it changed."""
        about, width = self._about(), self.size.width
        lines = [progress_line(about, self._clock(), self._signs)]
        trouble, low = _trouble(about), self.screen.has_class("-low")
        if trouble:
            words, role = trouble
            told = in_lines(words, max(2, width - 1), 1 if low else MOST_LINES)
            lines = [*([] if low else lines), *([(line, role)] for line in told)]
        elif not low:
            lines.append(traffic_line(about, width, self._signs))
        self.styles.height = len(lines)
        if lines != self._shown:
            self._shown = lines
            self.update(Text("\n").join(_drawn(line, width) for line in lines), layout=False)

    def on_resize(self) -> None:
        self._shown = []
        self.show()


def _drawn(spans: list[Span], width: int) -> Text:
    """As many spans as fit in one line; the first is cut if it must be."""
    text = Text(no_wrap=True, end="", overflow="ellipsis")
    for said, role in spans:
        gap = "  " if text else " "
        if text and text.cell_len + len(gap) + cell_len(said) > width:
            continue
        text.append(gap).append(said, _STYLES[role])
    text.truncate(max(1, width), overflow="ellipsis")
    return text
