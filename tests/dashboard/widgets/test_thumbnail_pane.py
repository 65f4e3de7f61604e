"""Pictures beside the outputs: with textual-image, without it, and where a terminal has no use for them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.segment import Segment
from textual.app import App

from synthdub_tui.dashboard import images
from synthdub_tui.dashboard.screens.outputs import OutputRow, OutputsScreen
from synthdub_tui.dashboard.widgets import thumbnail_pane as thumbnail_screen
from synthdub_tui.dashboard.widgets.thumbnail_pane import ThumbnailPane
from synthdub_tui.ipc import protocol
from synthdub_tui.ipc.protocol import DubRef, Reply
from synthdub_tui.jobs.model import DubState
from synthdub_tui.sandbox.media import thumbnail
from tests.dashboard.fake_runner import make_job
from tests.dashboard.opened_dashboard import open_dashboard, until
from tests.dashboard.screen_harness import ScreenDriver, show_screen
from tests.dashboard.screens.test_outputs import NOW, output_row

TERMINAL_SIZE = (122, 30)
HALF_BLOCK = "▀"


@pytest.fixture(autouse=True)
def truecolor_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the terminal that runs the tests has."""
    monkeypatch.setattr(images, "terminal_shows_images", lambda app: True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(thumbnail("intro", "fr-FR", "png"))
    return path


class FakeImageFinder:
    """Finds pictures by language, and notes what it was asked."""

    def __init__(self, **known: Path) -> None:
        self.images = known
        self.requested_keys: list[str] = []

    async def __call__(self, key: tuple[str, str]) -> str:
        self.requested_keys.append(key[1])
        return str(self.images.get(key[1].partition("-")[0], ""))


def outputs_screen(folder: Path, finder: FakeImageFinder | None) -> OutputsScreen:
    rows: list[OutputRow] = [
        output_row(folder, "intro.mp4", code, age=age) for age, code in enumerate(("fr-FR", "de-DE", "it"))
    ]
    return OutputsScreen(lambda: rows, on_review=lambda *_: None, find_thumbnail=finder, clock=lambda: NOW)


def picture_cells(hand: ScreenDriver) -> list[Segment]:
    """The cells of the picture on the screen."""
    return [cell for line in hand.app.screen._compositor.render_strips() for cell in line if HALF_BLOCK in cell.text]


async def test_shown_where_the_cursor_rests(tmp_path: Path, image: Path) -> None:
    finder = FakeImageFinder(fr=image)
    async with show_screen(outputs_screen(tmp_path, finder), TERMINAL_SIZE) as hand:
        await hand.wait_until(lambda: sum(cell.text.count(HALF_BLOCK) for cell in picture_cells(hand)) == 40 * 11)
        colours = {cell.style.color for cell in picture_cells(hand) if cell.style is not None}
        assert len(colours) > 5
        await hand.wait_for_text("fr-FR", "lang         size   length   finished")
        await hand.press("down")
        await hand.wait_until(lambda: finder.requested_keys == ["fr-FR", "de-DE"] and not picture_cells(hand))
        assert hand.app.screen.query_one(ThumbnailPane).display  # its room stays, so that the list does not jump
        await hand.press("up")
        await hand.wait_until(lambda: bool(picture_cells(hand)))
        await hand.app.screen.query_one(ThumbnailPane).workers.wait_for_complete()


async def test_moving_on_asks_only_where_it_rests(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = FakeImageFinder(it=image)
    monkeypatch.setattr(thumbnail_screen, "SHOW_DELAY_SECONDS", 3600.0)
    async with show_screen(outputs_screen(tmp_path, finder), TERMINAL_SIZE) as hand:
        await hand.press("down")
        monkeypatch.setattr(thumbnail_screen, "SHOW_DELAY_SECONDS", 0.001)
        await hand.press("down")
        await hand.wait_until(lambda: bool(picture_cells(hand)))
        assert finder.requested_keys == ["it"]


@pytest.mark.parametrize("size", [(99, 40), (120, 17)])
async def test_a_small_terminal_is_left_to_the_list(tmp_path: Path, image: Path, size: tuple[int, int]) -> None:
    finder = FakeImageFinder(fr=image)
    async with show_screen(outputs_screen(tmp_path, finder), size) as hand:
        await hand.pilot.resize_terminal(*TERMINAL_SIZE)
        await hand.wait_until(lambda: bool(picture_cells(hand)))
        await hand.pilot.resize_terminal(*size)
        await hand.wait_until(lambda: not hand.app.screen.query_one(ThumbnailPane).display)
        assert not picture_cells(hand)


@pytest.mark.parametrize("missing", ["textual_image", "PIL"])
async def test_without_the_extra(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    finder = FakeImageFinder(fr=image)
    async with show_screen(outputs_screen(tmp_path, finder), TERMINAL_SIZE) as hand:
        await hand.wait_until(lambda: finder.requested_keys == ["fr-FR"])
        await hand.press("down")
        await hand.wait_until(lambda: finder.requested_keys == ["fr-FR", "de-DE"])
        await hand.wait_for_text("3 files", "de-DE")
        assert not picture_cells(hand) and not hand.app.screen.query_one(ThumbnailPane).display


async def test_without_a_finder_nothing_is_asked(tmp_path: Path) -> None:
    async with show_screen(outputs_screen(tmp_path, None), TERMINAL_SIZE) as hand:
        await hand.press("down")
        await hand.wait_for_text("3 files")
        assert hand.app.screen.query_one(ThumbnailPane)._timer is None


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("cut", thumbnail("intro", "fr-FR", "png")[:200]),
        ("a GIF", thumbnail("intro", "fr-FR", "gif")),
        ("text", b"<svg onload=..."),
        ("vast", thumbnail("intro", "fr-FR", "png")[:16] + b"\x7f" * 8 + thumbnail("intro", "fr-FR", "png")[24:]),
        ("empty", b""),
    ],
)
def test_damaged_pictures_are_none(tmp_path: Path, what: str, content: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    assert images.load(str(path), 40, 12) is None
    assert images.load(str(tmp_path / "gone"), 40, 12) is None


@pytest.mark.parametrize(
    ("pixels", "room", "expected"),
    [
        ((320, 176), (48, 24), (48, 13)),
        ((320, 180), (64, 10), (36, 10)),
        ((100, 2000), (48, 20), (2, 20)),
        ((2000, 1), (40, 9), (40, 1)),
    ],
)
def test_it_keeps_its_shape(pixels: tuple[int, int], room: tuple[int, int], expected: tuple[int, int]) -> None:
    assert images.fit_to_cells(*pixels, *room) == expected


@pytest.mark.parametrize(
    ("system", "no_color", "expected"),
    [
        ("truecolor", False, True),
        ("256", False, True),
        ("standard", False, False),
        (None, False, False),
        ("truecolor", True, False),
    ],
)
def test_only_with_colours_enough(monkeypatch: pytest.MonkeyPatch, system: str | None, no_color: bool, expected: bool) -> None:
    monkeypatch.undo()
    app: App[None] = App()
    monkeypatch.setattr(type(app.console), "color_system", system)
    app.no_color = no_color
    assert images.terminal_shows_images(app) is expected


async def test_the_dashboard_asks_its_runner(tmp_path: Path, image: Path) -> None:
    job = make_job(0, ["fr-FR"], DubState.DONE)
    async with open_dashboard(tmp_path, [job], size=TERMINAL_SIZE) as opened:
        opened.runner.reply_override = lambda asked: (
            Reply(0, result={"path": str(image)}) if type(asked) is protocol.ThumbnailRequest else None
        )
        await opened.press("o")
        await opened.wait_for_screen("OutputsScreen")
        await until(lambda: opened.app.screen.query_one(ThumbnailPane).display)
        (request,) = opened.runner.requests_of(protocol.ThumbnailRequest)
        assert isinstance(request, protocol.ThumbnailRequest) and request.cell == DubRef(job.id, "fr-FR")
        await until(lambda: opened.app.screen.query_one(ThumbnailPane).region.x > 60)  # beside the list, in the app's own style


@pytest.mark.parametrize("option", ["ascii", "slow_link"])
async def test_not_where_characters_or_bytes_are_scarce(tmp_path: Path, option: str) -> None:
    async with open_dashboard(
        tmp_path, [make_job(0, ["fr-FR"], DubState.DONE)], size=TERMINAL_SIZE, **{option: True}
    ) as opened:
        await opened.press("o")
        await opened.wait_for_screen("OutputsScreen")
        assert opened.app.screen.query_one(ThumbnailPane)._timer is None


def output_on_terminal(program: str) -> bytes:
    """What a program writes to its terminal, where nothing answers; its output counts as one, too."""
    master, slave = pty.openpty()
    try:
        subprocess.run([sys.executable, "-c", program], stdin=slave, stdout=slave, stderr=slave, check=False, timeout=60)
        os.write(slave, b"<end>")
        said = b""
        while not said.endswith(b"<end>"):
            said += os.read(master, 4096)
        return said.removesuffix(b"<end>")
    finally:
        os.close(master)
        os.close(slave)


def imported_modules_program(*names: str) -> str:
    return f"import sys; print([name for name in {names!r} if name in sys.modules])"


def test_the_terminal_is_not_asked_what_it_can(image: Path) -> None:
    """The library does it when it is imported, and takes keys for answers; the second program shows that this test sees it."""
    load = f"from synthdub_tui.dashboard import images; print(images.load({str(image)!r}, 40, 12).size)"
    assert output_on_terminal(load).split() == [b"(80,", b"44)"]
    assert b"\x1b" in output_on_terminal("import textual_image.widget")


def test_the_screens_do_not_import_it() -> None:
    modules: Sequence[str] = ("synthdub_tui.dashboard.app", "synthdub_tui.dashboard.screens.outputs")
    program = "; ".join([*(f"import {name}" for name in modules), imported_modules_program("PIL", "textual_image")])
    assert output_on_terminal(program).split() == [b"[]"]
