"""A client of the control socket for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from synthdub_tui.ipc import protocol as p
from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.runner import runner as runner_module
from tests.waiting import scale_timeout


class SocketClient:
    """A client of the control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, request: p.Request) -> None:
        self._writer.write(p.encode(request))

    async def read_reply(self) -> p.Reply:
        async with asyncio.timeout(scale_timeout()):
            while True:
                message = p.decode_message(await self._reader.readline())
                if isinstance(message, p.Reply):
                    return message


@asynccontextmanager
async def connect_client(working: runner_module.Runner) -> AsyncIterator[SocketClient]:
    server = RunnerServer(working, on_stop=lambda: None, read_key=lambda: "")
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(Path(working.store.folder) / "runner.sock"), limit=2**24)
    try:
        yield SocketClient(reader, writer)
    finally:
        writer.close()
        await server.close("stopped")
