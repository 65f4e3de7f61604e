"""Defines the command line: commands and flags. Each command imports its own modules, so that nothing heavy is loaded here
(see tests/cli/test_startup_imports.py)."""

from __future__ import annotations

import argparse
import errno
import io
import os
import resource
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from synthdub_tui import __version__
from synthdub_tui.errors import ProblemError
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

INTERRUPTED_EXIT_CODE: Final = 130

PRINT_ONLY_COMMANDS: Final = frozenset({"status", "outputs"})
"""Commands that only print and end. People call them often and wait for them, so they skip the interpreter's shutdown."""

Handler = Callable[[argparse.Namespace], int]


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
    name = words[0] if words and words[0] in _COMMANDS else "dashboard"
    parser = _parser(name)
    arguments = parser.parse_intermixed_args(words[1:] if name != "dashboard" else words)
    try:
        code = _COMMANDS[name](arguments)
        sys.stdout.flush()
    except ProblemError as trouble:
        meant = _suggest_command(words[0]) if name == "dashboard" and trouble.code == "path_missing" else ""
        print(f"synthdub: {trouble}{meant}", file=sys.stderr)
        return 3 if trouble.code == "state_busy" else 2
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT_CODE
    except OSError as error:
        return _handle_output_error(error)
    if name in PRINT_ONLY_COMMANDS:
        os._exit(code)  # everything is printed; shutting the interpreter down would take a tenth of the command's time
    return code


def _suggest_command(word: str) -> str:
    """A hint at the command whose name is close to a word that was read as a path; empty if there is none."""
    from difflib import get_close_matches  # noqa: PLC0415 - seldom needed

    near = get_close_matches(word, _COMMANDS.keys() - _INTERNAL_COMMANDS, n=1, cutoff=0.7)
    return f" Did you mean the command `synthdub {near[0]}`?" if near else ""


def _restart_in_utf8_mode() -> int:
    from synthdub_tui.utf8_mode import restart_in_utf8_mode  # noqa: PLC0415 - UTF-8 is usual

    try:
        restart_in_utf8_mode()
    except ProblemError as trouble:
        print(f"synthdub: {trouble}", file=sys.stderr)
        return 2


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
        return 0
    print(f"synthdub: {ProblemError('not_printed', error.strerror or '')}", file=sys.stderr)
    return 2


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


def _parser(name: str) -> argparse.ArgumentParser:
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
    _ARGUMENTS[name](parser)
    return parser


def _work_arguments(parser: argparse.ArgumentParser) -> None:
    """Add PATH, batch options and work options."""
    parser.add_argument("paths", nargs="*", metavar="PATH", help="video files, or folders of them")
    batch = parser.add_argument_group("batch options")
    batch.add_argument("--path", dest="more_paths", action="append", metavar="PATH", help="same as PATH")
    batch.add_argument("--targets", type=_codes, action="extend", metavar="CODES", help="target languages: fr-FR,es-ES")
    batch.add_argument("--source-language", metavar="CODE", help="language of the videos, or auto (default: en)")
    batch.add_argument("--title", metavar="TEXT", help="prefix of the titles at the service (default: none)")
    _flag(batch, "recursive", "look into subfolders (default: yes)")
    batch.add_argument(
        "--exclude", action="append", metavar="GLOB", help="leave out what matches below a named folder; may be repeated"
    )
    _flag(batch, "include-hidden", "take names that begin with a dot (default: no)")
    _flag(batch, "follow-links", "look into folders that links lead to (default: no)")
    batch.add_argument("--force-new", action="store_true", help="start anew: new assets, and credits spent again")
    batch.add_argument("--output-dir", metavar="DIR", help="where outputs go (default: beside their source)")
    _flag(batch, "lipsync", "match the lips; costs more (default: no)")
    batch.add_argument("--video-duration", metavar="MODE", help="adaptive or original (default: adaptive)")
    batch.add_argument("--visibility", metavar="WHO", help="private or public (default: private)")
    _flag(batch, "captions", "save srt and vtt (default: yes)")
    _settings_arguments(parser)


def _settings_arguments(parser: argparse.ArgumentParser) -> None:
    work = parser.add_argument_group("work options")
    _service_arguments(work)
    work.add_argument("--s3-endpoint-url", metavar="URL", help="storage of a test service")
    work.add_argument("--state-dir", "--state-path", dest="state_dir", metavar="DIR", help="where the work is kept")
    work.add_argument("--config", metavar="FILE", help="configuration file")
    work.add_argument(
        "--poll-interval", type=float, metavar="SECONDS", help="least time between two polls of a project (default: 10)"
    )
    work.add_argument("--tier", metavar="PLAN", help="creator, enterprise-2, enterprise-1, unlimited (default: creator)")
    work.add_argument("--max-uploads", type=int, metavar="N", help="files uploaded at once (default: 3)")
    work.add_argument("--max-downloads", type=int, metavar="N", help="languages downloaded at once (default: 4)")
    work.add_argument(
        "--settle",
        dest="settle_seconds",
        type=float,
        metavar="SECONDS",
        help="for how long a file found in a folder must not have changed (default: 10)",
    )
    work.add_argument("--yes", action="store_true", help="do not ask before what costs")


def _service_arguments(group: argparse._ActionsContainer) -> None:
    group.add_argument("--api-key", metavar="KEY", help="visible to other users: prefer SYNTHESIA_API_KEY")
    group.add_argument("--api-key-file", metavar="FILE", help="file that holds the key")
    group.add_argument("--api-url", metavar="URL", help="address of the service (default: https://api.synthesia.io)")


def _state_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state-dir", "--state-path", dest="state_dir", metavar="DIR", help="where the work is kept")
    parser.add_argument("--config", metavar="FILE", help="configuration file")


def _flag(group: argparse._ArgumentGroup, name: str, text: str) -> None:
    group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)


def _json(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--json", action="store_true", help=text)


def _codes(words: str) -> list[str]:
    return [code.strip() for code in words.split(",") if code.strip()]


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Dub without a screen. Without PATH: whatever the state directory still has to do."
    _work_arguments(parser)
    parser.add_argument("--resume", action="store_true", help="end a pause first; without, a paused batch begins nothing new")
    _json(parser, "one JSON object a line")


def _dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    _work_arguments(parser)
    screen = parser.add_argument_group("screen options")
    screen.add_argument("--read-only", action="store_true", help="watch, change nothing")
    screen.add_argument("--slow-link", action="store_true", help="paint less often, for a poor connection")
    screen.add_argument("--ascii", action="store_true", help="draw with ASCII only")
    screen.add_argument("--no-mouse", dest="mouse", action="store_false", help="leave the mouse to the terminal")


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "All of it against the built-in sandbox, in a temporary state directory. No key needed."
    parser.add_argument("--files", type=int, default=6, metavar="N", help="videos to make and dub (default: 6)")
    parser.add_argument("--targets", type=_codes, action="extend", metavar="CODES", help="default: fr-FR,es-ES,de-DE")
    parser.add_argument("--headless", action="store_true", help="no dashboard: run, and print the summary")
    parser.add_argument("--folder", metavar="DIR", help="keep videos and outputs here (default: a temporary folder, kept too)")


def _sandbox_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "The stand-in for the service alone, on this machine only."
    parser.add_argument("--port", type=int, default=0, metavar="P", help="port of the API, storage on the next (default: any)")
    parser.add_argument("--config", metavar="FILE", help="TOML file with times, failures, faults and limits")


def _select_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("select", nargs="+", metavar="SELECT", help="FILE, FILE:LANG, or failed")
    parser.add_argument("--yes", action="store_true", help="do not ask before what may cost, or forgets something paid")
    _state_arguments(parser)


def _relocate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Say where videos are now. Nothing is sent or paid. OLD and NEW may be equal: the file is the same video."
    )
    parser.add_argument("old", metavar="OLD", help="a video or folder as the batch knows it")
    parser.add_argument("new", metavar="NEW", help="where it is now")
    _state_arguments(parser)


def _adopt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Follow a dub in a project that only Synthesia Studio shows, and download it. The service is asked for free. The "
        "dub may be waiting, held, failed, cancelled or unknown."
    )
    parser.add_argument("dub", metavar="FILE:LANG", help="the dub, as `synthdub status` names it")
    parser.add_argument("project", metavar="PROJECT", help="the project's id, or its address in Synthesia Studio")
    _service_arguments(parser)
    _state_arguments(parser)


def _status_arguments(parser: argparse.ArgumentParser) -> None:
    _json(parser, "for programs")
    _state_arguments(parser)


def _languages_arguments(parser: argparse.ArgumentParser) -> None:
    _json(parser, "one JSON object a line")


_ARGUMENTS: Final[dict[str, Callable[[argparse.ArgumentParser], None]]] = {
    "dashboard": _dashboard_arguments,
    "run": _run_arguments,
    "runner": _settings_arguments,
    "demo": _demo_arguments,
    "sandbox": _sandbox_arguments,
    "status": _status_arguments,
    "outputs": _status_arguments,
    "retry": _select_arguments,
    "cancel": _select_arguments,
    "remove": _select_arguments,
    "relocate": _relocate_arguments,
    "adopt": _adopt_arguments,
    "pause": _state_arguments,
    "resume": _state_arguments,
    "stop": _state_arguments,
    "languages": _languages_arguments,
    "doctor": _settings_arguments,
}


# -- commands --------------------------------------------------------------------------------------------------------


def _settings(arguments: argparse.Namespace) -> Any:
    from synthdub_tui.settings.resolve import resolve_settings  # noqa: PLC0415

    settings = resolve_settings(vars(arguments), os.environ)
    for warning in settings.warnings:
        print(f"synthdub: {make_printable(warning, 4096)}", file=sys.stderr)
    return settings


def _paths(arguments: argparse.Namespace) -> list[str]:
    named = [*getattr(arguments, "paths", []), *getattr(arguments, "more_paths", [])]
    return [os.path.expanduser(path) for path in named]


def _dashboard(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.dashboard import dashboard  # noqa: PLC0415

    return dashboard(_settings(arguments), _paths(arguments), vars(arguments))


def _run(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.run import run_and_exit  # noqa: PLC0415

    return run_and_exit(_settings(arguments), _paths(arguments), vars(arguments))


def _runner(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.runner import serve  # noqa: PLC0415

    return serve(_settings(arguments), vars(arguments))


def _demo(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.demo import demo  # noqa: PLC0415

    return demo(arguments.files, getattr(arguments, "targets", []), "headless" in arguments, getattr(arguments, "folder", ""))


def _sandbox(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.sandbox import sandbox  # noqa: PLC0415

    return sandbox(arguments.port, getattr(arguments, "config", None))


def _status(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.status import status  # noqa: PLC0415

    return status(_settings(arguments), as_json="json" in arguments)


def _outputs(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.outputs import outputs  # noqa: PLC0415

    return outputs(_settings(arguments), as_json="json" in arguments)


def _languages(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.languages import languages  # noqa: PLC0415

    return languages(as_json="json" in arguments)


def _retry(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.retry import retry  # noqa: PLC0415

    return retry(_settings(arguments), arguments.select, yes="yes" in arguments)


def _cancel(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.cancel import cancel  # noqa: PLC0415

    return cancel(_settings(arguments), arguments.select)


def _remove(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.remove import remove  # noqa: PLC0415

    return remove(_settings(arguments), arguments.select, yes="yes" in arguments)


def _relocate(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.relocate import relocate  # noqa: PLC0415

    return relocate(_settings(arguments), arguments.old, arguments.new)


def _adopt(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.adopt import adopt  # noqa: PLC0415

    return adopt(_settings(arguments), arguments.dub, arguments.project)


def _pause(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.pause import pause  # noqa: PLC0415

    return pause(_settings(arguments), paused=True)


def _resume(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.pause import pause  # noqa: PLC0415

    return pause(_settings(arguments), paused=False)


def _stop(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.stop import stop  # noqa: PLC0415

    return stop(_settings(arguments))


def _doctor(arguments: argparse.Namespace) -> int:
    from synthdub_tui.commands.doctor import doctor  # noqa: PLC0415

    return doctor(vars(arguments))


_COMMANDS: Final[dict[str, Handler]] = {
    "dashboard": _dashboard,
    "run": _run,
    "runner": _runner,
    "demo": _demo,
    "sandbox": _sandbox,
    "status": _status,
    "outputs": _outputs,
    "retry": _retry,
    "cancel": _cancel,
    "remove": _remove,
    "relocate": _relocate,
    "adopt": _adopt,
    "pause": _pause,
    "resume": _resume,
    "stop": _stop,
    "languages": _languages,
    "doctor": _doctor,
}

_INTERNAL_COMMANDS: Final = frozenset({"dashboard", "runner"})
"""Commands that the program starts, not people."""
