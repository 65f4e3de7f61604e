"""The whole test server: the API and its storage on two ports of 127.0.0.1."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from synthdub_tui.sandbox.api import Api
from synthdub_tui.sandbox.clock import Throttle
from synthdub_tui.sandbox.config import Fault, SandboxConfig, load_config
from synthdub_tui.sandbox.downloads import Downloads
from synthdub_tui.sandbox.http_server import HttpServer
from synthdub_tui.sandbox.journal import Record
from synthdub_tui.sandbox.request_gate import Gate
from synthdub_tui.sandbox.s3_storage import Storage
from synthdub_tui.sandbox.service_state import ServiceState, object_path

T = TypeVar("T")


class Sandbox:
    """The test server. Use it in a running loop with `start` and `stop`, or in synchronous code with `running_sandbox`.

    `inject`, `clear_faults`, `advance`, `journal` and `billed_dubs` may be used from any thread.
    """

    def __init__(self, config: SandboxConfig, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.config = config
        self.root = root
        self._gate = Gate(config, root)
        self.state = ServiceState(config)
        downloads = Downloads(self._gate, self.state)
        self._downloads = downloads
        self.storage = Storage(self._gate, self.state, downloads, root)
        still = Throttle(None)
        self._api = HttpServer(Api(self._gate, self.state, downloads).handle, still, still)
        self._s3 = HttpServer(self.storage.handle, Throttle(config.bandwidth_up), Throttle(config.bandwidth_down))
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._api.port}"

    @property
    def s3_url(self) -> str:
        return f"http://127.0.0.1:{self._s3.port}"

    @property
    def api_key(self) -> str:
        return self.config.api_key

    @property
    def journal(self) -> list[Record]:
        """All requests so far, oldest first."""
        return self._gate.journal.records

    def billed_dubs(self) -> list[tuple[str, str]]:
        """Project and language of all paid work that was started, in order."""
        return [(record.project, language) for record in self.journal for language in record.billed]

    def source_file(self, asset: str) -> Path:
        """Path of an asset's upload once it is complete."""
        return object_path(self.root, self.state.assets[asset].grant.key)

    async def start(self, port: int = 0, s3_port: int = 0) -> None:
        """Listen. Port 0 is any free one. If only `port` is given, the storage uses the next free port after it.

        Raises OSError if a port is taken.
        """
        self._loop = asyncio.get_running_loop()
        await self._api.start(port)
        if s3_port or not port:
            await self._s3.start(s3_port)
        else:
            await self._start_after(port)
        self._downloads.base_url = self.s3_url

    async def _start_after(self, port: int) -> None:
        for candidate in range(port + 1, min(port + 100, 65536)):
            try:
                await self._s3.start(candidate)
            except OSError:
                continue
            return
        raise OSError(f"no free port for storage among the 100 after {port}")

    async def stop(self) -> None:
        """Close both ports and all connections."""
        await self.start_outage()
        self._gate.journal.close()

    async def start_outage(self) -> None:
        """Simulate an outage: connections break, new ones are refused. `end_outage` ends it."""
        await self._api.stop()
        await self._s3.stop()

    async def end_outage(self) -> None:
        """Listen again on the same ports, with the state of before."""
        await self._api.start(self._api.port)
        await self._s3.start(self._s3.port)

    def inject(self, fault: Fault) -> None:
        """Add a fault to the active ones."""
        self._gate.faults.inject(fault)

    def clear_faults(self) -> None:
        self._gate.faults.clear()

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward: dubbing ends, credentials and URLs expire, limits recover."""
        self._gate.clock.advance(seconds)

    def run_in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this sandbox from another thread, as in `sandbox.wait(sandbox.down())`."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextmanager
def running_sandbox(config: SandboxConfig, root: Path) -> Iterator[Sandbox]:
    """A sandbox in a thread with its own loop, for synchronous code. It stops at the end of the context."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
    thread.start()

    def do(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result()

    try:
        sandbox = Sandbox(config, root)
        do(sandbox.start())
        try:
            yield sandbox
        finally:
            do(sandbox.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def serve_sandbox(config_path: Path | None, port: int) -> None:
    """`synthdub sandbox`: run until SIGINT or SIGTERM. Raises ConfigError, or OSError if the port is taken."""
    config = load_config(config_path) if config_path else SandboxConfig()
    with TemporaryDirectory(prefix="synthdub-sandbox-") as root:
        sandbox = Sandbox(config, Path(root))
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, over.set)
        await sandbox.start(port)
        print(_greeting(sandbox), flush=True)
        await over.wait()
        await sandbox.stop()


def _greeting(sandbox: Sandbox) -> str:
    return "\n".join(
        (
            f"API      {sandbox.api_url}",
            f"Storage  {sandbox.s3_url}",
            f"Key      {sandbox.api_key}",
            f"Journal  {sandbox.root / 'journal.jsonl'}",
            "",
            "Try it:",
            f"  SYNTHESIA_API_KEY={sandbox.api_key} synthdub --api-url {sandbox.api_url} "
            f"--s3-endpoint-url {sandbox.s3_url} --targets fr-FR,es-ES video.mp4",
            "",
            "Ctrl+C stops it.",
        )
    )
