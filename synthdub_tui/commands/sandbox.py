"""`synthdub sandbox`: serves the stand-in for the service until it is interrupted."""

from __future__ import annotations

import argparse

from synthdub_tui.errors import ProblemError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.description = "The stand-in for the service alone, on this machine only."
    parser.add_argument("--port", type=int, default=0, metavar="P", help="port of the API, storage on the next (default: any)")
    parser.add_argument("--config", metavar="FILE", help="TOML file with times, failures, faults and limits")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return sandbox(arguments.port, getattr(arguments, "config", None))


def sandbox(port: int, config: str | None) -> int:
    """Run the sandbox until interrupted. Raises ProblemError("config_invalid" | "setting_invalid")."""
    import asyncio  # noqa: PLC0415 - not needed for the help
    from pathlib import Path  # noqa: PLC0415

    from synthdub_tui.sandbox.config import ConfigError  # noqa: PLC0415
    from synthdub_tui.sandbox.service import serve_sandbox  # noqa: PLC0415

    try:
        asyncio.run(serve_sandbox(Path(config) if config else None, port))
    except ConfigError as error:
        raise ProblemError("config_invalid", str(error)) from error
    except OSError as error:
        raise ProblemError("setting_invalid", f"port {port} cannot be used: {error.strerror}") from error
    return 0
