"""Questions that a command asks at the terminal."""

from __future__ import annotations

from collections.abc import Callable


def ask_yes_no(question: str, read: Callable[[str], str]) -> bool:
    """Ask the question. The end of the input (ctrl+d) counts as no."""
    try:
        return read(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
