"""A runner in a test's own event loop, driven step by step."""

from __future__ import annotations

from typing import Any

from synthdub_tui.jobs.model import Job
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.resolve import resolve_settings
from tests.runner.conftest import FAST_BACKOFF, Workspace


class RunningRunner:
    """A runner in this test's own loop, steered by hand."""

    def __init__(self, bench: Workspace, **options: Any) -> None:
        settings = resolve_settings(bench.settings_flags(**options), {"SYNTHESIA_API_KEY": bench.sandbox.api_key})
        self.runner = Runner(settings, backoff=FAST_BACKOFF)

    async def __aenter__(self) -> Runner:
        self.runner.open()
        self.runner.start()
        return self.runner

    async def __aexit__(self, *_: object) -> None:
        assert await self.runner.stop()


def only_job(runner: Runner) -> Job:
    (job,) = runner.live_jobs.jobs.values()
    return job


def only_job_states(runner: Runner) -> dict[str, str]:
    return job_states(runner, only_job(runner).id)


def job_states(runner: Runner, job: str) -> dict[str, str]:
    return {language: dub.state.value for language, dub in runner.live_jobs.jobs[job].dubs.items()}
