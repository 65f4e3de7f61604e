"""The dashboard's memory between two starts: `dashboard.toml` in the state directory. Losing it costs nothing."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Final

import msgspec

UI_STATE_FILE_NAME: Final = "dashboard.toml"


class UiState(msgspec.Struct, omit_defaults=True):
    """The user's choices, and the place of the cursor."""

    theme: str = ""
    filter: str = ""
    order: str = "added"
    job: str = ""  # under the cursor
    language: str = ""
    detail: bool = False
    quit: str = ""  # background or stop; empty: ask
    languages: list[str] = []  # recently added, newest first
    columns: list[str] = []  # languages in the order of the grid


class UiStateStore:
    """Loads and saves. `save` may be called from any thread, and writes only what changed."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / UI_STATE_FILE_NAME
        self._lock = threading.Lock()
        self.current = self._load()
        self._saved = msgspec.json.encode(self.current)

    def _load(self) -> UiState:
        # A damaged file must not prevent the start. The next change replaces it.
        with contextlib.suppress(OSError, ValueError):
            text = self._path.read_text("utf-8")
            import rtoml  # noqa: PLC0415 - there is nothing to read at the first start

            return msgspec.convert(rtoml.loads(text), UiState)
        return UiState()

    def save(self) -> None:
        """Write the file if anything changed. Errors of the disk are ignored: the file is not worth interrupting the user."""
        content = msgspec.json.encode(self.current)
        if content == self._saved:
            return
        import tomli_w  # noqa: PLC0415 - not needed for the first frame

        values = msgspec.to_builtins(self.current)
        temporary = self._path.with_name(f".{UI_STATE_FILE_NAME}.{os.getpid()}")
        with self._lock, contextlib.suppress(OSError):
            temporary.write_text(tomli_w.dumps(values), "utf-8")
            temporary.replace(self._path)
            self._saved = content

    def save_in_background(self) -> threading.Thread:
        """Save in a separate thread, since a slow disk must not block the screen."""
        thread = threading.Thread(target=self.save, name="dashboard-memory", daemon=True)
        thread.start()
        return thread
