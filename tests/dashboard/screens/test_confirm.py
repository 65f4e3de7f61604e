import pytest
from textual.widgets._toast import Toast

from synthdub_tui.dashboard.screens.confirm import ConfirmScreen
from synthdub_tui.dashboard.widgets.lines import TextView
from tests.dashboard.screen_harness import (
    HOSTILE_NAME,
    HOSTILE_NAME_SHOWN,
    SMALL_SIZE,
    WIDE_SIZE,
    ScreenApp,
    ScreenDriver,
    show_screen,
)

QUESTION_LINES = [f"clip {number}.mp4 fr-FR: a new project, costs credits" for number in range(300)]


def confirm_screen(danger: bool = False, lines: list[str] | None = None) -> ConfirmScreen:
    return ConfirmScreen("Retry 300 dubs?", QUESTION_LINES if lines is None else lines, danger=danger, confirm_label="Retry")


@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_shows_what_it_touches_and_scrolls(size: tuple[int, int]) -> None:
    async with show_screen(confirm_screen(), size) as hand:
        await hand.wait_for_text("Retry 300 dubs?", "clip 0.mp4", "No (n)", "Retry (y)", "esc no")
        await hand.press("pagedown")
        await hand.wait_until(lambda: "clip 0.mp4" not in hand.app.text)
        await hand.press("end")
        await hand.wait_for_text("clip 299.mp4")


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (["y"], True),
        (["n"], False),
        (["escape"], False),
        (["enter"], True),
        (["left", "enter"], False),
        (["tab", "enter"], False),
    ],
)
async def test_answers(keys: list[str], answer: bool) -> None:
    async with show_screen(confirm_screen()) as hand:
        await hand.press(*keys)
        assert await hand.wait_for_answer() is answer


@pytest.mark.parametrize(("keys", "answer"), [(["enter"], False), (["right", "enter"], True), (["y"], True)])
async def test_danger_rests_on_the_harmless_choice(keys: list[str], answer: bool) -> None:
    async with show_screen(confirm_screen(danger=True)) as hand:
        await hand.press(*keys)
        assert await hand.wait_for_answer() is answer


async def test_names_are_plain_text() -> None:
    async with show_screen(ConfirmScreen(HOSTILE_NAME, [HOSTILE_NAME], danger=False, confirm_label="[b]Go")) as hand:
        await hand.wait_for_text(HOSTILE_NAME_SHOWN, "[b]Go (y)")
        assert hand.app.text.count(HOSTILE_NAME_SHOWN) == 2


async def test_a_dangerous_yes_counts_only_once_its_question_was_drawn() -> None:
    screen = confirm_screen(danger=True)
    async with show_screen(screen) as hand:
        await hand.wait_for_text("Retry 300 dubs?")
        screen._reader.was_drawn = False
        screen.action_answer(True)
        assert not hand.app.answers
        screen.refresh(repaint=True)
        screen._reader.refresh()
        await hand.wait_until(lambda: screen._reader.was_drawn)
        await hand.press("y")
        assert await hand.wait_for_answer() is True


async def test_no_message_hides_a_question() -> None:
    screen = ConfirmScreen("Retry 3 dubs?", ["3 dubs cost credits again"], danger=True)
    app = ScreenApp(screen)
    async with app.run_test(size=(40, 12), notifications=True) as pilot:
        hand = ScreenDriver(app, pilot)
        app.notify("message", timeout=60)
        await hand.wait_until(lambda: app.screen is screen and len(screen.query(Toast)) == 1)
        await hand.wait_for_text("3 dubs cost credits again", "No (n)")
        assert not screen.query_one(Toast).region and "message" not in app.text


async def test_a_question_has_its_height_from_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was as high as the terminal and empty, until it had heard of its size."""
    heights: list[int] = []
    resized = TextView.on_resize

    def on_resize(self: TextView) -> None:
        heights.append(self.size.height)
        resized(self)

    monkeypatch.setattr(TextView, "on_resize", on_resize)
    async with show_screen(confirm_screen(lines=["clip.mp4: fr-FR", "clip.mp4: es-ES"])) as hand:
        await hand.wait_for_text("es-ES")
        assert set(heights) == {2}
