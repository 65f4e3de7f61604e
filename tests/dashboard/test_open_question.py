"""The dashboard's question about a retry is left open in a real terminal while other shells and a crash change the batch."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from synthdub_tui.jobs.model import Job
from synthdub_tui.sandbox import SandboxConfig, SimulatedFailure
from synthdub_tui.sandbox.config import Fault
from synthdub_tui.store.job_store import JobStore
from tests.dashboard.opened_dashboard import until
from tests.dashboard.program_in_terminal import UserHome, user_home

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

DE, ES, FR, NL, PT = "de-DE", "es-ES", "fr-FR", "nl-NL", "pt-PT"
LONG_DUB_SECONDS, LONGER_DUB_SECONDS = (3600.0, 3600.0), (36_000.0, 36_000.0)
FILE_NAME = "welcome-01.mp4"

SANDBOX_CONFIG = SandboxConfig(
    processing_seconds=0.05,
    dubbing_seconds=(0.05, 0.2),
    dubbing_seconds_by_language={NL: LONGER_DUB_SECONDS, PT: LONG_DUB_SECONDS},
    failures=(
        *(SimulatedFailure(languages=(language,), times=1, after=0.05) for language in (DE, ES, FR)),
        SimulatedFailure(code="moderation", languages=(DE, PT)),
    ),
)
"""Three languages fail once. Then moderation refuses German at once, and Portuguese after an hour. Dutch goes on."""

FAILED_CODE = "processing_error"
STATES_BEFORE = {DE: FAILED_CODE, ES: FAILED_CODE, FR: FAILED_CODE, PT: "dubbing", NL: "dubbing"}
STATES_AFTER = STATES_BEFORE | {DE: "moderation", ES: "submission_unknown", PT: "moderation"}


def read_jobs(home: UserHome) -> list[Job]:
    return JobStore(str(home.state)).load(set_aside=False).jobs


def states_or_codes(home: UserHome) -> dict[str, str]:
    """Language → its state, or the code of what is wrong with it."""
    dubs = {language: dub for job in read_jobs(home) for language, dub in job.dubs.items()}
    return {language: dub.failure.code if dub.failure is not None else dub.state.value for language, dub in dubs.items()}


async def wait_for_states(home: UserHome, wanted: dict[str, str]) -> None:
    await until(lambda: states_or_codes(home) == wanted, lambda: f"{wanted}, not {states_or_codes(home)}")


def is_sending(home: UserHome, language: str) -> bool:
    """Whether a paid request for that language is on its way: its intent is on disk, and no answer."""
    return any(job.submission is not None and language in job.submission.languages for job in read_jobs(home))


def billed_languages(home: UserHome) -> list[str]:
    return sorted(language for _, language in home.sandbox.billed_dubs())


async def change_shown_dubs(home: UserHome) -> None:
    """A shown dub is refused by moderation, as is one that was not shown. Another shown dub becomes unknown by a crash."""
    await home.run_command("retry", f"{FILE_NAME}:{DE}", "--yes")
    home.sandbox.advance(LONG_DUB_SECONDS[0])
    await wait_for_states(home, STATES_BEFORE | {DE: "moderation", PT: "moderation"})
    home.sandbox.inject(Fault("PUT /v2/dubbing/{id}", "hang_before", count=1))
    await home.run_command("retry", f"{FILE_NAME}:{ES}", "--yes")
    await until(lambda: is_sending(home, ES))
    await asyncio.to_thread(home.kill_runner)
    home.sandbox.clear_faults()  # the crash may have come before the request


async def test_yes_to_a_question_that_was_left_open_retries_only_what_is_still_as_it_showed(tmp_path: Path) -> None:
    async with user_home(tmp_path, SANDBOX_CONFIG, 1) as home, AsyncExitStack() as terminals:
        terminal = home.open_terminal(".", "--targets", ",".join(STATES_BEFORE), key=home.sandbox.api_key)
        terminals.callback(terminal.kill)
        await wait_for_states(home, STATES_BEFORE)
        await terminal.wait_for_text("3 failed")
        terminal.type_keys("R")
        await terminal.wait_for_text("Retry 3 dubs?")
        await change_shown_dubs(home)
        await terminal.wait_for_text("The runner has ended")
        other = home.open_terminal(key=home.sandbox.api_key)  # starts a runner
        terminals.callback(other.kill)
        await wait_for_states(home, STATES_AFTER)
        await terminal.wait_for_text("A runner is at work again")
        assert "Retry 3 dubs?" in terminal.screen
        before = billed_languages(home)
        terminal.type_keys("y")
        await terminal.wait_for_text("1 dub retried. 2 dubs left alone: changed since you were asked.")
        await wait_for_states(home, STATES_AFTER | {FR: "done"})
        assert billed_languages(home) == sorted([*before, FR])
