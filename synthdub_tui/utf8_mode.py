"""Restarts synthdub in Python's UTF-8 mode if the locale has another encoding.

Python reads file names in the locale's encoding. In another locale the same file would have another name: it would be paid for
again, and other programs could not read the names of its outputs. In UTF-8 mode the locale decides only how names are shown.
"""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

from synthdub_tui.errors import ProblemError

RESTART_OPTION: Final = "synthdub-terminal"
"""Option -X of a restarted Python: the terminal's encoding. Unlike a variable, no other program inherits it."""


def restart_in_utf8_mode() -> NoReturn:
    """Replace this process by the same command in UTF-8 mode, with the same streams and environment.

    Raises `ProblemError` ("locale_unusable").
    """
    encoding = sys.getfilesystemencoding()
    if RESTART_OPTION in sys._xoptions or not sys.executable:  # already restarted once, or embedded in another program
        raise ProblemError("locale_unusable", encoding)
    terminal = next((stream.encoding for stream in (sys.stdout, sys.stderr, sys.stdin) if stream), encoding)
    try:
        python = os.fsencode(sys.executable)
        options = [b"-X", b"utf8", b"-X", f"{RESTART_OPTION}={terminal}".encode()]
        os.execv(python, [python, *options, *_command_line()[1:]])  # noqa: S606 - our own program
    except (OSError, UnicodeError) as error:
        raise ProblemError("locale_unusable", f"{encoding}: {error}") from error


def _command_line() -> list[bytes]:
    """The command line of this process in bytes, from the kernel if possible.

    Encoding the decoded words is not enough: the system's EUC-JP and Python's differ, so some cannot be encoded again.
    """
    try:
        with open("/proc/self/cmdline", "rb") as file:
            return file.read().split(b"\0")[:-1]
    except OSError:
        return [os.fsencode(word) for word in sys.orig_argv]


def decode_typed_word(word: str, terminal: str) -> str:
    """The word as typed: if it is not UTF-8, decoded in the terminal's encoding, unless a file has that very name."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return word if os.path.lexists(word) else os.fsencode(word).decode(terminal, "surrogateescape")
    return word
