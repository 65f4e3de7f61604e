"""Text cut and wrapped to the cells of a terminal."""

import pytest

from synthdub_tui.dashboard import text_layout


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_400, "99.4 kB"), (999_600, "1.0 MB"), (4_500_000_000, "4.5 GB")],
)
def test_sizes(number: int, text: str) -> None:
    assert text_layout.format_size(number) == text


def test_text_fits_cells() -> None:
    assert text_layout.fit("日本語", 4) == "日… "
    for text in ("日本語", "abc", "", "a" * 50, "e\u0301" * 9):
        for width in range(9):
            assert text_layout.cell_len(text_layout.fit(text, width)) == width, (text, width)
            assert text_layout.cell_len(text_layout.fit_end(text, max(1, width))) <= max(1, width)
            for part in text_layout.wrap(((text, ""), ("日本語 語", "bad")), max(2, width)):
                assert text_layout.cell_len("".join(span for span, _ in part).rstrip()) <= max(2, width)


def test_wrapping_loses_nothing() -> None:
    line = (("intro ", "faint"), ("日本語 and more words", "bad"))
    for width in range(2, 30):
        joined = [span for part in text_layout.wrap(line, width) for span in part]
        assert "".join(text for text, _ in joined) == "intro 日本語 and more words"
        assert {role for _, role in joined} == {"faint", "bad"}
