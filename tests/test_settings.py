"""Flags before environment before config.toml before defaults; and one clear line for everything that is wrong."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from synthdub_tui.errors import ProblemError
from synthdub_tui.settings.config_file import find_config_path
from synthdub_tui.settings.model import DEFAULT_API_URL, Settings
from synthdub_tui.settings.resolve import is_local_url, resolve_settings

API_KEY = "abcdef0123456789-the-key"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def resolved_settings(
    config: Path, text: str | None = None, environment: dict[str, str] | None = None, **flags: Any
) -> Settings:
    """The settings in force with this config file, and no trace of the user's own."""
    if text is not None:
        config.write_text(text)
        config.chmod(0o600)
    named = {"SYNTHDUB_CONFIG": str(config)} if config.exists() else {}
    state = {} if "state_dir" in flags or "SYNTHDUB_STATE_DIR" in (environment or {}) else {"state_dir": "/state"}
    if text is not None and "state_dir" in text:
        state = {}
    return resolve_settings(flags | state, named | (environment or {}))


def settings_error(
    config: Path, text: str | None = None, environment: dict[str, str] | None = None, **flags: Any
) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        resolved_settings(config, text, environment, **flags)
    return caught.value


@pytest.fixture(autouse=True)
def no_own_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


# -- precedence ----------------------------------------------------------------------------------------------------------


def test_defaults(config: Path) -> None:
    settings = resolved_settings(config)
    assert (settings.api_key, settings.api_url, settings.tier, settings.poll_interval) == ("", DEFAULT_API_URL, "creator", 10.0)
    assert (settings.batch.targets, settings.batch.source_language, settings.batch.recursive) == ((), "en", True)
    assert settings.batch.captions
    assert settings.warnings == ()


def test_what_goes_before_the_key_in_the_file_is_known(config: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(API_KEY)
    environment = {"SYNTHESIA_API_KEY": API_KEY}
    assert resolved_settings(config, f"api_key = '{API_KEY}'").key_override == ""
    assert resolved_settings(config, environment=environment).key_override == "SYNTHESIA_API_KEY"
    assert (
        resolved_settings(config, environment=environment, api_key_file=str(tmp_path / "key")).key_override == "--api-key-file"
    )
    assert resolved_settings(config, environment=environment, api_key=API_KEY).key_override == "--api-key"


SETTING_SOURCES = ("config", "environment", "flag")


@pytest.mark.parametrize(
    ("field", "variable"),
    [
        ("api_key", "SYNTHESIA_API_KEY"),
        ("api_url", "SYNTHDUB_API_URL"),
        ("s3_endpoint_url", "SYNTHDUB_S3_ENDPOINT_URL"),
        ("state_dir", "SYNTHDUB_STATE_DIR"),
    ],
)
@pytest.mark.parametrize("given", [1, 2, 3])
def test_flag_before_environment_before_config(config: Path, field: str, variable: str, given: int) -> None:
    form = {"api_key": "{}-key", "state_dir": "/{}"}.get(field, "https://{}.test")
    values = {source: form.format(source) for source in SETTING_SOURCES[:given]}
    text = f'{field} = "{values["config"]}"\n'
    environment = {variable: values["environment"]} if given > 1 else {}
    flags = {field: values["flag"]} if given > 2 else {}
    settings = resolved_settings(config, text, environment, **flags)
    assert getattr(settings, field) == values[SETTING_SOURCES[given - 1]]


def test_an_empty_environment_variable_counts_as_unset(config: Path) -> None:
    assert (
        resolved_settings(config, 'api_url = "https://config.test"', {"SYNTHDUB_API_URL": ""}).api_url == "https://config.test"
    )


def test_batch_options_from_config_and_flags(config: Path) -> None:
    text = '[batch]\ntargets = ["fr-FR"]\nlipsync = true\ncaptions = false\nvisibility = "public"\noutput_dir = "/config"\n'
    batch = resolved_settings(config, text, targets=("es-ES",), captions=True, output_dir="out").batch
    assert batch.targets == ("es-ES",)
    assert (batch.lipsync, batch.captions, batch.visibility) == (True, True, "public")
    assert batch.output_dir == os.path.abspath("out")


def test_false_and_none_are_different_flags(config: Path) -> None:
    text = "[batch]\nlipsync = true\nrecursive = true\n"
    batch = resolved_settings(config, text, lipsync=False, recursive=None).batch
    assert (batch.lipsync, batch.recursive) == (False, True)


def test_every_config_setting_is_read(config: Path) -> None:
    settings = resolved_settings(
        config,
        """
        tier = "enterprise-2"
        poll_interval = 20
        max_uploads = 2
        max_downloads = 8
        [quota]
        writes = [[10, 60], [100, 3600.5]]
        [dashboard]
        play_command = "mpv {}"
        notify = true
        mouse = false
        keys = { retry = "r,f5" }
        """,
    )
    assert (settings.tier, settings.poll_interval, settings.max_uploads, settings.max_downloads) == ("enterprise-2", 20.0, 2, 8)
    assert settings.quota.writes == ((10, 60.0), (100, 3600.5))
    assert settings.dashboard.keys == {"retry": "r,f5"}


def test_where_the_config_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config_path({"config": "~/x.toml"}, {}) == str(tmp_path / "home/x.toml")
    assert find_config_path({}, {"SYNTHDUB_CONFIG": "/etc/x.toml"}) == "/etc/x.toml"
    assert find_config_path({}, {}).endswith("config.toml")
    assert resolve_settings({"state_dir": "~/s"}, {}).state_dir == str(tmp_path / "home/s")
    assert "synthdub-tui" in resolve_settings({}, {}).state_dir


# -- what is wrong with the config ---------------------------------------------------------------------------------------

CONFIG_MISTAKES = {
    "a missing quote": ('tier = "creator"\napi_url = "https://x.test\n', 2, "llegal character"),
    "no value": ("tier =\n", 1, "nvalid value"),
    "not TOML": ("tier: creator\n", 1, "xpected '='"),
    "twice": ('tier = "creator"\ntier = "creator"\n', 2, "verwrite"),
    "a text for a number": ('tier = "creator"\n\nmax_uploads = "3"\n', 3, "max_uploads must be a whole number"),
    "a fraction": ("max_uploads = 1.5\n", 1, "max_uploads must be a whole number"),
    "a number for a text": ("# tiers\ntier = 1\n", 2, "tier must be a text"),
    "a text for seconds": ('poll_interval = "10"\n', 1, "poll_interval must be a number"),
    "an unknown setting": ("tier_ = 1\n", 1, "unknown setting 'tier_'; did you mean tier?"),
    "an unknown setting of no likeness": ("zzz = 1\n", 1, "unknown setting 'zzz'; expected one of api_key"),
    "an unknown table": ("tier = 'creator'\n[bacth]\n", 2, "unknown setting 'bacth'; did you mean batch?"),
    "a text for a table": ("quota = 5\n", 1, "quota must be a table"),
    "batch: a text for a list": ('tier = "creator"\n[batch]\ntargets = "fr-FR"\n', 3, "targets must be a list"),
    "batch: a number in a list": ("[batch]\ntargets = [1]\n", 2, "targets must be"),
    "batch: a text for a switch": ('[batch]\nlipsync = "yes"\n', 2, "lipsync must be true or false"),
    "batch: an unknown setting": ("[batch]\n\nlip_sync = true\n", 3, "unknown setting 'lip_sync'; did you mean lipsync?"),
    "quota: an unknown setting": ("[quota]\nwrite = []\n", 2, "unknown setting 'write'; did you mean writes?"),
    "quota: a flat list": ("[quota]\nwrites = [60, 60]\n", 2, "writes must be"),
    "quota: too few": ("[quota]\nreads = [[60]]\n", 2, ""),
    "dashboard: an unknown setting": ("[dashboard]\nmouze = true\n", 2, "unknown setting 'mouze'; did you mean mouse?"),
    "dashboard: a number for a text": ("[dashboard]\nplay_command = 1\n", 2, "play_command must be a text"),
    "dashboard: a key that is none": ("[dashboard]\nmouse = true\nkeys = { retry = 1 }\n", 3, "keys must be"),
    "dashboard.keys as a table": ("[dashboard.keys]\nretry = 1\n", 1, "keys must be"),
}


@pytest.mark.parametrize("mistake", CONFIG_MISTAKES)
def test_a_mistake_is_named_with_file_line_and_what_is_expected(config: Path, mistake: str) -> None:
    text, line, expected = CONFIG_MISTAKES[mistake]
    found = settings_error(config, text)
    assert found.code == "config_invalid"
    assert found.detail.startswith(f"{config}: line {line}: ")
    assert expected in found.detail
    assert "$" not in found.detail
    assert "\n" not in found.detail


def test_a_config_that_is_not_text_is_refused(config: Path) -> None:
    config.write_bytes(b"tier = '\xff'\n")
    assert "UTF-8" in settings_error(config).detail


def test_a_named_config_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ProblemError) as caught:
        resolve_settings({"config": str(tmp_path / "none.toml")}, {})
    assert caught.value.code == "config_invalid"
    assert "no such file" in caught.value.detail


def test_a_config_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProblemError) as caught:
        resolve_settings({"config": str(tmp_path)}, {})
    assert caught.value.code == "config_invalid"


# -- values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"tier": "gold"}, "--tier"),
        ({"video_duration": "long"}, "--video-duration"),
        ({"visibility": "secret"}, "--visibility"),
        ({"poll_interval": -1.0}, "--poll-interval"),
        ({"poll_interval": float("nan")}, "--poll-interval"),
        ({"poll_interval": float("inf")}, "--poll-interval"),
        ({"max_uploads": 0}, "--max-uploads"),
        ({"max_downloads": 0}, "--max-downloads"),
        ({"max_downloads": 10**9}, "--max-downloads"),
        ({"output_dir": "/out/\udcff"}, "--output-dir"),
        ({"output_dir": "/out/\0"}, "--output-dir"),
        ({"state_dir": "/state/\0"}, "--state-dir"),
    ],
)
def test_values_out_of_range(config: Path, flags: dict[str, Any], words: str) -> None:
    found = settings_error(config, **flags)
    assert found.code == "setting_invalid"
    assert words in found.detail


@pytest.mark.parametrize(
    "text", ["[quota]\nwrites = [[0, 60]]\n", "[quota]\nreads = [[60, 0]]\n", "[quota]\nreads = [[60, -1]]\n"]
)
def test_limits_above_zero(config: Path, text: str) -> None:
    assert "[quota]" in settings_error(config, text).detail


@pytest.mark.parametrize(
    "url",
    ["https://api.synthesia.io", "https://x.test/base/", "http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:80"],
)
def test_good_addresses(config: Path, url: str) -> None:
    assert resolved_settings(config, api_url=url, s3_endpoint_url=url).api_url == url


@pytest.mark.parametrize(
    "url",
    [
        "api.synthesia.io",
        "http://api.synthesia.io",
        "http://10.0.0.1",
        "ftp://x.test",
        "https://",
        "https://:443",
        "https://user:word@x.test",
        "https://:word@x.test",
        "https://x.test?key=1",
        "https://x.test#x",
        "https://x.test:port",
        "https://x.test:99999",
        "https://x.test:0",
        "https://[::1",
        "https://x .test",
        " https://x.test",
        "https://x.test\n",
        "https://x.test/\x1b[31m",
        "http://127.0.0.1.evil.test",
    ],
)
@pytest.mark.parametrize("field", ["api_url", "s3_endpoint_url"])
def test_bad_addresses(config: Path, url: str, field: str) -> None:
    found = settings_error(config, **{field: url})
    assert found.code == "url_invalid"
    assert f"--{field.replace('_', '-')}" in found.detail
    assert "word" not in found.detail


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8080", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:1", True),
        ("https://api.synthesia.io", False),
        ("http://127.evil.test", False),
        ("http://127.0.0.1.evil.test", False),
        ("", False),
    ],
)
def test_what_is_on_this_machine(url: str, local: bool) -> None:
    assert is_local_url(url) is local


# -- the key -------------------------------------------------------------------------------------------------------------


def key_file(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "key"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def test_the_key_from_every_place_in_order(config: Path, tmp_path: Path) -> None:
    text = 'api_key = "from-config"\napi_key_file = "/none"\n'
    environment = {"SYNTHESIA_API_KEY": " from-environment\n"}
    file = key_file(tmp_path, " from-file \n")
    assert resolved_settings(config, text).api_key == "from-config"
    assert resolved_settings(config, text, environment).api_key == "from-environment"
    assert resolved_settings(config, text, environment, api_key_file=file).api_key == "from-file"
    assert resolved_settings(config, text, environment, api_key_file=file, api_key="from-flag").api_key == "from-flag"
    assert resolved_settings(config, f'api_key_file = "{file}"\n').api_key == "from-file"


def test_a_key_on_the_command_line_is_warned_about(config: Path) -> None:
    (warning,) = resolved_settings(config, api_key=API_KEY).warnings
    assert "--api-key" in warning
    assert API_KEY not in warning


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_config_with_the_key_that_others_can_read_is_warned_about(config: Path, mode: int) -> None:
    config.write_text(f'api_key = "{API_KEY}"\n')
    config.chmod(mode)
    (warning,) = resolved_settings(config).warnings
    assert f"chmod 600 {config}" in warning
    assert API_KEY not in warning


def test_no_warning_without_cause(config: Path) -> None:
    assert resolved_settings(config, f'api_key = "{API_KEY}"\n').warnings == ()
    config.write_text("tier = 'creator'\n")
    config.chmod(0o644)
    assert resolved_settings(config).warnings == ()


@pytest.mark.parametrize(
    "content",
    ["", "  \n", b"\xff\xfe", "one two", "one\ntwo"],
)
def test_a_key_file_without_a_key(config: Path, tmp_path: Path, content: str | bytes) -> None:
    found = settings_error(config, api_key_file=key_file(tmp_path, content))
    assert found.code == "setting_invalid"
    assert "two" not in found.detail


@pytest.mark.parametrize("path", ["/none/key", "/", "/x\0y"])
def test_a_key_file_that_cannot_be_read(config: Path, path: str) -> None:
    found = settings_error(config, api_key_file=path)
    assert found.code == "setting_invalid"
    assert "cannot be read" in found.detail


@pytest.mark.parametrize("key", ["a b", "a\tb", "a\x00b", "ключ", "a\u200bb", "a\nb"])
def test_a_key_with_blanks_or_odd_characters(config: Path, key: str) -> None:
    found = settings_error(config, environment={"SYNTHESIA_API_KEY": key})
    assert found.code == "setting_invalid"
    assert key not in found.detail


def test_the_key_is_shown_nowhere(config: Path) -> None:
    settings = resolved_settings(config, f'api_key = "{API_KEY}"\n')
    assert settings.api_key == API_KEY  # it is there
    shown = [
        repr(settings),
        str(settings),
        f"{settings}",
        f"{settings!r}",
        "%s" % (settings,),  # noqa: UP031
        repr([settings]),
        repr(msgspec.structs.asdict(settings)),
        repr(msgspec.structs.astuple(settings)),
        repr(replace(settings, tier="unlimited")),
        repr(getattr(settings, "__rich_repr__", list)() and list(settings.__rich_repr__())),
        repr(vars(Settings)),
    ]
    assert not [text for text in shown if API_KEY in text]


def test_no_error_quotes_the_key(config: Path) -> None:
    for text in (
        f'api_key = "{API_KEY}\n',
        f'api_key = ["{API_KEY}"]\n',
        f'api_key = "{API_KEY}"\nzzz = 1\n',
        f"api_key = {API_KEY}\n",
    ):
        found = settings_error(config, text)
        assert API_KEY not in str(found)
        assert API_KEY not in "".join(traceback.format_exception_only(found))
