from pathlib import Path

import pytest

from synthdub_tui.sandbox import ConfigError, EndpointRate, Fault, SandboxConfig, SimulatedFailure, load_config
from synthdub_tui.sandbox.config import parse_config

EXAMPLE_CONFIG = """
api_key = "another"
style = "guide"
dubbing_seconds = [1, 2]
dubbing_seconds_by_language = { "fr-*" = [5, 6] }
tier = "creator"
bandwidth_up = 1e6

[limits]
"POST /v2/dubbing" = { minute = 2 }

[[failures]]
code = "moderation"
languages = ["de"]

[[failures]]
kind = "project"
title = "intro*"

[[faults]]
endpoint = "S3 *"
kind = "reset_after"
nth = [1, 3]

[[faults]]
endpoint = "GET /v2/dubbing/{id}"
kind = "change"
set = { status = "thinking" }
"""


def test_a_whole_configuration(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.toml"
    path.write_text(EXAMPLE_CONFIG)
    config = load_config(path)
    assert config == SandboxConfig(
        api_key="another",
        style="guide",
        dubbing_seconds=(1.0, 2.0),
        dubbing_seconds_by_language={"fr-*": (5.0, 6.0)},
        tier="creator",
        bandwidth_up=1e6,
        limits={"POST /v2/dubbing": EndpointRate(minute=2)},
        failures=(SimulatedFailure(code="moderation", languages=("de",)), SimulatedFailure("project", title="intro*")),
        faults=(
            Fault("S3 *", "reset_after", nth=(1, 3)),
            Fault("GET /v2/dubbing/{id}", "change", set={"status": "thinking"}),
        ),
    )


def test_nothing_is_a_configuration() -> None:
    assert parse_config("") == SandboxConfig()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("api_key = \n", None, "not valid TOML"),
        ('api_key = "x"\nseed = "one"\n', 2, "seed: Expected `int`, got `str`"),
        ('\nstyle = "other"\n', 2, "style: Invalid enum value 'other'"),
        ("seed = 1\nspeed = 2\n", 2, "unknown field `speed`"),
        ("dubbing_seconds = [1, 2, 3]\n", 1, "dubbing_seconds: Expected `array` of length 2"),
        ("dubbing_seconds = [2, 1]\n", None, "expected [least, most]"),
        ('[[faults]]\nendpoint = "S3 *"\nkind = "slow"\n\n[[faults]]\nendpoint = "S3 *"\nkind = "odd"\n', 7, "'odd'"),
        ('[[faults]]\nendpoint = "S3 *"\n', 1, "missing required field `kind`"),
        ('[[faults]]\nendpoint = "POST /v2/dub"\nkind = "slow"\n', None, "did you mean 'POST /v2/dubbing'"),
        ('[limits]\n"POST /v3" = { minute = 1 }\n', None, "is none of the sandbox's"),
        ('[limits]\n"POST *" = { minute = "x" }\n', 1, "Expected `int | null`, got `str`"),
    ],
)
def test_errors_say_where_and_what(text: str, line: int | None, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(text, "sandbox.toml")
    message = str(error.value)
    assert message.startswith(f"sandbox.toml:{line}: " if line else "sandbox.toml: ")
    assert said in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "binary.toml")
