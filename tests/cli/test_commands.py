"""The commands from the outside: output, files, exit codes, and steering a run that works."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path

import av
import pytest

from synthdub_tui.sandbox.config import Fault, SimulatedFailure
from tests.cli.conftest import MakeShell, Shell, until
from tests.sources.test_write_probe import WRITER_PROGRAMS, hold_file
from tests.waiting import wait_for_exit, wait_for_output


def test_run_as_json(make_shell: MakeShell) -> None:
    shell = make_shell(failures=(SimulatedFailure(code="moderation", languages=("es-ES",)),))
    said = shell.run_batch(str(shell.write_video("intro.mp4", 9_000_000)), "--targets", "fr-FR,es-ES", "--json")
    assert said.exit_code == 1
    events = [json.loads(line) for line in said.out.splitlines()]
    assert {event["event"] for event in events} >= {"added", "stage", "dub", "problem", "summary"}
    assert all({"time", "event"} <= event.keys() for event in events)
    assert events[-1]["event"] == "summary"
    assert set(events[-1]) >= {"jobs", "dubs", "done", "failed", "cancelled", "unknown", "seconds"}
    (problem,) = [event for event in events if event["event"] == "problem"]
    assert (Path(problem["file"]).name, problem["language"], problem["code"]) == ("intro.mp4", "es-ES", "moderation")
    assert problem["remedy"]


def test_run_as_text_names_what_failed(make_shell: MakeShell) -> None:
    shell = make_shell(failures=(SimulatedFailure(code="moderation", languages=("es-ES",)),))
    said = shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR,es-ES")
    assert "1 of 2 dubs done" in said.out
    assert "intro.mp4 es-ES: Refused by content moderation [moderation]" in said.out
    assert "intro.mp4 es-ES" in said.err
    status = shell.read_status()
    (dub,) = [dub for dub in status["files"][0]["dubs"] if dub["language"] == "es-ES"]
    assert dub["problem"]["code"] == "moderation"
    assert dub["problem"]["remedy"]
    assert "moderation" in shell.run_command("status").out


def test_vendor_option_names(shell: Shell) -> None:
    """A command line of the vendor's script works as it is, but for the warning about the key."""
    video = shell.write_video("launch.mp4")
    words = ("--path", str(video), "--targets", "fr-FR", "--source-language", "en", "--title", "T", "--no-recursive")
    said = shell.run_batch(*words, "--api-key", shell.sandbox.api_key, "--state-path", str(shell.home / "other"))
    assert said.exit_code == 0
    assert "SYNTHESIA_API_KEY" in said.err
    assert (shell.videos / "launch.dubbed-fr-FR.mp4").exists()
    assert (shell.home / "other" / "jobs").is_dir()


def test_outputs(shell: Shell) -> None:
    shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR,es-ES")
    rows = [json.loads(line) for line in shell.run_command("outputs", "--json").out.splitlines()]
    assert {row["language"] for row in rows} == {"fr-FR", "es-ES"}
    assert all(os.path.getsize(row["path"]) == row["size"] and row["present"] == "yes" for row in rows)
    assert rows[0]["seconds"] == pytest.approx(4.0, abs=0.5)
    os.unlink(rows[0]["path"])
    assert "moved or deleted" in shell.run_command("outputs").out


def test_retry_and_cancel_without_a_runner(make_shell: MakeShell) -> None:
    shell = make_shell(failures=(SimulatedFailure(languages=("es-ES",), times=1),))
    video = shell.write_video("intro.mp4")
    shell.run_batch(str(video), "--targets", "fr-FR,es-ES")
    assert shell.run_command("retry", "failed").exit_code == 1  # may cost: not without consent
    assert shell.dub_states()["es-ES"] == "failed"
    said = shell.run_command("retry", f"{video}:es-ES", "--yes")
    assert (said.exit_code, shell.dub_states()["es-ES"]) == (0, "waiting")
    assert shell.run_command("cancel", "intro.mp4:es-ES").out.startswith("1 cancelled")
    assert shell.dub_states()["es-ES"] == "cancelled"
    assert shell.run_command("retry", "intro.mp4", "--yes").exit_code == 0
    assert shell.run_batch().exit_code == 0


def test_remove_without_a_runner(make_shell: MakeShell) -> None:
    shell = make_shell(failures=(SimulatedFailure(languages=("es-ES",)),))
    video = shell.write_video("intro.mp4")
    shell.run_batch(str(video), "--targets", "fr-FR,es-ES")
    said = shell.run_command("remove", "failed")
    assert (said.exit_code, "say --yes to forget" in said.err) == (1, True)
    assert shell.dub_states() == {"fr-FR": "done", "es-ES": "failed"}
    assert shell.run_command("remove", f"{video}:es-ES", "--yes").out == "1 dub removed; files stay\n"
    assert shell.dub_states() == {"fr-FR": "done"}
    assert shell.run_command("remove", "intro.mp4").exit_code == 0
    assert (shell.read_status()["files"], list((shell.state / "jobs").glob("*.toml"))) == ([], [])
    assert (shell.videos / "intro.dubbed-fr-FR.mp4").exists()


def test_remove_while_a_run_works(make_shell: MakeShell) -> None:
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    process = shell.start_command(
        "run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR,es-ES", "--poll-interval", "0.1"
    )
    until(lambda: shell.state.exists() and set(shell.dub_states().values()) == {"dubbing"})
    said = shell.run_command("remove", "intro.mp4")
    assert (said.exit_code, "Cancel first" in said.err) == (1, True)
    shell.run_command("cancel", "intro.mp4:fr-FR")
    assert shell.run_command("remove", "intro.mp4:fr-FR", "--yes").exit_code == 0
    assert shell.dub_states() == {"es-ES": "dubbing"}
    assert shell.run_command("stop").exit_code == 0
    assert process.wait(20) == 130
    process.communicate()


def test_adopt_without_a_runner(make_shell: MakeShell) -> None:
    shell = make_shell(faults=(Fault("POST /v2/dubbing", "reset_after", count=1),))
    shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    (project,) = shell.sandbox.state.projects
    missing = shell.run_command("adopt", "intro.mp4:fr-FR", project.translate(str.maketrans("0123456789", "1234567890")))
    assert (missing.exit_code, missing.out) == (2, "")
    assert missing.err.count("\n") == 1
    assert "Nothing was changed or paid" in missing.err
    assert shell.run_command("adopt", "intro.mp4:fr-FR", project, SYNTHESIA_API_KEY=None).err.startswith("synthdub: No API key")
    assert shell.dub_states() == {"fr-FR": "unknown"}
    said = shell.run_command("adopt", "intro.mp4:fr-FR", f"https://app.synthesia.io/#/dubbing/{project}")
    assert (said.exit_code, said.err, "`synthdub run` downloads it" in said.out) == (0, "", True)
    assert (shell.run_batch().exit_code, shell.dub_states(), len(shell.sandbox.billed_dubs())) == (0, {"fr-FR": "done"}, 1)


def test_adopt_while_a_run_works(make_shell: MakeShell) -> None:
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0), faults=(Fault("POST /v2/dubbing", "reset_after", count=1),))
    shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    (project,) = shell.sandbox.state.projects
    process = shell.start_command("run", str(shell.write_video("other.mp4")), "--targets", "es-ES", "--poll-interval", "0.1")
    until(lambda: shell.dub_states() == {"fr-FR": "unknown", "es-ES": "dubbing"})
    said = shell.run_command("adopt", "intro.mp4:fr-FR", project)
    assert (said.exit_code, said.err, "synthdub run" in said.out) == (0, "", False)
    assert shell.dub_states() == {"fr-FR": "dubbing", "es-ES": "dubbing"}
    again = shell.run_command("adopt", "intro.mp4:fr-FR", project)
    assert (again.exit_code, "under way at the service" in again.err) == (2, True)
    shell.sandbox.advance(3600)
    assert wait_for_exit(process) == 0
    process.communicate()
    assert (set(shell.dub_states().values()), len(shell.sandbox.billed_dubs())) == ({"done"}, 2)


def test_a_selection_without_a_match_is_an_error(shell: Shell) -> None:
    said = shell.run_command("retry", "nothing.mp4")
    assert (said.exit_code, "nothing.mp4" in said.err) == (2, True)


def test_commands_control_a_working_run(make_shell: MakeShell) -> None:
    shell = make_shell(dubbing_seconds=(3600.0, 3600.0))
    process = shell.start_command(
        "run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR,es-ES", "--poll-interval", "0.1"
    )
    until(lambda: shell.state.exists() and set(shell.dub_states().values()) == {"dubbing"})
    assert shell.read_status()["runner"] == process.pid
    assert shell.run_batch().exit_code == 3  # the state directory is held
    said = shell.run_command("cancel", "intro.mp4:fr-FR")
    assert "may be billed" in said.out
    until(lambda: shell.dub_states()["fr-FR"] == "cancelled")
    assert shell.run_command("pause").exit_code == 0
    assert shell.read_status()["paused"] is True
    assert shell.run_command("resume").exit_code == 0
    assert shell.run_command("retry", "intro.mp4:fr-FR").exit_code == 0
    until(lambda: shell.dub_states()["fr-FR"] == "dubbing")
    assert shell.run_command("stop").exit_code == 0
    assert wait_for_exit(process) == 130
    process.communicate()
    shell.sandbox.advance(3600)
    assert shell.run_batch().exit_code == 0
    assert len(shell.sandbox.billed_dubs()) == 2


def test_files_are_private(shell: Shell) -> None:
    shell.run_batch(str(shell.write_video("intro.mp4")), "--targets", "fr-FR")
    assert stat.S_IMODE(shell.state.stat().st_mode) == 0o700
    for path in shell.state.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_output_dir_keeps_the_structure(shell: Shell) -> None:
    (shell.videos / "unit 1").mkdir()
    shell.write_video("unit 1/intro.mp4")
    out = shell.home / "out"
    assert shell.run_batch(str(shell.videos), "--targets", "fr-FR", "--output-dir", str(out)).exit_code == 0
    assert (out / "unit 1" / "intro.dubbed-fr-FR.mp4").exists()


def test_stop_and_status_without_a_runner(shell: Shell) -> None:
    assert "No runner" in shell.run_command("stop").out
    assert shell.read_status()["runner"] is None


def test_status_shows_that_a_run_waits_for_a_file_being_written(shell: Shell) -> None:
    video = shell.write_video("rec.mp4")
    with hold_file(video, WRITER_PROGRAMS["appending"]):
        process = shell.start_command(
            "run", str(shell.videos), "--targets", "fr-FR", "--settle", "0.1", "--poll-interval", "0.1"
        )
        until(lambda: "waits until the file is complete (last change " in shell.run_command("status").out)
    assert process.wait(60) == 0
    assert "waits until" not in shell.run_command("status").out
    assert shell.dub_states() == {"fr-FR": "done"}


def test_languages(shell: Shell) -> None:
    rows = [json.loads(line) for line in shell.run_command("languages", "--json").out.splitlines()]
    assert sum(row["source"] for row in rows) == 169
    assert sum(row["target"] for row in rows) == 158
    assert "French (Canada)" in shell.run_command("languages").out


def test_doctor_finds_no_problem(shell: Shell) -> None:
    said = shell.run_command("doctor")
    assert (said.exit_code, "takes the key" in said.out) == (0, True), said.out


def test_doctor_finds_a_wrong_key_and_an_unreachable_service(shell: Shell) -> None:
    said = shell.run_command("doctor", SYNTHESIA_API_KEY="wrong")
    assert (said.exit_code, "fatal    service" in said.out) == (1, True), said.out
    said = shell.run_command("doctor", "--api-url", "http://127.0.0.1:9")
    assert (said.exit_code, "cannot be reached" in said.out) == (1, True), said.out


def test_sandbox_command(shell: Shell) -> None:
    process = shell.start_command("sandbox")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[0].startswith("API      http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    assert wait_for_exit(process) == 0
    process.communicate()


def test_demo(shell: Shell) -> None:
    """Four videos of the three types in three languages, every output playable."""
    folder = shell.home / "demo"
    said = shell.run_command("demo", "--headless", "--files", "4", "--folder", str(folder), SYNTHESIA_API_KEY=None)
    assert said.exit_code == 0, said.err
    assert "12 of 12 dubs done" in said.out
    sources = [path for path in (folder / "videos").iterdir() if ".dubbed-" not in path.name]
    assert {path.suffix for path in sources} == {".mp4", ".webm", ".mov"}
    outputs = list((folder / "videos").glob("*.dubbed-*.mp4"))
    assert len(outputs) == 12
    for path in [*sources, *outputs]:
        with av.open(str(path)) as media:
            assert sum(1 for _ in media.decode(video=0)) > 10
        with av.open(str(path)) as media:
            assert sum(1 for _ in media.decode(audio=0)) > 10


def test_an_interrupted_demo_does_not_promise_to_continue(shell: Shell) -> None:
    """Its sandbox ends with it, so that no later start could go on."""
    process = shell.start_command("demo", "--headless", "--folder", str(shell.home / "demo"), SYNTHESIA_API_KEY=None)
    assert process.stdout is not None
    while "uploading" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, _ = wait_for_output(process)
    assert process.returncode == 130
    assert "left undone" in out
    assert "next start" not in out


def test_help_lists_the_commands(shell: Shell) -> None:
    said = shell.run_command("--help")
    assert said.exit_code == 0
    for command in ("run", "demo", "sandbox", "status", "outputs", "retry", "cancel", "adopt", "stop", "languages", "doctor"):
        assert f"  {command}" in said.out
        assert shell.run_command(command, "--help").exit_code == 0


def test_a_run_continues_when_its_output_is_closed(shell: Shell) -> None:
    process = shell.start_command(
        "run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR", "--poll-interval", "0.1", "--json"
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert wait_for_exit(process) == 0
    assert (shell.videos / "intro.dubbed-fr-FR.mp4").exists()


def test_the_end_of_a_problem_is_reported(make_shell: MakeShell) -> None:
    """In words that are true of all: a state directory that is back says nothing of the service."""
    shell = make_shell(dubbing_seconds=(60.0, 60.0))
    process = shell.start_command("run", str(shell.write_video("intro.mp4")), "--targets", "fr-FR", "--tier", "unlimited")
    until(shell.sandbox.billed_dubs)
    shell.state.rename(shell.home / "moved")
    assert process.stdout is not None
    assert process.stderr is not None
    assert any("The state directory cannot be used" in line for line in iter(process.stderr.readline, ""))
    (shell.home / "moved").rename(shell.state)
    assert any("That trouble is over; the work goes on." in line for line in iter(process.stdout.readline, ""))
    process.send_signal(signal.SIGINT)
    wait_for_output(process)
    assert process.returncode == 130


def test_output_closed_before_the_last_line_is_no_error(shell: Shell) -> None:
    process = shell.start_command("outputs", PYTHONUNBUFFERED=None)
    assert process.stdout is not None
    process.stdout.close()
    assert wait_for_exit(process) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_status_reports_missing_outputs_lost_state_and_a_pause(shell: Shell) -> None:
    first, second = shell.write_video("first.mp4"), shell.write_video("second.mp4")
    shell.run_batch(str(first), str(second), "--targets", "fr-FR")
    (shell.videos / "first.dubbed-fr-FR.mp4").unlink()
    (file,) = (shell.state / "jobs").glob("second-*")
    file.write_text(f'[source]\npath = "{second}"\nrubbish')
    shell.run_batch(str(first), "--targets", "fr-FR")
    assert shell.run_command("pause").exit_code == 0
    for _ in range(2):
        said, status = shell.run_command("status").out, shell.read_status()
        assert "first.mp4 fr-FR: done, but its output is gone" in said
        assert "second.mp4" in said and "What was done for this video is not known any more" in said
        assert [lost["path"] for lost in status["lost"]] == [str(second)]
        assert status["files"][0]["dubs"][0]["present"] == "moved or deleted"
        assert status["paused"] is True and ", paused" in said


def test_an_ambiguous_file_name_is_an_error_that_lists_the_paths(shell: Shell) -> None:
    for folder in ("a", "b"):
        (shell.videos / folder).mkdir()
    videos = [str(shell.write_video(f"{folder}/intro.mp4")) for folder in ("a", "b")]
    shell.run_batch(*videos, "--targets", "fr-FR")
    for command in ("retry", "cancel", "remove"):
        for word in ("intro.mp4", "intro.mp4:fr-FR"):
            said = shell.run_command(command, word)
            assert (said.exit_code, all(path in said.err for path in videos), "Traceback" in said.err) == (2, True, False)
    assert len(shell.read_status()["files"]) == 2
    assert shell.run_command("remove", f"{videos[0]}:fr-FR").exit_code == 0


def test_yes_does_not_consent_to_retry_moderation_refusals(make_shell: MakeShell) -> None:
    shell = make_shell(failures=(SimulatedFailure(code="moderation", languages=("es-ES",)),))
    video = str(shell.write_video("intro.mp4"))
    shell.run_batch(video, "--targets", "fr-FR,es-ES")
    for words in (("failed", "--yes"), (video, "--yes"), (f"{video}:es-ES", "--yes")):
        said = shell.run_command("retry", *words)
        assert (said.exit_code, "FILE:LANG" in said.err, shell.dub_states()["es-ES"]) == (1, True, "failed")
