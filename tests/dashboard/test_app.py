"""Actions end to end: keys in, requests out, answers and questions on the screen."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from synthdub_tui.dashboard.screens.outputs import OutputsScreen
from synthdub_tui.dashboard.widgets.lines import TextView
from synthdub_tui.dashboard.widgets.summary_bar import SummaryBar
from synthdub_tui.ipc.client import LinkState
from synthdub_tui.ipc.protocol import (
    BatchStatus,
    CheckKeyRequest,
    ReviewRequest,
    StopRequest,
)
from synthdub_tui.jobs.model import DubState
from synthdub_tui.problems import Problem, explain
from tests.dashboard.dashboard_steps import (
    TWO_LANGUAGES,
    check_key,
    enter_key,
    failed_job,
    failed_job_at,
    question_text,
    runner_with_rejected_key,
)
from tests.dashboard.fake_runner import FakeRunner, make_dub, make_job
from tests.dashboard.opened_dashboard import open_dashboard, until

# -- retry -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["x", "a", "L", "o", "l", "?", "q", "R"])
async def test_a_key_pressed_twice_opens_one_screen(tmp_path: Path, key: str) -> None:
    jobs = [make_job(0, TWO_LANGUAGES, DubState.DUBBING), failed_job(1, "processing_error")]
    async with open_dashboard(tmp_path, jobs, log_path=tmp_path / "log") as opened:
        await opened.type_text(key * 2)
        assert len(opened.app.screen_stack) <= 2  # the second may close what the first opened


# -- cancel ----------------------------------------------------------------------------------------------------------


# -- add -------------------------------------------------------------------------------------------------------------


# -- the batch as a whole --------------------------------------------------------------------------------------------


async def test_read_only_watches_and_refuses(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [failed_job(0, "download_failed")], read_only=True) as opened:
        assert "read-only" in opened.summary_text
        for key in "rRxaLpS":
            opened.main.status_bar.show_message("")
            await opened.press(key)
            await opened.wait_for_status("read-only")
        assert len(opened.runner.requests) == 2
        await opened.press("q")
        await until(lambda: opened.app._exit)


async def test_a_dead_runner_is_said_and_started_again_by_a_key(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)]) as opened:
        await opened.runner.disconnect()
        await until(lambda: "S starts it" in opened.summary_text)
        await opened.press("r")
        await opened.wait_for_status("S starts one")
        await opened.press("S")
        await until(lambda: opened.app.session.link.state is LinkState.ATTACHED)
        await until(lambda: "S starts" not in opened.summary_text)
        await opened.wait_for_status("at work again")


# -- key -------------------------------------------------------------------------------------------------------------


async def test_without_a_key_the_screen_that_takes_one_opens_once(tmp_path: Path) -> None:
    asked: list[str] = []

    async def check(key: str) -> Problem | None:
        asked.append(key)
        return explain("key_rejected") if key == "wrong" else None

    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO_LANGUAGES)])
    runner.batch_status = BatchStatus(time.time(), problem="no_key")
    config = tmp_path / "config" / "config.toml"
    async with open_dashboard(tmp_path, runner=runner, attached=False, check_key=check, config_path=config) as opened:
        await opened.wait_for_screen("SetupKeyScreen")
        await opened.type_text("good-key")
        await opened.press("enter")
        await opened.wait_for_screen("MainScreen")
        await until(lambda: opened.runner.requests_of(CheckKeyRequest))
        assert asked == ["good-key"] and "good-key" in config.read_text()
        assert config.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("ahead", ["SYNTHESIA_API_KEY", ""])
async def test_a_stored_key_is_used_whatever_key_the_runner_was_started_with(tmp_path: Path, ahead: str) -> None:
    runner, config = runner_with_rejected_key(tmp_path), tmp_path / "config.toml"
    options = {"check_key": check_key, "config_path": config, "key_override": ahead}
    async with open_dashboard(tmp_path, runner=runner, attached=False, **options) as opened:
        await enter_key(opened)
        await until(lambda: runner.start_count == 2 and opened.app.session.is_attached)
        assert runner.is_told_to_use_stored_key, "by its environment it would start with the old key again"
        await until(lambda: opened.app.session.batch_status is not None and not opened.app.session.batch_status.problem)
        assert ("Before the next start take SYNTHESIA_API_KEY away" in opened.status_text) is bool(ahead)
        assert len(opened.app.screen_stack) == 1


async def test_a_run_in_the_foreground_that_has_another_key_is_left_alone(tmp_path: Path) -> None:
    runner = runner_with_rejected_key(tmp_path)
    runner.is_foreground = True
    async with open_dashboard(
        tmp_path, runner=runner, attached=False, check_key=check_key, config_path=tmp_path / "config.toml"
    ) as opened:
        await enter_key(opened)
        await opened.wait_for_status("the `synthdub run` at work has another")
        assert not runner.requests_of(StopRequest)


async def test_a_runner_that_is_older_than_the_key_is_replaced_without_a_question(tmp_path: Path) -> None:
    """The remedy that is given: set the variable and start again. The runner of before may still be there."""

    async def own() -> Problem | None:
        return await check_key("good-key")

    runner = runner_with_rejected_key(tmp_path)
    options = {"check_key": check_key, "check_current_key": own, "config_path": tmp_path / "config.toml"}
    async with open_dashboard(tmp_path, runner=runner, attached=False, **options) as opened:
        await until(lambda: runner.start_count == 2 and opened.app.session.is_attached)
        await until(lambda: opened.app.session.batch_status is not None and not opened.app.session.batch_status.problem)
        assert len(opened.app.screen_stack) == 1 and not runner.is_told_to_use_stored_key


# -- quit ------------------------------------------------------------------------------------------------------------


async def test_quitting_with_work_in_flight_asks_and_leaves_the_runner_working(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DUBBING)]) as opened:
        await opened.press("q")
        await opened.wait_for_screen("QuitScreen")
        await opened.press("escape")
        await opened.wait_for_screen("MainScreen")
        await opened.press("q")
        await opened.wait_for_screen("QuitScreen")
        await opened.press("b")
        await until(lambda: opened.app._exit)
        assert not opened.runner.requests_of(StopRequest)
        assert "2 under way" in opened.app.exit_summary and "works on in the background" in opened.app.exit_summary


async def test_quitting_can_stop_the_runner_and_be_remembered(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DUBBING)]) as opened:
        await opened.press("q")
        await opened.wait_for_screen("QuitScreen")
        await opened.press("m", "s")
        await until(lambda: opened.app._exit)
        assert len(opened.runner.requests_of(StopRequest)) == 1
        assert "Stopped and saved" in opened.app.exit_summary
        assert opened.app.ui_state.current.quit == "stop"


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q"])
async def test_keys_that_end_programs_ask_as_q_does_and_once(tmp_path: Path, key: str) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DUBBING)]) as opened:
        await opened.press(key)
        await opened.wait_for_screen("QuitScreen")
        await opened.press(key)
        await opened.press("escape")
        await opened.wait_for_screen("MainScreen")
        assert not opened.app._exit
        await opened.press(key)
        await opened.wait_for_screen("QuitScreen")


async def test_quitting_without_work_does_not_ask(tmp_path: Path) -> None:
    runner = FakeRunner(tmp_path / "runner.sock", [make_job(0, TWO_LANGUAGES, DubState.DONE)])
    runner.batch_status = BatchStatus(time.time(), busy=False)
    async with open_dashboard(tmp_path, runner=runner) as opened:
        await opened.press("q")
        await until(lambda: opened.app._exit)
        assert opened.app.exit_summary == "synthdub: 2 of 2 dubs done."


# -- remove ----------------------------------------------------------------------------------------------------------


# -- screens, palette, memory ----------------------------------------------------------------------------------------


async def test_outputs_show_what_is_done_and_pass_review_marks_on(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES, DubState.DONE)
    async with open_dashboard(tmp_path, [job, make_job(1, TWO_LANGUAGES)]) as opened:
        await opened.press("o")
        await opened.wait_for_screen("OutputsScreen")
        await until(lambda: len(getattr(opened.app.screen, "_shown", [])) == 2)
        await opened.press("v")
        await until(lambda: opened.runner.requests_of(ReviewRequest))
        (request,) = opened.runner.requests_of(ReviewRequest)
        assert isinstance(request, ReviewRequest) and request.mark and len(request.cells) == 1
        await opened.press("escape")
        await opened.wait_for_screen("MainScreen")


async def test_the_palette_runs_an_action(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)]) as opened:
        command = next(c for c in opened.app.get_system_commands(opened.main) if c.title == "Mark all shown")
        command.callback()
        await until(lambda: opened.app.session.batch.marks.count == 2)


REDRAW_COMMAND = "Draw everything anew, where something else wrote on the screen"


async def test_the_palette_over_a_page_has_the_actions_of_the_page(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DONE)]) as opened:
        await opened.press("o")
        await opened.wait_for_screen("OutputsScreen")
        page = opened.app.screen
        commands = {command.title: command for command in opened.app.get_system_commands(page)}
        assert {"Copy an scp command", "Read the captions", "Quit", "Theme: change the colours", REDRAW_COMMAND} <= set(
            commands
        )
        assert not {"Retry", "Cancel", "Mark the column"} & set(commands)
        commands["Mark all shown"].callback()
        await until(lambda: len(getattr(page, "_marked", ())) == 2)


async def test_what_holds_the_batch_up_is_told_to_its_end(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)], size=(60, 24)) as opened:
        opened.runner.push_changes(meters=BatchStatus(time.time(), busy=True, problem="key_rejected"))
        await until(lambda: "Nothing is lost." in " ".join(opened.summary_text.split()))
        await until(lambda: opened.main.query_one(SummaryBar).size.height == 4)
        await opened.pilot.resize_terminal(60, 10)
        await until(lambda: opened.main.query_one(SummaryBar).size.height == 1)
        opened.runner.push_changes(meters=BatchStatus(time.time(), busy=True))
        await until(lambda: "done" in opened.summary_text)
        await opened.pilot.resize_terminal(60, 24)
        await until(lambda: opened.main.query_one(SummaryBar).size.height == 2)


async def test_an_empty_batch_says_how_to_begin(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, []) as opened:
        assert "a adds files" in opened.main.status_bar._text(80).plain
        for key in ("down", "right", "space", "r", "x", "L", "y", "enter", "*", "V", "f", "s", "escape"):
            await opened.press(key)
        assert opened.main.grid.cursor is None


async def test_two_dashboards_at_once(tmp_path: Path) -> None:
    job = make_job(0, TWO_LANGUAGES, DubState.DUBBING)
    runner = FakeRunner(tmp_path / "runner.sock", [job])
    async with open_dashboard(tmp_path, runner=runner) as first, open_dashboard(tmp_path / "..", runner=runner) as second:
        assert runner.subscriber_count == 2
        runner.set_dub(job, "fr-FR", make_dub(DubState.DONE, time.time()))
        for opened in (first, second):
            await until(lambda opened=opened: "✓ done" in opened.grid_lines()[3])


async def test_warnings_about_settings_are_shown_and_hold_up_nothing(tmp_path: Path) -> None:
    warning = "config.toml holds the key and can be read by others:\x1b chmod 600 config.toml"
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES, DubState.DONE)], warnings=(warning,)) as opened:
        await until(lambda: [note.message for note in opened.app._notifications] == [warning.replace("\x1b", "\ufffd")])
        await opened.press("down", "right")
        assert opened.main.grid.cursor is not None and opened.main.grid.cursor.language == "es-ES"


# -- what is answered and what happens -------------------------------------------------------------------------------


async def test_the_outputs_are_gathered_again_only_where_a_finished_file_changed(tmp_path: Path) -> None:
    """With 200,000 of them that took the loop's time every two seconds."""
    done, working = make_job(0, TWO_LANGUAGES, DubState.DONE), make_job(1, TWO_LANGUAGES, DubState.DUBBING)
    async with open_dashboard(tmp_path, [done, working]) as opened:
        await opened.press("o")
        await opened.wait_for_screen("OutputsScreen")
        page = opened.app.screen
        assert isinstance(page, OutputsScreen)
        before = page._load_rows()
        assert len(before) == 2 and page._load_rows() is before
        opened.runner.set_dub(working, "fr-FR", make_dub(DubState.READY, time.time()))
        await until(lambda: opened.app.session.batch.dub(working.id, "fr-FR").state is DubState.READY)  # type: ignore[union-attr]
        assert page._load_rows() is before
        await opened.press("v")
        await until(lambda: [row.reviewed for row in page._load_rows()].count(True) == 1)
        opened.runner.set_dub(working, "fr-FR", make_dub(DubState.DONE, time.time()))
        await until(lambda: len(page._load_rows()) == 3)
        opened.runner.set_dub(working, "fr-FR", make_dub(DubState.READY, time.time()))
        await until(lambda: len(page._load_rows()) == 2)


# -- names -----------------------------------------------------------------------------------------------------------


async def test_files_of_one_name_are_told_apart_wherever_they_stand(tmp_path: Path) -> None:
    paths = ["/v/a/intro.mp4", "/v/b/intro.mp4", "/v/outro.mp4", "/v/c/de/end.mp4", "/v/d/de/end.mp4"]
    jobs = [failed_job_at(number, path) for number, path in enumerate(paths)]
    async with open_dashboard(tmp_path, jobs, size=(80, 24)) as opened:
        names = [line.split()[0] for line in opened.grid_lines()[3:8]]
        assert names == ["a/intro.mp4", "b/intro.mp4", "outro.mp4", "/v/c/de/end.mp4", "/v/d/de/end.mp4"]
        opened.runner.push_changes(failed_job_at(5, "/v/e/outro.mp4"))
        await until(
            lambda: [(line.split() or [""])[0] for line in opened.grid_lines()[5:9:3]] == ["v/outro.mp4", "e/outro.mp4"]
        )
        await opened.press("R")
        await opened.wait_for_screen("ConfirmScreen")
        assert "a/intro.mp4: fr-FR, es-ES" in question_text(opened) and "/v/d/de/end.mp4: fr-FR, es-ES" in question_text(opened)


async def test_the_help_says_what_the_grid_shows(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)], size=(120, 50)) as opened:
        assert "1 file " in opened.grid_lines()[0]
        await opened.press("question_mark")
        await opened.wait_for_screen("HelpScreen")
        reader = opened.app.screen.query_one(TextView)
        text = "\n".join("".join(part for part, _ in line) for line in reader._lines)
        assert "What the grid shows" in text
        for shown in ("✗ FAIL", "~ 5m", "? ask", "prep proc"):
            assert shown in text
