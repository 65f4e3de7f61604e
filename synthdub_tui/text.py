"""What is safe to print: outside text in one line, without anything that steers a terminal."""

from __future__ import annotations

from typing import Final

ZERO_WIDTH_JOINERS: Final = "\u200c\u200d"
"""Zero-width non-joiner, which keeps letters apart, and zero-width joiner, which connects them."""


def make_printable(text: str, max_characters: int = 400) -> str:
    """Outside text in one line of at most `max_characters` characters, without controls, escapes and bidi overrides for a
    terminal.

    Unprintable characters become U+FFFD. Joiners and non-joiners within Persian or Hindi words or emoji families are dropped,
    since terminals disagree about their width. Elsewhere they could only make two names look alike, so they become U+FFFD too.
    """
    cut = text if len(text) <= max_characters else text[: max_characters - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(_printable_char(before, char) for before, char in zip(" " + cut, cut, strict=False))


def can_precede_joiner(char: str) -> bool:
    """Whether a zero-width joiner or non-joiner may follow: only letters and marks of scripts other than ASCII, and symbols."""
    if char.isascii():  # or empty
        return False
    from unicodedata import category  # noqa: PLC0415 - few names need it

    return category(char)[0] in "LM" or category(char) in ("So", "Sk")


def _printable_char(before: str, char: str) -> str:
    if char.isprintable():
        return char
    return "" if char in ZERO_WIDTH_JOINERS and can_precede_joiner(before) else "\N{REPLACEMENT CHARACTER}"


def json_text(value: object, indent: int | None = None) -> str:
    """Returns JSON without terminal control characters, which file names may contain, since it may be printed on a terminal."""
    import json  # noqa: PLC0415 - costs start-up time

    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")
