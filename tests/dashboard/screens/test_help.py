import pytest

from synthdub_tui.dashboard.screens.help import HelpScreen
from synthdub_tui.dashboard.screens.outputs import OutputsScreen
from tests.dashboard.screen_harness import SMALL_SIZE, WIDE_SIZE, show_screen

KEY_GROUPS = [
    ("Move", [(f"f{number}", f"goes {number} far") for number in range(40)]),
    ("Act", [("r", "retry the marked dubs, or the one under the cursor if nothing at all is marked"), ("[x]", "[red]cancel")]),
]


@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_scrolls_and_searches(size: tuple[int, int]) -> None:
    async with show_screen(HelpScreen(KEY_GROUPS), size) as hand:
        await hand.wait_for_text("Move", "f0", "esc back")
        await hand.press("G")
        await hand.wait_for_text("[x]", "[red]cancel")
        await hand.press("g", "slash")
        await hand.type_text("retry")
        await hand.wait_for_text("Act", "retry the marked")
        assert "f0" not in hand.app.text
        await hand.press("escape")
        await hand.wait_for_text("Move", "f0")
        await hand.press("escape")
        assert await hand.wait_for_answer() is None


async def test_two_columns_where_there_is_room() -> None:
    async with show_screen(HelpScreen(KEY_GROUPS), (90, 60)) as hand:
        await hand.wait_for_text("Move", "Act")
        lines = hand.app.text.splitlines()
        top = next(line for line in lines if "Move" in line)
        assert "Act" in top
        (retry,) = (line for line in lines if "retry the marked dubs" in line)
        more = lines[lines.index(retry) + 1]
        assert more.index("one under") == retry.index("retry the")  # hangs beside its key, in its own column


async def test_says_when_nothing_is_found() -> None:
    async with show_screen(HelpScreen(KEY_GROUPS)) as hand:
        await hand.press("slash")
        await hand.type_text("zebra")
        await hand.wait_for_text("Nothing here holds “zebra”")
        await hand.press("enter", "q")
        assert await hand.wait_for_answer() is None


async def test_a_page_tells_its_own_keys() -> None:
    screen = OutputsScreen(list, on_review=lambda *_: None)
    async with show_screen(screen, (80, 40)) as hand:
        await hand.press("question_mark")
        await hand.wait_for_text("Keys of this page", "enter play or open", "Y copy an scp command", "esc back")
        assert "Focus" not in hand.app.text
        await hand.press("question_mark")
        await hand.wait_until(lambda: hand.app.screen is screen)
