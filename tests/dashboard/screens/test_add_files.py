import os
import threading
import time
from pathlib import Path

import pytest

from synthdub_tui.dashboard import directory_listing as folder_module
from synthdub_tui.dashboard.directory_listing import complete_path
from synthdub_tui.dashboard.screens.add_files import AddFilesScreen
from synthdub_tui.dashboard.widgets.search_box import SearchBox
from synthdub_tui.jobs.batch_options import BatchOptions
from tests.dashboard.screen_harness import HOSTILE_NAME, HOSTILE_NAME_SHOWN, SMALL_SIZE, WIDE_SIZE, ScreenDriver, show_screen


@pytest.fixture
def video_folder(tmp_path: Path) -> Path:
    """A folder with videos, outputs and other things."""
    root = tmp_path / "library"
    (root / "sub" / "deep").mkdir(parents=True)
    for name, size in {"intro.mp4": 1500, "outro.MOV": 2500, "sub/a.webm": 1000, "sub/deep/b.mp4": 3000}.items():
        (root / name).write_bytes(b"x" * size)
    for name in ("intro.dubbed-fr-FR.mp4", "notes.txt", ".hidden.mp4", "._intro.mp4", "sub/a.dubbed-de.mp4"):
        (root / name).write_bytes(b"x")
    return root


@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_shows_videos_and_counts_the_rest(video_folder: Path, size: tuple[int, int]) -> None:
    async with show_screen(AddFilesScreen(video_folder), size) as hand:
        await hand.wait_for_text("sub/", "intro.mp4", "1.5 kB", "outro.MOV", "2.5 kB", "2 videos, 1 folder", "esc back")
        assert "notes" not in hand.app.text
        assert "dubbed" not in hand.app.text
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("not shown: 1 output, 2 others, 1 hidden file")
        await hand.press("full_stop")
        await hand.wait_for_text(".hidden.mp4", "3 videos")


async def test_walks_with_keys(video_folder: Path) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("> [ ] sub/")
        await hand.press("l")
        await hand.wait_for_text("library/sub", "> [ ] deep/", "a.webm")
        await hand.press("right")
        await hand.wait_for_text("library/sub/deep", "b.mp4")
        await hand.press("h")
        await hand.wait_for_text("> [ ] deep/", "a.webm")
        await hand.press("left")
        await hand.wait_for_text("> [ ] sub/", "intro.mp4")
        await hand.press("enter")
        await hand.wait_for_text("library/sub", "deep/")


async def test_marks_files_and_folders(video_folder: Path) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("sub/", "2.5 kB")
        await hand.press("space", "space")
        await hand.wait_for_text("[x] sub/", "[x] intro.mp4", "2 marked: 3 videos, 5.5 kB")
        assert "counting" not in hand.app.text
        await hand.press("enter")
        assert await hand.wait_for_answer() == [str(video_folder / "sub"), str(video_folder / "intro.mp4")]


async def test_a_marked_folder_includes_what_is_in_it(video_folder: Path) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("sub/")
        await hand.press("l")
        await hand.wait_for_text("a.webm", "1.0 kB")
        await hand.press("down", "space")
        await hand.wait_for_text("1 marked: 1 video, 1.0 kB")
        await hand.press("h")
        await hand.wait_for_text("intro.mp4")
        await hand.press("space")
        await hand.wait_for_text("1 marked: 2 videos, 4.0 kB")  # takes the place of the mark inside
        await hand.press("up", "l")
        await hand.wait_for_text("[x] a.webm", "[x] deep/")
        await hand.press("space")
        await hand.wait_for_text("Included already: sub is marked")
        await hand.press("u")
        await hand.wait_for_text("Nothing is marked", "[ ] a.webm")


async def test_all_shown_and_back_again(video_folder: Path) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("2.5 kB")
        await hand.press("asterisk")
        await hand.wait_for_text("2 marked: 2 videos, 4.0 kB", "[ ] sub/")
        await hand.press("asterisk")
        await hand.wait_for_text("Nothing is marked")


async def test_filters_names(video_folder: Path) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("sub/")
        await hand.press("slash")
        await hand.type_text("OUT")
        await hand.wait_for_text("1 video, 0 folders of 3")
        assert "intro" not in hand.app.text
        await hand.press("enter", "enter")
        assert await hand.wait_for_answer() == [str(video_folder / "outro.MOV")]


async def test_escape_leaves_the_box_and_then_the_screen(video_folder: Path) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("sub/")
        await hand.press("slash", "x", "escape")
        await hand.wait_for_text("sub/", "2 videos")
        assert not hand.app.answers
        await hand.press("escape")
        assert await hand.wait_for_answer() is None


async def test_escape_takes_the_marks_back_before_the_filter(video_folder: Path) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("sub/")
        await hand.press("slash")
        await hand.type_text("OUT")
        await hand.press("enter", "space")
        await hand.wait_for_text("1 marked", "1 video, 0 folders of 3")
        await hand.press("escape")
        await hand.wait_for_text("Nothing is marked", "1 video, 0 folders of 3")
        await hand.press("escape")
        await hand.wait_for_text("2 videos, 1 folder")
        await hand.press("escape")
        assert await hand.wait_for_answer() is None


async def open_folder(hand: ScreenDriver, path: str) -> None:
    await hand.press("p", "ctrl+u")
    await hand.paste_text(path)
    await hand.press("enter")


async def test_a_typed_path_is_completed(video_folder: Path) -> None:
    (video_folder / "sure").mkdir()
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("sub/")
        await hand.press("p", "s", "tab")
        await hand.wait_for_text("sub/  sure/")
        await hand.press("b", "tab")
        await hand.wait_for_text("library/sub/ ")
        await hand.press("enter")
        await hand.wait_for_text("> [ ] deep/", "a.webm")
        await open_folder(hand, str(video_folder / "outro.MOV"))
        await hand.wait_for_text("> [ ] outro.MOV")


async def test_a_path_that_is_not_there_is_explained(video_folder: Path) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("sub/")
        await open_folder(hand, "nowhere")
        await hand.wait_for_text("library/nowhere", "no such file", "h goes up")
        await hand.press("h")
        await hand.wait_for_text("> [ ] sub/")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_an_unreadable_folder_is_explained(video_folder: Path) -> None:
    (video_folder / "sub").chmod(0)
    try:
        async with show_screen(AddFilesScreen(video_folder)) as hand:
            await hand.wait_for_text("sub/")
            await hand.press("space")
            await hand.wait_for_text("0 videos, 0 B, 1 unreadable")
            await hand.press("up", "l")
            await hand.wait_for_text("Permission denied")
    finally:
        (video_folder / "sub").chmod(0o700)


async def test_a_folder_that_cannot_be_read_is_explained(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(folder_module, "scandir", denied)
    async with show_screen(AddFilesScreen(video_folder), SMALL_SIZE) as hand:
        await hand.wait_for_text("Permission denied")
        await hand.press("enter", "space", "l", "escape")
        assert await hand.wait_for_answer() is None


async def test_hostile_names_are_plain_text(video_folder: Path) -> None:
    (video_folder / HOSTILE_NAME).write_bytes(b"x" * 700)
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text(HOSTILE_NAME_SHOWN)
        assert "\x1b" not in hand.app.text
        await open_folder(hand, str(video_folder))
        await hand.press("slash", "left_square_bracket", "r", "e", "d", "enter")
        await hand.wait_for_text("1 video, 0 folders", "700 B")
        await hand.press("enter")
        assert await hand.wait_for_answer() == [str(video_folder / HOSTILE_NAME)]


async def test_names_that_are_not_text_are_refused(video_folder: Path) -> None:
    with open(os.fsencode(video_folder) + b"/stray\xff.mp4", "wb") as file:
        file.write(b"x")
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("stray")
        await hand.press("G")
        await hand.wait_for_text("> [ ] stray\ufffd.mp4")
        await hand.press("enter")
        await hand.wait_until(lambda: "Nothing is marked" not in hand.app.text)
        assert not hand.app.answers
        assert "[x]" not in hand.app.text


async def test_empty_files_are_refused(video_folder: Path) -> None:
    (video_folder / "zero.mp4").touch()
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("zero.mp4", "empty")
        await hand.press("G", "space")
        await hand.wait_for_text("The file is empty")
        await hand.press("up")
        await hand.wait_for_text("Nothing is marked")


async def test_a_vast_folder_streams_and_does_not_freeze(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing is held up in the middle: what is read so far can be used, and leaving does not wait for the rest."""
    real, gate, halfway = os.scandir, threading.Event(), threading.Event()

    class Slow:
        def __init__(self, path: str) -> None:
            self._inside = real(path)

        def __enter__(self) -> "Slow":
            return self

        def __exit__(self, *args: object) -> None:
            self._inside.close()

        def __iter__(self):  # type: ignore[no-untyped-def]
            for number, item in enumerate(self._inside):
                if number == 2_000:
                    time.sleep(0.06)  # longer than between two reports
                elif number == 2_001:
                    halfway.set()
                    gate.wait(30)
                yield item

    for number in range(3_000):
        os.close(os.open(video_folder / f"{number:05}.mp4", os.O_CREAT, 0o600))
    monkeypatch.setattr(folder_module, "scandir", Slow)
    monkeypatch.setattr(folder_module, "REPORT_INTERVAL_SECONDS", 0.05)
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_until(halfway.is_set)
        await hand.wait_for_text(".mp4", "so far")
        await hand.press("G", "g", "space")
        await hand.wait_for_text("1 marked")
        gate.set()
        await hand.wait_for_text("3,002 videos, 1 folder")
        await hand.press("G")
        await hand.wait_for_text("> [ ] outro.MOV")


async def test_a_marked_folder_says_how_many_videos_are_left_out(video_folder: Path) -> None:
    for name in ("sub/#recycle/a.mp4", "sub/drafts/b.mp4", "sub/a.dubbed-de (1).mp4", "#recycle/c.mp4"):
        (video_folder / name).parent.mkdir(exist_ok=True)
        (video_folder / name).write_bytes(b"x")
    async with show_screen(AddFilesScreen(video_folder, BatchOptions(exclude=("drafts",)))) as hand:
        await hand.wait_for_text("sub/", "2 videos, 1 folder")
        assert "#recycle" not in hand.app.text
        await hand.press("space")
        await hand.wait_for_text("1 marked: 2 videos, 4.0 kB, 3 left out")


async def test_counting_stops_when_unmarked(video_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, ended = threading.Event(), threading.Event()
    found = folder_module.find_sources([str(video_folder / "sub")], recursive=True)

    def slow(paths: list[str], *, recursive: bool, rules: object):  # type: ignore[no-untyped-def]
        try:
            yield next(found)
            gate.wait(30)
            yield from found
        finally:
            ended.set()

    monkeypatch.setattr(folder_module, "find_sources", slow)
    monkeypatch.setattr(folder_module, "REPORT_INTERVAL_SECONDS", 0.0)
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("sub/", "2.5 kB")
        await hand.press("space")
        await hand.wait_for_text("counting…")
        await hand.press("up", "space")
        await hand.wait_for_text("Nothing is marked")
        gate.set()
        await hand.wait_until(ended.is_set)
        await hand.wait_for_text("Nothing is marked")


def test_completion_keeps_to_what_can_be_added(video_folder: Path) -> None:
    assert complete_path("in", str(video_folder)) == (str(video_folder / "intro.mp4"), [])
    assert complete_path("notes", str(video_folder)) == ("notes", [])
    assert complete_path("./", str(video_folder)) == (str(video_folder) + "/", ["intro.mp4", "outro.MOV", "sub/"])
    assert complete_path("gone/x", str(video_folder)) == ("gone/x", [])
    assert complete_path("a\0b/", str(video_folder)) == ("a\0b/", [])


@pytest.mark.parametrize(
    ("typed", "box", "value"), [("/quph", "filter", "quph"), ("p*uq", "path", "/*uq"), ("~p/", "path", "/p/")]
)
async def test_what_is_typed_in_a_burst_goes_into_the_box(video_folder: Path, typed: str, box: str, value: str) -> None:
    async with show_screen(AddFilesScreen(video_folder)) as hand:
        await hand.wait_for_text("2 videos")
        await hand.press("*")
        await hand.type_text(typed)
        await hand.wait_until(lambda: hand.app.screen.query_one(f"#{box}", SearchBox).value.endswith(value))
        await hand.wait_for_text("2 marked")
        assert hand.app.answers == []
