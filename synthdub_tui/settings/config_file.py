"""Reading `config.toml`: what it may hold, and the line of each mistake in it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from synthdub_tui.errors import ProblemError
from synthdub_tui.settings.model import BatchDefaults, DashboardSettings, QuotaSettings

_TYPE_WORDS: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that `config.toml` may contain."""

    api_key: str | None = None
    api_key_file: str | None = None
    api_url: str | None = None
    s3_endpoint_url: str | None = None
    state_dir: str | None = None
    poll_interval: float | None = None
    tier: str | None = None
    max_uploads: int | None = None
    max_downloads: int | None = None
    settle_seconds: float | None = None
    quota: QuotaSettings = QuotaSettings()
    dashboard: DashboardSettings = DashboardSettings()
    batch: BatchDefaults = BatchDefaults()


def find_config_path(flags: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Path of config.toml, which need not exist."""
    named = flags.get("config") or environment.get("SYNTHDUB_CONFIG")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    import platformdirs  # noqa: PLC0415 - costs start-up time

    return os.path.join(platformdirs.user_config_dir("synthdub-tui"), "config.toml")


def load_config(path: str, *, required: bool) -> tuple[ConfigFile, list[str]]:
    try:
        with open(path, "rb") as file:
            content = file.read(1024 * 1024)
            mode = os.fstat(file.fileno()).st_mode
    except FileNotFoundError as error:
        if required:
            raise ProblemError("config_invalid", f"{path}: there is no such file") from error
        return ConfigFile(), []
    except OSError as error:
        raise ProblemError("config_invalid", f"{path}: {error.strerror}") from error
    config = _parse_config(path, content)
    warnings = []
    if config.api_key and stat.S_IMODE(mode) & 0o077:
        warnings.append(f"{path} holds the key and can be read by others: chmod 600 {path}")
    return config, warnings


def _parse_config(path: str, content: bytes) -> ConfigFile:
    import tomllib  # noqa: PLC0415 - costs start-up time; shows the place of a mistake better than the store's parser

    try:
        text = content.decode()
        values = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ProblemError("config_invalid", f"{path}: it is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ProblemError("config_invalid", f"{path}: {_toml_error(str(error), text)}") from error
    try:
        return msgspec.convert(values, ConfigFile)
    except msgspec.ValidationError as error:
        raise ProblemError("config_invalid", f"{path}{_explain_validation_error(str(error), text)}") from error


def _toml_error(message: str, text: str) -> str:
    """tomllib's message with the line first; tomllib puts the place last: "… (at line 3, column 7)"."""
    place = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", message)
    if place is None:
        return message
    return f"line {place[1] or max(1, len(text.splitlines()))}: {message[: place.start()].strip()}"


def _explain_validation_error(message: str, text: str) -> str:
    """msgspec's message with the line of the setting; msgspec gives only its name."""
    unknown = re.search(r"unknown field `([^`]+)`", message)
    at = re.search(r"at `\$\.?([^`]*)`", message)
    section = at[1] if at else ""
    if unknown:
        name, (table, fields) = unknown[1], _table_fields(section)
        from difflib import get_close_matches  # noqa: PLC0415 - costs start-up time

        near = get_close_matches(name, fields, n=1)
        expected = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(fields)}"
        return f": line {_line_of(name, table, text)}: unknown setting {name!r}; {expected}"
    path = re.sub(r"\[.*", "", section)
    table, _, name = path.rpartition(".")
    wanted = re.search(r"Expected `([^`|]+?)(?: \| null)?`, got `([^`]+)`", message)
    said = message.partition(" - at ")[0]
    expected = f"{name} must be {_TYPE_WORDS.get(wanted[1].strip(), wanted[1])}" if wanted else f"{name}: {said}"
    return f": line {_line_of(name, table, text)}: {expected}"


def _table_fields(section: str) -> tuple[str, tuple[str, ...]]:
    tables: dict[str, type[msgspec.Struct]] = {"batch": BatchDefaults, "quota": QuotaSettings, "dashboard": DashboardSettings}
    return section, tables.get(section, ConfigFile).__struct_fields__


def _line_of(name: str, table: str, text: str) -> int:
    """Line number of a setting; 1 if this search does not find it."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            current = header[1].strip()
            if current == name and not table:
                return number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
            return number
    return 1
