"""Writes the API key to the user's config file, and leaves the rest of the file unchanged."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from synthdub_tui import files
from synthdub_tui.errors import SynthdubError

SETTING_NAME: Final = "api_key"
"""The setting's name in `config.toml`."""

_ASSIGNMENT: Final = re.compile(
    r"""^(?P<head>\s*(?:api_key|"api_key"|'api_key')\s*=\s*)  # a comment after the value stays
        (?:'[^']*'|"(?:[^"\\]|\\.)*")""",
    re.VERBOSE,
)


class KeyFileError(SynthdubError):
    """The key could not be stored. The text says why and what to do; it never contains the key."""


def clean_key(key: str) -> str:
    """The key as typed or pasted, without surrounding spaces and quotes. Raises `KeyFileError` if it cannot be a key."""
    bare = key.strip().strip("\"'")
    if not bare:
        raise KeyFileError("Nothing was entered. Paste the key from Synthesia Studio.")
    if not all("!" <= char <= "~" for char in bare):
        raise KeyFileError("That is not a key: it holds spaces or other characters that a key cannot have.")
    return bare


def store_key(config_path: Path, key: str) -> None:
    """Write the key durably, readable by the owner only. Raises `KeyFileError`; the old file is then unchanged."""
    bare = clean_key(key)
    path = os.path.realpath(config_path)  # a link, as dotfile managers create it, stays a link
    if os.path.exists(path) and not os.path.isfile(path):
        raise KeyFileError(f"{config_path} is not a file, so nothing can be stored there. Set SYNTHESIA_API_KEY instead.")
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        old = _read(path)
        files.write_durably(path, _set_key(old, bare).encode(), 0o600)
    except OSError as error:
        raise KeyFileError(f"{config_path} cannot be written: {error.strerror}. Set SYNTHESIA_API_KEY instead.") from None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} is not UTF-8 text. Mend it by hand, or set SYNTHESIA_API_KEY.") from None


def _set_key(old: str, key: str) -> str:
    """The file with the key. The result is parsed, to prove that nothing else changed. Raises `KeyFileError`."""
    wanted = _parse_toml(old)
    known = SETTING_NAME in wanted
    wanted[SETTING_NAME] = key
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    for new in _replacements(old, quoted) if known else (_insert_setting(old, quoted),):
        if _parses_to(new, wanted):
            return new
    raise KeyFileError(f"The file sets {SETTING_NAME} in a way that is not safe to edit. Change it by hand.")


def _parse_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KeyFileError(f"The config file is not valid TOML ({error}). Mend it by hand, or set SYNTHESIA_API_KEY.") from None


def _parses_to(text: str, wanted: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _replacements(old: str, quoted: str) -> list[str]:
    """One candidate for each line that looks like the assignment: such a line may also be part of a long string."""
    lines = old.splitlines(keepends=True)
    found: list[str] = []
    for index, line in enumerate(lines):
        match = _ASSIGNMENT.match(line)
        if match is not None:
            changed = match["head"] + quoted + line[match.end() :]
            found.append("".join([*lines[:index], changed, *lines[index + 1 :]]))
    return found


def _insert_setting(old: str, quoted: str) -> str:
    """The file with a new line after the comments at its top. Further down, it might become part of a table."""
    lines = old.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    top = 0
    while top < len(lines) and lines[top].startswith("#") and lines[top].endswith("\n"):
        top += 1
    return "".join([*lines[:top], f"{SETTING_NAME} = {quoted}{newline}", *lines[top:]])
