"""The dashboard against a fake runner, to be tried by hand or run in a pseudo-terminal.

`python -m tests.dashboard.run_on_fake_runner` makes up a lively batch; with `--socket` it attaches to a runner that somebody
else serves.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
from pathlib import Path

from synthdub_tui import __version__
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.dashboard.run import run_dashboard


class FakeRunnerLauncher:
    """A launcher for a runner that is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def start(self) -> Path:
        return self.path

    def use_stored_key(self) -> None:
        """It has none."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--read-only", action="store_true")
    parser.add_argument("--slow-link", action="store_true")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--languages", type=int, default=12)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = arguments.state or Path(folder)
        path = arguments.socket or Path(folder) / "runner.sock"
        if arguments.socket is None:
            ready = threading.Event()
            from tests.dashboard.animated_fake_runner import start_animated_runner  # not where only the start is measured

            counts = (path, arguments.files, arguments.languages, ready)
            threading.Thread(target=lambda: asyncio.run(start_animated_runner(*counts)), daemon=True).start()
            ready.wait()
        options = DashboardOptions(
            __version__,
            ascii=arguments.ascii,
            read_only=arguments.read_only,
            slow_link=arguments.slow_link,
        )
        return run_dashboard(state, FakeRunnerLauncher(path), options)


if __name__ == "__main__":
    raise SystemExit(main())
