"""Defines the command line: commands and flags. Each command imports its own modules, so that nothing heavy is loaded here
(see tests/cli/test_startup_imports.py)."""

from __future__ import annotations

import argparse
import errno
import io
import os
import resource
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

from synthdub_tui import __version__
from synthdub_tui.errors import EXIT_BUSY, EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, ProblemError
from synthdub_tui.text import make_printable

SUMMARY: Final = """\
synthdub: dub a library of videos into many languages through the Synthesia API

usage: synthdub [PATH …] [batch options]       the dashboard; PATHs are added first
       synthdub COMMAND …                      see below; `synthdub COMMAND --help` tells more

commands:
  run [PATH …]        the same work without a screen; ends when nothing is left to do
  demo                all of it against a built-in sandbox, with small real videos; no key needed
  status              the batch in numbers, every dub and what is wrong with it
  outputs             one row per finished output
  retry SELECT …      FILE, FILE:LANG or `failed`; asks before what may cost
  cancel SELECT …     FILE or FILE:LANG
  remove SELECT …     take what has ended out of the batch; files stay
  relocate OLD NEW    a file or folder that was moved: its videos keep what was made of them
  adopt FILE:LANG PROJECT
                      a dub that only Synthesia Studio shows: follow and download it, for free
  pause, resume       begin nothing new, or go on
  stop                the runner saves and ends; work resumes at the next start
  languages           codes and names
  doctor              checks key, service, state directory, disk and terminal
  sandbox             the stand-in for the service alone
"""

EPILOG: Final = """\
environment: SYNTHESIA_API_KEY, SYNTHDUB_API_URL, SYNTHDUB_S3_ENDPOINT_URL, SYNTHDUB_STATE_DIR, SYNTHDUB_DATA_DIR (receipts),
             SYNTHDUB_CONFIG, NO_COLOR
             (flags go before the environment, that before the configuration file)
exit codes:  0 every dub is done; 1 the work ended and some dub is not; 2 wrong usage, configuration or key, nothing was
             sent; 3 another runner holds the state directory; 5 nothing failed, and some dubs wait for you;
             130 interrupted: saved, will resume
"""

PRINT_ONLY_COMMANDS: Final = frozenset({"status", "outputs"})
"""Commands that only print and end. People call them often and wait for them, so they skip the interpreter's shutdown."""

COMMANDS: Final = (
    *("dashboard", "run", "runner", "demo", "sandbox", "status", "outputs", "retry", "cancel", "remove", "relocate", "adopt"),
    *("pause", "resume", "stop", "languages", "doctor"),
)
"""Each is a module of `commands`, with `add_arguments(parser)` and `run(arguments)`, which returns the exit code."""

INTERNAL_COMMANDS: Final = frozenset({"dashboard", "runner"})
"""Commands that the program starts, not people."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default this process's own, and return the exit code.

    For a command of `PRINT_ONLY_COMMANDS` the process ends here. Without `argv`, if Python does not read file names as UTF-8,
    the process restarts the same command.
    """
    if argv is None and sys.getfilesystemencoding() != "utf-8":
        return _restart_in_utf8_mode()
    _disable_core_dumps()
    _replace_unencodable_output()
    words = _decoded_arguments() if argv is None else list(argv)
    name = words[0] if words and words[0] in COMMANDS else "dashboard"
    try:
        command = _command(name)
        parser = _parser(name, command)
        arguments = parser.parse_intermixed_args(words[1:] if name != "dashboard" else words)
        code = int(command.run(arguments))
        sys.stdout.flush()
    except ProblemError as trouble:
        meant = _suggest_command(words[0]) if name == "dashboard" and trouble.code == "path_missing" else ""
        print(f"synthdub: {trouble}{meant}", file=sys.stderr)
        return EXIT_BUSY if trouble.code == "state_busy" else EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        return _handle_output_error(error)
    if name in PRINT_ONLY_COMMANDS:
        os._exit(code)  # everything is printed; shutting the interpreter down would take a tenth of the command's time
    return code


def _suggest_command(word: str) -> str:
    """A hint at the command whose name is close to a word that was read as a path; empty if there is none."""
    from difflib import get_close_matches  # noqa: PLC0415 - seldom needed

    near = get_close_matches(word, set(COMMANDS) - INTERNAL_COMMANDS, n=1, cutoff=0.7)
    return f" Did you mean the command `synthdub {near[0]}`?" if near else ""


def _restart_in_utf8_mode() -> int:
    from synthdub_tui.utf8_mode import restart_in_utf8_mode  # noqa: PLC0415 - UTF-8 is usual

    try:
        restart_in_utf8_mode()
    except ProblemError as trouble:
        print(f"synthdub: {trouble}", file=sys.stderr)
        return EXIT_USAGE


def _terminal_encoding() -> str:
    """The terminal's encoding if this process was restarted because of it, else empty."""
    return str(sys._xoptions.get("synthdub-terminal", ""))


def _decoded_arguments() -> list[str]:
    """The words of this process's command line, decoded as they were typed."""
    terminal = _terminal_encoding()
    if not terminal:
        return sys.argv[1:]
    from synthdub_tui.utf8_mode import decode_typed_word  # noqa: PLC0415 - UTF-8 is usual

    return [decode_typed_word(word, terminal) for word in sys.argv[1:]]


def _replace_unencodable_output() -> None:
    """Print names that the terminal's encoding cannot show with replacement characters, instead of failing."""
    terminal = _terminal_encoding()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and (terminal or stream.encoding).lower() != "utf-8":
            stream.reconfigure(encoding=terminal or None, errors="replace")
    if terminal and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding=terminal, errors="replace")


def _handle_output_error(error: OSError) -> int:
    """The exit code if standard output accepts no more data. Raises other errors again."""
    gone = isinstance(error, BrokenPipeError)  # the reader, such as `head`, has ended; that is no error
    if not gone and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python would try to write the rest again at exit
    if gone:
        return EXIT_DONE
    print(f"synthdub: {ProblemError('not_printed', error.strerror or '')}", file=sys.stderr)
    return EXIT_USAGE


def _disable_core_dumps() -> None:
    """Prevent core dumps of this process and of a runner that it starts: they would contain the API key and signed URLs.

    A limit of 0 does not stop programs that receive dumps from the kernel (core_pattern with a pipe, as on most desktops). A
    limit of 1 byte does, since no dump is that small.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (1 if hard else 0, hard))


# -- parsing ---------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Makes error messages safe to print: words of the command line may be file names, which `*` brings in."""

    def error(self, message: str) -> NoReturn:
        super().error(make_printable(message, 4096))


class _Help(argparse.HelpFormatter):
    """Uses `_terminal_width` for the width. argparse creates a formatter for each option, and finding the width would import
    modules that nothing else needs."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=_terminal_width() - 2)


class _Overview(_Help, argparse.RawDescriptionHelpFormatter):
    """Help of the whole program, whose description is laid out by hand."""


def _terminal_width() -> int:
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named):
        return int(named)
    try:
        return os.get_terminal_size().columns or 80
    except OSError:
        return 80


def _parser(name: str, command: Any) -> argparse.ArgumentParser:
    own = name == "dashboard"
    parser = _Parser(
        prog="synthdub" if own else f"synthdub {name}",
        description=SUMMARY if own else None,
        epilog=EPILOG if own else None,
        usage=argparse.SUPPRESS if own else None,
        formatter_class=_Overview if own else _Help,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    if own:
        parser.add_argument("--version", action="version", version=f"synthdub {__version__}")
    command.add_arguments(parser)
    return parser


# -- commands --------------------------------------------------------------------------------------------------------


def _command(name: str) -> Any:
    """Returns the module of a command. Only this one is imported, so that `synthdub status` does not wait for the dashboard."""
    return import_module(f"synthdub_tui.commands.{name}")
