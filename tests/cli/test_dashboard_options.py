"""What flags and the configuration say of the screen reaches it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from synthdub_tui.commands.dashboard import options
from synthdub_tui.dashboard.options import Options
from synthdub_tui.settings import DashboardSettings, resolve

CONFIG = """\
[dashboard]
play_command = "mpv {}"
notify = true
ssh_host = "me@studio"
mouse = false
keys = { retry = "f5" }
"""


def opened(tmp_path: Path, content: str, **flags: object) -> Options:
    config = tmp_path / "config.toml"
    config.write_text(content)
    given = {"config": str(config), "state_dir": str(tmp_path / "state"), **flags}
    return options(resolve(given, {}), [], given)


def test_every_setting_of_the_screen_reaches_it(tmp_path: Path) -> None:
    plain, chosen = opened(tmp_path, ""), opened(tmp_path, CONFIG)
    changed = {"play_command", "notify", "ssh_host", "mouse", "keymap"}
    names = [name for name in Options.__slots__ if name in changed]
    assert {name for name in names if getattr(plain, name) != getattr(chosen, name)} == changed
    assert len(changed) == len(msgspec.structs.fields(DashboardSettings)), "a setting that is not tested"
    assert chosen.keymap == {"retry": "f5"} and not chosen.mouse and plain.mouse


def test_flags_of_the_screen_reach_it(tmp_path: Path) -> None:
    chosen = opened(tmp_path, "", read_only=True, ascii=True, slow_link=True, mouse=False)
    assert chosen.read_only and chosen.ascii and chosen.slow_link and not chosen.mouse
