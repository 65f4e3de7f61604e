import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui.dashboard import output_file_check
from synthdub_tui.dashboard.screens.captions import read_captions
from synthdub_tui.dashboard.screens.outputs import OutputRow, OutputsScreen
from synthdub_tui.dashboard.terminal import player
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.jobs.model import Output
from tests.dashboard.screen_harness import HOSTILE_NAME, HOSTILE_NAME_SHOWN, SMALL_SIZE, WIDE_SIZE, ScreenDriver, show_screen

NOW = 1_790_000_000.0


class FakeOutputsBatch:
    """Rows as the core gives them, and the marks it was told."""

    def __init__(self, rows: list[OutputRow]) -> None:
        self.rows = rows
        self.reviews: list[tuple[list[str], bool]] = []

    def screen(self, **options: Any) -> OutputsScreen:
        return OutputsScreen(lambda: list(self.rows), on_review=self._record_review, clock=lambda: NOW, **options)

    def _record_review(self, rows: list[OutputRow], mark: bool) -> None:
        self.reviews.append(([row.language for row in rows], mark))


def output_row(folder: Path, name: str, language: str, *, size: int = 1000, age: float = 60, **more: Any) -> OutputRow:
    """A finished file that is really there."""
    path = folder / f"{name.removesuffix('.mp4')}.dubbed-{language}.mp4"
    path.write_bytes(b"x" * size)
    mtime = os.stat(path).st_mtime_ns
    made = Output.of(str(path), size, mtime, more.pop("captions", ()), seconds=more.pop("seconds", 61.0))
    row = OutputRow(f"job-{name}", name, language, NOW - age, made, False)
    return replace(row, **more)


def with_captions(row: OutputRow, *captions: Path) -> OutputRow:
    """The same file with other captions."""
    made = Output.of(row.path, row.size, row.mtime_ns, [str(path) for path in captions], seconds=row.playing_seconds)
    return replace(row, output=made)


@pytest.fixture
def outputs_batch(tmp_path: Path) -> FakeOutputsBatch:
    return FakeOutputsBatch(
        [
            output_row(tmp_path, "intro.mp4", "fr-FR", age=30),
            output_row(tmp_path, "intro.mp4", "de-DE", age=7200, size=5000, seconds=3661.0, reviewed=True),
            output_row(tmp_path, "outro.mp4", "fr-FR", age=300_000, size=200),
        ]
    )


@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_lists_newest_first(outputs_batch: FakeOutputsBatch, size: tuple[int, int]) -> None:
    async with show_screen(outputs_batch.screen(), size) as hand:
        await hand.wait_for_text("3 files, 6.2 kB", "intro.mp4", "outro.mp4", "fr-FR", "reviewed", "esc back")
        rows = [line for line in hand.app.text.splitlines() if "tro.mp4" in line]
        assert [("de-DE" in row, "outro" in row) for row in rows[:3]] == [(False, False), (True, False), (False, True)]
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.wait_for_text("5.0 kB  1:01:01    2 h ago", "200 B     1:01    3 d ago")
        await hand.press("o")
        assert await hand.wait_for_answer() is None


async def test_nothing_yet() -> None:
    batch = FakeOutputsBatch([])
    async with show_screen(batch.screen(), SMALL_SIZE) as hand:
        await hand.wait_for_text("No finished files yet")
        await hand.press("enter", "y", "Y", "c", "v", "space", "asterisk", "u", "s", "escape")
        assert await hand.wait_for_answer() is None
    assert not batch.reviews


async def test_new_rows_come_in_and_the_cursor_stays(outputs_batch: FakeOutputsBatch, tmp_path: Path) -> None:
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.press("down")
        await hand.wait_for_text(">   intro.mp4                 de-DE")
        outputs_batch.rows = [output_row(tmp_path, "later.mp4", "es-ES", age=1), *outputs_batch.rows]
        batch_screen = hand.app.tested_screen
        assert isinstance(batch_screen, OutputsScreen)
        batch_screen.reload()
        await hand.wait_for_text("4 files", "later.mp4", ">   intro.mp4                 de-DE")


async def test_marks_what_was_moved_or_changed(outputs_batch: FakeOutputsBatch, tmp_path: Path) -> None:
    Path(outputs_batch.rows[0].path).unlink()
    Path(outputs_batch.rows[1].path).write_bytes(b"other")
    async with show_screen(outputs_batch.screen(play_command="window: true")) as hand:
        await hand.wait_for_text("moved", "changed", "The file is gone from here")
        await hand.press("enter")
        await hand.wait_for_text("moved or deleted since", "fetches it again, free")
        await hand.press("Y")
        assert hand.app.clipboard == ""
        await hand.press("asterisk", "Y")
        await hand.wait_for_text("scp command, 1 moved file left out")
        assert outputs_batch.rows[0].path not in hand.app.clipboard and outputs_batch.rows[1].path in hand.app.clipboard
        await go_back_to_list(hand)
        await hand.press("u")
        await hand.press("slash")
        await hand.type_text("state:moved")
        await hand.wait_for_text("1 of 3 files")
        await hand.press("escape", "slash")
        await hand.type_text("state:ok")
        await hand.wait_for_text("1 of 3 files", ">   outro.mp4")


async def test_a_disk_that_hangs_does_not_hold_up_the_screen(
    outputs_batch: FakeOutputsBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gate = threading.Event(), threading.Event()

    def hangs(row: OutputRow) -> str:
        asked.set()
        gate.wait(30)
        return "moved"

    monkeypatch.setattr(output_file_check, "check_file", hangs)
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.wait_until(asked.is_set)
        await hand.press("down", "space")
        await hand.wait_for_text("1 marked", "* intro.mp4")
        await hand.press("q")
        assert await hand.wait_for_answer() is None
    gate.set()


async def test_escape_takes_the_nearest_thing_back(outputs_batch: FakeOutputsBatch) -> None:
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.press("slash")
        await hand.type_text("intro")
        await hand.wait_for_text("2 of 3 files")
        await hand.press("enter", "space")
        await hand.wait_for_text("2 of 3 files", "1 marked", "esc unmark")
        await hand.press("escape")
        await hand.wait_until(lambda: "1 marked" not in hand.app.text)
        assert "2 of 3 files" in hand.app.text
        await hand.press("space", "slash", "escape")
        await hand.wait_for_text("Outputs: 3 files", "1 marked")
        await hand.press("escape")
        await hand.wait_until(lambda: "1 marked" not in hand.app.text)
        assert not hand.app.answers
        await hand.press("escape")
        assert await hand.wait_for_answer() is None


async def test_filters_and_says_what_is_wrong(outputs_batch: FakeOutputsBatch) -> None:
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.press("slash")
        await hand.paste_text("lang:FR in")
        await hand.wait_for_text("1 of 3 files")
        await hand.press("ctrl+u")
        await hand.paste_text("reviewed:no sort:size")
        await hand.wait_for_text("2 of 3 files", "by size")
        await hand.press("ctrl+u")
        await hand.paste_text("colour:red")
        await hand.wait_for_text("Unknown: colour:", "lang:")
        await hand.press("ctrl+u")
        await hand.paste_text("state:x")
        await hand.wait_for_text("one of ok, moved, changed, unread")
        await hand.press("ctrl+u")
        await hand.paste_text("zebra")
        await hand.wait_for_text("Nothing passes the filter")
        await hand.press("escape")
        await hand.wait_for_text("3 files")


async def test_sorts(outputs_batch: FakeOutputsBatch) -> None:
    async with show_screen(outputs_batch.screen()) as hand:
        for order in ("name", "language", "size", "length", "reviewed", "newest"):
            await hand.press("s")
            await hand.wait_for_text(f"by {order}", ">   intro.mp4                 fr-FR")


async def test_review_shows_at_once_and_takes_marks(outputs_batch: FakeOutputsBatch) -> None:
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.wait_for_text("> ")
        await hand.press("v")
        await hand.wait_until(lambda: hand.app.text.count("reviewed") >= 3)  # two rows and the line below
        assert outputs_batch.reviews == [(["fr-FR"], True)]
        await hand.press("v")
        assert outputs_batch.reviews[-1] == (["fr-FR"], False)
        await hand.press("asterisk", "v")
        await hand.wait_for_text("3 marked")
        assert outputs_batch.reviews[-1] == (["fr-FR", "de-DE", "fr-FR"], True)
        await hand.press("u")
        await hand.wait_until(lambda: "marked" not in hand.app.text)


async def test_only_watching_reviews_nothing(outputs_batch: FakeOutputsBatch) -> None:
    async with show_screen(outputs_batch.screen(read_only=True)) as hand:
        await hand.press("v")
        await hand.wait_for_text("only watches")
    assert not outputs_batch.reviews


async def go_back_to_list(hand: ScreenDriver) -> None:
    """To the list: what is long is shown in a window of its own."""
    if hand.app.screen is not hand.app.tested_screen:
        await hand.press("escape")


async def test_copies_paths_and_scp_commands(outputs_batch: FakeOutputsBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 5555 192.0.2.7 2222")
    monkeypatch.setenv("USER", "ana")
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.press("y")
        await hand.wait_until(lambda: hand.app.clipboard == outputs_batch.rows[0].path)
        await hand.wait_for_text("Sent to your clipboard")
        await go_back_to_list(hand)
        await hand.press("asterisk", "Y")
        paths = " ".join(f"ana@192.0.2.7:{row.path}" for row in outputs_batch.rows)
        await hand.wait_until(lambda: hand.app.clipboard == f"scp -P 2222 {paths} .")
        await hand.wait_for_text("copy it from here")
        await hand.wait_until(lambda: "outro.dubbed-fr-FR.mp4." in "".join(hand.app.text.split()))  # long paths are broken
        assert "│" not in hand.app.text, "a border would be copied along"
        assert len([line for line in hand.app.text.splitlines() if line.rstrip().endswith(" \\")]) == 2, "a command in lines"
        await hand.press("escape")
        await hand.wait_for_text("3 files")


async def test_hostile_names_are_plain_text(tmp_path: Path) -> None:
    batch = FakeOutputsBatch([output_row(tmp_path, HOSTILE_NAME, "fr-FR")])
    async with show_screen(batch.screen(host="box")) as hand:
        await hand.wait_for_text(HOSTILE_NAME_SHOWN, f"{HOSTILE_NAME_SHOWN.removesuffix('.mp4')}.dubbed-fr-FR.mp4")
        await hand.press("Y")
        await hand.wait_until(lambda: bool(hand.app.clipboard))
        assert hand.app.clipboard.isprintable()
        assert "\x1b" not in hand.app.text
        await go_back_to_list(hand)
        await hand.press("y")
        await hand.wait_until(lambda: hand.app.clipboard.startswith("$'"))
        assert hand.app.clipboard.isprintable()


async def test_captions_are_shown_harmless(outputs_batch: FakeOutputsBatch, tmp_path: Path) -> None:
    vtt, srt = tmp_path / "c.vtt", tmp_path / "c.srt"
    vtt.write_text("WEBVTT\n\nwelt")
    srt.write_bytes(b"\xef\xbb\xbf1\r\n00:00:01,000 --> 00:00:02,000\r\n[red]Bon\x1b[31mjour\xff\r\n" + b"more\n" * 100_000)
    outputs_batch.rows[0] = with_captions(outputs_batch.rows[0], vtt, srt)
    outputs_batch.rows[1] = with_captions(outputs_batch.rows[1], tmp_path / "gone.srt")
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.press("c")
        await hand.wait_for_text("c.srt", "[red]Bon\ufffd[31mjour\ufffd")
        await hand.press("G")
        await hand.wait_for_text("the first 262 kB of 500 kB")
        await hand.press("tab")
        await hand.wait_for_text("c.vtt", "welt")
        await hand.press("escape", "down", "c")
        await hand.wait_for_text("cannot be read: No such file")
        await hand.press("q", "down", "c")
        await hand.wait_for_text("no captions of this file")


def test_captions_of_other_scripts_are_readable(tmp_path: Path) -> None:
    srt = tmp_path / "c.srt"
    srt.write_text("می\u200cخواهم\n\u202bשלום!\u202c\u200f\nക്\u200d\n日本語\n\u200c\u202e👩\u200d👧", "utf-8")
    said = ["".join(text for text, _ in line) for line in read_captions(str(srt))]
    assert said == ["می\u200cخواهم", "שלום!", "ക്", "日本語", "\ufffd👩👧"]


async def test_plays_in_a_window(outputs_batch: FakeOutputsBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Sequence[str]] = []

    def start(argv: tuple[str, ...]) -> str:
        started.append(argv)
        return "" if len(started) == 1 else "true ended with code 4."

    monkeypatch.setattr(player, "start_in_window", start)
    monkeypatch.setenv("DISPLAY", ":0")
    async with show_screen(outputs_batch.screen(play_command="true --at {} -x")) as hand:
        await hand.press("enter")
        await hand.wait_for_text("Opened with true")
        assert started == [("true", "--at", outputs_batch.rows[0].path, "-x")]
        await hand.press("enter")
        await hand.wait_for_text("true ended with code 4.")


async def test_explains_where_no_window_can_open(outputs_batch: FakeOutputsBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    async with show_screen(outputs_batch.screen(), SMALL_SIZE) as hand:
        await hand.press("enter")
        await hand.wait_for_text("No display here", "scp")


async def test_a_terminal_that_cannot_be_given_away_is_explained(outputs_batch: FakeOutputsBatch) -> None:
    async with show_screen(outputs_batch.screen(play_command="terminal: true")) as hand:
        await hand.press("enter")
        await hand.wait_for_text("cannot be given to another program")


async def test_vast_lists_move_at_once(tmp_path: Path) -> None:
    one = output_row(tmp_path, "clip.mp4", "fr-FR")
    batch = FakeOutputsBatch(
        [replace(one, job=str(number), name=f"clip {number}.mp4", finished_at=NOW - number) for number in range(20_000)]
    )
    async with show_screen(batch.screen()) as hand:
        await hand.wait_for_text("20,000 files")
        await hand.press("G")
        await hand.wait_for_text(">   clip 19999.mp4")
        await hand.press("pageup", "g", "asterisk")
        await hand.wait_for_text("20,000 marked", "> * clip 0.mp4")
        await hand.press("slash")
        await hand.paste_text("19998")
        await hand.wait_for_text("1 of 20,000 files")


async def test_the_cursor_is_seen_without_colours(outputs_batch: FakeOutputsBatch) -> None:
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.wait_for_text("3 files")
        lines = hand.app.screen._compositor.render_strips()
        at = next(line for line in lines if ">   intro" in line.text)
        name = next(segment for segment in at if "intro" in segment.text)
        assert name.style is not None
        assert name.style.reverse


async def test_a_filter_typed_in_a_burst_is_typed(outputs_batch: FakeOutputsBatch) -> None:
    async with show_screen(outputs_batch.screen()) as hand:
        await hand.wait_for_text("3 files")
        await hand.type_text("/outvoq/")  # v reviews, o and q close, / opens the box
        await hand.wait_until(lambda: hand.app.screen.query_one("#filter", SearchBox).value == "outvoq/")
        assert outputs_batch.reviews == [] and hand.app.answers == []


async def test_the_answer_to_a_key_right_behind_a_move_stays(outputs_batch: FakeOutputsBatch) -> None:
    """That the cursor moved is told after the key behind it was handled."""
    async with show_screen(outputs_batch.screen(), (200, 24)) as hand:
        await hand.wait_for_text("3 files")
        await hand.type_text(" y")
        await hand.wait_for_text("Sent to your clipboard (1 path)")
        await hand.press("down")
        await hand.wait_until(lambda: "Sent to your clipboard" not in hand.app.text)
