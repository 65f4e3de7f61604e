"""The texts of cells, files and column headers: plain text of a fixed width.

The sign shows the state; the colour only repeats it. So nothing is lost in 16 colours, without colour, or to people who cannot
tell red from green.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from synthdub_tui.dashboard.grid_model import DubTotals, transfer_percent
from synthdub_tui.ipc.protocol import Transfer
from synthdub_tui.jobs.model import Dub, DubState, Job, Stage, WaitReason
from synthdub_tui.text import make_printable


class Signs(NamedTuple):
    """The signs of one character set."""

    states: dict[DubState, str]
    upload: str
    mark: str
    ellipsis: str
    sparkline: str
    line: str


UNICODE_SIGNS: Final = Signs(
    {
        DubState.WAITING: "·",
        DubState.DUBBING: "~",
        DubState.READY: "○",
        DubState.DOWNLOADING: "↓",
        DubState.DONE: "✓",
        DubState.FAILED: "✗",
        DubState.CANCELLED: "–",
        DubState.UNKNOWN: "?",
    },
    upload="↑",
    mark="▌",
    ellipsis="…",
    sparkline=" ▁▂▃▄▅▆▇█",
    line="·",
)

ASCII_SIGNS: Final = Signs(
    {
        DubState.WAITING: ".",
        DubState.DUBBING: "~",
        DubState.READY: "o",
        DubState.DOWNLOADING: "v",
        DubState.DONE: "+",
        DubState.FAILED: "X",
        DubState.CANCELLED: "-",
        DubState.UNKNOWN: "?",
    },
    upload="^",
    mark="*",
    ellipsis="~",
    sparkline=" .:-=+*#@",
    line="|",
)

STATE_WORDS: Final = {
    DubState.WAITING: "",
    DubState.READY: "rdy",
    DubState.DONE: "done",
    DubState.FAILED: "FAIL",
    DubState.CANCELLED: "off",
    DubState.UNKNOWN: "ask",
}
"""Shown next to the sign, if there is room."""

STATE_MEANINGS: Final = {
    DubState.WAITING: "waits for its upload, or to be submitted",
    DubState.DUBBING: "being dubbed, and for how long",
    DubState.READY: "ready at the service, waits to be downloaded",
    DubState.DOWNLOADING: "being downloaded",
    DubState.DONE: "complete on disk",
    DubState.FAILED: "failed: enter says why and what to do",
    DubState.CANCELLED: "cancelled",
    DubState.UNKNOWN: "only you can decide: enter says why",
}


def legend(signs: Signs) -> list[tuple[str, str]]:
    """The texts that cells and files show, with their meanings."""
    examples = {**STATE_WORDS, DubState.DUBBING: "5m", DubState.DOWNLOADING: "40%"}
    shown = [(f"{signs.states[state]} {examples[state]}".rstrip(), words) for state, words in STATE_MEANINGS.items()]
    file = [
        (f"{signs.upload} 40%", "beside a file: being uploaded"),
        ("prep proc", "beside a file: the service prepares, reads it"),
    ]
    held = (
        f"{signs.states[DubState.UNKNOWN]} {HOLD_WORDS[WaitReason.ALREADY_PAID]}",
        "paid for before: enter says when and by which batch",
    )
    claimed = (
        f"{signs.states[DubState.UNKNOWN]} {HOLD_WORDS[WaitReason.CLAIMED]}",
        "another batch is at it: enter says whose",
    )
    return [*shown, held, claimed, *file]


HOLD_WORDS: Final = {WaitReason.ALREADY_PAID: "paid", WaitReason.CLAIMED: "taken"}
"""As `STATE_WORDS`, for a held dub, which continues only if the user agrees."""


def displayed_state(dub: Dub) -> DubState:
    """The state whose sign and colour a dub shows. A held dub shows `UNKNOWN`, since it needs a decision too."""
    return DubState.UNKNOWN if dub.hold is not None else dub.state


WIDE_CELL_WIDTH: Final = 8
COMPACT_CELL_WIDTH: Final = 6
"""Columns of the terminal that a cell takes with its gap."""


def dub_text(dub: Dub, transfer: Transfer | None, now: float, signs: Signs, *, compact: bool, marked: bool) -> str:
    """The text of a cell, `WIDE_CELL_WIDTH` or `COMPACT_CELL_WIDTH` columns wide. `now` is in epoch seconds."""
    sign = signs.states[displayed_state(dub)]
    if dub.hold is not None:
        said = HOLD_WORDS.get(dub.hold.reason, STATE_WORDS[DubState.UNKNOWN])
    elif dub.state is DubState.DUBBING:
        said = format_elapsed(now - (dub.submitted or dub.since))
    elif dub.state is DubState.DOWNLOADING:
        said = f"{transfer_percent(transfer)}%" if transfer is not None and transfer.total else signs.ellipsis
    else:
        said = STATE_WORDS[dub.state]
    mark = signs.mark if marked else " "
    if not compact:
        return f"{mark}{sign} {said:<4} "
    if dub.state not in (DubState.DUBBING, DubState.DOWNLOADING):
        said = ""
    return f"{mark}{sign}{said:<4}"


def format_elapsed(seconds: float) -> str:
    """A duration in at most four characters."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 36000:
        return f"{whole // 3600}h{whole % 3600 // 60:02}"
    return f"{whole // 3600}h" if whole < 360000 else f"{min(whole // 86400, 999)}d"


def file_text(job: Job, name: str, upload: Transfer | None, width: int, signs: Signs, *, marked: bool) -> str:
    """The text of the file column, exactly `width` cells wide: the name and, until the service has the file, the stage."""
    stage = stage_text(job, upload, signs)
    room = width - 2 - (len(stage) + 1 if stage else 0)
    if room < 6:
        stage, room = "", width - 2
    mark = signs.mark if marked else " "
    shown = fit_middle(make_printable(name, 4096), max(0, room), signs)
    return set_cell_size(f"{mark}{shown}{' ' + stage if stage else ''}", width)


def stage_text(job: Job, upload: Transfer | None, signs: Signs) -> str:
    """The stage of a source on its way to the service, in few characters; empty once it is there."""
    match job.stage:
        case Stage.PREPARING:
            return "prep"
        case Stage.UPLOADING:
            known = upload is not None and upload.total > 0
            return f"{signs.upload}{transfer_percent(upload):>3}%" if known and upload is not None else f"{signs.upload}   "
        case Stage.PROCESSING:
            return "proc"
        case _:
            return ""


def fit_middle(text: str, width: int, signs: Signs) -> str:
    """Text of exactly `width` cells. A long text keeps its beginning and its end, since names differ in both."""
    length = cell_len(text)
    if length <= width:
        return text + " " * (width - length)
    if width < 8:
        return set_cell_size(text, width)
    tail = width // 3
    end = ""
    for char in reversed(text):
        if cell_len(char + end) > tail:
            break
        end = char + end
    return set_cell_size(text, width - cell_len(end) - 1) + signs.ellipsis + end


def header_lines(code: str, totals: DubTotals, width: int, height: int, signs: Signs) -> list[str]:
    """A column's header in at most `height` lines: its code, the dubs that are done, and those that need the user."""
    done = totals[DubState.DONE]
    indent = " " if width >= WIDE_CELL_WIDTH else ""
    lines = [f"{indent}{code}", f"{indent}{format_count(done)}/{format_count(totals.dubs)}"]
    failed, unknown = totals[DubState.FAILED], totals[DubState.UNKNOWN]
    trouble = f"{indent}{signs.states[DubState.FAILED]}{format_count(failed)}" if failed else ""
    trouble += f"{' ' if failed else indent}{signs.states[DubState.UNKNOWN]}{format_count(unknown)}" if unknown else ""
    lines.append(trouble)
    return [set_cell_size(line[: width - 1], width) for line in lines[:height]]


def format_count(number: int) -> str:
    """A count in few characters: from 1,000 on, in thousands."""
    return str(number) if number < 1000 else f"{number // 1000}k"


def format_size(amount: float) -> str:
    """Bytes in decimal units, for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def format_duration(seconds: float) -> str:
    """A duration for people."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s" if whole < 600 else f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def format_minutes(seconds: float) -> str:
    """As `format_duration`, but without seconds: a text that is always visible should not change every second."""
    return f"{int(seconds) // 60} min" if seconds < 3600 else format_duration(seconds)
