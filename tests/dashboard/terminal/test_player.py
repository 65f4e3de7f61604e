"""With which program a finished file is opened."""

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest

from synthdub_tui.dashboard.terminal import player

GUI_ENVIRONMENT = {"DISPLAY": ":0"}

SSH_ENVIRONMENT = {"SSH_CONNECTION": "a 1 b 22"}


@pytest.mark.parametrize(
    ("command", "environ", "way", "argv"),
    [
        ("true", GUI_ENVIRONMENT, "window", ("true", "/x y")),
        ("true {} -a", GUI_ENVIRONMENT, "window", ("true", "/x y", "-a")),
        ("true --file={path}", GUI_ENVIRONMENT, "window", ("true", "--file=/x y")),
        ("terminal: true -q", SSH_ENVIRONMENT, "terminal", ("true", "-q", "/x y")),
        ("true --vo=tct", SSH_ENVIRONMENT, "terminal", ("true", "--vo=tct", "/x y")),
        ("less", SSH_ENVIRONMENT, "terminal", ("less", "/x y")),
        ("window: less", GUI_ENVIRONMENT, "window", ("less", "/x y")),
        ("true", SSH_ENVIRONMENT, "none", ()),
        ("", SSH_ENVIRONMENT, "none", ()),
        ("no-such-program-here", GUI_ENVIRONMENT, "none", ()),
        ("true 'open", GUI_ENVIRONMENT, "none", ()),
        ("terminal:", GUI_ENVIRONMENT, "none", ()),
    ],
)
def test_how_a_file_is_opened(command: str, environ: dict[str, str], way: str, argv: tuple[str, ...]) -> None:
    opening = player.plan_open("/x y", command, environ, "linux")
    assert (opening.mode, opening.argv) == (way, argv)
    assert bool(opening.reason) == (way == "none")


def test_a_mac_has_a_display_of_its_own() -> None:
    there = player.plan_open("/x", "true", {}, "darwin")
    assert there.mode == "window"
    assert player.plan_open("/x", "true", SSH_ENVIRONMENT, "darwin").mode == "none"


def test_programs_that_fail_say_so(tmp_path: Path) -> None:
    assert player.run_in_terminal(("true",)) == ""
    assert player.run_in_terminal(("false",)) == "false ended with code 1."
    assert "could not be started" in player.run_in_terminal((str(tmp_path),))
    assert player.start_in_window(("true",)) == ""
    assert player.start_in_window(("false",)) == "false ended with code 1."
    assert "could not be started" in player.start_in_window((str(tmp_path),))
    assert "signal 15" in player.start_in_window(("sh", "-c", "kill -15 $$"))


def test_ctrl_c_is_for_the_player() -> None:
    """The handler is not inherited as ignored, and ours is back afterwards."""
    before = signal.getsignal(signal.SIGINT)
    ends = "import os, signal; os.kill(os.getppid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT); signal.pause()"
    assert player.run_in_terminal((sys.executable, "-c", f"import signal; signal.signal(2, signal.SIG_DFL); {ends}")) == ""
    assert player.run_in_terminal(("sh", "-c", "kill -2 $$")) == ""
    assert signal.getsignal(signal.SIGINT) is before


def test_a_window_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "EARLY_EXIT_SECONDS", 0.05)
    mark = tmp_path / "mark"
    assert player.start_in_window(("sh", "-c", f"read x < {shlex.quote(str(_make_fifo(tmp_path)))}; touch {mark}")) == ""
    with open(tmp_path / "fifo", "w") as fifo:  # it still lives, in a session of its own, and waits for this
        fifo.write("go\n")


def _make_fifo(folder: Path) -> Path:
    path = folder / "fifo"
    os.mkfifo(path)
    return path
