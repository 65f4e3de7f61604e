"""The filter language for dubs: parses a filter and says which rows it shows. Pure.

A filter consists of words: `state:failed lang:fr,es -name:draft intro`. A row is shown if one of its dubs meets all words.
Values after commas are alternatives, a leading `-` negates a word, and a word without a colon is a name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from synthdub_tui.errors import SynthdubError
from synthdub_tui.jobs.model import OPEN_STATES, Dub, DubState, Job, Stage

STATE_WORDS: Final[dict[str, frozenset[DubState]]] = {
    **{state.value: frozenset({state}) for state in DubState},
    "open": OPEN_STATES,
    "ended": frozenset(DubState) - OPEN_STATES,
    "trouble": frozenset({DubState.FAILED, DubState.UNKNOWN}),
}
"""Words that may follow `state:`. The beginning of a word means all words that begin so."""

STAGE_WORDS: Final = tuple(stage.value for stage in Stage)

YES_NO: Final = ("yes", "no")

FILTER_KEYS: Final[dict[str, str]] = {
    "state": "state of a dub: " + ", ".join(STATE_WORDS),
    "lang": "language code, for instance fr or fr-CA",
    "name": "part of the file's name",
    "path": "part of the file's path",
    "reason": "part of the code of a problem, for instance moderation",
    "stage": "stage of a file: " + ", ".join(STAGE_WORDS),
    "reviewed": "yes or no",
}
"""The words of the filter language and their values; also the help about it."""

_DUB_KEYS: Final = frozenset({"state", "lang", "reason", "reviewed"})

_WORD = re.compile(r'(?P<not>-?)(?:(?P<key>[a-zA-Z]+):)?(?P<value>(?:"[^"]*"|[^\s"])*)')


class FilterError(SynthdubError, ValueError):
    """A filter that cannot be understood: the reason, and its place in the text."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end


class FilterTerm(NamedTuple):
    """One word of a filter: `key` must match one of `values`, or none of them if `negated`."""

    key: str
    values: tuple[str, ...]
    negated: bool = False

    def __str__(self) -> str:
        sign = "-" if self.negated else ""
        return f"{sign}{self.key}:{','.join(map(_quoted, self.values))}"


class Filter(NamedTuple):
    """Words that must all match. An empty filter shows everything."""

    terms: tuple[FilterTerm, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def job_test(self) -> Callable[[Job], bool] | None:
        """Test of the words about files; None if there are none."""
        return _combine_job_tests(_JOB_TESTS[term.key](term) for term in self.terms if term.key not in _DUB_KEYS)

    def dub_test(self) -> Callable[[str, Dub], bool] | None:
        """Test of the words about dubs; None if there are none."""
        terms = [term for term in self.terms if term.key in _DUB_KEYS]
        terms.sort(key=lambda term: term.key != "lang")  # first the words that cost least and let few dubs through
        tests = [_DUB_TESTS[term.key](term) for term in terms]
        return functools.reduce(_combine_dub_tests, tests) if tests else None

    def languages(self, among: Iterable[str]) -> list[str]:
        """The given codes that every `lang:` word lets through."""
        tests = [_language_test(term) for term in self.terms if term.key == "lang"]
        return [code for code in among if all(test(code) for test in tests)]

    def matches(self, job: Job, language: str) -> bool:
        """Whether one dub meets all words."""
        job_test, dub_test = self.job_test(), self.dub_test()
        return (job_test is None or job_test(job)) and (dub_test is None or dub_test(language, job.dubs[language]))


def parse_filter(text: str) -> Filter:
    """Parse a filter. Raises `FilterError` with the place of the first word that cannot be understood."""
    return Filter(tuple(_parse_term(*found) for found in _split_words(text)))


def complete_filter(text: str, languages: Iterable[str] = (), reasons: Iterable[str] = ()) -> list[str]:
    """Completions of the last word, as whole texts, best first."""
    head, last = _split_last(text)
    sign = "-" if last.startswith("-") else ""
    key, colon, value = last[len(sign) :].partition(":")
    if not colon:
        return [f"{head}{sign}{name}:" for name in FILTER_KEYS if key and name.startswith(key.lower())]
    known: dict[str, Iterable[str]] = {
        "state": STATE_WORDS,
        "lang": languages,
        "reason": reasons,
        "stage": STAGE_WORDS,
        "reviewed": YES_NO,
    }
    first, comma, part = value.rpartition(",")
    begin = f"{head}{sign}{key}:{first}{comma}"
    return [begin + v for v in known.get(key.lower(), ()) if v.lower().startswith(part.lower()) and v != part]


def _split_words(text: str) -> Iterator[tuple[re.Match[str], int]]:
    """The words of a text, each with its position."""
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        found = _WORD.match(text, place)
        if found is None or found.end() == place:
            raise FilterError("a quotation mark is not closed", place, len(text))
        if found.end() < len(text) and text[found.end()] == '"':
            raise FilterError("a quotation mark is not closed", found.end(), len(text))
        yield found, place
        place = found.end()


def _parse_term(found: re.Match[str], place: int) -> FilterTerm:
    key = (found["key"] or "name").lower()
    end = found.end()
    if key not in FILTER_KEYS:
        raise FilterError(f"“{key}:” is not known; there are {', '.join(f'{name}:' for name in FILTER_KEYS)}", place, end)
    values = tuple(value.lower() for value in _values(found["value"]) if value)
    if not values:
        raise FilterError(f"“{found[0]}” says nothing yet; {key}: takes {FILTER_KEYS[key]}", place, end)
    for value in values:
        _check_value(key, value, place, end)
    return FilterTerm(key, values, bool(found["not"]))


def _check_value(key: str, value: str, place: int, end: int) -> None:
    known: Mapping[str, Iterable[str]] = {"state": STATE_WORDS, "stage": STAGE_WORDS, "reviewed": YES_NO}
    if key in known and not any(word.startswith(value) for word in known[key]):
        raise FilterError(f"“{value}” is no {key}; there are {', '.join(known[key])}", place, end)
    if key == "lang" and not re.fullmatch(r"[a-z]{2,3}([-_][a-z]{0,2})?|[a-z]", value):
        raise FilterError(f"“{value}” is no language code; they look like fr or fr-CA", place, end)


def _values(text: str) -> list[str]:
    """The alternatives of a word. Quotation marks keep commas and spaces."""
    parts = re.findall(r'((?:"[^"]*"|[^,"])+)', text)
    return [part.replace('"', "") for part in parts]


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"[\s,]", value) else value


def _split_last(text: str) -> tuple[str, str]:
    """The text before the last word, and that word; it is empty while a quotation is open."""
    if text.count('"') % 2:
        return text, ""
    head, space, last = text.rpartition(" ")
    return head + space, last


# -- tests of a word -------------------------------------------------------------------------------------------------


def _combine_job_tests(tests: Iterable[Callable[[Job], bool]]) -> Callable[[Job], bool] | None:
    found = list(tests)
    if not found:
        return None
    return found[0] if len(found) == 1 else lambda job: all(test(job) for test in found)


def _combine_dub_tests(first: Callable[[str, Dub], bool], second: Callable[[str, Dub], bool]) -> Callable[[str, Dub], bool]:
    return lambda language, dub: first(language, dub) and second(language, dub)


def _text_test(term: FilterTerm, text: Callable[[Job], str]) -> Callable[[Job], bool]:
    def test(job: Job) -> bool:
        within = text(job).lower()
        return any(value in within for value in term.values) is not term.negated

    return test


def _stage_test(term: FilterTerm) -> Callable[[Job], bool]:
    wanted = {stage for stage in STAGE_WORDS if any(stage.startswith(value) for value in term.values)}
    return lambda job: (job.stage.value in wanted) is not term.negated


def _state_test(term: FilterTerm) -> Callable[[str, Dub], bool]:
    words = [word for word in STATE_WORDS if any(word.startswith(value) for value in term.values)]
    exact = [word for word in words if word in term.values]
    wanted = frozenset().union(*(STATE_WORDS[word] for word in exact or words))
    if term.negated:
        wanted = frozenset(DubState) - wanted
    return lambda _, dub: dub.state in wanted


def _language_test(term: FilterTerm) -> Callable[[str], bool]:
    values = [value.replace("_", "-") for value in term.values]

    def one(code: str, value: str) -> bool:
        """`fi` matches fi with any region, but not fil (Filipino). With a region, or as one letter, it is a beginning."""
        return code.startswith(value) if "-" in value or len(value) == 1 else code.partition("-")[0] == value

    known: dict[str, bool] = {}

    def test(code: str) -> bool:
        if code not in known:
            known[code] = any(one(code.lower(), value) for value in values) is not term.negated
        return known[code]

    return test


def _dub_language_test(term: FilterTerm) -> Callable[[str, Dub], bool]:
    test = _language_test(term)
    return lambda language, _: test(language)


def _reason_test(term: FilterTerm) -> Callable[[str, Dub], bool]:
    def test(_: str, dub: Dub) -> bool:
        if dub.failure is None:
            return term.negated
        code = dub.failure.code.lower()
        return any(value in code for value in term.values) is not term.negated

    return test


def _reviewed_test(term: FilterTerm) -> Callable[[str, Dub], bool]:
    wanted = {"yes".startswith(value) for value in term.values}
    if term.negated:
        wanted = {True, False} - wanted
    return lambda _, dub: dub.output is not None and dub.state is DubState.DONE and dub.output.reviewed in wanted


_JOB_TESTS: Final[dict[str, Callable[[FilterTerm], Callable[[Job], bool]]]] = {
    "name": lambda term: _text_test(term, lambda job: job.name),
    "path": lambda term: _text_test(term, lambda job: job.source.path),
    "stage": _stage_test,
}

_DUB_TESTS: Final[dict[str, Callable[[FilterTerm], Callable[[str, Dub], bool]]]] = {
    "state": _state_test,
    "lang": _dub_language_test,
    "reason": _reason_test,
    "reviewed": _reviewed_test,
}

# -- orders ----------------------------------------------------------------------------------------------------------


# -- marks -----------------------------------------------------------------------------------------------------------
