"""Clipboard and opener: what the outputs screen acts with."""

import base64
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from synthdub_tui.dashboard import text_layout
from synthdub_tui.dashboard.directory_listing import resolved
from synthdub_tui.dashboard.terminal import clipboard, player

NASTY = "/v/a b/$(id) `x` 'q' \"d\" \\ * [1] ~ é日本.mp4"
STRAY = os.fsdecode(b"/v/new\nline \x1b[31m \xff '.mp4")
SSH = {"USER": "ana", "SSH_CONNECTION": "10.0.0.9 5555 192.0.2.7 22"}


def shell(command: str) -> list[str]:
    """The words that bash makes of a command, without running it."""
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("text", [NASTY, STRAY, "plain", "", "-x", "a\u202eb"])
def test_quoted_is_one_word_for_the_shell(text: str) -> None:
    quoted = clipboard.quoted(text)
    assert quoted.isprintable()
    assert shell(quoted) == [text]


def test_paths_are_copied_as_they_are_unless_that_is_dangerous() -> None:
    assert clipboard.path_text(NASTY) == NASTY
    assert shell(clipboard.path_text(STRAY)) == [STRAY]


def test_scp_survives_both_shells() -> None:
    command = clipboard.scp_command([NASTY, "/v/x.mp4"], clipboard.ssh_target("", SSH))
    program, first, second, here = shell(command)
    assert (program, second, here) == ("scp", "ana@192.0.2.7:/v/x.mp4", ".")
    host, _, remote = first.partition(":")
    assert host == "ana@192.0.2.7"
    assert shell(remote) == [NASTY]


@pytest.mark.parametrize(
    ("host", "environ", "target"),
    [
        ("", SSH, ("ana@192.0.2.7", "")),
        ("", SSH | {"SSH_CONNECTION": "::1 1 2001:db8::7 2222"}, ("ana@[2001:db8::7]", "2222")),
        ("box", SSH | {"SSH_CONNECTION": "a 1 b 2222"}, ("ana@box", "2222")),
        ("bob@box", SSH, ("bob@box", "")),
    ],
)
def test_where_scp_connects(host: str, environ: dict[str, str], target: tuple[str, str]) -> None:
    assert clipboard.ssh_target(host, environ) == target


def test_without_ssh_the_host_has_its_own_name() -> None:
    host, port = clipboard.ssh_target("", {"LOGNAME": "eve"})
    assert host.startswith("eve@")
    assert port == ""


def test_multiplexers_pass_the_sequence_on() -> None:
    text = "x" * 3000
    plain = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    assert clipboard.passed_through(text, {}) == ""
    tmux = clipboard.passed_through(text, {"TMUX": "/tmp/s,1,0"})
    assert tmux == "\x1bPtmux;\x1b" + plain + "\x1b\\"
    screen = clipboard.passed_through(text, {"STY": "1.pts"})
    assert screen.replace("\x1bP", "").replace("\x1b\\", "") == plain


GUI = {"DISPLAY": ":0"}
OVER_SSH = {"SSH_CONNECTION": "a 1 b 22"}


@pytest.mark.parametrize(
    ("command", "environ", "way", "argv"),
    [
        ("true", GUI, "window", ("true", "/x y")),
        ("true {} -a", GUI, "window", ("true", "/x y", "-a")),
        ("true --file={path}", GUI, "window", ("true", "--file=/x y")),
        ("terminal: true -q", OVER_SSH, "terminal", ("true", "-q", "/x y")),
        ("true --vo=tct", OVER_SSH, "terminal", ("true", "--vo=tct", "/x y")),
        ("less", OVER_SSH, "terminal", ("less", "/x y")),
        ("window: less", GUI, "window", ("less", "/x y")),
        ("true", OVER_SSH, "none", ()),
        ("", OVER_SSH, "none", ()),
        ("no-such-program-here", GUI, "none", ()),
        ("true 'open", GUI, "none", ()),
        ("terminal:", GUI, "none", ()),
    ],
)
def test_how_a_file_is_opened(command: str, environ: dict[str, str], way: str, argv: tuple[str, ...]) -> None:
    opening = player.plan("/x y", command, environ, "linux")
    assert (opening.way, opening.argv) == (way, argv)
    assert bool(opening.explain) == (way == "none")


def test_a_mac_has_a_display_of_its_own() -> None:
    there = player.plan("/x", "true", {}, "darwin")
    assert there.way == "window"
    assert player.plan("/x", "true", OVER_SSH, "darwin").way == "none"


def test_programs_that_fail_say_so(tmp_path: Path) -> None:
    assert player.run_in_terminal(("true",)) == ""
    assert player.run_in_terminal(("false",)) == "false ended with code 1."
    assert "could not be started" in player.run_in_terminal((str(tmp_path),))
    assert player.start_beside(("true",)) == ""
    assert player.start_beside(("false",)) == "false ended with code 1."
    assert "could not be started" in player.start_beside((str(tmp_path),))
    assert "signal 15" in player.start_beside(("sh", "-c", "kill -15 $$"))


def test_ctrl_c_is_for_the_player() -> None:
    """The handler is not inherited as ignored, and ours is back afterwards."""
    before = signal.getsignal(signal.SIGINT)
    ends = "import os, signal; os.kill(os.getppid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT); signal.pause()"
    assert player.run_in_terminal((sys.executable, "-c", f"import signal; signal.signal(2, signal.SIG_DFL); {ends}")) == ""
    assert player.run_in_terminal(("sh", "-c", "kill -2 $$")) == ""
    assert signal.getsignal(signal.SIGINT) is before


def test_a_window_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "EARLY", 0.05)
    mark = tmp_path / "mark"
    assert player.start_beside(("sh", "-c", f"read x < {shlex.quote(str(_fifo(tmp_path)))}; touch {mark}")) == ""
    with open(tmp_path / "fifo", "w") as fifo:  # it still lives, in a session of its own, and waits for this
        fifo.write("go\n")


def _fifo(folder: Path) -> Path:
    path = folder / "fifo"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_400, "99.4 kB"), (999_600, "1.0 MB"), (4_500_000_000, "4.5 GB")],
)
def test_sizes(number: int, text: str) -> None:
    assert text_layout.size(number) == text


def test_text_fits_cells() -> None:
    assert text_layout.fit("日本語", 4) == "日… "
    for text in ("日本語", "abc", "", "a" * 50, "e\u0301" * 9):
        for width in range(9):
            assert text_layout.cell_len(text_layout.fit(text, width)) == width, (text, width)
            assert text_layout.cell_len(text_layout.fit_end(text, max(1, width))) <= max(1, width)
            for part in text_layout.wrap(((text, ""), ("日本語 語", "bad")), max(2, width)):
                assert text_layout.cell_len("".join(span for span, _ in part).rstrip()) <= max(2, width)


def test_wrapping_loses_nothing() -> None:
    line = (("intro ", "faint"), ("日本語 and more words", "bad"))
    for width in range(2, 30):
        joined = [span for part in text_layout.wrap(line, width) for span in part]
        assert "".join(text for text, _ in joined) == "intro 日本語 and more words"
        assert {role for _, role in joined} == {"faint", "bad"}


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("sub", "/base/sub"),
        ("../x", "/x"),
        ("/abs", "/abs"),
        ("/base//other/videos", "/other/videos"),
        ("/base/~/videos", "/home/me/videos"),
        ("~/a b", "/home/me/a b"),
        ("/base/a~b", "/base/a~b"),
        ("//", "/"),
    ],
)
def test_what_is_typed_behind_the_path_in_the_prompt_takes_its_place(
    typed: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert resolved(typed, "/base") == path
