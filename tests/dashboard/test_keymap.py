"""The keys of the configuration, of the help and of the palette."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthdub_tui.dashboard.keymap import ALL_KEYS, GRID_ACTIONS, KEY_GROUPS, Keymap
from synthdub_tui.ipc.protocol import RetryRequest
from tests.dashboard.dashboard_steps import TWO_LANGUAGES, failed_job
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import open_dashboard, until


async def test_help_and_palette_know_every_action(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)], keymap={"retry": "f5"}) as opened:
        await opened.press("?")
        await opened.wait_for_screen("HelpScreen")
        shown = str(opened.app.screen._groups)  # type: ignore[attr-defined]
        assert all(key.description in shown for key in ALL_KEYS)
        assert "f5" in shown
        await opened.press("escape")
        titles = [command.title.lower() for command in opened.app.get_system_commands(opened.main)]
        assert all(any(key.description.lower() in title for title in titles) for key in ALL_KEYS if key.id != "clear")


async def test_the_keymap_of_the_configuration_is_used(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [failed_job(0, "download_failed")], keymap={"retry": "f5"}) as opened:
        await opened.press("r")
        await opened.press("f5")
        await opened.wait_for_status("1 dub retried")
        assert len(opened.runner.requests_of(RetryRequest)) == 1


async def test_a_keymap_with_an_unknown_action_is_reported(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)], keymap={"retri": "f5"}) as opened:
        (note,) = opened.app._notifications
        assert "'retri'; did you mean 'retry'?" in note.message


@pytest.mark.parametrize(
    ("keymap", "said"),
    [
        ({"pause": "x"}, ["cancel has no key any more: pause took it."]),
        ({"pause": "x", "cancel": "p"}, []),
        ({"pause": "f5", "log": "f5"}, ["pause and log have the same key: give one of them another."]),
        ({"help": "f1,?"}, []),
        ({"log": "f8,full_stop,asterisk"}, ["mark_shown has no key any more: log took it."]),
        ({"log": "crtl+l"}, ["there is no key 'crtl+l', given to log."]),
        ({"up": "k"}, []),
    ],
)
def test_keymap_mistakes_are_reported(keymap: dict[str, str], said: list[str]) -> None:
    assert [words.removeprefix("[dashboard] keys: ") for words in Keymap(keymap).problems()] == said


async def test_what_names_keys_names_those_of_the_keymap(tmp_path: Path) -> None:
    keymap = {"retry": "f5", "start_runner": "f9", "right": "l,right", "log": "f8"}
    async with open_dashboard(tmp_path, [failed_job(0, "download_failed")], keymap=keymap) as opened:
        assert opened.main.status_bar._text(80).plain.startswith(" f5 retry  x cancel")
        assert dict(opened.app.keymap.help_groups()[0][1])["l right"] == "one language to the right"
        await opened.runner.disconnect()
        await until(lambda: "f9 starts it" in opened.summary_text)
        await opened.wait_for_status("f9 starts it again")


async def test_every_action_of_the_table_exists(tmp_path: Path) -> None:
    async with open_dashboard(tmp_path, [make_job(0, TWO_LANGUAGES)]) as opened:
        for action in GRID_ACTIONS:
            assert hasattr(opened.main, f"action_{action}") or hasattr(opened.app, f"action_{action}"), action
        ids = [key.id for group in KEY_GROUPS.values() for key in group]
        assert len(ids) == len(set(ids))
