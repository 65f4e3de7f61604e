"""The dashboard's question about a retry is left open in a real terminal while other shells and a crash change the batch."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from synthdub_tui.jobs.model import Job
from synthdub_tui.sandbox import Failure, SandboxConfig
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.store.job_store import Store
from tests.dashboard.opened_dashboard import until
from tests.dashboard.program_in_terminal import Place, place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

DE, ES, FR, NL, PT = "de-DE", "es-ES", "fr-FR", "nl-NL", "pt-PT"
LONG, LONGER = (3600.0, 3600.0), (36_000.0, 36_000.0)
FILE = "welcome-01.mp4"

CONFIG = SandboxConfig(
    processing_seconds=0.05,
    dubbing_seconds=(0.05, 0.2),
    dubbing_seconds_by_language={NL: LONGER, PT: LONG},
    failures=(
        *(Failure(languages=(language,), times=1, after=0.05) for language in (DE, ES, FR)),
        Failure(code="moderation", languages=(DE, PT)),
    ),
)
"""Three languages fail once. Then moderation refuses German at once, and Portuguese after an hour. Dutch goes on."""

FAILED = "processing_error"
AT_FIRST = {DE: FAILED, ES: FAILED, FR: FAILED, PT: "dubbing", NL: "dubbing"}
AFTERWARDS = AT_FIRST | {DE: "moderation", ES: "submission_unknown", PT: "moderation"}


def saved(home: Place) -> list[Job]:
    return Store(str(home.state)).load(set_aside=False).jobs


def states(home: Place) -> dict[str, str]:
    """Language → its state, or the code of what is wrong with it."""
    dubs = {language: dub for job in saved(home) for language, dub in job.dubs.items()}
    return {language: dub.failure.code if dub.failure is not None else dub.state.value for language, dub in dubs.items()}


async def become(home: Place, wanted: dict[str, str]) -> None:
    await until(lambda: states(home) == wanted, lambda: f"{wanted}, not {states(home)}")


def begins(home: Place, language: str) -> bool:
    """Whether a paid request for that language is on its way: its intent is on disk, and no answer."""
    return any(job.submission is not None and language in job.submission.languages for job in saved(home))


def billed(home: Place) -> list[str]:
    return sorted(language for _, language in home.sandbox.billed())


async def change_what_was_asked_about(home: Place) -> None:
    """A shown dub is refused by moderation, as is one that was not shown. Another shown dub becomes unknown by a crash."""
    await home.call("retry", f"{FILE}:{DE}", "--yes")
    home.sandbox.advance(LONG[0])
    await become(home, AT_FIRST | {DE: "moderation", PT: "moderation"})
    home.sandbox.inject(Fault("PUT /v2/dubbing/{id}", "hang_before", count=1))
    await home.call("retry", f"{FILE}:{ES}", "--yes")
    await until(lambda: begins(home, ES))
    await asyncio.to_thread(home.kill_runner)
    home.sandbox.clear_faults()  # the crash may have come before the request


async def test_yes_to_a_question_that_was_left_open_retries_only_what_is_still_as_it_showed(tmp_path: Path) -> None:
    async with place(tmp_path, CONFIG, 1) as home, AsyncExitStack() as terminals:
        terminal = home.open(".", "--targets", ",".join(AT_FIRST), key=home.sandbox.api_key)
        terminals.callback(terminal.close)
        await become(home, AT_FIRST)
        await terminal.sees("3 failed")
        terminal.type("R")
        await terminal.sees("Retry 3 dubs?")
        await change_what_was_asked_about(home)
        await terminal.sees("The runner has ended")
        other = home.open(key=home.sandbox.api_key)  # starts a runner
        terminals.callback(other.close)
        await become(home, AFTERWARDS)
        await terminal.sees("A runner is at work again")
        assert "Retry 3 dubs?" in terminal.screen
        before = billed(home)
        terminal.type("y")
        await terminal.sees("1 dub retried. 2 dubs left alone: changed since you were asked.")
        await become(home, AFTERWARDS | {FR: "done"})
        assert billed(home) == sorted([*before, FR])
