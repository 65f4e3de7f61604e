"""What flags and the configuration say of the screen reaches it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from synthdub_tui.commands import dashboard_start as dashboard
from synthdub_tui.commands.dashboard_start import BackgroundRunner, options
from synthdub_tui.dashboard.options import DashboardOptions
from synthdub_tui.settings.model import DashboardSettings
from synthdub_tui.settings.resolve import resolve_settings

CONFIG = """\
[dashboard]
play_command = "mpv {}"
notify = true
ssh_host = "me@studio"
mouse = false
keys = { retry = "f5" }
"""


def options_from_config(tmp_path: Path, content: str, **flags: object) -> DashboardOptions:
    config = tmp_path / "config.toml"
    config.write_text(content)
    given = {"config": str(config), "state_dir": str(tmp_path / "state"), **flags}
    return options(resolve_settings(given, {}), [], given)


def test_every_dashboard_setting_reaches_the_dashboard(tmp_path: Path) -> None:
    plain, chosen = options_from_config(tmp_path, ""), options_from_config(tmp_path, CONFIG)
    changed = {"play_command", "notify", "ssh_host", "mouse", "keymap"}
    names = [name for name in DashboardOptions.__slots__ if name in changed]
    assert {name for name in names if getattr(plain, name) != getattr(chosen, name)} == changed
    assert len(changed) == len(msgspec.structs.fields(DashboardSettings)), "a setting that is not tested"
    assert chosen.keymap == {"retry": "f5"} and not chosen.mouse and plain.mouse


def test_dashboard_flags_reach_the_dashboard(tmp_path: Path) -> None:
    chosen = options_from_config(tmp_path, "", read_only=True, ascii=True, slow_link=True, mouse=False)
    assert chosen.read_only and chosen.ascii and chosen.slow_link and not chosen.mouse


def test_the_runner_gets_a_flag_of_zero_but_no_absent_flags(tmp_path: Path) -> None:
    launcher = BackgroundRunner(str(tmp_path), {"settle_seconds": 0.0, "tier": None, "api_url": ""}, {})
    assert launcher._arguments == ["--settle", "0.0"]


def test_a_runner_for_a_stored_key_gets_no_other_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []

    def start(state_dir: str, arguments: list[str], environment: dict[str, str]) -> Path:
        started.append((list(arguments), dict(environment)))
        return Path(state_dir)

    monkeypatch.setattr(dashboard, "start_runner", start)
    flags = {"tier": "unlimited", "api_key_file": "/key", "config": "/config.toml"}
    launcher = BackgroundRunner(str(tmp_path), flags, {"SYNTHESIA_API_KEY": "old", "LANG": "C"})
    launcher._start()
    launcher.use_stored_key()
    launcher._start()
    (before, given), (after, left) = started
    assert "--api-key-file" in before and given["SYNTHESIA_API_KEY"] == "old"
    assert sorted(after) == sorted(["--tier", "unlimited", "--config", "/config.toml"]) and left == {"LANG": "C"}
