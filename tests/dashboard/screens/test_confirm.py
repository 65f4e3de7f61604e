import pytest
from textual.widgets._toast import Toast

from synthdub_tui.dashboard.screens.confirm import ConfirmScreen
from synthdub_tui.dashboard.widgets.lines import Reader
from tests.dashboard.screen_harness import HOSTILE, SHOWN, SMALL, WIDE, Hand, Harness, shown

LINES = [f"clip {number}.mp4 fr-FR: a new project, costs credits" for number in range(300)]


def confirm(danger: bool = False, lines: list[str] | None = None) -> ConfirmScreen:
    return ConfirmScreen("Retry 300 dubs?", LINES if lines is None else lines, danger=danger, confirm_label="Retry")


@pytest.mark.parametrize("size", [WIDE, SMALL])
async def test_shows_what_it_touches_and_scrolls(size: tuple[int, int]) -> None:
    async with shown(confirm(), size) as hand:
        await hand.sees("Retry 300 dubs?", "clip 0.mp4", "No (n)", "Retry (y)", "esc no")
        await hand.press("pagedown")
        await hand.until(lambda: "clip 0.mp4" not in hand.app.text)
        await hand.press("end")
        await hand.sees("clip 299.mp4")


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
    async with shown(confirm()) as hand:
        await hand.press(*keys)
        assert await hand.answer() is answer


@pytest.mark.parametrize(("keys", "answer"), [(["enter"], False), (["right", "enter"], True), (["y"], True)])
async def test_danger_rests_on_the_harmless_choice(keys: list[str], answer: bool) -> None:
    async with shown(confirm(danger=True)) as hand:
        await hand.press(*keys)
        assert await hand.answer() is answer


async def test_names_are_plain_text() -> None:
    async with shown(ConfirmScreen(HOSTILE, [HOSTILE], danger=False, confirm_label="[b]Go")) as hand:
        await hand.sees(SHOWN, "[b]Go (y)")
        assert hand.app.text.count(SHOWN) == 2


async def test_a_dangerous_yes_counts_only_once_its_question_was_drawn() -> None:
    screen = confirm(danger=True)
    async with shown(screen) as hand:
        await hand.sees("Retry 300 dubs?")
        screen._reader.drawn = False
        screen.action_answer(True)
        assert not hand.app.answers
        screen.refresh(repaint=True)
        screen._reader.refresh()
        await hand.until(lambda: screen._reader.drawn)
        await hand.press("y")
        assert await hand.answer() is True


async def test_no_message_hides_a_question() -> None:
    screen = ConfirmScreen("Retry 3 dubs?", ["3 dubs cost credits again"], danger=True)
    app = Harness(screen)
    async with app.run_test(size=(40, 12), notifications=True) as pilot:
        hand = Hand(app, pilot)
        app.notify("message", timeout=60)
        await hand.until(lambda: app.screen is screen and len(screen.query(Toast)) == 1)
        await hand.sees("3 dubs cost credits again", "No (n)")
        assert not screen.query_one(Toast).region and "message" not in app.text


async def test_a_question_has_its_height_from_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was as high as the terminal and empty, until it had heard of its size."""
    heights: list[int] = []
    resized = Reader.on_resize

    def on_resize(self: Reader) -> None:
        heights.append(self.size.height)
        resized(self)

    monkeypatch.setattr(Reader, "on_resize", on_resize)
    async with shown(confirm(lines=["clip.mp4: fr-FR", "clip.mp4: es-ES"])) as hand:
        await hand.sees("es-ES")
        assert set(heights) == {2}
