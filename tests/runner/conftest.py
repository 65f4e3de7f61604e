"""Batches against the sandbox, in this process, with little patience."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui.commands.headless_run import run_batch
from synthdub_tui.jobs.model import Job
from synthdub_tui.runner.backoff import Backoff
from synthdub_tui.runner.events import EventPrinter
from synthdub_tui.sandbox.config import SandboxConfig
from synthdub_tui.sandbox.service import Sandbox, running_sandbox
from synthdub_tui.settings.resolve import resolve_settings
from synthdub_tui.store.job_store import JobStore

FAST_BACKOFF = Backoff(
    initial_delay=0.02,
    max_delay=0.1,
    asset_poll_initial_delay=0.05,
    asset_poll_max_delay=0.1,
    asset_unseen_timeout=1.0,
    asset_ready_timeout=5.0,
    max_download_attempts=5,
    upload_retry_delay=0.02,
    max_upload_attempts=3,
    new_project_grace=0.0,
    paid_answer_timeout=1.0,
)

FAST_SANDBOX: dict[str, Any] = {"processing_seconds": 0.05, "dubbing_seconds": (0.05, 0.2)}


class RunResult:
    """What a run came to."""

    def __init__(self, code: int, events: list[dict[str, Any]], jobs: list[Job]) -> None:
        self.exit_code = code
        self.events = events
        self.jobs = {job.name: job for job in jobs}

    @property
    def summary(self) -> dict[str, Any]:
        assert self.events[-1]["event"] == "summary"
        return self.events[-1]

    def reported_problems(self) -> list[tuple[str, str, str]]:
        """File name, language and code of each problem; most videos of these tests have no header, of which runs warn."""
        return [
            (Path(event.get("file", "")).name, event.get("language", ""), event["code"])
            for event in self.events
            if event["event"] == "problem" and event["code"] != "header_unreadable"
        ]

    def states(self, name: str) -> dict[str, str]:
        return {language: dub.state.value for language, dub in self.jobs[name].dubs.items()}


class Workspace:
    """A sandbox, a folder of videos and a state directory."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.videos = folder / "videos"
        self.videos.mkdir()
        self.state = folder / "state"
        self.data = folder / "data"

    def write_video(self, name: str, size: int = 2000) -> Path:
        """A source; the sandbox does not look into it."""
        path = self.videos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * (size // len(name) + 1))
        return path

    def settings_flags(self, **options: Any) -> dict[str, Any]:
        return {
            "config": "/dev/null",
            "api_url": self.sandbox.api_url,
            "s3_endpoint_url": self.sandbox.s3_url,
            "state_dir": str(self.state),
            "data_dir": str(self.data),
            "poll_interval": 0.05,
            "settle_seconds": 0.0,
            "tier": "unlimited",
            "targets": ("fr-FR", "es-ES"),
            **options,
        }

    async def run(
        self, *paths: Path, backoff: Backoff = FAST_BACKOFF, key: str | None = None, resume: bool = False, **options: Any
    ) -> RunResult:
        out, err = io.StringIO(), io.StringIO()
        key = self.sandbox.api_key if key is None else key
        settings = resolve_settings(self.settings_flags(**options), {"SYNTHESIA_API_KEY": key})
        reporter = EventPrinter(as_json=True, out=out, err=err)
        named = [str(path) for path in paths]
        code = await run_batch(settings, named, reporter, lambda: key, backoff=backoff, resume=resume)
        return RunResult(code, [json.loads(line) for line in out.getvalue().splitlines()], self.jobs())

    def jobs(self) -> list[Job]:
        return JobStore(str(self.state)).load(set_aside=False).jobs

    def count_calls(self, endpoint: str) -> int:
        return sum(record.endpoint == endpoint for record in self.sandbox.journal)

    @property
    def billed_dubs(self) -> int:
        return len(self.sandbox.billed_dubs())

    def output_names(self) -> list[str]:
        return sorted(str(path.relative_to(self.videos)) for path in self.videos.rglob("*.dubbed-*"))


MakeWorkspace = Callable[..., Workspace]


@pytest.fixture
def make_workspace(tmp_path: Path) -> Iterator[MakeWorkspace]:
    """`make_bench(failures=..., faults=...)`: a bench on a sandbox of that configuration."""
    with ExitStack() as stack:

        def make(**config: Any) -> Workspace:
            sandbox = stack.enter_context(running_sandbox(SandboxConfig(**FAST_SANDBOX | config), tmp_path / "sandbox"))
            return Workspace(sandbox, tmp_path)

        yield make


@pytest.fixture
def workspace(make_workspace: MakeWorkspace) -> Workspace:
    """A bench on a sandbox where all goes well."""
    return make_workspace()
