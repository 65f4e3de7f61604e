"""The locale decides how names are shown, and nothing else: not which file is meant, and not what outputs are called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from synthdub_tui import cli, utf8_mode
from synthdub_tui.errors import ProblemError
from synthdub_tui.ipc.runner_process import start_runner
from tests.cli import locales
from tests.cli.conftest import MakeShell, Shell, until

Environment = dict[str, str | None]

NON_ASCII_NAME = "Café 避.mp4"
"""In UTF-8 it holds bytes of which Python's and the system's EUC-JP make different characters."""


@pytest.fixture(params=[*locales.BUILT_LOCALES, "ASCII", "C", "POSIX"])
def other_locale(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    """The environment of another locale than the one that a batch was begun in."""
    if request.param == "ASCII":
        return locales.ASCII_ENVIRONMENT
    if request.param in locales.BUILT_LOCALES:
        return locales.build_locale(request.param, tmp_path)
    return {"LC_ALL": request.param, "PYTHONUTF8": None, "PYTHONCOERCECLOCALE": None}


@pytest.fixture
def latin_1_locale(tmp_path: Path) -> Environment:
    return locales.build_locale("de_DE.ISO-8859-1", tmp_path)


def run_raw_command(shell: Shell, *words: str | bytes, **environment: str | None) -> subprocess.CompletedProcess[bytes]:
    """A command with the very bytes that are typed and shown."""
    merged = {**shell.environment, **environment}
    return subprocess.run(
        [sys.executable, "-m", "synthdub_tui", *words],
        env={name: value for name, value in merged.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def output_names(folder: Path) -> set[bytes]:
    return {name for name in os.listdir(os.fsencode(folder)) if b".dubbed-" in name}


def dub_states(said: str) -> dict[str, str]:
    (file,) = json.loads(said)["files"]
    return {dub["language"]: dub["state"] for dub in file["dubs"]}


def start_and_kill_run(shell: Shell, **environment: str | None) -> None:
    """A run that was killed while the service was dubbing."""
    shell.write_video(NON_ASCII_NAME)
    words = ("--targets", "fr-FR", "--settle", "0", "--poll-interval", "0.1")
    process = shell.start_command("run", str(shell.videos), *words, **environment)
    until(lambda: any(record.endpoint == "GET /v2/dubbing/{id}" for record in shell.sandbox.journal))
    process.kill()
    process.wait()
    assert dub_states(shell.run_command("status", "--json", **environment).out) == {"fr-FR": "dubbing"}


def test_a_batch_begun_under_utf_8_continues_in_any_locale(make_shell: MakeShell, other_locale: Environment) -> None:
    shell = make_shell(dubbing_seconds=(3600, 3600))
    start_and_kill_run(shell, **locales.UTF_8_ENVIRONMENT)
    shell.sandbox.advance(3600)
    said = shell.run_batch(str(shell.videos), "--targets", "fr-FR", "--settle", "0", **other_locale)
    assert (said.exit_code, len(shell.sandbox.billed_dubs())) == (0, 1)
    stem = NON_ASCII_NAME.removesuffix(".mp4")
    assert output_names(shell.videos) == {f"{stem}.dubbed-fr-FR.{ending}".encode() for ending in ("mp4", "srt", "vtt")}
    for environment in (other_locale, locales.UTF_8_ENVIRONMENT):
        assert dub_states(shell.run_command("status", "--json", **environment).out) == {"fr-FR": "done"}
        assert shell.run_command("retry", f"{NON_ASCII_NAME}:fr-FR", **environment).exit_code == 0


def test_a_batch_begun_in_any_locale_continues_under_utf_8(make_shell: MakeShell, other_locale: Environment) -> None:
    shell = make_shell(dubbing_seconds=(3600, 3600))
    start_and_kill_run(shell, **other_locale)
    shell.sandbox.advance(3600)
    assert shell.run_batch(str(shell.videos), "--targets", "fr-FR", "--settle", "0", **locales.UTF_8_ENVIRONMENT).exit_code == 0
    assert len(shell.sandbox.billed_dubs()) == 1


def test_names_are_printed_in_the_encoding_of_the_terminal(shell: Shell, latin_1_locale: Environment) -> None:
    shell.write_video("Café 🎬.mp4")
    said = run_raw_command(
        shell, "run", str(shell.videos), "--targets", "fr-FR", "--poll-interval", "0.1", "--settle", "0", **latin_1_locale
    )
    assert said.returncode == 0
    assert "Café ?.mp4".encode("latin-1") in said.stdout
    assert b"Caf\xe9 ?.mp4" in run_raw_command(shell, "status", **latin_1_locale).stdout


def test_arguments_are_read_in_the_encoding_of_the_terminal(shell: Shell, latin_1_locale: Environment) -> None:
    shell.write_video("Café.mp4")
    typed = os.fsencode(shell.videos / "Café.mp4").replace("é".encode(), b"\xe9")
    run = ("run", "--targets", "fr-FR", "--poll-interval", "0.1", "--settle", "0", "--title", b"\xdcbung")
    assert run_raw_command(shell, *run, typed, **latin_1_locale).returncode == 0
    assert [project.title for project in shell.sandbox.state.projects.values()] == ["Übung - Café"]
    assert run_raw_command(shell, "retry", b"Caf\xe9.mp4:fr-FR", **latin_1_locale).returncode == 0


def test_a_file_name_that_is_not_utf_8_is_refused(shell: Shell, latin_1_locale: Environment) -> None:
    (shell.videos / os.fsdecode(b"Caf\xe9.mp4")).write_bytes(b"v")
    for path in (os.fsencode(shell.videos) + b"/Caf\xe9.mp4", str(shell.videos)):
        said = run_raw_command(shell, "run", "--targets", "fr-FR", path, **latin_1_locale)
        assert (said.returncode, b"not valid UTF-8" in said.stderr) == (2, True)
    assert not shell.sandbox.journal


def test_composed_and_decomposed_accents_name_the_same_file(shell: Shell) -> None:
    """As macOS and the archives that it makes have them; the user types the usual ones."""
    typed = unicodedata.normalize("NFC", str(shell.write_video(unicodedata.normalize("NFD", "Café.mp4"))))
    for _ in range(2):
        assert shell.run_batch(typed, str(shell.videos), "--targets", "fr-FR", "--settle", "0").exit_code == 0
    assert len(shell.sandbox.billed_dubs()) == 1
    for name in (typed, "Café.mp4", f"{typed}:fr-FR"):
        assert shell.run_command("retry", unicodedata.normalize("NFC", name)).exit_code == 0


def test_the_restart_in_utf8_mode_keeps_process_and_environment(make_shell: MakeShell) -> None:
    shell = make_shell(dubbing_seconds=(3600, 3600))
    shell.write_video(NON_ASCII_NAME)
    process = shell.start_command("run", str(shell.videos), "--targets", "fr-FR", "--settle", "0", **locales.ASCII_ENVIRONMENT)
    until(lambda: shell.state.exists() and shell.read_status()["runner"] == process.pid)
    process.terminate()
    assert process.wait(30) == 130


def test_a_background_runner_uses_utf_8(shell: Shell) -> None:
    environment = {
        name: value for name, value in {**shell.environment, **locales.ASCII_ENVIRONMENT}.items() if value is not None
    }
    with pytest.raises(ProblemError) as caught:
        start_runner("/dev/null/é", [], environment)
    assert "/dev/null/é" in caught.value.detail


def test_a_python_that_cannot_be_restarted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is part of another program; and one that is no UTF-8 a second time, which would go on for ever."""
    monkeypatch.setattr(sys, "executable", "")
    assert _refusal_code() == "locale_unusable"
    monkeypatch.undo()
    monkeypatch.setitem(sys._xoptions, utf8_mode.RESTART_OPTION, "ascii")
    assert _refusal_code() == "locale_unusable"


def _refusal_code() -> str:
    with pytest.raises(ProblemError) as caught:
        utf8_mode.restart_in_utf8_mode()
    return caught.value.code


def test_a_command_called_from_python_stays_in_its_process(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it was started again"))
    assert cli.main(["languages"]) == 0
    assert "fr-FR" in capsys.readouterr().out
