"""Plays or opens a finished file with a program that suits the user's terminal or display.

A program with a window is started next to the dashboard; one that draws in the terminal gets the terminal. Over SSH without
a display no window can open: then the user learns how to copy the file instead.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

TERMINAL_PROGRAMS: Final = frozenset("timg chafa viu catimg tplay less ffprobe mediainfo".split())
"""Programs known to draw in the terminal."""

TERMINAL_OPTIONS: Final = ("--vo=tct", "--vo=caca", "--vo=sixel", "--vo=kitty", "--no-video", "-vo=tct", "--vid=no")
"""Options that make a player with a window stay in the terminal."""

EARLY_EXIT_SECONDS: Final = 1.5
"""Seconds within which a program that cannot work usually ends."""


class OpenPlan(NamedTuple):
    """How to open a file. If it cannot be opened (`none`), `reason` says why."""

    mode: Literal["terminal", "window", "none"]
    argv: tuple[str, ...] = ()
    reason: str = ""


def plan_open(path: str, command: str, environ: Mapping[str, str], platform: str = sys.platform) -> OpenPlan:
    """Decide how to open a file. `command` is the user's; if it is empty, the system's opener is used.

    The path replaces `{}` or `{path}` in the command, or is appended. A command that begins with `terminal:` or `window:` says
    where it draws.
    """
    display = _has_display(environ, platform)
    if not command.strip():
        opener = "open" if platform == "darwin" else "xdg-open"
        return _window((opener, path), display)
    way, bare = _split_mode(command)
    try:
        words = shlex.split(bare)
    except ValueError as error:
        return OpenPlan("none", reason=f"The configured play command cannot be read: {error}.")
    if not words:
        return OpenPlan("none", reason="The configured play command is empty.")
    argv = tuple(word.replace("{path}", path).replace("{}", path) for word in words)
    argv = argv if "{}" in bare or "{path}" in bare else (*argv, path)
    if way == "terminal" or (not way and _draws_in_terminal(words)):
        return _check_installed(OpenPlan("terminal", argv))
    return _window(argv, display)


def run_in_terminal(argv: tuple[str, ...]) -> str:
    """Run a program in the terminal, and wait for it. Returns what went wrong, or an empty string.

    Ctrl+C is for the program, not for us. A handler does nothing; the program would inherit an ignored signal.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        code = subprocess.run(argv, check=False).returncode  # noqa: S603 - the user's own command
    except OSError as error:
        return f"{argv[0]} could not be started: {error.strerror}."
    finally:
        signal.signal(signal.SIGINT, before)
    return _exit_text(argv[0], code) if code not in {0, -signal.SIGINT, 128 + signal.SIGINT} else ""


def start_in_window(argv: tuple[str, ...]) -> str:
    """Start a program with a window, and let it run. Returns what went wrong at its start, or an empty string.

    Blocks for `EARLY_EXIT_SECONDS` seconds: call it in a thread.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # survives the dashboard and its terminal
        )
    except OSError as error:
        return f"{argv[0]} could not be started: {error.strerror}."
    try:
        code = process.wait(EARLY_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        threading.Thread(target=process.wait, name="reap", daemon=True).start()
        return ""
    return _exit_text(argv[0], code) if code else ""


def _exit_text(program: str, code: int) -> str:
    return f"{program} was ended by signal {-code}." if code < 0 else f"{program} ended with code {code}."


def _split_mode(command: str) -> tuple[str, str]:
    for way in ("terminal", "window"):
        if command.lstrip().startswith(way + ":"):
            return way, command.lstrip()[len(way) + 1 :]
    return "", command


def _draws_in_terminal(words: list[str]) -> bool:
    return os.path.basename(words[0]) in TERMINAL_PROGRAMS or any(word in TERMINAL_OPTIONS for word in words[1:])


def _has_display(environ: Mapping[str, str], platform: str) -> bool:
    if environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        return True
    return platform == "darwin" and not environ.get("SSH_CONNECTION")


def _window(argv: tuple[str, ...], display: bool) -> OpenPlan:
    if not display:
        return OpenPlan(
            "none",
            reason="No display here, so no window can open. Y gives an scp command; play_command can name a terminal player.",
        )
    return _check_installed(OpenPlan("window", argv))


def _check_installed(opening: OpenPlan) -> OpenPlan:
    program = opening.argv[0]
    if shutil.which(program) is None:
        missing = f"The program {program} is not installed here."
        return OpenPlan("none", reason=f"{missing} Set another play_command, or press Y for an scp command.")
    return opening
