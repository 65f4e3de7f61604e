"""A local stand-in for the service, for the demo and the tests.

`SandboxConfig` says how it behaves, `Sandbox` is it, `running` wraps it for synchronous code, `serve` is the command.
"""

from synthdub_tui.sandbox.config import ConfigError, Failure, Fault, Rate, SandboxConfig, load
from synthdub_tui.sandbox.journal import Record
from synthdub_tui.sandbox.media import dubbed_video, make_sources
from synthdub_tui.sandbox.service import Sandbox, running, serve

__all__ = [
    "ConfigError",
    "Failure",
    "Fault",
    "Rate",
    "Record",
    "Sandbox",
    "SandboxConfig",
    "dubbed_video",
    "load",
    "make_sources",
    "running",
    "serve",
]
