"""The stored pictures are what the screens look like now, and the README's are among them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import screenshots

HOW_TO_RENEW = "python -m tests.screenshots renews them; look at the result before you commit it"


@pytest.fixture(scope="module")
def drawn_pictures() -> dict[str, str]:
    return screenshots.draw_all()


@pytest.mark.timeout(screenshots.MAX_DRAW_SECONDS)
def test_current(drawn_pictures: dict[str, str]) -> None:
    assert screenshots.outdated_names(drawn_pictures) == [], HOW_TO_RENEW


def test_without_what_a_page_may_not_load(drawn_pictures: dict[str, str]) -> None:
    for name, picture in drawn_pictures.items():
        addresses = set(re.findall(r"[a-z]+://[^\"' )<]+", picture))
        assert addresses == {"http://www.w3.org/2000/svg"}, name


def test_nothing_of_this_machine(drawn_pictures: dict[str, str]) -> None:
    for name, picture in drawn_pictures.items():
        lines = "\n".join(screenshots.text_lines(picture))
        assert not re.search(r"/(tmp|home|root|work|Users)\b", lines), name


def test_the_readme_shows_and_links_all(drawn_pictures: dict[str, str]) -> None:
    readme = (screenshots.REPO_ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"\(screenshots/([\w-]+\.svg)\)", readme)) == drawn_pictures.keys()


def test_names_what_differs_is_missing_or_left_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screenshots, "SCREENSHOT_FOLDER", tmp_path)
    for name, text in {"same": "a", "other": "b", "empty": ""}.items():
        (tmp_path / f"{name}.svg").write_text(text)
    drawn = {"same.svg": "a", "other.svg": "c", "new.svg": "d"}
    assert screenshots.outdated_names(drawn) == ["empty.svg", "new.svg", "other.svg"]
    screenshots.store_pictures(drawn)
    assert screenshots.outdated_names(drawn) == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == drawn


def test_another_textual_may_draw_other_shades() -> None:
    one = '<!-- Drawn by Textual 8.2.8, Rich 15.0.0 --><text class="a-r1" x="0" y="20" fill="red">done</text>'
    other = one.replace("8.2.8", "8.3.0").replace("red", "green")
    assert screenshots._is_same_picture(one, other)
    assert not screenshots._is_same_picture(one, other.replace("done", "gone"))
    assert not screenshots._is_same_picture(one, one.replace("red", "green"))
    assert not screenshots._is_same_picture("", one)
