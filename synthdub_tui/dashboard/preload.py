"""Loads modules that the first frame does not need, soon after it.

So keys respond at once, and a dashboard that is open while synthdub is upgraded does not mix two versions.
"""

from __future__ import annotations

import importlib
import threading
from typing import Final

PRELOADED_MODULES: Final = (
    *(
        f"synthdub_tui.dashboard.screens.{name}"
        for name in "add_files add_languages captions confirm clipboard_dialog help log outputs quit setup_key".split()
    ),
    "tomli_w",
)


def preload_in_background() -> None:
    """Import everything in a thread, since reading it may take long on a slow disk."""
    threading.Thread(target=_load, name="dashboard-later", daemon=True).start()


def _load() -> None:
    for name in PRELOADED_MODULES:
        importlib.import_module(name)
