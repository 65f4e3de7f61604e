"""What Textual does wrong and we cannot do without, put right until a release of it does."""

from __future__ import annotations

from typing import Any

from textual._styles_cache import StylesCache


def let_closed_screens_go() -> None:
    """Textual 8.2 keeps what the last thousand widgets had drawn, all of its lines, after these are closed: a cache takes the
    widget's own for a part of the question, which is meant to be about two colours (Textualize/textual#6665)."""
    cached: Any = vars(StylesCache).get("get_inner_outer")
    if hasattr(cached, "cache_info"):
        StylesCache.get_inner_outer = classmethod(cached)  # type: ignore[assignment, method-assign]
