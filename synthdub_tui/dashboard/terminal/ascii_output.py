"""Output for terminals that show no Unicode: each character is replaced by an ASCII one of the same width."""

from __future__ import annotations

import codecs
import sys
from typing import Final

from rich.cells import cell_len

_ASCII_SUBSTITUTES: Final = str.maketrans(
    dict.fromkeys("─▔▁▂▃╌", "-")
    | dict.fromkeys("━▄▅▆▇", "=")
    | dict.fromkeys("│┃▌▐▊▎▏▕", "|")
    | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰", "+")
    | {"█": "#", "→": ">", "←": "<", "↑": "^", "↓": "v", "…": "~", "–": "-", "—": "-", "·": ".", "•": "o"}
    | {"“": '"', "”": '"', "’": "'", "✓": "+", "✗": "X", "○": "o"}
)


def use_ascii_output() -> None:
    """From now on, write only ASCII. Replacements are as wide as the characters that they replace."""
    codecs.register_error("synthdub-plain", _encode_as_ascii)
    sys.__stderr__.reconfigure(encoding="ascii", errors="synthdub-plain")  # type: ignore[union-attr]


def _encode_as_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_ASCII_SUBSTITUTES)
    return "".join(char if char.isascii() else "?" * cell_len(char) for char in text), error.end
