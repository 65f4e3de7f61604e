"""The demo: a sandbox, small real videos, and the dashboard or a run without a screen on them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from synthdub_tui.commands.headless_run import run_demo
from synthdub_tui.errors import ProblemError
from synthdub_tui.humanize import format_count
from synthdub_tui.ipc.blocking_client import BlockingRunnerClient
from synthdub_tui.ipc.protocol import StopRequest
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.sandbox.media import make_sources
from synthdub_tui.sandbox.service import running_sandbox
from synthdub_tui.settings.model import Settings
from synthdub_tui.settings.resolve import resolve_settings

TARGETS: Final = ("fr-FR", "es-ES", "de-DE")
MAX_DEMO_FILES: Final = 500

SANDBOX_CONFIG: Final = """\
# Slow enough to watch, with some failures to practise on: refused content, one that a retry mends, a project refused whole.
dubbing_seconds = [5.0, 45.0]
output_padding = 2000000
bandwidth_up = 2000000
bandwidth_down = 1500000

[[failures]]
code = "moderation"
title = "*welcome*"
languages = ["de-*"]

[[failures]]
code = "processing_error"
title = "*product-tour*"
languages = ["es-*"]
times = 1

[[failures]]
kind = "project"
code = "video_duration_limit_reached"
title = "*safety*"
times = 1
"""


def demo(files: int, targets: list[str], headless: bool, folder: str) -> int:
    """Create `files` videos, dub them against the sandbox and print the folder of the outputs.

    Raises ProblemError("setting_invalid" | "output_unwritable").
    """
    if not 1 <= files <= MAX_DEMO_FILES:
        raise ProblemError("setting_invalid", f"--files takes a number from 1 to {MAX_DEMO_FILES}")
    root = Path(folder).expanduser().absolute() if folder else Path(tempfile.mkdtemp(prefix="synthdub-demo-"))
    videos = root / "videos"
    try:
        videos.mkdir(parents=True, exist_ok=True)
        sources = make_sources(videos, files)
    except OSError as error:
        raise ProblemError("output_unwritable", f"{error.strerror}: {videos}") from error
    print(f"{format_count(len(sources), 'video')} made in {videos}", flush=True)
    terminal = sys.stdin.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    show = _headless if headless or not terminal else _on_screen
    code = show(root, targets or list(TARGETS))
    print(f"Outputs and captions lie beside the videos in {videos}")
    return code


def _headless(root: Path, targets: list[str]) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="synthdub-sandbox-") as place,
        running_sandbox(SandboxConfig(), Path(place)) as service,
    ):
        settings, _, _ = _settings(service.api_url, service.s3_url, service.api_key, root, targets)
        return run_demo(settings, [str(root / "videos")])


def _on_screen(root: Path, targets: list[str]) -> int:
    """Runs sandbox and runner as separate processes, as in real use."""
    from synthdub_tui.commands.dashboard_start import BackgroundRunner, options  # noqa: PLC0415
    from synthdub_tui.commands.stop import end_runner  # noqa: PLC0415
    from synthdub_tui.dashboard.run import run_dashboard  # noqa: PLC0415

    config = root / "sandbox.toml"
    config.write_text(SANDBOX_CONFIG, encoding="utf-8")
    with _sandbox_process(config) as process:
        settings, flags, environment = _settings(*_read_greeting(process), root, targets)
        state = Path(settings.state_dir)
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        runner = BackgroundRunner(settings.state_dir, flags, {**os.environ, **environment})
        shown = replace(options(settings, [str(root / "videos")], {}), demo=True, check_key=None)
        code = run_dashboard(state, runner, shown, on_hangup=lambda: _end(settings, process))
        end_runner(settings)  # the sandbox ends with the demo, so the runner could not continue
    print("The demo is over: its runner and its sandbox have ended.")
    return code


def _end(settings: Settings, sandbox: subprocess.Popen[str]) -> None:
    """After a hang-up, end the runner and the sandbox as well: the user cannot return to this demo."""
    with contextlib.suppress(ProblemError):
        control = BlockingRunnerClient.connect(settings.state_dir)
        if control is not None:
            control.send(StopRequest(id=1))
    sandbox.terminate()


@contextmanager
def _sandbox_process(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Starts the sandbox and terminates it when the context ends."""
    command = [sys.executable, "-X", "utf8", "-m", "synthdub_tui", "sandbox", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)  # noqa: S603 - our own
    with process:
        try:
            yield process
        finally:
            process.terminate()


def _read_greeting(sandbox: subprocess.Popen[str]) -> tuple[str, str, str]:
    """Reads the URLs of API and storage and the API key from the sandbox's first three lines."""
    assert sandbox.stdout is not None
    said = dict(sandbox.stdout.readline().split(maxsplit=1) for _ in range(3))
    return said["API"].strip(), said["Storage"].strip(), said["Key"].strip()


def _settings(
    api_url: str, s3_url: str, key: str, root: Path, targets: list[str]
) -> tuple[Settings, dict[str, object], dict[str, str]]:
    """Returns settings, flags and environment of the demo, which ignores the user's configuration and environment."""
    flags: dict[str, object] = {
        "config": os.devnull,
        "api_url": api_url,
        "s3_endpoint_url": s3_url,
        "state_dir": str(root / "state"),
        "data_dir": str(root / "data"),
        "targets": tuple(targets),
        "poll_interval": 0.5,
        "settle_seconds": 0.0,  # the demo has just created the videos, complete
    }
    environment = {"SYNTHESIA_API_KEY": key, "SYNTHDUB_DATA_DIR": str(root / "data")}
    return resolve_settings(flags, environment), flags, environment
