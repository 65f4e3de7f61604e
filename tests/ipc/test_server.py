"""The control socket as its clients see it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from synthdub_tui.ipc import protocol as p
from synthdub_tui.ipc import server as server_module
from synthdub_tui.ipc.server import RunnerServer
from synthdub_tui.ipc.socket_path import socket_path
from synthdub_tui.jobs.model import DubState
from tests.proofs.sandbox_scene import running_batch


async def test_a_reply_follows_the_changes_that_it_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a dashboard says "retried", and the next key meets a cell that still looks failed."""
    monkeypatch.setattr(server_module, "CHANGES_INTERVAL_SECONDS", 3600.0)  # changes are not sent by themselves
    async with running_batch(tmp_path) as stage:
        await stage.runner.pause(True)
        await stage.add_videos(stage.write_video(), targets=("fr-FR",))
        server = RunnerServer(stage.runner, on_stop=lambda: None, read_key=lambda: "")
        await server.start()
        try:
            reader, writer = await asyncio.open_unix_connection(str(socket_path(stage.runner.settings.state_dir)))
            (job,) = stage.jobs
            for request in (p.SubscribeRequest(id=1), p.CancelRequest(id=2, cells=(p.ShownDub(job.id, "fr-FR"),))):
                writer.write(p.encode(request))
            heard: list[p.Message] = []
            while not (heard and isinstance(heard[-1], p.Reply) and heard[-1].id == 2):
                heard.append(p.decode_message(await reader.readline()))
            told = [message.jobs for message in heard if isinstance(message, p.Changes)]
            assert [[job.dubs["fr-FR"].state for job in jobs] for jobs in told] == [[DubState.CANCELLED]]
            writer.close()
        finally:
            await server.close("done")
