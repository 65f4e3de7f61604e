"""The filter language, orders and marks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from synthdub_tui.jobs.filters import FILTER_KEYS, Filter, FilterError, FilterTerm, complete_filter, parse_filter
from synthdub_tui.jobs.model import Dub, DubState, Failure, FailureScope, Job, JobOptions, Output, Source
from synthdub_tui.jobs.selection import Marks
from synthdub_tui.jobs.sorting import SORT_KEYS
from synthdub_tui.jobs.transitions.creation import new_job


def make_job(name: str = "Intro 2.mp4", size: int = 10, added: float = 1.0, **dubs: Dub) -> Job:
    made = new_job(Source(f"/videos/course/{name}", size, 0, "video/mp4"), JobOptions(name), [], now=added)
    return replace(made, dubs={code.replace("_", "-"): dub for code, dub in dubs.items()})


FAILED_DUB = Dub(DubState.FAILED, 1.0, failure=Failure("processing_error", FailureScope.LANGUAGE, 1.0))
DONE_DUB = Dub(DubState.DONE, 1.0, output=Output.of("/o", 1, 1, reviewed=True))
WAITING_DUB = Dub(DubState.WAITING, 1.0)
UNKNOWN_DUB = Dub(DubState.UNKNOWN, 1.0)
MIXED_JOB = make_job(fr_FR=FAILED_DUB, fr_CA=DONE_DUB, fil=WAITING_DUB, es=UNKNOWN_DUB)


def matching_languages(text: str, of: Job = MIXED_JOB) -> set[str]:
    wanted = parse_filter(text)
    return {code for code in of.dubs if wanted.matches(of, code)}


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("", {"fr-FR", "fr-CA", "fil", "es"}),
        ("state:failed", {"fr-FR"}),
        ("state:fa", {"fr-FR"}),
        ("state:trouble", {"fr-FR", "es"}),
        ("state:open", {"fil"}),
        ("state:d", {"fr-CA"}),  # done, downloading, dubbing
        ("-state:open", {"fr-FR", "fr-CA", "es"}),
        ("state:failed,waiting", {"fr-FR", "fil"}),
        ("lang:fr", {"fr-FR", "fr-CA"}),
        ("lang:FR-c", {"fr-CA"}),
        ("lang:fr_ca", {"fr-CA"}),
        ("lang:fi", set()),  # Finnish, not Filipino
        ("-lang:fr", {"fil", "es"}),
        ("lang:f", {"fr-FR", "fr-CA", "fil"}),
        ("state:failed lang:fr name:intro", {"fr-FR"}),
        ("INTRO", {"fr-FR", "fr-CA", "fil", "es"}),
        ('"intro 2"', {"fr-FR", "fr-CA", "fil", "es"}),
        ("-intro", set()),
        ("outro", set()),
        ("path:course", {"fr-FR", "fr-CA", "fil", "es"}),
        ("reason:processing", {"fr-FR"}),
        ("-reason:processing", {"fr-CA", "fil", "es"}),
        ("reviewed:yes", {"fr-CA"}),
        ("reviewed:no", set()),
        ("stage:queued", {"fr-FR", "fr-CA", "fil", "es"}),
    ],
)
def test_a_filter_means(text: str, codes: set[str]) -> None:
    assert matching_languages(text) == codes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("state:broken", "no state; there are waiting"),
        ("colour:red", "“colour:” is not known; there are state:"),
        ("lang:french", "no language code; they look like fr or fr-CA"),
        ("state:", "says nothing yet"),
        ('name:"intro', "quotation mark"),
        ("reviewed:maybe", "no reviewed"),
    ],
)
def test_a_wrong_filter_says_what_can_be_written_and_where(text: str, words: str) -> None:
    with pytest.raises(FilterError, match=words.replace("(", r"\(")) as caught:
        parse_filter(f"intro {text}")
    assert 6 <= caught.value.start < caught.value.end <= len(text) + 6


def test_languages_of_a_filter_are_the_columns_shown() -> None:
    assert parse_filter("lang:fr -lang:fr-CA state:done").languages(["fr-FR", "fr-CA", "es"]) == ["fr-FR"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("st", "state:"),
        ("state:fai", "state:failed"),
        ("name:x la", "name:x lang:"),
        ("lang:f", "lang:fr-FR"),
        ("lang:es,f", "lang:es,fr-FR"),
        ("-state:do", "-state:downloading"),
        ("reason:mod", "reason:moderation"),
    ],
)
def test_completion(text: str, first: str) -> None:
    assert complete_filter(text, ["fr-FR", "es"], ["moderation"])[0] == first


def test_nothing_to_complete() -> None:
    assert complete_filter("", ["fr"], []) == []
    assert complete_filter("name:abc", ["fr"], []) == []


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_an_explained_error(text: str) -> None:
    try:
        wanted = parse_filter(text)
    except FilterError as error:
        assert error.message
        assert 0 <= error.start <= error.end <= len(text)
    else:
        wanted.matches(MIXED_JOB, "fil")


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters='"'), min_size=1, max_size=8)
terms = st.one_of(
    st.builds(FilterTerm, st.sampled_from(["name", "path", "reason"]), st.tuples(words.map(str.lower)), st.booleans()),
    st.builds(FilterTerm, st.just("state"), st.sampled_from([("failed",), ("open", "done")]), st.booleans()),
    st.builds(FilterTerm, st.just("lang"), st.sampled_from([("fr",), ("fr-ca", "es")]), st.booleans()),
)


@given(st.lists(terms, max_size=4))
def test_a_filter_written_out_reads_the_same(parts: list[FilterTerm]) -> None:
    wanted = Filter(tuple(parts))
    again = parse_filter(str(wanted))
    for code in MIXED_JOB.dubs:
        assert again.matches(MIXED_JOB, code) == wanted.matches(MIXED_JOB, code)


@given(st.lists(terms, max_size=4))
def test_words_only_narrow(parts: list[FilterTerm]) -> None:
    one_by_one = [Filter((part,)) for part in parts]
    for code in MIXED_JOB.dubs:
        assert Filter(tuple(parts)).matches(MIXED_JOB, code) == all(each.matches(MIXED_JOB, code) for each in one_by_one)


def test_every_key_is_explained() -> None:
    assert all(FILTER_KEYS.values())


def test_orders() -> None:
    jobs = [
        make_job("part 10.mp4", size=5, added=1.0, fr=DONE_DUB),
        make_job("Part 2.mp4", size=7, added=2.0, fr=WAITING_DUB, es=DONE_DUB),
        make_job("part 1.mp4", size=9, added=3.0, fr=FAILED_DUB),
    ]
    names = {order: [each.name for each in sorted(jobs, key=key)] for order, key in SORT_KEYS.items()}
    assert names["name"] == ["part 1.mp4", "Part 2.mp4", "part 10.mp4"]
    assert names["added"] == ["part 10.mp4", "Part 2.mp4", "part 1.mp4"]
    assert names["size"] == ["part 1.mp4", "Part 2.mp4", "part 10.mp4"]
    assert names["state"] == ["part 1.mp4", "Part 2.mp4", "part 10.mp4"]  # failed before waiting before done
    assert names["progress"] == ["part 10.mp4", "Part 2.mp4", "part 1.mp4"]


@given(st.lists(st.text(max_size=6)))
def test_names_of_any_kind_can_be_ordered(names: list[str]) -> None:
    sorted((make_job(name.replace("/", "")) for name in names), key=SORT_KEYS["name"])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from(["toggle", "set", "clear"]))))
def test_marks_count_what_they_hold(steps: list[tuple[str, int, str]]) -> None:
    marks = Marks()
    for name, column, step in steps:
        if step == "toggle":
            before = marks.is_marked(name, column)
            marks.toggle(name, 1 << column)
            assert marks.is_marked(name, column) is not before
        elif step == "set":
            marks.set_columns(name, 1 << column)
            assert marks.columns_of(name) == 1 << column
        else:
            marks.clear()
        cells = list(marks.cells())
        assert marks.count == len(cells) == len(set(cells))
        assert bool(marks) is bool(cells)
