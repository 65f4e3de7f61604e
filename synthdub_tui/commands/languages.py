"""`synthdub languages`: lists the language codes that the service supports."""

from __future__ import annotations

import argparse

from synthdub_tui import languages as codes
from synthdub_tui.commands.options import add_json_option


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    add_json_option(parser, "one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code."""
    return languages(as_json="json" in arguments)


def languages(*, as_json: bool) -> int:
    """Print each code with its name, and whether it can be a source, a target or both."""
    every = sorted({*codes.INPUT_CODES, *codes.OUTPUT_CODES}, key=lambda code: (codes.language_name(code), code))
    for code in every:
        use = {"source": code in codes.INPUT_CODES, "target": code in codes.OUTPUT_CODES}
        if as_json:
            print(_json({"code": code, "name": codes.language_name(code), **use}))
        else:
            words = "" if all(use.values()) else " (source only)" if use["source"] else " (target only)"
            print(f"{code:8} {codes.language_name(code)}{words}")
    return 0


def _json(value: object) -> str:
    import json  # noqa: PLC0415 - costs start-up time

    return json.dumps(value, ensure_ascii=False)
