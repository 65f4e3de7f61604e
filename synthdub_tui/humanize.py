"""Numbers in words for people, the same in commands and dashboard."""

from __future__ import annotations


def many(number: int, one: str, more: str = "") -> str:
    """`1 file`, `2 files`, `0 files`."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"
