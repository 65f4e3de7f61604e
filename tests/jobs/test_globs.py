"""Patterns of --exclude."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthdub_tui.jobs.globs import Glob


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("drafts", "drafts", True),
        ("drafts", "course/week 1/drafts", True),
        ("drafts", "drafts 2", False),
        ("Drafts", "drafts", False),
        ("*.mov", "a.mov", True),
        ("*.mov", "course/a.mov", True),
        ("course/*.mov", "course/a.mov", True),
        ("course/*.mov", "course/week 1/a.mov", False),
        ("course/*.mov", "old/course/a.mov", False),
        ("course/**/*.mov", "course/a.mov", True),
        ("course/**/*.mov", "course/1/2/a.mov", True),
        ("**/raw/*", "a/raw/b.mp4", True),
        ("/raw", "raw", True),
        ("/raw", "a/raw", False),
        ("./raw", "raw", True),
        ("take ?.mp4", "take 1.mp4", True),
        ("take [!12].mp4", "take 3.mp4", True),
        ("take [!12].mp4", "take 1.mp4", False),
        ("**", "a/b", True),
        ("a**", "a/b", False),
    ],
)
def test_what_a_pattern_means(pattern: str, path: str, meant: bool) -> None:
    assert Glob(pattern).matches(path.split("/"), folder=False) is meant


def test_a_slash_at_the_end_means_folders_only() -> None:
    assert Glob("raw/").matches(["a", "raw"], folder=True)
    assert not Glob("raw/").matches(["a", "raw"], folder=False)


@pytest.mark.parametrize("pattern", ["", "/", "//", ".", "./", "../lib", "a/../b"])
def test_a_pattern_that_can_match_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="it "):
        Glob(pattern)


def reference_match(parts: Sequence[str], path: Sequence[str]) -> bool:
    """The same, said as plainly as can be."""
    if not parts:
        return not path
    if parts[0] == "**":
        return any(reference_match(parts[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], parts[0]) and reference_match(parts[1:], path[1:])


NAMES = st.text("abAB.", min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
PARTS = st.one_of(NAMES, st.sampled_from(["*", "**", "?", "a*", "*b", "[ab]*", "[!a]", "***"]))


@given(st.lists(PARTS, min_size=2, max_size=5), st.lists(NAMES, min_size=1, max_size=5))
def test_patterns_mean_what_the_plain_definition_says(parts: list[str], path: list[str]) -> None:
    assert Glob("/".join(parts)).matches(path, folder=False) is reference_match(parts, path)


@given(PARTS, st.lists(NAMES, min_size=1, max_size=5))
def test_a_pattern_without_a_slash_is_about_the_last_name(part: str, path: list[str]) -> None:
    assert Glob(part).matches(path, folder=False) is (part == "**" or fnmatchcase(path[-1], part))
