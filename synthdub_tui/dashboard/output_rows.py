"""The rows of the outputs screen: how they are built, filtered and sorted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from synthdub_tui.errors import SynthdubError
from synthdub_tui.jobs.model import DubState, Job, Output
from synthdub_tui.text import make_printable

OutputKey = tuple[str, str]
"""Job id and language, which identify an output."""


class OutputRow(msgspec.Struct, frozen=True, gc=False):
    """A finished file, as recorded in the batch. Most values are read from `output` on demand: there may be 200,000 rows."""

    job: str
    name: str
    language: str
    finished_at: float  # epoch seconds
    output: Output
    reviewed: bool

    @property
    def key(self) -> OutputKey:
        return self.job, self.language

    @property
    def path(self) -> str:
        return self.output.path

    @property
    def captions(self) -> tuple[str, ...]:
        return self.output.captions

    @property
    def size(self) -> int:
        return self.output.size

    @property
    def mtime_ns(self) -> int:
        return self.output.mtime_ns

    @property
    def playing_seconds(self) -> float:
        """Playing time."""
        return self.output.seconds


def finished_outputs(jobs: Iterable[Job], display_name: Callable[[Job], str]) -> list[OutputRow]:
    """A row for every finished file. `display_name` returns the shown name of its source."""
    rows = []
    for job in jobs:
        name = display_name(job)
        for code, dub in job.dubs.items():
            if dub.output is not None and dub.state is DubState.DONE:
                rows.append(OutputRow(job.id, name, code, dub.since, dub.output, dub.output.reviewed))
    return rows


class OutputFilterError(SynthdubError, ValueError):
    """The filter cannot be parsed. The text lists the allowed words."""


class OutputFilter(NamedTuple):
    """A filter, read from text."""

    tests: tuple[Callable[[OutputRow, str], bool], ...] = ()
    sort: str = ""  # key of `SORT_KEYS` from the text, with - for the reverse order; empty if none


SORT_KEYS: Final[dict[str, Callable[[OutputRow], Any]]] = {
    "newest": lambda row: -row.finished_at,
    "name": lambda row: (row.name.casefold(), row.language),
    "language": lambda row: (row.language, row.name.casefold()),
    "size": lambda row: -row.size,
    "length": lambda row: -row.playing_seconds,
    "reviewed": lambda row: (row.reviewed, -row.finished_at),
}

_STATES: Final = ("ok", "moved", "changed", "unread")
_USAGE: Final = "Use words, name:, lang:, reviewed:yes, state:moved, sort:size."


def parse_output_filter(text: str) -> OutputFilter:
    """Parse words that must all match: `intro lang:fr reviewed:no state:moved sort:-size`. Raises `OutputFilterError`."""
    tests: list[Callable[[OutputRow, str], bool]] = []
    sort = ""
    for word in text.split():
        field, colon, value = word.partition(":")
        if not colon:
            tests.append(_contains(word))
        elif field == "sort":
            sort = _choice(value, [*SORT_KEYS, *(f"-{name}" for name in SORT_KEYS)], word)
        elif value:  # a word being typed, `lang:`, does not filter yet
            tests.append(_test(field, value, word))
    return OutputFilter(tuple(tests), sort)


def filter_and_sort(
    rows: Iterable[OutputRow], query: OutputFilter, sort: str, states: Mapping[OutputKey, str]
) -> list[OutputRow]:
    """The rows that match, sorted. An order in the query takes precedence over `sort`."""
    found = [row for row in rows if all(test(row, states.get(row.key, "")) for test in query.tests)]
    order = query.sort or sort
    found.sort(key=SORT_KEYS[order.lstrip("-")], reverse=order.startswith("-"))
    return found


def _test(field: str, value: str, word: str) -> Callable[[OutputRow, str], bool]:
    needle = value.casefold()
    match field:
        case "name":
            return lambda row, state: needle in row.name.casefold()
        case "lang" | "language":
            wanted = needle.replace("_", "-")
            return lambda row, state: row.language.lower() == wanted or row.language.lower().startswith(wanted + "-")
        case "reviewed":
            yes = _choice(needle, ["yes", "no"], word) == "yes"
            return lambda row, state: row.reviewed is yes
        case "state":
            kind = _choice(needle, list(_STATES), word)
            return lambda row, state: state == ("" if kind == "ok" else kind)
    raise OutputFilterError(f"Unknown: {make_printable(field, 20)}:. {_USAGE}")


def _contains(word: str) -> Callable[[OutputRow, str], bool]:
    needle = word.casefold()
    return lambda row, state: needle in row.name.casefold() or needle in row.language.lower()


def _choice(value: str, choices: list[str], word: str) -> str:
    """The first choice that starts with the value, which may be empty. Raises `OutputFilterError` if there is none."""
    for known in choices:
        if known.startswith(value):
            return known
    raise OutputFilterError(f"“{make_printable(word, 20)}”: one of {', '.join(known for known in choices if known[0] != '-')}.")
