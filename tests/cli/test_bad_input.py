"""Bad input gets one clear line, exit code 2, and nothing is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.waiting import wait_for_output


def assert_refused(shell: Shell, *words: str, mentions: str, **environment: str | None) -> None:
    said = shell.run_batch(*words, **environment)
    assert said.exit_code == 2, said
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert mentions in lines[0]
    assert "Traceback" not in said.err
    assert shell.sandbox.journal == []


@pytest.fixture
def video(shell: Shell) -> str:
    return str(shell.write_video("intro.mp4"))


def test_no_key(shell: Shell, video: str) -> None:
    assert_refused(shell, video, "--targets", "fr-FR", mentions="No API key", SYNTHESIA_API_KEY=None)


def test_a_key_with_a_blank_in_it(shell: Shell, video: str) -> None:
    assert_refused(shell, video, "--targets", "fr-FR", mentions="API key holds blanks", SYNTHESIA_API_KEY="a b")


def test_wrong_key_is_one_request(shell: Shell, video: str) -> None:
    said = shell.run_batch(video, "--targets", "fr-FR,es-ES", SYNTHESIA_API_KEY="wrong")
    assert said.exit_code == 2
    assert "does not accept the API key" in said.err
    assert len(shell.sandbox.journal) == 1


@pytest.mark.parametrize(("code", "near"), [("fr-XX", "fr-FR"), ("french", "fr"), ("es_MEX", "es-MX")])
def test_unknown_language(shell: Shell, video: str, code: str, near: str) -> None:
    assert_refused(shell, video, "--targets", code, mentions=near)


def test_unknown_source_language(shell: Shell, video: str) -> None:
    assert_refused(shell, video, "--targets", "fr-FR", "--source-language", "zu", mentions="Unknown language code ('zu'")


def test_no_targets(shell: Shell, video: str) -> None:
    assert_refused(shell, video, mentions="No target languages")


def test_missing_path(shell: Shell) -> None:
    assert_refused(shell, "/no/such/place", "--targets", "fr-FR", mentions="no such file or folder (/no/such/place)")


def test_one_missing_path_among_good_ones(shell: Shell, video: str) -> None:
    assert_refused(shell, video, "/no/such/place", "--targets", "fr-FR", mentions="/no/such/place")
    assert shell.read_status()["jobs"] == 0


def test_empty_folder(shell: Shell) -> None:
    assert_refused(shell, str(shell.videos), "--targets", "fr-FR", mentions="No videos found")


def test_unsupported_file(shell: Shell) -> None:
    assert_refused(shell, str(shell.write_video("slides.pdf")), "--targets", "fr-FR", mentions=".mp4, .webm, .mov and .qt")


def test_an_output_as_input(shell: Shell) -> None:
    assert_refused(shell, str(shell.write_video("intro.dubbed-fr-FR.mp4")), "--targets", "es-ES", mentions="output of synthdub")


def test_zero_byte_file(shell: Shell) -> None:
    assert_refused(shell, str(shell.write_video("empty.mp4", 0)), "--targets", "fr-FR", mentions="The file is empty")


def test_zero_byte_file_in_a_folder(shell: Shell) -> None:
    shell.write_video("empty.mp4", 0)
    assert_refused(shell, str(shell.videos), "--targets", "fr-FR", mentions="The file is empty")


def test_title_over_256_characters(shell: Shell, video: str) -> None:
    assert_refused(shell, video, "--targets", "fr-FR", "--title", "x" * 260, mentions="at most 256 characters")


def test_unwritable_state_folder(shell: Shell, video: str) -> None:
    assert_refused(
        shell, video, "--targets", "fr-FR", "--state-dir", "/proc/nowhere", mentions="state directory cannot be used"
    )


def test_state_folder_that_is_a_file(shell: Shell, video: str) -> None:
    assert_refused(shell, video, "--targets", "fr-FR", "--state-dir", video, mentions="state directory cannot be used")


def test_unwritable_output_folder(shell: Shell, video: str) -> None:
    """Told for each file, since folders are made along the way; nothing is sent for it."""
    said = shell.run_batch(video, "--targets", "fr-FR", "--output-dir", "/proc/nowhere")
    assert said.exit_code == 1
    assert "output folder cannot be written" in said.err
    assert shell.sandbox.journal == []


@pytest.mark.parametrize(
    "url", ["ftp://example.org", "api.synthesia.io", "http://example.org", "https://", "https://u:p@x.org"]
)
def test_bad_url(shell: Shell, video: str, url: str) -> None:
    assert_refused(shell, video, "--targets", "fr-FR", "--api-url", url, mentions="Not an address")


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("max_uploads = ", "line 1"),
        ('api_url = "https://x.org"\nmax_uploads = "three"', "line 2: max_uploads must be a whole number"),
        ("[batch]\ntargts = []", "line 2: unknown setting 'targts'; did you mean targets?"),
        ('[batch]\ncaptions = "yes"', "line 2: captions must be true or false"),
    ],
)
def test_malformed_config(shell: Shell, video: str, tmp_path: Path, text: str, mentions: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    assert_refused(shell, video, "--targets", "fr-FR", "--config", str(config), mentions=mentions)


def test_missing_config_file(shell: Shell, video: str) -> None:
    assert_refused(shell, video, "--targets", "fr-FR", "--config", "/no/config.toml", mentions="no such file")


def test_unknown_option(shell: Shell, video: str) -> None:
    said = shell.run_batch(video, "--target", "fr-FR")
    assert said.exit_code == 2
    assert "--target" in said.err


def test_nothing_to_do(shell: Shell) -> None:
    assert_refused(shell, mentions="Nothing to do")


def test_unreachable_service(shell: Shell, video: str) -> None:
    """No address of ours answers there: tried again and again, so it is ended here by a signal, and nothing is lost."""
    process = shell.start_command("run", video, "--targets", "fr-FR", "--api-url", "http://127.0.0.1:9")
    assert process.stderr is not None
    assert "cannot be reached" in process.stderr.readline()
    process.terminate()
    wait_for_output(process)
    assert process.returncode == 130
    assert shell.dub_states() == {"fr-FR": "waiting"}


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("outputs",), ("languages",)])
def test_standard_output_on_a_full_disk(shell: Shell, words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        said = shell.run_command(*words, out=full)
    assert (said.exit_code, said.err.count("\n")) == (2, 1)
    assert "could be printed (No space left on device)" in said.err


def test_names_that_the_terminal_cannot_show(shell: Shell) -> None:
    said = shell.run_command("languages", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert said.exit_code == 0
    assert "nb       Norwegian Bokm?l" in said.out


def dashboard_refusal(shell: Shell, *words: str) -> list[str]:
    """What is said instead of opening the dashboard; nothing is begun."""
    said = shell.run_command(*words)
    assert said.exit_code == 2, said
    assert not shell.state.exists() and shell.sandbox.journal == []
    return said.err.strip().splitlines()


def test_a_mistyped_command_gets_a_suggestion(shell: Shell) -> None:
    (line,) = dashboard_refusal(shell, "stauts")
    assert "no such file" in line and line.endswith("Did you mean the command `synthdub status`?")


def test_wrong_paths_are_reported_before_the_dashboard_opens(shell: Shell, video: str) -> None:
    text = shell.videos / "notes.txt"
    text.write_text("no video")
    lines = dashboard_refusal(shell, video, str(shell.videos / "none"), str(text))
    assert len(lines) == 2 and not any("Did you mean" in line for line in lines)
    assert any("none" in line for line in lines) and any("notes.txt" in line for line in lines)


def test_a_wrong_language_is_reported_before_the_dashboard_opens(shell: Shell, video: str) -> None:
    (line,) = dashboard_refusal(shell, video, "--targets", "fr-FX")
    assert "Unknown language code" in line and "fr-FR" in line
