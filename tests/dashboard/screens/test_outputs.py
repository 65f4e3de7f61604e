import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from synthdub_tui.dashboard import output_file_check
from synthdub_tui.dashboard.screens.captions import read
from synthdub_tui.dashboard.screens.outputs import OutputRow, OutputsScreen
from synthdub_tui.dashboard.terminal import player
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.jobs.model import Output
from tests.dashboard.screen_harness import HOSTILE, SHOWN, SMALL, WIDE, Hand, shown

NOW = 1_790_000_000.0


class Batch:
    """Rows as the core gives them, and the marks it was told."""

    def __init__(self, rows: list[OutputRow]) -> None:
        self.rows = rows
        self.reviews: list[tuple[list[str], bool]] = []

    def screen(self, **options: Any) -> OutputsScreen:
        return OutputsScreen(lambda: list(self.rows), on_review=self._review, clock=lambda: NOW, **options)

    def _review(self, rows: list[OutputRow], mark: bool) -> None:
        self.reviews.append(([row.language for row in rows], mark))


def output(folder: Path, name: str, language: str, *, size: int = 1000, age: float = 60, **more: Any) -> OutputRow:
    """A finished file that is really there."""
    path = folder / f"{name.removesuffix('.mp4')}.dubbed-{language}.mp4"
    path.write_bytes(b"x" * size)
    mtime = os.stat(path).st_mtime_ns
    made = Output.of(str(path), size, mtime, more.pop("captions", ()), seconds=more.pop("seconds", 61.0))
    row = OutputRow(f"job-{name}", name, language, NOW - age, made, False)
    return replace(row, **more)


def with_captions(row: OutputRow, *captions: Path) -> OutputRow:
    """The same file with other captions."""
    made = Output.of(row.path, row.size, row.mtime_ns, [str(path) for path in captions], seconds=row.seconds)
    return replace(row, output=made)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(
        [
            output(tmp_path, "intro.mp4", "fr-FR", age=30),
            output(tmp_path, "intro.mp4", "de-DE", age=7200, size=5000, seconds=3661.0, reviewed=True),
            output(tmp_path, "outro.mp4", "fr-FR", age=300_000, size=200),
        ]
    )


@pytest.mark.parametrize("size", [WIDE, SMALL])
async def test_lists_newest_first(batch: Batch, size: tuple[int, int]) -> None:
    async with shown(batch.screen(), size) as hand:
        await hand.sees("3 files, 6.2 kB", "intro.mp4", "outro.mp4", "fr-FR", "reviewed", "esc back")
        rows = [line for line in hand.app.text.splitlines() if "tro.mp4" in line]
        assert [("de-DE" in row, "outro" in row) for row in rows[:3]] == [(False, False), (True, False), (False, True)]
    async with shown(batch.screen()) as hand:
        await hand.sees("5.0 kB  1:01:01    2 h ago", "200 B     1:01    3 d ago")
        await hand.press("o")
        assert await hand.answer() is None


async def test_nothing_yet() -> None:
    batch = Batch([])
    async with shown(batch.screen(), SMALL) as hand:
        await hand.sees("No finished files yet")
        await hand.press("enter", "y", "Y", "c", "v", "space", "asterisk", "u", "s", "escape")
        assert await hand.answer() is None
    assert not batch.reviews


async def test_new_rows_come_in_and_the_cursor_stays(batch: Batch, tmp_path: Path) -> None:
    async with shown(batch.screen()) as hand:
        await hand.press("down")
        await hand.sees(">   intro.mp4                 de-DE")
        batch.rows = [output(tmp_path, "later.mp4", "es-ES", age=1), *batch.rows]
        batch_screen = hand.app.under_test
        assert isinstance(batch_screen, OutputsScreen)
        batch_screen.reload()
        await hand.sees("4 files", "later.mp4", ">   intro.mp4                 de-DE")


async def test_marks_what_was_moved_or_changed(batch: Batch, tmp_path: Path) -> None:
    Path(batch.rows[0].path).unlink()
    Path(batch.rows[1].path).write_bytes(b"other")
    async with shown(batch.screen(play_command="window: true")) as hand:
        await hand.sees("moved", "changed", "The file is gone from here")
        await hand.press("enter")
        await hand.sees("moved or deleted since", "fetches it again, free")
        await hand.press("Y")
        assert hand.app.clipboard == ""
        await hand.press("asterisk", "Y")
        await hand.sees("scp command, 1 moved file left out")
        assert batch.rows[0].path not in hand.app.clipboard and batch.rows[1].path in hand.app.clipboard
        await back(hand)
        await hand.press("u")
        await hand.press("slash")
        await hand.type("state:moved")
        await hand.sees("1 of 3 files")
        await hand.press("escape", "slash")
        await hand.type("state:ok")
        await hand.sees("1 of 3 files", ">   outro.mp4")


async def test_a_disk_that_hangs_does_not_hold_up_the_screen(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, gate = threading.Event(), threading.Event()

    def hangs(row: OutputRow) -> str:
        asked.set()
        gate.wait(30)
        return "moved"

    monkeypatch.setattr(output_file_check, "state_of", hangs)
    async with shown(batch.screen()) as hand:
        await hand.until(asked.is_set)
        await hand.press("down", "space")
        await hand.sees("1 marked", "* intro.mp4")
        await hand.press("q")
        assert await hand.answer() is None
    gate.set()


async def test_escape_takes_the_nearest_thing_back(batch: Batch) -> None:
    async with shown(batch.screen()) as hand:
        await hand.press("slash")
        await hand.type("intro")
        await hand.sees("2 of 3 files")
        await hand.press("enter", "space")
        await hand.sees("2 of 3 files", "1 marked", "esc unmark")
        await hand.press("escape")
        await hand.until(lambda: "1 marked" not in hand.app.text)
        assert "2 of 3 files" in hand.app.text
        await hand.press("space", "slash", "escape")
        await hand.sees("Outputs: 3 files", "1 marked")
        await hand.press("escape")
        await hand.until(lambda: "1 marked" not in hand.app.text)
        assert not hand.app.answers
        await hand.press("escape")
        assert await hand.answer() is None


async def test_filters_and_says_what_is_wrong(batch: Batch) -> None:
    async with shown(batch.screen()) as hand:
        await hand.press("slash")
        await hand.paste("lang:FR in")
        await hand.sees("1 of 3 files")
        await hand.press("ctrl+u")
        await hand.paste("reviewed:no sort:size")
        await hand.sees("2 of 3 files", "by size")
        await hand.press("ctrl+u")
        await hand.paste("colour:red")
        await hand.sees("Unknown: colour:", "lang:")
        await hand.press("ctrl+u")
        await hand.paste("state:x")
        await hand.sees("one of ok, moved, changed, unread")
        await hand.press("ctrl+u")
        await hand.paste("zebra")
        await hand.sees("Nothing passes the filter")
        await hand.press("escape")
        await hand.sees("3 files")


async def test_sorts(batch: Batch) -> None:
    async with shown(batch.screen()) as hand:
        for order in ("name", "language", "size", "length", "reviewed", "newest"):
            await hand.press("s")
            await hand.sees(f"by {order}", ">   intro.mp4                 fr-FR")


async def test_review_shows_at_once_and_takes_marks(batch: Batch) -> None:
    async with shown(batch.screen()) as hand:
        await hand.sees("> ")
        await hand.press("v")
        await hand.until(lambda: hand.app.text.count("reviewed") >= 3)  # two rows and the line below
        assert batch.reviews == [(["fr-FR"], True)]
        await hand.press("v")
        assert batch.reviews[-1] == (["fr-FR"], False)
        await hand.press("asterisk", "v")
        await hand.sees("3 marked")
        assert batch.reviews[-1] == (["fr-FR", "de-DE", "fr-FR"], True)
        await hand.press("u")
        await hand.until(lambda: "marked" not in hand.app.text)


async def test_only_watching_reviews_nothing(batch: Batch) -> None:
    async with shown(batch.screen(read_only=True)) as hand:
        await hand.press("v")
        await hand.sees("only watches")
    assert not batch.reviews


async def back(hand: Hand) -> None:
    """To the list: what is long is shown in a window of its own."""
    if hand.app.screen is not hand.app.under_test:
        await hand.press("escape")


async def test_copies_paths_and_scp_commands(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 5555 192.0.2.7 2222")
    monkeypatch.setenv("USER", "ana")
    async with shown(batch.screen()) as hand:
        await hand.press("y")
        await hand.until(lambda: hand.app.clipboard == batch.rows[0].path)
        await hand.sees("Sent to your clipboard")
        await back(hand)
        await hand.press("asterisk", "Y")
        paths = " ".join(f"ana@192.0.2.7:{row.path}" for row in batch.rows)
        await hand.until(lambda: hand.app.clipboard == f"scp -P 2222 {paths} .")
        await hand.sees("copy it from here")
        await hand.until(lambda: "outro.dubbed-fr-FR.mp4." in "".join(hand.app.text.split()))  # long paths are broken
        assert "│" not in hand.app.text, "a border would be copied along"
        assert len([line for line in hand.app.text.splitlines() if line.rstrip().endswith(" \\")]) == 2, "a command in lines"
        await hand.press("escape")
        await hand.sees("3 files")


async def test_hostile_names_are_plain_text(tmp_path: Path) -> None:
    batch = Batch([output(tmp_path, HOSTILE, "fr-FR")])
    async with shown(batch.screen(host="box")) as hand:
        await hand.sees(SHOWN, f"{SHOWN.removesuffix('.mp4')}.dubbed-fr-FR.mp4")
        await hand.press("Y")
        await hand.until(lambda: bool(hand.app.clipboard))
        assert hand.app.clipboard.isprintable()
        assert "\x1b" not in hand.app.text
        await back(hand)
        await hand.press("y")
        await hand.until(lambda: hand.app.clipboard.startswith("$'"))
        assert hand.app.clipboard.isprintable()


async def test_captions_are_shown_harmless(batch: Batch, tmp_path: Path) -> None:
    vtt, srt = tmp_path / "c.vtt", tmp_path / "c.srt"
    vtt.write_text("WEBVTT\n\nwelt")
    srt.write_bytes(b"\xef\xbb\xbf1\r\n00:00:01,000 --> 00:00:02,000\r\n[red]Bon\x1b[31mjour\xff\r\n" + b"more\n" * 100_000)
    batch.rows[0] = with_captions(batch.rows[0], vtt, srt)
    batch.rows[1] = with_captions(batch.rows[1], tmp_path / "gone.srt")
    async with shown(batch.screen()) as hand:
        await hand.press("c")
        await hand.sees("c.srt", "[red]Bon\ufffd[31mjour\ufffd")
        await hand.press("G")
        await hand.sees("the first 262 kB of 500 kB")
        await hand.press("tab")
        await hand.sees("c.vtt", "welt")
        await hand.press("escape", "down", "c")
        await hand.sees("cannot be read: No such file")
        await hand.press("q", "down", "c")
        await hand.sees("no captions of this file")


def test_captions_of_other_scripts_are_readable(tmp_path: Path) -> None:
    srt = tmp_path / "c.srt"
    srt.write_text("می\u200cخواهم\n\u202bשלום!\u202c\u200f\nക്\u200d\n日本語\n\u200c\u202e👩\u200d👧", "utf-8")
    said = ["".join(text for text, _ in line) for line in read(str(srt))]
    assert said == ["می\u200cخواهم", "שלום!", "ക്", "日本語", "\ufffd👩👧"]


async def test_plays_in_a_window(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Sequence[str]] = []

    def start(argv: tuple[str, ...]) -> str:
        started.append(argv)
        return "" if len(started) == 1 else "true ended with code 4."

    monkeypatch.setattr(player, "start_beside", start)
    monkeypatch.setenv("DISPLAY", ":0")
    async with shown(batch.screen(play_command="true --at {} -x")) as hand:
        await hand.press("enter")
        await hand.sees("Opened with true")
        assert started == [("true", "--at", batch.rows[0].path, "-x")]
        await hand.press("enter")
        await hand.sees("true ended with code 4.")


async def test_explains_where_no_window_can_open(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    async with shown(batch.screen(), SMALL) as hand:
        await hand.press("enter")
        await hand.sees("No display here", "scp")


async def test_a_terminal_that_cannot_be_given_away_is_explained(batch: Batch) -> None:
    async with shown(batch.screen(play_command="terminal: true")) as hand:
        await hand.press("enter")
        await hand.sees("cannot be given to another program")


async def test_vast_lists_move_at_once(tmp_path: Path) -> None:
    one = output(tmp_path, "clip.mp4", "fr-FR")
    batch = Batch([replace(one, job=str(number), name=f"clip {number}.mp4", finished=NOW - number) for number in range(20_000)])
    async with shown(batch.screen()) as hand:
        await hand.sees("20,000 files")
        await hand.press("G")
        await hand.sees(">   clip 19999.mp4")
        await hand.press("pageup", "g", "asterisk")
        await hand.sees("20,000 marked", "> * clip 0.mp4")
        await hand.press("slash")
        await hand.paste("19998")
        await hand.sees("1 of 20,000 files")


async def test_the_cursor_is_seen_without_colours(batch: Batch) -> None:
    async with shown(batch.screen()) as hand:
        await hand.sees("3 files")
        lines = hand.app.screen._compositor.render_strips()
        at = next(line for line in lines if ">   intro" in line.text)
        name = next(segment for segment in at if "intro" in segment.text)
        assert name.style is not None
        assert name.style.reverse


async def test_a_filter_typed_in_a_burst_is_typed(batch: Batch) -> None:
    async with shown(batch.screen()) as hand:
        await hand.sees("3 files")
        await hand.type("/outvoq/")  # v reviews, o and q close, / opens the box
        await hand.until(lambda: hand.app.screen.query_one("#filter", SearchBox).value == "outvoq/")
        assert batch.reviews == [] and hand.app.answers == []


async def test_the_answer_to_a_key_right_behind_a_move_stays(batch: Batch) -> None:
    """That the cursor moved is told after the key behind it was handled."""
    async with shown(batch.screen(), (200, 24)) as hand:
        await hand.sees("3 files")
        await hand.type(" y")
        await hand.sees("Sent to your clipboard (1 path)")
        await hand.press("down")
        await hand.until(lambda: "Sent to your clipboard" not in hand.app.text)
