"""Resolves the settings. Flags take precedence over the environment, that over `config.toml`, and that over the defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from synthdub_tui.errors import ProblemError
from synthdub_tui.files import spell_as_on_disk
from synthdub_tui.jobs.batch_options import BatchOptions
from synthdub_tui.settings.config_file import ConfigFile, find_config_path, load_config
from synthdub_tui.settings.model import DEFAULT_API_URL, TIER_NAMES, BatchDefaults, SecretText, Settings

SETTING_BY_VARIABLE: Final = {
    "SYNTHESIA_API_KEY": "api_key",
    "SYNTHDUB_API_URL": "api_url",
    "SYNTHDUB_S3_ENDPOINT_URL": "s3_endpoint_url",
    "SYNTHDUB_STATE_DIR": "state_dir",
    "SYNTHDUB_DATA_DIR": "data_dir",
}
"""Environment variable → setting. SYNTHDUB_CONFIG is not listed: it names the configuration file."""


KeyReader = Callable[[], str]


def resolve_settings(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The settings in force. `flags` contains the given flags, batch options included.

    Raises `ProblemError` ("config_invalid", "setting_invalid", "url_invalid"); its detail names the place and the expected
    value.
    """
    config_path = find_config_path(flags, environment)
    config, warnings = load_config(config_path, required=bool(flags.get("config") or environment.get("SYNTHDUB_CONFIG")))
    given = {**_known_settings(msgspec.structs.asdict(config)), **_from_environment(environment), **_known_settings(flags)}
    given["key_override"], key = _find_key(flags, environment, config)
    given["api_key"] = SecretText(key)
    if flags.get("api_key"):
        warnings.append("--api-key shows the key to everyone who lists processes; set SYNTHESIA_API_KEY instead.")
    given["state_dir"] = _spell_folder(given.get("state_dir") or default_state_dir())
    given["data_dir"] = _spell_folder(given.get("data_dir") or default_data_dir())
    given["batch"] = _merge_batch_options(config.batch, flags)
    settings = Settings(config_path=config_path, warnings=tuple(warnings), **given)
    _check_settings(settings)
    return settings


def default_state_dir() -> str:
    """The user's state directory for this program."""
    import platformdirs  # noqa: PLC0415 - costs start-up time

    return platformdirs.user_state_dir("synthdub-tui")


def default_data_dir() -> str:
    """The user's data directory for this program. It does not depend on the state directory."""
    import platformdirs  # noqa: PLC0415 - costs start-up time

    return platformdirs.user_data_dir("synthdub-tui")


def is_local_url(url: str) -> bool:
    """Whether a URL is on this machine, as in tests and the demo."""
    import ipaddress  # noqa: PLC0415 - costs start-up time
    from urllib.parse import urlsplit  # noqa: PLC0415

    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a host name, such as 127.0.0.1.evil.test


def _known_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    fields = set(Settings.__struct_fields__) - {"batch", "warnings", "config_path", "key_override"}
    return {name: value for name, value in values.items() if name in fields and value is not None}


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {field: environment[name] for name, field in SETTING_BY_VARIABLE.items() if environment.get(name)}


def _find_key(flags: Mapping[str, Any], environment: Mapping[str, str], config: ConfigFile) -> tuple[str, str]:
    """The flag or variable that gave the key (empty if the file gave it), and the key."""
    if flags.get("api_key"):
        return "--api-key", str(flags["api_key"]).strip()
    if flags.get("api_key_file"):
        return "--api-key-file", _read_key(flags["api_key_file"])
    if environment.get("SYNTHESIA_API_KEY"):
        return "SYNTHESIA_API_KEY", environment["SYNTHESIA_API_KEY"].strip()
    if config.api_key:
        return "", config.api_key.strip()
    return "", _read_key(config.api_key_file) if config.api_key_file else ""


def _read_key(path: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            key = file.read(4096).strip()
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or not a possible path
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ProblemError("setting_invalid", f"the key file {path} cannot be read: {reason}") from error
    if not key:
        raise ProblemError("setting_invalid", f"the key file {path} is empty")
    return key


def _merge_batch_options(defaults: BatchDefaults, flags: Mapping[str, Any]) -> BatchOptions:
    merged = {name: value for name, value in msgspec.structs.asdict(defaults).items() if value is not None}
    merged |= {name: flags[name] for name in BatchOptions.__struct_fields__ if flags.get(name) is not None}
    merged["exclude"] = tuple(merged.get("exclude", ()))
    merged["agreed"] = bool(flags.get("yes"))
    if merged.get("output_dir"):
        merged["output_dir"] = _spell_folder(merged["output_dir"])
    return BatchOptions(**merged)


def _spell_folder(named: str) -> str:
    """The path of a folder in its one spelling on disk. If the file system ignores case, a lock may cover only one spelling."""
    return spell_as_on_disk(os.path.expanduser(named))


def _check_settings(settings: Settings) -> None:
    for name, url in (("--api-url", settings.api_url), ("--s3-endpoint-url", settings.s3_endpoint_url)):
        if url not in ("", DEFAULT_API_URL):
            _check_url(name, url)
    if any(not char.isprintable() or char.isspace() or ord(char) > 126 for char in settings.api_key):
        raise ProblemError("setting_invalid", "the API key holds blanks or characters that no key has")
    for name, path in (("--state-dir", settings.state_dir), ("--output-dir", settings.batch.output_dir)):
        if not _is_path(path):
            raise ProblemError("setting_invalid", f"{name} must be a path in UTF-8: {path!r}")
    _check_choice("--tier", settings.tier, TIER_NAMES)
    _check_choice("--video-duration", settings.batch.video_duration, ("adaptive", "original"))
    _check_choice("--visibility", settings.batch.visibility, ("private", "public"))
    if settings.batch.exclude:
        _check_globs(settings.batch.exclude)
    for name, value, least in (
        ("--poll-interval", settings.poll_interval, 0),
        ("--max-uploads", settings.max_uploads, 1),
        ("--max-downloads", settings.max_downloads, 1),
        ("--settle", settings.settle_seconds, 0),
    ):
        if not least <= value <= 86400:
            raise ProblemError("setting_invalid", f"{name} must be from {least} to 86400")
    for limits in (settings.quota.writes, settings.quota.reads):
        if any(calls < 1 or seconds <= 0 for calls, seconds in limits):
            raise ProblemError("setting_invalid", "[quota] takes lists of [calls, seconds], both above 0")


def _check_globs(patterns: Iterable[str]) -> None:
    from synthdub_tui.jobs.globs import Glob  # noqa: PLC0415 - seldom needed

    for pattern in patterns:
        try:
            Glob(pattern)
        except ValueError as error:
            raise ProblemError("setting_invalid", f"--exclude does not take {pattern!r}: {error}") from error


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ProblemError("setting_invalid", f"{name} takes {', '.join(choices)}, not {value!r}")


def _is_path(text: str) -> bool:
    """Whether a path can be written to state files, which are UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _check_url(name: str, url: str) -> None:
    from urllib.parse import urlsplit  # noqa: PLC0415 - costs start-up time

    shown = re.sub(r"//[^/]*@", "//…@", url)  # no password in an error
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        good = parts.scheme == "https" or (parts.scheme == "http" and is_local_url(url))
    except ValueError as error:
        raise ProblemError("url_invalid", f"{name} {shown!r}") from error
    odd = any(char.isspace() or not char.isprintable() for char in url) or "@" in parts.netloc or parts.query or parts.fragment
    if not host or port == 0 or odd or not good:
        raise ProblemError("url_invalid", f"{name} {shown!r}")


def make_key_reader(flags: Mapping[str, Any]) -> KeyReader:
    """The returned function reads the key again on each call, since the user may have stored one since the start."""
    return lambda: resolve_settings(flags, os.environ).api_key
