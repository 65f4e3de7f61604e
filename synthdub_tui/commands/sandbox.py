"""`synthdub sandbox`: serves the stand-in for the service until it is interrupted."""

from __future__ import annotations

import asyncio
from pathlib import Path

from synthdub_tui.errors import ProblemError
from synthdub_tui.sandbox.config import ConfigError
from synthdub_tui.sandbox.service import serve_sandbox


def sandbox(port: int, config: str | None) -> int:
    """Run the sandbox until interrupted. Raises ProblemError("config_invalid" | "setting_invalid")."""
    try:
        asyncio.run(serve_sandbox(Path(config) if config else None, port))
    except ConfigError as error:
        raise ProblemError("config_invalid", str(error)) from error
    except OSError as error:
        raise ProblemError("setting_invalid", f"port {port} cannot be used: {error.strerror}") from error
    return 0
