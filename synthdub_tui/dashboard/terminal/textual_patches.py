"""Corrections of Textual's bugs that affect the dashboard, until a release of Textual fixes them."""

from __future__ import annotations

from typing import Any

from textual._styles_cache import StylesCache


def patch_styles_cache_leak() -> None:
    """Textual 8.2 keeps all drawn lines of the last thousand widgets after they are closed: a cache by two colours has the
    widget's `StylesCache` in its key as well (Textualize/textual#6665). As a class method, it has the class instead."""
    cached: Any = vars(StylesCache).get("get_inner_outer")
    if hasattr(cached, "cache_info"):
        StylesCache.get_inner_outer = classmethod(cached)  # type: ignore[assignment, method-assign]
