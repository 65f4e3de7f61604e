"""`synthdub` without a command: the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthdub_tui.problems import Trouble
from synthdub_tui.settings import Settings


def dashboard(settings: Settings, paths: list[str], flags: Mapping[str, Any]) -> int:
    """Not built yet."""
    raise Trouble("usage", "the dashboard is not part of this version yet; use `synthdub run`")
