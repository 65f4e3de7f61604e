import pytest

from synthdub_tui import languages
from synthdub_tui.dashboard.screens.add_languages import AddLanguagesScreen
from tests.dashboard.screen_harness import SMALL_SIZE, WIDE_SIZE, show_screen


def languages_screen() -> AddLanguagesScreen:
    return AddLanguagesScreen({"fr-FR"}, ["de-DE", "xx-XX", "fr-FR"])


@pytest.mark.parametrize("size", [WIDE_SIZE, SMALL_SIZE])
async def test_lists_recent_first_and_what_is_there(size: tuple[int, int]) -> None:
    async with show_screen(languages_screen(), size) as hand:
        await hand.wait_for_text(
            "[ ] de-DE", "recent", "[+] fr-FR", "already there", f"{len(languages.OUTPUT_CODES)} languages", "esc back"
        )
        first, second = [line for line in hand.app.text.splitlines() if "[" in line][:2]
        assert "de-DE" in first
        assert "fr-FR" in second
        assert "xx-XX" not in hand.app.text


async def test_marks_and_confirms_in_the_order_of_marking() -> None:
    async with show_screen(languages_screen()) as hand:
        await hand.type_text("saudiarabia")
        await hand.wait_for_text("ar-SA", "1 language")
    async with show_screen(languages_screen()) as hand:
        await hand.type_text("mexico")
        await hand.wait_for_text("es-MX", "2 languages")
        await hand.press(*["backspace"] * 6)
        await hand.type_text("pt-br")
        await hand.wait_for_text("1 language")
        await hand.press("space")
        await hand.wait_for_text("[x] pt-BR")
        await hand.press(*["backspace"] * 5, "space")
        await hand.wait_for_text("2 languages marked: pt-BR, de-DE")
        await hand.press("enter")
        assert await hand.wait_for_answer() == ["pt-BR", "de-DE"]


async def test_enter_takes_the_cursor_without_marks() -> None:
    async with show_screen(languages_screen()) as hand:
        await hand.type_text("ja")
        await hand.wait_for_text("Japanese")
        await hand.press("enter")
        assert await hand.wait_for_answer() == ["ja"]


async def test_what_is_there_cannot_be_added() -> None:
    async with show_screen(languages_screen()) as hand:
        await hand.press("down", "space")
        await hand.wait_for_text("fr-FR is there already")
        await hand.press("enter")
        assert not hand.app.answers


@pytest.mark.parametrize(
    ("typed", "near"), [("frnech", "fr-CA"), ("germann", "de-DE"), ("pt-BX", "pt-BR"), ("JAPANESEE", "ja")]
)
async def test_a_mistyped_word_gives_the_nearest(typed: str, near: str) -> None:
    async with show_screen(languages_screen()) as hand:
        await hand.type_text(typed)
        await hand.wait_for_text(f"Nothing is called “{typed}”; nearest:", near)


async def test_nothing_like_it() -> None:
    async with show_screen(languages_screen()) as hand:
        await hand.type_text("qqqqqqqq")
        await hand.wait_for_text("Nothing is like “qqqqqqqq”.")
        await hand.press("enter", "space", "down", "escape")
        await hand.wait_for_text("158 languages")
        await hand.press("escape")
        assert await hand.wait_for_answer() is None


async def test_escape_takes_the_search_back_then_the_marks() -> None:
    async with show_screen(languages_screen()) as hand:
        await hand.type_text("de-DE ")
        await hand.wait_for_text("1 language marked")
        await hand.press("escape")
        await hand.wait_for_text("1 language marked: de-DE", "[x] de-DE")
        await hand.press("escape")
        await hand.wait_for_text("158 languages")
        assert not hand.app.answers
        await hand.press("escape")
        assert await hand.wait_for_answer() is None


async def test_keys_typed_ahead_mark_what_was_typed_before_them() -> None:
    async with show_screen(AddLanguagesScreen(set(), [])) as hand:
        await hand.type_text("fr-FR ")
        await hand.press("ctrl+u")
        await hand.type_text("de-DE ")
        await hand.press("enter")
        assert await hand.wait_for_answer() == ["fr-FR", "de-DE"]
