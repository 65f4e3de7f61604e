"""The last line: answers, events and the keys that are offered."""

from __future__ import annotations

import time
from pathlib import Path

from synthdub_tui.dashboard.widgets import status_bar
from synthdub_tui.jobs.model import DubState
from tests.dashboard.dashboard_steps import TWO_LANGUAGES, drawn_status_lines
from tests.dashboard.fake_runner import make_dub, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_only_keys_that_do_something_are_offered(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [], size=(80, 24)) as opened:
        said = opened.main.status_bar._text(80).plain
        assert said.split("  ") == [" Nothing here yet. a adds files.", "a add", "? help", "q quit", "ctrl+p palette"]
    async with open_dashboard(tmp_path / "..", [make_job(0, TWO_LANGUAGES)], read_only=True) as watching:
        assert "retry" not in watching.main.status_bar._text(80).plain
        assert "? help" in watching.main.status_bar._text(80).plain


async def test_small_terminals_are_told_where_the_help_is(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)], size=(20, 5)) as opened:
        assert opened.main.status_bar._text(20).plain.strip() == "r retry  ? help"


async def test_a_long_answer_is_readable_to_its_end(tmp_path: Path) -> None:
    words = "The runner does not answer, and this is why: " + "reason " * 12 + "press S"
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)], size=(60, 20)) as opened:
        opened.main.status_bar.show_message(words)
        await until(lambda: opened.main.status_bar.size.height == 3)
        assert " ".join(str(opened.main.status_bar.visual).split()) == words
        opened.main.status_bar.show_message("")
        await until(lambda: opened.main.status_bar.size.height == 1)
        opened.main.status_bar.show_message(words * 9)
        await until(lambda: opened.main.status_bar.size.height == 3 and "…" in str(opened.main.status_bar.visual))
        await opened.pilot.resize_terminal(60, 8)
        await until(lambda: opened.main.status_bar.size.height == 1)


async def test_an_answer_and_an_event_of_the_same_second_are_both_seen(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES)
    async with open_dashboard(tmp_path, [job], size=(80, 24)) as opened:
        await opened.press("s")
        await opened.wait_for_status("Sorted by name")
        opened.runner.set_dub(job, "fr-FR", make_dub(DubState.FAILED, time.time()))
        await opened.wait_for_status("A dub has failed")
        await until(
            lambda: (
                drawn_status_lines(opened).startswith("Sorted by name. ")
                and "\nA dub has failed. f shows" in drawn_status_lines(opened)
            )
        )
        await opened.press("s")
        await opened.wait_for_status("Sorted by state")
        await until(
            lambda: (
                drawn_status_lines(opened).startswith("Sorted by state. ")
                and "\nA dub has failed. f shows" in drawn_status_lines(opened)
            )
        )


async def test_an_event_leaves_room_for_the_keys(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES)
    async with open_dashboard(tmp_path, [job], size=(80, 24)) as opened:
        opened.runner.set_dub(job, "fr-FR", make_dub(DubState.FAILED, time.time()))
        await until(lambda: "A dub has failed. f shows them.  r retry" in drawn_status_lines(opened))
        await opened.pilot.resize_terminal(24, 24)
        await until(lambda: drawn_status_lines(opened).startswith("A dub has failed"))
        opened.main.status_bar.show_event("")
        await until(lambda: drawn_status_lines(opened).startswith("r retry"))


async def test_where_there_is_one_line_an_event_waits_until_an_answer_was_read(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES)
    async with open_dashboard(tmp_path, [job], size=(60, 8)) as opened:
        opened.main.status_bar.show_message("Adding 3 paths…", seconds=3600)
        opened.runner.set_dub(job, "fr-FR", make_dub(DubState.FAILED, time.time()))
        await opened.wait_for_status("A dub has failed")
        await until(lambda: drawn_status_lines(opened) == "Adding 3 paths…")
        opened.main.status_bar._message_shown_at -= status_bar.MESSAGE_SECONDS
        await until(lambda: drawn_status_lines(opened).startswith("A dub has failed."))
        opened.main.status_bar._event_until -= 30
        await until(lambda: drawn_status_lines(opened) == "Adding 3 paths…")
