"""Sizes, durations and ages in a few characters, and text cut or wrapped to terminal cells."""

from __future__ import annotations

from itertools import pairwise

from rich._wrap import divide_line
from rich.cells import cell_len, set_cell_size
from rich.text import Text

Span = tuple[str, str]
"""Text and the role in which it is drawn: "", faint, strong, key, label, good, warn or bad."""

Line = tuple[Span, ...]


MIN_HANGING_CELLS = 20
"""Least cells next to a label for wrapped text to stay there; else it continues at the left edge."""


def format_size(number: int) -> str:
    """Bytes in decimal units: `999 B`, `4.5 GB`."""
    if number < 1000:
        return f"{number} B"
    scaled = float(number)
    for unit in ("kB", "MB", "GB"):
        scaled /= 1000
        if scaled < 999.5:
            return f"{scaled:.0f} {unit}" if scaled >= 99.5 else f"{scaled:.1f} {unit}"
    return f"{scaled / 1000:.1f} TB"


def format_playing_time(seconds: float) -> str:
    """Playing time as `4:05` or `1:02:03`; a dash if it is not known."""
    if seconds <= 0:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Exactly `width` cells: cut with an ellipsis, or padded. `right` aligns at the right edge."""
    if width <= 0:
        return ""
    cells = cell_len(text)
    if cells > width:
        cut = set_cell_size(text, width - 1).rstrip() + "…"
        return cut + " " * (width - cell_len(cut))
    return " " * (width - cells) + text if right else text + " " * (width - cells)


def fit_end(text: str, width: int) -> str:
    """At most `width` cells. Keeps the end, which suits paths."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) >= width:
        text = text[1:]
    return "…" + text


def wrap(line: Line, width: int) -> list[Line]:
    """A line broken into lines of at most `width` cells, roles kept; broken words continue on the next line.

    Text after a label stays next to it, also on the following lines, if there is room (`MIN_HANGING_CELLS`).
    """
    if len(line) > 1 and line[0][1] == "label":
        indent = cell_len(line[0][0])
        if width - indent >= MIN_HANGING_CELLS:
            first, *more = wrap(line[1:], width - indent)
            return [(line[0], *first), *(((" " * indent, ""), *part) for part in more)]
    text = "".join(span for span, _ in line)
    if width <= 0 or cell_len(text) <= width:
        return [line]
    breaks = [0, *divide_line(text, width), len(text)]
    return [_slice_line(line, start, end) for start, end in pairwise(breaks)]


def wrap_to_lines(text: str, width: int, max_lines: int) -> list[str]:
    """Text in at most `most` lines; an ellipsis replaces the rest."""
    lines = ["".join(part for part, _ in line).rstrip() for line in wrap(((text, ""),), width)]
    return lines if len(lines) <= max_lines else [*lines[: max_lines - 1], fit(" ".join(lines[max_lines - 1 :]), width)]


def _slice_line(line: Line, start: int, end: int) -> Line:
    """The spans between two offsets of the whole text."""
    cut: list[Span] = []
    offset = 0
    for text, role in line:
        part = text[max(0, start - offset) : max(0, end - offset)]
        if part:
            cut.append((part, role))
        offset += len(text)
    return tuple(cut)


def key_hints_text(pairs: list[tuple[str, str]], width: int) -> Text:
    """Keys and their descriptions, as many as fit, the most important first."""
    text = Text(no_wrap=True, end="")
    for key, word in pairs:
        gap = "  " if text else ""
        if text.cell_len + cell_len(f"{gap}{key} {word}") > width:
            break
        text.append(gap).append(key, "bold").append(f" {word}")
    return text
