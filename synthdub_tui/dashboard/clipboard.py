"""Text for the user's own clipboard, over SSH too: OSC 52, which the terminal at the user's end obeys.

No terminal confirms it, and some ignore it; whoever copies shows the text as well. What is copied is meant to be pasted into
a shell, so nothing copied holds a control character: such names are written in the shell's `$'…'` form.
"""

from __future__ import annotations

import base64
import getpass
import os
import shlex
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final

from textual.app import App

SCREEN_CHUNK: Final = 700
"""GNU screen drops longer strings passed through it."""

_SAFE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./+,:@%=")


def copy(app: App[Any], text: str) -> None:
    """Send text to the terminal's clipboard. There is no answer: show the text too."""
    app.copy_to_clipboard(text)
    outer = passed_through(text, os.environ)
    driver = app._driver
    if outer and driver is not None:
        driver.write(outer)


def passed_through(text: str, environ: Mapping[str, str]) -> str:
    """The sequence wrapped for the terminal outside tmux or screen, which keep the plain one for themselves."""
    sequence = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("STY"):
        chunks = (sequence[start : start + SCREEN_CHUNK] for start in range(0, len(sequence), SCREEN_CHUNK))
        return "".join(f"\x1bP{chunk}\x1b\\" for chunk in chunks)
    return ""


def path_text(path: str) -> str:
    """A path to be copied: as it is, or in the shell's `$'…'` form if it holds what cannot be pasted safely."""
    return path if path.isprintable() else quoted(path)


def quoted(text: str) -> str:
    """One word for a shell: `shlex.quote`, or `$'…'` (bash, zsh, ksh) where there are controls or stray bytes."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escaped(char) for char in text) + "'"


def scp_command(paths: Sequence[str], target: tuple[str, str], between: str = " ") -> str:
    """A command to be run at the user's own machine; `target` is (user@host, port or ""). `between` stands between files."""
    host, port = target
    words = ["scp", *(["-P", port] if port else [])]
    return f"{' '.join(words)} {between.join(quoted(f'{host}:{_remote(path)}') for path in paths)} ."


def ssh_target(host: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """This machine as the user reached it: a configured `host`, else the address of the SSH connection, else its name."""
    connection = environ.get("SSH_CONNECTION", "").split()
    address, port = (connection[2], connection[3]) if len(connection) == 4 else (socket.gethostname(), "")
    if host:
        return (host if "@" in host else f"{_user(environ)}@{host}"), ("" if port == "22" else port)
    bracketed = f"[{address}]" if ":" in address else address
    return f"{_user(environ)}@{bracketed}", "" if port == "22" else port


def _user(environ: Mapping[str, str]) -> str:
    return environ.get("USER") or environ.get("LOGNAME") or getpass.getuser()


def _remote(path: str) -> str:
    """Backslashes before what is special: the remote shell of an old scp, and the globbing of a new one, both take them."""
    return "".join(char if char in _SAFE or not char.isascii() or not char.isprintable() else "\\" + char for char in path)


def _escaped(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if char.isprintable():
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))
