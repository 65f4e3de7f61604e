"""What the dashboard knows of the runner, and when it alerts the user."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from synthdub_tui.ipc import client as link_module
from synthdub_tui.ipc.protocol import BatchStatus
from synthdub_tui.jobs.model import Dub, DubState
from tests.dashboard.dashboard_steps import TWO_LANGUAGES
from tests.dashboard.fake_runner import make_dub, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_the_loss_of_the_runner_calls_the_user_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "RUNNER_CHECK_INTERVAL_SECONDS", 0.01)
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)]) as opened:
        calls: list[str] = []
        opened.app.session.on_attention_needed = calls.append
        await opened.runner.disconnect()
        await until(lambda: "S starts" in opened.summary_text)
        await opened.pilot.pause(0.1)  # some looks later
        assert calls == ["The runner has ended. S starts it again."]


async def test_what_holds_the_batch_up_is_in_the_top_line_and_calls_the_user(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)]) as opened:
        bells: list[str] = []
        opened.app.session.on_attention_needed = bells.append
        opened.runner.push_changes(meters=BatchStatus(time.time(), busy=True, problem="service_unreachable"))
        await until(lambda: "The service cannot be reached" in opened.summary_text)
        assert bells == ["The service cannot be reached."]


async def test_what_held_the_batch_up_is_not_told_any_longer_when_it_is_over(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)]) as opened:
        opened.runner.push_changes(meters=BatchStatus(time.time(), problem="key_rejected"))
        await opened.wait_for_status("The service does not accept the API key.")
        opened.runner.push_changes(meters=BatchStatus(time.time(), busy=True))
        await until(lambda: not opened.main.status_bar.event_text)
        opened.runner.push_changes(meters=BatchStatus(time.time(), problem="service_down"))
        await opened.wait_for_status("The service has trouble at the moment.")
        await opened.runner.disconnect()
        await opened.wait_for_status("The runner has ended. S starts it again.")
        assert "trouble" not in opened.status_text


async def test_the_end_of_the_batch_and_decisions_call_the_user(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES, DubState.DUBBING)
    async with open_dashboard(tmp_path, [job]) as opened:
        bells: list[str] = []
        opened.app.session.on_attention_needed = bells.append
        opened.runner.set_dub(job, "fr-FR", make_dub(DubState.UNKNOWN, time.time()))
        await until(lambda: bells)
        opened.runner.set_dub(job, "es-ES", make_dub(DubState.DONE, time.time()))
        await until(lambda: len(bells) == 2)
        assert "decision" in bells[0] and "ended: 1 of 2" in bells[1]


async def test_a_dub_that_turns_out_accepted_after_its_cancel_calls_the_user(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES, DubState.DUBBING)
    async with open_dashboard(tmp_path, [job]) as opened:
        bells: list[str] = []
        opened.app.session.on_attention_needed = bells.append
        opened.runner.set_dub(job, "fr-FR", Dub(DubState.CANCELLED, time.time()))
        opened.runner.set_dub(job, "fr-FR", Dub(DubState.CANCELLED, time.time(), project="p-1"))
        await until(lambda: bells)
        assert bells == ["A cancel came too late. The service had accepted it. It may be billed. A retry fetches it, free."]
