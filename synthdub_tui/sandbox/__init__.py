"""A local test server with the service's API and storage, for the demo and the tests; code that real dubbing needs is not here.

`SandboxConfig` sets its behaviour, `Sandbox` is the server, `running` wraps it for synchronous code, `serve` is the command.
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
