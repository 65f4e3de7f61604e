"""A sandbox and a runner in one event loop, so that dozens of batches can run side by side, each with faults of its own."""

from __future__ import annotations

import functools
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from synthdub_tui.jobs.model import DubState, Job, Source
from synthdub_tui.runner import request_handlers
from synthdub_tui.runner import runner as runner_module
from synthdub_tui.runner.backoff import Backoff
from synthdub_tui.runner.runner import Runner
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.sandbox.http_server import HttpServer, Request, Response
from synthdub_tui.sandbox.service import Sandbox
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.synthesia.client import SynthesiaClient, Timeouts
from synthdub_tui.synthesia.rate_gate import Endpoint
from synthdub_tui.transfer.download import Downloader
from synthdub_tui.transfer.upload import Uploader, UploadTarget
from tests.runner.conftest import FAST_BACKOFF, FAST_SANDBOX
from tests.waiting import until as until

sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # httpcore looks for it in vain at each turn, on the disk

PAID_ENDPOINTS: Final = ("POST /v2/dubbing", "PUT /v2/dubbing/{id}")
ENDPOINT_BY_NAME: Final = {
    "POST /v2/assets": Endpoint.CREATE_ASSET,
    "GET /v2/assets/{id}": Endpoint.GET_ASSET,
    "POST /v2/dubbing": Endpoint.CREATE_DUBBING,
    "GET /v2/dubbing/{id}": Endpoint.GET_DUBBING,
    "PUT /v2/dubbing/{id}": Endpoint.ADD_LOCALES,
}
SHORT_TIMEOUT_SECONDS: Final = 3.0
"""Seconds of silence after which an impatient runner gives a connection up."""

ChangeResponse = Callable[[Request, Response], Response]
"""Changes an answer in ways that the sandbox's own faults do not know."""


@contextmanager
def short_timeouts(endpoint: str) -> Iterator[None]:
    """Runners made within soon give up silent connections: of that endpoint alone, since a busy machine is slow everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        if endpoint.startswith("S3"):
            uploader = functools.partial(
                Uploader, connect_timeout=SHORT_TIMEOUT_SECONDS, read_timeout=SHORT_TIMEOUT_SECONDS, attempts=2
            )
            patch.setattr(runner_module, "Uploader", uploader)
        elif endpoint in ("download", "captions"):
            patch.setattr(
                runner_module, "Downloader", functools.partial(Downloader, stall_seconds=SHORT_TIMEOUT_SECONDS, attempts=2)
            )
        elif endpoint:
            patch.setattr(runner_module, "SynthesiaClient", functools.partial(_ShortTimeoutClient, ENDPOINT_BY_NAME[endpoint]))
        yield


class _ShortTimeoutClient(SynthesiaClient):
    """Impatient with one endpoint."""

    def __init__(self, endpoint: Endpoint, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._short_timeout_endpoint = endpoint

    async def _send(self, call: Any, *more: Any) -> Any:
        self._timeouts = (
            Timeouts(read_total=SHORT_TIMEOUT_SECONDS, write_total=SHORT_TIMEOUT_SECONDS)
            if call.endpoint is self._short_timeout_endpoint
            else Timeouts()
        )
        return await super()._send(call, *more)


class RunningBatch:
    """One sandbox, one folder of videos, one state directory, and the runner that works on it."""

    def __init__(self, sandbox: Sandbox, folder: Path, runner: Runner) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.videos = folder / "videos"
        self.runner = runner
        self.is_stopped = False  # by the test itself
        self._held_ports: list[socket.socket] = []

    # -- doing ---------------------------------------------------------------------------------------------------------

    def write_video(self, name: str = "intro.mp4", size: int = 2000) -> Path:
        path = self.videos / name
        path.write_bytes((name.encode() * (size // len(name.encode()) + 1))[:size])
        return path

    async def add_videos(self, *paths: Path, **options: Any) -> None:
        batch = resolve_settings(settings_flags(self.sandbox, self.folder, options), {}).batch
        added = await self.runner.add([str(path) for path in paths], batch)
        assert not added.path_problems and not added.problems, added

    async def wait_until_idle(self) -> None:
        await until(self.runner.idle.is_set)

    async def retry_free(self) -> None:
        """What a new start would take up by itself, and nothing that costs."""
        self.runner.retry(request_handlers.find_free_retries(self.runner.live_jobs.jobs), allow_paid=False)
        await self.wait_until_idle()

    async def retry_all_paid(self) -> None:
        """Retry all that failed, with the user's consent to what each may cost."""
        jobs = self.runner.live_jobs.jobs
        self.runner.retry(request_handlers.to_shown_dubs(jobs, request_handlers.find_failed_dubs(jobs)), allow_paid=True)
        await self.wait_until_idle()

    def change_responses(self, endpoint: str, change: ChangeResponse) -> None:
        for server in (self.sandbox._api, self.sandbox._s3):
            server._handler = _changing_handler(server._handler, self.sandbox, endpoint, change)

    def fake_uploads(self) -> None:
        """Sources come to the storage without boto3, which takes half of a small batch's processor time."""

        async def upload(source: Source, target: UploadTarget, progress: object) -> str:
            self.sandbox.state.finish_upload(target.key, source.size, True, self.sandbox._gate.clock.now())
            return ""

        self.runner._context.uploader.upload = upload  # type: ignore[method-assign]

    def cut_off(self, server: HttpServer) -> None:
        """Nobody listens there any more, and what is connected breaks; at once, and from within the loop."""
        assert server._listener is not None
        server._listener.close()
        self._held_ports.append(_hold_port(server.port))
        for task in tuple(server._tasks):
            task.cancel()

    async def restore(self, server: HttpServer) -> None:
        await server.stop()
        await server.start(server.port)
        self.release_ports()

    def release_ports(self) -> None:
        """Ports that were cut are kept from other programs no longer."""
        while self._held_ports:
            self._held_ports.pop().close()

    # -- looking -------------------------------------------------------------------------------------------------------

    @property
    def jobs(self) -> list[Job]:
        return list(self.runner.live_jobs.jobs.values())

    @property
    def shown_problem(self) -> str:
        """What clients are told holds up the batch."""
        return self.runner.batch_status().problem

    def dub_states(self) -> dict[str, str]:
        """State of each dub, with the code of its failure where it has one."""
        return {
            language: dub.state.value + (f" {dub.failure.code}" if dub.failure else "")
            for job in self.jobs
            for language, dub in job.dubs.items()
        }

    def count_calls(self, endpoint: str) -> int:
        return sum(record.endpoint == endpoint for record in self.sandbox.journal)

    @property
    def open_uploads(self) -> list[str]:
        return list(self.sandbox.storage.uploads.open_uploads)

    def check_payments(self, posts: int = 1) -> None:
        """No dub was billed twice, and no request that may have arrived was followed by another like it."""
        billed = [language for _, language in self.sandbox.billed_dubs()]
        assert len(billed) == len(set(billed)), billed
        for endpoint, most in zip(PAID_ENDPOINTS, (posts, 1), strict=True):
            sent = [record for record in self.sandbox.journal if record.endpoint == endpoint]
            arrived = [record for record in sent if not (300 <= record.status < 500)]
            assert len(arrived) <= most, arrived

    def check_outputs(self) -> None:
        """A final name stands for a whole file, exactly for the dubs that are done; and done dubs leave no parts."""
        for job in self.jobs:
            for language, dub in job.dubs.items():
                final = self.videos / f"{Path(job.name).stem}.dubbed-{language}.mp4"
                if final.exists():
                    assert final.read_bytes() == self.expected_content(job, language)
                assert dub.state is not DubState.DONE or final.exists()
                assert dub.state is not DubState.DONE or not list(self.videos.glob(f"*{language}*.part"))

    def expected_content(self, job: Job, language: str) -> bytes:
        """What the service has for that dub."""
        project = self.sandbox.state.projects[job.dubs[language].project]
        content = self.sandbox._downloads._content(project, project.dubs[language], "mp4")
        return b"".join(content.pieces(0, content.size))


@asynccontextmanager
async def running_batch(
    folder: Path,
    *,
    hasty: str = "",
    patience: Backoff = FAST_BACKOFF,
    before: Callable[[Sandbox], None] | None = None,
    **more: Any,
) -> AsyncIterator[RunningBatch]:
    """`more`: fields of the sandbox's configuration, and `settings` for the runner. All of it ends well, and is saved."""
    settings = more.pop("settings", {})
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    sandbox = Sandbox(SandboxConfig(**FAST_SANDBOX | more), folder / "sandbox")
    await sandbox.start()
    try:
        if before is not None:
            before(sandbox)
        with short_timeouts(hasty):
            runner = make_runner(sandbox, folder, patience, settings)
        stage = RunningBatch(sandbox, folder, runner)
        runner.open()
        runner.start()
        try:
            yield stage
        finally:
            stage.release_ports()
            assert stage.is_stopped or await runner.stop()
    finally:
        await sandbox.stop()


@asynccontextmanager
async def running_runner(sandbox: Sandbox, folder: Path, **options: Any) -> AsyncIterator[Runner]:
    """A further runner at work on `folder`."""
    runner = make_runner(sandbox, folder, FAST_BACKOFF, options)
    runner.open()
    runner.start()
    try:
        yield runner
    finally:
        assert await runner.stop()


def _hold_port(port: int) -> socket.socket:
    """Bound and not listening: who connects is refused, and no other program gets the port meanwhile."""
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", port))
    return kept


def make_runner(sandbox: Sandbox, folder: Path, backoff: Backoff, options: dict[str, Any]) -> Runner:
    return Runner(
        resolve_settings(settings_flags(sandbox, folder, options), {"SYNTHESIA_API_KEY": sandbox.api_key}), backoff=backoff
    )


def settings_flags(sandbox: Sandbox, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "config": "/dev/null",
        "api_url": sandbox.api_url,
        "s3_endpoint_url": sandbox.s3_url,
        "state_dir": str(folder / "state"),
        "data_dir": str(folder / "data"),
        "poll_interval": 0.05,
        "settle_seconds": 0.0,
        "tier": "unlimited",
        "targets": ("fr-FR", "es-ES"),
        **options,
    }


def _changing_handler(handler: Any, sandbox: Sandbox, endpoint: str, change: ChangeResponse) -> Any:
    async def handle(request: Request) -> Response:
        seen = len(sandbox.journal)
        response: Response = await handler(request)
        mine = any(record.endpoint == endpoint and record.path == request.path for record in sandbox.journal[seen:])
        return change(request, response) if mine else response

    return handle
