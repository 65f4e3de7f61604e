"""Options that several commands share, and the settings that a command line gives. `--help` needs nothing more."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from synthdub_tui.text import make_printable

if TYPE_CHECKING:
    from synthdub_tui.settings.model import Settings


def add_work_options(parser: argparse.ArgumentParser) -> None:
    """Add PATH, batch options and work options."""
    parser.add_argument("paths", nargs="*", metavar="PATH", help="video files, or folders of them")
    batch = parser.add_argument_group("batch options")
    batch.add_argument("--path", dest="more_paths", action="append", metavar="PATH", help="same as PATH")
    batch.add_argument("--targets", type=split_codes, action="extend", metavar="CODES", help="target languages: fr-FR,es-ES")
    batch.add_argument("--source-language", metavar="CODE", help="language of the videos, or auto (default: en)")
    batch.add_argument("--title", metavar="TEXT", help="prefix of the titles at the service (default: none)")
    _add_flag(batch, "recursive", "look into subfolders (default: yes)")
    batch.add_argument(
        "--exclude", action="append", metavar="GLOB", help="leave out what matches below a named folder; may be repeated"
    )
    _add_flag(batch, "include-hidden", "take names that begin with a dot (default: no)")
    _add_flag(batch, "follow-links", "look into folders that links lead to (default: no)")
    batch.add_argument("--force-new", action="store_true", help="start anew: new assets, and credits spent again")
    batch.add_argument("--output-dir", metavar="DIR", help="where outputs go (default: beside their source)")
    _add_flag(batch, "lipsync", "match the lips; costs more (default: no)")
    batch.add_argument("--video-duration", metavar="MODE", help="adaptive or original (default: adaptive)")
    batch.add_argument("--visibility", metavar="WHO", help="private or public (default: private)")
    _add_flag(batch, "captions", "save srt and vtt (default: yes)")
    add_settings_options(parser)


def add_settings_options(parser: argparse.ArgumentParser) -> None:
    """Add what each command needs that reads all settings."""
    work = parser.add_argument_group("work options")
    add_service_options(work)
    work.add_argument("--s3-endpoint-url", metavar="URL", help="storage of a test service")
    add_state_options(work)
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


def add_service_options(group: argparse._ActionsContainer) -> None:
    """Add the service's address and the key for it."""
    group.add_argument("--api-key", metavar="KEY", help="visible to other users: prefer SYNTHESIA_API_KEY")
    group.add_argument("--api-key-file", metavar="FILE", help="file that holds the key")
    group.add_argument("--api-url", metavar="URL", help="address of the service (default: https://api.synthesia.io)")


def add_state_options(group: argparse._ActionsContainer) -> None:
    """Add where the batch is kept."""
    group.add_argument("--state-dir", "--state-path", dest="state_dir", metavar="DIR", help="where the work is kept")
    group.add_argument("--config", metavar="FILE", help="configuration file")


def _add_flag(group: argparse._ArgumentGroup, name: str, text: str) -> None:
    group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)


def add_json_option(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `--json`. `text`: what it prints."""
    parser.add_argument("--json", action="store_true", help=text)


def split_codes(words: str) -> list[str]:
    """Returns the language codes of `fr-FR,es-ES`."""
    return [code.strip() for code in words.split(",") if code.strip()]


def resolve(arguments: argparse.Namespace) -> Settings:
    """Returns the settings of this command line. Prints warnings about them. Raises ProblemError."""
    from synthdub_tui.settings.resolve import resolve_settings  # noqa: PLC0415

    settings = resolve_settings(vars(arguments), os.environ)
    for warning in settings.warnings:
        print(f"synthdub: {make_printable(warning, 4096)}", file=sys.stderr)
    return settings


def named_paths(arguments: argparse.Namespace) -> list[str]:
    """Returns PATH and `--path`, with `~` expanded."""
    named = [*getattr(arguments, "paths", []), *getattr(arguments, "more_paths", [])]
    return [os.path.expanduser(path) for path in named]


def add_select_options(parser: argparse.ArgumentParser) -> None:
    """Add SELECT, the dubs that a command is about, and `--yes`."""
    parser.add_argument("select", nargs="+", metavar="SELECT", help="FILE, FILE:LANG, or failed")
    parser.add_argument("--yes", action="store_true", help="do not ask before what may cost, or forgets something paid")
    add_state_options(parser)
