"""A local test server with the service's API and storage, for the demo and the tests; code that real dubbing needs is not here.

`SandboxConfig` sets its behaviour, `Sandbox` is the server, `running_sandbox` wraps it for synchronous code, `serve_sandbox` is
the command.
"""

from synthdub_tui.sandbox.config import ConfigError, EndpointRate, Fault, SandboxConfig, SimulatedFailure, load_config
from synthdub_tui.sandbox.journal import Record
from synthdub_tui.sandbox.media import dubbed_video, make_sources
from synthdub_tui.sandbox.service import Sandbox, running_sandbox, serve_sandbox

__all__ = [
    "ConfigError",
    "EndpointRate",
    "Fault",
    "Record",
    "Sandbox",
    "SandboxConfig",
    "SimulatedFailure",
    "dubbed_video",
    "load_config",
    "make_sources",
    "running_sandbox",
    "serve_sandbox",
]
