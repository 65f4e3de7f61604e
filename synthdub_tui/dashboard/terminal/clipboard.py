"""Copies text to the user's own clipboard, over SSH too, with OSC 52, which the terminal on the user's side carries out.

No terminal confirms it, and some ignore it, so callers show the text as well. Users paste it into a shell, so it must not
contain control characters: names with such characters are written in the shell's `$'…'` form.
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

SCREEN_CHUNK_CHARACTERS: Final = 700
"""Most characters of one string that passes through GNU screen, which drops longer ones."""

_SAFE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./+,:@%=")


def copy_text(app: App[Any], text: str) -> None:
    """Send text to the terminal's clipboard. The terminal does not answer: show the text too."""
    app.copy_to_clipboard(text)
    outer = wrap_for_multiplexer(text, os.environ)
    driver = app._driver
    if outer and driver is not None:
        driver.write(outer)


def wrap_for_multiplexer(text: str, environ: Mapping[str, str]) -> str:
    """The sequence wrapped for the terminal outside tmux or screen, which keep a plain one; empty if neither is in use."""
    sequence = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("STY"):
        chunks = (
            sequence[start : start + SCREEN_CHUNK_CHARACTERS] for start in range(0, len(sequence), SCREEN_CHUNK_CHARACTERS)
        )
        return "".join(f"\x1bP{chunk}\x1b\\" for chunk in chunks)
    return ""


def path_text(path: str) -> str:
    """A path for copying: as it is, or in the shell's `$'…'` form if it contains characters that are unsafe to paste."""
    return path if path.isprintable() else quote_for_shell(path)


def quote_for_shell(text: str) -> str:
    """One word for a shell: `shlex.quote`, or `$'…'` (bash, zsh, ksh) if there are control characters or stray bytes."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(_escape_character(char) for char in text) + "'"


def scp_command(paths: Sequence[str], target: tuple[str, str], between: str = " ") -> str:
    """A command to run on the user's own machine. `target` is (user@host, port or ""); `between` separates the files."""
    host, port = target
    words = ["scp", *(["-P", port] if port else [])]
    return f"{' '.join(words)} {between.join(quote_for_shell(f'{host}:{_remote(path)}') for path in paths)} ."


def ssh_target(host: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """user@host and port at which the user reaches this machine: by `host`, else the SSH connection, else its name."""
    connection = environ.get("SSH_CONNECTION", "").split()
    address, port = (connection[2], connection[3]) if len(connection) == 4 else (socket.gethostname(), "")
    if host:
        return (host if "@" in host else f"{_user(environ)}@{host}"), ("" if port == "22" else port)
    bracketed = f"[{address}]" if ":" in address else address
    return f"{_user(environ)}@{bracketed}", "" if port == "22" else port


def _user(environ: Mapping[str, str]) -> str:
    return environ.get("USER") or environ.get("LOGNAME") or getpass.getuser()


def _remote(path: str) -> str:
    """Put backslashes before special characters: the remote shell of an old scp and the globbing of a new one accept them."""
    return "".join(char if char in _SAFE or not char.isascii() or not char.isprintable() else "\\" + char for char in path)


def _escape_character(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if char.isprintable():
        return char
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))
