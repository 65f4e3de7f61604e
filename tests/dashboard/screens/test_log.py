import json
import os
from pathlib import Path

import pytest

from synthdub_tui.dashboard.log_tail import MAX_ENTRIES, MAX_ENTRY_CHARACTERS, MAX_READ_BYTES, LogTail, parse_entry
from synthdub_tui.dashboard.screens.log import LogScreen
from tests.dashboard.screen_harness import HOSTILE_NAME, HOSTILE_NAME_SHOWN, SMALL_SIZE, WIDE_SIZE, show_screen


def log_line(level: str, message: str, **more: object) -> str:
    return json.dumps({"time": "2026-05-01T12:00:01Z", "level": level, "message": message, **more}) + "\n"


@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_follows_what_is_written(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "synthdub.log"
    async with show_screen(LogScreen(path), size) as hand:
        await hand.wait_for_text("There is no log yet")
        path.write_text(log_line("info", "started", pid=12))
        await hand.wait_for_text("12:00:01 started pid=12", "1 line")
        with path.open("a") as file:
            file.write("".join(log_line("info", f"step {number}") for number in range(100)))
        await hand.wait_for_text("step 99")  # stays at the end
        await hand.press("g")
        await hand.wait_for_text("started pid=12")
        with path.open("a") as file:
            file.write(log_line("info", "one more"))
        await hand.wait_for_text("102 lines")
        assert "one more" not in hand.app.text  # scrolled up: does not jump
        await hand.press("G")
        await hand.wait_for_text("one more")
        await hand.press("escape")
        assert await hand.wait_for_answer() is None


async def test_levels_and_filter(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_text(
        log_line("debug", "dot") + log_line("info", "iota") + log_line("warning", "wave") + log_line("error", "eel")
    )
    async with show_screen(LogScreen(path)) as hand:
        await hand.wait_for_text("info and above, 3 lines", "iota", "WARN wave", "ERROR eel")
        await hand.press("v")
        await hand.wait_for_text("warnings and errors, 2 lines")
        await hand.press("v")
        await hand.wait_for_text("errors, 1 line")
        await hand.press("v")
        await hand.wait_for_text("everything, 4 lines", "debug dot")
        await hand.press("slash")
        await hand.type_text("WAVE")
        await hand.wait_for_text("1 line")
        await hand.press("escape")
        await hand.wait_for_text("4 lines")
        await hand.press("l")
        assert await hand.wait_for_answer() is None


async def test_nothing_in_it_is_interpreted(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_bytes(
        log_line("info", HOSTILE_NAME).encode() + b"plain \x1b[31m [red] \xff\n" + b"[1, 2]\n" + b"[" * 100_000 + b"\n"
    )
    async with show_screen(LogScreen(path)) as hand:
        await hand.press("g")
        await hand.wait_for_text(HOSTILE_NAME_SHOWN, "plain \ufffd[31m [red] \ufffd", "[1, 2]", "4 lines")
        assert "\x1b" not in hand.app.text


async def test_a_folder_in_its_place_is_explained(tmp_path: Path) -> None:
    async with show_screen(LogScreen(tmp_path)) as hand:
        await hand.wait_for_text("The log cannot be read: Is a directory")


def test_memory_is_bounded_and_rotation_followed(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_text("".join(log_line("info", f"step {number}") for number in range(MAX_ENTRIES * 3)))
    assert path.stat().st_size > MAX_READ_BYTES
    tail = LogTail(path)
    entries, _ = tail.read_new_entries()
    assert 0 < len(entries) <= MAX_ENTRIES
    assert f"step {MAX_ENTRIES * 3 - 1}" in entries[-1].folded_text
    assert tail.read_new_entries()[0] == []
    os.replace(path, tmp_path / "synthdub.log.1")
    path.write_text(log_line("info", "new file"))
    assert [found.folded_text for found in tail.read_new_entries()[0]] == ["new file"]
    path.write_text("")
    assert tail.read_new_entries()[0] == []
    path.write_text('{"message": "half')
    assert tail.read_new_entries()[0] == []
    with path.open("a") as file:
        file.write(' done"}\n')
    assert [found.folded_text for found in tail.read_new_entries()[0]] == ["half done"]


def test_entries_of_any_shape() -> None:
    assert len(parse_entry(b'{"message": "' + b"x" * 5000 + b'"}').folded_text) == MAX_ENTRY_CHARACTERS
    assert parse_entry(b'{"level": 35, "msg": "m", "time": 1e300}').level == 30
    assert parse_entry(b'{"level": true, "event": {"a": 1}}').folded_text == '{"a": 1}'
    assert parse_entry(b"{}").folded_text == ""


async def test_a_filter_typed_in_a_burst_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_text(log_line("info", "level") + log_line("info", "other"))
    async with show_screen(LogScreen(path)) as hand:
        await hand.wait_for_text("2 lines")
        await hand.type_text("/level")  # l closes the page, v is another level
        await hand.wait_for_text("info and above, 1 line")
        assert hand.app.answers == []


async def test_nothing_of_a_kind_is_not_nothing_at_all(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_text(log_line("info", "started"))
    async with show_screen(LogScreen(path)) as hand:
        await hand.wait_for_text("1 line")
        await hand.press("v")
        await hand.wait_for_text("warnings and errors, 0 lines", "Nothing of this kind in the log")
    path.write_text("")
    async with show_screen(LogScreen(path)) as hand:
        await hand.wait_for_text("Nothing was written to the log yet")
