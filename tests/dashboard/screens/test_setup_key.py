import os
import stat
import tomllib
from pathlib import Path

import pytest

from synthdub_tui.dashboard.screens.setup_key import SetupKeyScreen
from synthdub_tui.problems import Problem, explain
from synthdub_tui.settings.api_key_file import KeyFileError, store_key
from tests.dashboard.screen_harness import SMALL_SIZE, WIDE_SIZE, ScreenDriver, show_screen

API_KEY = "sk-Very5ecret_key"


async def accept_key(key: str) -> Problem | None:
    return None if key == API_KEY else explain("key_rejected")


async def raise_on_key(key: str) -> Problem | None:
    raise ConnectionError(f"GET with {key}")


def assert_key_not_shown(hand: ScreenDriver) -> None:
    assert API_KEY not in hand.app.text
    assert API_KEY not in repr(hand.app.screen)
    assert API_KEY not in repr(hand.app.screen.query_one("#key"))
    assert all(API_KEY not in repr(worker) for worker in hand.app.workers)


@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_checks_and_stores(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "new" / "config.toml"
    async with show_screen(SetupKeyScreen(accept_key, path), size) as hand:
        await hand.wait_for_text("API key", "esc later")
        await hand.type_text(API_KEY)
        assert_key_not_shown(hand)
        await hand.press("enter")
        assert await hand.wait_for_answer() is True
    assert tomllib.loads(path.read_text()) == {"api_key": API_KEY}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_a_wrong_key_is_explained_and_can_be_entered_again(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "config.toml"
    async with show_screen(SetupKeyScreen(accept_key, path), size) as hand:
        await hand.type_text(API_KEY + "x")
        await hand.press("enter")
        await hand.wait_for_text("does not accept", "esc later")
        assert_key_not_shown(hand)
        assert not path.exists()
        await hand.press("end", "backspace", "enter")
        assert await hand.wait_for_answer() is True


async def test_what_is_pasted_after_a_refusal_takes_the_place_of_the_wrong_key(tmp_path: Path) -> None:
    async with show_screen(SetupKeyScreen(accept_key, tmp_path / "config.toml")) as hand:
        await hand.paste_text("wrong")
        await hand.press("enter")
        await hand.wait_for_text("does not accept")
        await hand.paste_text(API_KEY)
        await hand.press("enter")
        assert await hand.wait_for_answer() is True


async def test_a_check_that_breaks_tells_no_key(tmp_path: Path) -> None:
    async with show_screen(SetupKeyScreen(raise_on_key, tmp_path / "config.toml")) as hand:
        await hand.type_text(API_KEY)
        await hand.press("enter")
        await hand.wait_for_text("could not be checked (ConnectionError)")
        assert_key_not_shown(hand)
        await hand.press("escape")
        assert await hand.wait_for_answer() is False
    assert not (tmp_path / "config.toml").exists()


@pytest.mark.parametrize("typed", ["", "a b", "ключ"])
async def test_what_cannot_be_a_key_is_not_sent(tmp_path: Path, typed: str) -> None:
    async with show_screen(SetupKeyScreen(raise_on_key, tmp_path / "config.toml")) as hand:
        await hand.type_text(typed)
        await hand.press("enter")
        await hand.wait_for_text("Nothing was entered" if not typed else "That is not a key")


async def test_a_file_that_cannot_be_edited_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("not toml [")
    async with show_screen(SetupKeyScreen(accept_key, path)) as hand:
        await hand.type_text(API_KEY)
        await hand.press("enter")
        await hand.wait_for_text("not valid TOML")
        assert_key_not_shown(hand)
    assert path.read_text() == "not toml ["


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", 'api_key = "K"\n'),
        ("# mine\n\ntier = 'x' # why\n", "# mine\napi_key = \"K\"\n\ntier = 'x' # why\n"),
        ('# a\r\nx = 1\r\n[t]\r\napi_key = "no"\r\n', '# a\r\napi_key = "K"\r\nx = 1\r\n[t]\r\napi_key = "no"\r\n'),
        ("# only", 'api_key = "K"\n# only'),
        ("  api_key='old' # rotate in May\n[t]\n", '  api_key="K" # rotate in May\n[t]\n'),
        ('"api_key" = "a\\"b"\nz=2', '"api_key" = "K"\nz=2'),
        ('text = """\napi_key = "trap"\n"""\napi_key = "o"\n', 'text = """\napi_key = "trap"\n"""\napi_key = "K"\n'),
        ('[t]\napi_key = "other"\n', 'api_key = "K"\n[t]\napi_key = "other"\n'),
    ],
)
def test_the_rest_of_the_file_stays(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(old.encode())
    path.chmod(0o644)
    store_key(path, " K\n")
    assert path.read_bytes().decode() == new
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("old", ['api_key = """\nold\n"""\n', "api_key = 3\n", "x = [\n", "x = \xff"])
def test_what_is_not_safe_to_edit_is_left_alone(tmp_path: Path, old: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(old.encode("latin-1"))
    with pytest.raises(KeyFileError) as caught:
        store_key(path, API_KEY)
    assert API_KEY not in repr(caught.value)
    assert path.read_bytes() == old.encode("latin-1")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "synthdub.toml"
    real.write_text("x = 1\n")
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    store_key(link, API_KEY)
    assert link.is_symlink()
    assert tomllib.loads(real.read_text()) == {"x": 1, "api_key": API_KEY}


def test_a_folder_in_the_way_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="SYNTHESIA_API_KEY"):
        store_key(tmp_path / "file" / "config.toml", API_KEY)
    assert os.listdir(tmp_path) == ["file"]


def test_what_is_not_a_file_is_not_replaced(tmp_path: Path) -> None:
    """As `--config /dev/null`, which the superuser could replace."""
    pipe = tmp_path / "config.toml"
    os.mkfifo(pipe)
    with pytest.raises(KeyFileError, match="not a file"):
        store_key(pipe, API_KEY)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("ahead", "change"), [("SYNTHESIA_API_KEY", "unset SYNTHESIA_API_KEY"), ("--api-key-file", "start without --api-key-file")]
)
@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_what_goes_before_a_stored_key_is_told_before_one_is_typed(
    tmp_path: Path, ahead: str, change: str, size: tuple[int, int]
) -> None:
    async with show_screen(SetupKeyScreen(accept_key, tmp_path / "config.toml", ahead), size) as hand:
        await hand.wait_for_text("The key in use comes from", ahead, "esc later")
        await hand.wait_until(lambda: change in " ".join(hand.app.text.replace("│", " ").split()))


async def test_no_word_is_hidden_by_the_scroll_bar(tmp_path: Path) -> None:
    async with show_screen(SetupKeyScreen(accept_key, tmp_path / "config.toml"), (40, 14)) as hand:
        await hand.wait_for_text("3. Paste it here.")
        await hand.wait_until(lambda: "checked wit " not in hand.app.text)
