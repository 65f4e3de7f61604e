import pytest

from synthdub_tui import languages
from synthdub_tui.dashboard.screens.add_languages import AddLanguagesScreen
from tests.dashboard.screen_harness import SMALL, WIDE, shown


def screen() -> AddLanguagesScreen:
    return AddLanguagesScreen({"fr-FR"}, ["de-DE", "xx-XX", "fr-FR"])


@pytest.mark.parametrize("size", [WIDE, SMALL])
async def test_lists_recent_first_and_what_is_there(size: tuple[int, int]) -> None:
    async with shown(screen(), size) as hand:
        await hand.sees("[ ] de-DE", "recent", "[+] fr-FR", "already there", f"{len(languages.OUTPUT)} languages", "esc back")
        first, second = [line for line in hand.app.text.splitlines() if "[" in line][:2]
        assert "de-DE" in first
        assert "fr-FR" in second
        assert "xx-XX" not in hand.app.text


async def test_marks_and_confirms_in_the_order_of_marking() -> None:
    async with shown(screen()) as hand:
        await hand.type("saudiarabia")
        await hand.sees("ar-SA", "1 language")
    async with shown(screen()) as hand:
        await hand.type("mexico")
        await hand.sees("es-MX", "2 languages")
        await hand.press(*["backspace"] * 6)
        await hand.type("pt-br")
        await hand.sees("1 language")
        await hand.press("space")
        await hand.sees("[x] pt-BR")
        await hand.press(*["backspace"] * 5, "space")
        await hand.sees("2 languages marked: pt-BR, de-DE")
        await hand.press("enter")
        assert await hand.answer() == ["pt-BR", "de-DE"]


async def test_enter_takes_the_cursor_without_marks() -> None:
    async with shown(screen()) as hand:
        await hand.type("ja")
        await hand.sees("Japanese")
        await hand.press("enter")
        assert await hand.answer() == ["ja"]


async def test_what_is_there_cannot_be_added() -> None:
    async with shown(screen()) as hand:
        await hand.press("down", "space")
        await hand.sees("fr-FR is there already")
        await hand.press("enter")
        assert not hand.app.answers


@pytest.mark.parametrize(
    ("typed", "near"), [("frnech", "fr-CA"), ("germann", "de-DE"), ("pt-BX", "pt-BR"), ("JAPANESEE", "ja")]
)
async def test_a_mistyped_word_gives_the_nearest(typed: str, near: str) -> None:
    async with shown(screen()) as hand:
        await hand.type(typed)
        await hand.sees(f"Nothing is called “{typed}”; nearest:", near)


async def test_nothing_like_it() -> None:
    async with shown(screen()) as hand:
        await hand.type("qqqqqqqq")
        await hand.sees("Nothing is like “qqqqqqqq”.")
        await hand.press("enter", "space", "down", "escape")
        await hand.sees("158 languages")
        await hand.press("escape")
        assert await hand.answer() is None


async def test_escape_takes_the_search_back_then_the_marks() -> None:
    async with shown(screen()) as hand:
        await hand.type("de-DE ")
        await hand.sees("1 language marked")
        await hand.press("escape")
        await hand.sees("1 language marked: de-DE", "[x] de-DE")
        await hand.press("escape")
        await hand.sees("158 languages")
        assert not hand.app.answers
        await hand.press("escape")
        assert await hand.answer() is None


async def test_keys_typed_ahead_mark_what_was_typed_before_them() -> None:
    async with shown(AddLanguagesScreen(set(), [])) as hand:
        await hand.type("fr-FR ")
        await hand.press("ctrl+u")
        await hand.type("de-DE ")
        await hand.press("enter")
        assert await hand.answer() == ["fr-FR", "de-DE"]
