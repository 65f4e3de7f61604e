"""The question on leaving."""

import pytest

from synthdub_tui.dashboard.screens.quit import QuitChoice, QuitScreen
from tests.dashboard.screen_harness import SMALL_SIZE, show_screen


@pytest.mark.parametrize(
    ("keys", "answer"),
    [
        (["enter"], QuitChoice("background", False)),
        (["b"], QuitChoice("background", False)),
        (["s"], QuitChoice("stop", False)),
        (["down", "enter"], QuitChoice("stop", False)),
        (["m", "s"], QuitChoice("stop", True)),
        (["m", "m", "b"], QuitChoice("background", False)),
        (["up", "enter", "b"], QuitChoice("background", True)),
        (["escape"], None),
        (["q"], None),
    ],
)
async def test_quit(keys: list[str], answer: QuitChoice | None) -> None:
    async with show_screen(QuitScreen(3), SMALL_SIZE) as hand:
        await hand.wait_for_text("3 dubs are under way", "(b)", "[ ] Remember")
        await hand.press(*keys)
        assert await hand.wait_for_answer() == answer


async def test_quit_shows_whether_it_remembers() -> None:
    async with show_screen(QuitScreen(1)) as hand:
        await hand.wait_for_text("1 dub is under way")
        await hand.press("m")
        await hand.wait_for_text("[x] Remember", "“Quit asks again” takes that back")
