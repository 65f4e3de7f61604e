"""The codes, their names, and what a mistyped one may have meant."""

from __future__ import annotations

import pytest

from synthdub_tui.languages import (
    AUTO_DETECT,
    INPUT_CODES,
    OUTPUT_CODES,
    canonical_code,
    language_name,
    nearest_codes,
    same_code,
)


def test_the_codes_of_the_api() -> None:
    """Counted in the vendor's OpenAPI file (2026-04)."""
    assert (len(INPUT_CODES), len(OUTPUT_CODES)) == (169, 158)
    assert len(set(INPUT_CODES)) == len(INPUT_CODES)
    assert len(set(OUTPUT_CODES)) == len(OUTPUT_CODES)
    assert AUTO_DETECT not in INPUT_CODES
    assert {"en", "fr-FR", "es-ES", "de-DE", "ja", "pt-BR"} <= set(OUTPUT_CODES)


@pytest.mark.parametrize("code", sorted({*INPUT_CODES, *OUTPUT_CODES}))
def test_every_code_has_a_name(code: str) -> None:
    shown = language_name(code)
    assert shown != code
    assert shown.isprintable()
    assert ("(" in shown) == ("-" in code)


def test_names_tell_codes_apart() -> None:
    assert language_name("fr-CA") == "French (Canada)"
    assert language_name("xx") == "xx"
    assert language_name("fr-XX") == "French (XX)"
    assert len({language_name(code) for code in OUTPUT_CODES}) == len(OUTPUT_CODES)


@pytest.mark.parametrize(("typed", "code"), [("fr-FR", "fr-FR"), ("FR_fr", "fr-FR"), (" zh-cn ", "zh-CN"), ("FIL", "fil")])
def test_codes_are_taken_in_any_spelling(typed: str, code: str) -> None:
    assert canonical_code(typed) == code
    assert same_code(typed.strip(), code)


@pytest.mark.parametrize("typed", ["", "xx", "french", "fr-XX", "fr FR", "auto", "ht"])
def test_unknown_codes_are_no_output_language(typed: str) -> None:
    assert canonical_code(typed) is None


def test_input_languages_are_not_output_languages() -> None:
    assert canonical_code("ht", INPUT_CODES) == "ht"


@pytest.mark.parametrize(
    ("typed", "first"),
    [("french", "fr"), ("fr-XX", "fr"), ("German", "de"), ("enUS", "en-US"), ("pt-br", "pt-BR"), ("span", "es")],
)
def test_the_nearest_codes(typed: str, first: str) -> None:
    found = nearest_codes(typed)
    assert first in found
    assert len(found) <= 5
    assert set(found) <= set(OUTPUT_CODES)


@pytest.mark.parametrize("typed", ["", "\x1b[31m", "x" * 1000, "%%%"])
def test_nonsense_has_no_near_code_or_a_harmless_one(typed: str) -> None:
    assert set(nearest_codes(typed)) <= set(OUTPUT_CODES)
