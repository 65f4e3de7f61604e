"""`synthdub run`, and the runner that dashboards start in the background."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from synthdub_tui.runner import headless
from synthdub_tui.runner.report import Reporter
from synthdub_tui.settings import Settings, resolve


def run(settings: Settings, paths: list[str], flags: Mapping[str, Any]) -> int:
    """All the work that is there, in the foreground."""
    reporter = Reporter(as_json=bool(flags.get("json")))
    return asyncio.run(headless.run(settings, paths, reporter, _key_reader(flags)))


def serve(settings: Settings, flags: Mapping[str, Any]) -> int:
    """A runner for dashboards."""
    return asyncio.run(headless.serve(settings, _key_reader(flags)))


def _key_reader(flags: Mapping[str, Any]) -> headless.ReadKey:
    """Reads the key anew: the user may have stored one since the start."""
    return lambda: resolve(flags, os.environ).api_key
