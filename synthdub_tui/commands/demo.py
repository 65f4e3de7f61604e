"""`synthdub demo`: everything against the built-in sandbox; and `synthdub sandbox`, the stand-in alone."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from synthdub_tui.commands.run import run
from synthdub_tui.problems import Trouble
from synthdub_tui.sandbox.config import ConfigError, SandboxConfig
from synthdub_tui.sandbox.media import make_sources
from synthdub_tui.sandbox.service import running, serve
from synthdub_tui.settings import Settings, resolve

TARGETS = ("fr-FR", "es-ES", "de-DE")
MOST_FILES = 500


def demo(files: int, targets: list[str], headless: bool, folder: str) -> int:
    """Make videos, dub them against the sandbox, and show where the outputs are."""
    if not 1 <= files <= MOST_FILES:
        raise Trouble("setting_invalid", f"--files takes a number from 1 to {MOST_FILES}")
    root = Path(folder).expanduser().absolute() if folder else Path(tempfile.mkdtemp(prefix="synthdub-demo-"))
    videos = root / "videos"
    try:
        videos.mkdir(parents=True, exist_ok=True)
        sources = make_sources(videos, files)
    except OSError as error:
        raise Trouble("output_unwritable", f"{error.strerror}: {videos}") from error
    print(f"{len(sources)} videos made in {videos}")
    with tempfile.TemporaryDirectory(prefix="synthdub-sandbox-") as place, running(SandboxConfig(), Path(place)) as service:
        settings = _settings(service.api_url, service.s3_url, service.api_key, root, targets or list(TARGETS))
        code = run(settings, [str(videos)], {})
    print(f"Outputs and captions lie beside the videos in {videos}")
    return code


def sandbox(port: int, config: str | None) -> int:
    """Serve until interrupted."""
    try:
        asyncio.run(serve(Path(config) if config else None, port))
    except ConfigError as error:
        raise Trouble("config_invalid", str(error)) from error
    except OSError as error:
        raise Trouble("setting_invalid", f"port {port} cannot be used: {error.strerror}") from error
    return 0


def _settings(api_url: str, s3_url: str, key: str, root: Path, targets: list[str]) -> Settings:
    """The user's own configuration and environment play no part in the demo."""
    flags = {
        "config": os.devnull,
        "api_key_file": None,
        "api_url": api_url,
        "s3_endpoint_url": s3_url,
        "state_dir": str(root / "state"),
        "targets": tuple(targets),
        "poll_interval": 0.5,
    }
    return resolve(flags, {"SYNTHESIA_API_KEY": key})
