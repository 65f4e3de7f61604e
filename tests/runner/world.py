"""What state machines over whole runners share: the wiring to the simulated service, the disk, and the end of processes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import httpx
import pytest
from hypothesis import HealthCheck, settings

from synthdub_tui import files
from synthdub_tui.runner import runner as runner_module
from synthdub_tui.runner.activities import submit as submit_module
from synthdub_tui.sources.same_file import FileStamp
from synthdub_tui.store import job_store as store_module
from synthdub_tui.synthesia import client as client_module
from tests.runner.fake_service import FakeDownloader, FakeService, FakeUploader
from tests.virtual_time import VirtualClock

MEMORY: Final = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where examples keep their files."""


def examples(number: int, steps: int) -> settings:
    """So many in CI, the same each time; in a long run, `SYNTHDUB_MACHINE` new ones."""
    asked = os.environ.get("SYNTHDUB_MACHINE")
    return settings(
        max_examples=int(asked) if asked else number,
        stateful_step_count=steps,
        deadline=None,
        derandomize=not asked,
        suppress_health_check=list(HealthCheck),
    )


def close_files(folder: Path) -> None:
    """As the kernel does for processes that are killed: those below the folder."""
    for name in os.listdir("/dev/fd"):
        try:
            inside = os.readlink(f"/dev/fd/{name}").startswith(f"{folder}/")
        except OSError:
            continue
        if inside:
            os.close(int(name))


class Disk(Protocol):
    """What a machine says of its disk."""

    disk_full: bool

    def stamp_source(self, path: str) -> FileStamp | None:
        """In place of the look before a paid request."""


@contextmanager
def wired(service: FakeService, clock: VirtualClock, life: Disk) -> Iterator[None]:
    """Runners made within talk to the simulated service, and write to a disk that may be full."""
    genuine = files.write_durably

    def write(path: str, data: bytes, mode: int = 0o600) -> None:
        if life.disk_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(path, data, mode)

    def clients(base: str, timeouts: client_module.Timeouts) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
        transport = httpx.MockTransport(service.handle_request)
        return httpx.AsyncClient(transport=transport), httpx.AsyncClient(transport=transport)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "write_durably", write)
        patch.setattr(store_module, "MIN_CACHED_JOBS", 1)
        patch.setattr(submit_module, "_stamp_now", life.stamp_source)
        patch.setattr(client_module, "_http_clients", clients)
        patch.setattr(runner_module, "Downloader", lambda *_, **__: FakeDownloader(service, clock))
        patch.setattr(runner_module, "Uploader", lambda *_, **__: FakeUploader(service, clock))
        yield
