import json
import os
from pathlib import Path

import pytest

from synthdub_tui.dashboard.log_tail import FIRST, KEEP, LONGEST, Tail, entry
from synthdub_tui.dashboard.screens.log import LogScreen
from tests.dashboard.screen_harness import HOSTILE, SHOWN, SMALL, WIDE, shown


def line(level: str, message: str, **more: object) -> str:
    return json.dumps({"time": "2026-05-01T12:00:01Z", "level": level, "message": message, **more}) + "\n"


@pytest.mark.parametrize("size", [WIDE, SMALL])
async def test_follows_what_is_written(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "synthdub.log"
    async with shown(LogScreen(path), size) as hand:
        await hand.sees("There is no log yet")
        path.write_text(line("info", "started", pid=12))
        await hand.sees("12:00:01 started pid=12", "1 line")
        with path.open("a") as file:
            file.write("".join(line("info", f"step {number}") for number in range(100)))
        await hand.sees("step 99")  # stays at the end
        await hand.press("g")
        await hand.sees("started pid=12")
        with path.open("a") as file:
            file.write(line("info", "one more"))
        await hand.sees("102 lines")
        assert "one more" not in hand.app.text  # scrolled up: does not jump
        await hand.press("G")
        await hand.sees("one more")
        await hand.press("escape")
        assert await hand.answer() is None


async def test_levels_and_filter(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_text(line("debug", "dot") + line("info", "iota") + line("warning", "wave") + line("error", "eel"))
    async with shown(LogScreen(path)) as hand:
        await hand.sees("info and above, 3 lines", "iota", "WARN wave", "ERROR eel")
        await hand.press("v")
        await hand.sees("warnings and errors, 2 lines")
        await hand.press("v")
        await hand.sees("errors, 1 line")
        await hand.press("v")
        await hand.sees("everything, 4 lines", "debug dot")
        await hand.press("slash")
        await hand.type("WAVE")
        await hand.sees("1 line")
        await hand.press("escape")
        await hand.sees("4 lines")
        await hand.press("l")
        assert await hand.answer() is None


async def test_nothing_in_it_is_interpreted(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_bytes(line("info", HOSTILE).encode() + b"plain \x1b[31m [red] \xff\n" + b"[1, 2]\n" + b"[" * 100_000 + b"\n")
    async with shown(LogScreen(path)) as hand:
        await hand.press("g")
        await hand.sees(SHOWN, "plain \ufffd[31m [red] \ufffd", "[1, 2]", "4 lines")
        assert "\x1b" not in hand.app.text


async def test_a_folder_in_its_place_is_explained(tmp_path: Path) -> None:
    async with shown(LogScreen(tmp_path)) as hand:
        await hand.sees("The log cannot be read: Is a directory")


def test_memory_is_bounded_and_rotation_followed(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_text("".join(line("info", f"step {number}") for number in range(KEEP * 3)))
    assert path.stat().st_size > FIRST
    tail = Tail(path)
    entries, _ = tail.read()
    assert 0 < len(entries) <= KEEP
    assert f"step {KEEP * 3 - 1}" in entries[-1].low
    assert tail.read()[0] == []
    os.replace(path, tmp_path / "synthdub.log.1")
    path.write_text(line("info", "new file"))
    assert [found.low for found in tail.read()[0]] == ["new file"]
    path.write_text("")
    assert tail.read()[0] == []
    path.write_text('{"message": "half')
    assert tail.read()[0] == []
    with path.open("a") as file:
        file.write(' done"}\n')
    assert [found.low for found in tail.read()[0]] == ["half done"]


def test_entries_of_any_shape() -> None:
    assert len(entry(b'{"message": "' + b"x" * 5000 + b'"}').low) == LONGEST
    assert entry(b'{"level": 35, "msg": "m", "time": 1e300}').level == 30
    assert entry(b'{"level": true, "event": {"a": 1}}').low == '{"a": 1}'
    assert entry(b"{}").low == ""


async def test_a_filter_typed_in_a_burst_is_typed(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_text(line("info", "level") + line("info", "other"))
    async with shown(LogScreen(path)) as hand:
        await hand.sees("2 lines")
        await hand.type("/level")  # l closes the page, v is another level
        await hand.sees("info and above, 1 line")
        assert hand.app.answers == []


async def test_nothing_of_a_kind_is_not_nothing_at_all(tmp_path: Path) -> None:
    path = tmp_path / "synthdub.log"
    path.write_text(line("info", "started"))
    async with shown(LogScreen(path)) as hand:
        await hand.sees("1 line")
        await hand.press("v")
        await hand.sees("warnings and errors, 0 lines", "Nothing of this kind in the log")
    path.write_text("")
    async with shown(LogScreen(path)) as hand:
        await hand.sees("Nothing was written to the log yet")
