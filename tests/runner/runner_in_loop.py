"""A runner in a test's own event loop, driven step by step."""

from __future__ import annotations

from typing import Any

from synthdub_tui.jobs.model import Job
from synthdub_tui.runner.runner import Runner
from synthdub_tui.settings.resolve import resolve
from tests.runner.conftest import QUICK, Bench


class Working:
    """A runner in this test's own loop, steered by hand."""

    def __init__(self, bench: Bench, **options: Any) -> None:
        settings = resolve(bench.flags(**options), {"SYNTHESIA_API_KEY": bench.sandbox.api_key})
        self.runner = Runner(settings, patience=QUICK)

    async def __aenter__(self) -> Runner:
        self.runner.open()
        self.runner.start()
        return self.runner

    async def __aexit__(self, *_: object) -> None:
        assert await self.runner.stop()


def only(runner: Runner) -> Job:
    (job,) = runner.ledger.jobs.values()
    return job


def states(runner: Runner) -> dict[str, str]:
    return states_of(runner, only(runner).id)


def states_of(runner: Runner, job: str) -> dict[str, str]:
    return {language: dub.state.value for language, dub in runner.ledger.jobs[job].dubs.items()}
