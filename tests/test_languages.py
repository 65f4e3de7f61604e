"""The codes, their names, and what a mistyped one may have meant."""

from __future__ import annotations

import pytest

from synthdub_tui.languages import AUTO, INPUT, OUTPUT, canonical, name, nearest, same


def test_the_codes_of_the_api() -> None:
    """Counted in the vendor's OpenAPI file (2026-04)."""
    assert (len(INPUT), len(OUTPUT)) == (169, 158)
    assert len(set(INPUT)) == len(INPUT)
    assert len(set(OUTPUT)) == len(OUTPUT)
    assert AUTO not in INPUT
    assert {"en", "fr-FR", "es-ES", "de-DE", "ja", "pt-BR"} <= set(OUTPUT)


@pytest.mark.parametrize("code", sorted({*INPUT, *OUTPUT}))
def test_every_code_has_a_name(code: str) -> None:
    shown = name(code)
    assert shown != code
    assert shown.isprintable()
    assert ("(" in shown) == ("-" in code)


def test_names_tell_codes_apart() -> None:
    assert name("fr-CA") == "French (Canada)"
    assert name("xx") == "xx"
    assert name("fr-XX") == "French (XX)"
    assert len({name(code) for code in OUTPUT}) == len(OUTPUT)


@pytest.mark.parametrize(("typed", "code"), [("fr-FR", "fr-FR"), ("FR_fr", "fr-FR"), (" zh-cn ", "zh-CN"), ("FIL", "fil")])
def test_codes_are_taken_in_any_spelling(typed: str, code: str) -> None:
    assert canonical(typed) == code
    assert same(typed.strip(), code)


@pytest.mark.parametrize("typed", ["", "xx", "french", "fr-XX", "fr FR", "auto", "ht"])
def test_what_is_no_output_language(typed: str) -> None:
    assert canonical(typed) is None


def test_input_languages_are_not_output_languages() -> None:
    assert canonical("ht", INPUT) == "ht"


@pytest.mark.parametrize(
    ("typed", "first"),
    [("french", "fr"), ("fr-XX", "fr"), ("German", "de"), ("enUS", "en-US"), ("pt-br", "pt-BR"), ("span", "es")],
)
def test_the_nearest_codes(typed: str, first: str) -> None:
    found = nearest(typed)
    assert first in found
    assert len(found) <= 5
    assert set(found) <= set(OUTPUT)


@pytest.mark.parametrize("typed", ["", "\x1b[31m", "x" * 1000, "%%%"])
def test_nonsense_has_no_near_code_or_a_harmless_one(typed: str) -> None:
    assert set(nearest(typed)) <= set(OUTPUT)
